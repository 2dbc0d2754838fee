"""``sysv_ipc.aio``: no helper takes anything for tasks that have left, and none dies."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from helpers import wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, _lines, _taken, aio

RunPython = Callable[..., subprocess.CompletedProcess[str]]


# ---------------------------------------------------------------------- calls for nobody


async def cancel_in_order(messages: aio.MessageQueue) -> None:
    tasks = [asyncio.create_task(messages.receive()) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def cancel_in_reverse(messages: aio.MessageQueue) -> None:
    tasks = [asyncio.create_task(messages.receive()) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in reversed(tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def end_by_time(messages: aio.MessageQueue) -> None:
    waits = [messages.receive(timeout=0.01 * number) for number in range(1, 4)]
    await asyncio.gather(*waits, return_exceptions=True)


async def give_the_last_what_was_for_the_first(messages: aio.MessageQueue) -> None:
    first, last = [asyncio.create_task(messages.receive()) for _ in range(2)]
    await asyncio.sleep(0.01)
    messages.handle.send("x")
    wait_until(lambda: messages._lines.given)
    first.cancel()
    assert await last == (b"x", 1)


@pytest.mark.parametrize(
    "leave",
    [cancel_in_order, cancel_in_reverse, end_by_time, give_the_last_what_was_for_the_first],
    ids=lambda leave: leave.__name__,
)
def test_no_helper_takes_messages_for_tasks_that_have_left(
    messages: aio.MessageQueue,
    leave: Callable[[aio.MessageQueue], Coroutine[Any, Any, None]],
) -> None:
    asyncio.run(leave(messages))
    wait_until(lambda: not messages._lines._lines)
    for content in "abc":
        messages.handle.send(content)
    assert [messages.handle.receive(False)[0] for _ in range(3)] == [b"a", b"b", b"c"]


def test_no_helper_waits_for_permits_for_tasks_that_have_left(permits: aio.Semaphore) -> None:
    async def main() -> None:
        await permits.acquire()
        tasks = [asyncio.create_task(permits.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        wait_until(lambda: permits.handle.waiting_for_nonzero)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    wait_until(lambda: permits.handle.waiting_for_nonzero == 0)
    wait_until(lambda: not permits._lines._lines)


def test_a_helper_that_is_only_about_to_call_does_not_call_for_a_task_that_has_left(
    messages: aio.MessageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = _lines._Line.work

    def work_later(line: _lines._Line) -> None:
        time.sleep(0.01)
        work(line)

    async def main() -> None:
        task = asyncio.create_task(messages.receive())
        await asyncio.sleep(0.001)
        assert not task.done()

    monkeypatch.setattr(_lines._Line, "work", work_later)
    # The loop, which has the task cancelled, is closed before the call.
    asyncio.run(main())
    wait_until(lambda: not messages._lines._lines)
    messages.handle.send("a")
    assert messages.handle.receive(False) == (b"a", 1)


# ------------------------------------------------------------- garbage collected in the middle


def test_a_coroutine_that_is_collected_meanwhile_lets_nothing_be_put_back_twice(
    messages: aio.MessageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        other = messages.receive(type=7)
        other.send(None)
        task = asyncio.create_task(messages.receive(type=1))
        await asyncio.sleep(0)
        messages.handle.send("once")
        wait_until(lambda: messages._lines.given)

        def map_and_collect(*arguments: Any) -> Any:
            other.close()
            return map(*arguments)

        monkeypatch.setattr(_taken, "map", map_and_collect, raising=False)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert messages.handle.receive_many(9) == [(b"once", 1)]
    assert not messages._lines.loose


def test_a_coroutine_that_is_collected_meanwhile_kills_no_helper(
    messages: aio.MessageQueue,
    stopped_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standing = stopped_loop.create_task(messages.receive())
    standing._log_destroy_pending = False  # type: ignore[attr-defined]
    stopped_loop.run_until_complete(asyncio.sleep(0.01))

    async def main() -> None:
        collected = messages.receive()
        collected.send(None)
        task = asyncio.create_task(messages.receive())
        await asyncio.sleep(0.01)
        is_running = asyncio.BaseEventLoop.is_running

        def is_running_and_collect(loop: asyncio.BaseEventLoop) -> bool:
            monkeypatch.undo()
            collected.close()
            return is_running(loop)

        monkeypatch.setattr(asyncio.BaseEventLoop, "is_running", is_running_and_collect)
        messages.handle.send("one")
        assert await asyncio.wait_for(task, 10) == (b"one", 1)

    asyncio.run(main())
    messages.close()


def test_a_helper_that_lacks_memory_tells_the_task_and_goes_on(
    messages: aio.MessageQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack_memory(*_: object) -> None:
        monkeypatch.undo()
        raise MemoryError

    async def main() -> None:
        task = asyncio.create_task(messages.receive())
        await asyncio.sleep(0.01)
        monkeypatch.setattr(_lines, "Taken", lack_memory)
        messages.handle.send("lost")
        with pytest.raises(MemoryError):
            await asyncio.wait_for(task, 10)
        task = asyncio.create_task(messages.receive())
        await asyncio.sleep(0.01)
        messages.handle.send("found")
        assert await asyncio.wait_for(task, 10) == (b"found", 1)

    asyncio.run(main())
    messages.close()


def test_an_object_whose_call_failed_goes_with_its_last_reference() -> None:
    collected: list[str] = []

    class Queue(aio.MessageQueue):
        def __del__(self) -> None:
            collected.append("gone")

    async def main() -> None:
        queue = Queue(None, IPC_CREX)
        queue.remove()
        with pytest.raises(sysv_ipc.ExistentialError):
            await queue.receive()

    gc.disable()
    try:
        asyncio.run(main())
        wait_until(lambda: collected)
    finally:
        gc.enable()


# ------------------------------------------------------------------------------- the others


def test_a_second_init_ends_the_waits_of_the_first() -> None:
    async def main() -> None:
        messages = aio.MessageQueue(None, IPC_CREX)
        first = messages.handle
        task = asyncio.create_task(messages.receive())
        await asyncio.sleep(0.01)
        messages.__init__(None, IPC_CREX)  # type: ignore[misc]
        with pytest.raises(ValueError, match="has been closed"):
            await asyncio.wait_for(task, 10)
        await messages.send("x")
        assert await messages.receive() == (b"x", 1)
        messages.close()
        messages.remove()
        first.remove()

    asyncio.run(main())


def test_what_a_stopped_loop_was_given_is_taken_back_behind_what_a_busy_one_was_given(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    asks = threading.Event()

    async def be_busy() -> None:
        task = asyncio.create_task(messages.receive(type=1))
        await asyncio.sleep(0.01)
        messages.handle.send("for the busy", type=1)
        wait_until(lambda: messages._lines.given)
        given.set()
        asks.wait()
        assert await task == (b"for the busy", 1)

    async def ask() -> tuple[bytes, int]:
        task = asyncio.create_task(messages.receive(type=2, timeout=60))
        await asyncio.sleep(0.01)
        asks.set()
        return await task

    given = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(be_busy()))
    thread.start()
    given.wait()
    task = stopped_loop.create_task(messages.receive(type=2))
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    stopped_loop.run_until_complete(asyncio.sleep(0.01))
    messages.handle.send("for the stopped", type=2)
    wait_until(lambda: len(messages._lines.given) == 2)
    began = time.monotonic()
    assert asyncio.run(ask()) == (b"for the stopped", 2)
    assert time.monotonic() - began < 30
    thread.join()


def test_a_forked_child_ends_while_its_parent_sends(run_python: RunPython) -> None:
    code = """
