"""Measure a message through a queue, within one process."""

from __future__ import annotations

from collections.abc import Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Table, add_against_floor, python

#: Name, bytes, statement, and the targets for the ratio and the own cost.
PAIRS = [
    ("send + receive, 64 B", 64, "q.send(m)\nq.receive()", 1.29, 0.40),
    (
        "the same with keywords",
        64,
        "q.send(m, block=True, type=1)\nq.receive(block=True, type=0)",
        1.32,
        0.26,
    ),
    ("send + receive, 8 KiB", 8192, "q.send(m)\nq.receive()", 1.34, 0.60),
]


def against_old(bench: Bench) -> Table:
    """Measure the calls that 1.2.0 has too."""
    table = Table("queue, one process")
    queue = sysv_ipc.MessageQueue(None, IPC_CREX, max_message_size=8192)
    for name, size, statement, at_most, own_at_most in PAIRS:
        message = b"x" * size
        contestants = {
            "floor": bench.floor("msg_pair", queue.id, size, 1),
            "ours": python(statement, q=queue, m=message),
        }
        if bench.old:
            old = bench.old.MessageQueue(queue.key, max_message_size=8192)
            contestants["1.2.0"] = python(statement, q=old, m=message)
        add_against_floor(table, name, bench.measure(contestants), at_most, own_at_most)
    queue.remove()
    return table


def only_here(bench: Bench) -> Table:
    """Measure the calls that 1.2.0 lacks."""
    table = Table("queue, not in 1.2.0")
    queue = sysv_ipc.MessageQueue(None, IPC_CREX)
    message, buffer, messages = b"x" * 64, bytearray(2048), [b"x" * 64] * 64
    contestants = {
        "floor": bench.floor("msg_pair", queue.id, 64, 1),
        "ours": python("q.send(m)\nq.receive_into(b)", q=queue, m=message, b=buffer),
    }
    add_against_floor(table, "send + receive_into, 64 B", bench.measure(contestants), 1.21)
    contestants = {
        "floor": bench.floor("msg_pair", queue.id, 64, 64),
        "ours": python("q.send_many(m)\nq.receive_many(64)", q=queue, m=messages, unrolled=2),
    }
    add_against_floor(table, "send_many + receive_many of 64", bench.measure(contestants), 1.12)
    contestants = {
        "floor": bench.floor("msg_pair", queue.id, 64, 1),
        "ours": python("q.try_send(m)\nq.try_receive()", q=queue, m=message),
    }
    add_against_floor(table, "try_send + try_receive, 64 B", bench.measure(contestants), None)
    queue.remove()
    return table


def ask(bench: Bench) -> Iterator[Table]:
    yield against_old(bench)
    yield only_here(bench)
