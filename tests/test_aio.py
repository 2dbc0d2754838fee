"""``sysv_ipc.aio``: waits that are awaited, and nothing lost when tasks are cancelled."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from helpers import LOOPS, aio_helpers, begun, wait_until

from sysv_ipc import ArgumentError, BusyError, ExistentialError, aio

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]


async def take_for_nobody(messages: aio.MessageQueue) -> None:
    """Let a helper take a message for a task that is cancelled before it hears of it."""
    task = asyncio.create_task(messages.receive())
    await begun(task)
    messages.handle.send("precious", type=7)
    wait_until(lambda: messages.handle.current_messages == 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The helper has done all that it had to do.
    wait_until(lambda: not messages._lines._lines)


# --------------------------------------------------------------------------------- the calls


def test_what_is_there_is_taken_without_a_thread(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    before = aio_helpers()

    async def main() -> None:
        await messages.send("text", type=3)
        assert await messages.receive() == (b"text", 3)
        assert await permits.acquire() is True
        assert await permits.zero() is True
        permits.release()
        async with permits as same:
            assert same is permits
            assert permits.handle.value == 0

    run(main)
    assert permits.handle.value == 1
    assert aio_helpers() == before


def test_a_wait_ends_when_a_message_comes(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        task = asyncio.create_task(messages.receive(type=5))
        await begun(task)
        messages.handle.send("another", type=4)
        await begun(task)
        messages.handle.send("that", type=5)
        assert await task == (b"that", 5)
        assert await messages.receive() == (b"another", 4)

    run(main)


def test_a_send_waits_for_room_and_keeps_the_order(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        messages.handle.max_size = 100
        tasks = [asyncio.create_task(messages.send(bytes([i]) * 60)) for i in range(20)]
        got = [await messages.receive() for _ in range(20)]
        assert [content[0] for content, _ in got] == list(range(20))
        await asyncio.gather(*tasks)

    run(main)


def test_what_is_sent_is_what_was_given(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        while messages.handle.try_send(b"x" * 1000):
            pass
        given = bytearray(b"before" * 200)
        task = asyncio.create_task(messages.send(given, type=9))
        await begun(task)
        given[:] = b"after!" * 200
        for _ in range(2):
            messages.handle.receive(type=1)
        await task
        assert (await messages.receive(type=9))[0] == b"before" * 200

    run(main)


def test_permits_go_round(run: Callable[[Main[None]], None], permits: aio.Semaphore) -> None:
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


def test_sets_are_awaited(run: Callable[[Main[None]], None], members: aio.SemaphoreSet) -> None:
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


# ------------------------------------------------------------------------- timeouts and ends


@pytest.mark.parametrize(
    "wait",
    [
        lambda q, s, z: q.receive(timeout=0.03),
        lambda q, s, z: q.send(b"x" * 1000, timeout=0.03),
        lambda q, s, z: s.acquire(0.03, 5),
        lambda q, s, z: s.zero(timeout=0.03),
        lambda q, s, z: z.acquire(0, 1, timeout=0.03),
        lambda q, s, z: z.op([(0, -1)], 0.03),
    ],
)
def test_time_is_up_in_every_wait(
    run: Callable[[Main[None]], None],
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    wait: Callable[..., Awaitable[object]],
) -> None:
    async def main() -> None:
        if wait.__code__.co_names[0] == "send":
            while messages.handle.try_send(b"x" * 1000):
                pass
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(BusyError) as caught:
            await wait(messages, permits, members)
        assert 0.025 <= loop.time() - start < 10
        assert caught.value.id is not None
        before = messages.handle.current_messages
        await asyncio.sleep(0.02)
        assert messages.handle.current_messages == before

    run(main)


def test_no_time_is_one_attempt_and_bad_timeouts_are_refused(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    async def main() -> None:
        for call in (messages.receive(False), messages.receive(timeout=0), permits.zero(0)):
            with pytest.raises(BusyError):
                await call
        for timeout in (-1, float("nan")):
            with pytest.raises(ArgumentError):
                await messages.receive(timeout=timeout)
        with pytest.raises(TypeError):
            await permits.acquire("1")  # type: ignore[arg-type]
        assert await permits.acquire(float("inf")) is True
        permits.release()

    run(main)


def test_asyncios_own_timeouts_work(
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


def test_removal_ends_all_waits(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(messages.receive(type=i % 3)) for i in range(9)]
        await begun(*tasks)
        messages.remove()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {ExistentialError}
        assert len({id(result) for result in results}) == 9

    run(main)


# ------------------------------------------------------------------------------ cancellation


def test_who_is_cancelled_leaves_the_line(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(messages.receive()) for _ in range(5)]
        await begun(*tasks)
        for which in (0, 3):
            tasks[which].cancel()
        await asyncio.sleep(0)
        messages.handle.send_many(["a", "b", "c"])
        assert [(await tasks[i])[0] for i in (1, 2, 4)] == [b"a", b"b", b"c"]

    run(main)


def test_what_was_taken_for_nobody_goes_to_the_next_who_asks(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        await take_for_nobody(messages)
        with pytest.raises(BusyError):
            await messages.receive(timeout=0, type=6)
        assert await messages.receive(type=-9) == (b"precious", 7)

    run(main)


def test_what_was_taken_for_nobody_goes_to_another_line(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        anything = asyncio.create_task(messages.receive())
        seven = asyncio.create_task(messages.receive(type=7))
        await begun(anything, seven)
        messages.handle.send("for whom", type=7)
        wait_until(lambda: messages.handle.current_messages == 0)
        if not seven.done():
            anything.cancel()
        assert (b"for whom", 7) in await asyncio.gather(anything, seven, return_exceptions=True)
        seven.cancel()

    run(main)


def test_a_cancelled_sender_knows_whether_its_message_went(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        random_source = random.Random(4)
        messages.handle.max_size = 60
        went: list[int] = []
        received: list[int] = []

        async def send(number: int) -> None:
            try:
                await messages.send(f"{number:50}")
                went.append(number)
            except asyncio.CancelledError as error:
                if error.done:  # type: ignore[attr-defined]
                    went.append(number)

        async def receive() -> None:
            while True:
                received.append(int((await messages.receive())[0]))

        receiver = asyncio.create_task(receive())
        for start in range(0, 600, 4):
            tasks = [asyncio.create_task(send(start + i)) for i in range(4)]
            await asyncio.sleep(random_source.random() * 2e-4)
            random_source.choice(tasks).cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        while len(received) < len(went):
            await asyncio.sleep(0.001)
        receiver.cancel()
        assert received == sorted(received)
        assert sorted(received) == sorted(went)
        assert 0 < len(went) <= 600

    run(main)


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_lost_and_nothing_comes_twice(messages: aio.MessageQueue, loop: str) -> None:
    """A sending thread, and tasks that are cancelled at random while they receive."""
    received: list[int] = []
    cancelled, count = 0, 10000

    def send() -> None:
        pauses = random.Random(8)
        for number in range(count):
            messages.handle.send(str(number))
            if number % 4 == 0:
                time.sleep(pauses.random() * 1e-3)

    async def receive() -> None:
        nonlocal cancelled
        random_source = random.Random(5)
        while len(received) < count:
            tasks = [asyncio.create_task(messages.receive()) for _ in range(16)]
            await asyncio.sleep(random_source.choice([0, 1e-4, 1e-3]))
            for task in tasks:
                if random_source.random() < 0.4:
                    task.cancel()
            if len(received) + len(tasks) > count - 50:
                for task in tasks:
                    task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, asyncio.CancelledError):
                    cancelled += 1
                elif isinstance(result, BaseException):
                    raise result
                else:
                    received.append(int(result[0]))
            if len(received) > count - 60:
                while message := messages.handle.try_receive():
                    received.append(int(message[0]))

    sender = threading.Thread(target=send)
    sender.start()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(receive(), 100))
    sender.join()
    assert sorted(received) == list(range(count))
    assert cancelled > 0


def test_cancelled_permits_come_back(
    run: Callable[[Main[None]], None], permits: aio.Semaphore
) -> None:
    async def use(random_source: random.Random) -> None:
        async with permits:
            await asyncio.sleep(random_source.random() * 1e-4)

    async def main() -> None:
        random_source = random.Random(6)
        for _ in range(150):
            tasks = [asyncio.create_task(use(random_source)) for _ in range(6)]
            await asyncio.sleep(random_source.random() * 5e-4)
            for task in random_source.sample(tasks, 3):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await permits.acquire(timeout=10) is True
        permits.release()

    run(main)
    wait_until(lambda: permits.handle.value == 1)
