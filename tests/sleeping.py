"""Whether a thread or a process sleeps in a system call, as /proc has it.

Programs of the tests import this too: it is to be imported in no time.
"""

from __future__ import annotations

NUMBERS = {
    "semop": 65,
    "semtimedop": 220,
    "msgsnd": 69,
    "msgrcv": 70,
    "futex": 202,
    "clock_nanosleep": 230,
}


def blocked_in_system_call(thread_id: int, *names: str) -> bool:
    """Whether a thread of this process sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/self/task/{thread_id}/syscall", *names)


def blocked_process(pid: int, *names: str) -> bool:
    """Whether a process of one thread sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/{pid}/syscall", *names)


def _sleeps_in(path: str, *names: str) -> bool:
    return _words(path)[0] in {str(NUMBERS[name]) for name in names}


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
    return words[0] == str(NUMBERS["futex"]) and words[2] == "0x0"
