"""The three kinds of objects, their names on the command line, and how to find them."""

import contextlib
import errno
import grp
import pwd
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import sysv_ipc

from .output import PROGRAM, CommandError

#: SemaphoreInfo, SharedMemoryInfo or MessageQueueInfo.
Record = Any


class Kind(NamedTuple):
    """One of the three kinds of objects."""

    name: str
    noun: str
    #: List all objects; with True also members and attached processes, which takes longer.
    records: Callable[[bool], list[Record]]
    remove: Callable[[int], None]
    type: Any


SEM = Kind(
    "sem",
    "semaphore set",
    lambda detailed: sysv_ipc.semaphores(members=detailed),
    sysv_ipc.remove_semaphore,
    sysv_ipc.SemaphoreSet,
)
SHM = Kind(
    "shm",
    "segment",
    lambda detailed: sysv_ipc.shared_memories(pids=detailed),
    sysv_ipc.remove_shared_memory,
    sysv_ipc.SharedMemory,
)
MSG = Kind(
    "msg",
    "message queue",
    lambda _: sysv_ipc.message_queues(),
    sysv_ipc.remove_message_queue,
    sysv_ipc.MessageQueue,
)
KINDS = {kind.name: kind for kind in (SEM, SHM, MSG)}
#: Other names of the kinds; the letters are those of ipcs(1) and ipcrm(1).
KIND_ALIASES = {
    **dict.fromkeys(("s", "semaphore", "semaphores", "set"), "sem"),
    **dict.fromkeys(("m", "memory", "segment", "segments"), "shm"),
    **dict.fromkeys(("q", "queue", "queues", "message"), "msg"),
}


class Name(NamedTuple):
    """The name of an object: its key or its id."""

    what: str
    number: int

    def __str__(self) -> str:
        """Return the name as text."""
        if self.what == "id":
            return f"id {self.number}"
        return f"key {self.number} ({hexadecimal(self.number)})"

    @property
    def argument(self) -> str:
        """The name as an argument."""
        return f"id:{self.number}" if self.what == "id" else str(self.number)


def hexadecimal(key: int) -> str:
    """Return a key as ipcs(1) shows it: 0x0000002a."""
    return f"{key & 0xFFFFFFFF:#010x}"


def find(kind: Kind, name: Name, *, detailed: bool = False) -> Record:
    """Return the record of an object, readable or not."""
    record = _look_up(kind, name, detailed=detailed)
    if record is None and _is_there(kind, name):
        # It was created after the list was read, or the list hides it.
        record = _look_up(kind, name, detailed=detailed)
        if record is None:
            raise CommandError(
                f"the caller may not read the {kind.noun} with {name}, and this kernel (before"
                " Linux 4.17) hides such objects",
                f"run {PROGRAM} ls {kind.name} as its owner or as root",
                name="PermissionsError",
                errno=errno.EACCES,
            )
    if record is not None:
        return record
    cure = f"to list those that exist, run {PROGRAM} ls {kind.name}"
    number = errno.EINVAL
    if name.what == "key":
        cure += f"; to create it, run {PROGRAM} create {kind.name} --key {hexadecimal(name.number)}"
        number = errno.ENOENT
    other = Name("id" if name.what == "key" else "key", name.number)
    if other.number and _look_up(kind, other, detailed=False) is not None:
        cure += f"; did you mean {other.argument}?"
    raise CommandError(
        f"there is no {kind.noun} with {name}", cure, name="ExistentialError", errno=number
    )


def _look_up(kind: Kind, name: Name, *, detailed: bool) -> Record | None:
    with warnings.catch_warnings():
        # A missing object matters only if it is the one that find() looks for.
        warnings.simplefilter("ignore", RuntimeWarning)
        records = kind.records(detailed)
    for record in records:
        if getattr(record, name.what) == name.number:
            return record
    return None


def _is_there(kind: Kind, name: Name) -> bool:
    """Return True if an object exists, without reading the list."""
    if name.what == "key":
        return sysv_ipc.exists(name.number, kind.type)
    try:
        if kind is SHM:
            sysv_ipc.attach(name.number, None, sysv_ipc.SHM_RDONLY).detach()
        else:
            kind.type.from_id(name.number).info()
    except sysv_ipc.PermissionsError:
        return True
    except sysv_ipc.Error:
        return False
    return True


def require_the_same(kind: Kind, before: Record, doing: str) -> None:
    """Raise CommandError unless the id of a record still names the object of the record.

    Call this after opening by id: if the object is still the same one, it is the one that was
    opened, because a removed object does not return.  doing ends the sentence "was changed ...".
    """
    if not is_the_same(before, _record_now(kind, before.id)):
        raise CommandError(
            f"the {describe(kind, before)} was changed {doing}, or its id belongs to another object"
            " now; nothing was done",
            f"to see the object, run {PROGRAM} show {kind.name} id:{before.id}",
            name="ExistentialError",
            errno=errno.EIDRM,
        )


def _record_now(kind: Kind, id: int) -> Record:
    if kind is not SHM:
        # Attaching a segment would change its record.
        with contextlib.suppress(sysv_ipc.PermissionsError):
            return kind.type.from_id(id).info()
    return find(kind, Name("id", id))


def describe(kind: Kind, record: Record) -> str:
    """Return the kind, key and id of an object as text."""
    key = f"key {record.key} ({hexadecimal(record.key)})" if record.key else "no key"
    return f"{kind.noun} with {key}, id {record.id}"


def as_dict(kind: Kind, record: Record) -> dict[str, Any]:
    """Return all fields of a record by their names, with the kind."""
    visible, hidden = record.__reduce__()[1]
    fields = dict(zip(type(record).__match_args__, visible, strict=True)) | hidden
    if fields.get("members") is not None:
        names = sysv_ipc.SemaphoreMemberInfo.__match_args__
        fields["members"] = [dict(zip(names, one, strict=True)) for one in fields["members"]]
    return {"kind": kind.name, **fields}


def group(gid: int) -> str:
    """Return the name of a group, or the number if the group has no name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def symbolic(mode: int) -> str:
    """Return permission bits as ls(1) shows them: rw-r-----."""
    return "".join(
        letter if mode & (0o400 >> place) else "-" for place, letter in enumerate("rwx" * 3)
    )


def is_the_same(before: Record, now: Record) -> bool:
    """Return True if two records with the same id are of one object that was not changed.

    The second record is the later one.  The kernel uses ids again, so a decision that was made from
    the first record must not be applied to another object.
    """
    fixed = ("key", "uid", "gid", "cuid", "cgid", "mode", "last_change_time", "nsems", "size",
             "creator_pid")  # fmt: skip
    growing = ("last_operation_time", "last_attach_time", "last_detach_time", "last_send_time",
               "last_receive_time")  # fmt: skip
    return all(getattr(before, name, 0) == getattr(now, name, 0) for name in fixed) and all(
        getattr(before, name, 0) <= getattr(now, name, 0) for name in growing
    )


def user(uid: int) -> str:
    """Return the name of a user, or the number if the user has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
