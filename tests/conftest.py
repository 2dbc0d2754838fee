"""The tests' own IPC namespace, the leak guard, and the fixtures that several folders share."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import calls
import namespace
import parallel
import pytest
import system_calls
from helpers import TESTS, Peer

import sysv_ipc
from sysv_ipc import IPC_CREX, aio

# `make site` runs these tests in the environment of the docs.
collect_ignore = ["site"]


def _adopt_orphans() -> None:
    """Become the parent of processes that our children leave behind; see prctl(2)."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def _heed_signals() -> None:
    """Reset the signals that a shell ignores for a background command, as programs inherit them."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(
                number,
                signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL,
            )


def _show_programs_the_tests() -> None:
    """Let the programs that tests start import the modules that the tests share."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{path}{os.pathsep}{TESTS}" if path else str(TESTS)


_no_namespace: OSError | None = None
try:
    namespace.enter()
except OSError as error:
    _no_namespace = error
_show_programs_the_tests()
_adopt_orphans()
_heed_signals()
_keys_given: set[int] = set()


def pytest_report_header() -> str:
    """Report the IPC namespace of the tests."""
    where = "of their own" if _no_namespace is None else f"the system's ({_no_namespace})"
    return f"sysv_ipc {sysv_ipc.VERSION} from {sysv_ipc.__file__}; IPC namespace: {where}"


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Iterator[None]:
    """Freeze the objects that exist before the tests, which makes collecting and forking faster."""
    gc.collect()
    gc.freeze()
    try:
        return (yield)
    finally:
        # Hypothesis looks for referrers when it is imported at the end.
        gc.unfreeze()


def existing() -> set[tuple[str, int]]:
    """Return all objects that a test may have left: (table, id)."""
    found = set()
    for table in ("sem", "shm", "msg"):
        with open(f"/proc/sysvipc/{table}", "rb") as file:
            lines = file.readlines()[1:]
        for line in lines:
            key, number = map(int, line.split()[:2])
            if _no_namespace is None or key in _keys_given:
                found.add((table, number))
    return found


@pytest.fixture(autouse=True)
def leak_guard() -> Iterator[None]:
    """Fail a test that leaves an object behind, and remove it for the next one."""
    before = existing()
    yield
    left = existing() - before
    remove = {
        "sem": sysv_ipc.remove_semaphore,
        "shm": sysv_ipc.remove_shared_memory,
        "msg": sysv_ipc.remove_message_queue,
    }
    for table, number in left:
        remove[table](number)
    assert not left, f"the test left objects behind: {sorted(left)}"


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and their descendants."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []
    found = []
    for thread in threads:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children = file.read().split()
            for child in map(int, children):
                found += [child, *descendants(child)]
    return found


@pytest.fixture(autouse=True)
def process_guard() -> Iterator[None]:
    """Fail a test that leaves a process behind, and kill it, because it may hold objects."""
    before = set(descendants(os.getpid()))
    yield
    deadline = time.monotonic() + 5
    while left := set(descendants(os.getpid())) - before:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"the test left processes behind: {sorted(left)}"


@contextlib.contextmanager
def new_key() -> Iterator[int]:
    number = random.randint(1, 2**31 - 1)
    _keys_given.add(number)
    yield number


@contextlib.contextmanager
def new_semaphore() -> Iterator[sysv_ipc.Semaphore]:
    handle = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    _keys_given.add(handle.key or 0)
    yield handle
    if not handle.removed:
        handle.remove()


@contextlib.contextmanager
def new_segment() -> Iterator[sysv_ipc.SharedMemory]:
    handle = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, init_character=b"\0")
    _keys_given.add(handle.key or 0)
    yield handle
    if not handle.removed:
        handle.remove()
    if handle.attached:
        handle.detach()


@contextlib.contextmanager
def new_queue() -> Iterator[sysv_ipc.MessageQueue]:
    handle = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    _keys_given.add(handle.key or 0)
    yield handle
    if not handle.removed:
        handle.remove()


@pytest.fixture
def key() -> Iterator[int]:
    """A key that is not in use."""
    with new_key() as number:
        yield number


@pytest.fixture
def semaphore() -> Iterator[sysv_ipc.Semaphore]:
    """A new semaphore with the value 1, removed at the end."""
    with new_semaphore() as handle:
        yield handle


@pytest.fixture
def segment() -> Iterator[sysv_ipc.SharedMemory]:
    """A new segment of one page of zeros, removed at the end."""
    with new_segment() as handle:
        yield handle


