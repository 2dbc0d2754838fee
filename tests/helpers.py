"""Functions for tests in several folders: other users, the system's own lists, peers, loops."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import pickle
import signal
import struct
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import calls
import pytest
import uvloop
from sleeping import WAITS, blocked_in_system_call, blocked_process, waits

import sysv_ipc

NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: only root can become another user"
)
NEEDS_GEVENT = pytest.mark.skipif(
    sys.version_info >= (3, 13) or os.uname().machine != "x86_64",
    reason="needs gevent (pip install gevent): the tests install it on x86-64 up to CPython 3.12",
)

T = TypeVar("T")
#: The fixture run_python.
RunPython = Callable[..., subprocess.CompletedProcess[str]]

#: The folder of the tests, from which programs import these modules, and the checkout.
TESTS = Path(__file__).parent
ROOT = TESTS.parent

#: True if the interpreter was built to run without the GIL.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

#: The largest type of a message.
LONG_MAX = 2 ** (8 * struct.calcsize("l") - 1) - 1

#: The uid of an unprivileged user.
OTHER_UID = 65534

#: The environment of a process whose memory is measured: freed memory is returned at once, and
#: ASan does not keep it in quarantine.  Without the GIL, mimalloc is the only allocator.
FLAT_MEMORY = {
    **({} if FREE_THREADED else {"PYTHONMALLOC": "malloc"}),
    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1",
}


def fork(function: Callable[[], object]) -> int:
    """Call the function in a forked child and return its pid; the child ends with status 0 or 1.

    The child must end here: an exception in it would run the rest of the tests a second time.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def in_child(function: Callable[[], T], *, uid: int | None = None, gid: int | None = None) -> T:
    """Call the function in a forked child, as another user if one is given.

    Return its result or raise its exception; both are pickled.  An exception that cannot be
    pickled, such as a failure of pytest, becomes an AssertionError with the traceback.
    """
    read_end, write_end = os.pipe()

    def run() -> None:
        os.close(read_end)
        try:
            if gid is not None or uid is not None:
                os.setgroups([])
                os.setgid(gid if gid is not None else uid)  # type: ignore[arg-type]
            if uid is not None:
                os.setuid(uid)
            data = pickle.dumps((True, function()))
        except BaseException as error:
            try:
                data = pickle.dumps((False, error))
            except Exception:
                data = pickle.dumps((False, AssertionError(traceback.format_exc())))
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(data)

    pid = fork(run)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    succeeded, value = pickle.loads(data)
    if not succeeded:
        raise value
    return value  # type: ignore[no-any-return]


def as_other_user(function: Callable[[], T]) -> T:
    """Call the function in a forked child that has dropped to an unprivileged user."""
    return in_child(function, uid=OTHER_UID)


