"""What large copies and atomics cost: against memcpy(3), and for a thread beside them.

The floor is memcpy(3) in the same process, called through ctypes, between the segment and a buffer;
it and ``read_into()`` take turns.  A second thread counts, alone and beside the copies.  Of the
short calls the cheapest round counts: what else the machine does only adds to it.
"""

from __future__ import annotations

import ctypes
import statistics
import threading
import time
import timeit
from collections.abc import Callable

from sysv_ipc import IPC_CREX, SharedMemory

SIZE = 256 << 20
ROUNDS = 9

memcpy = ctypes.CDLL(None).memcpy
memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Counter:
    """A thread that counts, as fast as it can."""

    def __init__(self) -> None:
        self.count = 0
        self.stop = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.stop:
            self.count += 1

    def per_second(self, call: Callable[[], object]) -> float:
        """How fast it counts while the call lasts."""
        before = self.count
        took = seconds(call)
        return (self.count - before) / took


def copies(memory: SharedMemory, buffer: bytearray) -> None:
    """Print read_into() against memcpy(3), and what a thread beside it gets done."""
    target = (ctypes.c_char * SIZE).from_buffer(buffer)
    source = (ctypes.c_char * SIZE).from_buffer(memory)
    to, origin = ctypes.addressof(target), ctypes.addressof(source)
    ratios = []
    for _ in range(ROUNDS):
        floor = seconds(lambda: memcpy(to, origin, SIZE))
        ratios.append(floor / seconds(lambda: memory.read_into(buffer)))
    print(f"read_into() of 256 MiB: {statistics.median(ratios):.2f} of memcpy's speed")

    counter = Counter()
    shares, beside = [], []
    for _ in range(ROUNDS):
        alone = counter.per_second(lambda: time.sleep(0.1))
        floor = seconds(lambda: memcpy(to, origin, SIZE))
        shares.append(counter.per_second(lambda: memory.read_into(buffer)) / alone)
        beside.append(floor / seconds(lambda: memory.read_into(buffer)))
    counter.stop = True
    counter.thread.join()
    print(
        f"beside it a thread counts at {statistics.median(shares):.0%} of its speed,"
        f" and the copy is at {statistics.median(beside):.2f} of memcpy's beside the same thread"
    )


def calls(memory: SharedMemory) -> None:
    """Print what the short calls of an atomic cost."""
    number = memory.atomic(0, "i64")
    statements = ["load()", "store(1)", "add(1)", "compare_exchange(1, 1)"]
    for statement in statements:
        timer = timeit.Timer(f"number.{statement}", globals={"number": number})
        floor = timeit.Timer("pass")
        best, loop = (min(t.repeat(1000, 2000)) / 2000 * 1e9 for t in (timer, floor))
        print(f"atomic {statement:24}{best - loop:6.0f} ns")


def main() -> None:
    memory = SharedMemory(None, IPC_CREX, size=SIZE)
    memory.remove()
    copies(memory, bytearray(SIZE))
    calls(memory)


if __name__ == "__main__":
    main()
