"""Try to crash a segment, or to tear its numbers, while it is detached and attached.

One thread detaches and attaches, the others read, write, view, make arrays and use atomics on the
same handle, while the process forks children and starts programs that do the same.  Each outcome
has to be a value, and the right one, or one of the exceptions that the reference tells.  Bytes are
touched by one thread each, so that a sanitizer's report is never about what the test itself does;
numbers by all.  All happens in an IPC namespace of its own.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    SHM_RDONLY,
    Atomic,
    BusyError,
    CancelledError,
    NotAttachedError,
    ReadOnlyError,
    SharedMemory,
)

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import namespace

#: Where the numbers are: two that are stored as equal bytes, one that counts, one waited for.
PATTERN64, PATTERN32, COUNTER, STEP = 0, 8, 16, 24
#: Every user has bytes of its own: more than a copy that keeps the GIL.
FIRST, SIZE = 4096, 100_000

#: The exceptions that the reference tells of, for a handle that others detach and attach.
EXPECTED = (NotAttachedError, ReadOnlyError, BufferError, BusyError, CancelledError)


class Segment(SharedMemory):
    """A segment with a number of another attachment, which nobody takes away."""

    step: Atomic


# -------------------------------------------------------------------------------------- uses


def check(condition: bool, what: object) -> None:
    """Fail where a value is none that anybody wrote."""
    if not condition:
        raise AssertionError(f"a value that nobody wrote: {what!r}")


def whole(bytes: bytes) -> None:
    """Check that all bytes are the same."""
    check(bytes.count(bytes[:1]) == len(bytes), bytes[:16])


def read_and_write(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Write bytes that are all the same, and read them back."""
    data = source.randbytes(1) * source.choice([10, SIZE])
    memory.write(data, first)
    check(memory.read(len(data), first) == data, "read()")
    buffer = bytearray(len(data))
    memory.read_into(buffer, first)
    check(buffer == data, "read_into()")


