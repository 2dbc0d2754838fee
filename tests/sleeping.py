"""Whether a thread or a process sleeps in a system call, as /proc has it.

Programs of the tests import this too: it is to be imported in no time.
"""

from __future__ import annotations

import os
import sys

#: The numbers of the system calls on each machine, as they begin a line of /proc/PID/syscall.
#: i386 makes most of ours through one, ipc(2), whose first argument says which; C libraries with
#: a 64-bit time_t make newer ones.
_TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "semop": ("65",),
        "semtimedop": ("220",),
        "msgsnd": ("69",),
        "msgrcv": ("70",),
        "futex": ("202",),
        "clock_nanosleep": ("230",),
    },
    "i386": {
        "semop": ("117 0x1", "117 0x4"),
        "semtimedop": ("117 0x4", "420"),
        "msgsnd": ("117 0xb", "400"),
        "msgrcv": ("117 0xc", "401"),
        "futex": ("240", "422"),
        "clock_nanosleep": ("267", "407"),
    },
    "arm": {
        "semop": ("298", "312", "420"),
        "semtimedop": ("312", "420"),
        "msgsnd": ("301",),
        "msgrcv": ("302",),
        "futex": ("240", "422"),
        "clock_nanosleep": ("265", "407"),
    },
    "aarch64": {
        "semop": ("193",),
        "semtimedop": ("192",),
        "msgsnd": ("189",),
        "msgrcv": ("188",),
        "futex": ("98",),
        "clock_nanosleep": ("115",),
    },
    "s390x": {
        "semop": ("117 0x1", "117 0x4", "392"),
        "semtimedop": ("117 0x4", "392"),
        "msgsnd": ("117 0xb", "400"),
        "msgrcv": ("117 0xc", "401"),
        "futex": ("238",),
        "clock_nanosleep": ("262",),
    },
}
#: qemu-user makes those of its own machine, and semtimedop(2) in place of semop(2).
_QEMU = {**_TABLES["x86_64"], "semop": ("65", "220")}


def _table() -> dict[str, tuple[str, ...]]:
    """Return the numbers of this process, which may be one of 32 bits on a kernel of 64."""
    if os.environ.get("SYSV_IPC_TESTS_UNDER_QEMU"):
        return _QEMU
    machine = os.uname().machine
    if machine.startswith("arm") or (machine == "aarch64" and sys.maxsize < 2**32):
        return _TABLES["arm"]
    if machine in ("i386", "i586", "i686") or (machine == "x86_64" and sys.maxsize < 2**32):
        return _TABLES["i386"]
    return _TABLES[machine]


NUMBERS = _table()


def blocked_in_system_call(thread_id: int, *names: str) -> bool:
    """Whether a thread of this process sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/self/task/{thread_id}/syscall", *names)


def blocked_process(pid: int, *names: str) -> bool:
    """Whether a process of one thread sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/{pid}/syscall", *names)


def _sleeps_in(path: str, *names: str) -> bool:
    line = " ".join(_words(path)) + " "
    return any(line.startswith(f"{number} ") for name in names for number in NUMBERS[name])


def _words(path: str) -> list[str]:
    """Return the number of the system call and its arguments; another word where there is none."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split() or ["ended"]
    except OSError:
        return ["ended"]


def waits_for_number(thread_id: int) -> bool:
    """Whether a thread of this process sleeps in futex(2) as only waits for shared numbers do.

    The locks of interpreter and C library are private to the process: their operation is another.
    """
    words = _words(f"/proc/self/task/{thread_id}/syscall")
    return words[0] in NUMBERS["futex"] and words[2] == "0x0"
