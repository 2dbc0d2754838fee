"""How long the lists take of as many objects as the kernel allows.

All happens in an IPC namespace of its own (root, or a system that allows user namespaces).
In each round our list, the plain reading of /proc/sysvipc and ipcs(1) take turns; printed are
the medians, and the median of the ratios to the plain reading, which is what the kernel costs.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, SemaphoreSet, SharedMemory

ROUNDS = 9
CLONE_NEWIPC, CLONE_NEWUSER = 0x08000000, 0x10000000

#: What is listed: how many, how one is made, our list, the kernel's file, ipcs' option.
KINDS: dict[str, tuple[int, Callable[[], object], Callable[[], list[object]], str, str]] = {
    "queues": (
        32000,
        lambda: MessageQueue(None, IPC_CREX),
        lambda: [*sysv_ipc.message_queues()],
        "msg",
        "-q",
    ),
    "sets": (
        32000,
        lambda: SemaphoreSet(None, 1, IPC_CREX),
        lambda: [*sysv_ipc.semaphores()],
        "sem",
        "-s",
    ),
    "segments": (
        4096,
        lambda: SharedMemory(None, IPC_CREX, init_character=None),
        lambda: [*sysv_ipc.shared_memories()],
        "shm",
        "-m",
    ),
}


def enter_namespace() -> None:
    """Leave the machine's own objects alone."""
    flags = CLONE_NEWIPC if os.geteuid() == 0 else CLONE_NEWIPC | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise SystemExit(f"unshare(2): {os.strerror(ctypes.get_errno())}; run it as root")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    enter_namespace()
    print(f"{'':15}{'ours':>10}{'/proc':>10}{'ipcs':>10}{'ours to /proc':>15}")
    for name, (count, make, ours, table, option) in KINDS.items():
        for _ in range(count):
            make()
        path = Path("/proc/sysvipc") / table
        contestants: dict[str, Callable[[], object]] = {
            "ours": ours,
            "proc": path.read_bytes,
            "ipcs": lambda option=option: subprocess.run(  # type: ignore[misc]
                ["ipcs", option], stdout=subprocess.DEVNULL, check=True
            ),
        }
        rounds = [
            {contestant: seconds(call) for contestant, call in contestants.items()}
            for _ in range(ROUNDS)
        ]
        if len(ours()) != count:
            raise SystemExit(f"{len(ours())} {name} are listed, not {count}")
        times = "".join(
            f"{statistics.median(one[contestant] for one in rounds) * 1e3:7.1f} ms"
            for contestant in contestants
        )
        ratio = statistics.median(one["ours"] / one["proc"] for one in rounds)
        print(f"{count:6} {name:8}{times}{ratio:14.2f}x")


if __name__ == "__main__":
    main()
