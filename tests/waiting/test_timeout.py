"""Timeouts of every call that waits."""

from __future__ import annotations

import decimal
import errno
import fractions
import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import calls
import numpy as np
import pytest
from helpers import alarms, run_in_thread, soon, timers, wait_until
from sleeping import blocked_in_system_call

import sysv_ipc
from sysv_ipc import ArgumentError, BusyError, MessageQueue, Semaphore

TEXT = "The timeout must be None or a non-negative number"

#: Each call with a timeout.
timed = pytest.mark.parametrize("wait", calls.TIMED, indirect=True)

#: Timeouts without limit, or long enough.  A time_t of 32 bits cannot hold 2**31 seconds or more.
LONG = [
    *(None, 30, 30.0, 3600, fractions.Fraction(30), decimal.Decimal(30), math.inf, np.inf),
    *(2**31 - 1, 2**31, 3e9, 2**32 + 0.2, 2**33, 2**63, 9223372036.854775807, 1e300, 10**400),
    *(decimal.Decimal("Infinity"), decimal.Decimal("1e400"), fractions.Fraction(10**400)),
]
IMPOSSIBLE = [
    *(-1, -1e-9, -0.001, -math.inf, math.nan, -(10**400), np.float64(-1)),
    *(decimal.Decimal("NaN"), decimal.Decimal("sNaN"), decimal.Decimal(-1)),
    *(fractions.Fraction(-1, 3), fractions.Fraction(-(10**400))),
]
NOT_NUMBERS: list[Any] = [
    *("1", b"1", [], {}, 1j, object(), Semaphore),
    *(np.str_("1"), np.bytes_(b"1"), np.array([1, 2]), np.array([])),
]


def state(target: Any) -> object:
    """Return the state that a wait could have changed."""
    if isinstance(target, calls.Number):
        return target.atomic.load()
    info = target.info()
    return info.current_bytes if isinstance(target, MessageQueue) else info.members


def is_late(wait: calls.Wait, target: Any, timeout: Any) -> None:
    """Make the call, which must time out, and check how it reports that."""
    if wait.late is not BusyError:
        assert wait.call(target, timeout) == wait.late
        return
    with pytest.raises(BusyError) as caught:
        wait.call(target, timeout)
    assert caught.value.errno in (errno.EAGAIN, errno.ENOMSG)
    assert caught.value.id == target.id


@timed
@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_a_wait_ends_at_its_timeout(wait: calls.Wait, target: Any, thread: bool, way: str) -> None:
    before = state(target)

    def late() -> float:
        start = time.monotonic()
        is_late(wait, target, 0.02)
        return time.monotonic() - start

    took = run_in_thread(late)() if thread else late()
    assert isinstance(took, float)
    assert 0.02 <= took < 10
    assert state(target) == before


@timed
@pytest.mark.parametrize("timeout", [0, 0.0, 1e-300, 5e-324, 1e-9])
def test_a_timeout_of_zero_is_one_attempt(wait: calls.Wait, target: Any, timeout: float) -> None:
    is_late(wait, target, timeout)


@timed
def test_impossible_timeouts_are_refused_before_anything_happens(
    wait: calls.Wait, target: Any
) -> None:
    """Also if the call need not wait."""
    for end in (lambda _: None, wait.end):
        end(target)
        before = state(target)
        for timeout in IMPOSSIBLE:
            with pytest.raises(ArgumentError) as caught:
                wait.call(target, timeout)  # type: ignore[arg-type]
            assert (str(caught.value), caught.value.errno) == (TEXT, errno.EINVAL)
        for timeout in NOT_NUMBERS:
            with pytest.raises(TypeError) as refused:
                wait.call(target, timeout)
            assert str(refused.value) == TEXT
        assert state(target) == before


@timed
def test_an_event_before_the_timeout_ends_the_wait(wait: calls.Wait, way: str) -> None:
    for timeout in LONG:
        with wait.target() as target:
            soon(lambda target=target: wait.end(target))  # type: ignore[misc]
            wait.call(target, timeout)  # type: ignore[arg-type]


@timed
def test_signals_do_not_prolong_a_timeout(wait: calls.Wait, target: Any, way: str) -> None:
    """If the timeout began again after each signal, the wait would never end."""
    start = time.monotonic()
    with alarms(0.005) as seen:
        is_late(wait, target, 0.1)
    assert 0.1 <= time.monotonic() - start < 10
    # On a busy machine several signals may be merged.
    assert seen


