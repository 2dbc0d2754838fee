"""The exception classes: which errno raises which, and what they say.

The C core hands :func:`make` an errno, an operation and a subject; all that a reader of a
traceback sees is decided here and in cures.py.
"""

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
    if errno == _errno.EINVAL and cls is ExistentialError and detail is None:
        error._detail = f"{_describe(*about)} no longer exists"
    try:
        # Only here: it is not needed before, and whatever keeps the cure away, such as a
        # standard library that is out of reach after chroot(2), must not hide the error.
        from .cures import notes

        for note in notes(error, operation):
            error.add_note(note)
    except Exception:
        pass
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