@pytest.fixture
def queue() -> Iterator[sysv_ipc.MessageQueue]:
    """A new queue, removed at the end."""
    with new_queue() as handle:
        yield handle


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """With --parallel-threads, give each thread its own objects from these fixtures."""
    if item.config.getoption("parallel_threads", 1) not in (1, "1"):
        assert isinstance(item, pytest.Function)
        parallel.prepare(
            item,
            {
                "key": new_key,
                "semaphore": new_semaphore,
                "segment": new_segment,
                "queue": new_queue,
            },
        )


@pytest.fixture(params=calls.KINDS)
def table(request: pytest.FixtureRequest) -> str:
    """Each kind of object, by the name of its table under /proc/sysvipc: sem, shm, msg."""
    return str(request.param)


@pytest.fixture(params=calls.WAITS)
def wait(request: pytest.FixtureRequest) -> calls.Wait:
    """Each call that can wait."""
    return calls.WAITS[request.param]


@pytest.fixture
def target(wait: calls.Wait) -> Iterator[Any]:
    """The object that the wait of a test waits on, removed at the end."""
    with wait.target() as made:
        yield made


@pytest.fixture(params=["signal", "polling"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test with waits that are ended by the signal, then with waits that poll."""
    before = sysv_ipc.set_wait_signal(None)
    if request.param == "signal":
        sysv_ipc.set_wait_signal(before or signal.SIGRTMAX - 1)
    yield request.param
    sysv_ipc.set_wait_signal(before)


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile tests/peers/NAME.c once per session: peer(NAME) is the program."""
    folder = tmp_path_factory.mktemp("peers")

    def build(name: str) -> Path:
        program = folder / name
        if not program.exists():
            source = TESTS / "peers" / f"{name}.c"
            subprocess.run(
                [
                    system_calls.compiler(),
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-O1",
                    "-o",
                    program,
                    source,
                    "-pthread",
                ],
                check=True,
            )
        return program

    return build


@pytest.fixture(params=["C", "Perl"])
def start_peer(
    request: pytest.FixtureRequest, peer: Callable[[str], Path], key: int
) -> Iterator[Callable[[str], Peer]]:
    """Start the peer for a kind on the test's key, in either language: start_peer("semaphore")."""
    started: list[Peer] = []

    def start(kind: str) -> Peer:
        if request.param == "C":
            program = Peer(peer(kind), key)
        else:
            perl = shutil.which("perl")
            assert perl, "the tests need Perl with IPC::SysV: apt-get install perl"
            program = Peer(perl, TESTS / "peers" / f"{kind}.pl", key)
        started.append(program)
        return program

    yield start
    for program in started:
        program.close()


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh interpreter: run_python(code, *arguments, **subprocess options)."""

    def run(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        defaults = {"capture_output": True, "text": True, "timeout": 60}
        return subprocess.run(command, **{**defaults, **options})  # type: ignore[call-overload, no-any-return]

    return run


@pytest.fixture
def without_collection() -> Iterator[None]:
    """Collect garbage before the test and none during it.

    Python ignores what a signal handler raises in a weakref callback or a finalizer.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def long_messages() -> Iterator[None]:
    """Raise the longest message and the largest queue of this IPC namespace to 1 MiB."""
    paths = [Path("/proc/sys/kernel/msgmax"), Path("/proc/sys/kernel/msgmnb")]
    before = [path.read_text() for path in paths]
    for path in paths:
        path.write_text("1048576")
    yield
    for path, text in zip(paths, before, strict=True):
        path.write_text(text)


@pytest.fixture
def messages() -> Iterator[aio.MessageQueue]:
    """A new queue for asyncio, removed at the end."""
    queue = aio.MessageQueue(None, IPC_CREX)
    yield queue
    if not queue.handle.removed:
        queue.remove()
    queue.close()


@pytest.fixture
def permits() -> Iterator[aio.Semaphore]:
    """A new semaphore for asyncio with the value 1, removed at the end."""
    semaphore = aio.Semaphore(None, IPC_CREX, initial_value=1)
    yield semaphore
    if not semaphore.handle.removed:
        semaphore.remove()
    semaphore.close()


@pytest.fixture
def members() -> Iterator[aio.SemaphoreSet]:
    """A new set of three semaphores for asyncio, removed at the end."""
    many = aio.SemaphoreSet(None, 3, IPC_CREX)
    yield many
    many.remove()
    many.close()


@pytest.fixture
def stopped_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that tests run in steps; its tasks may be left pending."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    yield loop
    loop.close()
