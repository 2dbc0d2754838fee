"""Measure reading, writing, copying and creating segments.

Targets are parts of 1.2.0's time in the same run: 40, 30 and 35 ns for 261, 266 and 191 ns of
1.2.0.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Figure, Table, python, ratios

MIB = 1 << 20

#: Statement, and its target as a part of 1.2.0's time.
SMALL = [
    ("m.read(64)", 40 / 261),
    ("m.write(b)", 30 / 266),
    ("m.size", 35 / 191),
    ("memoryview(m)", 1 / 3),
]


def small(bench: Bench) -> Table:
    """Measure calls that make no system call."""
    table = Table("segment, 64 B")
    segment = sysv_ipc.SharedMemory(None, IPC_CREX)
    for statement, at_most in SMALL:
        names: dict[str, Any] = {"b": b"x" * 64, "memoryview": memoryview}
        contestants = {"ours": python(statement, m=segment, **names)}
        if bench.old:
            old = bench.old.SharedMemory(segment.key)
            contestants["1.2.0"] = python(statement, m=old, **names)
        times = bench.measure(contestants)
        figures = {name: Figure(values, "ns") for name, values in times.items()}
        if bench.old:
            part = ratios(times["ours"], times["1.2.0"])
            figures["ours to 1.2.0"] = Figure(part, "x", at_most)
            old.detach()
        table.add(statement, figures)
    segment.remove()
    return table


#: Statement on an atomic number, and its target in nanoseconds.
ATOMIC = [("a.add(1)", 60.0), ("a.load()", None), ("a.store(7)", None)]


def atomics(bench: Bench) -> Table:
    """Measure atomic numbers."""
    table = Table("segment, atomic numbers")
    segment = sysv_ipc.SharedMemory(None, IPC_CREX, init_character=None)
    for statement, at_most in ATOMIC:
        times = bench.measure({"ours": python(statement, a=segment.atomic(0, "i64"))})
        table.add(statement, {"ours": Figure(times["ours"], "ns", at_most)})
    segment.remove()
    return table


def large(bench: Bench) -> Table:
    """Measure a copy that is larger than the caches."""
    size = (64 if bench.quick else 256) * MIB
    table = Table("segment, large copies")
    segment = sysv_ipc.SharedMemory(None, IPC_CREX, size=size)
    buffer = bytearray(size)
    with memoryview(segment) as view:
        there, here = address_of(view), address_of(buffer)
        contestants = {
            "floor": bench.floor("copy", here, there, size),
            "ours": python("m.read_into(b)", unrolled=1, m=segment, b=buffer),
        }
        times = bench.few(5 if bench.quick else 25).measure(contestants)
    figures = {name: Figure(values, "ns") for name, values in times.items()}
    reached = ratios(times["floor"], times["ours"])
    figures["memcpy to ours"] = Figure(reached, "x", at_least=0.9)
    kept = [speed_kept(segment, buffer) for _ in times["ours"][:10]]
    figures["speed of a thread beside it"] = Figure(kept, "x", at_least=0.4)
    table.add(f"read_into, {size // MIB} MiB", figures)
    segment.remove()
    segment.detach()
    return table


def speed_kept(segment: sysv_ipc.SharedMemory, buffer: bytearray) -> float:
    """Return the work of a computing thread during a copy, as a part of its work without one."""
    turns, stop = [0], threading.Event()

    def compute() -> None:
        while not stop.is_set():
            turns[0] += 1

    def speed_while(call: Callable[[], object]) -> float:
        before, start = turns[0], time.perf_counter()
        call()
        return (turns[0] - before) / (time.perf_counter() - start)

    thread = threading.Thread(target=compute)
    thread.start()
    copying = speed_while(lambda: [segment.read_into(buffer) for _ in range(3)])
    alone = speed_while(lambda: time.sleep(0.05))
    stop.set()
    thread.join()
    return copying / alone


def address_of(buffer: Any) -> int:
    """Return the address of the bytes; the caller must keep the buffer."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def creating(bench: Bench) -> Table:
    """Measure creating a large segment whose memory is not accessed."""
    size = (64 if bench.quick else 512) * MIB
    table = Table(f"creating a segment of {size // MIB} MiB")
    statement = "m = SharedMemory(None, IPC_CREX, size=size{})\nm.remove()\nm.detach()"
    lazily, filled = statement.format(", init_character=None"), statement.format("")

    def make(statement: str, cls: Any) -> Contestant:
        return python(statement, 1, SharedMemory=cls, IPC_CREX=IPC_CREX, size=size)

    contestants = {
        "floor": bench.floor("shm_create", size),
        "ours": make(lazily, sysv_ipc.SharedMemory),
    }
    if bench.old:
        contestants["1.2.0"] = make(filled, bench.old.SharedMemory)
    times = bench.few(3 if bench.quick else 7).measure(contestants)
    figures = {name: Figure(values, "ns") for name, values in times.items()}
    figures["ours"].at_most = 1e6
    table.add("init_character=None; 1.2.0 fills", figures)
    return table


def ask(bench: Bench) -> Iterator[Table]:
    yield small(bench)
    yield atomics(bench)
    yield large(bench)
    yield creating(bench)
