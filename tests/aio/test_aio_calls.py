"""``sysv_ipc.aio``: what each call does, and how its wait ends."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import pickle
from typing import Any

import calls
import pytest
from helpers import (
    RunPython,
    begun,
    blocked,
    cancel,
    contents,
    fill,
    in_each_loop,
    in_loop,
    start,
)

import sysv_ipc
from sysv_ipc import IPC_CREX, ArgumentError, BusyError, ExistentialError, aio

# ---------------------------------------------------------------------------------- the calls


@in_each_loop
async def test_a_call_that_need_not_wait_starts_no_thread(
    messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
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
    assert permits.handle.value == 1


@in_each_loop
async def test_receive_waits_for_a_message_of_its_type(messages: aio.MessageQueue) -> None:
    task = asyncio.create_task(messages.receive(type=5))
    await begun(task)
    messages.handle.send("another", type=4)
    await begun(task)
    messages.handle.send("this one", type=5)
    assert await task == (b"this one", 5)
    assert await messages.receive() == (b"another", 4)
    others = asyncio.create_task(messages.receive(type=7, except_type=True))
    lowest = asyncio.create_task(messages.receive(type=-3))
    seven = asyncio.create_task(messages.receive(type=7))
    await begun(others, lowest, seven)
    messages.handle.send("not this", type=7)
    assert await asyncio.wait_for(seven, 10) == (b"not this", 7)
    await begun(others, lowest)
    messages.handle.send("low", type=2)
    messages.handle.send("low", type=2)
    assert [await others, await lowest] == [(b"low", 2)] * 2


@pytest.mark.parametrize("size", [0, 1, 2048])
@in_each_loop
async def test_messages_of_each_length_come_in_order(messages: aio.MessageQueue, size: int) -> None:
    """A thread that watches the queue takes an empty message, and leaves any other one."""
    for _ in range(20):
        task = asyncio.create_task(messages.receive())
        await blocked("msgrcv")
        messages.handle.send(b"x" * size, type=3)
        messages.handle.send("second", type=4)
        assert await task == (b"x" * size, 3)
        assert await messages.receive() == (b"second", 4)


@in_each_loop
async def test_send_waits_for_room_and_keeps_the_order(messages: aio.MessageQueue) -> None:
    messages.handle.max_size = 100
    tasks = [asyncio.create_task(messages.send(bytes([i]) * 60)) for i in range(20)]
    got = [await messages.receive() for _ in range(20)]
    assert [content[0] for content, _ in got] == list(range(20))
    await asyncio.gather(*tasks)


@in_each_loop
async def test_a_message_that_waits_is_sent_as_it_was_when_the_call_was_made(
    messages: aio.MessageQueue,
) -> None:
    filled = fill(messages.handle)
    given = bytearray(b"before" * 200)
    # The first has a thread; the second waits behind it.
    tasks = [asyncio.create_task(messages.send(given, type=9)) for _ in range(2)]
    given[:] = b"after!" * 200
    await begun(*tasks)
    for _ in range(filled):
        messages.handle.receive(type=99)
    await asyncio.gather(*tasks)
    assert messages.handle.receive_many(9) == [(b"before" * 200, 9)] * 2


@in_each_loop
async def test_tasks_get_permits_and_messages_in_the_order_in_which_they_asked(
    permits: aio.Semaphore, messages: aio.MessageQueue
) -> None:
    inside: list[int] = []
    received: list[int] = []

    async def use(number: int) -> None:
        async with permits:
            inside.append(number)
            await asyncio.sleep(0)
            assert permits.handle.value == 0
        await messages.receive()
        received.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(use(number))
            await asyncio.sleep(0)
            if number % 3 == 2:
                messages.handle.send_many(["x"] * 3)
    assert inside == received == list(range(300))
    assert permits.handle.value == 1


@in_each_loop
async def test_sets_wait_for_several_members_at_once(members: aio.SemaphoreSet) -> None:
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


@in_each_loop
async def test_async_for_receives_until_the_queue_is_removed(messages: aio.MessageQueue) -> None:
    async def collect() -> list[tuple[bytes, int]]:
        return [(message, type) async for message, type in messages]

    task = asyncio.create_task(collect())
    for number in range(1, 4):
        await messages.send(str(number), type=number)
    while messages.handle.current_messages:
        await asyncio.sleep(0.001)
    messages.remove()
    assert await task == [(b"1", 1), (b"2", 2), (b"3", 3)]


@in_loop
async def test_a_message_is_cut_only_for_a_task_that_asks_for_it(
    messages: aio.MessageQueue,
) -> None:
    content = bytes(range(100))
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


@in_loop
async def test_a_semaphore_whose_handle_does_not_block_does_not_wait(
    permits: aio.Semaphore,
) -> None:
    permits.handle.block = False
    await permits.acquire()
    with pytest.raises(BusyError):
        await permits.acquire()


# ----------------------------------------------------------------------------- how waits end


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300])
@in_each_loop
async def test_each_call_waits_until_it_can_be_done(
    wait: calls.Wait, target: Any, opened: Any, timeout: float | None
) -> None:
    task = start(wait, opened, timeout)
    await begun(task)
    wait.end(target)
    assert await task in (True, (b"end", 1), None)


@pytest.mark.parametrize("number", [0, 2], ids=["alone", "behind others"])
@in_each_loop
async def test_each_wait_has_a_timeout(
    wait: calls.Wait, target: Any, opened: Any, number: int
) -> None:
    before = contents(target)
    begin = asyncio.get_running_loop().time()
    others = [start(wait, opened) for _ in range(number)]
    tasks = [start(wait, opened, 0.03) for _ in range(2)]
    await asyncio.wait(tasks, timeout=10)
    for task in tasks:
        error = task.exception()
        assert isinstance(error, BusyError)
        assert error.id is not None
    assert asyncio.get_running_loop().time() - begin >= 0.025
    await cancel(*others)
    assert contents(target) == before


@in_each_loop
async def test_without_time_a_call_tries_once_also_if_another_task_waits(
    wait: calls.Wait, target: Any, opened: Any
) -> None:
    waiting = start(wait, opened)
    await begun(waiting)
    with pytest.raises(BusyError):
        await start(wait, opened, 0)
    wait.end(target)
    await waiting


@in_each_loop
async def test_removal_ends_all_waits_with_errors_that_say_as_much_as_those_of_the_library(
    wait: calls.Wait, target: Any, opened: Any
) -> None:
    tasks = [start(wait, opened) for _ in range(3)]
    # The kernel reports the removal only to a thread that is blocked.
    await blocked()
    target.remove()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(result) for result in results}) == 3
    for error in results:
        assert isinstance(error, ExistentialError)
        assert (error.errno, error.id, error.key) == (errno.EIDRM, target.id, target.key)
        assert error.kind == {"sem": "semaphore", "msg": "message queue"}[calls.table_of(wait.cls)]
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert error.__notes__


@in_loop
async def test_close_ends_the_waits_of_all_tasks(
    wait: calls.Wait, target: Any, opened: Any
) -> None:
    tasks = [start(wait, opened) for _ in range(3)]
    await begun(*tasks)
    before = contents(target)
    for _ in range(2):
        opened.close()
    for task in tasks:
        with pytest.raises(ValueError, match="has been closed"):
            await task
    with pytest.raises(ValueError, match="has been closed"):
        await start(wait, opened)
    assert contents(target) == before


@in_each_loop
async def test_the_timeouts_of_asyncio_work(messages: aio.MessageQueue) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await messages.receive()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(messages.receive(), 0.02)
    await messages.send("still there")
    assert await messages.receive() == (b"still there", 1)


@in_loop
async def test_a_second_init_ends_the_waits_of_the_first() -> None:
    messages = aio.MessageQueue(None, IPC_CREX)
    first = messages.handle
    task = asyncio.create_task(messages.receive())
    await begun(task)
    messages.__init__(None, IPC_CREX)  # type: ignore[misc]
    with pytest.raises(ValueError, match="has been closed"):
        await task
    await messages.send("x")
    assert await messages.receive() == (b"x", 1)
    messages.close()
    messages.remove()
    first.remove()


@pytest.mark.parametrize(
    "inside", [None, ZeroDivisionError("inside"), asyncio.CancelledError()], ids=repr
)
@in_loop
async def test_an_exception_from_a_block_survives_a_release_that_fails(
    permits: aio.Semaphore, inside: BaseException | None
) -> None:
    async def use() -> None:
        async with permits:
            permits.remove()
            if inside is not None:
                raise inside

    with pytest.raises(ExistentialError if inside is None else type(inside)) as caught:
        await use()
    if inside is not None:
        assert caught.value is inside
        (note,) = inside.__notes__
        assert note.startswith("release() also failed: [Errno 22]")


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
        assert [*inspect.signature(ours).parameters] == [*inspect.signature(theirs).parameters]
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


def test_the_module_is_imported_only_when_asked_for(run_python: RunPython) -> None:
    code = "import sys, sysv_ipc; print('asyncio' in sys.modules, 'sysv_ipc.aio' in sys.modules)"
    assert run_python(code).stdout == "False False\n"
