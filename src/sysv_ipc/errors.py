"""The exception classes: which errno raises which, what they say, and the cure.

The C core hands :func:`make` an errno, an operation and a subject; all that a reader of a
traceback sees is decided here.
"""

from __future__ import annotations

import errno as _errno
import os

__all__ = [
    "ArgumentError",
    "BusyError",
    "CancelledError",
    "Error",
    "ExistentialError",
    "InternalError",
    "KeyTypeError",
    "LimitError",
    "NotAttachedError",
    "OutOfMemoryError",
    "PermissionsError",
    "ReadOnlyError",
]


class Error(OSError):
    """The base of all errors of this library.

    ``errno`` and ``strerror`` are the C library's; ``kind``, ``key`` and ``id`` tell what
    object it was about, each None where unknown.
    """

    #: (kind, key, id) of the object.
    _about: tuple[str | None, int | None, int | None] = (None, None, None)
    #: What was wrong, in place of a description of the object.
    _detail: str | None = None

    @property
    def kind(self) -> str | None:
        """The kind of object: "semaphore", "shared memory" or "message queue"."""
        return self._about[0]

    @property
    def key(self) -> int | None:
        """The object's key."""
        return self._about[1]

    @property
    def id(self) -> int | None:
        """The object's id."""
        return self._about[2]

    def __str__(self) -> str:
        """Return the C library's text, then what it was about."""
        text = super().__str__()
        about = self._detail or _describe(*self._about)
        return f"{text}: {about}" if about and self.strerror else text


class PermissionsError(Error, PermissionError):
    """The caller may not create, open, attach, use, change or remove it (EACCES, EPERM)."""


class ExistentialError(Error):
    """It exists, or does not, or not any more (EEXIST, ENOENT, EIDRM, and EINVAL for an id)."""


class BusyError(Error, TimeoutError):
    """The call would have to wait and may not, or waited until the timeout (EAGAIN, ENOMSG)."""


class ArgumentError(Error, ValueError):
    """A value that the kernel or this library refuses (EINVAL, E2BIG, ERANGE, EFBIG)."""


class KeyTypeError(ArgumentError, TypeError):
    """A key of a type that is no key (EINVAL)."""


class LimitError(Error):
    """One of the system's limits is reached (ENOSPC)."""


class OutOfMemoryError(Error, MemoryError):
    """There is not enough memory (ENOMEM)."""


class NotAttachedError(Error):
    """The segment is not attached by this handle."""


class ReadOnlyError(Error):
    """A write through a read-only attachment."""


class CancelledError(Error):
    """Another thread ended the wait with ``cancel()`` (ECANCELED)."""


class InternalError(Error):
    """A bug in this library."""


for _name in __all__:
    globals()[_name].__module__ = "sysv_ipc"

_CLASSES: dict[int, type[Error]] = {
    _errno.EACCES: PermissionsError,
    _errno.EPERM: PermissionsError,
    _errno.ENOENT: ExistentialError,
    _errno.EEXIST: ExistentialError,
    _errno.EIDRM: ExistentialError,
    _errno.EAGAIN: BusyError,
    _errno.ENOMSG: BusyError,
    _errno.EINVAL: ArgumentError,
    _errno.E2BIG: ArgumentError,
    _errno.ERANGE: ArgumentError,
    _errno.EFBIG: ArgumentError,
    _errno.ENOSPC: LimitError,
    _errno.ENOMEM: OutOfMemoryError,
    _errno.ECANCELED: CancelledError,
    _errno.EFAULT: InternalError,
}

#: In the order of ``kind``: the class that opens it, the flag-free way to open, and where the
#: system lists it.
_KINDS = {
    "semaphore": ("Semaphore", "sem", "semid"),
    "shared memory": ("SharedMemory", "shm", "shmid"),
    "message queue": ("MessageQueue", "msg", "msqid"),
}


def make(
    errno: int,
    operation: str,
    about: tuple[str | None, int | None, int | None],
    detail: str | None = None,
    class_name: str | None = None,
) -> Error:
    """Make the exception for an errno.

    operation is what was tried, in words; about is (kind, key, id); detail says what was
    wrong where the C library's text does not; class_name overrides the errno's class.  A
    detail that begins with "=" is the whole text, for programs that compare it.
    """
    cls = globals()[class_name] if class_name else _CLASSES.get(errno, Error)
    whole = not errno or (detail is not None and detail.startswith("="))
    error: Error
    if whole:
        error = cls((detail or "").removeprefix("="))
        error.errno = errno or None
    else:
        error = cls(errno, os.strerror(errno))
        error._detail = detail
    error._about = about
    if errno == _errno.EINVAL and cls is ExistentialError:
        error._detail = f"{_describe(*about)} no longer exists"
    for note in _notes(error, operation):
        error.add_note(note)
    return error


