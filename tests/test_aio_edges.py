"""``sysv_ipc.aio``: the moments between taking a result and coming to fetch it."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import aio_helpers, begun, wait_until

from sysv_ipc import ArgumentError, BusyError, ExistentialError, _threads, aio

RunPython = Callable[..., subprocess.CompletedProcess[str]]


def wait_in(loop: asyncio.AbstractEventLoop, coroutine: Any) -> asyncio.Task[Any]:
    """Let a task of this loop wait, and stop the loop."""
    task = loop.create_task(coroutine)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0.01))
    return task


# ------------------------------------------------------- loops that stop before a task fetches


def test_a_message_on_its_way_to_a_loop_that_is_closed_goes_to_the_next(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    task = wait_in(stopped_loop, messages.receive())
    messages.handle.send("on its way")
    wait_until(lambda: messages.handle.current_messages == 0)
    wait_until(lambda: messages._lines.given)
    stopped_loop.close()
    assert asyncio.run(messages.receive(timeout=10)) == (b"on its way", 1)
    assert not task.done()


def test_a_message_for_a_loop_that_never_runs_again_goes_to_the_next(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    task = wait_in(stopped_loop, messages.receive())
    messages.handle.send("first")
    wait_until(lambda: messages._lines.given)
    assert asyncio.run(messages.receive(timeout=10)) == (b"first", 1)
    # It does run again, and the task waits for another.
    stopped_loop.run_until_complete(asyncio.sleep(0.01))
    assert not task.done()
    messages.handle.send("second")
    assert stopped_loop.run_until_complete(asyncio.wait_for(task, 10)) == (b"second", 1)


def test_a_permit_for_a_loop_that_is_closed_comes_back(
    permits: aio.Semaphore, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    permits.handle.acquire()
    wait_in(stopped_loop, permits.acquire())
    permits.handle.release()
    wait_until(lambda: permits._lines.given)
    assert permits.handle.value == 0
    stopped_loop.close()
    permits.close()
    assert permits.handle.value == 1


def test_who_stands_in_a_running_loop_comes_before_who_stands_in_a_stopped_one(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    wait_in(stopped_loop, messages.receive())

    async def main() -> tuple[bytes, int]:
        task = asyncio.create_task(messages.receive())
        await begun(task)
        messages.handle.send("for who comes")
        return await asyncio.wait_for(task, 10)

    assert asyncio.run(main()) == (b"for who comes", 1)


def test_a_coroutine_that_is_closed_while_it_waits_leaves_its_line(
    messages: aio.MessageQueue,
) -> None:
    async def main() -> None:
        waiting = messages.receive()
        waiting.send(None)
        waiting.close()
        messages.handle.send("for another")
        assert await messages.receive(timeout=10) == (b"for another", 1)

    asyncio.run(main())


# ------------------------------------------------------------------- who sends, and its time


def test_each_send_tells_whether_it_was_done_whatever_ends_it(messages: aio.MessageQueue) -> None:
    """Room comes, time is up and tasks are cancelled, all at the same time."""
    told: list[int] = []
    received: list[int] = []
    random_source = random.Random(12)

    async def send(number: int) -> None:
        timeout = random_source.choice([None, random_source.random() * 2e-3])
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

    async def main() -> None:
        messages.handle.max_size = 60
        for start in range(0, 4000, 8):
            tasks = [asyncio.create_task(send(start + i)) for i in range(8)]
            await asyncio.sleep(random_source.random() * 3e-3)
            for task in random_source.sample(tasks, 4):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await messages.send("-1")

    receiver = threading.Thread(target=receive)
    receiver.start()
    asyncio.run(main())
    receiver.join()
    assert sorted(received) == sorted(told)
    assert 0 < len(told) < 4000


def test_a_cancelled_task_stays_cancelled_where_the_object_has_gone(
    permits: aio.Semaphore,
) -> None:
    async def main() -> None:
        permits.handle.acquire()
        task = asyncio.create_task(permits.acquire())
        await begun(task)
        permits.handle.release()
        wait_until(lambda: permits._lines.given)
        permits.remove()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# --------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize("waiting", [False, True], ids=["nobody waits", "others wait"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((5,), TypeError),
        (([1, 2],), TypeError),
        ((None,), TypeError),
        ((memoryview(b"abcd")[::2],), BufferError),
        (("x", True, 0), ArgumentError),
        (("x", True, -1), ArgumentError),
        (("x", True, 2**63), ArgumentError),
        (("x", True, 1.5), TypeError),
        (("x" * 2049,), ArgumentError),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(
    messages: aio.MessageQueue, arguments: tuple[Any, ...], error: type[Exception], waiting: bool
) -> None:
    async def main() -> None:
        before = 0
        tasks = []
        if waiting:
            while messages.handle.try_send(b"x" * 2048):
                before += 1
            tasks.append(asyncio.create_task(messages.send(b"x" * 2048)))
            await begun(*tasks)
        sending = messages.send(*arguments)
        with pytest.raises(error):
            # It must not wait: its first step raises.
            sending.send(None)
        assert messages.handle.current_messages == before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize(
    "call",
    [
        lambda q, s, z: q.receive(type="x"),
        lambda q, s, z: q.receive(type=[]),
        lambda q, s, z: q.receive(True, 2**70),
        lambda q, s, z: q.send("x", timeout=-1),
        lambda q, s, z: s.acquire(None, 0),
        lambda q, s, z: s.acquire(None, "x"),
        lambda q, s, z: s.acquire(float("nan")),
        lambda q, s, z: z.acquire(),
        lambda q, s, z: z.acquire(7),
        lambda q, s, z: z.acquire([0]),
        lambda q, s, z: z.op([]),
        lambda q, s, z: z.op([(0,)]),
        lambda q, s, z: z.op([(0, "x")]),
        lambda q, s, z: z.op(5),
    ],
)
def test_what_cannot_be_waited_for_is_refused_and_leaves_nothing(
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    call: Callable[..., Any],
) -> None:
    async def main() -> None:
        waiting = call(messages, permits, members)
        with pytest.raises((TypeError, ValueError, OSError)) as caught:
            waiting.send(None)
        assert not isinstance(caught.value, BusyError)
        for one in (messages, permits, members):
            assert one._lines._lines == {}

    asyncio.run(main())


@pytest.mark.parametrize("timeout", ["abc", [], -1, float("nan"), -float("inf")])
@pytest.mark.parametrize("name", ["acquire", "zero"])
def test_a_semaphore_that_does_not_block_refuses_what_is_no_timeout(
    permits: aio.Semaphore, name: str, timeout: Any
) -> None:
    permits.handle.block = False
    before = permits.handle.value

    async def main() -> None:
        with pytest.raises((TypeError, ValueError)) as caught:
            await getattr(permits, name)(timeout)
        with pytest.raises(type(caught.value)):
            {"acquire": permits.handle.acquire, "zero": permits.handle.Z}[name](timeout)

    asyncio.run(main())
    assert permits.handle.value == before


class Own:
    def __index__(self) -> int:
        raise TypeError("an error of its own")


@pytest.mark.parametrize(
    "call",
    [
        lambda q, s, z: q.receive(type="x"),
        lambda q, s, z: q.send("", type="x"),
        lambda q, s, z: q.receive(type=Own()),
        lambda q, s, z: s.acquire(delta=Own()),
        lambda q, s, z: s.acquire(delta="x"),
        lambda q, s, z: z.acquire(0, None),
        lambda q, s, z: z.zero("x"),
        lambda q, s, z: z.op([(0, "x")]),
        lambda q, s, z: z.op([(0, 1, 1.5)]),
        lambda q, s, z: z.op([0]),
        lambda q, s, z: z.op(0),
    ],
)
def test_errors_of_arguments_are_those_of_the_library(
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    call: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError) as expected:
        call(messages.handle, permits.handle, members.handle)
    with pytest.raises(TypeError) as caught:
        call(messages, permits, members).send(None)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("kind", [aio.MessageQueue, aio.Semaphore, aio.SemaphoreSet])
def test_what_was_never_initialised_says_so(kind: Any) -> None:
    class Forgetful(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    for one in (Forgetful(), kind.__new__(kind)):
        assert "never initialised" in repr(one)
        calls: list[Callable[[], Any]] = [one.remove, lambda one=one: one.key]  # type: ignore[misc]
        if kind is aio.MessageQueue:
            coroutines = [one.receive(), one.send("")]
        else:
            coroutines = [one.acquire(1)]
            calls.append(lambda one=one: one.release(1))  # type: ignore[misc]
        calls += [lambda waiting=waiting: waiting.send(None) for waiting in coroutines]  # type: ignore[misc]
        for call in calls:
            with pytest.raises(ExistentialError, match="was never initialised"):
                call()
        one.close()


def test_a_semaphore_that_does_not_block_does_not_wait(permits: aio.Semaphore) -> None:
    permits.handle.block = False
    asyncio.run(permits.acquire())
    with pytest.raises(BusyError):
        asyncio.run(permits.acquire())


# --------------------------------------------------------------------------- close and forget


def test_close_ends_the_waits_of_all_tasks(
    messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    async def main() -> None:
        permits.handle.acquire()
        while messages.handle.try_send(b"x" * 2048, 5):
            pass
        tasks: list[asyncio.Task[Any]] = [
            *(asyncio.create_task(messages.receive(type=number)) for number in (1, 1, 2)),
            *(asyncio.create_task(messages.send(b"x" * 2048)) for _ in range(2)),
            *(asyncio.create_task(permits.acquire()) for _ in range(2)),
        ]
        await begun(*tasks)
        messages.close()
        permits.close()
        for result in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10):
            assert isinstance(result, ValueError)
            assert "has been closed" in str(result)
        with pytest.raises(ValueError, match="has been closed"):
            await permits.acquire()

    asyncio.run(main())


# ------------------------------------------------------------------------------- the helpers


def test_a_thousand_types_in_turn_cost_a_thread_and_leave_no_lines(
    messages: aio.MessageQueue,
) -> None:
    """The type as an address, such as a pid, is a common idiom."""

    async def main() -> None:
        wait_until(lambda: aio_helpers() == 0)
        most = 0
        for number in range(1, 1001):
            task = asyncio.create_task(messages.receive(type=number))
            await asyncio.sleep(0)
            messages.handle.send("x", type=number)
            await task
            most = max(most, aio_helpers())
        # A second one where the first has not yet seen that its line is empty.
        assert most <= 3
        wait_until(lambda: not messages._lines._lines)
        assert len(messages._lines._free) <= 3
        wait_until(lambda: aio_helpers() == 0)

    asyncio.run(main())


def test_two_hundred_types_at_once_end_with_no_thread(messages: aio.MessageQueue) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(messages.receive(type=i)) for i in range(1, 201)]
        await begun(*tasks)
        for i in range(1, 201):
            await messages.send(str(i), type=i)
        assert await asyncio.gather(*tasks) == [(str(i).encode(), i) for i in range(1, 201)]

    asyncio.run(main())
    wait_until(lambda: aio_helpers() == 0)
    assert messages._lines._lines == {}


def test_tasks_that_are_cancelled_leave_no_lines_and_no_threads(
    messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    async def main() -> None:
        permits.handle.acquire()
        for number in range(1, 51):
            for call in (messages.receive(type=number), permits.acquire(delta=number)):
                task = asyncio.create_task(call)
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        for one in (messages, permits):
            while one._lines._lines:
                await asyncio.sleep(0.001)

    asyncio.run(main())
    wait_until(lambda: aio_helpers() == 0)


def test_where_no_thread_is_to_be_had_every_task_is_told(
    messages: aio.MessageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        wait_until(lambda: aio_helpers() == 0)
        with monkeypatch.context() as patch:
            patch.setattr(_threads, "_start", start)
            tasks = [asyncio.create_task(messages.receive()) for _ in range(3)]
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, RuntimeError)
        task = asyncio.create_task(messages.receive())
        await begun(task)
        messages.handle.send("now there is")
        assert await task == (b"now there is", 1)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_who_asks_first_is_served_first_beside_who_comes_later(messages: aio.MessageQueue) -> None:
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


# ------------------------------------------------------------------------------- as objects


def test_errors_of_a_wait_say_as_much_as_those_of_the_library(messages: aio.MessageQueue) -> None:
    async def main() -> ExistentialError:
        tasks = [asyncio.create_task(messages.receive()) for _ in range(2)]
        await begun(*tasks)
        messages.remove()
        with pytest.raises(ExistentialError) as caught:
            await tasks[0]
        with contextlib.suppress(ExistentialError):
            await tasks[1]
        return caught.value

    error = asyncio.run(main())
    assert (error.errno, error.id, error.kind) == (43, messages.id, "message queue")
    assert (error.key, str(error)) == (messages.key, str(pickle.loads(pickle.dumps(error))))
    assert error.__notes__


def test_subclasses_and_copies_wait_too(messages: aio.MessageQueue) -> None:
    class Greeter(aio.MessageQueue):
        def __init__(self, key: int | None) -> None:
            super().__init__(key, max_message_size=10)

    greeter = Greeter(messages.key)
    assert type(Greeter.from_id(messages.id)) is Greeter
    assert repr(greeter).startswith("<sysv_ipc.aio.Greeter of ")
    copied = pickle.loads(pickle.dumps(aio.MessageQueue(messages.key, max_message_size=10)))
    assert (copied.id, copied.handle.max_message_size) == (messages.id, 10)
    asyncio.run(greeter.send("hello"))
    assert asyncio.run(copied.receive(timeout=10)) == (b"hello", 1)
