"""Errors of a system or a process that reaches a limit or has no memory."""

from __future__ import annotations

import errno
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import FREE_THREADED, caught, import_testcapi

from sysv_ipc import (
    IPC_CREX,
    ArgumentError,
    LimitError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sysctl() -> Iterator[Callable[[str, str], None]]:
    """Set a limit of this IPC namespace, until the test ends."""
    before: dict[Path, str] = {}

    def set_limit(name: str, value: str) -> None:
        path = Path("/proc/sys/kernel") / name
        before.setdefault(path, path.read_text())
        path.write_text(value)

    yield set_limit
    for path, value in before.items():
        path.write_text(value)


def discard(made: list[Any]) -> None:
    for handle in made:
        handle.remove()
        if isinstance(handle, SharedMemory):
            handle.detach()


@pytest.mark.parametrize(
    ("kind", "name", "value", "words"),
    [
        (Semaphore, "sem", "32000 1024000000 500 2", ["2 of 2 semaphore sets", "SEMMNI"]),
        (Semaphore, "sem", "32000 2 500 32000", ["2 of 2 semaphores", "SEMMNS"]),
        (SharedMemory, "shmmni", "2", ["2 of 2 segments", "kernel.shmmni"]),
        (SharedMemory, "shmall", "2", ["2 of 2 pages", "kernel.shmall"]),
        (MessageQueue, "msgmni", "2", ["2 of 2 message queues", "kernel.msgmni"]),
    ],
)
def test_a_full_table_names_limit_use_and_sysctl(
    sysctl: Callable[[str, str], None], kind: Any, name: str, value: str, words: list[str]
) -> None:
    made = [kind(None, IPC_CREX), kind(None, IPC_CREX)]
    sysctl(name, value)
    error = caught(lambda: kind(None, IPC_CREX))
    discard(made)
    assert type(error) is LimitError
    assert str(error).startswith("[Errno 28] No space left on device: ")
    for word in words:
        assert word in error.__notes__[0]


def test_a_segment_beyond_shmmax_names_the_limit(
    sysctl: Callable[[str, str], None], key: int
) -> None:
    sysctl("shmmax", "8192")
    error = caught(lambda: SharedMemory(key, IPC_CREX, size=8193))
    assert type(error) is ArgumentError
    assert "kernel.shmmax bytes (now 8192)" in error.__notes__[0]


def test_a_set_beyond_semmsl_names_the_limit(sysctl: Callable[[str, str], None], key: int) -> None:
    sysctl("sem", "3 1024000000 500 32000")
    error = caught(lambda: SemaphoreSet(key, 4, IPC_CREX))
    assert type(error) is ArgumentError
    assert "SEMMSL members (kernel.sem, first number: now 3)" in error.__notes__[0]


def test_operations_beyond_the_limits_name_them(
    sysctl: Callable[[str, str], None], key: int
) -> None:
    semaphores = SemaphoreSet(key, 2, IPC_CREX)
    sysctl("sem", "32000 1024000000 3 32000")
    error = caught(lambda: semaphores.op([(0, 1)] * 4))
    assert (error.errno, type(error)) == (errno.E2BIG, ArgumentError)
    assert "4 operations in one call: the limit is SEMOPM" in str(error)
    error = caught(lambda: semaphores.op([(2, 1)]))
    assert (error.errno, type(error)) == (errno.EFBIG, ArgumentError)
    assert "index 2 is outside a set of 2 members" in str(error)
    semaphores.remove()


def test_no_memory_for_an_attachment_is_out_of_memory(run_python: Run) -> None:
    code = """
import resource, sysv_ipc
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * sysv_ipc.PAGE_SIZE
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), resource.RLIM_INFINITY))
try:
    sysv_ipc.SharedMemory(77, sysv_ipc.IPC_CREX, size=1 << 30, init_character=None)
except MemoryError as error:
    print(type(error).__name__, error.errno, error.kind, sysv_ipc.exists(77, sysv_ipc.SharedMemory))
"""
    done = run_python(code)
    assert done.stdout == "OutOfMemoryError 12 shared memory False\n", done.stderr


# -------------------------------------------------------------- lack of memory in the process

NO_MEMORY = """
import _testcapi, sysv_ipc, sys
from sysv_ipc import *
s = Semaphore(None, IPC_CREX, initial_value=1)
z = SemaphoreSet(None, 3, IPC_CREX)
m = SharedMemory(None, IPC_CREX)
q = MessageQueue(None, IPC_CREX)
calls = dict(
    busy=lambda: s.try_acquire(5) or s.acquire(0, 5),
    open=lambda: Semaphore(s.key),
    missing=lambda: Semaphore(1),
    bad=lambda: Semaphore("x"),
    values=lambda: z.values,
    op=lambda: z.op([(0, 1), (1, 1)] * 100),
    compile=lambda: z.compile([(0, 1)])(),
    item=lambda: z[1],
    segment=lambda: SharedMemory(m.key).read(),
    view=lambda: m.view(0, 8, "i"),
    slice=lambda: m[0:5000],
    queue=lambda: MessageQueue(q.key).peek(),
    send=lambda: q.send_many(["one", b"two", b"x" * 2048], 1, False),
    receive=lambda: q.receive_many(9, False),
    info=lambda: m.info(),
    lists=lambda: [sysv_ipc.semaphores(members=True), sysv_ipc.shared_memories()],
    repr=lambda: (repr(s), repr(z), repr(m), repr(q)),
)
for name, call in calls.items():
    if name != sys.argv[1]:
        continue
    for stop in range(1, 200):
        try:
            _testcapi.set_nomemory(stop, stop + 1)
            call()
        except (MemoryError, sysv_ipc.Error, RuntimeError):
            pass
        finally:
            _testcapi.remove_mem_hooks()
for handle in (s, z, m, q):
    handle.remove()
print("alive")
"""


CALLS = re.findall(r"^    (\w+)=lambda", NO_MEMORY, re.MULTILINE)


@pytest.mark.parametrize("call", CALLS)
def test_lack_of_memory_at_any_point_kills_nothing(run_python: Run, call: str) -> None:
    if FREE_THREADED and call == "lists":
        pytest.skip(
            "needs CPython with the GIL: without it, str.split() of 3.13 crashes without memory"
        )
    done = run_python(NO_MEMORY, call)
    assert done.stdout == "alive\n", done.stderr


def test_lack_of_memory_for_a_warning_is_an_error(key: int, run_python: Run) -> None:
    """CPython's own warnings crash if there is no memory for the caller's frame object."""
    import_testcapi()
    code = """
import _testcapi, os, sys, sysv_ipc, warnings
warnings.simplefilter("ignore")
queue = sysv_ipc.MessageQueue(int(sys.argv[1]), sysv_ipc.IPC_CREX)
queue.remove()
def slip():
    queue.receive(False, timeout=True)
for first in range(1, 60):
    _testcapi.set_nomemory(first, first + 3)
    try:
        slip()
    except (MemoryError, sysv_ipc.ExistentialError):
        pass
    finally:
        _testcapi.remove_mem_hooks()
# CPython without the GIL may crash at exit in the heap that the hooks have left.
os.write(1, b"alive")
os._exit(0)
"""
    done = run_python(code, key)
    assert (done.returncode, done.stdout) == (0, "alive")
