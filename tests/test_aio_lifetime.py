"""``sysv_ipc.aio``: threads, loops and objects that come and go while tasks wait."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from helpers import aio_helpers, begun, fork, wait_until

from sysv_ipc import IPC_CREX, BusyError, aio

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]


def test_ten_thousand_tasks_cost_one_thread(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    async def main() -> None:
        # Those that still linger would take the line.
        wait_until(lambda: aio_helpers() == 0)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tasks = [asyncio.create_task(messages.receive()) for _ in range(10000)]
        await begun(*tasks)
        assert aio_helpers() == 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 50 * 1024
        sender = threading.Thread(
            target=lambda: messages.handle.send_many([str(i) for i in range(10000)])
        )
        sender.start()
        assert [int((await task)[0]) for task in tasks] == list(range(10000))
        sender.join()

    run(main)


def test_several_loops_in_several_threads_share_an_object(messages: aio.MessageQueue) -> None:
    got: list[int] = []

    async def receive() -> None:
        tasks = [asyncio.create_task(messages.receive()) for _ in range(100)]
        got.extend([int((await task)[0]) for task in tasks])

    threads = [threading.Thread(target=asyncio.run, args=(receive(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    messages.handle.send_many([str(i) for i in range(400)])
    for thread in threads:
        thread.join(60)
    assert sorted(got) == list(range(400))


def test_a_loop_that_is_closed_while_a_task_waits_holds_nothing_back(
    messages: aio.MessageQueue,
) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(messages.receive())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    messages.handle.send("for whoever comes")
    # The helper takes it, and puts it back.
    wait_until(lambda: messages.handle.last_receive_pid != 0)
    assert messages.handle.receive(timeout=10) == (b"for whoever comes", 1)
    # The task can never end: it is no fault of ours that it is told of.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()


def test_an_object_that_is_dropped_ends_its_helper(messages: aio.MessageQueue) -> None:

    async def use(same: aio.MessageQueue) -> None:
        with pytest.raises(BusyError):
            await same.receive(timeout=0.01)
        assert aio_helpers() >= 1

    def use_and_drop() -> weakref.ref[aio.MessageQueue]:
        same = aio.MessageQueue(messages.key)
        asyncio.run(use(same))
        return weakref.ref(same)

    dead = use_and_drop()
    gc.collect()
    assert dead() is None
    wait_until(lambda: aio_helpers() == 0)


def test_objects_that_are_collected_while_helpers_start_hinder_nobody(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    """Garbage may be collected anywhere, also in a helper that is just starting."""

    class Cycle:
        def __init__(self) -> None:
            self.queue = aio.MessageQueue(messages.key)
            self.itself = self

    async def main() -> None:
        thresholds = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(30):
                task = asyncio.create_task(Cycle().queue.receive())
                await asyncio.sleep(0.001)
                await messages.send("x")
                assert await task == (b"x", 1)
        finally:
            gc.set_threshold(*thresholds)

    run(main)


def test_objects_are_closed_by_whoever_collects_their_owner(
    run: Callable[[Main[None]], None], messages: aio.MessageQueue
) -> None:
    """A __del__() may run anywhere, also under the lock that helpers need to end."""
    closed: list[aio.MessageQueue] = []

    class Service:
        def __init__(self) -> None:
            self.queue = aio.MessageQueue(messages.key)
            self.itself = self

        def __del__(self) -> None:
            self.queue.close()
            closed.append(self.queue)

    async def main() -> None:
        thresholds = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(100):
                service = Service()
                task = asyncio.create_task(service.queue.receive(type=5))
                await asyncio.sleep(0.001)
                task.cancel()
                del service
                with pytest.raises(asyncio.CancelledError):
                    await task
                del task
                task = asyncio.create_task(messages.receive())
                await messages.send("x")
                assert await task == (b"x", 1)
        finally:
            gc.set_threshold(*thresholds)
        # Another thread may be in the middle of collecting, and then nothing is collected here.
        wait_until(lambda: not gc.collect() and len(closed) == 100)
        for queue in closed:
            with pytest.raises(ValueError, match="has been closed"):
                await queue.receive(timeout=0)

    run(main)
    assert len(closed) == 100
    closed.clear()


def test_a_forked_child_has_helpers_of_its_own(messages: aio.MessageQueue) -> None:
    async def main() -> None:
        task = asyncio.create_task(messages.receive())
        await begun(task)

        def work() -> None:
            # A thread, because a loop is running in this one.
            own = aio.MessageQueue(None, IPC_CREX)
            failed: list[BaseException] = []

            def use() -> None:
                try:
                    with pytest.raises(BusyError):
                        asyncio.run(own.receive(timeout=0.01))
                    with pytest.raises(BusyError):
                        asyncio.run(messages.receive(timeout=0.01))
                except BaseException as error:
                    failed.append(error)

            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
            own.remove()
            assert failed == []

        assert os.waitpid(fork(work), 0)[1] == 0
        await messages.send("to the parent")
        assert await task == (b"to the parent", 1)

    asyncio.run(main())


def test_the_interpreter_ends_while_tasks_wait(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = """
import asyncio, sys, threading
import sysv_ipc
from sysv_ipc import aio
queue = aio.MessageQueue(None, sysv_ipc.IPC_CREX)
async def main():
    tasks = [asyncio.create_task(queue.receive()) for _ in range(3)]
    await asyncio.sleep(0.02)
    queue.handle.remove() if sys.argv[1] == "remove" else None
    sys.exit(3)
try:
    asyncio.run(main())
finally:
    if not queue.handle.removed:
        sysv_ipc.remove_message_queue(queue.id)
"""
    for how in ("remove", "leave"):
        done = run_python(code, how)
        assert (done.returncode, done.stderr) == (3, "")


def test_the_module_is_imported_only_when_asked_for() -> None:
    code = "import sys, sysv_ipc; print('asyncio' in sys.modules, 'sysv_ipc.aio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False\n"


def test_objects_open_by_id_and_tell_what_they_are(messages: aio.MessageQueue) -> None:
    same = aio.MessageQueue.from_id(messages.id)
    assert (same.id, same.key) == (messages.id, messages.key)
    assert repr(same) == f"<sysv_ipc.aio.MessageQueue of {same.handle!r}>"
