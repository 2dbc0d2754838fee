"""Measure the end of the waits of 1 to 1 000 threads or tasks, and their memory.

All wait for a message; then one is sent for each.  The time is from the first message until the
last waiter has ended, divided by the number of waiters.  If many threads return to the interpreter
at the same time, they compete for the GIL, which costs more than everything else.  Threads that
wait for one event, and threads of 1.2.0 that wait for the same messages, show that cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import sysv_ipc
from sysv_ipc import IPC_CREX, aio

from ..harness import Bench, Contestant, Figure, Table, add_growth, ratios, resident_bytes

COUNTS = (1, 10, 100, 1000)
MESSAGE = b"x" * 64

#: The contestants that are compared with each other.
PAIRS = [("ours", "1.2.0"), ("cancel", "Event"), ("tasks", "floor")]
STACK_BYTES = 1 << 18


def nap_seconds(count: int) -> float:
    """Return the time that this number of threads needs until they wait."""
    return 0.01 + count * 0.0003


class Waiters:
    """The contestants of one queue, and the memory of one waiter."""

    def __init__(self, bench: Bench, queue: sysv_ipc.MessageQueue, count: int) -> None:
        self.queue, self.count = queue, count
        self.memory: dict[str, float] = {}
        nap_ns = int(nap_seconds(count) * 1e9)
        floor = bench.floor("msg_waiters", queue.id, count, nap_ns)
        self.contestants: dict[str, Contestant] = {
            "floor": lambda _: floor(1) / count,
            "Event": lambda _: self.event_to_threads(),
            "ours": lambda _: self.messages_to_threads(self.wait),
            "cancel": lambda _: self.cancel(),
            "tasks": lambda _: asyncio.run(self.messages_to_tasks()),
        }
        if bench.old:
            old = bench.old.MessageQueue(queue.key)
            self.contestants["1.2.0"] = lambda _: self.messages_to_threads(old.receive)

    def wait(self) -> None:
        with contextlib.suppress(sysv_ipc.CancelledError):
            self.queue.receive()

    def threads(self, wait: Callable[[], object], end: Callable[[], None]) -> float:
        """Let threads wait, end their waits, and return the time for one."""
        before = resident_bytes()
        threads = [threading.Thread(target=wait) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        time.sleep(nap_seconds(self.count))
        self.memory["threads"] = (resident_bytes() - before) / self.count
        start = time.perf_counter_ns()
        end()
        for thread in threads:
            thread.join()
        return (time.perf_counter_ns() - start) / self.count

    def messages_to_threads(self, wait: Callable[[], object]) -> float:
        def send() -> None:
            for _ in range(self.count):
                self.queue.send(MESSAGE)

        return self.threads(wait, send)

    def event_to_threads(self) -> float:
        event = threading.Event()
        return self.threads(event.wait, event.set)

    def cancel(self) -> float:
        return self.threads(self.wait, self.queue.cancel)

    async def messages_to_tasks(self) -> float:
        waiting = aio.MessageQueue(self.queue.key)
        before = resident_bytes()
        tasks = [asyncio.create_task(waiting.receive()) for _ in range(self.count)]
        await asyncio.sleep(nap_seconds(self.count))
        self.memory["tasks"] = (resident_bytes() - before) / self.count
        start = time.perf_counter_ns()
        for _ in range(self.count):
            self.queue.send(MESSAGE)
        await asyncio.gather(*tasks)
        return (time.perf_counter_ns() - start) / self.count


def ask(bench: Bench) -> Iterator[Table]:
    table = Table("waiters, each")
    few = bench.few(3 if bench.quick else 15)
    threading.stack_size(STACK_BYTES)
    for count in COUNTS[: 3 if bench.quick else None]:
        queue = sysv_ipc.MessageQueue(None, IPC_CREX)
        waiters = Waiters(few, queue, count)
        times = few.measure(waiters.contestants)
        figures = {name: Figure(values, "ns") for name, values in times.items()}
        pairs = [(name, other) for name, other in PAIRS if other in times]
        for name, other in pairs:
            figures[f"{name} to {other}"] = Figure(ratios(times[name], times[other]), "x")
        for name, size in waiters.memory.items():
            figures[f"memory of {name}"] = Figure([size], "B")
        table.add(str(count), figures)
        queue.remove()
    add_growth(table, *(f"{name} to {other}" for name, other in pairs))
    threading.stack_size(0)
    yield table
