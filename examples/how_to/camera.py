"""Read the newest frame of a camera, never a torn one.

Without arguments, this program starts a camera and reads its frames as fast as it can.
"""

import subprocess
import sys
from typing import Any

import numpy as np

from sysv_ipc import IPC_CREX, BusyError, SharedMemory

SHAPE = (480, 640)
FRAMES = 300
#: A power of two, so that `number % SLOTS` is right even after the number has wrapped around.
SLOTS = 4
HEADER_BYTES = 64


class Frames:
    """The number of the newest frame, then SLOTS frames in a ring."""

    def __init__(self, memory: SharedMemory) -> None:
        self.number = memory.atomic(0, "u32")
        self.slots: Any = memory.ndarray((SLOTS, *SHAPE), "u1", offset=HEADER_BYTES)

    def publish(self, frame: Any) -> None:
        """Write into the oldest slot, then say that it is the newest."""
        number = (self.number.load() + 1) % 2**32
        self.slots[number % SLOTS] = frame
        self.number.store(number)
        self.number.wake(2**31 - 1)

    def newest(self) -> tuple[int, Any]:
        """Return the number and a copy of the newest frame."""
        while True:
            number = self.number.load()
            frame = self.slots[number % SLOTS].copy()
            # The camera may be writing into the slot after its newest frame.
            if (self.number.load() - number) % 2**32 < SLOTS - 1:
                return number, frame

    def wait(self, number: int, timeout: float) -> None:
        """Wait until there is a frame other than this one."""
        self.number.wait(number, timeout)


def create() -> SharedMemory:
    size = HEADER_BYTES + SLOTS * SHAPE[0] * SHAPE[1]
    return SharedMemory(None, IPC_CREX, size=size, init_character=None)


def camera(key: int) -> None:
    frames = Frames(SharedMemory(key))
    for number in range(1, FRAMES + 1):
        frames.publish(np.full(SHAPE, number % 256, dtype="u1"))


def main() -> None:
    memory = create()
    frames = Frames(memory)
    last, torn = 0, 0
    with subprocess.Popen([sys.executable, __file__, str(memory.key)]):
        while last < FRAMES:
            try:
                frames.wait(last, timeout=30)
            except BusyError:
                print("the camera sends nothing")
                break
            last, frame = frames.newest()
            torn += not (frame == last % 256).all()
    print("newest frame:", last)
    print("torn frames:", torn)
    memory.remove()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        camera(int(sys.argv[1]))
    else:
        main()
