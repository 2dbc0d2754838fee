"""``sysv_ipc.aio``: exceptions that come anywhere, such as Ctrl-C, lose and stop nothing."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import pytest
from helpers import wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, ArgumentError, BusyError, _threads, aio

FILES = {aio.__file__, sysv_ipc._lines.__file__, sysv_ipc._messages.__file__}


class Interrupted(BaseException):
    """What a signal handler raises."""


class Interrupt:
    """Raises where the interpreter may call a signal handler, the nth time that it may.

    That is when a function of Python begins, and when one of C has returned.
    """

    def __init__(self, countdown: int) -> None:
        self.countdown = countdown

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # _wake() is called by the loop, which logs what it raises.
        if event in ("call", "c_return") and code.co_filename in FILES and code.co_name != "_wake":
            self.countdown -= 1
            if self.countdown == 0:
                sys.setprofile(None)
                raise Interrupted

    @property
    def came(self) -> bool:
        return self.countdown <= 0


async def check_that_nothing_is_lost(messages: aio.MessageQueue) -> None:
    for content in ("one", "two"):
        messages.handle.send(content)
    taken = {(await messages.receive(timeout=10))[0] for _ in range(3)}
    assert taken == {b"zero", b"one", b"two"}
    asyncio.get_running_loop().call_later(0.001, messages.handle.send, "late")
    assert await messages.receive(timeout=10) == (b"late", 1)


async def begin(messages: aio.MessageQueue, interrupt: Interrupt) -> None:
    """Interrupt a task that begins to wait."""
    waiting = messages.receive()
    sys.setprofile(interrupt)
    try:
        waiting.send(None)
    except Interrupted:
        pass
    finally:
        sys.setprofile(None)
        waiting.close()
    messages.handle.send("zero")


async def cancel(messages: aio.MessageQueue, interrupt: Interrupt) -> None:
    """Interrupt a task that is cancelled."""
    task = asyncio.create_task(messages.receive())
    await asyncio.sleep(0)
    task.cancel()
    messages.handle.send("zero")
    # That the interpreter throws into a task is told as a call, and is none.
    interrupt.countdown += 1
    sys.setprofile(interrupt)
    try:
        await task
    except (Interrupted, asyncio.CancelledError):
        pass
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("act", [begin, cancel], ids=lambda act: act.__name__)
def test_an_interrupt_at_any_point_loses_no_message_and_stops_no_line(
    act: Callable[[aio.MessageQueue, Interrupt], Coroutine[Any, Any, None]],
) -> None:
    async def main(interrupt: Interrupt) -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        await act(messages, interrupt)
        await check_that_nothing_is_lost(messages)
        messages.close()
        messages.remove()

    points = 0
    while True:
        interrupt = Interrupt(points + 1)
        asyncio.run(main(interrupt))
        if not interrupt.came:
            break
        points += 1
    assert points > 10


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
        await check_that_nothing_is_lost(messages)
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
