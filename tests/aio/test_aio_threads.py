"""``sysv_ipc.aio``: its worker threads, and loops, objects and processes that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import (
    RunPython,
    begun,
    blocked,
    cancel,
    fork,
    in_each_loop,
    in_loop,
    run_in_thread,
    threads_in,
    wait_until,
)

import sysv_ipc
from sysv_ipc import IPC_CREX, BusyError, aio


@contextlib.contextmanager
def eager_collection() -> Iterator[None]:
    """Collect garbage at each allocation."""
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


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
    sender = threading.Thread(
        target=lambda: messages.handle.send_many([str(i) for i in range(10000)])
    )
    sender.start()
    assert [int((await task)[0]) for task in tasks] == list(range(10000))
    sender.join()


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


@in_loop
async def test_two_hundred_types_at_once_end_with_no_thread(messages: aio.MessageQueue) -> None:
    before = threads()
    tasks = [asyncio.create_task(messages.receive(type=i)) for i in range(1, 201)]
    await blocked("msgrcv", 200)
    for i in range(1, 201):
        await messages.send(str(i), type=i)
    assert await asyncio.gather(*tasks) == [(str(i).encode(), i) for i in range(1, 201)]
    wait_until(lambda: not threads() - before)


def test_several_loops_in_several_threads_share_an_object(messages: aio.MessageQueue) -> None:
    got: list[int] = []

    async def receive() -> None:
        tasks = [asyncio.create_task(messages.receive()) for _ in range(100)]
        got.extend([int((await task)[0]) for task in tasks])

    loops = [threading.Thread(target=asyncio.run, args=(receive(),)) for _ in range(4)]
    for thread in loops:
        thread.start()
    messages.handle.send_many([str(i) for i in range(400)])
    for thread in loops:
        thread.join(60)
    assert sorted(got) == list(range(400))


NO_THREAD = """
import asyncio, threading
from sysv_ipc import IPC_CREX, aio
messages = aio.MessageQueue(None, IPC_CREX)
async def main():
    threading.stack_size(2**47)
    tasks = [asyncio.create_task(messages.receive()) for _ in range(3)]
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        print(repr(result))
    threading.stack_size(0)
    task = asyncio.create_task(messages.receive())
    await asyncio.sleep(0.01)
    messages.handle.send("now there is one")
    print(await task)
try:
    asyncio.run(asyncio.wait_for(main(), 30))
finally:
    messages.remove()
"""


def test_if_no_thread_can_start_every_task_is_told(run_python: RunPython) -> None:
    """The address space has no room for such a stack."""
    *failed, last = run_python(NO_THREAD).stdout.splitlines()
    assert len(failed) == 3
    assert all(line.startswith("RuntimeError(") for line in failed)
    assert last == "(b'now there is one', 1)"


# --------------------------------------------------------------------------- loops that stop


@pytest.mark.parametrize("closed", [False, True], ids=["stopped", "closed"])
def test_a_message_for_a_loop_that_does_not_run_goes_to_the_next_who_asks(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop, closed: bool
) -> None:
    task = wait_in(stopped_loop, messages.receive())
    if closed:
        stopped_loop.close()
    messages.handle.send("on its way")
    wait_until(lambda: threads_in("msgrcv") == 0)
    assert asyncio.run(messages.receive(timeout=10)) == (b"on its way", 1)
    assert not task.done()
    if not closed:
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


def test_a_permit_for_a_loop_that_was_closed_is_released(
    permits: aio.Semaphore, stopped_loop: asyncio.AbstractEventLoop
) -> None:
    permits.handle.acquire()
    wait_in(stopped_loop, permits.acquire(), "semop")
    stopped_loop.close()
    permits.release()
    wait_until(lambda: threads_in("semop") == 0 and permits.handle.value == 1)


@pytest.mark.parametrize("end", ["message", "close"])
def test_a_loop_that_was_closed_holds_no_message_back_and_its_thread_ends(
    messages: aio.MessageQueue, stopped_loop: asyncio.AbstractEventLoop, end: str
) -> None:
    wait_in(stopped_loop, messages.receive())
    stopped_loop.close()
    if end == "close":
        messages.close()
    messages.handle.send("for the next receiver")
    wait_until(lambda: threads_in("msgrcv") == 0)
    assert messages.handle.receive(False) == (b"for the next receiver", 1)


# --------------------------------------------------------------------- coroutines and objects


@in_loop
async def test_a_coroutine_that_is_closed_while_it_waits_leaves_its_place(
    messages: aio.MessageQueue,
) -> None:
    waiting = messages.receive()
    waiting.send(None)
    task = asyncio.create_task(messages.receive())
    await blocked("msgrcv")
    waiting.close()
    messages.handle.send("for the next")
    assert await asyncio.wait_for(task, 10) == (b"for the next", 1)


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


class Cycle:
    """Garbage that refers to an object for asyncio, and may close it when it is collected."""

    def __init__(self, queue: aio.MessageQueue, closed: list[aio.MessageQueue] | None) -> None:
        self.queue = queue
        self.closed = closed
        self.itself = self

    def __del__(self) -> None:
        if self.closed is not None:
            self.queue.close()
            self.closed.append(self.queue)


@in_each_loop
async def test_objects_are_collected_while_threads_start(messages: aio.MessageQueue) -> None:
    """Garbage may be collected anywhere, also in a thread that is just starting."""
    with eager_collection():
        for _ in range(30):
            cycle = Cycle(aio.MessageQueue(messages.key), None)
            task = asyncio.create_task(cycle.queue.receive())
            del cycle
            await asyncio.sleep(0.001)
            await messages.send("x")
            assert await task == (b"x", 1)


@in_each_loop
async def test_objects_are_closed_by_whoever_collects_their_owner(
    messages: aio.MessageQueue,
) -> None:
    """A __del__() may run anywhere, also in a worker thread."""
    closed: list[aio.MessageQueue] = []
    with eager_collection():
        for _ in range(100):
            cycle = Cycle(aio.MessageQueue(messages.key), closed)
            task = asyncio.create_task(cycle.queue.receive(type=5))
            await asyncio.sleep(0.001)
            task.cancel()
            del cycle
            with pytest.raises(asyncio.CancelledError):
                await task
            task = asyncio.create_task(messages.receive())
            await messages.send("x")
            assert await task == (b"x", 1)
    # Another thread may be in the middle of collecting, and then nothing is collected here.
    wait_until(lambda: not gc.collect() and len(closed) == 100)
    for queue in closed:
        with pytest.raises(ValueError, match="has been closed"):
            await queue.receive(timeout=0)


def test_an_object_that_is_dropped_leaves_no_thread(messages: aio.MessageQueue) -> None:
    before = threads()

    def use_and_drop() -> weakref.ref[aio.MessageQueue]:
        same = aio.MessageQueue(messages.key)
        with pytest.raises(BusyError):
            asyncio.run(same.receive(timeout=0.01))
        return weakref.ref(same)

    dead = use_and_drop()
    gc.collect()
    assert dead() is None
    wait_until(lambda: not threads() - before)


# ---------------------------------------------------------------------- fork, and the end


@in_loop
async def test_a_forked_child_has_threads_of_its_own(messages: aio.MessageQueue) -> None:
    # The parent has an idle thread, and one that waits.
    idle = asyncio.create_task(messages.receive(type=2))
    task = asyncio.create_task(messages.receive())
    await blocked("msgrcv", 2)
    await cancel(idle)

    def use() -> None:
        for queue in (aio.MessageQueue(None, IPC_CREX), messages):
            with pytest.raises(BusyError):
                asyncio.run(queue.receive(timeout=0.01))
            if queue is not messages:
                queue.remove()

    def work() -> None:
        # The task is the parent's: ending it here ends nothing there.
        coroutine: Any = task.get_coro()
        with pytest.raises(asyncio.CancelledError):
            coroutine.throw(asyncio.CancelledError())
        # A loop is running in this thread.
        assert run_in_thread(use)() is None

    assert os.waitpid(fork(work), 0)[1] == 0
    assert threads_in("msgrcv") == 1
    await messages.send("to the parent")
    assert await task == (b"to the parent", 1)


def test_a_forked_child_ends_while_its_parent_sends(run_python: RunPython) -> None:
    code = """