def system_calls(code: str, *arguments: object, inject: str | None = None) -> list[str]:
    """Return the system calls of a program between writing "begin" and "end" to descriptor 2.

    Each is a line of strace(1).
    """
    tampering = [] if inject is None else ["-e", f"inject={inject}"]
    command = ["strace", "-o", "/dev/stdout", *tampering]
    command += [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    begin, end = (
        next(i for i, line in enumerate(lines) if line.startswith(f'write(2, "{word}"'))
        for word in ("begin", "end")
    )
    return lines[begin + 1 : end]


@contextlib.contextmanager
def alarms(seconds: float) -> Iterator[list[int]]:
    """Send SIGALRM at this interval to a handler that returns; yield the list of its calls."""
    calls: list[int] = []
    with handled(signal.SIGALRM, lambda number, _: calls.append(number)):
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        yield calls


@contextlib.contextmanager
def handled(number: int, handler: Callable[..., object]) -> Iterator[None]:
    """Set a signal's handler; at the end, stop timers and restore the old handler."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(number, before)


def soon(action: Callable[[], object]) -> None:
    """Do something in another thread as soon as this one sleeps in a wait of the library."""
    waiter = threading.get_native_id()

    def watch() -> None:
        seen = 0
        # More than once: a call that must not wait can also sleep briefly.
        while seen < 3:
            seen = seen + 1 if waits(waiter, polling=True) else 0
            time.sleep(0.0005)
        action()

    threading.Thread(target=watch, daemon=True).start()


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return when the condition holds; fail if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.0005)


def timers() -> int:
    """Return how many timers this process has; the main thread keeps one for all of its waits."""
    return Path("/proc/self/timers").read_text().count("signal: ")


def listed(table: str, id: int) -> dict[str, str]:
    """Return the record of an object in /proc/sysvipc; table is sem, shm or msg."""
    column = {"sem": "semid", "shm": "shmid", "msg": "msqid"}[table]
    lines = Path(f"/proc/sysvipc/{table}").read_text().splitlines()
    for line in lines[1:]:
        record = dict(zip(lines[0].split(), line.split(), strict=True))
        if record[column] == str(id):
            return record
    raise LookupError(f"no {table} with id {id}")


class Peer:
    """A program of peers/ that reads one command per line; see peers/peer.h."""

    def __init__(self, *command: object) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def tell(self, *words: object) -> None:
        """Send a command whose answer is read later."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Return the answer to the next command."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the peer has ended with status {self.process.wait()}"
        return line.rstrip("\n")

    def ask(self, *words: object) -> str:
        """Send a command and return its answer."""
        self.tell(*words)
        return self.answer()

    def ask_numbers(self, *words: object) -> list[int]:
        """Send a command and return the numbers of its answer."""
        return [int(word) for word in self.ask(*words).split()]

    def waits_in(self, name: str) -> bool:
        """Return True if the peer sleeps in this system call."""
        return blocked_process(self.pid, name)

    def kill(self) -> None:
        """Kill the peer with SIGKILL, and wait until it has ended."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Let the peer end; kill it if it still waits."""
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def run_in_thread(function: Callable[[], object]) -> Callable[[], object]:
    """Start a function in a thread; return a function that waits for its result or exception."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> object:
        thread.join()
        return outcome[0]

    return result


def end_by_cancel(wait: Callable[[], object], cancel: Callable[[], None]) -> object:
    """Let a thread wait, cancel until it ends, and return its result or its exception."""
    result = run_in_thread(wait)
    done = threading.Event()

    def cancel_again_and_again() -> None:
        # The wait may not have begun when cancel() is called first.
        while not done.wait(0.002):
            cancel()

    canceller = threading.Thread(target=cancel_again_and_again)
    canceller.start()
    outcome = result()
    done.set()
    canceller.join()
    return outcome


Handle = sysv_ipc.Semaphore | sysv_ipc.SemaphoreSet | sysv_ipc.SharedMemory | sysv_ipc.MessageQueue


def owners(handle: Handle) -> list[int]:
    """Return the mode, the owner and the creator from ``ipc_perm``."""
    return [handle.mode, handle.uid, handle.gid, handle.cuid, handle.cgid]


def ours() -> list[int]:
    """Return owner and creator of the objects that this process makes."""
    return [os.geteuid(), os.getegid(), os.geteuid(), os.getegid()]


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine function in a loop of asyncio."""

    @functools.wraps(test)
    def run(loop: str = "asyncio", **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(asyncio.wait_for(test(**fixtures), 60))

    return run


def in_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine function in each kind of loop."""
    run: Any = in_loop(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])
    return pytest.mark.parametrize("loop", LOOPS)(run)  # type: ignore[no-any-return]


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and see that they end by it."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError)


def fill(queue: sysv_ipc.MessageQueue) -> int:
    """Send messages of the type 99 until the queue is full; return how many."""
    count = 0
    while queue.try_send(b"x" * 2048, 99):
        count += 1
    return count


async def begun(*tasks: asyncio.Task[Any]) -> None:
    """Run the event loop until its tasks wait."""
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in tasks)


def start(wait: calls.Wait, opened: Any, timeout: float | None = None) -> asyncio.Task[Any]:
    """Return a task that makes a call which waits."""
    coroutine: Any = wait.call(opened, timeout)
    return asyncio.create_task(coroutine)


def contents(handle: Any) -> object:
    """Return what an object holds."""
    names = ("value", "values", "current_messages")
    return [getattr(handle, name) for name in names if hasattr(handle, name)]


def threads_in(*names: str) -> int:
    """Return how many threads of this process sleep in a system call, or in any wait."""
    threads = map(int, os.listdir("/proc/self/task"))
    return sum(blocked_in_system_call(thread, *(names or WAITS)) for thread in threads)


async def blocked(name: str | None = None, count: int = 1) -> None:
    """Run the event loop until a number of its worker threads sleep in that system call."""
    names = [name] if name else []
    deadline = time.monotonic() + 10
    while threads_in(*names) != count:
        assert time.monotonic() < deadline, f"{threads_in(*names)} threads sleep in {names}"
        await asyncio.sleep(0.001)


def import_testcapi() -> Any:
    """Return CPython's _testcapi, which lets allocations fail; skip if it is missing."""
    return pytest.importorskip(
        "_testcapi",
        reason="needs CPython's own tests: on Debian, apt-get install libpython3-testsuite",
    )


def caught(call: Callable[[], object]) -> sysv_ipc.Error:
    """Return the error that the call raises."""
    with pytest.raises(sysv_ipc.Error) as info:
        call()
    return info.value


def lists() -> dict[str, list[Any]]:
    """Return the records of all objects, by the name of their table."""
    return {
        "sem": sysv_ipc.semaphores(),
        "shm": sysv_ipc.shared_memories(),
        "msg": sysv_ipc.message_queues(),
    }
