"""``Atomic.wait()`` and ``wake()``: events that end a wait, and events that do not."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import fork, handled, run_in_thread, timers, wait_until
from sleeping import blocked_process, waits_for_number

from sysv_ipc import (
    ArgumentError,
    Atomic,
    BusyError,
    CancelledError,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]

#: More threads than any process has.
ALL = 2**31 - 1


@pytest.fixture(autouse=True)
def nobody_holds_the_segment(segment: SharedMemory) -> Iterator[None]:
    """Collect cycles, because tracebacks of caught exceptions refer to atomics."""
    yield
    gc.collect()


def wait_for_waits(count: int = 1) -> None:
    """Wait until a number of threads of this process sleep in a wait for an atomic."""

    def waiting() -> bool:
        threads = [thread.native_id or 0 for thread in threading.enumerate()]
        return sum(map(waits_for_number, threads)) >= count

    wait_until(waiting)


def wake_all(number: Atomic, count: int) -> None:
    """Wake until a number of waiters were woken; they may not all wait at first."""
    woken = 0
    while woken < count:
        woken += number.wake(ALL)


# ------------------------------------------------------------------------------------ ends


@pytest.mark.parametrize("type", ["i32", "u32"])
def test_a_wait_for_a_number_that_has_changed_already_returns_at_once(
    segment: SharedMemory, type: Any
) -> None:
    number = segment.atomic(4, type)
    assert number.wait(1) is True
    assert number.wait(expected=1, timeout=0) is True
    number.store(1)
    assert number.wait(0, None) is True


def test_a_negative_number_is_waited_for(segment: SharedMemory) -> None:
    number = segment.atomic(4, "i32")
    number.store(-1)
    with pytest.raises(BusyError):
        number.wait(-1, 0.001)
    assert number.wait(1) is True
    unsigned = segment.atomic(4, "u32")
    with pytest.raises(BusyError):
        unsigned.wait(2**32 - 1, 0.001)


def test_a_change_and_a_wake_end_a_wait(segment: SharedMemory, way: str) -> None:
    number = segment.atomic(0, "u32")
    result = run_in_thread(lambda: number.wait(0))
    if way == "signal":
        wait_for_waits()
        number.store(1)
        assert number.wake() == 1
    else:
        # A waiter that polls is not in the kernel, and sees the change at its next look.
        number.store(1)
        assert number.wake() in (0, 1)
    assert result() is True


def test_a_wake_without_a_change_ends_nothing(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    result = run_in_thread(lambda: number.wait(0))
    wake_all(number, 50)
    number.add(1)
    number.wake()
    assert result() is True


def test_a_wait_may_continue_if_the_number_changes_back(segment: SharedMemory) -> None:
    """As in C++20, a waiter only compares the number when it wakes up."""
    number = segment.atomic(0, "u32")
    result = run_in_thread(lambda: number.wait(0))
    wait_for_waits()
    number.store(1)
    number.store(0)
    wake_all(number, 10)
    number.store(2)
    number.wake()
    assert result() is True


def test_wake_wakes_count_waiters_and_returns_their_number(segment: SharedMemory) -> None:
    number = segment.atomic(8, "i32")
    assert number.wake() == 0
    results = [run_in_thread(lambda: number.wait(0)) for _ in range(5)]
    wait_for_waits(5)
    number.store(1)
    assert number.wake() == 1
    assert number.wake(2) == 2
    assert number.wake(count=ALL) == 2
    assert number.wake(ALL) == 0
    assert [result() for result in results] == [True] * 5


def test_another_number_of_the_segment_is_not_woken(segment: SharedMemory) -> None:
    number, other = segment.atomic(0, "u32"), segment.atomic(4, "u32")
    result = run_in_thread(lambda: number.wait(0))
    wait_for_waits()
    assert other.wake(ALL) == 0
    number.store(1)
    assert number.wake(ALL) == 1
    assert result() is True


def test_another_attachment_is_the_same_number(segment: SharedMemory) -> None:
    reader = SharedMemory(segment.key, mode=0o400).atomic(0, "u32")
    number = SharedMemory(segment.key).atomic(0, "i32")
    result = run_in_thread(lambda: reader.wait(0))
    wait_for_waits()
    number.store(1)
    assert number.wake() == 1
    assert result() is True


@pytest.mark.parametrize("count", [0, -1, 2**31, -(2**31), 2**64])
def test_counts_below_1_are_refused(segment: SharedMemory, count: int) -> None:
    """FUTEX_WAKE with 0 would wake one."""
    with pytest.raises(ArgumentError, match="count must be from 1 to 2147483647"):
        segment.atomic(0, "u32").wake(count)


@pytest.mark.parametrize("count", [1.0, "1", None])
def test_counts_of_a_wrong_type_are_type_errors(segment: SharedMemory, count: Any) -> None:
    with pytest.raises(TypeError, match="count must be an integer"):
        segment.atomic(0, "u32").wake(count)


@pytest.mark.parametrize("type", ["i64", "u64"])
def test_numbers_of_64_bits_cannot_be_waited_for(segment: SharedMemory, type: Any) -> None:
    number = segment.atomic(0, type)
    for call in (lambda: number.wait(0), lambda: number.wait(1, 0), number.wake):
        with pytest.raises(ArgumentError, match=f"needs an atomic i32 or u32, not {type}"):
            call()


# ---------------------------------------------------------------------- cancel and handlers


def test_cancel_ends_all_waits_of_this_object_and_no_other(segment: SharedMemory) -> None:
    number, other = segment.atomic(0, "u32"), segment.atomic(0, "u32")
    stays = run_in_thread(lambda: other.wait(0))
    results = [run_in_thread(lambda: number.wait(0)) for _ in range(8)]
    wait_for_waits(9)
    number.cancel()
    for result in results:
        error = result()
        assert isinstance(error, CancelledError)
        error.__traceback__ = None
    wait_for_waits(1)
    number.store(1)
    number.wake()
    assert stays() is True


def test_a_cancel_of_a_number_of_64_bits_does_nothing(segment: SharedMemory) -> None:
    segment.atomic(0, "i64").cancel()


def test_a_handler_may_change_the_number_that_is_waited_for(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    with handled(signal.SIGALRM, lambda *_: number.store(1)):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert number.wait(0) is True


# ------------------------------------------------------------------------ fork, removal, races


def test_processes_wake_each_other(segment: SharedMemory) -> None:
    """Two processes take turns: if the number is even, it is the parent's turn."""
    rounds = 2000

    def take_turns(first: int) -> None:
        own = SharedMemory(segment.key).atomic(0, "u32")
        for turn in range(first, 2 * rounds, 2):
            while (now := own.load()) != turn:
                own.wait(now, 30)
            own.store(turn + 1)
            own.wake()

    pid = fork(lambda: take_turns(1))
    take_turns(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert segment.atomic(0, "u32").load() == 2 * rounds


def test_a_child_waits_for_its_parent_with_an_inherited_atomic(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    pid = fork(lambda: number.wait(0, 30))
    wait_until(lambda: blocked_process(pid, "futex"))
    number.store(1)
    assert number.wake(ALL) == 1
    assert os.waitpid(pid, 0)[1] == 0


def test_a_waiter_that_is_killed_is_not_counted_as_woken(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    pid = fork(lambda: number.wait(0))
    wait_until(lambda: blocked_process(pid, "futex"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert number.wake(ALL) == 0


def test_removing_the_segment_does_not_end_the_wait(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    result = run_in_thread(lambda: number.wait(0))
    wait_for_waits()
    segment.remove()
    number.store(1)
    assert number.wake() == 1
    assert result() is True


def test_the_segment_cannot_be_detached_under_a_wait(segment: SharedMemory) -> None:
    result = run_in_thread(lambda: segment.atomic(0, "u32").wait(0))
    wait_for_waits()
    with pytest.raises(BufferError):
        segment.detach()
    number = segment.atomic(0, "u32")
    number.store(1)
    number.wake()
    assert result() is True
    del number
    segment.detach()


def test_each_wait_ends_with_success_or_a_documented_error(segment: SharedMemory, way: str) -> None:
    """A counter goes up while waits have timeouts and are cancelled: none misses the last step."""
    number = segment.atomic(0, "u32")
    last = 3000 if way == "signal" else 300
    ends: dict[str, int] = {"success": 0, "busy": 0, "cancelled": 0}

    def follow() -> None:
        seen = 0
        while seen != last:
            try:
                number.wait(seen, [None, 1e-5, 4e-5, 1][seen % 4])
                seen = number.load()
                ends["success"] += 1
            except BusyError:
                ends["busy"] += 1
            except CancelledError:
                ends["cancelled"] += 1

    stop = threading.Event()

    def cancel() -> None:
        while not stop.wait(1e-4):
            number.cancel()

    follower = threading.Thread(target=follow)
    canceller = threading.Thread(target=cancel)
    follower.start()
    canceller.start()
    for step in range(last):
        number.store(step + 1)
        number.wake()
        if step % 3 == 0:
            time.sleep(5e-5)
    follower.join(60)
    stop.set()
    canceller.join()
    assert not follower.is_alive()
    assert ends["success"] > 0


def test_waits_leave_nothing_behind(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    before = sys.getrefcount(number), sys.getrefcount(segment)
    for _ in range(200):
        with pytest.raises(BusyError):
            number.wait(0, 1e-4)
    gc.collect()
    assert (sys.getrefcount(number), sys.getrefcount(segment)) == before
    assert timers() <= 1


# ------------------------------------------------------------ changes without a wake


@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("interval", [None, 0.01, 0.3])
def test_a_change_without_a_wake_is_noticed_in_all_threads(
    run_python: Run, interval: float | None, thread: str
) -> None:
    """A program in another language stores a number without futex(2)."""
    code = f"""
import sys, threading, time, sysv_ipc
from sleeping import waits_for_number
memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, init_character=bytes(1))
memory.remove()
number = memory.atomic(0, "u32")
ids, ended = [], []
def wait():
    ids.append(threading.get_native_id())
    ended.append(number.wait(0, interval={interval!r}))
def change():
    while not ids or not waits_for_number(ids[0]):
        time.sleep(0.001)
    number.store(1)
first, second = (wait, change) if {thread!r} == "main" else (change, wait)
other = threading.Thread(target=second); other.start()
first()
other.join()
print(ended)
"""
    assert run_python(code).stdout == "[True]\n"


@pytest.mark.parametrize("interval", [0, 0.0, -1, float("nan"), -float("inf")])
def test_invalid_intervals_are_refused(segment: SharedMemory, interval: Any) -> None:
    number = segment.atomic(0, "u32")
    with pytest.raises(ArgumentError, match="interval must be None or a number of seconds above 0"):
        number.wait(1, 0, interval=interval)


def test_an_interval_that_is_not_a_number_is_a_type_error(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    with pytest.raises(TypeError, match="must be real number"):
        number.wait(1, 0, interval="soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        number.wait(1, 0, 0.1)  # type: ignore[call-arg]


def test_a_long_interval_does_not_lengthen_a_timeout(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u32")
    start = time.monotonic()
    with pytest.raises(BusyError):
        number.wait(number.load(), 0.05, interval=100)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(("interval", "most"), [("None", 20), ("float('inf')", 2)])
def test_a_wait_sleeps_between_two_looks(run_python: Run, interval: str, most: int) -> None:
    code = f"""
import sys, threading, time, sysv_ipc
memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, init_character=bytes(1))
memory.remove()
number = memory.atomic(0, "u32")
def wait():
    number.wait(0, interval={interval})
thread = threading.Thread(target=wait); thread.start()
def switches():
    with open(f"/proc/self/task/{{thread.native_id}}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary"))
time.sleep(0.2)
before = switches()
time.sleep(1)
print(switches() - before <= {most})
number.store(1)
number.wake()
thread.join()
"""
    assert run_python(code).stdout == "True\n"
