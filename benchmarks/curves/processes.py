"""Measure a pair of calls of 1 to 64 processes on one semaphore, and on one queue.

The time is that of all processes, divided by the number of pairs that they make.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Table, add_against_floor, add_growth, python
from ..partner import Partner

COUNTS = (1, 2, 4, 8, 16, 32, 64)


def crowd(partners: Sequence[Partner], name: str) -> Contestant:
    """Let every process make its share of the calls."""

    def run(count: int) -> float:
        share = -(-count // len(partners))
        start = time.perf_counter_ns()
        for partner in partners:
            partner.start(name, share)
        for partner in partners:
            partner.finish()
        return (time.perf_counter_ns() - start) / (share * len(partners))

    return run


def ask(bench: Bench) -> Iterator[Table]:
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX, initial_value=1)
    queue = sysv_ipc.MessageQueue(None, IPC_CREX)
    statement = "s.acquire()\ns.release()"
    kinds: dict[str, tuple[Contestant, Contestant]] = {
        "acquire + release": (
            bench.floor("sem_contend", semaphore.id),
            python(statement, 1, s=semaphore),
        ),
        "send + receive, 64 B": (
            bench.floor("msg_contend", queue.id, 64),
            python("q.send(m)\nq.receive()", 1, q=queue, m=b"x" * 64),
        ),
    }
    few = bench.few(5 if bench.quick else 30, 0.02 if bench.quick else 0.2)
    for name, (floor, ours) in kinds.items():
        table = Table(f"processes: {name}")
        for count in COUNTS[: 4 if bench.quick else None]:
            with contextlib.ExitStack() as stack:
                partners = [
                    stack.enter_context(Partner({"floor": floor, "ours": ours}))
                    for _ in range(count)
                ]
                times = few.measure({side: crowd(partners, side) for side in ("floor", "ours")})
            add_against_floor(table, str(count), times, None)
        add_growth(table)
        yield table
    semaphore.remove()
    queue.remove()
