"""``sysv_ipc.aio``: what a helper took for a task that did not want it any more."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import begun, fork, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, ArgumentError, BusyError, ExistentialError, aio

RunPython = Callable[..., subprocess.CompletedProcess[str]]

FILLER = b"x" * 99


async def take_for_nobody(messages: aio.MessageQueue, filler: bytes | None = None) -> None:
    """Let a helper take a message for a task that is cancelled before it hears of it.

    Where there is a filler, the queue is full again before the task is cancelled.
    """
    if filler is not None:
        messages.handle.max_size = 100
    task = asyncio.create_task(messages.receive())
    await begun(task)
    messages.handle.send("precious", type=7)
    wait_until(lambda: messages.handle.current_messages == 0)
    if filler is not None:
        messages.handle.send(filler)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The helper has done all that it had to do.
    wait_until(lambda: not messages._lines._lines)


async def ask(messages: aio.MessageQueue) -> None:
    """Ask for something that is not there."""
    with pytest.raises(BusyError):
        await messages.receive(timeout=0, type=99)


# ------------------------------------------------------------------------ back to the queue


def test_what_was_taken_for_nobody_is_put_back_at_once(messages: aio.MessageQueue) -> None:
    asyncio.run(take_for_nobody(messages))
    assert messages.handle.receive(False) == (b"precious", 7)


def test_what_was_taken_for_nobody_goes_to_the_end_of_the_queue(
    messages: aio.MessageQueue,
) -> None:
    async def main() -> None:
        task = asyncio.create_task(messages.receive())
        await begun(task)
        messages.handle.send("first")
        wait_until(lambda: messages.handle.current_messages == 0)
        messages.handle.send("second")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        wait_until(lambda: not messages._lines._lines)

    asyncio.run(main())
    assert messages.handle.receive_many(3) == [(b"second", 1), (b"first", 1)]


def test_what_was_given_to_a_loop_that_stopped_is_put_back_when_somebody_asks(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    task = stopped_loop.create_task(messages.receive())
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    stopped_loop.run_until_complete(asyncio.sleep(0.01))
    messages.handle.send("precious", type=7)
    wait_until(lambda: messages._lines.given)
    asyncio.run(ask(messages))
    assert messages.handle.receive(False) == (b"precious", 7)


def test_what_was_taken_for_nobody_is_kept_while_the_queue_is_full(
    messages: aio.MessageQueue,
) -> None:
    asyncio.run(take_for_nobody(messages, FILLER))
    with pytest.raises(BusyError):
        messages.close()
    messages.handle.receive()
    messages.close()
    assert messages.handle.receive(False) == (b"precious", 7)


def test_what_is_kept_is_put_back_when_somebody_asks(messages: aio.MessageQueue) -> None:
    asyncio.run(take_for_nobody(messages, FILLER))
    assert messages.handle.receive(False) == (FILLER, 1)
    asyncio.run(ask(messages))
    assert messages.handle.receive(False) == (b"precious", 7)


def test_who_asks_gets_what_is_kept_while_the_queue_is_full(messages: aio.MessageQueue) -> None:
    asyncio.run(take_for_nobody(messages, FILLER))
    assert asyncio.run(messages.receive(timeout=0, type=7)) == (b"precious", 7)
    assert messages.handle.current_messages == 1


def test_close_of_a_queue_that_has_gone_with_what_is_kept(messages: aio.MessageQueue) -> None:
    asyncio.run(take_for_nobody(messages, FILLER))
    messages.remove()
    messages.close()
    with pytest.raises(ExistentialError):
        _ = messages.handle.current_messages


def test_a_forked_child_has_not_what_the_parent_keeps(messages: aio.MessageQueue) -> None:
    asyncio.run(take_for_nobody(messages, FILLER))

    def work() -> None:
        assert messages.handle.receive(False) == (FILLER, 1)
        messages.close()
        assert messages.handle.current_messages == 0

    assert os.waitpid(fork(work), 0)[1] == 0
    assert asyncio.run(messages.receive(timeout=0)) == (b"precious", 7)


# ------------------------------------------------------------------------------- whole or cut


@pytest.fixture
def short(messages: aio.MessageQueue) -> Iterator[aio.MessageQueue]:
    """The same queue, through a handle that takes no more than ten bytes."""
    queue = aio.MessageQueue.from_id(messages.id, max_message_size=10)
    yield queue
    with contextlib.suppress(BusyError):
        queue.close()


LONG = bytes(range(100))


async def take_long_for_nobody(short: aio.MessageQueue, queue: sysv_ipc.MessageQueue) -> None:
    task = asyncio.create_task(short.receive(truncate=True))
    await begun(task)
    queue.send(LONG, type=3)
    wait_until(lambda: queue.current_messages == 0)
    queue.try_send(FILLER)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    wait_until(lambda: not short._lines._lines)


def test_a_message_is_cut_for_who_asked_for_that(
    messages: aio.MessageQueue, short: aio.MessageQueue
) -> None:
    async def main() -> None:
        messages.handle.send(LONG)
        assert await short.receive(truncate=True) == (LONG[:10], 1)
        task = asyncio.create_task(short.receive(truncate=True))
        await begun(task)
        messages.handle.send(LONG)
        assert await task == (LONG[:10], 1)

    asyncio.run(main())


def test_a_message_that_was_taken_to_be_cut_is_put_back_whole(
    messages: aio.MessageQueue, short: aio.MessageQueue
) -> None:
    asyncio.run(take_long_for_nobody(short, messages.handle))
    assert messages.handle.receive(False, type=3) == (LONG, 3)


def test_a_message_that_was_taken_to_be_cut_is_kept_whole(
    messages: aio.MessageQueue, short: aio.MessageQueue
) -> None:
    messages.handle.max_size = 150
    asyncio.run(take_long_for_nobody(short, messages.handle))
    with pytest.raises(BusyError):
        messages.handle.receive(False, type=3)
    with pytest.raises(BusyError):
        asyncio.run(short.receive(timeout=0, type=3))
    assert asyncio.run(short.receive(timeout=0, type=3, truncate=True)) == (LONG[:10], 3)


def test_a_message_that_was_taken_to_be_cut_is_too_long_for_who_wants_it_whole(
    messages: aio.MessageQueue, short: aio.MessageQueue
) -> None:
    async def main() -> None:
        cut = asyncio.create_task(short.receive(truncate=True))
        await begun(cut)
        messages.handle.send(LONG, type=3)
        wait_until(lambda: messages.handle.current_messages == 0)
        plain = asyncio.create_task(short.receive(type=3))
        cut.cancel()
        with pytest.raises(ArgumentError) as caught:
            await plain
        assert caught.value.errno == 7
        assert messages.handle.receive(False) == (LONG, 3)
        await asyncio.gather(cut, return_exceptions=True)

    asyncio.run(main())


# --------------------------------------------------------- when the object or the process ends


def keep_and_drop(messages: aio.MessageQueue) -> None:
    """Let an object go while it keeps a message of a full queue."""

    def use() -> weakref.ref[aio.MessageQueue]:
        same = aio.MessageQueue.from_id(messages.id)
        asyncio.run(take_for_nobody(same, FILLER))
        return weakref.ref(same)

    dead = use()
    gc.collect()
    assert dead() is None


def test_a_collected_object_waits_for_room_to_put_back_what_it_kept(
    messages: aio.MessageQueue,
) -> None:
    keep_and_drop(messages)
    assert messages.handle.receive(type=1, timeout=10) == (FILLER, 1)
    assert messages.handle.receive(timeout=10) == (b"precious", 7)


def test_a_collected_object_whose_queue_is_removed_ends_its_wait(
    messages: aio.MessageQueue,
) -> None:
    keep_and_drop(messages)
    wait_until(lambda: sysv_ipc._lines._collected)
    messages.remove()
    wait_until(lambda: not sysv_ipc._lines._collected)


def test_closing_again_does_not_wait_for_the_thread_that_waits_for_room(
    messages: aio.MessageQueue,
) -> None:
    """close() under the lock, as by the garbage collector, leaves the rest to a thread."""
    same = aio.MessageQueue.from_id(messages.id)
    asyncio.run(take_for_nobody(same, FILLER))
    with sysv_ipc._lines._lock:
        same.close()
        same.close()
    wait_until(lambda: same._lines._lines)
    same.close()
    assert messages.handle.receive(type=1, timeout=10) == (FILLER, 1)
    assert messages.handle.receive(timeout=10) == (b"precious", 7)
    wait_until(lambda: not sysv_ipc._lines._collected)
    same.close()


#: keep(queue) keeps a message that was taken off this queue.
KEEP = f"""
import asyncio, atexit, os, sys, time
import sysv_ipc
from sysv_ipc import aio
sys.path.append({str(Path(__file__).parent)!r})
from sleeping import blocked_in_system_call
async def keep(queue, content="precious"):
    queue.handle.max_size = 100
    task = asyncio.create_task(queue.receive())
    await asyncio.sleep(0.02)
    queue.handle.send(content, type=7)
    while queue.handle.current_messages: time.sleep(0.001)
    queue.handle.send(b"x" * 99)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    while queue._lines._lines: time.sleep(0.001)
