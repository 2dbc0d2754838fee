"""Try to crash a segment, or to tear its numbers, while it is detached and attached.

One thread detaches and attaches.  The others read, write, view, make arrays and use atomics on the
same handle, while the process forks children and starts programs that do the same.  Each call must
return the right value or raise an exception that the reference documents.  Each thread uses its own
bytes, so that a sanitizer does not report races of this program; all threads use the numbers.  The
program runs in its own IPC namespace.
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

#: The offsets of the numbers: two whose bytes are equal, a counter, and one to wait for.
PATTERN64, PATTERN32, COUNTER, STEP = 0, 8, 16, 24
#: The bytes of each thread: enough that a copy releases the GIL.
FIRST, SIZE = 4096, 100_000

#: The documented exceptions for a handle that other threads detach and attach.
EXPECTED = (NotAttachedError, ReadOnlyError, BufferError, BusyError, CancelledError)


class Segment(SharedMemory):
    """A segment with a number on another attachment, which is never detached."""

    step: Atomic


# -------------------------------------------------------------------------------------- uses


def check(condition: bool, what: object) -> None:
    """Raise AssertionError for a value that no thread has written."""
    if not condition:
        raise AssertionError(f"a value that no thread has written: {what!r}")


def whole(bytes: bytes) -> None:
    """Check that all bytes are equal."""
    check(bytes.count(bytes[:1]) == len(bytes), bytes[:16])


def read_and_write(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Write equal bytes and read them back."""
    data = source.randbytes(1) * source.choice([10, SIZE])
    memory.write(data, first)
    check(memory.read(len(data), first) == data, "read()")
    buffer = bytearray(len(data))
    memory.read_into(buffer, first)
    check(buffer == data, "read_into()")


def index(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Use a segment like a bytearray."""
    byte = source.randrange(256)
    memory[first] = byte
    check(memory[first] == byte, "index")
    memory[first : first + SIZE] = bytes([byte]) * SIZE
    whole(memory[first : first + SIZE])
    check(len(memory) > first, "len")


def view(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Keep a view for a while."""
    with memory.view(first, 800, "q") as numbers:
        if not numbers.readonly:
            number = source.randrange(2**60)
            numbers[7] = number
            if source.random() < 0.01:
                time.sleep(0.001)
            check(numbers[7] == number, "view")
    check(isinstance(memory.attached, bool), "attached")


def array(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Keep an array, and one that does not count as an export."""
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
    # A byte of the segment, or zero after detach(); it must not crash.
    check(0 <= int(uncounted[0]) < 256, "uncounted array")


def store(memory: SharedMemory, first: int, source: random.Random) -> None:
    """Store numbers whose bytes are equal."""
    wide, narrow = memory.atomic(PATTERN64, "u64"), memory.atomic(PATTERN32, "u32")
    for _ in range(20):
        byte = source.randrange(256)
        wide.store(byte * 0x0101010101010101)
        narrow.store(byte * 0x01010101)
        check_numbers(wide, narrow)
        wide.compare_exchange(wide.load(), byte * 0x0101010101010101)


def check_numbers(wide: Atomic, narrow: Atomic) -> None:
    """Check that the bytes of each number are equal."""
    for number in (wide.load(), wide.exchange(wide.load())):
        check(number % 0x0101010101010101 == 0, hex(number))
    check(narrow.load() % 0x01010101 == 0, hex(narrow.load()))


def wait(memory: Segment, first: int, source: random.Random) -> None:
    """Wait for the next step, make it, or cancel the waits."""
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
    """Detach the memory that other threads use, and attach it again."""
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
    """The number of outcomes of each use, the sum of the counter, and the failures."""

    def __init__(self) -> None:
        """Start with no outcomes."""
        self.outcomes: dict[str, collections.Counter[str]] = {}
        self.added: dict[str, int] = {}
        self.failures: list[str] = []
        self.stop = threading.Event()

    def work(self, number: int, use: Callable[..., None], memory: Segment) -> None:
        """Use the memory repeatedly until the end, or until a failure."""
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
                # Sometimes no thread may use the memory, otherwise it could never be detached.
                time.sleep(source.random() * 4e-3)
        self.added[name] = added


# --------------------------------------------------------------------------- fork and exec


def in_child(memory: SharedMemory, atomics: tuple[Atomic, ...], number: int) -> None:
    """Use the inherited handle, then a new one."""
    wide, narrow, counter = atomics
    check_numbers(wide, narrow)
    counter.add(1)
    source = random.Random(os.getpid())
    for handle in (memory, SharedMemory.from_id(memory.id)):
        for use in (store, read_and_write, view, attach_and_detach):
            with contextlib.suppress(*EXPECTED):
                use(handle, FIRST + number * SIZE, source)


#: The program that is started.
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
    """Return numbers on another attachment, which is never detached."""
    own = SharedMemory.from_id(memory.id)
    places = ((PATTERN64, "u64"), (PATTERN32, "u32"), (COUNTER, "u64"))
    yield tuple(own.atomic(offset, type) for offset, type in places)  # type: ignore[arg-type]


def start_others(memory: SharedMemory, tally: Tally, end: float) -> tuple[int, int]:
    """Fork and start programs until the end; return the number of each."""
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
                # A child that hangs is killed, which fails the test.
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
    """Run all uses for a number of seconds."""
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
    """Run the stress test and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    # CPython warns of forks with threads, which this program makes on purpose.
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
