"""Constructors that fail or are delayed: the objects they leave unchanged, and their waits.

The mechanism is in src/core/semaphore/create.c and docs/design/creation.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from creators import CREATE, INITIAL, lock_taken, phase, stopped_creator
from helpers import OTHER_UID, as_other_user, fork, in_child, listed, system_calls, wait_until
from old_kernel import become_old, needs_seccomp

import sysv_ipc
from sysv_ipc import IPC_CREAT, IPC_CREX, Semaphore, SemaphoreSet, SharedMemory

Run = Callable[..., subprocess.CompletedProcess[str]]

LIBC = ctypes.CDLL(None, use_errno=True)

# ------------------------------------------------------------------- ids of another object


def give_id(kind: str, number: int, key: int, size: int) -> None:
    """Let a C program make an object of this kind that gets this id."""
    Path(f"/proc/sys/kernel/{kind}_next_id").write_text(str(number))
    get = {"sem": LIBC.semget, "shm": LIBC.shmget}[kind]
    assert get(key, size, IPC_CREX | 0o644) == number


def id_of(kind: str, key: int) -> int:
    number: int = {"sem": LIBC.semget, "shm": LIBC.shmget}[kind](key, 0, 0)
    return number


@pytest.mark.parametrize("members", [1, 2, 5])
def test_a_creator_does_not_change_another_set_that_has_its_id(key: int, members: int) -> None:
    """It finishes another set, even if the values were set in the other program's set."""
    with stopped_creator(key) as go_on:
        number = id_of("sem", key)
        sysv_ipc.remove_semaphore(number)
        give_id("sem", number, key + 1, members)

        def has_finished() -> bool:
            go_on()
            return phase(key) == "finished"

        wait_until(has_finished)
        assert listed("sem", number)["key"] == str(key + 1)
        assert listed("sem", number)["perms"] == "644"
        made = Semaphore(key)
        assert (made.value, made.mode, made.id != number) == (INITIAL, 0o640, True)
    sysv_ipc.remove_semaphore(number)


CREATE_SEGMENT = (
    "import sys, sysv_ipc\n"
    "try: sysv_ipc.SharedMemory(int(sys.argv[1]), sysv_ipc.IPC_CREX, size=4096)\n"
    "except sysv_ipc.ExistentialError: print('gone')\n"
)


@pytest.mark.parametrize("size", [4096, 8192])
def test_a_segment_that_has_got_the_id_of_a_new_one_is_neither_filled_nor_removed(
    key: int, size: int
) -> None:
    command = ["strace", "-f", "-o", "/dev/null", "-e", "inject=shmget:signal=SIGSTOP:when=1"]
    creator = subprocess.Popen(
        [*command, sys.executable, "-c", CREATE_SEGMENT, str(key)],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: id_of("shm", key) >= 0)
    number = id_of("shm", key)
    sysv_ipc.remove_shared_memory(number)
    give_id("shm", number, key + 1, size)
    children = Path(f"/proc/{creator.pid}/task/{creator.pid}/children").read_text().split()

    def has_ended() -> bool:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGCONT)
        return creator.poll() is not None

    wait_until(has_ended)
    assert creator.communicate()[0] == "gone\n"
    record = listed("shm", number)
    assert (record["key"], record["size"]) == (str(key + 1), str(size))
    stranger = SharedMemory(key + 1)
    assert stranger.read() == bytes(size)
    stranger.remove()
    stranger.detach()


