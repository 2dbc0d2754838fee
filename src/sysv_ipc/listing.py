"""Fields of lists that are not in the kernel's tables: members, memory, processes.

src/core/listing.c calls this module.  The extension contains its code, and runs it at its first
use: see src/core/embedded.c.  It passes itself to each call: after ``del sys.modules[...]`` several
extensions may exist, each with its own classes.
"""

import os

# This module imports as little as possible, because its first use may be after chroot(2).  It uses
# lists instead of generators, because CPython 3.12 and 3.13 crash without memory for a generator.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from sysv_ipc._core import SemaphoreInfo, SemaphoreMemberInfo, SharedMemoryInfo

# Flags of memfd_create(2).  os lacks MFD_NOEXEC_SEAL, which vm.memfd_noexec=2 requires.
_MFD_CLOEXEC = 1
_MFD_HUGETLB = 4
_MFD_NOEXEC_SEAL = 8
_MFD_HUGE_SHIFT = 26


def with_members(
    core: "ModuleType", records: "list[SemaphoreInfo]", _: bool
) -> "list[SemaphoreInfo]":
    """Return the records with the members of each set, without sets that were removed."""
    told = []
    for record in records:
        try:
            members = _members(core, record)
        except core.ExistentialError:
            continue
        told.append(core.SemaphoreInfo(tuple(record), {"members": members}))
    return told


def with_memory(
    core: "ModuleType", records: "list[SharedMemoryInfo]", pids: bool
) -> "list[SharedMemoryInfo]":
    """Return the records with resident and swapped bytes, and with the attached processes."""
    mappings = _mappings(records) if pids else None
    # Read this after the processes: if number_attached is the same as before, it did not change.
    memory = _memory()
    told = []
    for record in records:
        if memory and record.id not in memory:
            continue  # The segment was removed.
        resident, swapped, attached_now = memory.get(record.id, (None, None, None))
        mapping = None if mappings is None else mappings.get(record.id, _Mapping())
        told.append(
            core.SharedMemoryInfo(
                (*tuple(record)[:-2], resident, swapped),
                {
                    "pids": None if mapping is None else tuple(sorted(mapping.pids)),
                    "pids_complete": None
                    if mapping is None
                    else _all_found(record.number_attached, attached_now, mapping.count),
                },
            )
        )
    return told


def processes() -> list[int]:
    """Return the processes of this IPC namespace that /proc shows.

    Raise OSError if /proc belongs to another PID namespace, whose numbers mean other processes.
    """
    if os.readlink("/proc/self") != str(os.getpid()):
        raise ProcessLookupError("/proc shows another PID namespace")
    try:
        # A thread may have a namespace of its own.
        ours = os.readlink("/proc/thread-self/ns/ipc")
    except FileNotFoundError:
        ours = os.readlink("/proc/self/ns/ipc")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                # Another namespace has other objects with the same ids.
                if os.readlink(f"/proc/{name}/ns/ipc") == ours:
                    found.append(int(name))
            except OSError:
                continue  # The process has ended, or may not be inspected.
    return found


def _members(
    core: "ModuleType", record: "SemaphoreInfo"
) -> "tuple[SemaphoreMemberInfo, ...] | None":
    """Return the members of a set, or None if the caller may not read it.

    Raise ExistentialError if the set was removed.
    """
    try:
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
    except core.PermissionsError:
        return None
    # If the length differs, the id belongs to another set now.
    return tuple(members) if len(members) == record.nsems else None


def _memory() -> dict[int, tuple[int, int, int]]:
    """Map each segment's id to resident bytes, swapped bytes and the number of attachments."""
    try:
        with open("/proc/sysvipc/shm", encoding="utf-8") as file:
            lines = file.readlines()
    except OSError:
        return {}
    columns = lines[0].split()
    places = [columns.index(name) for name in ("shmid", "rss", "swap", "nattch")]
    table = {}
    for line in lines[1:]:
        words = line.split()
        number, resident, swapped, attached = [int(words[place]) for place in places]
        table[number] = resident, swapped, attached
    return table


class _Mapping:
    """The processes that map a segment, and the number of mappings."""

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self.count = 0


def _all_found(attached: int, attached_now: int | None, found: int) -> bool:
    """Return True if the number of mappings found is the kernel's number of attachments.

    The kernel counts each mapping of each process: a forked child has its own mapping, and one
    that mprotect(2) or munmap(2) has split counts as several.
    """
    if attached == 0:
        return True
    return found == attached and attached_now in (None, attached)


