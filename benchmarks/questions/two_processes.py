"""Measure the throughput of messages between two processes, relative to raw C.

The sender and the receiver of each contestant are of the same kind.  Lists of 64 are sent and
received in one call; the floor makes a system call for each message in both cases.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Figure, Table, python, ratios
from ..partner import Partner, per

LIST = 64
#: The targets for single messages and for lists, relative to raw C.
TARGETS = {"ours": 0.92, "lists": 0.97}
SIZES = (1, 64, 256, 1024, 2048, 4096, 8192)


def list_receiver(queue: sysv_ipc.MessageQueue) -> Contestant:
    """Receive messages in lists; a call returns the messages that are there, at most a list."""

    def run(count: int) -> float:
        left = count * LIST
        start = time.perf_counter_ns()
        while left > 0:
            left -= len(queue.receive_many(left if left < LIST else LIST))
        return (time.perf_counter_ns() - start) / count

    return run


def sides(
    bench: Bench, queue: sysv_ipc.MessageQueue, size: int
) -> tuple[dict[str, Contestant], dict[str, Contestant]]:
    """Return senders and receivers."""
    message = b"x" * size
    send = {
        "floor": bench.floor("msg_send", queue.id, size, 1),
        "ours": python("q.send(m)", q=queue, m=message),
        "lists": per(LIST, python("q.send_many(m)", unrolled=1, q=queue, m=[message] * LIST)),
    }
    receive = {
        "floor": bench.floor("msg_receive", queue.id, size, 0),
        "ours": python("q.receive()", q=queue),
        "lists": per(LIST, list_receiver(queue)),
    }
    if bench.old:
        old = bench.old.MessageQueue(queue.key, max_message_size=queue.max_message_size)
        send["1.2.0"] = python("q.send(m)", q=old, m=message)
        receive["1.2.0"] = python("q.receive()", q=old)
    return send, receive


def throughput(
    bench: Bench, size: int, rounds: int, targets: Mapping[str, float]
) -> dict[str, Figure]:
    """Return the time of one message of this size, and the throughput relative to the floor."""
    queue = sysv_ipc.MessageQueue(None, IPC_CREX, max_message_size=max(size, 64))
    send, receive = sides(bench, queue, size)
    with Partner(send) as partner:
        contestants = {name: partner.beside(name, side) for name, side in receive.items()}
        times = bench.few(rounds, 0.005 if bench.quick else 0.02).measure(contestants)
    queue.remove()
    figures = {name: Figure(values, "ns") for name, values in times.items()}
    for name in [name for name in times if name != "floor"]:
        part = ratios(times["floor"], times[name])
        figures[f"{name}, of the floor's"] = Figure(part, "x", at_least=targets.get(name))
    return figures


def ask(bench: Bench) -> Iterator[Table]:
    table = Table("two processes, a message")
    table.add("64 B", throughput(bench, 64, 30 if bench.quick else 150, TARGETS))
    yield table
    table = Table("two processes, by size")
    for size in SIZES:
        table.add(f"{size} B", throughput(bench, size, 5 if bench.quick else 30, {}))
    yield table
