"""Other processes see the creation of a semaphore set as one step, even if the creator dies.

The mechanism is in src/core/semaphore/create.c and docs/design/creation.md.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from creators import (
    CREATE,
    INITIAL,
    killed_at,
    lock_taken,
    phase,
    remove,
    stopped_creator,
)
from helpers import OTHER_UID, fork, in_child, listed, system_calls, wait_until

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    ExistentialError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

LIBC = ctypes.CDLL(None, use_errno=True)
SETVAL = 16


@pytest.mark.once
def test_thousand_killed_creators_leave_the_initial_value_or_nothing(
    key: int, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In a program of its own, in which a fork costs a tenth."""
    code = "import sys, creators; creators.kill_many(int(sys.argv[1]), 1000)"
    done = run_python(code, key)
    assert (done.returncode, done.stderr) == (0, "")
    phases = ast.literal_eval(done.stdout)
    assert phases["nothing"] > 0
    assert phases["finished"] > 0


@pytest.mark.once
def test_openers_during_killed_creations_see_only_the_initial_value(
    key: int, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Three processes open it repeatedly while 200 creators are started, killed and cleaned up."""
    code = "import sys, creators; creators.kill_beside_openers(int(sys.argv[1]), 200)"
    done = run_python(code, key)
    assert (done.returncode, done.stderr) == (0, "")
    seen_by = [set(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(seen_by) == 3
    assert set().union(*seen_by) == {INITIAL}


@pytest.fixture
def unfinished(key: int) -> Iterator[int]:
    """The key of a semaphore whose creator died before it set the value."""
    killed_at(key, "semctl:signal=SIGKILL:when=1")
    assert phase(key) == "unfinished"
    yield key
    remove(key)


def test_opening_an_unfinished_set_finds_nothing(unfinished: int) -> None:
    with pytest.raises(ExistentialError, match=r"\[Errno 2\]"):
        Semaphore(unfinished)
    assert phase(unfinished) == "nothing"


def test_opening_or_creating_an_unfinished_set_creates_it_again(unfinished: int) -> None:
    semaphore = Semaphore(unfinished, IPC_CREAT, 0o600, 3)
    assert (semaphore.value, semaphore.mode) == (3, 0o600)


def test_creating_an_unfinished_set_creates_it_again(unfinished: int) -> None:
    assert Semaphore(unfinished, IPC_CREX, initial_value=4).value == 4


def test_a_new_set_replaces_an_unfinished_one(unfinished: int) -> None:
    assert SemaphoreSet(unfinished, 0, IPC_CREAT, initial_values=[1, 2]).values == (1, 2)


def test_another_user_gets_an_error_because_it_may_not_clean_up(key: int) -> None:
    killed_at(key, "semctl:signal=SIGKILL:when=1", code=CREATE.replace("0o640", "0o666"))

    def open_it() -> str:
        try:
            Semaphore(key, IPC_CREAT)
        except sysv_ipc.PermissionsError as error:
            return str(error)
        return "opened"

    told = in_child(open_it, uid=65534)
    remove(key)
    assert told.startswith("[Errno 1] Operation not permitted")


@pytest.mark.parametrize("call", [2, 3, 4])
def test_a_creator_that_dies_after_the_value_is_set_leaves_the_value(key: int, call: int) -> None:
    # Calls of semctl(2): SETALL, IPC_STAT, IPC_SET, then IPC_RMID by this test.
    code = CREATE + ".remove()"
    killed_at(key, f"semctl:signal=SIGKILL:when={call}", code=code)
    assert Semaphore(key).value == INITIAL
    assert Semaphore(key, IPC_CREAT, initial_value=1).value == INITIAL
    remove(key)


@pytest.mark.parametrize("uid", [0, OTHER_UID])
def test_openers_wait_for_a_creator_that_is_stopped(key: int, uid: int) -> None:
    """When it continues, it finishes; until then only the creator may use the set."""
    read_end, write_end = os.pipe()

    def open_it() -> None:
        os.setuid(uid)
        os.write(write_end, b"?")
        os.write(write_end, str(Semaphore(key).value).encode())

    with stopped_creator(key, CREATE.replace("0o640", "0o666")) as go_on:
        opener = fork(open_it)
        assert os.read(read_end, 1) == b"?"
        assert select.select([read_end], [], [], 0.05)[0] == []

        def answered_when_it_goes_on() -> bool:
            go_on()
            return bool(select.select([read_end], [], [], 0.01)[0])

        wait_until(answered_when_it_goes_on)
        assert os.read(read_end, 10) == str(INITIAL).encode()
        os.waitpid(opener, 0)
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("flags", [0, IPC_CREAT])
def test_a_signal_ends_the_wait_for_a_creator_that_is_stopped(key: int, flags: int) -> None:
    """The call raises the handler's exception, and no other."""

    def interrupt(*_: object) -> None:
        raise InterruptedError("by a handler")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with stopped_creator(key):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(InterruptedError, match="by a handler"):
                Semaphore(key, flags)
            assert phase(key) == "unfinished"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "injection",
    [
        "semctl:error=EPERM:when=1",
        "semctl:error=EACCES:when=2",
        "semctl:error=EPERM:when=3",
        "semget:error=ENOSPC:when=2",
    ],
)
def test_a_constructor_that_fails_leaves_nothing_behind(
    key: int, injection: str, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={injection}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", CREATE, str(key)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("sysv_ipc.") or "Errno" in done.stderr
    assert phase(key) == "nothing"


@pytest.mark.parametrize("error", ["ENOLCK", "EINTR", "EOPNOTSUPP"])
def test_a_semaphore_is_created_if_no_lock_is_available(key: int, error: str) -> None:
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"inject=flock:error={error}"]
    subprocess.run([*command, sys.executable, "-c", CREATE, str(key)], check=True, timeout=60)
    made = Semaphore(key)
    assert (made.value, made.mode) == (INITIAL, 0o640)
    made.remove()


@pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")
@pytest.mark.parametrize("mode", [0o611, 0o601, 0o667, 0o777, 0o111, 0o001, 0o400, 0])
def test_a_semaphore_gets_exactly_the_mode_that_was_asked_for(key: int, mode: int) -> None:
    semaphore = Semaphore(key, IPC_CREX, mode, INITIAL)
    record = listed("sem", semaphore.id)
    same = Semaphore(key, mode=0)
    assert same == semaphore
    semaphore.remove()
    assert int(record["perms"], 8) == mode


@pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")
def test_as_another_user_a_semaphore_may_have_any_mode(key: int) -> None:
    def create() -> tuple[int, int]:
        semaphore = Semaphore(key, IPC_CREX, 0o000, INITIAL)
        semaphore.mode = 0o600
        values = semaphore.value, semaphore.mode
        semaphore.remove()
        return values

    assert in_child(create, uid=65534) == (INITIAL, 0o600)


def test_an_unfinished_set_admits_only_its_creator(key: int) -> None:
    killed_at(key, "semctl:signal=SIGKILL:when=1", code=CREATE.replace("0o640", "0o666"))
    assert "611" in [record["perms"] for record in sets_with(key)]
    remove(key)


# ------------------------------------------------------------- sets of other programs


def sets_with(key: int) -> list[dict[str, str]]:
    """Return the records with this key in the system's own list."""
    number = LIBC.semget(key, 0, 0)
    return [listed("sem", number)] if number >= 0 else []


class Operation(ctypes.Structure):
    """A struct sembuf."""

    _fields_ = (("number", ctypes.c_ushort), ("delta", ctypes.c_short), ("flags", ctypes.c_short))


def operate(number: int, member: int, delta: int) -> int:
    """Call semop(2) through ctypes."""
    result: int = LIBC.semop(number, ctypes.byref(Operation(member, delta, 0)), 1)
    return result


def in_other_pid_namespace(number: int) -> None:
    """Set the last value from another PID namespace."""
    code = f"import ctypes; ctypes.CDLL(None).semctl({number}, 2, {SETVAL}, 5)"
    subprocess.run(["unshare", "-pf", sys.executable, "-c", code], check=True)


#: Ways to use a set; each changes a different field that the kernel keeps.
USES: dict[str, Callable[[int], object]] = {
    "a value of the first": lambda number: LIBC.semctl(number, 0, SETVAL, 3),
    "a value of the last": lambda number: LIBC.semctl(number, 2, SETVAL, 3),
    "a value of zero": lambda number: LIBC.semctl(number, 1, SETVAL, 0),
    "a value from another PID namespace": in_other_pid_namespace,
    "an operation": lambda number: operate(number, 1, 0),
    "one that waits": lambda number: fork(lambda: operate(number, 2, -1)),
}


@pytest.mark.parametrize("use", USES)
def test_a_used_set_of_another_program_stays_with_any_mode(key: int, use: str) -> None:
    number = LIBC.semget(key, 3, IPC_CREAT | 0o611)
    USES[use](number)
    waits = use == "one that waits"
    if waits:
        wait_until(lambda: SemaphoreSet.from_id(number)[2].waiting_for_nonzero)
    before = listed("sem", number)
    values = SemaphoreSet.from_id(number).values
    assert Semaphore(key).id == Semaphore(key, IPC_CREAT).id == number
    assert SemaphoreSet(key, 3, IPC_CREAT).id == SemaphoreSet(key).id == number
    with pytest.raises(ExistentialError, match=r"\[Errno 17\]"):
        Semaphore(key, IPC_CREX)
    assert (listed("sem", number), SemaphoreSet.from_id(number).values) == (before, values)
    if waits:
        Semaphore.from_id(number, 2).release()
        assert os.wait()[1] == 0
    sysv_ipc.remove_semaphore(number)


def test_unused_sets_of_other_programs_stay_except_with_one_mode(key: int) -> None:
    removed = []
    for mode in range(0o1000):
        number = LIBC.semget(key, 1, IPC_CREAT | mode)
        try:
            assert Semaphore(key, mode=0).id == number
            sysv_ipc.remove_semaphore(number)
        except ExistentialError:
            removed.append(mode)
    assert removed == [0o611]


