"""A kernel that does not know yet what came later: seccomp(2) refuses it with the same error."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

import pytest

#: What is newer than Linux 4.16: name, the argument that holds the command, the command.
NEWER = [
    ("semctl", 2, 20),  # SEM_STAT_ANY
    ("shmctl", 1, 15),  # SHM_STAT_ANY
    ("msgctl", 1, 13),  # MSG_STAT_ANY
    ("madvise", 2, 23),  # MADV_POPULATE_WRITE
]
NUMBERS = {
    "x86_64": {"semctl": 66, "shmctl": 31, "msgctl": 71, "madvise": 28},
    "aarch64": {"semctl": 191, "shmctl": 195, "msgctl": 187, "madvise": 233},
}.get(os.uname().machine if struct.calcsize("P") == 8 else "32 bits", {})
needs_numbers = pytest.mark.skipif(
    not NUMBERS, reason="needs x86_64 or aarch64, whose numbers of system calls are known"
)

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050000 | errno.EINVAL, 0x7FFF0000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


def become_old() -> None:
    """Let this process be answered with EINVAL where it asks for what Linux 4.16 lacks."""
    program = []
    for name, argument, command in NEWER:
        program += [
            (LOAD, 0, 0, 0),
            (EQUAL, 0, 3, NUMBERS[name]),
            (LOAD, 0, 0, 16 + 8 * argument),
            (EQUAL, 0, 1, command),
            (RETURN, 0, 0, REFUSE),
        ]
    program.append((RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    description = struct.pack("HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    zero, one, filters = map(ctypes.c_ulong, (0, 1, SECCOMP_MODE_FILTER))
    if (
        libc.prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0
        or libc.prctl(PR_SET_SECCOMP, filters, description, zero, zero) != 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")
