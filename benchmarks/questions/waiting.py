"""Measure how late a timeout, a message and a cancel() are, compared with polling.

Polling is the usual way without this library: try with NOWAIT, sleep, try again.  Latency is the
time from the message, the deadline or cancel() until the waiting thread continues.  CPU is that of
the whole process while 16 threads wait.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator

from sysv_ipc import IPC_CREX, BusyError, CancelledError, MessageQueue

from ..harness import Bench, Figure, Table

Receive = Callable[[MessageQueue, float], float | None]


def polling(nap: float) -> Receive:
    """Receive by polling."""

    def receive(queue: MessageQueue, timeout: float) -> float | None:
        deadline = time.perf_counter() + timeout
        while (message := queue.try_receive()) is None:
            if time.perf_counter() > deadline:
                return None
            time.sleep(nap)
        return float(message[0])

    return receive


def waiting(queue: MessageQueue, timeout: float) -> float | None:
    try:
        return float(queue.receive(timeout=timeout)[0])
    except (BusyError, CancelledError):
        return None


CONTESTANTS: dict[str, Receive] = {
    "ours": waiting,
    "naps of 1 ms": polling(0.001),
    "naps of 10 ms": polling(0.01),
}


def lateness(receive: Receive, queue: MessageQueue) -> float:
    """Return the time from its deadline until a call returns, in seconds."""
    start = time.perf_counter()
    receive(queue, 0.005)
    return time.perf_counter() - start - 0.005


def latency(receive: Receive, queue: MessageQueue) -> float:
    """Return the time from sending a message until it is received, in seconds."""
    took: list[float] = []

    def wait() -> None:
        sent = receive(queue, 10)
        took.append(time.perf_counter() - (sent or 0))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.0031)
    queue.send(repr(time.perf_counter()))
    thread.join()
    return took[0]


def cancel_latency(queue: MessageQueue) -> float:
    """Return the time from cancel() until the waiting thread continues, in seconds."""
    took: list[float] = []

    def wait() -> None:
        waiting(queue, 10)
        took.append(time.perf_counter())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.003)
    start = time.perf_counter()
    while not took:
        queue.cancel()
        thread.join(0.01)
    return took[0] - start


def idle_cpu(receive: Receive, queue: MessageQueue, seconds: float) -> float:
    """Return the part of a core that 16 waiting threads use, in per cent."""
    threads = [threading.Thread(target=receive, args=(queue, seconds + 0.5)) for _ in range(16)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    start = time.process_time()
    time.sleep(seconds)
    used = time.process_time() - start
    for thread in threads:
        thread.join()
    return used / seconds * 100


def spread(name: str, seconds: list[float]) -> dict[str, Figure]:
    """Return the median and the 99th percentile."""
    late = sorted(seconds)[int(len(seconds) * 0.99)]
    middle = statistics.median(seconds)
    return {name: Figure([middle * 1e3], "ms"), f"{name}, 99 %": Figure([late * 1e3], "ms")}


def ask(bench: Bench) -> Iterator[Table]:
    queue = MessageQueue(None, IPC_CREX)
    rounds = bench.few(30 if bench.quick else 300).rounds
    late: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    waited: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, receive in CONTESTANTS.items():
            late[name].append(lateness(receive, queue))
            waited[name].append(latency(receive, queue))
    table = Table("waiting")
    for name, receive in CONTESTANTS.items():
        idle = idle_cpu(receive, queue, 0.1 if bench.quick else 2)
        figures = {**spread("timeout late by", late[name]), **spread("message", waited[name])}
        table.add(name, {**figures, "16 wait": Figure([idle], "% of a core")})
    table.add("cancel()", spread("message", [cancel_latency(queue) for _ in range(rounds)]))
    queue.remove()
    yield table
