"""An IPC namespace for the tests, so that nothing touches the objects of the machine."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

CLONE_NEWIPC, CLONE_NEWUSER = 0x08000000, 0x10000000


def enter(*, as_root: bool = False) -> None:
    """Move this process into a new IPC namespace; raise OSError if the system does not allow it.

    A process without that right also gets a user namespace, as itself or as root: only
    root may change the limits under /proc/sys/kernel.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        raise OSError(errno.ENOSYS, "this system has no unshare(2)")
    if libc.unshare(CLONE_NEWIPC) == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWIPC | CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare(2) failed, run it as root: {os.strerror(number)}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{0 if as_root else uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{0 if as_root else gid} {gid} 1")
