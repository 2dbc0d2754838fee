"""Attachments: views that prevent detaching, zeros that replace them, failures, leaks, threads."""

from __future__ import annotations

import gc
import mmap
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from helpers import in_child, listed, system_calls
from mappings import address_space, array_of, attached, mappings

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    PAGE_SIZE,
    SHM_RDONLY,
    NotAttachedError,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


# --------------------------------------------------------------------------------- views


@pytest.mark.parametrize(
    "view",
    [
        memoryview,
        lambda s: memoryview(s)[2:4],
        lambda s: s.view(8, 8, "i"),
        lambda s: np.frombuffer(s, np.int32),
        lambda s: np.asarray(memoryview(s)),
    ],
)
def test_detach_is_refused_while_a_view_lives(
    segment: SharedMemory, view: Callable[[SharedMemory], object]
) -> None:
    kept = view(segment)
    for call in (segment.detach, segment.attach, lambda: segment.__init__(segment.key)):  # type: ignore[misc]
        with pytest.raises(BufferError, match="release them first"):
            call()
    assert (segment.attached, attached(segment), mappings(segment)) == (True, 1, 1)
    segment.write(b"still there")
    assert segment.read(5) == b"still"
    del kept
    gc.collect()
    segment.detach()
    assert attached(segment) == 0


def test_a_view_keeps_the_attachment_of_a_handle_that_is_dropped(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key)
    view = memoryview(other)
    del other
    gc.collect()
    segment.write(b"x")
    assert (view[0], attached(segment)) == (ord("x"), 2)
    view.release()
    del view
    gc.collect()
    assert attached(segment) == 1


def test_a_view_of_a_read_only_attachment_is_read_only(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key, mode=0o400)
    view = memoryview(other)
    assert view.readonly
    assert not array_of(other).flags.writeable
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises(BufferError):
        segment.read_into(other)


# ---------------------------------------------------------------------------------- zeros


def test_an_array_that_outlives_detach_reads_zeros(segment: SharedMemory) -> None:
    array = array_of(segment)
    segment.write(b"\xff" * segment.size)
    assert array.min() == 255
    segment.detach()
    assert (array.max(), attached(segment), mappings(segment)) == (0, 0, 0)
    others = [mmap.mmap(-1, PAGE_SIZE) for _ in range(200)]
    for other in others:
        other.write(b"\xee" * PAGE_SIZE)
    assert array.max() == 0
    array[:] = 7
    assert array.min() == 7
    segment.attach()
    assert segment.read(1) == b"\xff"
    assert array.min() == 7


def test_an_array_that_outlives_its_handle_and_its_segment_reads_zeros() -> None:
    segment = SharedMemory(None, IPC_CREX, size=3 * PAGE_SIZE + 1, init_character=b"z")
    array = array_of(segment)
    segment.detach()
    segment.remove()
    del segment
    gc.collect()
    assert array.max() == 0
    assert array.size == 3 * PAGE_SIZE + 1


def test_an_array_reads_zeros_after_another_attachment_has_taken_over(
    segment: SharedMemory,
) -> None:
    segment.write(b"one")
    array = array_of(segment)
    segment.attach()
    assert (array.max(), segment.read(3), attached(segment)) == (0, b"one", 1)


def test_the_zeros_are_unmapped_with_the_handle(segment: SharedMemory) -> None:
    big = SharedMemory(None, IPC_CREX, size=1 << 30, init_character=None)
    before = address_space()
    for _ in range(3):
        handle = SharedMemory.from_id(big.id)
        memoryview(handle).release()
        handle.detach()
        del handle
    gc.collect()
    big.remove()
    big.detach()
    assert address_space() <= before


