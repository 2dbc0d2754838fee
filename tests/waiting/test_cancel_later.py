"""``cancel(later=True)``: loops that can be stopped at any moment, without losing a message."""

from __future__ import annotations

import copy
import errno
import signal
import subprocess
import sys
from typing import Any

import calls
import pytest
from helpers import ROOT, handled, soon

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    BusyError,
    CancelledError,
    MessageQueue,
)


def is_cancelled(wait: calls.Wait, target: Any) -> None:
    """Return True if the call is cancelled; a cancelled iteration ends without an error."""
    with pytest.raises(
        StopIteration if wait.removed is StopIteration else CancelledError
    ) as caught:
        wait.call(target, 60)
    assert getattr(caught.value, "errno", errno.ECANCELED) == errno.ECANCELED


def test_waits_that_begin_later_end_at_once_until_they_are_allowed_again(
    wait: calls.Wait, target: Any
) -> None:
    before = target.cancelled
    target.cancel(later=True)
    assert (before, target.cancelled) == (False, True)
    for _ in range(2):
        is_cancelled(wait, target)
    target.cancelled = False
    soon(lambda: wait.end(target))
    wait.call(target, 60)


def test_a_call_that_need_not_block_succeeds_when_cancelled(wait: calls.Wait, target: Any) -> None:
    wait.end(target)
    target.cancelled = True
    wait.call(target, 60)


def test_a_wait_in_progress_ends_too(wait: calls.Wait, target: Any) -> None:
    soon(lambda: target.cancel(later=True))
    is_cancelled(wait, target)


def test_a_call_without_blocking_is_not_cancelled(queue: MessageQueue) -> None:
    queue.cancel(later=True)
    assert queue.try_receive() is None
    with pytest.raises(BusyError):
        queue.receive(block=False)
    with pytest.raises(BusyError):
        queue.receive(timeout=0)


def test_other_handles_and_copies_are_not_cancelled(queue: MessageQueue) -> None:
    queue.cancel(later=True)
    for other in (MessageQueue(queue.key), copy.copy(queue)):
        assert other.cancelled is False
        with pytest.raises(BusyError):
            other.receive(timeout=0.001)


def test_without_later_only_the_waits_in_progress_end(queue: MessageQueue) -> None:
    for call in (queue.cancel, lambda: queue.cancel(False), lambda: queue.cancel(later=False)):
        call()
        assert queue.cancelled is False
        with pytest.raises(BusyError):
            queue.receive(timeout=0.001)
    with pytest.raises(TypeError):
        queue.cancel(later=True, sooner=True)  # type: ignore[call-arg]


def test_iteration_takes_the_queued_messages_and_then_ends_quietly(queue: MessageQueue) -> None:
    queue.send_many(["one", "two"])
    queue.cancel(later=True)
    assert [message for message, _ in queue] == [b"one", b"two"]
    queue.send_many(["three", "four"], 3)
    queue.send("not this type")
    assert list(queue.iterate(3)) == [(b"three", 3), (b"four", 3)]
    assert list(queue.iterate(3, except_type=True)) == [(b"not this type", 1)]


def test_an_iterator_that_has_ended_never_continues(queue: MessageQueue) -> None:
    iterator = queue.iterate()
    queue.cancel(later=True)
    assert list(iterator) == []
    queue.cancelled = False
    queue.send("for another receiver")
    assert list(iterator) == []
    assert queue.receive() == (b"for another receiver", 1)


def test_iteration_that_is_only_cancelled_raises(queue: MessageQueue) -> None:
    with handled(signal.SIGALRM, lambda *_: queue.cancel()):
        for iterator in (queue, queue.iterate()):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            with pytest.raises(CancelledError):
                next(iterator)


def test_iterate_ends_with_the_queue(queue: MessageQueue) -> None:
    iterator = queue.iterate(timeout=60)
    queue.send("x")
    assert next(iterator) == (b"x", 1)
    queue.remove()
    assert list(iterator) == []


def test_iterate_has_a_timeout_for_each_message(queue: MessageQueue) -> None:
    iterator = queue.iterate(2, 0.01)
    for _ in range(2):
        queue.send("x", type=2)
        assert next(iterator) == (b"x", 2)
        with pytest.raises(BusyError):
            next(iterator)


@pytest.mark.parametrize("arguments", [("x",), (0, "x"), (0, -1), (0, None, 1, 2)])
def test_iterate_refuses_bad_arguments_at_once(queue: MessageQueue, arguments: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        queue.iterate(*arguments)


def test_the_iterator_keeps_its_queue_and_is_collected_with_it(queue: MessageQueue) -> None:
    iterator = MessageQueue(queue.key).iterate()
    assert iter(iterator) is iterator
    queue.send("x")
    assert next(iterator) == (b"x", 1)
    with pytest.raises(TypeError):
        type(iterator)()


def test_a_signal_handler_of_the_waiting_thread_stops_its_loop(queue: MessageQueue) -> None:
    with handled(signal.SIGALRM, lambda *_: queue.cancel(later=True)):
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert list(queue) == []


def test_a_handler_between_the_test_and_the_wait_stops_the_loop(queue: MessageQueue) -> None:
    """With only a flag and cancel(), the wait would begin after the handler, and never end."""
    with handled(signal.SIGALRM, lambda *_: queue.cancel(later=True)):
        while not queue.cancelled:
            signal.raise_signal(signal.SIGALRM)
            with pytest.raises(CancelledError):
                queue.receive()


def test_consumers_that_are_stopped_at_random_lose_no_message() -> None:
    """``make stress`` does it with 2000 consumers."""
    script = ROOT / "tools/stress_stop.py"
    done = subprocess.run(
        [sys.executable, str(script), "--consumers", "200"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.endswith(": 0 lost, 0 twice\n"), done.stdout + done.stderr


def test_subclasses_are_cancelled_too() -> None:
    class Own(sysv_ipc.Semaphore):
        pass

    own = Own(None, IPC_CREX)
    own.cancel(later=True)
    with pytest.raises(CancelledError):
        own.acquire()
    own.remove()
