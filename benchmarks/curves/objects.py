"""Measure calls with 1 to 32 000 other objects of the same kind, and the memory of a handle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import (
    Bench,
    Figure,
    Table,
    add_growth,
    python,
    raise_limit,
    ratios,
    resident_bytes,
)

COUNTS = (1, 10, 100, 1000, 10_000, 32_000)

#: Class, the floors of creating and opening with their arguments, the call to detach.
KINDS: list[tuple[type, tuple[str, tuple[int, ...]], tuple[str, tuple[int, ...]]]] = [
    (sysv_ipc.Semaphore, ("sem_create", (1,)), ("sem_open", (1,))),
    (sysv_ipc.MessageQueue, ("msg_create", ()), ("msg_open", ())),
    (sysv_ipc.SharedMemory, ("shm_create", (4096,)), ("shm_open", (1,))),
]


def options(cls: type) -> dict[str, Any]:
    """Return the arguments that create a segment without filling it."""
    return {"init_character": None} if cls is sysv_ipc.SharedMemory else {}


def curve(bench: Bench, cls: Any, create: Any, reopen: Any) -> tuple[Table, Table]:
    """Measure one kind: creating and removing, and opening."""
    creating, opening = Table(f"{cls.__name__}: create, remove"), Table(f"{cls.__name__}: open")
    detach = ".detach()" if cls is sysv_ipc.SharedMemory else ""
    made: list[Any] = []
    before = resident_bytes()
    for count in COUNTS[: 4 if bench.quick else None]:
        # Each turn creates one more object.
        while len(made) < count - 1 or not made:
            made.append(cls(None, IPC_CREX, **options(cls)))
        size = (resident_bytes() - before) / len(made)
        key = made[len(made) // 2].key
        statement = f"x = C(None, flags, **more)\nx.remove()\n{'x' if detach else ''}{detach}"
        pairs = {
            "floor": bench.floor(create[0], *create[1]),
            "ours": python(statement, C=cls, flags=IPC_CREX, more=options(cls)),
        }
        add(creating, count, bench.measure(pairs), {"memory": Figure([size], "B each")})
        pairs = {
            "floor": bench.floor(reopen[0], key, *reopen[1]),
            "ours": python(f"C(key){detach}", C=cls, key=key),
        }
        add(opening, count, bench.measure(pairs), {})
    for one in made:
        one.remove()
    add_growth(creating)
    add_growth(opening)
    return creating, opening


def beside_segments(bench: Bench) -> Table:
    """Measure whether the number of segments slows a queue with a large buffer."""
    table = Table("send + receive, room for 64 KiB, beside segments")
    queue = sysv_ipc.MessageQueue(None, IPC_CREX, max_message_size=1 << 16)
    segments: list[sysv_ipc.SharedMemory] = []
    for count in COUNTS[: 4 if bench.quick else None]:
        while len(segments) < count:
            segments.append(sysv_ipc.SharedMemory(None, IPC_CREX, init_character=None))
        pairs = {
            "floor": bench.floor("msg_pair", queue.id, 64, 1),
            "ours": python("q.send(m)\nq.receive()", q=queue, m=b"x" * 64),
        }
        add(table, count, bench.measure(pairs), {})
    for segment in segments:
        segment.remove()
    queue.remove()
    add_growth(table)
    return table


def add(table: Table, count: int, times: dict[str, list[float]], more: dict[str, Figure]) -> None:
    """Add a row of times, their ratio and other figures."""
    figures = {name: Figure(values, "ns") for name, values in times.items()}
    figures["ours to floor"] = Figure(ratios(times["ours"], times["floor"]), "x")
    table.add(str(count), {**figures, **more})


def ask(bench: Bench) -> Iterator[Table]:
    raise_limit("shmmni", "32768")
    bench = bench.few(bench.rounds // 5 or 1, bench.turn_seconds)
    for cls, create, reopen in KINDS:
        yield from curve(bench, cls, create, reopen)
    yield beside_segments(bench)
