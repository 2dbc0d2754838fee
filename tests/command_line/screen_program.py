"""Make 600 objects in namespaces of their own, and run the command line there.

    screen_program.py WORD...

Keys, ids, pids and times are the same each time, so that the screen is the same.  The program runs
as the first process of a PID namespace, on the terminal of the test.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import namespace

from sysv_ipc import IPC_CREX, MessageQueue, SemaphoreSet, SharedMemory
from sysv_ipc.cli import main as command_line

#: The number of processes that have one segment attached, with the program itself.
ATTACHED = 21


def make_objects() -> None:
    """Make 200 objects of each kind."""
    for number in range(200):
        SemaphoreSet(0x5E000000 + number, 1 + number % 3, IPC_CREX, 0o600 + 0o40 * (number % 2))
        MessageQueue(0x4D000000 + number, IPC_CREX, 0o660)
        # Only the first one is filled, so that the others need no memory.
        fill = b" " if number == 0 else None
        with SharedMemory(0x5A000000 + number, IPC_CREX, 0o600, 4096 << number % 12, fill):
            pass
    queue = MessageQueue(0x4D000001)
    for _ in range(8):
        queue.send(b"x" * 2007)
    MessageQueue(0x4D000002).send("four")
    SemaphoreSet(0x5E000001).uid = 65534


def attach() -> SharedMemory:
    """Attach the first segment, in this process and in children, which end with it."""
    segment = SharedMemory(0x5A000000)
    for _ in range(ATTACHED - 1):
        if os.fork() == 0:
            signal.pause()
            os._exit(0)
    return segment


def main() -> int:
    """Make the objects, then be the command line."""
    namespace.enter(as_root=True)
    Path("/proc/self/comm").write_text("worker")
    make_objects()
    segment = attach()
    # Every age is 0 s then, and the clock of --watch shows the beginning of 1970.
    time.time = lambda: 0.0
    status = command_line(sys.argv[1:])
    assert segment.attached
    return status


if __name__ == "__main__":
    sys.exit(main())
