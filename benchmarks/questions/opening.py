"""What it costs to open an object by its key, and to import the library."""

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

#: Statement and floor; of two kinds we look at what was opened: whether a semaphore has its value
#: already, and how many bytes a segment has.
KINDS: list[tuple[str, str, str, tuple[int, ...]]] = [
    ("Semaphore", "C(key)", "sem_open", (1,)),
    ("MessageQueue", "C(key)", "msg_open", ()),
    # 1.2.0 stays attached to what it forgets.
    ("SharedMemory, and detach", "C(key).detach()", "shm_open", (1,)),
]
IMPORT = "from time import perf_counter as now; t = now(); import sysv_ipc; print(now() - t)"


def by_key(bench: Bench) -> Table:
    """Ask about the constructors of what exists; the handle is dropped each time."""
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
    """Time an import in an interpreter of its own."""

    def run(count: int) -> float:
        command = [python, "-I", "-c", IMPORT]
        took = [
            subprocess.run(command, capture_output=True, check=True).stdout for _ in [0] * count
        ]
        return sum(map(float, took)) / count * 1e9

    return run


def importing(bench: Bench) -> Table:
    """Ask about the import in a fresh interpreter."""
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
