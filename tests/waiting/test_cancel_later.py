"""``cancel(later=True)``: loops that can be stopped at any moment, without losing a message."""

from __future__ import annotations

import copy
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import run_in_thread

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    BusyError,
    CancelledError,
    ExistentialError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

#: A handle, a function that waits with it, and one that lets such a wait succeed.
Case = tuple[Any, Callable[[Any], object], Callable[[Any], object]]
#: The same with a function that makes the handle.
CASES: dict[str, Case] = {
    "receive": (
        lambda: MessageQueue(None, IPC_CREX),
        lambda q: q.receive(timeout=60),
        lambda q: q.send("x"),
    ),
    "iterate": (
        lambda: MessageQueue(None, IPC_CREX),
        lambda q: next(q.iterate(timeout=60), None),
        lambda q: q.send("x"),
    ),
    "acquire": (
        lambda: Semaphore(None, IPC_CREX),
        lambda s: s.acquire(60),
        lambda s: s.release(),
    ),
    "set op": (
        lambda: SemaphoreSet(None, 2, IPC_CREX),
        lambda s: s.op([(0, -1)], 60),
        lambda s: s.release(0),
    ),
    "compiled": (
        lambda: SemaphoreSet(None, 2, IPC_CREX),
        lambda s: s.compile([(0, -1)])(60),
        lambda s: s.release(0),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A handle, a function that waits, and one that lets such a wait succeed."""
    make, wait, succeed = CASES[request.param]
    handle = make()
    yield handle, wait, succeed
    handle.remove()


def ends(wait: Callable[[], object]) -> bool:
    """Whether a wait was cancelled; iterate() only ends then."""
    try:
        return wait() is None
    except CancelledError:
        return True


def test_waits_that_begin_later_end_at_once_until_they_are_allowed_again(case: Case) -> None:
    handle, wait, succeed = case
    assert not handle.cancelled
    handle.cancel(later=True)
    now: bool = handle.cancelled
    assert now
    for _ in range(2):
        assert ends(lambda: wait(handle))
    handle.cancelled = False
    timer = threading.Timer(0.01, succeed, [handle])
    timer.start()
    assert not ends(lambda: wait(handle))
    timer.join()


def test_a_call_that_need_not_block_succeeds_all_the_same(case: Case) -> None:
    handle, wait, succeed = case
    handle.cancelled = True
    succeed(handle)
    assert not ends(lambda: wait(handle))


def test_a_wait_in_progress_ends_too(case: Case) -> None:
    handle, wait, _ = case
    result = run_in_thread(lambda: ends(lambda: wait(handle)))
    handle.cancel(later=True)
    assert result() is True


def test_a_number_in_a_segment_is_not_waited_for(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    number.cancel(later=True)
    assert number.cancelled is True
    for _ in range(2):
        assert ends(partial(number.wait, 0, 60))
    number.store(1)
    assert number.wait(0, 60) is True
    number.cancelled = False
    with pytest.raises(BusyError):
        number.wait(1, 0.001)
    # Tracebacks of exceptions that were caught hold it in cycles.
    del number
    gc.collect()


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


def test_cancelled_cannot_be_deleted_and_needs_an_initialised_handle(queue: MessageQueue) -> None:
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del queue.cancelled
    kinds: tuple[Any, ...] = (MessageQueue, Semaphore, SemaphoreSet)
    for kind in kinds:
        empty = kind.__new__(kind)
        with pytest.raises(ExistentialError, match="never initialised"):
            _ = empty.cancelled
        with pytest.raises(ExistentialError, match="never initialised"):
            empty.cancelled = False


def test_iteration_takes_what_is_there_and_then_ends_quietly(queue: MessageQueue) -> None:
    queue.send_many(["one", "two"])
    queue.cancel(later=True)
    assert [message for message, _ in queue] == [b"one", b"two"]
    queue.send_many(["three", "four"], 3)
    queue.send("not this type")
    assert list(queue.iterate(3)) == [(b"three", 3), (b"four", 3)]
    assert list(queue.iterate(3, except_type=True)) == [(b"not this type", 1)]


def test_iteration_that_is_only_cancelled_raises(queue: MessageQueue) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: queue.cancel())
    try:
        for iterator in (queue, queue.iterate()):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            with pytest.raises(CancelledError):
                next(iterator)
    finally:
        signal.signal(signal.SIGALRM, before)


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
    before = signal.signal(signal.SIGALRM, lambda *_: queue.cancel(later=True))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert list(queue) == []
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_between_the_test_and_the_wait_stops_the_loop(queue: MessageQueue) -> None:
    """With a flag and cancel() alone the wait would begin after the handler, and never end."""
    before = signal.signal(signal.SIGALRM, lambda *_: queue.cancel(later=True))
    try:
        while not queue.cancelled:
            signal.raise_signal(signal.SIGALRM)
            with pytest.raises(CancelledError):
                queue.receive()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_consumers_that_are_stopped_at_random_lose_no_message() -> None:
    """``make stress`` does it with 2000 consumers."""
    script = Path(__file__).parents[2] / "tools/stress_stop.py"
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
