"""``sysv_ipc.aio``: a cancelled call has either happened or not, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import calls
import pytest
from helpers import (
    blocked,
    cancel,
    contents,
    in_child,
    in_each_loop,
    in_loop,
    start,
    threads_in,
    wait_until,
)

from sysv_ipc import BusyError, aio

# --------------------------------------------------------------------------------- messages


@in_each_loop
async def test_a_cancelled_task_or_closed_coroutine_leaves_its_place_to_the_next(
    messages: aio.MessageQueue,
) -> None:
    coroutine = messages.receive()
    coroutine.send(None)
    tasks = [asyncio.create_task(messages.receive()) for _ in range(5)]
    await blocked("msgrcv")
    coroutine.close()
    for which in (0, 3):
        tasks[which].cancel()
    await blocked("msgrcv")
    messages.handle.send_many(["a", "b", "c"])
    await asyncio.wait(tasks, timeout=10)
    assert [tasks[i].result()[0] for i in (1, 2, 4)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("order", [1, -1], ids=["first to last", "last to first"])
@in_loop
async def test_no_thread_takes_messages_for_tasks_that_have_left(
    messages: aio.MessageQueue, order: int
) -> None:
    tasks = [asyncio.create_task(messages.receive()) for _ in range(3)]
    await blocked("msgrcv")
    for task in tasks[::order]:
        await cancel(task)
    assert threads_in("msgrcv") == 0
    for number in range(1, 4):
        with pytest.raises(BusyError):
            await messages.receive(timeout=0.005 * number)
    for content in "abc":
        messages.handle.send(content)
    assert [messages.handle.receive(False)[0] for _ in range(3)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("content", [b"first", b""], ids=["a message", "an empty message"])
@in_each_loop
async def test_a_message_that_comes_for_a_task_that_is_cancelled_stays(
    messages: aio.MessageQueue, content: bytes
) -> None:
    """It comes while the task cannot run; only an empty one, which was taken, loses its place."""
    for _ in range(20):
        task = asyncio.create_task(messages.receive())
        await blocked("msgrcv")
        messages.handle.send(content, type=7)
        wait_until(lambda: threads_in("msgrcv") == 0)
        messages.handle.send("second")
        await cancel(task)
        with pytest.raises(BusyError):
            await messages.receive(timeout=0, type=6)
        expected = [(content, 7), (b"second", 1)]
        got = messages.handle.receive_many(9)
        assert got == (expected if content else expected[::-1])


@in_loop
async def test_an_empty_message_that_cannot_go_back_is_the_next_one_of_its_object(
    messages: aio.MessageQueue,
) -> None:
    task = asyncio.create_task(messages.receive())
    await blocked("msgrcv")
    messages.handle.send(b"")
    wait_until(lambda: threads_in("msgrcv") == 0)
    messages.handle.send("full")
    messages.handle.max_size = 1
    await cancel(task)
    assert messages.handle.current_messages == 1
    assert await messages.receive() == (b"", 1)


@in_loop
async def test_a_message_goes_to_a_task_that_waits_for_its_type_if_another_is_cancelled(
    messages: aio.MessageQueue,
) -> None:
    anything = asyncio.create_task(messages.receive())
    seven = asyncio.create_task(messages.receive(type=7))
    await blocked("msgrcv", 2)
    messages.handle.send("for either", type=7)
    anything.cancel()
    assert await asyncio.wait_for(seven, 10) == (b"for either", 7)


@pytest.mark.parametrize("number", [1, 16], ids=["one task", "16 tasks"])
@in_each_loop
async def test_messages_of_one_sender_come_once_and_in_order_whatever_is_cancelled(
    messages: aio.MessageQueue, number: int
) -> None:
    """The sender is a thread; tasks are cancelled at random while they receive."""
    received: list[int] = []
    cancelled, count = 0, 5000
    source = random.Random(9)

    def send() -> None:
        pauses = random.Random(8)
        for content in range(count):
            messages.handle.send(str(content))
            if content % 4 == 0:
                # So that tasks have to wait, however slow they are.
                wait_until(lambda: messages.handle.current_messages == 0)
                time.sleep(pauses.random() * 3e-4)

    sender = threading.Thread(target=send)
    sender.start()
    while len(received) < count:
        tasks = [asyncio.create_task(messages.receive()) for _ in range(number)]
        for share in (0.4, 1):
            await asyncio.sleep(source.choice([0, 1e-4, 3e-4]))
            for task in tasks:
                if source.random() < share:
                    task.cancel()
        for task in tasks:
            try:
                received.append(int((await task)[0]))
            except asyncio.CancelledError:
                cancelled += 1
    sender.join()
    assert received == list(range(count))
    assert cancelled > 0


@in_loop
async def test_each_send_tells_whether_it_was_done_whatever_ends_it(
    messages: aio.MessageQueue,
) -> None:
    """Room comes, time is up and tasks are cancelled, all at the same time."""
    told: list[int] = []
    received: list[int] = []
    source = random.Random(12)

    async def send(number: int) -> None:
        timeout = source.choice([None, source.random() * 2e-3])
        try:
            await messages.send(f"{number:50}", timeout=timeout)
        except asyncio.CancelledError as error:
            if not error.done:  # type: ignore[attr-defined]
                return
        except BusyError:
            return
        told.append(number)

    def receive() -> None:
        pauses = random.Random(13)
        while (number := int(messages.handle.receive()[0])) >= 0:
            received.append(number)
            time.sleep(pauses.random() * 1e-3)

    messages.handle.max_size = 60
    receiver = threading.Thread(target=receive)
    receiver.start()
    for first in range(0, 4000, 8):
        tasks = [asyncio.create_task(send(first + i)) for i in range(8)]
        await asyncio.sleep(source.random() * 3e-3)
        for task in source.sample(tasks, 4):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await messages.send("-1")
    receiver.join()
    assert sorted(received) == sorted(told)
    assert 0 < len(told) < 4000


# ------------------------------------------------------------------------ permits, operations


@in_each_loop
async def test_cancelled_permits_come_back(permits: aio.Semaphore) -> None:
    source = random.Random(6)

    async def use() -> None:
        async with permits:
            await asyncio.sleep(source.random() * 1e-4)

    for _ in range(150):
        tasks = [asyncio.create_task(use()) for _ in range(6)]
        await asyncio.sleep(source.random() * 5e-4)
        for task in source.sample(tasks, 3):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert permits.handle.value == 1


async def acquired_too_late(permits: aio.Semaphore) -> asyncio.Task[bool]:
    """Return a task for which a thread has acquired a permit that the task has not got yet."""
    while permits.handle.value:
        permits.handle.acquire()
    task = asyncio.create_task(permits.acquire())
    await blocked("semop")
    permits.handle.release()
    wait_until(lambda: permits.handle.value == 0)
    return task


NOT_UNDONE = [calls.AIO_WAITS["MessageQueue.send"], calls.AIO_WAITS["SemaphoreSet.op"]]


@pytest.mark.parametrize("made", [False, True])
@in_each_loop
async def test_a_cancelled_call_has_either_happened_or_not(
    wait: calls.Wait, target: Any, opened: Any, made: bool
) -> None:
    """Only send() and op() cannot be undone; a second task waits behind the first."""
    first, second = start(wait, opened), start(wait, opened)
    await blocked()
    expected = contents(target)
    if made:
        with wait.target() as same:
            wait.end(same)
            ended = contents(same)
            await start(wait, type(opened).from_id(same.id), 0)
            called = contents(same)
        wait.end(target)
        # Before the loop runs and the first one has its result.  A receiver's thread takes nothing.
        in_thread = ended if wait == calls.AIO_WAITS["MessageQueue.receive"] else called
        wait_until(lambda: not threads_in() and contents(target) == in_thread)
        expected = called if wait in NOT_UNDONE else ended
    second.cancel()
    first.cancel()
    for task, done in ((second, False), (first, made and wait in NOT_UNDONE)):
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.done is done  # type: ignore[attr-defined]
    assert contents(target) == expected


@in_each_loop
async def test_a_permit_that_a_cancelled_task_has_not_got_yet_is_released_at_once(
    permits: aio.Semaphore,
) -> None:
    for _ in range(50):
        await cancel(await acquired_too_late(permits))
        assert permits.handle.value == 1
        assert await permits.acquire(timeout=0) is True


@in_loop
async def test_a_task_is_cancelled_although_its_object_has_been_removed(
    permits: aio.Semaphore,
) -> None:
    task = await acquired_too_late(permits)
    permits.remove()
    await cancel(task)


@in_loop
async def test_a_task_that_is_cancelled_before_its_thread_begins_takes_nothing(
    messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    before = set(os.listdir("/proc/self/task"))
    give: Callable[[], object]
    await permits.acquire()
    for number in range(300):
        for wait, give in (
            (messages.receive, lambda: messages.handle.send("x")),
            (permits.acquire, permits.release),
        ):
            task = asyncio.create_task(wait())
            await asyncio.sleep(0.0003 * (number % 3))
            task.cancel()
            give()
            await asyncio.gather(task, return_exceptions=True)
            await wait(timeout=0)
    # Each of these is the first of its kind, whose thread has not begun.
    for number in range(1, 51):
        tasks = [
            asyncio.create_task(messages.receive(type=number)),
            *(asyncio.create_task(permits.acquire(delta=number)) for _ in range(2)),
        ]
        await asyncio.sleep(0)
        await cancel(*tasks)
    assert permits.handle.waiting_for_nonzero == 0
    assert (messages.handle.current_messages, permits.handle.value) == (0, 0)
    wait_until(lambda: set(os.listdir("/proc/self/task")) <= before)


@pytest.mark.parametrize("undo", [False, True])
def test_undo_is_that_of_the_handle_when_the_call_was_made(
    permits: aio.Semaphore, undo: bool
) -> None:
    """The kernel gives back at the end what a process has taken with undo, in whatever thread."""
    handle = permits.handle

    async def late() -> asyncio.Task[bool]:
        handle.undo = undo
        task = asyncio.create_task(permits.acquire())
        await blocked("semop")
        handle.undo = False
        handle.release()
        wait_until(lambda: handle.value == 0)
        handle.undo = not undo
        return task

    async def main() -> list[int]:
        # Afterwards there is a handle with the other undo that the next calls use.
        handle.undo = not undo
        zero = asyncio.create_task(permits.zero())
        await blocked("semop")
        handle.undo = False
        handle.acquire()
        await zero
        await (await late())
        values = [handle.value]
        await cancel(await late())
        return [*values, handle.value]

    assert in_child(lambda: asyncio.run(main())) == [0, 1]
    assert handle.value == (2 if undo else 1)


@in_loop
async def test_a_sender_that_has_succeeded_is_not_told_that_its_object_was_closed(
    messages: aio.MessageQueue,
) -> None:
    messages.handle.max_size = 10
    messages.handle.send(b"x" * 10)
    task = asyncio.create_task(messages.send("after it"))
    await blocked("msgsnd")
    messages.handle.receive()
    wait_until(lambda: messages.handle.current_messages == 1)
    messages.close()
    await task
