"""Measure segments of 4 KiB to 8 GiB whose memory is not accessed."""

from __future__ import annotations

from collections.abc import Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Figure, Table, add_against_floor, add_growth, python, resident_bytes

SIZES = (1 << 12, 1 << 20, 1 << 26, 1 << 30, 1 << 33)


def ask(bench: Bench) -> Iterator[Table]:
    bench = bench.few(bench.rounds // 5 or 1, bench.turn_seconds)
    creating = Table("segment: create, attach, detach, remove")
    opening = Table("segment: open by key, attach, detach")
    before = resident_bytes()
    for size in SIZES:
        pairs = {
            "floor": bench.floor("shm_create", size),
            "ours": python(
                "x = C(None, flags, size=size, init_character=None)\nx.remove()\nx.detach()",
                1,
                C=sysv_ipc.SharedMemory,
                flags=IPC_CREX,
                size=size,
            ),
        }
        add_against_floor(creating, f"{size >> 10} KiB", bench.measure(pairs), None)
        segment = sysv_ipc.SharedMemory(None, IPC_CREX, size=size, init_character=None)
        grown = (resident_bytes() - before) / 1024
        creating.rows[-1][1]["memory"] = Figure([grown], "KiB")
        pairs = {
            "floor": bench.floor("shm_open", segment.key or 0, 1),
            "ours": python("C(key).detach()", 1, C=sysv_ipc.SharedMemory, key=segment.key),
        }
        add_against_floor(opening, f"{size >> 10} KiB", bench.measure(pairs), None)
        segment.remove()
        segment.detach()
    add_growth(creating)
    add_growth(opening)
    yield creating
    yield opening
