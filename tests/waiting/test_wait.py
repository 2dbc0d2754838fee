"""The end of a wait, for every call that can wait: other threads, signals, removal; and the GIL."""

from __future__ import annotations

import errno
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import calls
import pytest
from helpers import fork, handled, soon

import sysv_ipc
from sysv_ipc import IPC_CREX, ExistentialError, MessageQueue, Semaphore

both_timeouts = pytest.mark.parametrize("timeout", [None, 60])


@both_timeouts
def test_an_action_of_another_thread_ends_the_wait(
    wait: calls.Wait, target: Any, timeout: float | None, way: str
) -> None:
    """The other thread runs meanwhile, because the wait has released the GIL."""
    soon(lambda: wait.end(target))
    assert wait.call(target, timeout) in (True, target, None, 1, (3, 1), (b"end", 1), [(b"end", 1)])


def test_a_wait_continues_after_a_handler_that_returns(
    wait: calls.Wait, target: Any, way: str
) -> None:
    seen: list[int] = []

    def handler(*_: object) -> None:
        seen.append(1)
        if len(seen) == 3:
            wait.end(target)

    with handled(signal.SIGALRM, handler):
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        wait.call(target, None)
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(seen) >= 3


@both_timeouts
@pytest.mark.parametrize("restart", [False, True])
def test_a_handler_that_raises_ends_the_wait_with_its_exception_alone(
    wait: calls.Wait, target: Any, timeout: float | None, restart: bool, way: str
) -> None:
    """Even if the program's signals restart system calls."""

    def handler(*_: object) -> None:
        raise KeyError("from the handler")

    with handled(signal.SIGALRM, handler):
        signal.siginterrupt(signal.SIGALRM, not restart)
        soon(lambda: os.kill(os.getpid(), signal.SIGALRM))
        with pytest.raises(KeyError, match="from the handler") as caught:
            wait.call(target, timeout)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_control_c_ends_the_wait(wait: calls.Wait, target: Any, way: str) -> None:
    soon(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        wait.call(target, None)


@both_timeouts
@pytest.mark.parametrize("wait", [w for w in calls.WAITS if calls.WAITS[w].removed], indirect=True)
def test_removal_ends_the_wait(
    wait: calls.Wait, target: Any, timeout: float | None, way: str
) -> None:
    """A wait that polls is seldom in a system call when its object is removed; it ends too."""
    soon(target.remove)
    with pytest.raises(wait.removed) as caught:  # type: ignore[call-overload]
        wait.call(target, timeout)
    if wait.removed is ExistentialError:
        assert caught.value.errno == errno.EIDRM


def nanoseconds(pair: Callable[[], object], pairs: int = 2000) -> float:
    start = time.perf_counter()
    for _ in range(pairs):
        pair()
    return (time.perf_counter() - start) / pairs * 1e9


@pytest.mark.parametrize("kind", ["semaphore", "queue"])
def test_a_busy_thread_does_not_slow_calls_that_need_not_wait(
    semaphore: Semaphore, queue: MessageQueue, kind: str
) -> None:
    def semaphore_pair() -> None:
        semaphore.acquire()
        semaphore.release()

    def queue_pair() -> None:
        queue.send(b"x")
        queue.receive()

    pair = semaphore_pair if kind == "semaphore" else queue_pair
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    ratios = []
    for _ in range(7):
        alone = nanoseconds(pair)
        stop.clear()
        thread = threading.Thread(target=spin)
        thread.start()
        ratios.append(nanoseconds(pair) / alone)
        stop.set()
        thread.join()
    assert statistics.median(ratios) < 5


def test_a_wait_that_has_succeeded_is_a_success_despite_signals(key: int) -> None:
    """A permit taken while a signal arrives is never lost: 2 000 races."""
    semaphore = sysv_ipc.Semaphore(key, IPC_CREX, initial_value=0)
    parent = os.getpid()

    def release_and_disturb() -> None:
        for _ in range(2000):
            semaphore.release()
            os.kill(parent, signal.SIGUSR1)

    with handled(signal.SIGUSR1, lambda *_: None):
        child = fork(release_and_disturb)
        for _ in range(2000):
            assert semaphore.acquire(30)
        os.waitpid(child, 0)
    assert semaphore.value == 0
    semaphore.remove()
