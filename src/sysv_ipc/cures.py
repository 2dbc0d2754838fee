"""The notes of exceptions: what to do, with facts about the object and the system.

src/core/error.c calls add_notes().  The extension contains the code of this module, and runs it at
its first use: see src/core/embedded.c.
"""

import os

from sysv_ipc._core import (
    _OPERATION_ACQUIRE,
    _OPERATION_ATTACH,
    _OPERATION_CREATE,
    _OPERATION_LOCK,
    _OPERATION_OPEN,
    _OPERATION_PEEK,
    _OPERATION_READ,
    _OPERATION_RECEIVE,
    _OPERATION_RECEIVE_INTO,
    _OPERATION_RELEASE,
    _OPERATION_RESIZE,
    _OPERATION_SEND,
    _OPERATION_SET_VALUE,
    _OPERATION_STAT,
    _OPERATION_UNLOCK,
    _OPERATION_ZERO,
    Error,
    limits,
)

#: For each ``kind``: the table in /proc/sysvipc, and the name of its id column.
_KINDS = {
    "semaphore": ("sem", "semid"),
    "shared memory": ("shm", "shmid"),
    "message queue": ("msg", "msqid"),
}

#: The right that an operation needs; the others may need both.
_RIGHTS = dict.fromkeys(
    (
        _OPERATION_PEEK,
        _OPERATION_READ,
        _OPERATION_RECEIVE,
        _OPERATION_RECEIVE_INTO,
        _OPERATION_STAT,
        _OPERATION_ZERO,
    ),
    "r",
) | dict.fromkeys(
    (_OPERATION_ACQUIRE, _OPERATION_RELEASE, _OPERATION_SEND, _OPERATION_SET_VALUE), "w"
)


def add_notes(error: Error, operation: int, verb: str, cls: type | None) -> None:
    """Add notes that say what to do.

    operation is one of the core's _OPERATION_ numbers, verb its name in a sentence.  cls is the
    class of the handle.
    """
    for note in _notes(error, operation, verb, cls):
        error.add_note(note)


def _notes(error: Error, operation: int, verb: str, cls: type | None) -> list[str]:
    # Imports at the top of this module are few, because its first use may be after chroot(2).
    import errno

    # ValueError is the base class of ArgumentError.  After del sys.modules[...] the extension that
    # calls may have other classes than the one imported here.
    if error.errno in (errno.EIDRM, errno.EINVAL) and not isinstance(error, ValueError):
        # EIDRM with a message of this library means that the id names another object.
        return [] if error.errno == errno.EIDRM and error._detail is not None else [_gone(error)]
    if error.kind not in _KINDS or error._detail is not None or cls is None:
        return []
    table, _ = _KINDS[error.kind]
    name = cls.__name__
    of_set = name == "SemaphoreSet"
    create = f"{name}({error.key}, {'nsems, ' if of_set else ''}"
    match error.errno:
        case errno.EEXIST:
            return [
                f"To open the existing one: {name}({error.key}); to open it or create it:"
                f" {create}IPC_CREAT)."
            ]
        case errno.ENOENT:
            behind = "; nsems comes before flags" if of_set else ""
            return [f"To create it: {create}IPC_CREX){behind}."]
        case errno.EACCES | errno.EPERM:
            return _permission_notes(error, operation, verb)
        case errno.EINVAL if table == "shm" and operation == _OPERATION_CREATE:
            return [
                f"A new segment has 1 to kernel.shmmax bytes (now {limits().shmmax}).  With"
                " SHM_HUGETLB, this system must have huge pages of the requested size (see"
                " /sys/kernel/mm/hugepages)."
            ]
        case errno.EINVAL if table == "sem" and operation == _OPERATION_CREATE:
            return [
                "A new set has 1 to SEMMSL members (kernel.sem, first number: now"
                f" {limits().semmsl})."
            ]
        case errno.EINVAL if table == "msg" and operation == _OPERATION_SEND:
            return [f"A message has at most kernel.msgmax bytes (now {limits().msgmax})."]
        case errno.EINVAL if table == "shm" and operation == _OPERATION_ATTACH:
            return [
                "The address must be a multiple of PAGE_SIZE (or pass SHM_RND), and nothing may be"
                " mapped there.  Without an address the kernel chooses one."
            ]
        case errno.E2BIG if operation == _OPERATION_RECEIVE_INTO:
            return [
                "The message is still queued.  It is longer than the buffer: use a longer one, or"
                " truncate=True to receive its beginning."
            ]
        case errno.E2BIG if table == "msg":
            return [
                "The message is still queued.  It is longer than this handle's max_message_size:"
                " open the queue with a larger max_message_size, use receive_into(), or pass"
                " truncate=True to receive its beginning."
            ]
        case errno.ENOSPC:
            return [_limit_note(table)]
        case errno.ENOMEM if table == "shm":
            return [
                "The system lacks memory (vm.overcommit_memory), address space, or free huge pages"
                " (vm.nr_hugepages) for the segment."
            ]
    return []


def _gone(error: Error) -> str:
    """Return why no object has the id of an error."""
    import errno

    if error.id is not None and error.id < 0:
        return "An id is never negative."
    # Handles know the key of their object; an id that names nothing has none.
    never = "never existed, or " if error.errno == errno.EINVAL and error.key is None else ""
    return (
        f"The object {never}was removed.  systemd removes a user's objects at the end of the"
        " user's last session: see RemoveIPC in logind.conf(5)."
    )


