"""``sysv_ipc.aio``: its worker threads, and loops, objects and processes that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import threading
import weakref
from typing import Any

import pytest
from helpers import (
    NEEDS_GEVENT,
    RunPython,
    begun,
    blocked,
    cancel,
    fill,
    fork,
    in_child,
    in_each_loop,
    in_loop,
    run_in_thread,
    threads_in,
    wait_until,
)

import sysv_ipc
from sysv_ipc import IPC_CREX, BusyError, aio


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def wait_in(
    loop: asyncio.AbstractEventLoop, coroutine: Any, name: str = "msgrcv"
) -> asyncio.Task[Any]:
    """Let a task of this loop wait, and stop the loop."""
    task = loop.create_task(coroutine)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.run_until_complete(blocked(name))
    return task


# ----------------------------------------------------------------------------- the threads


@in_each_loop
async def test_ten_thousand_tasks_cost_one_thread(messages: aio.MessageQueue) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tasks = [asyncio.create_task(messages.receive()) for _ in range(10000)]
    await blocked("msgrcv")
    await begun(*tasks)
    assert threads_in("msgrcv") == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 50 * 1024
    contents = [str(i) for i in range(10000)]
    sent = run_in_thread(lambda: messages.handle.send_many(contents))
    assert [int((await task)[0]) for task in tasks] == list(range(10000))
    assert sent() == 10000


@in_loop
async def test_a_thousand_types_in_turn_cost_few_threads_which_end(
    messages: aio.MessageQueue,
) -> None:
    """The type as an address, such as a pid, is a common idiom."""
    before, most = threads(), 0
    for number in range(1, 1001):
        task = asyncio.create_task(messages.receive(type=number))
        await asyncio.sleep(0)
        messages.handle.send("x", type=number)
        await task
        most = max(most, len(threads() - before))
    # A second one while the first is not yet idle again.
    assert most <= 3
    wait_until(lambda: not threads() - before)


@pytest.mark.parametrize("end", ["messages", "removal", "close"])
@in_loop
async def test_waits_for_two_hundred_types_at_once_end_with_no_thread(
    messages: aio.MessageQueue, end: str
) -> None:
    before = threads()
    types = range(1, 201)
    tasks = [asyncio.create_task(messages.receive(type=number)) for number in types]
    await blocked("msgrcv", 200)
    if end == "messages":
        for number in types:
            messages.handle.send(str(number), type=number)
        assert await asyncio.gather(*tasks) == [(str(i).encode(), i) for i in types]
    else:
        messages.remove() if end == "removal" else messages.close()
        expected = sysv_ipc.ExistentialError if end == "removal" else ValueError
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {expected}
    wait_until(lambda: not threads() - before)


def test_several_loops_in_several_threads_share_an_object(messages: aio.MessageQueue) -> None:
    async def receive() -> list[int]:
        tasks = [asyncio.create_task(messages.receive()) for _ in range(100)]
        return [int((await task)[0]) for task in tasks]

    results: Any = [run_in_thread(lambda: asyncio.run(receive())) for _ in range(4)]
    messages.handle.send_many([str(i) for i in range(400)])
    assert sorted(number for result in results for number in result()) == list(range(400))


def test_every_task_gets_an_error_if_no_thread_can_start(messages: aio.MessageQueue) -> None:
    """The address space has no room for such a stack; a forked child has no idle threads."""

    async def main() -> list[Any]:
        threading.stack_size(2**47)
        tasks = [asyncio.create_task(messages.receive()) for _ in range(3)]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        threading.stack_size(0)
        task = asyncio.create_task(messages.receive())
        await blocked("msgrcv")
        messages.handle.send("now there is one")
        return [*map(type, errors), await task]

    results = in_child(lambda: asyncio.run(main()))
    assert results == [RuntimeError] * 3 + [(b"now there is one", 1)]


# --------------------------------------------------------------------------- loops that stop


@pytest.mark.parametrize("what", ["stopped", "closed", "closed like the object"])
def test_a_loop_that_does_not_run_holds_no_message_back(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop, what: str
) -> None:
    task = wait_in(stopped_loop, messages.receive())
    if what != "stopped":
        stopped_loop.close()
    if what == "closed like the object":
        messages.close()
    messages.handle.send("for the next receiver")
    wait_until(lambda: threads_in("msgrcv") == 0)
    other = aio.MessageQueue(messages.key) if "object" in what else messages
    assert asyncio.run(other.receive(timeout=10)) == (b"for the next receiver", 1)
    assert not task.done()
    if what == "stopped":
        messages.handle.send("the next")
        assert stopped_loop.run_until_complete(task) == (b"the next", 1)


def test_a_task_of_a_running_loop_is_served_although_a_stopped_one_waited_first(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    wait_in(stopped_loop, messages.receive())

    async def main() -> tuple[bytes, int]:
        task = asyncio.create_task(messages.receive())
        await blocked("msgrcv", 2)
        messages.handle.send("for the running one")
        return await asyncio.wait_for(task, 10)

    assert asyncio.run(main()) == (b"for the running one", 1)


@pytest.mark.parametrize("what", ["closed before", "closed after", "resumed"])
def test_a_permit_for_a_task_of_a_stopped_loop_is_released_or_belongs_to_the_task(
    permits: aio.Semaphore, stopped_loop: asyncio.AbstractEventLoop, what: str
) -> None:
    permits.handle.acquire()
    task = wait_in(stopped_loop, permits.acquire(), "semop")
    if what == "closed before":
        stopped_loop.close()
    permits.release()
    wait_until(lambda: threads_in("semop") == 0)
    if what == "resumed":
        assert stopped_loop.run_until_complete(task) is True
        assert permits.handle.value == 0
        return
    if what == "closed after":
        wait_until(lambda: permits.handle.value == 0)
        stopped_loop.close()
        permits.close()
    wait_until(lambda: permits.handle.value == 1)


# --------------------------------------------------------------------- coroutines and objects


def test_a_coroutine_may_be_collected_in_its_own_worker_thread(
    permits: aio.Semaphore, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    """The worker wakes the loop, which is where this one drops the coroutine."""
    permits.handle.acquire()
    call_soon_threadsafe = stopped_loop.call_soon_threadsafe

    def drop(*arguments: Any) -> Any:
        coroutines.clear()
        return call_soon_threadsafe(*arguments)

    async def begin() -> None:
        coroutines[0].send(None)
        await blocked("semop")

    coroutines = [permits.acquire()]
    stopped_loop.run_until_complete(begin())
    stopped_loop.call_soon_threadsafe = drop  # type: ignore[method-assign, assignment]
    permits.release()
    wait_until(lambda: not coroutines and permits.handle.value == 1)
    assert asyncio.run(permits.acquire(timeout=10)) is True


@in_loop
async def test_a_permit_that_comes_while_its_coroutine_is_closed_is_released(
    permits: aio.Semaphore,
) -> None:
    """Nothing waits here for the worker thread, which has the permit and releases it itself."""
    for _ in range(20):
        permits.handle.acquire()
        waiting = permits.acquire()
        waiting.send(None)
        await blocked("semop")
        permits.release()
        waiting.close()
        wait_until(lambda: threads_in("semop") == 0 and permits.handle.value == 1)


@in_each_loop
async def test_an_object_may_be_closed_by_the_collector_in_any_thread(
    messages: aio.MessageQueue,
) -> None:
    """A __del__() may run anywhere, also in a worker thread that is just starting."""
    closed: list[aio.MessageQueue] = []

    class Cycle:
        def __init__(self) -> None:
            self.queue = aio.MessageQueue(messages.key)
            self.itself = self

        def __del__(self) -> None:
            self.queue.close()
            closed.append(self.queue)

    async def receive(queue: aio.MessageQueue) -> None:
        task = asyncio.create_task(queue.receive())
        await asyncio.sleep(0.001)
        await messages.send("x")
        assert await task == (b"x", 1)

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(100):
            cycle = Cycle()
            await receive(cycle.queue)
            task = asyncio.create_task(cycle.queue.receive(type=5))
            await asyncio.sleep(0.001)
            task.cancel()
            del cycle
            with pytest.raises(asyncio.CancelledError):
                await task
            await receive(messages)
    finally:
        gc.set_threshold(*thresholds)
    # Another thread may be in the middle of collecting, and then nothing is collected here.
    wait_until(lambda: not gc.collect() and len(closed) == 100)
    for queue in closed:
        with pytest.raises(ValueError, match="has been closed"):
            await queue.receive(timeout=0)


@pytest.mark.parametrize("end", ["time is up", "removed before", "removed meanwhile"])
def test_an_object_whose_call_failed_goes_with_its_last_reference_and_leaves_no_thread(
    end: str,
) -> None:
    before = threads()

    async def main() -> weakref.ref[aio.MessageQueue]:
        queue = aio.MessageQueue(None, IPC_CREX)
        remove = queue.handle.remove
        if end == "removed meanwhile":
            asyncio.get_running_loop().call_later(0.01, remove)
        elif end == "removed before":
            remove()
        with contextlib.suppress(BusyError, sysv_ipc.ExistentialError):
            await queue.receive(timeout=0.01 if end == "time is up" else 10)
        if end == "time is up":
            remove()
        return weakref.ref(queue)

    gc.disable()
    try:
        dead = asyncio.run(main())
        # The worker thread drops its reference a moment later.
        wait_until(lambda: dead() is None)
    finally:
        gc.enable()
    wait_until(lambda: not threads() - before)


# ---------------------------------------------------------------------- fork, and the end


@in_loop
async def test_a_forked_child_has_threads_of_its_own_and_leaves_the_parents_waits(
    messages: aio.MessageQueue,
) -> None:
    # The parent has an idle thread, and two that wait.
    filled = fill(messages.handle)
    idle, task = (asyncio.create_task(messages.receive(type=number)) for number in (2, 1))
    sending = asyncio.create_task(messages.send("y" * 2048, type=3))
    await blocked("msgrcv", 2)
    await blocked("msgsnd")
    await cancel(idle)

    def use() -> None:
        for queue in (aio.MessageQueue(None, IPC_CREX), messages):
            with pytest.raises(BusyError):
                asyncio.run(queue.receive(type=1, timeout=0.01))
            asyncio.run(asyncio.wait_for(acquire(), 10))
            if queue is not messages:
                queue.remove()

    async def acquire() -> None:
        permits = aio.Semaphore(None, IPC_CREX)
        waiting = asyncio.create_task(permits.acquire())
        await blocked("semop")
        permits.release()
        assert await waiting
        permits.remove()

    def work() -> None:
        # The tasks are the parent's: ending them here ends nothing there.
        receiver: Any = task.get_coro()
        with pytest.raises(asyncio.CancelledError):
            receiver.throw(asyncio.CancelledError())
        sending.get_coro().close()
        # A loop is running in this thread.
        assert run_in_thread(use)() is None

    assert os.waitpid(fork(work), 0)[1] == 0
    assert threads_in("msgrcv") == threads_in("msgsnd") == 1
    for _ in range(filled):
        messages.handle.receive(type=99)
    await messages.send("to the parent")
    assert await task == (b"to the parent", 1)
    await sending
    assert messages.handle.receive(False) == (b"y" * 2048, 3)


def test_a_forked_child_may_continue_a_stopped_loop(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    task = wait_in(stopped_loop, messages.receive(type=1))

    def work() -> None:
        # It does not wait behind the parent's task.
        messages.handle.send("to the child", type=1)
        receive = asyncio.wait_for(messages.receive(type=1), 2)
        assert stopped_loop.run_until_complete(receive) == (b"to the child", 1)

    assert os.waitpid(fork(work), 0)[1] == 0
    messages.handle.send("to the parent")
    assert stopped_loop.run_until_complete(task) == (b"to the parent", 1)


END = """
import atexit, asyncio, sys, threading
@atexit.register
def remove():
    # Registered first, so that it is called last.
    sysv_ipc.remove_message_queue(queue.id)
    print(permits.handle.waiting_for_nonzero)
    permits.remove()
