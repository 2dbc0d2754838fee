"""Deadlines of every call that waits: one converter, one loop, one meaning."""

from __future__ import annotations

import decimal
import fractions
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import alarms, run_in_thread, timers, wait_until
from sleeping import blocked_in_system_call

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    ArgumentError,
    BusyError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
)

#: Every call that can wait, as it is with a timeout; the queue is full or empty as it needs.
WAITS: dict[str, Callable[..., object]] = {
    "acquire": lambda s, z, q, t: s.acquire(t),
    "Z": lambda s, z, q, t: z[0].Z(t),
    "op": lambda s, z, q, t: z.op([(1, -1), (0, 1)], t),
    "compiled": lambda s, z, q, t: z.compile([(1, -1)])(t),
    "set acquire": lambda s, z, q, t: z.acquire(0, 1, timeout=t),
    "set zero": lambda s, z, q, t: z.zero(0, 1, timeout=t),
    "receive": lambda s, z, q, t: q.receive(type=99, timeout=t),
    "receive_into": lambda s, z, q, t: q.receive_into(bytearray(9), type=99, timeout=t),
    "send": lambda s, z, q, t: q.send(b"x" * 1000, timeout=t),
}
#: These tell by their result that time was up.
COUNTING: dict[str, Callable[..., object]] = {
    "receive_many": lambda s, z, q, t: q.receive_many(3, type=99, timeout=t) == [],
    "send_many": lambda s, z, q, t: q.send_many([b"x" * 1000] * 3, timeout=t) == 0,
}


@pytest.fixture
def objects() -> Iterator[tuple[Semaphore, SemaphoreSet, MessageQueue]]:
    """A semaphore that is taken, a set of which a member is, and a queue that is full."""
    semaphore = Semaphore(None, IPC_CREX)
    many = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 0])
    queue = MessageQueue(None, IPC_CREX)
    while queue.try_send(b"x" * 1000):
        pass
    yield semaphore, many, queue
    for handle in (semaphore, many, queue):
        handle.remove()


@pytest.mark.parametrize("name", WAITS)
@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_a_wait_ends_when_time_is_up(
    objects: tuple[Any, ...], name: str, thread: bool, way: str
) -> None:
    def wait() -> float:
        start = time.monotonic()
        with pytest.raises(BusyError):
            WAITS[name](*objects, 0.02)
        return time.monotonic() - start

    values = objects[1].values
    took = run_in_thread(wait)() if thread else wait()
    assert isinstance(took, float)
    assert 0.02 <= took < 10
    assert objects[1].values == values


@pytest.mark.parametrize("name", COUNTING)
def test_a_list_is_what_there_was_in_time(objects: tuple[Any, ...], name: str, way: str) -> None:
    start = time.monotonic()
    assert COUNTING[name](*objects, 0.02) is True
    assert 0.02 <= time.monotonic() - start < 10


@pytest.mark.parametrize("name", [*WAITS, *COUNTING])
@pytest.mark.parametrize("timeout", [0, 0.0, 1e-300, 5e-324, 1e-9])
def test_no_time_at_all_is_one_attempt(objects: tuple[Any, ...], name: str, timeout: float) -> None:
    if name in COUNTING:
        assert COUNTING[name](*objects, timeout) is True
    else:
        with pytest.raises(BusyError):
            WAITS[name](*objects, timeout)


@pytest.mark.parametrize("name", [*WAITS, *COUNTING])
@pytest.mark.parametrize("timeout", [-1, -1e-9, math.nan, -math.inf])
def test_impossible_timeouts_are_refused_before_anything_happens(
    objects: tuple[Any, ...], name: str, timeout: float
) -> None:
    before = objects[2].current_messages, objects[1].values
    with pytest.raises(ArgumentError, match="must be None or a non-negative number"):
        {**WAITS, **COUNTING}[name](*objects, timeout)
    with pytest.raises(TypeError, match="must be None or a non-negative number"):
        {**WAITS, **COUNTING}[name](*objects, "1")
    assert (objects[2].current_messages, objects[1].values) == before


@pytest.mark.parametrize(
    "timeout",
    # The seconds from 2**31 on are more than a time_t of 32 bits holds.
    [
        *(30, 30.0, fractions.Fraction(30), decimal.Decimal(30), math.inf, None, 1e300, 10**400),
        *(2**31 - 1, 2**31, 3e9, 2**32 + 0.2),
    ],
)
def test_what_comes_in_time_is_taken(queue: MessageQueue, timeout: Any, way: str) -> None:
    result = run_in_thread(lambda: queue.receive(timeout=timeout))
    queue.send("in time", type=3)
    assert result() == (b"in time", 3)
    while queue.try_send(b"x" * 1000):
        pass
    result = run_in_thread(lambda: queue.send(b"y" * 1000, timeout=timeout))
    for _ in range(2):
        queue.receive()
    assert result() is None


@pytest.mark.parametrize("timeout", [2**31 - 1, 2**31, 3e9, 2**32 + 0.2, 2**33])
def test_a_permit_is_waited_for_longer_than_a_lifetime(
    objects: tuple[Semaphore, SemaphoreSet, MessageQueue], timeout: float
) -> None:
    semaphore = objects[0]
    result = run_in_thread(lambda: semaphore.acquire(timeout))
    wait_until(lambda: semaphore.waiting_for_nonzero == 1)
    semaphore.release()
    assert result() is True


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


def test_signals_do_not_prolong_a_timeout(queue: MessageQueue, way: str) -> None:
    start = time.monotonic()
    with alarms(0.005) as calls, pytest.raises(BusyError):
        queue.receive(timeout=0.1)
    assert 0.1 <= time.monotonic() - start < 10
    assert len(calls) >= 2


def test_a_timeout_while_others_wait_for_ever(queue: MessageQueue) -> None:
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


def test_a_queue_that_is_removed_ends_every_timed_wait(key: int, way: str) -> None:
    made = MessageQueue(key, IPC_CREX)
    receivers = [run_in_thread(lambda: made.receive(timeout=60)) for _ in range(4)]
    time.sleep(0.01)
    made.remove()
    assert {type(result()) for result in receivers} == {sysv_ipc.ExistentialError}


def test_timeouts_need_few_timers(queue: MessageQueue) -> None:
    """A wait that ends gives its timer back: the system allows only so many."""
    for _ in range(20000):
        with pytest.raises(BusyError):
            queue.receive(timeout=1e-9)
    for _ in range(300):
        with pytest.raises(BusyError):
            queue.receive(timeout=1e-5)
    assert timers() <= 1


def test_where_no_timer_is_to_be_had_waits_poll(
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


def test_waiters_are_where_the_kernel_sees_them(queue: MessageQueue) -> None:
    """A timed wait sleeps in msgrcv(2): it does not poll."""
    ids: list[int] = []

    def wait() -> object:
        ids.append(threading.get_native_id())
        return queue.receive(timeout=60)

    result = run_in_thread(wait)
    wait_until(lambda: ids and blocked_in_system_call(ids[0], "msgrcv"))
    queue.send("done")
    assert result() == (b"done", 1)
