"""Measure messages of 0 to 65 536 bytes, in one process, with a buffer for the largest."""

from __future__ import annotations

from collections.abc import Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Table, add_against_floor, add_growth, python, raise_limit

LARGEST = 65_536
SIZES = (0, 1, 64, 256, 1024, 2048, 4096, 8192, 16_384, 32_768, LARGEST)


def ask(bench: Bench) -> Iterator[Table]:
    raise_limit("msgmax", str(LARGEST))
    raise_limit("msgmnb", str(4 * LARGEST))
    bench = bench.few(bench.rounds // 5 or 1, bench.turn_seconds)
    table = Table("send + receive, by size")
    into = Table("send + receive_into, by size")
    queue = sysv_ipc.MessageQueue(None, IPC_CREX, max_message_size=LARGEST)
    buffer = bytearray(LARGEST)
    for size in SIZES:
        message = b"x" * size
        floor = bench.floor("msg_pair", queue.id, size, 1)
        ours = python("q.send(m)\nq.receive()", q=queue, m=message)
        add_against_floor(table, f"{size} B", bench.measure({"floor": floor, "ours": ours}), None)
        ours = python("q.send(m)\nq.receive_into(b)", q=queue, m=message, b=buffer)
        add_against_floor(into, f"{size} B", bench.measure({"floor": floor, "ours": ours}), None)
    queue.remove()
    for curve in table, into:
        add_growth(curve)
        yield curve