def sends(thread):
    return blocked_in_system_call(thread, "msgsnd")
"""


@pytest.fixture
def queues() -> Iterator[list[sysv_ipc.MessageQueue]]:
    made = [sysv_ipc.MessageQueue(None, IPC_CREX) for _ in range(3)]
    yield made
    for queue in made:
        queue.remove()


def test_the_end_of_the_interpreter_puts_back_what_is_kept(
    run_python: RunPython, messages: aio.MessageQueue
) -> None:
    code = f"""
queue = aio.MessageQueue.from_id({messages.id})
asyncio.run(keep(queue))
queue.handle.receive(type=1)
print(queue.handle.current_messages)
"""
    done = run_python(KEEP + code)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
    assert messages.handle.receive(False) == (b"precious", 7)


def test_a_full_queue_does_not_hinder_others_at_the_end_of_the_interpreter(
    run_python: RunPython, queues: list[sysv_ipc.MessageQueue]
) -> None:
    code = """
queues = [aio.MessageQueue.from_id(int(number)) for number in sys.argv[1:]]
for queue in queues:
    asyncio.run(keep(queue))
queues[1].handle.receive(type=1)
"""
    done = run_python(KEEP + code, *(queue.id for queue in queues))
    assert queues[1].receive(False) == (b"precious", 7)
    for full in (queues[0], queues[2]):
        assert f"1 of <sysv_ipc.MessageQueue key=0x{full.key:x}, id={full.id}" in done.stderr
        assert full.receive_many(9) == [(FILLER, 1)]
    assert "and is lost" in done.stderr
    assert f"id={queues[1].id}," not in done.stderr


DROP = """
queue = aio.MessageQueue.from_id(int(sys.argv[1]))
asyncio.run(keep(queue))
queue = None
while not any(map(sends, os.listdir("/proc/self/task"))): time.sleep(0.001)
"""


def test_what_a_collected_object_kept_is_not_lost_in_silence(
    run_python: RunPython, messages: aio.MessageQueue
) -> None:
    done = run_python(KEEP + DROP, messages.id)
    assert f"1 of <sysv_ipc.MessageQueue key=0x{messages.key:x}, id={messages.id}" in done.stderr
    assert messages.handle.receive_many(9) == [(FILLER, 1)]


def test_what_a_collected_object_kept_is_put_back_at_the_end_of_the_interpreter(
    messages: aio.MessageQueue,
) -> None:
    code = KEEP + DROP + 'atexit.register(print, "ends", flush=True)'
    with subprocess.Popen(
        [sys.executable, "-c", code, str(messages.id)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ends\n"
        messages.handle.receive(False, type=1)
        assert program.communicate(timeout=60) == ("", "")
    assert messages.handle.receive(False) == (b"precious", 7)


# --------------------------------------------------------------------------------- permits


def test_undo_is_what_the_handle_says_at_the_time(run_python: RunPython) -> None:
    """The kernel gives back what a process took with undo, in whatever thread."""
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX)
    code = f"""
