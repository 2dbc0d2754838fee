"""``sysv_ipc.aio``: exceptions that come anywhere, such as Ctrl-C, lose and stop nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

import pytest
from helpers import aio_helpers, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, ArgumentError, BusyError, _lines, _messages, _taken, _threads, aio

FILES = {module.__file__ for module in (aio, _lines, _messages, _taken)}


#: Threads that set it at the same time, and have no GIL, miscount each other: it ends too soon.
sets_profile = pytest.mark.thread_unsafe(reason="CPython counts the threads that have a profile")


class Interrupted(BaseException):
    """What a signal handler raises."""


class Interrupt:
    """Raises where the interpreter may call a signal handler, the nth time that it may.

    That is when a function of Python begins, and when one of C has returned that it has called.
    """

    def __init__(self, countdown: int) -> None:
        self.countdown = countdown

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # That a coroutine goes on, or a generator is closed, is told as a call, and is none.
        may = event == "c_return" or (event == "call" and frame.f_lineno == code.co_firstlineno)
        # _wake() is called by the loop, which logs what it raises.
        if may and code.co_filename in FILES and code.co_name not in ("<genexpr>", "_wake"):
            self.countdown -= 1
            if self.countdown == 0:
                sys.setprofile(None)
                raise Interrupted

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Raise in this block, in which no garbage is collected: what that raises is only told."""
        gc.disable()
        sys.setprofile(self)
        try:
            yield
        except (Interrupted, asyncio.CancelledError):
            pass
        finally:
            sys.setprofile(None)
            gc.enable()

    @property
    def came(self) -> bool:
        return self.countdown <= 0


def interrupt_everywhere(main: Callable[[Interrupt], Coroutine[Any, Any, None]]) -> None:
    """Run it once for each point at which it can be interrupted."""
    points = 0
    while True:
        interrupt = Interrupt(points + 1)
        asyncio.run(main(interrupt))
        if not interrupt.came:
            break
        points += 1
    assert points > 1


Received = list[bytes]
Act = Callable[[aio.MessageQueue, Interrupt], Coroutine[Any, Any, Received]]


async def begin(messages: aio.MessageQueue, interrupt: Interrupt) -> Received:
    """Interrupt a task that begins to wait."""
    waiting = messages.receive()
    with interrupt.inside():
        waiting.send(None)
    waiting.close()
    messages.handle.send("zero")
    return []


async def given(messages: aio.MessageQueue) -> asyncio.Task[tuple[bytes, int]]:
    """Return a task that has been given a message, and has not come for it."""
    task = asyncio.create_task(messages.receive(timeout=10))
    await asyncio.sleep(0)
    messages.handle.send("zero")
    wait_until(lambda: messages._lines.given)
    return task


async def cancel_soon(messages: aio.MessageQueue, interrupt: Interrupt) -> Received:
    """Interrupt a task that is cancelled, when its message may have come or not."""
    task = asyncio.create_task(messages.receive(timeout=10))
    await asyncio.sleep(0)
    task.cancel()
    messages.handle.send("zero")
    with interrupt.inside():
        await task
    return []


async def cancel(messages: aio.MessageQueue, interrupt: Interrupt) -> Received:
    """Interrupt a task that is cancelled, when its message has come."""
    task = await given(messages)
    task.cancel()
    with interrupt.inside():
        await task
    return []


async def cancel_first(messages: aio.MessageQueue, interrupt: Interrupt) -> Received:
    """Interrupt a task whose message goes to another."""
    task = await given(messages)
    other = asyncio.create_task(messages.receive(timeout=10))
    await asyncio.sleep(0)
    task.cancel()
    with interrupt.inside():
        await task
    # The loop has logged it, where it came in what it calls itself.
    return [(await other)[0]]


async def fetch(messages: aio.MessageQueue, interrupt: Interrupt) -> Received:
    """Interrupt a task that comes for its message."""
    task = await given(messages)
    received = []
    with interrupt.inside():
        received.append((await task)[0])
    return received


async def close(messages: aio.MessageQueue, interrupt: Interrupt) -> Received:
    """Interrupt what gives back a message that had no room."""
    task = await given(messages)
    fill(messages.handle)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert messages._lines.loose
    while messages.handle.current_messages:
        messages.handle.receive()
    with interrupt.inside():
        messages.close()
    messages._lines.closed = False
    return []


def fill(queue: sysv_ipc.MessageQueue) -> None:
    with contextlib.suppress(BusyError):
        while True:
            queue.send("full", block=False)


async def check_that_nothing_is_lost(messages: aio.MessageQueue, received: Received) -> None:
    for content in ("one", "two"):
        messages.handle.send(content)
    while len(received) < 3:
        received.append((await messages.receive(timeout=10))[0])
    assert sorted(received) == [b"one", b"two", b"zero"]
    asyncio.get_running_loop().call_later(0.001, messages.handle.send, "late")
    assert await messages.receive(timeout=10) == (b"late", 1)


