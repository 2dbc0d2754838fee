"""How late a timeout, a cancel and a message are, against the old way: polling with naps.

The old way is what programs do without this library: try with NOWAIT, sleep, try again.  All
contestants take turns in one process.  Latency is the time from the message, the deadline or the
cancel until the waiting thread goes on; CPU is that of the whole process while 16 threads wait.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

from sysv_ipc import IPC_CREX, BusyError, CancelledError, MessageQueue

ROUNDS = 300
IDLE_SECONDS = 2.0


def polling(nap: float) -> Callable[[MessageQueue, float], float | None]:
    """Receive as programs do that cannot wait with a timeout."""

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


CONTESTANTS: dict[str, Callable[[MessageQueue, float], float | None]] = {
    "this library": waiting,
    "naps of 1 ms": polling(0.001),
    "naps of 10 ms": polling(0.01),
}


def lateness(receive: Callable[[MessageQueue, float], object], queue: MessageQueue) -> float:
    start = time.perf_counter()
    receive(queue, 0.005)
    return time.perf_counter() - start - 0.005


def latency(receive: Callable[[MessageQueue, float], float | None], queue: MessageQueue) -> float:
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


def idle_cpu(receive: Callable[[MessageQueue, float], object], queue: MessageQueue) -> float:
    """Measure the part of a core that 16 threads cost while nothing comes."""
    threads = [
        threading.Thread(target=receive, args=(queue, IDLE_SECONDS + 0.5)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    start = time.process_time()
    time.sleep(IDLE_SECONDS)
    used = time.process_time() - start
    for thread in threads:
        thread.join()
    return used / IDLE_SECONDS


def milliseconds(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered) * 1e3:8.3f}{ordered[int(len(ordered) * 0.99)] * 1e3:9.3f}"


def main() -> None:
    queue = MessageQueue(None, IPC_CREX)
    try:
        late: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        waited: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for _ in range(ROUNDS):
            for name, receive in CONTESTANTS.items():
                late[name].append(lateness(receive, queue))
                waited[name].append(latency(receive, queue))
        print(f"{'':15}{'5 ms timeout late by':>20}{'message after':>20}{'16 idle waiters':>18}")
        print(f"{'':15}{'median':>10}{'99 %':>9} ms{'median':>8}{'99 %':>9} ms{'of a core':>15}")
        for name, receive in CONTESTANTS.items():
            cpu = idle_cpu(receive, queue)
            columns = f"{milliseconds(late[name])}     {milliseconds(waited[name])}"
            print(f"{name:15}  {columns}{cpu:15.2%}")
        cancelled = [cancel_latency(queue) for _ in range(ROUNDS)]
        print(f"{'cancel()':15}  {'':22}{milliseconds(cancelled)}")
    finally:
        queue.remove()


if __name__ == "__main__":
    main()
