"""Whether a thread or a process sleeps in a system call, as /proc has it."""

from __future__ import annotations

import system_calls

NUMBERS = system_calls.known()
#: The calls that the library waits in; futex(2) is there for other purposes too.
WAITS = ("semtimedop", "msgsnd", "msgrcv")


def blocked_in_system_call(thread_id: int, *names: str) -> bool:
    """Whether a thread of this process sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/self/task/{thread_id}/syscall", names)


def blocked_process(pid: int, *names: str) -> bool:
    """Whether a process of one thread sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/{pid}/syscall", names)


def waits_for_number(thread_id: int) -> bool:
    """Whether a thread of this process sleeps in futex(2) as only waits for shared numbers do.

    The locks of interpreter and C library are private to the process: their operation is another.
    """
    words = _words(f"/proc/self/task/{thread_id}/syscall")
    return _is_call(words, "futex") and words[2] == "0x0"


def waits(thread_id: int, *, polling: bool = False) -> bool:
    """Whether a thread of this process sleeps in any wait of the library, or polls."""
    names = (*WAITS, "clock_nanosleep") if polling else WAITS
    return blocked_in_system_call(thread_id, *names) or waits_for_number(thread_id)


def _sleeps_in(path: str, names: tuple[str, ...]) -> bool:
    words = _words(path)
    return any(_is_call(words, name) for name in names)


def _is_call(words: list[str], name: str) -> bool:
    # A C library, or qemu, makes semtimedop(2) in place of semop(2).
    numbers = NUMBERS[name] + (NUMBERS["semop"] if name == "semtimedop" else [])
    return any(
        words[0] == str(number) and (first is None or int(words[1], 16) & 0xFFFF == first)
        for number, first in numbers
    )


def _words(path: str) -> list[str]:
    """Return the number of the system call and its arguments; another word where there is none."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split() or ["ended"]
    except OSError:
        return ["ended"]
