"""``sysv_ipc.aio``: signal handlers that raise or close, at any point, lose and stop nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers import blocked, handled, threads_in, wait_until

from sysv_ipc import IPC_CREX, BusyError, aio

FOLDER = str(Path(aio.__file__).parent)

#: Threads that set it at the same time, and have no GIL, miscount each other: it ends too soon.
sets_profile = pytest.mark.thread_unsafe(reason="CPython counts the threads that have a profile")


class Interrupted(BaseException):
    """The exception that a signal handler raises."""


def interrupt() -> None:
    raise Interrupted


class Handler:
    """A profile function that acts at the nth moment at which a signal handler may run.

    These are the moments when a Python function begins and when a C function returns to Python.
    """

    def __init__(self, countdown: int, act: Callable[[], object] = interrupt) -> None:
        self.countdown = countdown
        self.act = act

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # Resuming a coroutine and closing a generator are reported as calls, but are not calls.
        may = event == "c_return" or (event == "call" and frame.f_lineno == code.co_firstlineno)
        # The loop calls these two, and logs what they raise.
        ours = code.co_filename.startswith(FOLDER) and code.co_name not in ("wake", "expire")
        if may and ours:
            self.countdown -= 1
            if self.countdown == 0:
                sys.setprofile(None)
                self.act()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Act in this block, in which no garbage is collected: what that raises is only logged."""
        gc.disable()
        sys.setprofile(self)
        try:
            yield
        except (Interrupted, asyncio.CancelledError, ValueError):
            pass
        finally:
            sys.setprofile(None)
            gc.enable()


def at_each_point(main: Callable[[Handler], Coroutine[Any, Any, None]]) -> None:
    """Run it once for each point at which a handler may run."""
    points = 0
    while True:
        handler = Handler(points + 1)
        asyncio.run(asyncio.wait_for(main(handler), 15))
        if handler.countdown > 0:
            break
        points += 1
    assert points > 1


Outcome = tuple[list[bytes], list[asyncio.Task[tuple[bytes, int]]]]
#: Lets "zero" be sent; returns what it has received, and tasks that still wait.
Act = Callable[[aio.MessageQueue, Handler], Coroutine[Any, Any, Outcome]]


async def begin(messages: aio.MessageQueue, handler: Handler) -> Outcome:
    """Interrupt a task that begins to wait."""
    waiting = messages.receive()
    with handler.inside():
        waiting.send(None)
    waiting.close()
    messages.handle.send("zero")
    return [], []


async def early(messages: aio.MessageQueue, handler: Handler, timeout: float = 10) -> Outcome:
    """Interrupt a task that is cancelled before its message comes, or whose time is up."""
    task = asyncio.create_task(messages.receive(timeout=timeout))
    await asyncio.sleep(0)
    if timeout == 10:
        task.cancel()
    with contextlib.suppress(BusyError), handler.inside():
        await task
    messages.handle.send("zero")
    return [], []


async def late(messages: aio.MessageQueue, handler: Handler, cancelled: bool = False) -> Outcome:
    """Interrupt a task whose thread has seen a message, and another task behind it."""
    task = asyncio.create_task(messages.receive(timeout=10))
    await blocked("msgrcv")
    messages.handle.send("zero")
    wait_until(lambda: threads_in("msgrcv") == 0)
    other = asyncio.create_task(messages.receive(timeout=10))
    await asyncio.sleep(0)
    if cancelled:
        task.cancel()
    received = []
    with handler.inside():
        received.append((await task)[0])
    return received, [other]


ACTS: dict[str, Act] = {
    "begin": begin,
    "cancel before the message": early,
    "expire": partial(early, timeout=0.001),
    "take": late,
    "cancel after the message": partial(late, cancelled=True),
}


@sets_profile
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_interrupt_at_any_point_loses_no_message_and_stops_no_task(act: Act) -> None:
    async def main(handler: Handler) -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        received, waiting = await act(messages, handler)
        for content in ("one", "two"):
            messages.handle.send(content)
        for task in waiting:
            # It may be the one that was interrupted.
            with contextlib.suppress(Interrupted):
                received.append((await task)[0])
        while len(received) < 3:
            received.append((await messages.receive(timeout=10))[0])
        assert sorted(received) == [b"one", b"two", b"zero"]
        await still_works(messages)

    at_each_point(main)


