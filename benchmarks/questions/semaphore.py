"""Measure a pair of calls on a semaphore.

The floor makes the same system calls as the library: semop(2) with IPC_NOWAIT, also for a call with
a timeout, because the library passes the timeout to the kernel only if it must wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Table, add_against_floor, python

PAIRS = [
    ("acquire + release", "s.acquire()\ns.release()", 1.18, 0.32),
    ("acquire(timeout=1) + release", "s.acquire(timeout=1)\ns.release()", 1.23, 0.20),
    ("with semaphore: pass", "with s: pass", 1.42, 0.48),
]
FAILED = "try:\n    s.acquire(0)\nexcept BusyError:\n    pass"


def uncontended(bench: Bench) -> Table:
    """Measure calls that succeed at once."""
    table = Table("semaphore, uncontended")
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX, initial_value=1)
    for name, statement, at_most, own_at_most in PAIRS:
        contestants = {
            "floor": bench.floor("sem_pair", semaphore.id, 1),
            "ours": python(statement, s=semaphore),
        }
        if bench.old:
            contestants["1.2.0"] = python(statement, s=bench.old.Semaphore(semaphore.key))
        add_against_floor(table, name, bench.measure(contestants), at_most, own_at_most)
    semaphore.remove()
    return table


def busy(bench: Bench) -> Table:
    """Measure calls that fail because the value is 0."""
    table = Table("semaphore, busy")
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX)
    floor = bench.floor("sem_busy", semaphore.id)

    def failed(module: Any, handle: Any) -> Any:
        # CPython counts the lines of a function up to the exception: in a function that is
        # twenty times as long as a user's, that takes longer than everything else.
        return python(FAILED, unrolled=1, s=handle, BusyError=module.BusyError)

    contestants = {"floor": floor, "ours": failed(sysv_ipc, semaphore)}
    if bench.old:
        contestants["1.2.0"] = failed(bench.old, bench.old.Semaphore(semaphore.key))
    add_against_floor(table, "acquire(0), BusyError caught", bench.measure(contestants), 4)
    contestants = {"floor": floor, "ours": python("s.try_acquire()", s=semaphore)}
    add_against_floor(table, "try_acquire() is False", bench.measure(contestants), 1.35)
    semaphore.remove()
    return table


def members(bench: Bench) -> Table:
    """Measure operations on several members of a set in one call."""
    table = Table("set of 4 members, all in one call")
    set = sysv_ipc.SemaphoreSet(None, 4, IPC_CREX, initial_values=[1] * 4)
    floor = bench.floor("sem_pair", set.id, 4)
    take, give = ([(index, delta) for index in range(4)] for delta in (-1, 1))
    compiled = python("take()\ngive()", take=set.compile(take), give=set.compile(give))
    parsed = python("s.op(take)\ns.op(give)", s=set, take=take, give=give)
    named = python("s.acquire(0, 1, 2, 3)\ns.release(0, 1, 2, 3)", s=set)
    times = bench.measure({"floor": floor, "ours": compiled})
    add_against_floor(table, "compiled take + give", times, 1.25)
    times = bench.measure({"floor": floor, "ours": parsed})
    add_against_floor(table, "op(take) + op(give)", times, None)
    times = bench.measure({"floor": floor, "ours": named})
    add_against_floor(table, "acquire(0, 1, 2, 3) + release", times, None)
    set.remove()
    return table


def ask(bench: Bench) -> Iterator[Table]:
    yield uncontended(bench)
    yield busy(bench)
    yield members(bench)