@sets_profile
@pytest.mark.parametrize(
    "act", [begin, cancel_soon, cancel, cancel_first, fetch, close], ids=lambda act: act.__name__
)
def test_an_interrupt_at_any_point_loses_no_message_and_stops_no_line(act: Act) -> None:
    async def main(interrupt: Interrupt) -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        received = await act(messages, interrupt)
        await check_that_nothing_is_lost(messages, received)
        messages.close()
        messages.remove()

    interrupt_everywhere(main)


@sets_profile
@pytest.mark.parametrize("undo", [False, True])
def test_an_interrupt_at_any_point_loses_no_permit(undo: bool) -> None:
    async def main(interrupt: Interrupt) -> None:
        permits = aio.Semaphore(None, IPC_CREX)
        permits.handle.undo = undo
        task = asyncio.create_task(permits.acquire(delta=2))
        await asyncio.sleep(0)
        permits.release(2)
        wait_until(lambda: permits._lines.given)
        task.cancel()
        with interrupt.inside():
            await task
        await permits.acquire(timeout=10, delta=2)
        permits.close()
        assert permits.handle.value == 0
        permits.remove()

    interrupt_everywhere(main)


def deep(frames: int, function: Callable[[], object]) -> object:
    return deep(frames - 1, function) if frames else function()


def test_a_stack_that_is_nearly_full_loses_no_message() -> None:
    def step(waiting: Coroutine[Any, Any, Any], room: int) -> None:
        used = sum(1 for _ in traceback.walk_stack(sys._getframe()))
        deep(sys.getrecursionlimit() - used - room, lambda: waiting.send(None))

    async def main(room: int) -> bool:
        messages = aio.MessageQueue(None, IPC_CREX)
        waiting = messages.receive()
        try:
            step(waiting, room)
        except RecursionError:
            failed = True
        else:
            failed = False
        waiting.close()
        messages.handle.send("zero")
        await check_that_nothing_is_lost(messages, [])
        messages.close()
        messages.remove()
        return failed

    outcomes = [asyncio.run(main(room)) for room in range(2, 60)]
    assert outcomes[0]
    assert not outcomes[-1]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_handler_closes_what_is_just_starting_a_thread(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    start: Callable[[Callable[[], object]], object] = vars(_threads)["_start"]

    def interrupted(function: Callable[[], object]) -> Any:
        monkeypatch.setattr(_threads, "_start", start)
        if moment == "before":
            signal.raise_signal(signal.SIGUSR1)
        thread = start(function)
        if moment == "after":
            signal.raise_signal(signal.SIGUSR1)
        return thread

    async def main() -> None:
        # One that has nothing to do would serve us, and no thread be started.
        wait_until(lambda: aio_helpers() == 0)
        messages = aio.MessageQueue(None, IPC_CREX)
        before = signal.signal(signal.SIGUSR1, lambda *_: messages.close())
        try:
            monkeypatch.setattr(_threads, "_start", interrupted)
            with pytest.raises(ValueError, match="has been closed"):
                await asyncio.wait_for(messages.receive(), 10)
        finally:
            signal.signal(signal.SIGUSR1, before)
        wait_until(lambda: not messages._lines._lines)
        messages.remove()

    asyncio.run(main())


def test_who_does_not_wait_gets_what_was_taken_for_a_task_that_is_cancelled() -> None:
    async def main() -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        permits = aio.Semaphore(None, IPC_CREX)
        for number in range(500):
            for wait, give, take in (
                (messages.receive, lambda: messages.handle.send("x"), messages.receive),
                (permits.acquire, permits.release, permits.acquire),
            ):
                task = asyncio.create_task(wait())
                await asyncio.sleep(0.0003 * (number % 3))
                task.cancel()
                give()
                await asyncio.gather(task, return_exceptions=True)
                await take(timeout=0)
        for one, take in ((messages, messages.receive), (permits, permits.acquire)):
            with pytest.raises(BusyError):
                await take(timeout=0)
            one.close()
            one.remove()

    asyncio.run(main())


@pytest.mark.parametrize(
    "operations", [itertools.repeat((0, -1)), [itertools.count()], [range(10**12)]], ids=str
)
def test_operations_that_never_end_are_refused_as_by_the_library(operations: Any) -> None:
    members = aio.SemaphoreSet(None, 2, IPC_CREX)
    with pytest.raises(ArgumentError, match="more than 1000000 items"):
        asyncio.run(members.op(operations, 0))
    members.remove()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupts_again_and_again_lose_no_message_and_stop_no_line(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A message that comes, or has come, for a task that could not even leave its line."""

    def interrupted(_: object) -> None:
        raise Interrupted

    async def main() -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        if moment == "before":
            task = asyncio.create_task(messages.receive())
            await asyncio.sleep(0)
        else:
            task = await given(messages)
        task.cancel()
        with monkeypatch.context() as patch:
            patch.setattr(_lines._Request, "_leave", interrupted)
            with pytest.raises(Interrupted):
                await task
        if moment == "before":
            messages.handle.send("zero")
        await check_that_nothing_is_lost(messages, [])
        messages.close()
        messages.remove()

    asyncio.run(main())
