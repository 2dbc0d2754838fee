"""Compare messages, locks and segments with other libraries and system calls.

Every row is one kind of channel, lock or segment.  The ratio is its time to ours: below 1 this
library is slower.  The notes say why.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import shared_memory
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Figure, Table, Times, python, ratios
from ..partner import Partner

MESSAGE = b"x" * 64
OURS = "MessageQueue"


@dataclass
class Channel:
    """A way to send: the calls on both ends, and how to remove it."""

    send: str
    receive: str
    ends: tuple[Any, Any]
    removal: Sequence[Callable[[], object]]

    def sender(self) -> Contestant:
        return python(self.send, c=self.ends[0], m=MESSAGE, write=os.write)

    def receiver(self) -> Contestant:
        return python(self.receive, d=self.ends[1], read=os.read)


def make_channels(bench: Bench) -> dict[str, Channel]:
    """Create one channel of each kind."""
    context = multiprocessing.get_context("fork")
    queue = sysv_ipc.MessageQueue(None, IPC_CREX)
    kept, simple = context.Queue(), context.SimpleQueue()
    there, here = context.Pipe(duplex=False)
    read_end, write_end = os.pipe()
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channels = {
        OURS: Channel("c.send(m)", "d.receive()", (queue, queue), [queue.remove]),
        "multiprocessing.Queue": Channel(
            "c.put(m)", "d.get()", (kept, kept), [kept.close, kept.join_thread]
        ),
        "multiprocessing.SimpleQueue": Channel(
            "c.put(m)", "d.get()", (simple, simple), [simple.close]
        ),
        "multiprocessing.Pipe": Channel(
            "c.send_bytes(m)", "d.recv_bytes()", (here, there), [here.close, there.close]
        ),
        "os.pipe": Channel(
            "write(c, m)",
            "read(d, 64)",
            (write_end, read_end),
            [partial(os.close, write_end), partial(os.close, read_end)],
        ),
        "Unix socket": Channel("c.send(m)", "d.recv(64)", (left, right), [left.close, right.close]),
    }
    if bench.old:
        old = bench.old.MessageQueue(None, IPC_CREX)
        channels["MessageQueue of 1.2.0"] = Channel(
            "c.send(m)", "d.receive()", (old, old), [old.remove]
        )
    if bench.posix_ipc:
        posix = bench.posix_ipc.MessageQueue(None, bench.posix_ipc.O_CREX)
        channels["posix_ipc.MessageQueue"] = Channel(
            "c.send(m)", "d.receive()", (posix, posix), [posix.unlink, posix.close]
        )
    return channels


def add_rows(table: Table, column: str, times: Times, ours: str) -> None:
    """Add a row for each contestant, or a column to the existing rows."""
    rows = dict(table.rows)
    for name, values in times.items():
        figures = {column: Figure(values, "ns")}
        if name != ours:
            figures[f"{column}, to ours"] = Figure(ratios(values, times[ours]), "x")
        if name in rows:
            rows[name].update(figures)
        else:
            table.add(name, figures)


def messages(bench: Bench) -> Table:
    """Measure 64 bytes: in one process, to another one, and there and back."""
    table = Table("a message of 64 B")
    few = bench.few(5 if bench.quick else 60, 0.002 if bench.quick else 0.02)
    there, back = make_channels(bench), make_channels(bench)
    with Partner({name: channel.sender() for name, channel in there.items()}) as partner:
        sides = {name: partner.beside(name, one.receiver()) for name, one in there.items()}
        across = few.measure(sides)

    def trip(first: Channel, second: Channel, send_first: bool) -> Contestant:
        lines = [first.send, second.receive] if send_first else [first.receive, second.send]
        ends = (first.ends[0], second.ends[1]) if send_first else (second.ends[0], first.ends[1])
        names = {"c": ends[0], "d": ends[1]}
        return python("\n".join(lines), m=MESSAGE, read=os.read, write=os.write, **names)

    with Partner({name: trip(there[name], back[name], False) for name in there}) as partner:
        trips = few.measure(
            {name: partner.beside(name, trip(there[name], back[name], True)) for name in there}
        )
    alone = bench.few(20 if bench.quick else 400, bench.turn_seconds).measure(
        {name: trip(channel, channel, True) for name, channel in there.items()}
    )
    add_rows(table, "one process", alone, OURS)
    add_rows(table, "two processes", across, OURS)
    add_rows(table, "there and back", trips, OURS)
    for channel in [*there.values(), *back.values()]:
        for remove in channel.removal:
            remove()
    table.notes += [
        "Pipes and sockets have no message types, and a pipe does not separate messages.  Their",
        "system calls copy into existing pages, while msgsnd(2) allocates each message.",
    ]
    return table


def locks(bench: Bench) -> Table:
    """Measure acquiring and releasing while no process waits."""
    table = Table("a lock, uncontended")
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX, initial_value=1)
    statement = "s.acquire()\ns.release()"
    contestants = {
        "Semaphore": python(statement, s=semaphore),
        "multiprocessing.Lock": python(statement, s=multiprocessing.Lock()),
    }
    if bench.old:
        contestants["Semaphore of 1.2.0"] = python(statement, s=bench.old.Semaphore(semaphore.key))
    if bench.posix_ipc:
        posix = bench.posix_ipc.Semaphore(None, bench.posix_ipc.O_CREX, initial_value=1)
        contestants["posix_ipc.Semaphore"] = python(statement, s=posix)
        posix.unlink()
    add_rows(table, "acquire + release", bench.measure(contestants), "Semaphore")
    semaphore.remove()
    table.notes += [
        "The faster ones are POSIX semaphores: words in shared memory, which need no system call",
        "while no process waits.  They cannot undo the operations of a dead process.",
    ]
    return table


def segments(bench: Bench) -> Table:
    """Measure creating, opening and reading a segment of 64 KiB."""
    table = Table("a segment of 64 KiB")
    size = 1 << 16
    ours = sysv_ipc.SharedMemory(None, IPC_CREX, size=size)
    theirs = shared_memory.SharedMemory(create=True, size=size)
    name = "SharedMemory"
    rival = "multiprocessing.shared_memory"
    new = {"C": sysv_ipc.SharedMemory, "flags": IPC_CREX, "size": size}
    times = bench.few(50, 0.001).measure(
        {
            name: python(
                "m = C(None, flags, size=size, init_character=None)\nm.remove()\nm.detach()",
                unrolled=2, **new,
            ),
            rival: python(
                "m = C(create=True, size=size)\nm.unlink()\nm.close()",
                unrolled=2, C=shared_memory.SharedMemory, size=size,
            ),
        }
    )  # fmt: skip
    add_rows(table, "make and remove", times, name)
    times = bench.measure(
        {
            name: python("m.read(64)", m=ours),
            f"{name}, view kept": python("bytes(v[:64])", v=memoryview(ours), bytes=bytes),
            rival: python("bytes(m.buf[:64])", m=theirs, bytes=bytes),
        }
    )
    add_rows(table, "read 64 B", times, name)
    times = bench.measure(
        {
            name: python("m.write(b)", m=ours, b=MESSAGE),
            f"{name}, view kept": python("v[:64] = b", v=memoryview(ours), b=MESSAGE),
            rival: python("m.buf[:64] = b", m=theirs, b=MESSAGE),
        }
    )
    add_rows(table, "write 64 B", times, name)
    theirs.unlink()
    theirs.close()
    ours.remove()
    return table


def ask(bench: Bench) -> Iterator[Table]:
    yield messages(bench)
    yield locks(bench)
    yield segments(bench)
