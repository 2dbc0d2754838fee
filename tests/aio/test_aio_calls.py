"""``sysv_ipc.aio``: what each call does, and how its wait ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from helpers import begun, blocked, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, ArgumentError, BusyError, ExistentialError, aio

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]


def fill(queue: sysv_ipc.MessageQueue, size: int = 2048) -> int:
    """Send until the queue is full; return how many messages that took."""
    count = 0
    while queue.try_send(b"x" * size, 99):
        count += 1
    return count


# ---------------------------------------------------------------------------------- the calls


def test_a_call_that_need_not_wait_starts_no_thread(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    async def main() -> None:
        before = os.listdir("/proc/self/task")
        await messages.send("text", type=3)
        assert await messages.receive() == (b"text", 3)
        assert await permits.acquire() is True
        assert await permits.zero() is True
        permits.release()
        async with permits as same:
            assert same is permits
            assert permits.handle.value == 0
        assert set(os.listdir("/proc/self/task")) <= set(before)

    run(main)
    assert permits.handle.value == 1


def test_receive_waits_for_a_message_of_its_type(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        task = asyncio.create_task(messages.receive(type=5))
        await begun(task)
        messages.handle.send("another", type=4)
        await begun(task)
        messages.handle.send("this one", type=5)
        assert await task == (b"this one", 5)
        assert await messages.receive() == (b"another", 4)
        others = asyncio.create_task(messages.receive(type=7, except_type=True))
        lowest = asyncio.create_task(messages.receive(type=-3))
        await begun(others, lowest)
        messages.handle.send("not this", type=7)
        await begun(others, lowest)
        messages.handle.send("low", type=2)
        messages.handle.send("low", type=2)
        assert [await others, await lowest] == [(b"low", 2)] * 2

    run(main)


@pytest.mark.parametrize("size", [0, 1, 2048])
def test_messages_of_each_length_come_in_order(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue, size: int
) -> None:
    """A thread that watches the queue takes an empty message, and leaves any other one."""

    async def main() -> None:
        for _ in range(20):
            task = asyncio.create_task(messages.receive())
            await blocked("msgrcv")
            messages.handle.send(b"x" * size, type=3)
            messages.handle.send("second", type=4)
            assert await task == (b"x" * size, 3)
            assert await messages.receive() == (b"second", 4)

    run(main)


def test_send_waits_for_room_and_keeps_the_order(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        messages.handle.max_size = 100
        tasks = [asyncio.create_task(messages.send(bytes([i]) * 60)) for i in range(20)]
        got = [await messages.receive() for _ in range(20)]
        assert [content[0] for content, _ in got] == list(range(20))
        await asyncio.gather(*tasks)

    run(main)


def test_a_message_that_waits_is_sent_as_it_was_when_the_call_was_made(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        filled = fill(messages.handle)
        given = bytearray(b"before" * 200)
        task = asyncio.create_task(messages.send(given, type=9))
        await begun(task)
        given[:] = b"after!" * 200
        for _ in range(filled):
            messages.handle.receive(type=99)
        await task
        assert (await messages.receive(type=9))[0] == b"before" * 200

    run(main)


def test_tasks_get_permits_in_the_order_in_which_they_asked(
    run: Callable[[Main[None]], None], permits: aio.Semaphore
) -> None:
    inside: list[int] = []

    async def use(number: int) -> None:
        async with permits:
            inside.append(number)
            await asyncio.sleep(0)
            assert permits.handle.value == 0

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(use(number))

    run(main)
    assert inside == list(range(200))
    assert permits.handle.value == 1


def test_tasks_get_messages_in_the_order_in_which_they_asked(messages: aio.MessageQueue) -> None:
    async def main() -> None:
        order: list[int] = []

        async def receive(number: int) -> None:
            await messages.receive()
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(receive(number))
                await asyncio.sleep(0)
                if number % 3 == 2:
                    messages.handle.send_many(["x"] * 3)
        assert order == list(range(300))

    asyncio.run(main())


def test_semaphore_sets_wait(run: Callable[[Main[None]], None], members: aio.SemaphoreSet) -> None:
    async def main() -> None:
        both = asyncio.create_task(members.acquire(0, 1))
        other = asyncio.create_task(members.op([(1, -2), (2, 1)]))
        await begun(both, other)
        members.release(0, 1)
        assert await both is True
        members.release(1)
        members.release(1)
        assert await other is True
        assert members.handle.values == (0, 0, 1)
        zero = asyncio.create_task(members.zero(0, 2))
        await begun(zero)
        members.handle[2].value = 0
        assert await zero is True

    run(main)


def test_semaphores_wait_for_zero(
    run: Callable[[Main[None]], None], permits: aio.Semaphore
) -> None:
    async def main() -> None:
        task = asyncio.create_task(permits.zero())
        await begun(task)
        permits.handle.acquire()
        assert await task is True

    run(main)


def test_async_for_receives_until_the_queue_is_removed(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def collect() -> list[tuple[bytes, int]]:
        return [(message, type) async for message, type in messages]

    async def main() -> None:
        task = asyncio.create_task(collect())
        for number in range(1, 4):
            await messages.send(str(number), type=number)
        while messages.handle.current_messages:
            await asyncio.sleep(0.001)
        messages.remove()
        assert await task == [(b"1", 1), (b"2", 2), (b"3", 3)]

    run(main)


def test_a_message_is_cut_only_for_a_task_that_asks_for_it(messages: aio.MessageQueue) -> None:
    content = bytes(range(100))

    async def main() -> None:
        short = aio.MessageQueue.from_id(messages.id, max_message_size=10)
        cut = asyncio.create_task(short.receive(type=1, truncate=True))
        whole = asyncio.create_task(short.receive(type=2))
        await blocked("msgrcv", 2)
        messages.handle.send(content, type=1)
        assert await cut == (content[:10], 1)
        messages.handle.send(content, type=2)
        with pytest.raises(ArgumentError) as caught:
            await whole
        assert caught.value.errno == errno.E2BIG
        assert messages.handle.receive(False) == (content, 2)

    asyncio.run(main())


def test_a_semaphore_whose_handle_does_not_block_does_not_wait(permits: aio.Semaphore) -> None:
    permits.handle.block = False
    asyncio.run(permits.acquire())
    with pytest.raises(BusyError):
        asyncio.run(permits.acquire())


# ----------------------------------------------------------------------------- how waits end


@pytest.mark.parametrize("others", [0, 2], ids=["alone", "behind others"])
@pytest.mark.parametrize(
    "wait",
    [
        lambda q, s, z: q.receive(timeout=0.03),
        lambda q, s, z: q.send(b"x" * 2048, timeout=0.03),
        lambda q, s, z: s.acquire(0.03, 5),
        lambda q, s, z: s.zero(timeout=0.03),
        lambda q, s, z: z.acquire(0, 1, timeout=0.03),
        lambda q, s, z: z.zero(2, timeout=0.03),
        lambda q, s, z: z.op([(0, -1)], 0.03),
    ],
)
def test_each_wait_has_a_timeout(
    run: Callable[[Main[None]], None],
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    wait: Callable[..., Awaitable[object]],
    others: int,
) -> None:
    async def main() -> None:
        members.handle[2].value = 1
        if wait.__code__.co_names[0] == "send":
            fill(messages.handle)
        before = messages.handle.current_messages
        loop = asyncio.get_running_loop()
        start = loop.time()
        waits = [wait(messages, permits, members) for _ in range(others + 1)]
        for error in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(error, BusyError)
            assert error.id is not None
        assert 0.025 <= loop.time() - start < 10
        assert messages.handle.current_messages == before
        assert members.handle.values == (0, 0, 1)

    run(main)


def test_without_time_a_call_tries_once(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    async def main() -> None:
        waiting = asyncio.create_task(messages.receive())
        await begun(waiting)
        for call in (messages.receive(False), messages.receive(timeout=0), permits.zero(0)):
            with pytest.raises(BusyError):
                await call
        await messages.send("x")
        assert await waiting == (b"x", 1)
        assert await permits.acquire(float("inf")) is True
        task = asyncio.create_task(permits.acquire(1e300))
        await begun(task)
        permits.release()
        await task

    run(main)


def test_the_timeouts_of_asyncio_work(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await messages.receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(messages.receive(), 0.02)
        await messages.send("still there")
        assert await messages.receive() == (b"still there", 1)

    run(main)


def test_removal_ends_all_waits_with_errors_that_say_as_much_as_those_of_the_library(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(messages.receive(type=i % 3)) for i in range(9)]
        await blocked("msgrcv", 3)
        messages.remove()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert len({id(result) for result in results}) == 9
        for error in results:
            assert isinstance(error, ExistentialError)
            assert (error.errno, error.kind) == (errno.EIDRM, "message queue")
            assert (error.id, error.key) == (messages.id, messages.key)
            assert str(pickle.loads(pickle.dumps(error))) == str(error)
            assert error.__notes__

    run(main)


def test_close_ends_the_waits_of_all_tasks(
    messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    async def main() -> None:
        permits.handle.acquire()
        fill(messages.handle)
        tasks: list[asyncio.Task[Any]] = [
            *(asyncio.create_task(messages.receive(type=number)) for number in (1, 1, 2)),
            *(asyncio.create_task(messages.send(b"x" * 2048)) for _ in range(2)),
            *(asyncio.create_task(permits.acquire()) for _ in range(2)),
        ]
        await begun(*tasks)
        messages.close()
        permits.close()
        permits.close()
        for result in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10):
            assert isinstance(result, ValueError)
            assert "has been closed" in str(result)
        with pytest.raises(ValueError, match="has been closed"):
            await permits.acquire()

    asyncio.run(main())


def test_a_second_init_ends_the_waits_of_the_first() -> None:
    async def main() -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        first = messages.handle
        task = asyncio.create_task(messages.receive())
        await begun(task)
        messages.__init__(None, IPC_CREX)  # type: ignore[misc]
        with pytest.raises(ValueError, match="has been closed"):
            await asyncio.wait_for(task, 10)
        await messages.send("x")
        assert await messages.receive() == (b"x", 1)
        messages.close()
        messages.remove()
        first.remove()

    asyncio.run(main())


@pytest.mark.parametrize(
    "inside", [None, ZeroDivisionError("inside"), asyncio.CancelledError()], ids=repr
)
def test_an_exception_from_a_block_survives_a_release_that_fails(
    permits: aio.Semaphore, inside: BaseException | None
) -> None:
    async def use() -> BaseException | None:
        try:
            async with permits:
                permits.remove()
                if inside is not None:
                    raise inside
        except BaseException as error:
            return error
        return None

    error = asyncio.run(use())
    if inside is None:
        assert isinstance(error, ExistentialError)
    else:
        assert error is inside
        assert [
            note.startswith("release() also failed: [Errno 22]") for note in error.__notes__
        ] == [True]


# ------------------------------------------------------------------------------- as objects


def test_subclasses_and_copies_wait_too(messages: aio.MessageQueue) -> None:
    class Greeter(aio.MessageQueue):
        def __init__(self, key: int | None) -> None:
            super().__init__(key, max_message_size=10)

    greeter = Greeter(messages.key)
    assert type(Greeter.from_id(messages.id)) is Greeter
    assert repr(greeter) == f"<sysv_ipc.aio.Greeter of {greeter.handle!r}>"
    assert (greeter.id, greeter.key) == (messages.id, messages.key)
    copied = pickle.loads(pickle.dumps(aio.MessageQueue(messages.key, max_message_size=10)))
    assert (copied.id, copied.handle.max_message_size) == (messages.id, 10)
    asyncio.run(greeter.send("hello"))
    assert asyncio.run(copied.receive(timeout=10)) == (b"hello", 1)


def test_constructors_take_the_arguments_of_the_library(messages: aio.MessageQueue) -> None:
    for name in aio.__all__:
        ours, theirs = getattr(aio, name), getattr(sysv_ipc, name)
        assert list(inspect.signature(ours).parameters) == list(
            inspect.signature(theirs).parameters
        )
    assert list(inspect.signature(aio.Semaphore.from_id).parameters) == ["id", "index"]
    assert aio.MessageQueue.from_id(messages.id, 7).handle.max_message_size == 7


def test_misspelt_keywords_are_errors_for_type_checkers_too(messages: aio.MessageQueue) -> None:
    """Mypy complains about a comment that ignores no error."""
    with pytest.raises(TypeError):
        aio.MessageQueue(None, max_mesage_size=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        aio.Semaphore(None, inital_value=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        aio.SemaphoreSet(None, nsem=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        aio.MessageQueue.from_id(messages.id, max_mesage_size=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        aio.Semaphore.from_id(messages.id, indx=1)  # type: ignore[call-arg]


def test_the_module_is_imported_only_when_asked_for() -> None:
    code = "import sys, sysv_ipc; print('asyncio' in sys.modules, 'sysv_ipc.aio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False\n"


def test_an_object_whose_call_failed_goes_with_its_last_reference() -> None:
    collected: list[str] = []

    class Queue(aio.MessageQueue):
        def __del__(self) -> None:
            collected.append("gone")

    async def main(when: str) -> None:
        queue = Queue(None, IPC_CREX)
        if when == "before":
            queue.remove()
        else:
            asyncio.get_running_loop().call_later(0.01, queue.handle.remove)
        with contextlib.suppress(ExistentialError):
            await queue.receive()

    gc.disable()
    try:
        for when in ("before", "meanwhile"):
            asyncio.run(main(when))
        # The worker thread drops its reference a moment later.
        wait_until(lambda: len(collected) == 2)
    finally:
        gc.enable()
