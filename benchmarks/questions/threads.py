"""Measure how much more two threads do than one, each with its own objects.

Without the GIL they do not slow each other.  With it they take turns, except while a call waits in
the kernel.  The floor never holds the GIL and shows the limit of the machine.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Figure, Table, python, ratios

#: The target without the GIL: the work of two threads, relative to one.
AT_LEAST = 1.7


def together(sides: list[Contestant]) -> Contestant:
    """Let each contestant run in its own thread; return the time divided by all calls."""

    def run(count: int) -> float:
        barrier = threading.Barrier(len(sides) + 1)

        def work(side: Contestant) -> None:
            barrier.wait()
            side(count)
            barrier.wait()

        threads = [threading.Thread(target=work, args=(side,)) for side in sides]
        for thread in threads:
            thread.start()
        barrier.wait()
        start = time.perf_counter_ns()
        barrier.wait()
        took = time.perf_counter_ns() - start
        for thread in threads:
            thread.join()
        return took / count / len(sides)

    return run


def figures(bench: Bench, make: Callable[[], Contestant], at_least: float | None) -> Figure:
    """Return the work of two threads, relative to one."""
    sides = [make(), make()]
    contestants = {"one": together(sides[:1]), "two": together(sides)}
    times = bench.few(10 if bench.quick else 40, 0.02).measure(contestants)
    return Figure(ratios(times["one"], times["two"]), "x", at_least=at_least)


def ask(bench: Bench) -> Iterator[Table]:
    has_gil = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
    at_least = None if has_gil else AT_LEAST
    table = Table(f"two threads to one, {'with' if has_gil else 'without'} the GIL")
    if has_gil:
        table.notes.append("the target is for a free-threaded interpreter: make bench PYTHON=...")
    semaphores = [sysv_ipc.Semaphore(None, IPC_CREX, initial_value=1) for _ in range(4)]
    queues = [sysv_ipc.MessageQueue(None, IPC_CREX) for _ in range(4)]
    spare, full = iter(semaphores), iter(queues)
    kinds: dict[str, tuple[Callable[[], Contestant], Callable[[], Contestant]]] = {
        "semaphore": (
            lambda: bench.floor("sem_pair", next(spare).id, 1),
            lambda: python("s.acquire()\ns.release()", s=next(spare)),
        ),
        "queue, 64 B": (
            lambda: bench.floor("msg_pair", next(full).id, 64, 1),
            # Each thread has its own message, because reference counts of a shared object slow
            # both threads.
            lambda: python("q.send(m)\nq.receive()", q=next(full), m=bytes(bytearray(64))),
        ),
    }
    for name, (floor, ours) in kinds.items():
        row = {"floor": figures(bench, floor, None), "ours": figures(bench, ours, at_least)}
        table.add(name, row)
    for semaphore in semaphores:
        semaphore.remove()
    for queue in queues:
        queue.remove()
    yield table
