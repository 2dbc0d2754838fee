"""Imitate Linux 4.16: seccomp(2) refuses newer calls with the error of that kernel."""

from __future__ import annotations

import ctypes
import errno
import struct
import sys
from collections.abc import Iterator

import pytest
import system_calls

#: Calls newer than Linux 4.16: name, the argument that holds the command, the command.
NEWER = [
    ("semctl", 2, 20),  # SEM_STAT_ANY
    ("shmctl", 1, 15),  # SHM_STAT_ANY
    ("msgctl", 1, 13),  # MSG_STAT_ANY
    ("madvise", 2, 23),  # MADV_POPULATE_WRITE
]

LOAD, AND, EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
REFUSE, ALLOW = 0x00050000 | errno.EINVAL, 0x7FFF0000
PR_GET_SECCOMP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 21, 22, 38, 2
#: The flag that the C library adds to the command on 32-bit machines.
IPC_64 = 0x100

LIBC = ctypes.CDLL(None, use_errno=True)
needs_seccomp = pytest.mark.skipif(
    LIBC.prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0,
    reason="needs Linux with seccomp(2), which qemu-user does not have",
)


def _argument(index: int) -> int:
    """Return the offset of the low 32 bits of an argument in struct seccomp_data."""
    return 16 + 8 * index + (4 if sys.byteorder == "big" else 0)


def _filter() -> Iterator[tuple[int, int, int, int]]:
    """Return instructions for each of NEWER; a call that does not match continues with the next."""
    for name, argument, command in NEWER:
        for number, first in system_calls.known()[name]:
            tests = [(0, number), (_argument(argument), command)]
            if first is not None:
                tests = [(0, number), (_argument(0), first), (_argument(argument + 1), command)]
            length = 3 * len(tests) + 1
            for i, (offset, value) in enumerate(tests):
                yield LOAD, 0, 0, offset
                yield AND, 0, 0, 0xFFFFFFFF if i == 0 else ~IPC_64 & 0xFFFFFFFF
                yield EQUAL, 0, length - 3 * (i + 1), value
            yield RETURN, 0, 0, REFUSE
    yield RETURN, 0, 0, ALLOW


def become_old() -> None:
    """Let calls of this process fail with EINVAL if Linux 4.16 lacks them."""
    program = list(_filter())
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    description = struct.pack("HP", len(program), ctypes.addressof(code))
    zero, one, filters = map(ctypes.c_ulong, (0, 1, SECCOMP_MODE_FILTER))
    if (
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0
        or LIBC.prctl(PR_SET_SECCOMP, filters, description, zero, zero) != 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")