def _describe(kind: str | None, key: int | None, id: int | None) -> str | None:
    """Name an object in words."""
    if kind is None:
        return None
    if key is not None and key != 0:
        return f"{kind} with key {key} ({key & 0xFFFFFFFF:#x})"
    if id is not None:
        return f"{kind} with id {id}"
    return kind


# ------------------------------------------------------------------------------- the cures


def _notes(error: Error, operation: str) -> list[str]:
    """Tell how to mend what was wrong."""
    if isinstance(error, ExistentialError) and error.errno in (_errno.EIDRM, _errno.EINVAL):
        return [_GONE]
    if error.kind not in _KINDS or error._detail is not None:
        return []
    opener, table, _ = _KINDS[error.kind]
    match error.errno:
        case _errno.EEXIST:
            return [
                f"To open the one that exists: {opener}({error.key}); to open it or create it:"
                f" {opener}({error.key}, IPC_CREAT)."
            ]
        case _errno.ENOENT:
            return [f"To create it: {opener}({error.key}, IPC_CREX)."]
        case _errno.EACCES | _errno.EPERM:
            return _permission_notes(error, operation)
        case _errno.EINVAL if table == "shm" and operation == "create":
            return [
                f"A new segment needs a size of 1 to kernel.shmmax bytes (now {_sysctl('shmmax')})."
            ]
        case _errno.EINVAL if table == "msg" and operation == "send":
            return [f"A message may have at most kernel.msgmax bytes (now {_sysctl('msgmax')})."]
        case _errno.EINVAL if table == "shm" and operation == "attach":
            return [
                "The address must be a multiple of PAGE_SIZE (or pass SHM_RND) and the place"
                " there free; None lets the kernel choose."
            ]
        case _errno.E2BIG if table == "msg":
            return [
                "The message is still queued.  It is longer than this handle's"
                " max_message_size: open the queue again with a larger one to take it."
            ]
        case _errno.ENOSPC:
            return [_limit_note(table)]
        case _errno.ENOMEM if table == "shm":
            return [
                "The system does not have that much memory to promise, or no address space"
                " for it, or no free huge pages (vm.nr_hugepages)."
            ]
    return []


_GONE = (
    "Somebody has removed it.  Where systemd runs, a user's objects are removed when the user's"
    " last session ends: see RemoveIPC in logind.conf(5)."
)


def _permission_notes(error: Error, operation: str) -> list[str]:
    """Compare the object's owner and mode with ours."""
    record = _record(error)
    if record is None:
        return []
    mode = int(record["perms"], 8) & 0o777
    note = (
        f"It belongs to uid {record['uid']}, gid {record['gid']} with mode {mode:#o} (created by"
        f" uid {record['cuid']}, gid {record['cgid']}); we are uid {os.geteuid()}, gid"
        f" {os.getegid()}."
    )
    if error.errno == _errno.EPERM:
        return [f"{note}  Only its owner, its creator and root may {operation} it."]
    if operation in ("open", "attach") and mode & 0o444:
        return [f"{note}  Where reading is allowed, mode=0o400 opens it read-only."]
    return [note]


def _limit_note(table: str) -> str:
    """Name the limits that make ENOSPC, and their values now."""
    if table == "sem":
        sem = (_sysctl("sem") or "? ? ? ?").split()
        return (
            "The limits are kernel.sem: SEMMNI, sets in the system (its fourth number, now"
            f" {sem[3]}), and SEMMNS, semaphores in all of them (its second, now {sem[1]})."
        )
    if table == "shm":
        return (
            f"The limits are kernel.shmmni, segments in the system (now {_sysctl('shmmni')}),"
            f" and kernel.shmall, pages in all of them (now {_sysctl('shmall')})."
        )
    return f"The limit is kernel.msgmni, queues in the system (now {_sysctl('msgmni')})."


def _sysctl(name: str) -> str | None:
    """Read one of the kernel's limits; None where the system has no such file."""
    try:
        with open(f"/proc/sys/kernel/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _record(error: Error) -> dict[str, str] | None:
    """Find the object in the system's list, which also shows what we may not read."""
    _, table, id_column = _KINDS[error.kind or ""]
    try:
        with open(f"/proc/sysvipc/{table}", encoding="ascii") as file:
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