import sysv_ipc
from sysv_ipc import IPC_CREX, aio
queue = aio.MessageQueue(None, IPC_CREX)
permits = aio.Semaphore(None, IPC_CREX)
how = sys.argv[1]
ready = threading.Event()
async def main():
    waits = queue.receive(), queue.receive(), queue.receive(type=3), permits.acquire()
    tasks = [asyncio.create_task(wait) for wait in waits]
    while not permits.handle.waiting_for_nonzero:
        await asyncio.sleep(0.001)
    ready.set()
    if how == "exit":
        sys.exit(3)
    if how == "daemon":
        await asyncio.gather(*tasks)
    for task in tasks:
        task._log_destroy_pending = False
if how == "daemon":
    threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
    ready.wait()
elif how == "stopped loop":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
else:
    asyncio.run(main())
sys.exit(3)
"""


@pytest.mark.parametrize("how", ["exit", "stopped loop", "daemon"])
def test_the_interpreter_ends_while_tasks_wait(run_python: RunPython, how: str) -> None:
    done = run_python(END, how)
    assert (done.returncode, done.stdout, done.stderr) == (3, "0\n", "")


INTERRUPTED_END = """
import asyncio, atexit, sys
from sysv_ipc import aio
queues = [aio.MessageQueue.from_id(int(number)) for number in sys.argv[1:]]
loop = asyncio.new_event_loop()
for queue in queues:
    loop.create_task(queue.receive())._log_destroy_pending = False