def left_after(injection: str, statement: str) -> list[str]:
    """Return the error of a statement in a sandbox, and how many objects it leaves."""
    code = (
        "import os, sys\n"
        "from sysv_ipc import *\n"
        f"try: {statement}\n"
        "except Error as error: print(error.errno, error)\n"
        "lines = [line for kind in ('sem', 'shm', 'msg')\n"
        "         for line in open('/proc/sysvipc/' + kind).readlines()[1:]]\n"
        "print(len(lines), flush=True)\n"
        "os._exit(0)\n"
    )
    command = ["unshare", "-i", "strace", "-f", "--seccomp-bpf", "-o", "/dev/null"]
    command += ["-e", f"trace={injection.partition(':')[0]}", "-e", f"inject={injection}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("error", ["EINVAL", "EIDRM", "EPERM", "EACCES", "ENOSYS"])
@pytest.mark.parametrize(
    "statement",
    [
        "Semaphore(None, IPC_CREX)",
        "Semaphore(77, IPC_CREX)",
        "Semaphore(77, IPC_CREAT)",
        "Semaphore(IPC_PRIVATE)",
        "SemaphoreSet(None, 3, IPC_CREX)",
    ],
)
@pytest.mark.parametrize("taken", [False, True])
def test_a_set_that_can_neither_be_finished_nor_removed_is_the_only_one(
    statement: str, error: str, taken: bool
) -> None:
    if taken:
        flock = "fcntl.flock(os.open('/proc/self/ns/ipc', 0), fcntl.LOCK_EX)"
        statement = f"import fcntl; {flock}; {statement}"
    told, left = left_after(f"semctl:error={error}", statement)
    number = getattr(errno, error)
    assert told.startswith(f"{number} [Errno {number}] ")
    assert "tried" not in told
    assert left == "1"


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("error", ["EINVAL", "EIDRM", "EPERM"])
def test_a_set_that_could_not_be_finished_is_removed(call: int, error: str) -> None:
    for statement in ("Semaphore(None, IPC_CREX)", "Semaphore(IPC_PRIVATE)"):
        told, left = left_after(f"semctl:error={error}:when={call}", statement)
        assert (told.split()[0], left) == (str(getattr(errno, error)), "0")


@pytest.mark.parametrize("call", ["shmat", "shmctl"])
@pytest.mark.parametrize("error", ["EPERM", "ENOMEM"])
def test_a_segment_that_could_not_be_finished_is_removed(call: str, error: str) -> None:
    statement = "SharedMemory(None, IPC_CREX)"
    told, left = left_after(f"{call}:error={error}:when=1", statement)
    assert (told.split()[0], left) == (str(getattr(errno, error)), "0")


def test_an_exclusive_creator_reports_an_existing_set_that_a_sandbox_hides() -> None:
    statement = "import ctypes; ctypes.CDLL(None).semget(77, 1, 0o1600); Semaphore(77, IPC_CREX)"
    told, left = left_after("semctl:error=EINVAL", statement)
    assert (told.split()[0], left) == (str(errno.EEXIST), "1")


# --------------------------------------------------------------------------------- waiting


@needs_seccomp
@pytest.mark.parametrize("cls", [Semaphore, SemaphoreSet])
@pytest.mark.parametrize("flags", [0, IPC_CREAT])
def test_on_an_old_kernel_another_user_waits_for_a_creator_too(
    key: int, cls: Any, flags: int
) -> None:
    read_end, write_end = os.pipe()

    def open_it() -> None:
        os.setgroups([])
        os.setuid(OTHER_UID)
        become_old()
        os.write(write_end, b"?")
        cls(key, flags=flags)
        os.write(write_end, b"!")

    with stopped_creator(key, CREATE.replace("0o640", "0o666")) as go_on:
        opener = fork(open_it)
        assert os.read(read_end, 1) == b"?"
        assert select.select([read_end], [], [], 0.05)[0] == []

        def has_answered() -> bool:
            go_on()
            return bool(select.select([read_end], [], [], 0.01)[0])

        wait_until(has_answered)
        assert os.read(read_end, 1) == b"!"
        assert os.waitpid(opener, 0)[1] == 0
    os.close(read_end)
    os.close(write_end)


@needs_seccomp
def test_on_an_old_kernel_forbidden_sets_stay_forbidden(key: int) -> None:
    made = Semaphore(key, IPC_CREX, 0o600, 1)

    def open_it() -> str:
        become_old()
        try:
            Semaphore(key, IPC_CREAT)
        except sysv_ipc.PermissionsError as error:
            return str(error)
        return "opened"

    told = in_child(open_it, uid=OTHER_UID)
    made.remove()
    assert told.startswith("[Errno 13]")


def seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    with contextlib.suppress(sysv_ipc.BusyError):
        call()
    return time.monotonic() - start


#: Ways to open or create a set.
OPENERS: dict[str, Callable[[int], object]] = {
    "Semaphore": lambda key: Semaphore(key),
    "open or create": lambda key: Semaphore(key, IPC_CREAT),
    "SemaphoreSet": lambda key: SemaphoreSet(key),
    "a set, open or create": lambda key: SemaphoreSet(key, 1, IPC_CREAT),
    "read only": lambda key: Semaphore(key, IPC_CREAT, 0o400),
}


@pytest.mark.parametrize("opener", OPENERS)
def test_a_used_set_with_the_mode_of_an_unfinished_one_is_opened_without_the_lock(
    key: int, opener: str
) -> None:
    """A creation waits for the lock; ten openings take less time than that."""
    made = Semaphore(key, IPC_CREX, 0o611, 3)

    def compare() -> bool:
        opening = sum(seconds(lambda: OPENERS[opener](key)) for _ in range(10))
        return opening < seconds(lambda: Semaphore(None, IPC_CREX).remove())

    with lock_taken():
        assert in_child(compare)
    made.remove()


@pytest.mark.parametrize(
    "statement", ["Semaphore(key, IPC_CREAT)", "SemaphoreSet(key, 1, IPC_CREAT)"]
)
def test_opening_a_used_set_does_not_wait_for_an_unavailable_lock(key: int, statement: str) -> None:
    lines = system_calls(
        "import os, sys\n"
        "from sysv_ipc import *\n"
        "key = int(sys.argv[1])\n"
        "made = Semaphore(key, IPC_CREX, 0o611, 3)\n"
        "os.write(2, b'begin')\n"
        f"{statement}\n"
        "os.write(2, b'end')\n"
        "made.remove()\n",
        key,
        inject="flock:error=ENOLCK",
    )
    assert [line for line in lines if "sleep" in line] == []


@pytest.mark.parametrize("flags", [0, IPC_CREAT])
def test_only_one_of_several_openers_of_an_unfinished_set_waits_long(key: int, flags: int) -> None:
    number = LIBC.semget(key, 1, IPC_CREAT | 0o611)

    def compare() -> bool:
        first = seconds(lambda: Semaphore(key, flags))
        return sum(seconds(lambda: Semaphore(key, flags)) for _ in range(5)) < first

    with lock_taken():
        assert in_child(compare)
    assert listed("sem", number)["perms"] == "611"
    sysv_ipc.remove_semaphore(number)


HANDLER = """
import fcntl, os, signal, sys, sysv_ipc
calls = []
def handler(*_):
    fcntl.flock(os.open("/proc/self/ns/ipc", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    calls.append(1)
signal.signal(signal.SIGUSR1, handler)
sysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREAT, 0o640, 7)
assert calls
"""


def test_signal_handlers_run_without_the_lock(key: int) -> None:
    """The creator begins again here, because its set was removed."""
    with stopped_creator(key, HANDLER) as go_on:
        sysv_ipc.remove_semaphore(id_of("sem", key))
        go_on(signal.SIGUSR1)


MARK_LIKE = [0o601, 0o623, 0o667]


@pytest.mark.parametrize("mode", MARK_LIKE)
@pytest.mark.parametrize("value", [0, 7, 32767])
def test_a_mode_equal_to_the_mark_is_not_mistaken_for_it_in_another_pid_namespace(
    key: int, mode: int, value: int
) -> None:
    """GETPID is 0 there if a process has set the values, and also if none has."""
    made = Semaphore(key, IPC_CREX, mode, value)
    code = f"import sysv_ipc; print(sysv_ipc.Semaphore({key}, sysv_ipc.IPC_CREAT).id)"
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{made.id}\n", "")
    assert (made.value, made.mode) == (value, mode)
    made.remove()


def test_a_user_without_the_right_to_read_opens_a_set(key: int) -> None:
    made = Semaphore(key, IPC_CREX, 0o623, 1)

    def open_it() -> int:
        handle = Semaphore(key)
        handle.release()
        return handle.id

    assert as_other_user(open_it) == made.id
    assert made.value == 2
    made.remove()


def test_a_process_that_holds_the_lock_cannot_prevent_creations(key: int) -> None:
    import fcntl

    with open("/proc/self/ns/ipc", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def create() -> tuple[int, int]:
            made = Semaphore(key, IPC_CREAT, initial_value=3)
            same = Semaphore(key, IPC_CREAT, initial_value=4)
            return made.value, same.value

        assert in_child(create) == (3, 3)
    Semaphore(key).remove()


def test_creating_needs_no_descriptor(key: int, run_python: Run) -> None:
    code = """
import os, resource, sys
import sysv_ipc
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
made = sysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREX, initial_value=5)
print(made.value)
made.remove()
"""
    assert run_python(code, key).stdout == "5\n"
