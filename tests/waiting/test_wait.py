"""Waiting: timeouts, signals, removal and the GIL, for every call that can block."""

from __future__ import annotations

import decimal
import fractions
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from helpers import alarms, fork, run_in_thread, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, BusyError, MessageQueue, Semaphore

TIMEOUT_TEXT = "The timeout must be None or a non-negative number"

#: Waits that nobody ends: name -> (code that makes x, the call, the call that ends it).
WAITS = {
    "acquire": ("x = Semaphore(None, IPC_CREX)", "x.acquire()", "x.release()"),
    "acquire with a timeout": ("x = Semaphore(None, IPC_CREX)", "x.acquire(60)", "x.release()"),
    "Z": ("x = Semaphore(None, IPC_CREX, initial_value=1)", "x.Z()", "x.acquire()"),
    "with": ("x = Semaphore(None, IPC_CREX)", "x.__enter__()", "x.release()"),
    "op": (
        "x = SemaphoreSet(None, 2, IPC_CREX)",
        "x.op([(0, -1), (1, -1)])",
        "x.release(0, 1)",
    ),
    "compiled": (
        "x = SemaphoreSet(None, 2, IPC_CREX)",
        "x.compile([(0, -1), (1, -1)])()",
        "x.release(0, 1)",
    ),
    "receive": ("x = MessageQueue(None, IPC_CREX)", "x.receive()", "x.send(b'')"),
    "receive_into": (
        "x = MessageQueue(None, IPC_CREX)",
        "x.receive_into(bytearray(4))",
        "x.send(b'')",
    ),
    "receive_many": ("x = MessageQueue(None, IPC_CREX)", "x.receive_many(2)", "x.send(b'')"),
    "next": ("x = MessageQueue(None, IPC_CREX)", "next(x)", "x.send(b'')"),
    "send": (
        "x = MessageQueue(None, IPC_CREX)\nwhile x.try_send(b'x' * 2048): pass",
        "x.send(b'x' * 2048)",
        "x.receive()",
    ),
    "send_many": (
        "x = MessageQueue(None, IPC_CREX)\nwhile x.try_send(b'x' * 2048): pass",
        "x.send_many([b'x' * 2048])",
        "x.receive()",
    ),
}

PRELUDE = """
import os, signal, sys, threading, time
from sysv_ipc import *
from sleeping import blocked_in_system_call

def when_blocked(action, *calls):
    '''Do something as soon as the main thread sleeps in a system call.'''
    calls = calls or ("semop", "semtimedop", "msgsnd", "msgrcv")
    main = threading.main_thread().native_id
    def watch():
        # More than once: a call that may not wait can sleep for a moment too.
        seen = 0
        while seen < 3:
            seen = seen + 1 if blocked_in_system_call(main, *calls) else 0
            time.sleep(0.0005)
        action()
    threading.Thread(target=watch, daemon=True).start()

def interrupt(number):
    return lambda: os.kill(os.getpid(), number)
"""