import asyncio
from sysv_ipc import aio
semaphore = aio.Semaphore.from_id({semaphore.id})
async def main():
    async def acquire():
        task = asyncio.create_task(semaphore.acquire())
        await asyncio.sleep(0.01)
        semaphore.handle.release()
        await task
    undo = semaphore.handle.undo
    await acquire()
    semaphore.handle.undo = True
    task = asyncio.create_task(semaphore.acquire())
    await asyncio.sleep(0.01)
    semaphore.handle.undo = False
    semaphore.release()
    await task
    semaphore.close()
    print(semaphore.handle.value, flush=True)
asyncio.run(main())
"""
    assert run_python(code).stdout == "0\n"
    assert semaphore.value == 1
    semaphore.remove()


@pytest.mark.parametrize("undo", [False, True])
def test_a_permit_that_nobody_wants_is_released_with_the_undo_it_was_acquired_with(
    run_python: RunPython, undo: bool
) -> None:
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX)
    code = f"""
import asyncio, time
from sysv_ipc import aio
semaphore = aio.Semaphore.from_id({semaphore.id})
async def main():
    semaphore.handle.undo = {undo}
    task = asyncio.create_task(semaphore.acquire())
    await asyncio.sleep(0.02)
    semaphore.handle.undo = False
    semaphore.release()
    while not semaphore._lines.given: time.sleep(0.001)
    while semaphore._lines._lines: time.sleep(0.001)
    semaphore.handle.undo = {not undo}
    # The line's handle waits in another line meanwhile.
    other = asyncio.create_task(semaphore.acquire(delta=5))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    semaphore.close()
    print(semaphore.handle.value, flush=True)
asyncio.run(main())
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert semaphore.value == 1
    semaphore.remove()


def test_an_exception_inside_the_block_goes_on_where_the_release_fails(
    permits: aio.Semaphore,
) -> None:
    async def use(inside: BaseException | None) -> None:
        async with permits:
            permits.remove()
            if inside is not None:
                raise inside

    with pytest.raises(ExistentialError):
        asyncio.run(use(None))


@pytest.mark.parametrize("inside", [ZeroDivisionError("inside"), asyncio.CancelledError()])
def test_the_exception_of_the_block_tells_that_the_release_failed(
    permits: aio.Semaphore, inside: BaseException
) -> None:
    async def use() -> Any:
        try:
            async with permits:
                permits.remove()
                raise inside
        except BaseException as error:
            return error

    error = asyncio.run(use())
    assert error is inside
    assert [note.startswith("Besides, [Errno 22]") for note in error.__notes__] == [True]