def _permission_notes(error: Error, operation: int, verb: str) -> list[str]:
    """Compare the object's owner and mode with the caller's uid and gid."""
    import errno

    record = _record(error)
    if record is None:
        if error.errno == errno.EPERM and operation == _OPERATION_CREATE:
            return [
                "Huge pages (SHM_HUGETLB) require CAP_IPC_LOCK or membership in the group"
                f" vm.hugetlb_shm_group{_now('vm/hugetlb_shm_group')}."
            ]
        return []
    mode = int(record["perms"], 8) & 0o777
    another = _another_now(error, record)
    note = another + (
        f"It belongs to uid {record['uid']}, gid {record['gid']} with mode {mode:#o} (created by"
        f" uid {record['cuid']}, gid {record['cgid']}); this process has uid {os.geteuid()}, gid"
        f" {os.getegid()}{_groups()}."
    )
    if another:
        return [note]
    if error.errno == errno.EPERM and operation == _OPERATION_RESIZE:
        note += (
            "  A max_size above kernel.msgmnb"
            f" (now {limits().msgmnb}) also requires CAP_SYS_RESOURCE."
        )
    if error.errno == errno.EPERM and operation == _OPERATION_LOCK and _our_part(record) == 0o700:
        return [f"{note}  Locking it requires CAP_IPC_LOCK, or RLIMIT_MEMLOCK above 0 (ulimit -l)."]
    if error.errno == errno.EPERM:
        others = (
            "processes with CAP_IPC_LOCK"
            if operation in (_OPERATION_LOCK, _OPERATION_UNLOCK)
            else "root"
        )
        return [f"{note}  Only its owner, its creator and {others} may {verb} it."]
    if operation in (_OPERATION_OPEN, _OPERATION_ATTACH) and mode & _our_part(record) & 0o444:
        how = "flags=SHM_RDONLY attaches" if operation == _OPERATION_ATTACH else "mode=0o400 opens"
        note += f"  Reading is allowed: {how} it read-only."
    return [note + _permission(error, operation, record)]


def _groups() -> str:
    """Return the supplementary groups of this process, or "" if there are none."""
    groups = sorted({*os.getgroups()} - {os.getegid()})
    return f", groups {', '.join(map(str, groups))}" if groups else ""


def _permission(error: Error, operation: int, record: dict[str, str]) -> str:
    """Return a sentence with the commands that give the right that lacks, or "" if none does."""
    ours, mode = _our_part(record), int(record["perms"], 8)
    bits = {"r": 0o444, "w": 0o222}
    needed = _RIGHTS.get(operation, "rw")
    if not any(ours & bits[right] & ~mode for right in needed):
        return ""
    table, id_column = _KINDS[error.kind or ""]
    key = int(record["key"]) & 0xFFFFFFFF
    name = f"{table} {f'{key:#x}' if key else f'id:{record[id_column]}'}"
    if ours == 0o700:
        return f"  To allow it: `sysv-ipc chmod u+{needed} {name}`."
    commands = []
    if any(0o070 & bits[right] & ~mode for right in needed):
        commands.append(f"`sysv-ipc chmod g+{needed} {name}`")
    if ours == 0o007:
        commands.append(f"`sysv-ipc chown :GROUP {name}`, with a group of this process")
    return f"  Its owner or root can allow it: {', and '.join(commands)}."


def _another_now(error: Error, record: dict[str, str]) -> str:
    """Return a sentence if the id belongs to an object with another key now, otherwise ""."""
    key = int(record["key"]) & 0xFFFFFFFF
    # A segment that is marked for removal has no key.
    marked = int(record["perms"], 8) & 0o1000
    if error.key is None or marked or key == error.key & 0xFFFFFFFF:
        return ""
    return f"The id belongs to another object now, with key {key:#010x}.  "


def _now(name: str) -> str:
    """Return the value of a sysctl in parentheses, or "" if it cannot be read."""
    try:
        with open(f"/proc/sys/{name}", encoding="utf-8") as file:
            return f" (now {file.read().strip()})"
    except OSError:
        return ""


def _our_part(record: dict[str, str]) -> int:
    """Return the mask of the mode bits that apply to this process: owner, group or others."""
    if os.geteuid() in (int(record["uid"]), int(record["cuid"])):
        return 0o700
    if {int(record["gid"]), int(record["cgid"])} & {os.getegid(), *os.getgroups()}:
        return 0o070
    return 0o007


def _limit_note(table: str) -> str:
    """Return the limits that cause ENOSPC: value, use and sysctl of each."""
    now = limits()
    match table:
        case "sem":
            return (
                f"{now.semaphore_sets} of {now.semmni} semaphore sets exist (kernel.sem, fourth"
                f" number: SEMMNI), with {now.semaphores} of {now.semmns} semaphores (second"
                " number: SEMMNS)."
            )
        case "shm":
            return (
                f"{now.segments} of {now.shmmni} segments exist (kernel.shmmni), with"
                f" {now.pages} of {now.shmall} pages (kernel.shmall)."
            )
    return f"{now.queues} of {now.msgmni} message queues exist (kernel.msgmni)."


def _record(error: Error) -> dict[str, str] | None:
    """Find the object in /proc/sysvipc, which also lists objects that may not be read."""
    table, id_column = _KINDS[error.kind or ""]
    try:
        with open(f"/proc/sysvipc/{table}", encoding="utf-8") as file:
            columns = file.readline().split()
            for line in file:
                record = dict(zip(columns, line.split(), strict=False))
                if error.id is not None and int(record[id_column]) == error.id:
                    return record
                if error.id is None and error.key and int(record["key"]) == error.key:
                    return record
    except OSError:
        pass
    return None
