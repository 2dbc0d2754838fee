"""Every row of the ERRORS sections of the Linux man pages becomes the right exception.

Here strace(1) makes the system calls fail, which includes rows that cannot be provoked.  The
others are provoked in the tests of each kind and in test_permissions.py.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import functools
import re
import subprocess
import sys

import pytest

import sysv_ipc
from sysv_ipc import (
    ArgumentError,
    BusyError,
    Error,
    ExistentialError,
    InternalError,
    LimitError,
    OutOfMemoryError,
    PermissionsError,
)

#: The program whose system call fails; its arguments are statements that make the call.
PROGRAM = """
import os, sys
from sysv_ipc import *
s = Semaphore(None, IPC_CREX, initial_value=1)
z = SemaphoreSet(None, 3, IPC_CREX)
m = SharedMemory(None, IPC_CREX)
q = MessageQueue(None, IPC_CREX)
q.send("x")
made = [s, z, m, q]
print([(handle.info().__class__.__name__, handle.id) for handle in made], flush=True)
print("now", flush=True)
told = {}
for statement in sys.argv[1:]:
    try:
        exec(statement)
    except Exception as error:
        told[statement] = [type(error).__name__, error.errno, str(error), error.kind]
    else:
        told[statement] = ["nothing"]
os.write(1, repr(told).encode())
os._exit(0)
"""
REMOVE = {
    "SemaphoreInfo": sysv_ipc.remove_semaphore,
    "SharedMemoryInfo": sysv_ipc.remove_shared_memory,
    "MessageQueueInfo": sysv_ipc.remove_message_queue,
}

#: For each system call: the statements that make it, and the rows of its page.
PAGES: dict[str, tuple[list[str], dict[str, type[Error]]]] = {
    "semget": (
        ["Semaphore(s.key)", "SemaphoreSet(z.key)", "Semaphore(77, IPC_CREX)"],
        {
            "EACCES": PermissionsError,
            "EEXIST": ExistentialError,
            "EINVAL": ArgumentError,
            "ENOENT": ExistentialError,
            "ENOMEM": OutOfMemoryError,
            "ENOSPC": LimitError,
        },
    ),
    "semtimedop": (
        ["s.acquire(0)", "s.release()", "z.op([(0, 1), (1, 2)])", "z.compile([(0, 1)])()"],
        {
            "E2BIG": ArgumentError,
            "EACCES": PermissionsError,
            "EFAULT": InternalError,
            "EFBIG": ArgumentError,
            "EIDRM": ExistentialError,
            "EINVAL": ArgumentError,
            "ENOMEM": OutOfMemoryError,
            "ERANGE": ArgumentError,
        },
    ),
    "semctl": (
        ["s.value", "s.value = 2", "z.values", "z.values = [1, 2, 3]", "s.mode", "s.mode = 0o600"],
        {
            "EACCES": PermissionsError,
            "EFAULT": InternalError,
            "EIDRM": ExistentialError,
            "EINVAL": ExistentialError,
            "EPERM": PermissionsError,
            "ERANGE": ArgumentError,
        },
    ),
    "shmget": (
        ["SharedMemory(m.key)", "SharedMemory(77, IPC_CREX)"],
        {
            "EACCES": PermissionsError,
            "EEXIST": ExistentialError,
            "EINVAL": ArgumentError,
            "ENFILE": Error,
            "ENOENT": ExistentialError,
            "ENOMEM": OutOfMemoryError,
            "ENOSPC": LimitError,
            "EPERM": PermissionsError,
        },
    ),
    "shmat": (
        ["m.attach()", "attach(m.id)", "SharedMemory(m.key)"],
        {
            "EACCES": PermissionsError,
            "EIDRM": ExistentialError,
            "ENOMEM": OutOfMemoryError,
        },
    ),
    "shmdt": (["m.detach()"], {"EINVAL": ArgumentError}),
    "shmctl": (
        ["m.number_attached", "m.uid = 0", "m.lock()", "m.unlock()"],
        {
            "EACCES": PermissionsError,
            "EFAULT": InternalError,
            "EIDRM": ExistentialError,
            "EINVAL": ExistentialError,
            "ENOMEM": OutOfMemoryError,
            "EOVERFLOW": Error,
            "EPERM": PermissionsError,
        },
    ),
    "msgget": (
        ["MessageQueue(q.key)", "MessageQueue(77, IPC_CREX)"],
        {
            "EACCES": PermissionsError,
            "EEXIST": ExistentialError,
            "ENOENT": ExistentialError,
            "ENOMEM": OutOfMemoryError,
            "ENOSPC": LimitError,
        },
    ),
    "msgsnd": (
        ["q.send('y')", "q.send('y', False)", "q.send_many(['y'])"],
        {
            "EACCES": PermissionsError,
            "EFAULT": InternalError,
            "EIDRM": ExistentialError,
            "ENOMEM": OutOfMemoryError,
        },
    ),
    "msgrcv": (
        ["q.receive(False)", "q.receive_into(bytearray(9), False)", "q.peek()"],
        {
            "E2BIG": ArgumentError,
            "EACCES": PermissionsError,
            "EFAULT": InternalError,
            "EIDRM": ExistentialError,
        },
    ),
    "msgctl": (
        ["q.current_messages", "q.max_size = 100", "q.info()"],
        {
            "EACCES": PermissionsError,
            "EFAULT": InternalError,
            "EIDRM": ExistentialError,
            "EINVAL": ExistentialError,
            "EPERM": PermissionsError,
        },
    ),
}

#: Rows of calls that may not wait.
BUSY = [
    ("semtimedop", "EAGAIN", "s.acquire(0)"),
    ("semtimedop", "EAGAIN", "z.op([(0, 1, IPC_NOWAIT)])"),
    ("msgsnd", "EAGAIN", "q.send('y', False)"),
    ("msgrcv", "ENOMSG", "q.receive(False)"),
    ("msgrcv", "ENOMSG", "q.receive_into(bytearray(9), False)"),
]
ROWS = BUSY + [
    (call, name, statement)
    for call, (statements, rows) in PAGES.items()
    for name in rows
    for statement in statements
]


@functools.cache
def calls_before(names: str) -> int:
    """Return how often the call is made before the statements begin."""
    command = ["strace", "-f", "-e", f"trace={names},write", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    remove_all(done.stdout)
    lines = re.findall(r"^(?:\[pid +\d+\] )?(\w+)\((.*)", done.stderr, re.MULTILINE)
    at = next(i for i, (_, arguments) in enumerate(lines) if '"now' in arguments)
    return sum(name != "write" for name, _ in lines[:at])


def remove_all(output: str) -> None:
    """Remove the objects whose ids are in the first line."""
    for name, number in ast.literal_eval(output.splitlines()[0]):
        with contextlib.suppress(ExistentialError):
            REMOVE[name](number)


@functools.cache
def outcomes_with_failing(call: str, name: str) -> dict[str, list[object]]:
    """Return the outcome of each statement of the rows if this call fails each time."""
    names = f"{call},semop" if call == "semtimedop" else call
    first = calls_before(names) + 1
    inject = f"inject={names}:error={name}:when={first}+"
    statements = [statement for *row, statement in ROWS if row == [call, name]]
    command = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={names}"]
    command += ["-e", inject, sys.executable, "-c", PROGRAM, *statements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    remove_all(done.stdout)
    outcomes: dict[str, list[object]] = ast.literal_eval(done.stdout.splitlines()[2])
    return outcomes


@pytest.mark.parametrize(("call", "name", "statement"), ROWS)
def test_a_row_of_the_man_pages_is_the_right_exception(
    call: str, name: str, statement: str
) -> None:
    expected = BusyError if name in ("EAGAIN", "ENOMSG") else PAGES[call][1][name]
    number = getattr(errno, name)
    told = outcomes_with_failing(call, name)[statement]
    assert told[:2] == [expected.__name__, number], told
    assert told[3] in ("semaphore", "shared memory", "message queue")
    # One whole text is that of 1.2.0.
    texts = (f"[Errno {number}] ", "The semaphore's value must remain between 0 and SEMVMX")
    assert str(told[2]).startswith(texts if name == "ERANGE" else texts[0])


# ------------------------------------------------ calls that are repeated

#: Create a set with a C function.
MADE = "ctypes.CDLL(None).semget(77, 1, 0o1600)"

#: Errors that mean "try again", from calls that always fail with them.
AGAIN = [
    ("shmctl:error=EINVAL", errno.EINVAL, "SharedMemory(77, IPC_CREAT, size=9)"),
    ("shmat:error=EIDRM", errno.EIDRM, "SharedMemory(77, IPC_CREAT, size=9)"),
    ("shmget:error=EEXIST", errno.EEXIST, "SharedMemory(None, IPC_CREX)"),
    ("msgget:error=EEXIST", errno.EEXIST, "MessageQueue(None, IPC_CREX)"),
    ("semget:error=EEXIST", errno.EEXIST, "Semaphore(None, IPC_CREX)"),
    ("semctl:error=EINVAL", errno.EIDRM, f"{MADE}; Semaphore(77)"),
    ("semctl:error=EIDRM", errno.EIDRM, f"{MADE}; SemaphoreSet(77, flags=IPC_CREAT)"),
    ("msgrcv:error=E2BIG", errno.E2BIG, "MessageQueue(IPC_PRIVATE).peek()"),
]


def under_injection(injection: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code under strace, in an IPC namespace that ends with it, with all objects in it."""
    command = ["unshare", "-i", "strace", "-f", "--seccomp-bpf", "-o", "/dev/null"]
    command += ["-e", f"trace={injection.partition(':')[0]}", "-e", f"inject={injection}"]
    command += [sys.executable, "-c", f"import ctypes, os, signal\nfrom sysv_ipc import *\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("injection", "number", "statement"), AGAIN)
def test_a_call_that_always_asks_for_a_retry_ends(
    injection: str, number: int, statement: str
) -> None:
    code = f"try: {statement}\nexcept Error as error: print(error.errno, error, flush=True)"
    code += "\nos._exit(0)"
    done = under_injection(injection, code)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{number} [Errno {number}] ")
    assert done.stdout.endswith(", tried 1000 times\n")


@pytest.mark.parametrize(("injection", "number", "statement"), AGAIN)
def test_a_call_that_is_retried_handles_signals(
    injection: str, number: int, statement: str
) -> None:
    """A thousand attempts take a minute here; the handler's exception arrives sooner."""
    code = (
        "def handler(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        f"try: {statement}\n"
        "except KeyboardInterrupt: print('interrupted', flush=True)\n"
        "os._exit(0)"
    )
    done = under_injection(f"{injection}:delay_enter=60000", code)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