@pytest.mark.parametrize("again", ["None", "place", "attached", "init", "read-only"])
def test_attaching_repeatedly_uses_no_more_address_space(key: int, again: str) -> None:
    """Five hundred leaks of this size would exceed the address space of a process."""
    flags = IPC_CREX | sysv_ipc.SHM_NORESERVE
    size = 1 << 40 if sys.maxsize > 2**32 else 1 << 25
    memory = SharedMemory(key, flags, size=size, init_character=None)
    place, most = None, 0
    before = address_space()
    for _ in range(500):
        memory.view(0, 10).release()
        if again == "attached":
            memory.attach()
        else:
            memory.detach()
            most = max(most, address_space())
            if again == "init":
                memory.__init__(key)  # type: ignore[misc]
            elif again == "read-only":
                memory.attach(flags=random.choice([0, SHM_RDONLY]))
            else:
                memory.attach(place)
                place = memory.address if again == "place" else None
    assert (attached(memory), mappings(memory)) == (1, 1)
    assert max(most, address_space()) <= before + 5 * size // PAGE_SIZE
    memory.remove()
    memory.detach()


def test_an_array_of_any_former_attachment_may_be_read_and_written(segment: SharedMemory) -> None:
    arrays = []
    for number in range(20):
        segment.attach(flags=SHM_RDONLY if number % 3 == 2 else 0)
        arrays.append(array_of(segment))
        if number % 2:
            segment.detach()
    segment.attach()
    for array in arrays:
        assert array.max() in (0, 1)
        if array.flags.writeable:
            array[:] = 1
    segment.attach(flags=SHM_RDONLY)
    for array in arrays:
        if array.flags.writeable:
            array[:] = 0


def test_the_place_of_zeros_is_not_given_to_another_segment(segment: SharedMemory) -> None:
    other = SharedMemory(None, IPC_CREX)
    handle = SharedMemory(segment.key)
    arrays = []
    for _ in range(6):
        arrays.append(array_of(handle))
        handle.detach()
        handle.attach()
    handle.detach()
    for _ in range(3):
        handle.__init__(other.key)  # type: ignore[misc]
        handle.write(b"another")
        assert {array.max() for array in arrays} == {0}
        handle.detach()
    other.remove()
    other.detach()


# ------------------------------------------------------------------------------- failures

FAILING = """
import sys, sysv_ipc
from pathlib import Path
from typing import Any
handle = sysv_ipc.SharedMemory(int(sys.argv[1]))
if sys.argv[2] == "exported":
    memoryview(handle).release()
def nattch():
    return handle.number_attached
def maps():
    return sum("/SYSV" in line for line in Path("/proc/self/maps").read_text().splitlines())
try:
    exec(sys.argv[3])
except sysv_ipc.Error as error:
    print(error.errno, handle.attached, maps(), nattch(), handle.read(2))
else:
    print("nothing failed")
handle.detach()
print(maps(), handle.attached)
"""


@pytest.mark.parametrize(
    ("injection", "exported", "call"),
    [
        ("shmdt:error=EPERM:when=1", "", "handle.detach()"),
        ("shmdt:error=EPERM:when=1", "", "handle.attach()"),
        ("shmat:error=EPERM:when=2", "", "handle.attach()"),
        ("shmat:error=EPERM:when=2", "exported", "handle.attach()"),
        ("shmctl:error=EPERM:when=2", "", "handle.attach()"),
        ("shmctl:error=EPERM:when=2", "", "handle.__init__(int(sys.argv[1]))"),
        ("shmdt:error=EPERM:when=1", "", "handle.__init__(int(sys.argv[1]))"),
    ],
)
def test_a_call_that_fails_does_not_change_the_attachment(
    segment: SharedMemory, injection: str, exported: str, call: str
) -> None:
    segment.write(b"ok")
    segment.detach()
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={injection}"]
    arguments = [sys.executable, "-c", FAILING, str(segment.key), exported, call]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1 True 1 1 b'ok'\n0 False\n", done.stderr


# ----------------------------------------------------------------------- threads and fork