import asyncio, os, sys
from sysv_ipc import IPC_CREX, aio
async def main():
    messages = aio.MessageQueue(None, IPC_CREX)
    while messages.handle.try_send("full"):
        pass
    task = asyncio.create_task(messages.send("x"))
    await asyncio.sleep(0.02)
    child = os.fork()
    if child == 0:
        # To leave asyncio.run() is not for a child: the loop is the parent's.
        task.get_coro().close()
        del task
        sys.stdout.flush()
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
    messages.handle.receive()
    await task
    messages.remove()
asyncio.run(main())
"""
    assert run_python(code).stdout == "0\n"


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


def test_an_interrupt_at_the_end_of_the_interpreter_does_not_hold_it(
    run_python: RunPython,
) -> None:
    code = """
import asyncio, atexit, signal, sys
from sysv_ipc import IPC_CREX, aio
queues = [aio.MessageQueue(None, IPC_CREX) for _ in range(3)]
loop = asyncio.new_event_loop()
for queue in queues:
    loop.create_task(queue.receive())._log_destroy_pending = False
loop.run_until_complete(asyncio.sleep(0.02))
ids = [queue.id for queue in queues]
print(ids, flush=True)
def interrupt():
    def profile(frame, event, argument):
        if frame.f_code.co_filename.startswith(folder):
            sys.setprofile(None)
            raise KeyboardInterrupt
    folder = aio.__file__.removesuffix("aio.py")
    sys.setprofile(profile)
atexit.register(interrupt)
"""
    done = run_python(code)
    assert "KeyboardInterrupt" in done.stderr
    for number in eval(done.stdout):
        sysv_ipc.remove_message_queue(number)


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
    for message in "", "message":
        task = asyncio.create_task(queue.receive())
        await asyncio.sleep(0.02)
        queue.handle.send(message)
        print(await asyncio.wait_for(task, 20))
    task = asyncio.create_task(queue.receive())
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    print(task.cancelled())
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


def with_patches(run_python: RunPython, patch: str, when: str) -> None:
    done = run_python(PATCHED.replace("PATCH", patch), when)
    assert done.stdout == "busy\n(b'', 1)\n(b'message', 1)\nTrue\n", done.stderr


@pytest.mark.parametrize("when", ["before", "after"])
def test_worker_threads_are_real_if_the_program_has_greenlets_for_threads(
    run_python: RunPython, when: str
) -> None:
    with_patches(run_python, LIKE_GEVENT, when)


@pytest.mark.skipif(
    sys.version_info >= (3, 13) or os.uname().machine != "x86_64",
    reason="gevent is installed where it comes built: on x86-64, up to CPython 3.12",
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["patch_all", "patch_thread"])
def test_tasks_wait_under_gevent(run_python: RunPython, what: str, when: str) -> None:
    with_patches(run_python, f"from gevent import monkey; monkey.{what}()", when)
