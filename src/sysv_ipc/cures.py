"""What an exception's notes say: the cure, with the facts that it needs from the system.

Called by core/error.c; the core imports it at the end of its own import.
"""

import errno as _errno
import os

from sysv_ipc._core import (
    _OPERATION_ATTACH,
    _OPERATION_CREATE,
    _OPERATION_LOCK,
    _OPERATION_OPEN,
    _OPERATION_RECEIVE_INTO,
    _OPERATION_RESIZE,
    _OPERATION_SEND,
    _OPERATION_UNLOCK,
    Error,
    limits,
)

#: For each ``kind``: the system's list of them, and the column of their ids there.
_KINDS = {
    "semaphore": ("sem", "semid"),
    "shared memory": ("shm", "shmid"),
    "message queue": ("msg", "msqid"),
}


def add_notes(error: Error, operation: int, verb: str, cls: type | None) -> None:
    """Add notes that say how to mend what was wrong with an object of a class.

    operation is one of the core's _OPERATION_ numbers, and verb what to call it.
    """
    for note in _notes(error, operation, verb, cls):
        error.add_note(note)


def _notes(error: Error, operation: int, verb: str, cls: type | None) -> list[str]:
    # ArgumentError is a ValueError.  After del sys.modules[...] the classes of the core that
    # calls may be others than those that are imported here.
    if error.errno in (_errno.EIDRM, _errno.EINVAL) and not isinstance(error, ValueError):
        # EIDRM with a message of this library means that the id names another object.
        return [] if error.errno == _errno.EIDRM and error._detail is not None else [_gone(error)]
    if error.kind not in _KINDS or error._detail is not None or cls is None:
        return []
    table, _ = _KINDS[error.kind]
    name = cls.__name__
    of_set = name == "SemaphoreSet"
    create = f"{name}({error.key}, {'nsems, ' if of_set else ''}"
    match error.errno:
        case _errno.EEXIST:
            return [
                f"To open the one that exists: {name}({error.key}); to open it or create it:"
                f" {create}IPC_CREAT)."
            ]
        case _errno.ENOENT:
            behind = "; flags come after nsems" if of_set else ""
            return [f"To create it: {create}IPC_CREX){behind}."]
        case _errno.EACCES | _errno.EPERM:
            return _permission_notes(error, operation, verb)
        case _errno.EINVAL if table == "shm" and operation == _OPERATION_CREATE:
            return [
                f"A new segment needs a size of 1 to kernel.shmmax bytes (now {limits().shmmax}),"
                " and with SHM_HUGETLB a size of huge pages that this system has (see"
                " /sys/kernel/mm/hugepages)."
            ]
        case _errno.EINVAL if table == "sem" and operation == _OPERATION_CREATE:
            return [
                "A new set has from 1 to SEMMSL members (kernel.sem, first number: now"
                f" {limits().semmsl})."
            ]
        case _errno.EINVAL if table == "msg" and operation == _OPERATION_SEND:
            return [f"A message may have at most kernel.msgmax bytes (now {limits().msgmax})."]
        case _errno.EINVAL if table == "shm" and operation == _OPERATION_ATTACH:
            return [
                "The address must be a multiple of PAGE_SIZE (or pass SHM_RND) and the place"
                " there free; None lets the kernel choose."
            ]
        case _errno.E2BIG if operation == _OPERATION_RECEIVE_INTO:
            return [
                "The message is still queued.  It is longer than the buffer: truncate=True takes"
                " its beginning, a longer buffer all of it."
            ]
        case _errno.E2BIG if table == "msg":
            return [
                "The message is still queued.  It is longer than this handle's"
                " max_message_size: truncate=True takes its beginning, receive_into() or a handle"
                " with a larger max_message_size all of it."
            ]
        case _errno.ENOSPC:
            return [_limit_note(table)]
        case _errno.ENOMEM if table == "shm":
            return [
                "The system does not have that much memory to promise, or no address space"
                " for it, or no free huge pages (vm.nr_hugepages)."
            ]
    return []


def _gone(error: Error) -> str:
    """Return why no object has the id of an error."""
    if error.id is not None and error.id < 0:
        return "An id is never negative."
    # Handles know the key of their object; an id that names nothing has none.
    never = "never existed, or " if error.errno == _errno.EINVAL and error.key is None else ""
    return (
        f"The object {never}was removed.  systemd removes a user's objects at the end of the"
        " user's last session: see RemoveIPC in logind.conf(5)."
    )


def _permission_notes(error: Error, operation: int, verb: str) -> list[str]:
    """Compare the object's owner and mode with ours."""
    record = _record(error)
    if record is None:
        if error.errno == _errno.EPERM and operation == _OPERATION_CREATE:
            return [
                "Huge pages (SHM_HUGETLB) are for processes with CAP_IPC_LOCK, and for the group"
                f" vm.hugetlb_shm_group{_now('vm/hugetlb_shm_group')}."
            ]
        return []
    mode = int(record["perms"], 8) & 0o777
    another = _another_now(error, record)
    note = another + (
        f"It belongs to uid {record['uid']}, gid {record['gid']} with mode {mode:#o} (created by"
        f" uid {record['cuid']}, gid {record['cgid']}); we are uid {os.geteuid()}, gid"
        f" {os.getegid()}."
    )
    if another:
        return [note]
    if error.errno == _errno.EPERM and operation == _OPERATION_RESIZE:
        note += (
            "  To set max_size above kernel.msgmnb"
            f" (now {limits().msgmnb}) takes CAP_SYS_RESOURCE besides."
        )
    if error.errno == _errno.EPERM and operation == _OPERATION_LOCK and _our_part(record) == 0o700:
        return [
            f"{note}  To lock it takes CAP_IPC_LOCK, or a limit RLIMIT_MEMLOCK above 0 (ulimit -l)."
        ]
    if error.errno == _errno.EPERM:
        others = (
            "those with CAP_IPC_LOCK"
            if operation in (_OPERATION_LOCK, _OPERATION_UNLOCK)
            else "root"
        )
        return [f"{note}  Only its owner, its creator and {others} may {verb} it."]
    if operation in (_OPERATION_OPEN, _OPERATION_ATTACH) and mode & _our_part(record) & 0o444:
        how = "flags=SHM_RDONLY attaches" if operation == _OPERATION_ATTACH else "mode=0o400 opens"
        return [f"{note}  Reading is allowed: {how} it read-only."]
    return [note]


def _another_now(error: Error, record: dict[str, str]) -> str:
    """Say so where the id has passed to an object with another key: it is not what was meant."""
    key = int(record["key"]) & 0xFFFFFFFF
    # A segment that is marked for removal has lost its key.
    marked = int(record["perms"], 8) & 0o1000
    if error.key is None or marked or key == error.key & 0xFFFFFFFF:
        return ""
    return f"The id is another object's now, with key {key:#010x}.  "


def _now(name: str) -> str:
    """Tell what a sysctl holds, in parentheses, where it can be read."""
    try:
        with open(f"/proc/sys/{name}", encoding="utf-8") as file:
            return f" (now {file.read().strip()})"
    except OSError:
        return ""


def _our_part(record: dict[str, str]) -> int:
    """Return the bits of the mode that count for us: owner's, group's or others'."""
    if os.geteuid() in (int(record["uid"]), int(record["cuid"])):
        return 0o700
    if {int(record["gid"]), int(record["cgid"])} & {os.getegid(), *os.getgroups()}:
        return 0o070
    return 0o007


def _limit_note(table: str) -> str:
    """Name the limits that make ENOSPC: value, use and sysctl of each."""
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
    """Find the object in the system's list, which also shows what we may not read."""
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
