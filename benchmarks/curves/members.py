"""Measure calls on sets of 1 to 32 000 members."""

from __future__ import annotations

from collections.abc import Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Table, add_against_floor, add_growth, python

COUNTS = (1, 10, 100, 1000, 10_000, 32_000)


def ask(bench: Bench) -> Iterator[Table]:
    bench = bench.few(bench.rounds // 5 or 1, bench.turn_seconds)
    tables = {
        name: Table(f"set: {name}")
        for name in ("values", "values = ...", "acquire(0) + release(0)", "create and remove")
    }
    for count in COUNTS[: 4 if bench.quick else None]:
        initial = [1] * count
        set = sysv_ipc.SemaphoreSet(None, count, IPC_CREX, initial_values=initial)
        pairs = {
            "values": (bench.floor("sem_values", set.id, 0), python("s.values", 1, s=set)),
            "values = ...": (
                bench.floor("sem_values", set.id, 1),
                python("s.values = v", 1, s=set, v=initial),
            ),
            "acquire(0) + release(0)": (
                bench.floor("sem_pair", set.id, 1),
                python("s.acquire(0)\ns.release(0)", s=set),
            ),
            "create and remove": (
                bench.floor("sem_create", count),
                python(
                    "C(key, n, flags, initial_values=v).remove()",
                    1,
                    C=sysv_ipc.SemaphoreSet,
                    key=sysv_ipc.IPC_PRIVATE,
                    n=count,
                    flags=IPC_CREX,
                    v=initial,
                ),
            ),
        }
        for name, (floor, ours) in pairs.items():
            # The previous round's write of the values must not leave zeros.
            set.values = initial
            times = bench.measure({"floor": floor, "ours": ours})
            add_against_floor(tables[name], str(count), times, None)
        set.remove()
    for table in tables.values():
        add_growth(table)
        yield table
