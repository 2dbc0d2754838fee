"""Measure the lists of as many objects as the kernel allows.

The floor is reading /proc/sysvipc, which is the kernel's part; the rival is ipcs(1).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Figure, Table, python, ratios

#: The objects to list: number, function that creates one, our list, removal, name of the table.
KINDS: dict[str, tuple[int, Callable[[], Any], str, Callable[[int], None], str]] = {
    "queues": (
        32000,
        lambda: sysv_ipc.MessageQueue(None, IPC_CREX),
        "message_queues",
        sysv_ipc.remove_message_queue,
        "msg",
    ),
    "sets": (
        32000,
        lambda: sysv_ipc.SemaphoreSet(None, 1, IPC_CREX),
        "semaphores",
        sysv_ipc.remove_semaphore,
        "sem",
    ),
    "segments": (
        4096,
        lambda: sysv_ipc.SharedMemory(None, IPC_CREX, init_character=None),
        "shared_memories",
        sysv_ipc.remove_shared_memory,
        "shm",
    ),
}


def ask(bench: Bench) -> Iterator[Table]:
    table = Table("lists")
    bench = bench.few(5 if bench.quick else 15)
    for name, (most, make, ours, remove, file) in KINDS.items():
        count = most // 16 if bench.quick else most
        ids = [make().id for _ in range(count)]
        listed = getattr(sysv_ipc, ours)
        if (found := len(listed())) != count:
            raise SystemExit(f"{found} {name} are listed, not {count}")
        path = Path("/proc/sysvipc") / file
        command = ["ipcs", {"msg": "-q", "sem": "-s", "shm": "-m"}[file]]
        contestants = {
            "floor": python("read()", unrolled=1, read=path.read_bytes),
            "ours": python("listed()", unrolled=1, listed=listed),
            "ipcs": python(
                "run(command, stdout=null, check=True)",
                unrolled=1, run=subprocess.run, command=command, null=subprocess.DEVNULL,
            ),
        }  # fmt: skip
        times = bench.measure(contestants)
        figures = {one: Figure(values, "ns") for one, values in times.items()}
        figures["ours to floor"] = Figure(ratios(times["ours"], times["floor"]), "x")
        table.add(f"{count} {name}", figures)
        for id in ids:
            remove(id)
    yield table
