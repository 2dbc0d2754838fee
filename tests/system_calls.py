"""The numbers of system calls on this machine, from the kernel's headers by the C compiler.

On some machines most System V calls are one call, ipc(2), whose first argument selects them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

NAMES = (
    "semop", "semtimedop", "semctl", "shmctl", "msgsnd", "msgrcv", "msgctl", "futex",
    "clock_nanosleep", "madvise",
)  # fmt: skip
#: The variable that passes the numbers to the programs of the tests.  Under qemu-user it holds
#: the numbers of the host, from tools/other_machines.sh.
VARIABLE = "SYSV_IPC_TESTS_SYSTEM_CALLS"

Numbers = dict[str, list[tuple[int, int | None]]]

ONE = """
#ifdef __NR_{name}
"{name}" = __NR_{name}, -;
#endif
#ifdef __NR_{name}_time64
"{name}" = __NR_{name}_time64, -;
#endif
#if defined __NR_ipc && defined {upper}
"{name}" = __NR_ipc, {upper};
#endif
"""


def compiler() -> str:
    """Return the C compiler, or fail with the package to install."""
    program = shutil.which("cc") or shutil.which("gcc")
    assert program, "the tests need a C compiler: apt-get install gcc"
    return program


def find() -> Numbers:
    """Return the numbers that each call has, each with the first argument if it is ipc(2)'s."""
    source = "#include <sys/syscall.h>\n#include <linux/ipc.h>\n"
    source += "".join(ONE.format(name=name, upper=name.upper()) for name in NAMES)
    command = [compiler(), "-E", "-P", "-x", "c", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    found: Numbers = {name: [] for name in NAMES}
    for name, number, first in re.findall(r'"(\w+)"\s*=\s*(.*?),\s*(.*?);', done.stdout):
        # On ARM a number is defined as a sum.
        value = sum(map(int, re.findall(r"\d+", number)))
        found[name].append((value, None if first == "-" else int(first)))
    return found


def known() -> Numbers:
    """Return the result of find(), cached for this process and the programs that it starts."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = json.dumps(find())
    numbers: Numbers = json.loads(os.environ[VARIABLE])
    return numbers


if __name__ == "__main__":
    print(json.dumps(find()))
