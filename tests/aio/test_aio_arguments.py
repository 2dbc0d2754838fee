"""``sysv_ipc.aio``: bad arguments are refused at once, and as the library refuses them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from helpers import begun

from sysv_ipc import ArgumentError, BusyError, ExistentialError, aio


@pytest.mark.parametrize("waiting", [False, True], ids=["no task waits", "another task waits"])
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
def test_a_message_that_cannot_be_sent_is_refused_at_once(
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
        lambda q, s, z: q.receive(timeout=float("nan")),
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
def test_a_wait_for_nonsense_is_refused_and_the_next_one_waits(
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    call: Callable[..., Any],
) -> None:
    async def main() -> None:
        with pytest.raises((TypeError, ValueError, OSError)) as caught:
            call(messages, permits, members).send(None)
        assert not isinstance(caught.value, BusyError)
        for wait in (
            messages.receive(timeout=0.001),
            permits.acquire(0.001, 5),
            members.acquire(0, timeout=0.001),
        ):
            with pytest.raises(BusyError):
                await wait

    asyncio.run(main())


@pytest.mark.parametrize("timeout", ["abc", [], -1, float("nan"), -float("inf")])
@pytest.mark.parametrize("name", ["acquire", "zero"])
def test_a_semaphore_that_does_not_block_refuses_bad_timeouts(
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


@pytest.mark.parametrize(
    "operations", [itertools.repeat((0, -1)), [itertools.count()], [range(10**12)]], ids=str
)
def test_endless_operations_are_refused_as_by_the_library(
    members: aio.SemaphoreSet, operations: Any
) -> None:
    with pytest.raises(ArgumentError, match="more than 1000000 items"):
        asyncio.run(members.op(operations, 0))


@pytest.mark.parametrize("kind", [aio.MessageQueue, aio.Semaphore, aio.SemaphoreSet])
def test_an_object_that_was_never_initialised_says_so(kind: Any) -> None:
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
