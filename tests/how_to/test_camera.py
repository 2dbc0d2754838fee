"""docs/how-to/camera.md: a frame that the camera overwrites during the copy is read again."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from recipes import load_recipe

from sysv_ipc import SharedMemory

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def camera() -> ModuleType:
    """The program as a module."""
    return load_recipe("camera.py")


@pytest.fixture
def memory(camera: ModuleType) -> Iterator[SharedMemory]:
    """The segment of a camera, removed at the end."""
    made: SharedMemory = camera.create()
    yield made
    made.remove()
    made.detach()


def image(camera: ModuleType, number: int) -> Any:
    return np.full(camera.SHAPE, number, dtype="u1")


class Overtaken:
    """Slots.  During the first copy of one of them, the camera publishes `count` frames."""

    def __init__(self, camera: ModuleType, frames: Any, count: int) -> None:
        self.camera, self.frames, self.count = camera, frames, count
        self.slots = frames.slots

    def __getitem__(self, index: int) -> Any:
        slot, self.frames.slots = self.slots[index], self.slots
        torn = slot.copy()
        for number in range(1, self.count + 1):
            self.frames.publish(image(self.camera, 100 + number))
        torn[240:] = slot[240:]
        return torn


def test_the_newest_frame_is_read(camera: ModuleType, memory: SharedMemory) -> None:
    frames = camera.Frames(memory)
    for number in range(1, 6):
        frames.publish(image(camera, number))
    number, frame = frames.newest()
    assert (number, set(frame.flat)) == (5, {5})


@pytest.mark.parametrize("count", [3, 4, 9])
def test_a_torn_frame_is_read_again(camera: ModuleType, memory: SharedMemory, count: int) -> None:
    frames = camera.Frames(memory)
    frames.publish(image(camera, 1))
    frames.slots = Overtaken(camera, frames, count)
    number, frame = frames.newest()
    assert (number, set(frame.flat)) == (1 + count, {100 + count})


def test_a_frame_stays_whole_while_others_are_written(
    camera: ModuleType, memory: SharedMemory
) -> None:
    frames = camera.Frames(memory)
    frames.publish(image(camera, 1))
    frames.slots = Overtaken(camera, frames, 2)
    number, frame = frames.newest()
    assert (number, set(frame.flat)) == (1, {1})


def test_numbers_wrap_around(camera: ModuleType, memory: SharedMemory) -> None:
    frames = camera.Frames(memory)
    frames.number.store(2**32 - 1)
    frames.publish(image(camera, 7))
    number, frame = frames.newest()
    assert (number, set(frame.flat)) == (0, {7})


def test_a_reader_needs_no_right_to_write(camera: ModuleType, memory: SharedMemory) -> None:
    camera.Frames(memory).publish(image(camera, 3))
    reader = camera.Frames(SharedMemory(memory.key, mode=0o400))
    number, frame = reader.newest()
    assert (number, set(frame.flat)) == (1, {3})
