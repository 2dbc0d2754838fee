"""Try to make waits lose messages and permits, in processes and threads.

Senders and receivers wait with random timeouts, are cancelled at random moments and interrupted by
signals, while the queue is alternately full and empty.  At the end every message must have arrived
once, and every permit must be back.  stress_stop.py does the same with consumers that are stopped,
stress_aio.py with tasks.  The program runs in its own IPC namespace.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import sysv_ipc
from sysv_ipc import IPC_CREX, BusyError, CancelledError, MessageQueue, Semaphore, SharedMemory

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import namespace

#: For the other stress tests, which import it from here.
enter_namespace = namespace.enter

#: The types of messages: a number, and the end.
NUMBER, END = 1, 2


def random_timeout(source: random.Random) -> float | None:
    """Return None, a very short timeout, or a long one."""
    return source.choice([None, source.random() * 4e-5, source.random() * 4e-5, 5.0])


def disturbed(work: Callable[[], None], cancel: Callable[[], None], seed: int) -> None:
    """Call work() in the main thread, while signals arrive and cancel() is called."""
    source = random.Random(seed)
    done = threading.Event()

    def cancel_at_random() -> None:
        while not done.is_set():
            cancel()
            time.sleep(source.random() * 2e-3)

    canceller = threading.Thread(target=cancel_at_random)
    canceller.start()
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
    try:
        work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        done.set()
        canceller.join()


def again_and_again(call: Callable[[float | None], object], source: random.Random) -> object:
    """Call until a call succeeds, after timeouts and cancellations."""
    while True:
        try:
            return call(random_timeout(source))
        except (BusyError, CancelledError):
            continue


def in_threads(work: Callable[[int], None], threads: int, queue: MessageQueue, seed: int) -> None:
    """Call work(which) in a number of threads, of which the main thread is one."""
    others = [threading.Thread(target=work, args=(which,)) for which in range(1, threads)]
    for other in others:
        other.start()
    disturbed(lambda: work(0), queue.cancel, seed)
    for other in others:
        other.join()


def send(queue: MessageQueue, numbers: range, threads: int, seed: int) -> None:
    """Send the numbers, with pauses in which the queue becomes empty."""

    def work(which: int) -> None:
        source = random.Random(seed * 10 + which)
        for number in numbers[which::threads]:
            again_and_again(
                lambda timeout, n=number: queue.send(str(n), True, NUMBER, timeout=timeout),  # type: ignore[misc]
                source,
            )
            if source.random() < 0.0005:
                time.sleep(0.003)

    in_threads(work, threads, queue, seed)


def receive(queue: MessageQueue, seen: SharedMemory, threads: int, seed: int) -> None:
    """Count each number that arrives, in threads of one process, until the end arrives."""

    def take(which: int) -> None:
        source = random.Random(seed * 10 + which)
        while True:
            got = again_and_again(
                lambda timeout: queue.receive(True, -END, timeout=timeout), source
            )
            assert isinstance(got, tuple)
            content, type = got
            if type == END:
                return
            number = int(content)
            # Only the receiver of a number accesses its byte.
            seen[number] = seen[number] + 1
            if source.random() < 0.0005:
                time.sleep(0.003)

    in_threads(take, threads, queue, seed)


def run(function: Callable[[], None]) -> int:
    """Call the function in a new process; return its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return pid


def join(pids: list[int]) -> None:
    """Wait for processes to end; exit if one has failed."""
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        if status:
            sys.exit(f"a process ended with status {status}")


def stress_messages(count: int, senders: int, receivers: int, threads: int) -> None:
    """Send and receive messages in several processes with several threads; count them."""
    queue = MessageQueue(None, IPC_CREX)
    queue.max_size = 2000
    seen = SharedMemory(None, IPC_CREX, size=count, init_character=b"\0")
    start = time.monotonic()
    numbers = range(count)
    takers = [
        run(lambda i=i: receive(MessageQueue(queue.key), seen, threads, 100 + i))  # type: ignore[misc]
        for i in range(receivers)
    ]
    join(
        [
            run(lambda i=i: send(MessageQueue(queue.key), numbers[i::senders], threads, i))  # type: ignore[misc]
            for i in range(senders)
        ]
    )
    for _ in range(threads * receivers):
        queue.send("", True, END)
    join(takers)
    counts = seen.read()[:count]
    lost, twice = counts.count(0), len(counts) - counts.count(0) - counts.count(1)
    queue.remove()
    seen.remove()
    took = time.monotonic() - start
    print(f"{len(counts)} messages in {took:.0f} s: {lost} lost, {twice} twice", flush=True)
    if lost or twice:
        sys.exit(1)


def stress_permits(count: int) -> None:
    """Acquire and release repeatedly; exit unless all permits are back."""
    permits = 2
    semaphore = Semaphore(None, IPC_CREX, initial_value=permits)
    start = time.monotonic()

    def use(seed: int) -> None:
        own = Semaphore(semaphore.key)

        def work(which: int) -> None:
            source = random.Random(seed * 10 + which)
            for _ in range(count // 4):
                again_and_again(own.acquire, source)
                own.release()

        other = threading.Thread(target=work, args=(1,))
        other.start()
        disturbed(lambda: work(0), own.cancel, seed)
        other.join()

    join([run(lambda i=i: use(i)) for i in range(2)])  # type: ignore[misc]
    left = semaphore.value
    semaphore.remove()
    took = time.monotonic() - start
    print(f"{count} permits in {took:.0f} s: {left} of {permits} left at the end", flush=True)
    if left != permits:
        sys.exit(1)


def main() -> None:
    """Run all stress tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--permits", type=int, default=1_000_000)
    parser.add_argument("--tasks-messages", type=int, default=200_000, help="through aio")
    parser.add_argument("--consumers", type=int, default=2000, help="processes to stop")
    parser.add_argument("--senders", type=int, default=2, help="processes that send")
    parser.add_argument("--receivers", type=int, default=3, help="processes that receive")
    parser.add_argument("--threads", type=int, default=2, help="threads in each of them")
    options = parser.parse_args()
    enter_namespace()
    print(f"sysv_ipc {sysv_ipc.VERSION} on {sys.version.split()[0]}", flush=True)
    stress_messages(options.messages, options.senders, options.receivers, options.threads)
    stress_permits(options.permits)
    # Import them here, because they import this file.
    from stress_aio import stress_tasks
    from stress_stop import stress_stopped

    stress_stopped(options.consumers)
    stress_tasks(options.tasks_messages, options.senders, options.receivers)


if __name__ == "__main__":
    main()
