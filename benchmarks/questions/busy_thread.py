"""Measure how much one CPU-bound thread slows an uncontended pair of calls, here and in 1.2.0.

A thread that releases the GIL for a call that does not block must wait for the busy thread to
release it again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Figure, Table, python, ratios

#: The number of pairs that this library makes beside a busy thread, relative to 1.2.0.
TIMES_THE_PAIRS = 50


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """Let a second thread compute."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def pairs(module: Any, semaphore_key: int | None, queue_key: int | None) -> dict[str, Contestant]:
    """Return the pairs of calls that a library makes on these objects."""
    semaphore, queue = module.Semaphore(semaphore_key), module.MessageQueue(queue_key)
    return {
        "semaphore": python("s.acquire()\ns.release()", unrolled=4, s=semaphore),
        "queue, 64 B": python("q.send(m)\nq.receive()", unrolled=4, q=queue, m=b"x" * 64),
    }


def ask(bench: Bench) -> Iterator[Table]:
    table = Table("beside one CPU-bound thread")
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX, initial_value=1)
    queue = sysv_ipc.MessageQueue(None, IPC_CREX)
    libraries = {"ours": pairs(sysv_ipc, semaphore.key, queue.key)}
    if bench.old:
        libraries["1.2.0"] = pairs(bench.old, semaphore.key, queue.key)
    bench = bench.few(10 if bench.quick else 20, 0.05 if bench.quick else 0.2)
    for pair in libraries["ours"]:
        contestants = {name: library[pair] for name, library in libraries.items()}
        alone = bench.measure(contestants)
        with busy_thread():
            busy = bench.measure(contestants)
        figures = {}
        for name in contestants:
            figures[f"{name} alone"] = Figure(alone[name], "ns")
            figures[f"{name} busy"] = Figure(busy[name], "ns")
        if bench.old:
            more = ratios(busy["1.2.0"], busy["ours"])
            figures["pairs, of 1.2.0's"] = Figure(more, "x", at_least=TIMES_THE_PAIRS)
        table.add(pair, figures)
    semaphore.remove()
    queue.remove()
    yield table
