"""Measure opening an object by its key, and the import of the library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import (
    OLD_FLOOR,
    Bench,
    Contestant,
    Figure,
    Table,
    add_against_floor,
    python,
    ratios,
)

#: Statement and floor.  Two kinds need a second system call: to see whether a semaphore has its
#: initial value, and to get the size of a segment.
KINDS: list[tuple[str, str, str, tuple[int, ...]]] = [
    ("Semaphore", "C(key)", "sem_open", (1,)),
    ("MessageQueue", "C(key)", "msg_open", ()),
    # A handle of 1.2.0 that is dropped stays attached.
    ("SharedMemory, and detach", "C(key).detach()", "shm_open", (1,)),
]
IMPORT = "from time import perf_counter as now; t = now(); import sysv_ipc; print(now() - t)"


def by_key(bench: Bench) -> Table:
    """Measure the constructors with existing objects; the handle is dropped each time."""
    table = Table("open by key")
    for name, statement, call, looks in KINDS:
        cls = name.partition(",")[0]
        made = getattr(sysv_ipc, cls)(None, IPC_CREX)
        contestants = {
            "floor": bench.floor(call, made.key, *looks),
            "ours": python(statement, C=getattr(sysv_ipc, cls), key=made.key),
        }
        if bench.old:
            contestants["1.2.0"] = python(statement, C=getattr(bench.old, cls), key=made.key)
            if looks:
                contestants[OLD_FLOOR] = bench.floor(call, made.key, 0)
        add_against_floor(table, name, bench.measure(contestants), 1.40, 0.60)
        made.remove()
    return table


def fresh_import(python: str) -> Contestant:
    """Time an import in a new interpreter."""

    def run(count: int) -> float:
        command = [python, "-I", "-c", IMPORT]
        took = [
            subprocess.run(command, capture_output=True, check=True).stdout for _ in [0] * count
        ]
        return sum(map(float, took)) / count * 1e9

    return run


def importing(bench: Bench) -> Table:
    """Measure the import in a new interpreter."""
    table = Table("import sysv_ipc")
    contestants = {"ours": fresh_import(sys.executable)}
    if bench.old:
        contestants["1.2.0"] = fresh_import(f"{bench.rivals}/bin/python")
    times = bench.few(10 if bench.quick else 25).measure(contestants)
    figures = {name: Figure(values, "ns") for name, values in times.items()}
    if bench.old:
        figures["ours to 1.2.0"] = Figure(ratios(times["ours"], times["1.2.0"]), "x", 3.0)
    table.add("import sysv_ipc", figures)
    return table


def ask(bench: Bench) -> Iterator[Table]:
    yield by_key(bench)
    yield importing(bench)
