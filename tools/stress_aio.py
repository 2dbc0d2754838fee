"""Try to make sysv_ipc.aio lose something: messages, while tasks are cancelled at random.

Processes with one or two loops each send and receive, while the queue is full and empty in turn.
Tasks are cancelled at random moments, by task.cancel(), asyncio.timeout() and wait_for(), or their
own time is up.  A cancelled send tells whether it was done.  At the end every message that was
sent has come once.  Then one task sends to another one in the same way, and the order is kept.
"""

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from stress import END, NUMBER, join, run

import sysv_ipc
from sysv_ipc import IPC_CREX, SharedMemory, aio

T = TypeVar("T")

#: In each process, each in a thread of its own.
LOOPS = 2
#: Tasks that wait at the same time in each loop.
TASKS = 12


async def impatiently(
    wait: Callable[[float | None], Coroutine[Any, Any, T]], source: random.Random
) -> T:
    """Await it in one of the ways in which a wait ends early."""
    patience = source.choice([0.0, source.random() * 2e-4, source.random() * 2e-3])
    match source.randrange(5):
        case 0:
            async with asyncio.timeout(patience):
                return await wait(None)
        case 1:
            return await asyncio.wait_for(wait(None), patience)
        case 2:
            return await wait(patience)
        case 3:
            task = asyncio.ensure_future(wait(None))
            asyncio.get_running_loop().call_later(patience, task.cancel)
            return await task
    return await wait(None)


def was_done(error: BaseException | None) -> bool:
    """Return True if the CancelledError in the chain says that the call was done."""
    while error is not None:
        if isinstance(error, asyncio.CancelledError):
            return bool(getattr(error, "done", False))
        error = error.__cause__ or error.__context__
    return False


async def send(queue: aio.MessageQueue, numbers: "list[int]", seed: int) -> None:
    """Send the numbers; one whose send was not done is sent again."""
    source = random.Random(seed)

    async def work() -> None:
        while numbers:
            number = numbers.pop()
            try:
                await impatiently(
                    lambda timeout, n=number: queue.send(str(n), type=NUMBER, timeout=timeout),  # type: ignore[misc]
                    source,
                )
            except (TimeoutError, asyncio.CancelledError) as error:
                if not was_done(error):
                    numbers.append(number)
            if source.random() < 0.002:
                await asyncio.sleep(0.003)

    await asyncio.gather(*(work() for _ in range(TASKS)))


async def receive(queue: aio.MessageQueue, seen: SharedMemory, seed: int) -> None:
    """Count each number that comes, until the end has come."""
    source = random.Random(seed)

    async def work() -> None:
        while True:
            try:
                content, type = await impatiently(
                    lambda timeout: queue.receive(type=-END, timeout=timeout), source
                )
            except (TimeoutError, asyncio.CancelledError):
                continue
            if type == END:
                # For the next one, who may be in another process.
                await queue.send("", type=END)
                return
            number = int(content)
            seen[number] = seen[number] + 1
            if source.random() < 0.02:
                await asyncio.sleep(0.003)

    await asyncio.gather(*(work() for _ in range(TASKS)))


def in_loops(work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run work(which) in LOOPS loops, each in its own thread; all share an object."""
    failed: list[BaseException] = []

    def run_loop(which: int) -> None:
        try:
            asyncio.run(work(which))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run_loop, args=(which,)) for which in range(LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def send_all(id: int, numbers: range, seed: int) -> None:
    """Send a share of the numbers, in several loops of this process."""
    queue = aio.MessageQueue.from_id(id)
    shares = [list(numbers[which::LOOPS]) for which in range(LOOPS)]
    in_loops(lambda which: send(queue, shares[which], seed * 10 + which))


def receive_all(id: int, seen: SharedMemory, seed: int) -> None:
    """Receive in several loops of this process."""
    queue = aio.MessageQueue.from_id(id)
    in_loops(lambda which: receive(queue, seen, seed * 10 + which))
    queue.close()


def stress_tasks(count: int, senders: int, receivers: int) -> None:
    """Send and receive count messages in several processes, and count them."""
    queue = sysv_ipc.MessageQueue(None, IPC_CREX)
    queue.max_size = 100
    seen = SharedMemory(None, IPC_CREX, size=count, init_character=b"\0")
    start = time.monotonic()
    takers = [run(partial(receive_all, queue.id, seen, 100 + i)) for i in range(receivers)]
    join([run(partial(send_all, queue.id, range(i, count, senders), i)) for i in range(senders)])
    queue.send("", True, END)
    join(takers)
    while (rest := queue.try_receive(NUMBER)) is not None:
        number = int(rest[0])
        seen[number] = seen[number] + 1
    counts = seen.read()[:count]
    lost, twice = counts.count(0), len(counts) - counts.count(0) - counts.count(1)
    queue.remove()
    seen.remove()
    took = time.monotonic() - start
    print(
        f"{len(counts)} messages through aio in {took:.0f} s: {lost} lost, {twice} twice",
        flush=True,
    )
    if lost or twice:
        sys.exit(1)
    asyncio.run(stress_order(count // 4))


async def stress_order(count: int) -> None:
    """Send from one task to another, whose calls are cancelled at random; compare the order."""
    queue = aio.MessageQueue(None, IPC_CREX)
    queue.handle.max_size = 30
    start = time.monotonic()
    received: list[int] = []

    async def send_in_order() -> None:
        source = random.Random(11)
        for number in range(count):
            sent = False
            while not sent:
                try:
                    await impatiently(
                        lambda timeout, n=number: queue.send(str(n), timeout=timeout),  # type: ignore[misc]
                        source,
                    )
                    sent = True
                except (TimeoutError, asyncio.CancelledError) as error:
                    sent = was_done(error)

    async def receive_in_order() -> None:
        source = random.Random(12)
        while len(received) < count:
            try:
                message, _ = await impatiently(
                    lambda timeout: queue.receive(timeout=timeout), source
                )
                received.append(int(message))
            except (TimeoutError, asyncio.CancelledError):
                continue

    await asyncio.gather(send_in_order(), receive_in_order())
    queue.remove()
    queue.close()
    wrong = sum(1 for i, number in enumerate(received) if i != number)
    took = time.monotonic() - start
    print(f"{count} messages from task to task in {took:.0f} s: {wrong} out of order", flush=True)
    if wrong:
        sys.exit(1)
