"""The cost of waiting in asyncio, compared with a thread per call and with asyncio's own queue.

Burst: many tasks wait for a message each, until a thread sends them all; the time until the last
task has its message.  Messages: one task sends and one receives.  Latency: from a message to a
thread until its answer, for which a task waits.  Cancel: a wait that begins and is cancelled.
asyncio.Queue never leaves the loop, so it has no latency and shows only what the loop itself costs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

from sysv_ipc import IPC_CREX, MessageQueue, aio

from ..harness import Bench, Figure, Table

Receive = Callable[[], Awaitable[object]]


def in_thread(queue: MessageQueue) -> Receive:
    """Receive as programs do without the library's asyncio part; cancelling loses messages."""
    return lambda: asyncio.to_thread(queue.receive)


async def burst(receive: Receive, queue: MessageQueue, tasks: int) -> float:
    """Return the seconds until all of the tasks have a message."""
    waiting = [asyncio.ensure_future(receive()) for _ in range(tasks)]
    await asyncio.sleep(0.3)
    sender = threading.Thread(target=queue.send_many, args=(["x"] * tasks,))
    start = time.perf_counter()
    sender.start()
    await asyncio.gather(*waiting)
    took = time.perf_counter() - start
    sender.join()
    return took


async def rate(receive: Receive, send: Receive, count: int) -> float:
    """Return how many messages a second go from one task to another."""

    async def again_and_again(call: Receive) -> None:
        for _ in range(count):
            await call()

    start = time.perf_counter()
    await asyncio.gather(again_and_again(receive), again_and_again(send))
    return count / (time.perf_counter() - start)


async def latency(receive: Receive, queue: MessageQueue, count: int) -> float:
    """Return the seconds for a message to a thread and its answer."""
    asked = MessageQueue(None, IPC_CREX)

    def answer() -> None:
        for message, _ in asked:
            queue.send(message)

    thread = threading.Thread(target=answer)
    thread.start()
    start = time.perf_counter()
    for _ in range(count):
        asked.send("x")
        await receive()
    took = time.perf_counter() - start
    asked.remove()
    thread.join()
    return took / count


async def cancel(receive: Receive, count: int) -> float:
    """Return the seconds that a cancelled wait takes."""
    start = time.perf_counter()
    for _ in range(count):
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return (time.perf_counter() - start) / count


def ask(bench: Bench) -> Iterator[Table]:
    rounds = bench.few(3 if bench.quick else 15).rounds
    scale = 10 if bench.quick else 1
    ours = aio.MessageQueue(None, IPC_CREX)
    queue = ours.handle
    local: asyncio.Queue[str] = asyncio.Queue(100)
    contestants: dict[str, tuple[Receive, Receive]] = {
        "ours": (ours.receive, lambda: ours.send("x")),
        "to_thread()": (in_thread(queue), lambda: asyncio.to_thread(queue.send, "x")),
        "asyncio.Queue": (local.get, lambda: local.put("x")),
    }
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in contestants}

    def note(name: str, column: str, value: float) -> None:
        figures[name].setdefault(column, []).append(value)

    with asyncio.Runner() as runner:
        for _ in range(rounds):
            for name, (receive, send) in contestants.items():
                if name != "asyncio.Queue":
                    took = runner.run(burst(receive, queue, 10000 // scale))
                    note(name, f"burst of {10000 // scale}, ms", took * 1e3)
                    took = runner.run(latency(receive, queue, 2000 // scale))
                    note(name, "there and back, us", took * 1e6)
                if name != "to_thread()":
                    # The thread of a cancelled to_thread() takes the next message.
                    took = runner.run(cancel(receive, 1000 // scale))
                    note(name, "cancelled, us", took * 1e6)
                note(name, "messages/s", runner.run(rate(receive, send, 10000 // scale)))
    ours.remove()
    ours.close()
    table = Table("aio")
    columns = list(dict.fromkeys(column for row in figures.values() for column in row))
    for name, row in figures.items():
        table.add(name, {column: Figure(row[column]) for column in columns if column in row})
    yield table