loop.run_until_complete(asyncio.sleep(0.02))
def profile(frame, event, argument):
    if frame.f_code.co_filename.startswith(aio.__file__.removesuffix("aio.py")):
        sys.setprofile(None)
        raise KeyboardInterrupt
atexit.register(sys.setprofile, profile)
"""


def test_an_interrupt_at_the_end_of_the_interpreter_does_not_hold_it(
    run_python: RunPython, queue: sysv_ipc.MessageQueue, messages: aio.MessageQueue
) -> None:
    done = run_python(INTERRUPTED_END, queue.id, messages.id, queue.id)
    assert "KeyboardInterrupt" in done.stderr


# ------------------------------------------------------------------------- patched threads

PATCHED = """
import asyncio, sys
if sys.argv[1] == "before":
    from sysv_ipc import aio
PATCH
import sysv_ipc
from sysv_ipc import aio
async def main():
    queue = aio.MessageQueue(None, sysv_ipc.IPC_CREX)
    try:
        await queue.receive(timeout=0.05)
    except sysv_ipc.BusyError:
        print("busy")
    for message in "", "message", None:
        task = asyncio.create_task(queue.receive())
        await asyncio.sleep(0.02)
        task.cancel() if message is None else queue.handle.send(message)
        (result,) = await asyncio.gather(asyncio.wait_for(task, 20), return_exceptions=True)
        print(type(result).__name__, result)
    queue.remove()
