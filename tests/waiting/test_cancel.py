"""``cancel()``: a wait either ends with CancelledError or succeeds."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import calls
import pytest
from helpers import end_by_cancel, fork, handled, run_in_thread, soon, timers, wait_until
from sleeping import blocked_in_system_call

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    CancelledError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
)


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_wait_is_cancelled(
    wait: calls.Wait, target: Any, timeout: float | None, way: str
) -> None:
    error = end_by_cancel(lambda: wait.call(target, timeout), target.cancel)
    assert isinstance(error, CancelledError)
    assert (error.errno, error.id) == (errno.ECANCELED, target.id)
    assert str(error).startswith("[Errno 125] Operation canceled: ")
    assert getattr(error, "sent", 0) == 0


def test_cancelling_without_a_wait_does_nothing(wait: calls.Wait, target: Any) -> None:
    target.cancel()
    soon(lambda: wait.end(target))
    wait.call(target, 60)


def test_a_signal_handler_may_cancel_the_wait_that_it_interrupts(
    wait: calls.Wait, target: Any
) -> None:
    with handled(signal.SIGALRM, lambda *_: target.cancel()):
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        with pytest.raises(CancelledError):
            wait.call(target, None)


@pytest.mark.parametrize("wait", calls.TIMED, indirect=True)
def test_a_handler_may_fork_in_the_middle_of_a_wait(wait: calls.Wait, target: Any) -> None:
    """The child continues the wait of its parent, with the same deadline."""
    statuses: list[int] = []

    def split(*_: object) -> None:
        def work() -> None:
            with contextlib.suppress(sysv_ipc.BusyError):
                assert wait.call(target, 0.005) == wait.late

        statuses.append(os.waitpid(fork(work), 0)[1])

    with handled(signal.SIGALRM, split):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with contextlib.suppress(sysv_ipc.BusyError):
            assert wait.call(target, 0.1) == wait.late
    assert statuses == [0]


def test_a_wait_that_begins_later_is_not_cancelled(queue: MessageQueue) -> None:
    queue.cancel()
    result = run_in_thread(lambda: queue.receive(timeout=60))
    queue.send("later")
    assert result() == (b"later", 1)


def test_cancel_ends_only_the_waits_of_its_handle(queue: MessageQueue) -> None:
    other = MessageQueue(queue.key)
    stays = run_in_thread(other.receive)
    wait_for_waits(1)
    ends = run_in_thread(queue.receive)
    wait_for_waits(2)
    queue.cancel()
    assert isinstance(ends(), CancelledError)
    queue.send("for the other")
    assert stays() == (b"for the other", 1)


def test_a_member_is_a_handle_of_its_own() -> None:
    many = SemaphoreSet(None, 2, IPC_CREX)
    member = many[1]
    result = run_in_thread(member.acquire)
    wait_until(lambda: member.waiting_for_nonzero)
    many.cancel()
    assert member.waiting_for_nonzero == 1
    member.cancel()
    assert isinstance(result(), CancelledError)
    many.remove()


def wait_for_waits(count: int) -> None:
    """Wait until a number of threads of this process sleep in msgrcv(2)."""

    def waiting() -> bool:
        threads = [thread.native_id for thread in threading.enumerate()]
        return sum(blocked_in_system_call(one or 0, "msgrcv") for one in threads) >= count

    wait_until(waiting)


def test_all_waits_of_a_handle_are_cancelled_at_once(queue: MessageQueue) -> None:
    results = [run_in_thread(queue.receive) for _ in range(16)]
    wait_for_waits(16)
    queue.cancel()
    assert {type(result()) for result in results} == {CancelledError}


def test_each_wait_ends_with_success_or_cancelled_and_nothing_is_lost(
    queue: MessageQueue, way: str
) -> None:
    """A sender and a canceller run without synchronisation against a receiver."""
    count = 20000 if way == "signal" else 2000
    received: list[int] = []
    cancelled = 0
    random_source = random.Random(3)
    stop = threading.Event()

    def receive() -> None:
        nonlocal cancelled
        while len(received) < count:
            try:
                timeout = random_source.choice([None, 1e-5, 4e-5, 1])
                received.append(int(queue.receive(timeout=timeout)[0]))
            except CancelledError:
                cancelled += 1
            except sysv_ipc.BusyError:
                pass

    def cancel() -> None:
        while not stop.is_set():
            queue.cancel()
            time.sleep(random_source.random() * 1e-4)

    receiver = threading.Thread(target=receive)
    canceller = threading.Thread(target=cancel)
    receiver.start()
    canceller.start()
    # With its own handle, the sender is not cancelled when it waits for room in the queue.
    sender = MessageQueue(queue.key)
    for number in range(count):
        sender.send(str(number))
        if number % 7 == 0:
            time.sleep(random_source.random() * 5e-5)
    receiver.join(60)
    stop.set()
    canceller.join()
    assert received == list(range(count))
    assert cancelled > 0


def test_permits_are_neither_lost_nor_added(way: str) -> None:
    semaphore = Semaphore(None, IPC_CREX, initial_value=2)
    stop = threading.Event()
    taken = [0] * 4

    def use(which: int) -> None:
        random_source = random.Random(which)
        while not stop.is_set():
            try:
                if semaphore.acquire(random_source.choice([None, 1e-5, 1e-3])):
                    taken[which] += 1
                    semaphore.release()
            except (CancelledError, sysv_ipc.BusyError):
                pass

    def cancel() -> None:
        while not stop.is_set():
            semaphore.cancel()
            time.sleep(2e-5)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    threads.append(threading.Thread(target=cancel))
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    stop.set()
    semaphore.cancel()
    for thread in threads:
        while thread.is_alive():
            semaphore.cancel()
            thread.join(0.01)
    assert semaphore.value == 2
    assert min(taken) > 0
    semaphore.remove()


def test_a_fork_while_eight_threads_wait_leaves_both_sides_working(queue: MessageQueue) -> None:
    results = [run_in_thread(queue.receive) for _ in range(8)]
    wait_for_waits(8)
    for _ in range(20):

        def work() -> None:
            # The threads do not exist in the child; waits, deadlines and cancel() work.
            own = MessageQueue(None, IPC_CREX)
            queue.cancel()
            with pytest.raises(sysv_ipc.BusyError):
                own.receive(timeout=0.002)
            mine = run_in_thread(own.receive)
            wait_for_waits(1)
            own.cancel()
            assert isinstance(mine(), CancelledError)
            own.remove()

        assert os.waitpid(fork(work), 0)[1] == 0
    queue.cancel()
    assert {type(result()) for result in results} == {CancelledError}


def test_waits_leave_nothing_behind(queue: MessageQueue) -> None:
    for _ in range(50):
        result = run_in_thread(lambda: queue.receive(timeout=60))
        wait_for_waits(1)
        queue.cancel()
        result()
    gc.collect()
    assert timers() <= 1


def test_cancel_does_not_wait_for_the_gil_of_a_waiter(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A busy thread holds the GIL most of the time; cancel() returns nevertheless."""
    code = """
import threading, sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
stop = False
def spin():
    while not stop: pass
def wait():
    try: queue.receive()
    except sysv_ipc.CancelledError: print("cancelled")
busy = threading.Thread(target=spin); busy.start()
waiter = threading.Thread(target=wait); waiter.start()
while waiter.is_alive():
    queue.cancel()
    waiter.join(0.05)
stop = True
queue.remove()
"""
    assert run_python(code).stdout == "cancelled\n"
