"""What the lists of objects tell besides the kernel's tables: members, memory, processes.

Called by core/listing.c; the core imports it at the end of its own import, and hands itself
over when it calls: after ``del sys.modules[...]`` there may be several, each with classes of its
own.
"""

import os

# The import of the package is this one's too: it takes no more than it needs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from sysv_ipc import SemaphoreInfo, SemaphoreMemberInfo, SharedMemoryInfo


def with_members(
    core: "ModuleType", records: "list[SemaphoreInfo]", _: bool
) -> "list[SemaphoreInfo]":
    """Return the records with what each member of each set is."""
    return [
        core.SemaphoreInfo(tuple(record), {"members": _members(core, record)}) for record in records
    ]


def with_memory(
    core: "ModuleType", records: "list[SharedMemoryInfo]", pids: bool
) -> "list[SharedMemoryInfo]":
    """Return the records with what of each segment is in memory, and by whom it is attached."""
    memory = _resident_and_swapped()
    attached, complete = _attached() if pids else ({}, None)
    return [
        core.SharedMemoryInfo(
            (*tuple(record)[:-2], *memory.get(record.id, (None, None))),
            {
                "pids": tuple(sorted(attached.get(record.id, ()))) if pids else None,
                "pids_complete": complete,
            },
        )
        for record in records
    ]


def _members(
    core: "ModuleType", record: "SemaphoreInfo"
) -> "tuple[SemaphoreMemberInfo, ...] | None":
    """Ask for each member of a set; None where that is not allowed or the set is gone."""
    try:
        # A list, not a generator: CPython 3.12 and 3.13 crash where memory for one is lacking.
        members = [
            core.SemaphoreMemberInfo(
                (
                    member.value,
                    member.last_pid,
                    member.waiting_for_nonzero,
                    member.waiting_for_zero,
                )
            )
            for member in core.SemaphoreSet.from_id(record.id)
        ]
    except (core.PermissionsError, core.ExistentialError):
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