asyncio.run(main())
"""
#: The effect of gevent's patch on a program, for machines without gevent.
LIKE_GEVENT = """
import _thread, types, threading
saved = {name: getattr(_thread, name) for name in dir(_thread)}
def greenlet(*_, **__):
    raise AssertionError("a greenlet has been started")
for name in "start_new_thread", "start_joinable_thread":
    if hasattr(_thread, name):
        setattr(_thread, name, greenlet)
threading._start_new_thread = threading._start_joinable_thread = greenlet
monkey = types.ModuleType("gevent.monkey")
monkey.get_original = lambda module, name: saved[name]
sys.modules["gevent.monkey"] = monkey
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(LIKE_GEVENT, id="a patch like that of gevent"),
        pytest.param("from gevent import monkey; monkey.patch_all()", marks=NEEDS_GEVENT),
        pytest.param("from gevent import monkey; monkey.patch_thread()", marks=NEEDS_GEVENT),
    ],
)
def test_worker_threads_are_real_if_the_program_has_greenlets_for_threads(
    run_python: RunPython, patch: str, when: str
) -> None:
    done = run_python(PATCHED.replace("PATCH", patch), when)
    expected = "busy\ntuple (b'', 1)\ntuple (b'message', 1)\nCancelledError \n"
    assert done.stdout == expected, done.stderr