@pytest.mark.parametrize(
    "timeout",
    [
        *(0.01, fractions.Fraction(1, 100), decimal.Decimal("0.01"), np.float32(0.01)),
        *(np.float64(0.01), 1e-12, np.nextafter(0, 1)),
    ],
)
def test_every_kind_of_number_is_a_timeout(semaphore: Semaphore, timeout: float) -> None:
    semaphore.acquire()
    start = time.monotonic()
    with pytest.raises(BusyError, match=r"^\[Errno 11\] Resource temporarily unavailable"):
        semaphore.acquire(timeout)
    assert time.monotonic() - start >= min(float(timeout), 0.0099)


@pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")
@pytest.mark.parametrize("timeout", [0, 0.0, -0.0, False, np.int64(0), decimal.Decimal(0)])
def test_timeout_zero_does_not_wait(semaphore: Semaphore, timeout: float) -> None:
    with pytest.raises(BusyError):
        semaphore.Z(timeout)


@pytest.mark.parametrize("error", [KeyError, OverflowError])
def test_an_exception_of_a_timeout_is_passed_on(
    semaphore: Semaphore, error: type[Exception]
) -> None:
    class Timeout:
        def __float__(self) -> float:
            raise error("from __float__")

    with pytest.raises(error, match="from __float__"):
        semaphore.acquire(Timeout())
    assert semaphore.value == 1


def test_a_call_that_may_not_block_does_not_look_at_the_timeout(queue: MessageQueue) -> None:
    start = time.monotonic()
    with pytest.raises(BusyError):
        queue.receive(False, timeout=1000)
    while queue.try_send(b"x" * 1000):
        pass
    with pytest.raises(BusyError):
        queue.send(b"x" * 1000, False, timeout=1000)
    assert time.monotonic() - start < 100


def test_a_timeout_of_many_is_for_all_of_them(queue: MessageQueue) -> None:
    """A reader makes room slowly: the deadline is that of the whole call."""
    queue.max_size = 1000
    stop = threading.Event()

    def make_room() -> None:
        while not stop.wait(0.02):
            queue.try_receive()

    reader = threading.Thread(target=make_room)
    reader.start()
    start = time.monotonic()
    sent = queue.send_many([b"x" * 1000] * 10000, timeout=0.15)
    took = time.monotonic() - start
    stop.set()
    reader.join()
    assert 1 <= sent < 10000
    assert 0.15 <= took < 10


def test_a_wait_times_out_while_others_wait_without_limit(queue: MessageQueue) -> None:
    """Each of 16 threads keeps its own time."""
    for_ever = [run_in_thread(queue.receive) for _ in range(8)]
    timed = [
        run_in_thread(lambda i=i: queue.receive(timeout=0.01 * i))  # type: ignore[misc]
        for i in range(1, 9)
    ]
    assert all(isinstance(result(), BusyError) for result in timed)
    queue.send_many([str(i) for i in range(8)])
    got = {result() for result in for_ever}
    assert got == {(str(i).encode(), 1) for i in range(8)}


def test_timeouts_need_few_timers(queue: MessageQueue) -> None:
    """A wait that ends releases its timer, because the system limits their number."""
    for _ in range(20000):
        with pytest.raises(BusyError):
            queue.receive(timeout=1e-9)
    for _ in range(300):
        with pytest.raises(BusyError):
            queue.receive(timeout=1e-5)
    assert timers() <= 1


def test_waits_poll_if_no_timer_is_available(
    queue: MessageQueue, run_python: Callable[..., Any]
) -> None:
    code = """
import resource, sys, time
import sysv_ipc
resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
queue = sysv_ipc.MessageQueue(int(sys.argv[1]))
start = time.monotonic()
try:
    queue.receive(timeout=0.05)
except sysv_ipc.BusyError:
    print(0.05 <= time.monotonic() - start < 10)
"""
    assert run_python(code, queue.key).stdout == "True\n"


def test_a_wait_in_a_thread_that_blocks_all_signals_ends(queue: MessageQueue) -> None:
    def wait() -> set[int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with pytest.raises(BusyError):
            queue.receive(timeout=0.01)
        return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    mask = run_in_thread(wait)()
    assert isinstance(mask, set)
    assert signal.SIGUSR1 in mask
    used = sysv_ipc.set_wait_signal(None)
    sysv_ipc.set_wait_signal(used)
    assert used in mask


def test_waiters_sleep_in_the_system_call(queue: MessageQueue) -> None:
    """A timed wait sleeps in msgrcv(2): it does not poll."""
    ids: list[int] = []

    def wait() -> object:
        ids.append(threading.get_native_id())
        return queue.receive(timeout=60)

    result = run_in_thread(wait)
    wait_until(lambda: ids and blocked_in_system_call(ids[0], "msgrcv"))
    queue.send("done")
    assert result() == (b"done", 1)