@pytest.fixture(params=WAITS)
def wait(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return WAITS[request.param]


def run(code: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, whose main thread is free to wait."""
    program = PRELUDE + code + "\ntry:\n" + "".join(f"    {line}\n" for line in lines)
    program += "finally:\n    if not x.removed: x.remove()\n"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# ------------------------------------------------------------------------------- signals


def test_a_handler_that_returns_lets_the_wait_go_on(wait: tuple[str, str, str]) -> None:
    code, call, end = wait
    done = run(
        code,
        "calls = []",
        "def handler(*_):",
        "    calls.append(1)",
        f"    if len(calls) == 3: {end}",
        "    else: when_blocked(interrupt(signal.SIGUSR1))",
        "signal.signal(signal.SIGUSR1, handler)",
        "when_blocked(interrupt(signal.SIGUSR1))",
        f"{call}",
        "print(len(calls))",
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_a_handler_that_raises_ends_the_wait_with_its_exception_alone(
    wait: tuple[str, str, str],
) -> None:
    code, call, _ = wait
    done = run(
        code,
        "def handler(*_): raise KeyError('from the handler')",
        "signal.signal(signal.SIGUSR1, handler)",
        "when_blocked(interrupt(signal.SIGUSR1))",
        "try:",
        f"    {call}",
        "except KeyError as error:",
        "    print(error, error.__context__, error.__cause__)",
    )
    assert (done.stdout, done.stderr) == ("'from the handler' None None\n", "")


def test_control_c_ends_the_wait(wait: tuple[str, str, str]) -> None:
    code, call, _ = wait
    done = run(code, "when_blocked(interrupt(signal.SIGINT))", call)
    assert "\nKeyboardInterrupt\n" in done.stderr
    assert done.returncode == -signal.SIGINT


def test_removal_ends_the_wait(wait: tuple[str, str, str]) -> None:
    code, call, _ = wait
    done = run(
        code,
        "when_blocked(x.remove)",
        "try:",
        f"    {call}",
        "except ExistentialError as error:",
        "    print(error.errno)",
        "except StopIteration:",
        "    print(43)",
    )
    assert (done.stdout, done.stderr) == ("43\n", "")


@pytest.mark.parametrize("call", ["acquire", "Z"])
def test_signals_do_not_lengthen_a_timeout(semaphore: Semaphore, call: str) -> None:
    """With the whole timeout again after each signal, it would never end."""
    if call == "acquire":
        semaphore.acquire()
    start = time.monotonic()
    with alarms(0.005) as calls, pytest.raises(BusyError):
        getattr(semaphore, call)(timeout=0.1)
    assert time.monotonic() - start >= 0.1
    assert len(calls) >= 3


# ------------------------------------------------------------------------------ timeouts


@pytest.mark.parametrize(
    "timeout",
    [
        0.01,
        fractions.Fraction(1, 100),
        decimal.Decimal("0.01"),
        np.float32(0.01),
        np.float64(0.01),
        1e-12,
        np.nextafter(0, 1),
    ],
)
def test_acquire_times_out_when_nobody_releases(semaphore: Semaphore, timeout: float) -> None:
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


@pytest.mark.parametrize(
    "timeout",
    [
        None,
        float("inf"),
        10**400,
        1e300,
        2**63,
        decimal.Decimal("Infinity"),
        decimal.Decimal("1e400"),
        fractions.Fraction(10**400),
        9223372036.854775807,
        np.inf,
        3600,
    ],
)
def test_long_timeouts_wait_until_somebody_releases(timeout: float | None) -> None:
    semaphore = Semaphore(None, IPC_CREX)
    join = run_in_thread(lambda: semaphore.acquire(timeout))
    wait_until(lambda: semaphore.waiting_for_nonzero == 1)
    semaphore.release()
    assert join() is True
    semaphore.remove()


def test_an_error_of_a_timeouts_own_float_stays(semaphore: Semaphore) -> None:
    class Failing:
        def __float__(self) -> float:
            raise OverflowError("my own")

    with pytest.raises(OverflowError, match="my own"):
        semaphore.acquire(Failing())


@pytest.mark.parametrize(
    "timeout",
    [
        float("nan"),
        -1,
        -0.001,
        float("-inf"),
        -(10**400),
        decimal.Decimal("NaN"),
        decimal.Decimal("sNaN"),
        decimal.Decimal(-1),
        fractions.Fraction(-1, 3),
        fractions.Fraction(-(10**400)),
        np.float64(-1),
    ],
)
@pytest.mark.parametrize("call", ["acquire", "Z"])
def test_impossible_timeouts_are_refused(semaphore: Semaphore, call: str, timeout: float) -> None:
    with pytest.raises(sysv_ipc.ArgumentError) as caught:
        getattr(semaphore, call)(timeout)
    assert str(caught.value) == TIMEOUT_TEXT
    assert caught.value.errno == 22
    assert semaphore.value == 1


NOT_NUMBERS = ["1", b"1", [], {}, 1j, object(), Semaphore]
NUMPYS = [np.str_("1"), np.bytes_(b"1"), np.array([1, 2]), np.array([])]


@pytest.mark.parametrize("timeout", NOT_NUMBERS + NUMPYS)
@pytest.mark.parametrize("call", ["acquire", "Z"])
def test_timeouts_that_are_no_numbers_are_refused(
    semaphore: Semaphore, call: str, timeout: object
) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(semaphore, call)(timeout)
    assert str(caught.value) == TIMEOUT_TEXT
    assert semaphore.value == 1


def test_an_exception_of_a_timeout_comes_through(semaphore: Semaphore) -> None:
    class Timeout:
        def __float__(self) -> float:
            raise KeyError("from __float__")

    with pytest.raises(KeyError, match="from __float__"):
        semaphore.acquire(Timeout())
    assert semaphore.value == 1


# ------------------------------------------------------------------------------- the GIL


def test_other_threads_run_while_one_waits(wait: tuple[str, str, str]) -> None:
    code, call, end = wait
    done = run(code, f"when_blocked(lambda: {end})", call, "print('went on')")
    assert (done.stdout, done.stderr) == ("went on\n", "")


def nanoseconds(pair: Callable[[], object], pairs: int = 2000) -> float:
    start = time.perf_counter()
    for _ in range(pairs):
        pair()
    return (time.perf_counter() - start) / pairs * 1e9


@pytest.mark.parametrize("kind", ["semaphore", "queue"])
def test_a_busy_thread_does_not_slow_what_need_not_wait(
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


def test_a_wait_that_has_succeeded_is_a_success_whatever_signal_comes(key: int) -> None:
    """A permit taken while a signal arrives is never lost: 2 000 races."""
    semaphore = Semaphore(key, IPC_CREX, initial_value=0)
    parent = os.getpid()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)

    def release_and_disturb() -> None:
        for _ in range(2000):
            semaphore.release()
            os.kill(parent, signal.SIGUSR1)

    child = fork(release_and_disturb)
    for _ in range(2000):
        assert semaphore.acquire(30)
    os.waitpid(child, 0)
    signal.signal(signal.SIGUSR1, before)
    assert semaphore.value == 0
    semaphore.remove()


def test_removal_between_two_attempts_ends_the_wait_as_any_other() -> None:
    """A wait that polls is seldom inside of a call when its object goes."""
    done = run(
        "from sysv_ipc import *",
        "set_wait_signal(None)",
        "for make, call in (",
        "    (lambda: Semaphore(None, IPC_CREX), lambda x: x.acquire(timeout=60)),",
        "    (lambda: MessageQueue(None, IPC_CREX), lambda x: x.receive(timeout=60)),",
        "):",
        "    for _ in range(20):",
        "        x = make()",
        "        when_blocked(x.remove, 'semtimedop', 'clock_nanosleep')",
        "        try:",
        "            call(x)",
        "        except ExistentialError as error:",
        "            assert error.errno == 43, error",
    )
    assert (done.stdout, done.stderr) == ("", "")