import asyncio, contextlib, os
from sysv_ipc import IPC_CREX, BusyError, aio
async def main():
    messages = aio.MessageQueue(None, IPC_CREX)
    with contextlib.suppress(BusyError):
        while True:
            messages.handle.send("full", block=False)
    task = asyncio.create_task(messages.send("x"))
    await asyncio.sleep(0.02)
    child = os.fork()
    if child == 0:
        raise SystemExit(0)
    print(os.waitpid(child, 0)[1], flush=True)
    messages.remove()
    # The child has closed what the loop of both of them is woken by.
    os._exit(0)
asyncio.run(main())
"""
    assert run_python(code).stdout == "0\n"


def test_an_interrupt_at_the_end_of_the_interpreter_does_not_hold_it(
    run_python: RunPython,
) -> None:
    code = """
import asyncio
from sysv_ipc import IPC_CREX, _lines, aio
queues = [aio.MessageQueue(None, IPC_CREX) for _ in range(3)]
loop = asyncio.new_event_loop()
for queue in queues:
    loop.create_task(queue.receive())._log_destroy_pending = False
loop.run_until_complete(asyncio.sleep(0.02))
def interrupted(*_, **__):
    raise KeyboardInterrupt
_lines.Lines.end_waits = interrupted
for queue in queues:
    queue.handle.remove() if queue is queues[0] else None
print([queue.id for queue in queues[1:]], flush=True)
"""
    done = run_python(code)
    assert "KeyboardInterrupt" in done.stderr
    for number in eval(done.stdout):
        sysv_ipc.remove_message_queue(number)


def test_an_interrupt_after_a_wait_finds_the_task_with_what_it_has_got(
    run_python: RunPython,
) -> None:
    """No bytecode that could be interrupted comes after the wait."""
    code = """
import asyncio, signal, _thread
from sysv_ipc import IPC_CREX, _lines, aio
def interrupted(*_):
    if waits:
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupted)
class Interrupts:
    # Freed with the request as the wait returns, without any bytecode.
    __del__ = _thread.interrupt_main
class Request(_lines._Request):
    __slots__ = ("interrupts",)
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.interrupts = Interrupts()
_lines._Request = Request
members = aio.SemaphoreSet(None, 2, IPC_CREX)
semaphore = aio.Semaphore(None, IPC_CREX)
queue = aio.MessageQueue(None, IPC_CREX)
async def wait(awaited, give):
    asyncio.get_running_loop().call_later(0.01, give)
    result = await awaited
    got.append(result)
for awaited, give, left in (
    (lambda: members.acquire(0), lambda: members.release(0), lambda: members.handle[0].value),
    (semaphore.acquire, semaphore.release, lambda: semaphore.handle.value),
    (queue.receive, lambda: queue.handle.send("x"), lambda: queue.handle.current_messages),
):
    got, given, waits = [], [], True
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().run_until_complete(wait(awaited(), lambda: given.append(give())))
        waits = False
    except KeyboardInterrupt:
        waits = False
    print(len(given) - len(got) - left())
for one in members, semaphore, queue:
    one.close()
    one.remove()
"""
    assert run_python(code).stdout == "0\n0\n0\n"