async def still_works(messages: aio.MessageQueue) -> None:
    """Check that a task can wait, and remove the queue."""
    asyncio.get_running_loop().call_later(0.001, messages.handle.send, "late")
    assert await messages.receive(timeout=10) == (b"late", 1)
    messages.close()
    messages.remove()


@sets_profile
@pytest.mark.parametrize("what", ["take", "take after another", "cancel"])
@pytest.mark.parametrize("undo", [False, True])
def test_an_interrupt_at_any_point_loses_no_permit(undo: bool, what: str) -> None:
    async def main(handler: Handler) -> None:
        permits = aio.Semaphore(None, IPC_CREX)
        permits.handle.undo = undo
        task = asyncio.create_task(permits.acquire(delta=2))
        await blocked("semop")
        if what == "take after another":
            first, task = task, asyncio.create_task(permits.acquire(delta=2))
            await asyncio.sleep(0)
            first.cancel()
        permits.release(2)
        wait_until(lambda: permits.handle.value == 0)
        if what == "cancel":
            task.cancel()
        got = 0
        with handler.inside():
            await task
            got = 2
        assert permits.handle.value + got == 2
        if got:
            permits.release(got)
        await permits.acquire(timeout=10, delta=2)
        permits.close()
        permits.remove()

    at_each_point(main)


@sets_profile
@pytest.mark.parametrize("kind", [aio.MessageQueue, aio.Semaphore])
def test_a_handler_that_closes_the_object_at_any_point_ends_the_wait(kind: Any) -> None:
    async def main(handler: Handler) -> None:
        one: Any = kind(None, IPC_CREX)
        handler.act = one.close
        task = asyncio.create_task((one.receive if is_queue else one.acquire)(timeout=20))
        got = []
        with handler.inside():
            # Until the head of the queue has its thread.
            await asyncio.sleep(0.002)
            if handler.countdown > 0:
                one.close()
            got.append(await asyncio.wait_for(task, 10))
        assert not got
        if is_queue:
            one.handle.send("kept")
            assert one.handle.receive(False) == (b"kept", 1)
        else:
            one.release()
            assert one.handle.value == 1
        one.remove()

    is_queue = kind is aio.MessageQueue
    at_each_point(main)


def deep(frames: int, function: Callable[[], object]) -> object:
    return deep(frames - 1, function) if frames else function()


def test_a_stack_that_is_nearly_full_loses_no_message() -> None:
    async def main(room: int) -> bool:
        messages = aio.MessageQueue(None, IPC_CREX)
        waiting = messages.receive()
        used = sum(1 for _ in traceback.walk_stack(sys._getframe()))
        failed = False
        try:
            deep(sys.getrecursionlimit() - used - room, lambda: waiting.send(None))
        except RecursionError:
            failed = True
        waiting.close()
        messages.handle.send("zero")
        assert await messages.receive(timeout=10) == (b"zero", 1)
        await still_works(messages)
        return failed

    outcomes = [asyncio.run(main(room)) for room in range(2, 60)]
    assert outcomes[0]
    assert not outcomes[-1]


def test_real_signals_whose_handler_raises_leave_everything_usable(
    messages: aio.MessageQueue, without_collection: None
) -> None:
    """CPython 3.14 may run a handler between __enter__ and the body of a with statement."""
    armed = False

    def handler(_: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            # asyncio itself cannot bear an exception everywhere.
            if frame is not None and frame.f_code.co_filename.startswith(FOLDER):
                armed = False
                raise KeyboardInterrupt
            signal.setitimer(signal.ITIMER_REAL, 0.00003)

    async def receive() -> None:
        task = asyncio.create_task(messages.receive(timeout=10))
        await asyncio.sleep(0)
        messages.handle.send("x")
        assert (await task)[0] == b"x"

    async def work() -> None:
        # Which task the exception ends is left to chance.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        while armed:
            await receive()

    with handled(signal.SIGALRM, handler):
        for number in range(300):
            armed = True
            signal.setitimer(signal.ITIMER_REAL, 0.001 + (number % 97) * 1.3e-5)
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(work())
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            messages.handle.receive_many(99, False)
            asyncio.run(receive())