@pytest.mark.parametrize("flags", [0, IPC_CREAT])
def test_nothing_is_removed_without_the_lock(unfinished: int, flags: int) -> None:
    number = sets_with(unfinished)[0]["semid"]
    with lock_taken(), pytest.raises(sysv_ipc.BusyError, match="has no values yet"):
        Semaphore(unfinished, flags)
    assert [record["semid"] for record in sets_with(unfinished)] == [number]


def pidfd_gives_namespaces() -> bool:
    """Return True if this kernel is 6.11 or newer."""
    try:
        os.close(fcntl.ioctl(os.pidfd_open(os.getpid()), 0xFF02))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("taken", [False, True])
def test_without_our_entry_in_proc_the_lock_is_the_same_or_none(
    unfinished: int, tmp_path: Path, taken: bool
) -> None:
    def open_it() -> int | None:
        os.chroot(tmp_path)
        try:
            Semaphore(unfinished)
        except sysv_ipc.Error as error:
            return error.errno
        return 0

    with lock_taken() if taken else contextlib.nullcontext():
        outcome = in_child(open_it)
    if taken or not pidfd_gives_namespaces():
        assert (outcome, phase(unfinished)) == (errno.EAGAIN, "unfinished")
    else:
        assert (outcome, phase(unfinished)) == (errno.ENOENT, "nothing")


def test_a_process_that_holds_the_lock_delays_one_creation_only() -> None:
    def seconds_to_create() -> float:
        start = time.monotonic()
        Semaphore(None, IPC_CREX).remove()
        return time.monotonic() - start

    with lock_taken():
        first = seconds_to_create()
        assert sum(seconds_to_create() for _ in range(10)) < first


# ----------------------------------------------------------- the time of the last operation


@pytest.mark.parametrize("key_value", [None, sysv_ipc.IPC_PRIVATE])
def test_c_programs_that_wait_for_the_first_operation_continue(key_value: int | None) -> None:
    for made in (
        Semaphore(key_value, IPC_CREX),
        Semaphore(key_value, IPC_CREX, initial_value=sysv_ipc.SEMAPHORE_VALUE_MAX),
        SemaphoreSet(key_value, 600, IPC_CREX),
    ):
        assert made.last_operation_time > 0
        made.remove()


def test_the_first_operation_is_after_the_values_and_before_the_mode() -> None:
    lines = system_calls(
        "import os, sysv_ipc\n"
        "os.write(2, b'begin')\n"
        "made = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=3)\n"
        "os.write(2, b'end')\n"
        "made.remove()\n"
    )
    # A C library may make semop(2) of semtimedop(2).
    lines = [line.replace("semtimedop", "semop") for line in lines]
    words = ["semget", "SETALL", "semop", "IPC_STAT", "IPC_SET"]
    found = [next((word for word in words if word in line), "") for line in lines]
    assert [word for word in found if word] == words


def test_a_semaphore_is_created_if_only_one_operation_per_call_is_allowed(key: int) -> None:
    limits = Path("/proc/sys/kernel/sem")
    before = limits.read_text()
    first, second, _, fourth = before.split()
    try:
        limits.write_text(f"{first} {second} 1 {fourth}")
        made = Semaphore(key, IPC_CREX, initial_value=3)
    finally:
        limits.write_text(before)
    assert made.value == 3
    made.remove()


def test_a_set_of_another_program_without_any_value_is_opened_unchanged(key: int) -> None:
    made = subprocess.run(["ipcmk", "-S", "3"], capture_output=True, text=True, check=True)
    number = int(made.stdout.split()[-1])
    semaphore = Semaphore.from_id(number)
    assert semaphore.key is not None
    before = listed("sem", number)
    assert Semaphore(semaphore.key, IPC_CREAT, initial_value=5).value == 0
    assert Semaphore(semaphore.key).id == number
    assert listed("sem", number) == before
    semaphore.remove()


def test_many_processes_create_at_once_and_one_value_is_set(key: int) -> None:
    """Each of 16 processes takes one permit of an initial value of 16."""
    code = (
        "import sys, sysv_ipc\n"
        "semaphore = sysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREAT, initial_value=16)\n"
        "semaphore.acquire(timeout=30)\n"
    )
    command = [sys.executable, "-c", code, str(key)]
    processes = [subprocess.Popen(command) for _ in range(16)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 16
    assert Semaphore(key).value == 0
    remove(key)


@pytest.mark.parametrize("new", [Semaphore, SemaphoreSet, SharedMemory, MessageQueue])
def test_open_or_create_never_fails_while_another_process_removes(key: int, new: Any) -> None:
    arguments = {SemaphoreSet: {"nsems": 2}, SharedMemory: {"size": 1}}.get(new, {})

    def open_and_remove() -> int:
        removed = 0
        end = time.monotonic() + 1
        while time.monotonic() < end:
            handle = new(key, flags=IPC_CREAT, **arguments)
            with contextlib.suppress(ExistentialError):
                handle.remove()
                removed += 1
        return removed

    pid = fork(lambda: open_and_remove() or os._exit(2))
    removed = open_and_remove()
    status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(ExistentialError):
        new(key).remove()
    assert (os.waitstatus_to_exitcode(status), removed > 0) == (0, True)