def _mappings(records: "list[SharedMemoryInfo]") -> dict[int, _Mapping]:
    """Map the id of each segment to its mappings in the processes that can be inspected."""
    table: dict[int, _Mapping] = {}
    devices = _devices()
    segments = {record.id: record for record in records}
    seen: dict[int, list[list[bytes]]] = {}
    try:
        for pid in processes():
            try:
                with open(f"/proc/{pid}/maps", "rb") as file:
                    maps = file.read()
            except OSError:
                continue  # The process has ended, or may not be inspected.
            if b"/SYSV" in maps:
                lines = [line.split(maxsplit=5) for line in maps.splitlines()]
                seen[pid] = [words for words in lines if _is_segment(words, devices, segments)]
    except OSError:
        return {}
    for pid, lines in seen.items():
        shared = _borrows_memory(pid, seen)
        for words in lines:
            mapping = table.setdefault(int(words[4]), _Mapping())
            mapping.pids.add(pid)
            mapping.count += not shared
    return table


def _is_segment(
    words: list[bytes], devices: set[bytes], segments: "dict[int, SharedMemoryInfo]"
) -> bool:
    """Return True if a line of /proc/PID/maps is a mapping of a listed segment.

    The words are address, permissions, offset, device, inode and path.  A segment's inode is its
    id, and its path contains its key.  Any user can create a file with such a name and inode, but
    not on the kernel's internal device.
    """
    if len(words) < 6 or not words[5].startswith(b"/SYSV") or words[3] not in devices:
        return False
    record = segments.get(int(words[4]))
    if record is None:
        return False
    # A process that has changed its namespace still maps segments of the previous one.
    return record.marked_for_removal or words[5][5:13] == b"%08x" % (record.key & 0xFFFFFFFF)


def _devices() -> set[bytes]:
    """Return the devices of the kernel's internal file systems for segments, as written in maps.

    They are those of memfds.  A device that cannot be determined is left out.
    """
    sizes = [0]
    try:
        # hugepages-2048kB
        folders = os.listdir("/sys/kernel/mm/hugepages")
        sizes += [int(name[len("hugepages-") : -len("kB")]) * 1024 for name in folders]
    except (OSError, ValueError):
        pass
    devices = set()
    for size in sizes:
        flags = _MFD_HUGETLB | (size.bit_length() - 1) << _MFD_HUGE_SHIFT if size else 0
        device = _memfd_device(flags)
        if device is not None:
            devices.add(b"%02x:%02x" % (os.major(device), os.minor(device)))
    return devices or _device_of_shared_memory()


def _memfd_device(flags: int) -> int | None:
    """Return the device of a new memfd, or None if none can be created."""
    if not hasattr(os, "memfd_create"):
        return None
    for extra in (_MFD_NOEXEC_SEAL, 0):
        try:
            file = os.memfd_create("sysv_ipc", _MFD_CLOEXEC | flags | extra)
        except OSError:
            continue
        try:
            return os.fstat(file).st_dev
        finally:
            os.close(file)
    return None


def _device_of_shared_memory() -> set[bytes]:
    """Return the device of anonymous shared memory, which is also that of segments."""
    try:
        import mmap

        with mmap.mmap(-1, 1), open("/proc/self/maps", "rb") as file:
            lines = [line.split(maxsplit=5) for line in file]
    except (ImportError, OSError):
        return set()
    devices = {words[3] for words in lines if words[5:] == [b"/dev/zero (deleted)\n"]}
    return devices if len(devices) == 1 else set()


def _borrows_memory(pid: int, seen: dict[int, list[list[bytes]]]) -> bool:
    """Return True if a process is between vfork(2) and exec, and uses its parent's memory."""
    try:
        parent = int(_stat(f"/proc/{pid}")[1])
        if seen.get(parent) != seen[pid]:
            return False
        # The thread that called vfork(2) sleeps until exec, and no signal wakes it (state D).
        threads = os.listdir(f"/proc/{parent}/task")
        return b"D" in [_stat(f"/proc/{parent}/task/{thread}")[0] for thread in threads]
    except (OSError, IndexError):
        return False


def _stat(folder: str) -> list[bytes]:
    """Return the fields after the name in a stat file of /proc: state, parent, ..."""
    with open(f"{folder}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
