"""Find out from /proc if a thread or a process sleeps in a system call."""

from __future__ import annotations

import system_calls

NUMBERS = system_calls.known()
#: The system calls in which the library waits; futex(2) has other purposes too.
WAITS = ("semop", "msgsnd", "msgrcv")
#: semop(2) and semtimedop(2) are one call here: C libraries, and qemu, make either of the other.
SEMOP = ("semop", "semtimedop")


def blocked_in_system_call(thread_id: int, *names: str) -> bool:
    """Return True if a thread of this process sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/self/task/{thread_id}/syscall", names)


def blocked_process(pid: int, *names: str) -> bool:
    """Return True if a process with one thread sleeps in one of these system calls."""
    return _sleeps_in(f"/proc/{pid}/syscall", names)


def waits_for_number(thread_id: int) -> bool:
    """Return True if a thread of this process sleeps in a wait for a shared number.

    Locks of the interpreter and the C library use FUTEX_PRIVATE_FLAG, unlike these waits.
    """
    words = _words(f"/proc/self/task/{thread_id}/syscall")
    return _is_call(words, "futex") and words[2] == "0x0"


def waits(thread_id: int, *, polling: bool = False) -> bool:
    """Return True if a thread of this process sleeps in any wait of the library, or polls."""
    names = (*WAITS, "clock_nanosleep") if polling else WAITS
    return blocked_in_system_call(thread_id, *names) or waits_for_number(thread_id)


def _sleeps_in(path: str, names: tuple[str, ...]) -> bool:
    words = _words(path)
    return any(_is_call(words, name) for name in names)


def _is_call(words: list[str], name: str) -> bool:
    return any(
        words[0] == str(number) and (first is None or int(words[1], 16) & 0xFFFF == first)
        for same in (SEMOP if name in SEMOP else (name,))
        for number, first in NUMBERS[same]
    )


def _words(path: str) -> list[str]:
    """Return the number of the system call and its arguments; another word if the thread runs."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split() or ["ended"]
    except OSError:
        return ["ended"]
