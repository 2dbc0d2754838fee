"""What the system holds: every object of the IPC namespace, also what we may not read.

The kernel's own lists come from the C core; what only /proc knows is added here.
"""

import os

from ._core import (
    MessageQueueInfo,
    SemaphoreInfo,
    SemaphoreMemberInfo,
    SemaphoreSet,
    SharedMemoryInfo,
    _list_message_queues,
    _list_semaphores,
    _list_shared_memories,
)
from .errors import ExistentialError, PermissionsError

__all__ = ["message_queues", "semaphores", "shared_memories"]


def semaphores(*, members: bool = False) -> list[SemaphoreInfo]:
    """List all semaphore sets, one record each, in the order of the kernel's table.

    With members each record's ``members`` holds a SemaphoreMemberInfo for each member (value,
    last pid, waiters), or None for a set that the caller may not read.  See semctl(2).
    """
    records = _list_semaphores()
    if not members:
        return records
    return [SemaphoreInfo(tuple(record), {"members": _members(record)}) for record in records]


def shared_memories(*, pids: bool = False) -> list[SharedMemoryInfo]:
    """List all segments, one record each, in the order of the kernel's table.

    With pids each record's ``pids`` holds the processes that have the segment attached, as
    far as /proc shows them; ``pids_complete`` is False where another process could not be
    looked into, so that there may be more.  See shmctl(2) and proc(5).
    """
    memory = _resident_and_swapped()
    attached, complete = _attached() if pids else ({}, None)
    return [
        SharedMemoryInfo(
            (*tuple(record)[:-2], *memory.get(record.id, (None, None))),
            {
                "pids": tuple(sorted(attached.get(record.id, ()))) if pids else None,
                "pids_complete": complete,
            },
        )
        for record in _list_shared_memories()
    ]


def message_queues() -> list[MessageQueueInfo]:
    """List all message queues, one record each, in the order of the kernel's table.

    See msgctl(2).
    """
    return _list_message_queues()


def _members(record: SemaphoreInfo) -> tuple[SemaphoreMemberInfo, ...] | None:
    """Ask for each member of a set; None where that is not allowed or the set is gone."""
    try:
        # A list, not a generator: CPython 3.12 and 3.13 crash where memory for one is lacking.
        members = [
            SemaphoreMemberInfo(
                (
                    member.value,
                    member.last_pid,
                    member.waiting_for_nonzero,
                    member.waiting_for_zero,
                )
            )
            for member in SemaphoreSet.from_id(record.id)
        ]
    except (PermissionsError, ExistentialError):
        return None
    return tuple(members)


def _resident_and_swapped() -> dict[int, tuple[int, int]]:
    """Map the id of each segment to its bytes in memory and swapped out."""
    try:
        with open("/proc/sysvipc/shm", encoding="utf-8") as file:
            lines = file.readlines()
    except OSError:
        return {}
    columns = lines[0].split()
    id_at, resident_at, swapped_at = map(columns.index, ("shmid", "rss", "swap"))
    table = {}
    for line in lines[1:]:
        words = line.split()
        table[int(words[id_at])] = int(words[resident_at]), int(words[swapped_at])
    return table


def _attached() -> tuple[dict[int, set[int]], bool]:
    """Map the id of each segment to the processes that map it; whether all could be read."""
    table: dict[int, set[int]] = {}
    complete = True
    try:
        ours = os.readlink("/proc/self/ns/ipc")
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return table, False
    for pid in processes:
        try:
            # Another namespace has other segments with the same ids.
            if os.readlink(f"/proc/{pid}/ns/ipc") != ours:
                continue
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
                maps = file.readlines()
        except FileNotFoundError:
            continue  # It has ended.
        except ProcessLookupError:
            continue
        except OSError:
            complete = False
            continue
        for line in maps:
            # address perms offset dev inode path: a segment's inode is its id.
            words = line.split(maxsplit=5)
            if len(words) == 6 and words[5].startswith("/SYSV"):
                table.setdefault(int(words[4]), set()).add(pid)
    return table, complete