def index(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Use a segment as a bytearray."""
    byte = source.randrange(256)
    memory[first] = byte
    check(memory[first] == byte, "index")
    memory[first : first + SIZE] = bytes([byte]) * SIZE
    whole(memory[first : first + SIZE])
    check(len(memory) > first, "len")


def view(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Keep a view for a while, of this attachment or another."""
    with memory.view(first, 800, "q") as numbers:
        if not numbers.readonly:
            number = source.randrange(2**60)
            numbers[7] = number
            if source.random() < 0.01:
                time.sleep(0.001)
            check(numbers[7] == number, "view")
    check(isinstance(memory.attached, bool), "attached")


def array(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Keep an array, and one that the buffer protocol does not count."""
    numbers: Any = memory.ndarray((10, 100), "<i8", first)
    if numbers.flags.writeable:
        number = source.randrange(2**60)
        numbers[3] = number
        check(bool((numbers[3, ::7] == number).all()), "array")
    buffer: Any = memory
    uncounted: Any = np.ndarray((1,), "u1", buffer=buffer)
    del numbers
    if source.random() < 0.1:
        time.sleep(0)
    # The pattern's byte, or zero after a detach: anything but a crash.
    check(0 <= int(uncounted[0]) < 256, "uncounted array")


def store(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Store numbers whose bytes are all the same."""
    wide, narrow = memory.atomic(PATTERN64, "u64"), memory.atomic(PATTERN32, "u32")
    for _ in range(20):
        byte = source.randrange(256)
        wide.store(byte * 0x0101010101010101)
        narrow.store(byte * 0x01010101)
        check_numbers(wide, narrow)
        wide.compare_exchange(wide.load(), byte * 0x0101010101010101)


def check_numbers(wide: Atomic, narrow: Atomic) -> None:
    """Check that the bytes of each number are all the same."""
    for number in (wide.load(), wide.exchange(wide.load())):
        check(number % 0x0101010101010101 == 0, hex(number))
    check(narrow.load() % 0x01010101 == 0, hex(narrow.load()))


def wait(memory: Segment, first: int, source: random.Random) -> None:
    """Wait for the next step, or make it, or end the waits."""
    step = memory.atomic(STEP, "u32") if source.random() < 0.5 else memory.step
    step_now = step.load()
    match source.randrange(4):
        case 0:
            step.wait(step_now, source.choice([0, 1e-4, 2e-3, 1e-2]))
            check(step.load() != step_now, "step")
        case 1:
            step.cancel()
        case _:
            step.add(1)
            check(step.wake(100) < 1000, "woken")


def attach_and_detach(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Take the memory away from the others, and give it back."""
    match source.randrange(12):
        case 0:
            memory.attach(None, SHM_RDONLY)
        case 1 | 2 | 3:
            memory.attach()
        case 4 | 5:
            memory.__init__(memory.key, mode=0o600)  # type: ignore[misc]
        case 6 | 7:
            with memory:
                pass
        case _:
            memory.detach()
    if source.random() < 0.8 and not memory.attached:
        time.sleep(source.random() * 1e-3)
        memory.attach()


USES = [read_and_write, index, view, array, store, store, wait, wait]


class Tally:
    """How often each use had each outcome, the counter's sum, and what went wrong."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.outcomes: dict[str, collections.Counter[str]] = {}
        self.added: dict[str, int] = {}
        self.failures: list[str] = []
        self.stop = threading.Event()

    def work(self, number: int, use: Callable[..., None], memory: Segment) -> None:
        """Use the memory again and again until the end, or until something goes wrong."""
        source = random.Random(number)
        name = f"{number} {use.__name__}"
        outcomes = self.outcomes.setdefault(name, collections.Counter())
        added = 0
        while not self.stop.is_set():
            try:
                use(memory, FIRST + number * SIZE, source)
                outcomes["success"] += 1
                memory.atomic(COUNTER, "u64").add(1)
                added += 1
            except EXPECTED as error:
                outcomes[type(error).__name__] += 1
            except BaseException:
                self.failures.append(f"{name}: {traceback.format_exc()}")
                self.stop.set()
            if source.random() < 0.5:
                # Now and then all have to have let go, or nobody could detach.
                time.sleep(source.random() * 4e-3)
        self.added[name] = added


# --------------------------------------------------------------------------- fork and exec


def in_child(memory: SharedMemory, atomics: tuple[Atomic, ...], number: int) -> None:
    """Use what was inherited, then a handle of the child's own."""
    wide, narrow, counter = atomics
    check_numbers(wide, narrow)
    counter.add(1)
    source = random.Random(os.getpid())
    for handle in (memory, SharedMemory.from_id(memory.id)):
        for use in (store, read_and_write, view, attach_and_detach):
            with contextlib.suppress(*EXPECTED):
                use(handle, FIRST + number * SIZE, source)


#: What a program that is started does.
PROGRAM = """
import runpy, sys
names = runpy.run_path(sys.argv[1])
import random
memory = names["SharedMemory"].from_id(int(sys.argv[2]))
for _ in range(200):
    names["store"](memory, 0, random.Random(1))
memory.atomic(names["COUNTER"], "u64").add(1)
"""


@contextlib.contextmanager
def pinned(memory: SharedMemory) -> Iterator[tuple[Atomic, ...]]:
    """Numbers of another attachment, which nobody takes away."""
    own = SharedMemory.from_id(memory.id)
    places = ((PATTERN64, "u64"), (PATTERN32, "u32"), (COUNTER, "u64"))
    yield tuple(own.atomic(offset, type) for offset, type in places)  # type: ignore[arg-type]


def start_others(memory: SharedMemory, tally: Tally, end: float) -> tuple[int, int]:
    """Fork and start programs until the end; return how many of each."""
    forked = started = 0
    while time.monotonic() < end and not tally.stop.wait(0.05):
        if forked % 10 == 9:
            command = [sys.executable, "-c", PROGRAM, __file__, str(memory.id)]
            if subprocess.run(command, timeout=300).returncode:
                tally.failures.append("a program that was started failed")
            started += 1
        with pinned(memory) as atomics:
            pid = os.fork()
            if pid == 0:
                # Whoever hangs is ended, and seen.
                signal.alarm(120)
                status = 1
                try:
                    in_child(memory, atomics, len(USES) + 1)
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
        forked += 1
        if status := os.waitpid(pid, 0)[1]:
            tally.failures.append(f"a child ended with status {status}")
        if tally.failures:
            break
    return forked, started


def stress(seconds: float) -> Tally:
    """Let all of them loose for so long."""
    memory = Segment(None, IPC_CREX, size=FIRST + (len(USES) + 2) * SIZE, init_character=b"\0")
    memory.step = SharedMemory.from_id(memory.id).atomic(STEP, "u32")
    tally = Tally()
    uses = [*USES, attach_and_detach]
    threads = [
        threading.Thread(target=tally.work, args=(number, use, memory))
        for number, use in enumerate(uses)
    ]
    for thread in threads:
        thread.start()
    forked, started = start_others(memory, tally, time.monotonic() + seconds)
    tally.stop.set()
    for thread in threads:
        thread.join()
    with pinned(memory) as (_, _, counter):
        added = sum(tally.added.values()) + forked + started
        if counter.load() != added and not tally.failures:
            tally.failures.append(f"the counter is {counter.load()}, not {added}")
    memory.remove()
    print(f"{forked} children, {started} programs, {added} added", flush=True)
    return tally


def main() -> None:
    """Run it, and show what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    # That threads and forks do not go together is what this is about.
    warnings.simplefilter("ignore", DeprecationWarning)
    namespace.enter()
    print(f"sysv_ipc {sysv_ipc.VERSION} on {sys.version.split()[0]}", flush=True)
    tally = stress(options.seconds)
    for name, outcomes in sorted(tally.outcomes.items()):
        print(f"{name:22}", ", ".join(f"{count} {what}" for what, count in outcomes.items()))
        if outcomes["success"] == 0:
            tally.failures.append(f"{name} never succeeded")
    for failure in tally.failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