def test_threads_may_detach_and_attach_while_others_use_the_segment(
    segment: SharedMemory,
) -> None:
    """Every outcome is a value or one of the two documented errors."""
    stop = time.monotonic() + 1.5
    errors: list[BaseException] = []
    counts = dict.fromkeys(range(6), 0)
    big = SharedMemory(None, IPC_CREX, size=1 << 20, init_character=b"a")
    uses: list[Callable[[], object]] = [
        lambda: big.read(),
        lambda: big.write(b"b" * (1 << 18)),
        lambda: big.read_into(bytearray(1 << 20)),
        lambda: memoryview(big)[5:9].tobytes(),
        lambda: big[7] == 0 or big[3:5],
        lambda: big.attach() if random.random() < 0.5 else big.detach(),
    ]

    def work(number: int) -> None:
        while time.monotonic() < stop:
            try:
                uses[number]()
                counts[number] += 1
            except (NotAttachedError, BufferError):
                pass
            except BaseException as error:
                errors.append(error)
                return
            time.sleep(random.random() * 0.001)

    threads = [threading.Thread(target=work, args=(number,)) for number in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert min(counts.values()) > 0
    big.attach()
    assert attached(big) == 1
    big.remove()
    big.detach()


def test_a_forked_child_shares_the_attachment_and_detaches_its_own(segment: SharedMemory) -> None:
    def child() -> int:
        segment.write(b"from the child")
        segment.detach()
        return attached(segment)

    assert in_child(child) == 1
    assert segment.read(14) == b"from the child"


def test_cycles_through_attributes_and_views_are_collected(segment: SharedMemory) -> None:
    class Segment(SharedMemory):
        my_view: memoryview
        me: object

    handle = Segment(segment.key)
    handle.my_view, handle.me = memoryview(handle), handle
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None
    assert attached(segment) == 1


def test_read_write_and_size_make_no_system_call() -> None:
    code = """
import os, sysv_ipc
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1 << 20)
buffer = bytearray(100)
data = b"x" * 200
def use():
    segment.read(100)
    segment.read(10, 5)
    segment.write(data)
    segment.write(data, offset=7)
    segment.read_into(buffer)
    segment.size
    len(segment)
    segment[5]
use()
os.write(2, b"begin")
use()
os.write(2, b"end")
segment.remove()
"""
    assert system_calls(code) == []


def test_a_new_segment_without_init_character_costs_no_memory() -> None:
    segment = SharedMemory(None, IPC_CREX, size=512 << 20, init_character=None)
    assert int(listed("shm", segment.id)["rss"]) == 0
    assert segment.read(8, offset=(512 << 20) - 8) == bytes(8)
    assert int(listed("shm", segment.id)["rss"]) < 1 << 20
    segment.remove()
    segment.detach()


def runs_beside(call: Callable[[], object]) -> bool:
    """Return True if another thread runs during a call, which needs a released GIL."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    call()
    end = time.perf_counter()
    stop.set()
    thread.join()
    quarter = (end - start) / 4
    return any(start + quarter < when < end - quarter for when in ticks)


def test_filling_lets_other_threads_run(key: int) -> None:
    made: list[SharedMemory] = []
    assert runs_beside(lambda: made.append(SharedMemory(key, IPC_CREX, size=256 << 20)))
    made[0].remove()
    made[0].detach()


@pytest.mark.parametrize("name", ["read_into", "write", "read", "slice", "assignment"])
def test_large_copies_let_other_threads_run(name: str) -> None:
    size = 128 << 20
    segment = SharedMemory(None, IPC_CREX, size=size, init_character=None)
    segment.remove()
    buffer = bytearray(size)
    calls: dict[str, Callable[[], object]] = {
        "read_into": lambda: segment.read_into(buffer),
        "write": lambda: segment.write(buffer),
        "read": segment.read,
        "slice": lambda: segment[:],
        "assignment": lambda: segment.__setitem__(slice(None), buffer),
    }
    assert runs_beside(calls[name])


def test_last_pid_is_the_process_that_attached_or_detached_last(segment: SharedMemory) -> None:
    assert segment.last_pid == segment.creator_pid == os.getpid()
