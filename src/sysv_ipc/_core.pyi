# ruff: noqa: N802
"""The extension.  The package exports its public names."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, Self, SupportsFloat, SupportsIndex, TypeVar, final, overload

from sysv_ipc._types import (
    BoolFormat,
    BoolName,
    Buffer,
    BytesFormat,
    DTypeLike,
    Float32Name,
    Float64Name,
    FloatFormat,
    Int32Name,
    Int64Name,
    IntegerFormat,
    NDArray,
    UInt8Name,
    UInt32Name,
    UInt64Name,
    bool_,
    disjoint_base,
    dtype,
    float32,
    float64,
    generic,
    int32,
    int64,
    int_,
    uint8,
    uint32,
    uint64,
)

_Scalar = TypeVar("_Scalar", bound=generic)

IPC_CREAT: Final[int]
"""A flag of constructors: create the object if no object has the key, otherwise open it.  See
semget(2).
"""
IPC_CREX: Final[int]
"""A flag of constructors, IPC_CREAT | IPC_EXCL: create the object; raise ExistentialError
(EEXIST) if one has the key.
"""
IPC_EXCL: Final[int]
"""A flag of constructors, only with IPC_CREAT: the object must not exist.  IPC_CREX is both."""
IPC_NOWAIT: Final[int]
"""A flag of one operation of SemaphoreSet.op(): do not wait, raise BusyError (EAGAIN).  See
semop(2).
"""
IPC_PRIVATE: Final[int]
"""The key 0: create an object that no other program finds by key.  See semget(2)."""
KEY_MAX: Final[int]
"""The largest key that the constructors accept.  The kernel keeps the low 32 bits."""
KEY_MIN: Final[int]
"""The smallest key that the constructors accept.  The kernel keeps the low 32 bits."""
PAGE_SIZE: Final[int]
"""The size of a memory page in bytes, and the default size of a new segment."""
SEMAPHORE_VALUE_MAX: Final[int]
"""The largest value of a semaphore (SEMVMX)."""
SEM_UNDO: Final[int]
"""A flag of one operation of SemaphoreSet.op(): the kernel undoes it when the process ends.  See
semop(2).
"""
SHM_RDONLY: Final[int]
"""A flag of attach(): attach the segment read-only.  See shmop(2)."""
SHM_RND: Final[int]
"""A flag of attach(): round the address down to a multiple of SHMLBA.  See shmop(2)."""
SEMAPHORE_TIMEOUT_SUPPORTED: Final[bool]
"""True: timeouts of semaphores work on every system."""
VERSION: Final[str]
"""The version of this library, the same as __version__."""
__version__: Final[str]
"""The version of this library."""
__author__: Final[str]
"""The authors of this library."""
__copyright__: Final[str]
"""The copyright notice of this library."""
__license__: Final[str]
"""The SPDX identifier of this library's licence."""

if sys.platform == "linux":
    from sysv_ipc._linux import (
        SHM_EXEC as SHM_EXEC,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_1GB as SHM_HUGE_1GB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_1MB as SHM_HUGE_1MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_2GB as SHM_HUGE_2GB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_2MB as SHM_HUGE_2MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_8MB as SHM_HUGE_8MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_16GB as SHM_HUGE_16GB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_16MB as SHM_HUGE_16MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_32MB as SHM_HUGE_32MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_64KB as SHM_HUGE_64KB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_256MB as SHM_HUGE_256MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_512KB as SHM_HUGE_512KB,
    )
    from sysv_ipc._linux import (
        SHM_HUGE_512MB as SHM_HUGE_512MB,
    )
    from sysv_ipc._linux import (
        SHM_HUGETLB as SHM_HUGETLB,
    )
    from sysv_ipc._linux import (
        SHM_NORESERVE as SHM_NORESERVE,
    )
    from sysv_ipc._linux import (
        SHM_REMAP as SHM_REMAP,
    )

# What was tried, for cures.py; src/core/error.h has the list.
_OPERATION_NONE: Final[int]
_OPERATION_ACQUIRE: Final[int]
_OPERATION_ATTACH: Final[int]
_OPERATION_CHANGE: Final[int]
_OPERATION_CREATE: Final[int]
_OPERATION_DETACH: Final[int]
_OPERATION_FILL: Final[int]
_OPERATION_LIST: Final[int]
_OPERATION_LOCK: Final[int]
_OPERATION_OPEN: Final[int]
_OPERATION_OPERATE: Final[int]
_OPERATION_PEEK: Final[int]
_OPERATION_READ: Final[int]
_OPERATION_RECEIVE: Final[int]
_OPERATION_RECEIVE_INTO: Final[int]
_OPERATION_RELEASE: Final[int]
_OPERATION_REMOVE: Final[int]
_OPERATION_RESIZE: Final[int]
_OPERATION_SEND: Final[int]
_OPERATION_SET_VALUE: Final[int]
_OPERATION_STAT: Final[int]
_OPERATION_UNLOCK: Final[int]
_OPERATION_WAIT: Final[int]
_OPERATION_WAKE: Final[int]
_OPERATION_ZERO: Final[int]

@disjoint_base
class Error(OSError):
    """The base class of all errors of this library.

    errno and strerror are those of the C library.  kind, key and id name
    the object; each is None if it is unknown.  Notes say what to do.

    >>> try:
    ...     Semaphore(4711)
    ... except ExistentialError as error:
    ...     print(error.kind, error.key, error.strerror)
    semaphore 4711 No such file or directory
    """

    _target: tuple[str | None, int | None, int | None]
    _detail: str | None
    @property
    def kind(self) -> str | None:
        """The kind of the object: "semaphore", "shared memory" or
        "message queue"; None if unknown.
        """
    @property
    def key(self) -> int | None:
        """The key of the object; None if unknown."""
    @property
    def id(self) -> int | None:
        """The id of the object; None if unknown."""

class PermissionsError(Error, PermissionError):
    """The caller may not create, open, use, change or remove the object.

    errno is EACCES or EPERM.  A note compares owner and mode of the
    object with the ids of the caller.
    """

class ExistentialError(Error):
    """The object exists, does not exist, or was removed.

    errno is EEXIST, ENOENT or EIDRM, or EINVAL for an id.
    """

class BusyError(Error, TimeoutError):
    """The call would block but may not, or its time is up.

    errno is EAGAIN, or ENOMSG if a queue has no such message.
    """

class ArgumentError(Error, ValueError):
    """The kernel or this library rejects the value of an argument.

    errno is EINVAL, E2BIG, ERANGE or EFBIG.
    """

class KeyTypeError(ArgumentError, TypeError):
    """A key is not an int.

    errno is EINVAL.
    """

class LimitError(Error):
    """A limit of the system was reached.

    errno is ENOSPC.  A note names the limit; see limits().
    """

class OutOfMemoryError(Error, MemoryError):
    """There is not enough memory.

    errno is ENOMEM.
    """

class NotAttachedError(Error):
    """The segment is not attached by this handle."""

class ReadOnlyError(Error):
    """A write through a read-only attachment."""

class CancelledError(Error):
    """cancel() ended the wait (ECANCELED)."""

class InternalError(Error):
    """A bug in this library."""

class ArgumentWarning(UserWarning):
    """A call is allowed but probably a mistake.

    The message says what the call does and what was probably meant.
    """

@final
class SemaphoreMemberInfo(tuple[Any, ...]):
    """One member of a semaphore set; see semctl(2).

    >>> for record in semaphores(members=True):
    ...     print(record.id, [m.value for m in record.members or ()])
    """

    n_fields: Final[int]
    n_sequence_fields: Final[int]
    n_unnamed_fields: Final[int]
    __match_args__: Final = (
        "value",
        "last_pid",
        "waiting_for_nonzero",
        "waiting_for_zero",
    )
    """Built-in immutable sequence.

    If no argument is given, the constructor returns an empty tuple.
    If iterable is specified the tuple is initialized from iterable's items.

    If the argument is a tuple, the return value is the same object.
    """
    def __new__(cls, sequence: Iterable[Any], dict: dict[str, Any] = ...) -> Self: ...
    @property
    def value(self) -> int:
        """The value."""
    @property
    def last_pid(self) -> int:
        """The process that last changed the value; 0 if there was none."""
    @property
    def waiting_for_nonzero(self) -> int:
        """The number of threads that wait for a larger value."""
    @property
    def waiting_for_zero(self) -> int:
        """The number of threads that wait for zero."""

@final
class SemaphoreInfo(tuple[Any, ...]):
    """A semaphore set as the kernel describes it; see semctl(2).

    >>> for record in semaphores():
    ...     print(record.id, oct(record.mode), record.nsems)
    """

    n_fields: Final[int]
    n_sequence_fields: Final[int]
    n_unnamed_fields: Final[int]
    __match_args__: Final = (
        "key",
        "id",
        "uid",
        "gid",
        "cuid",
        "cgid",
        "mode",
        "last_change_time",
        "nsems",
        "last_operation_time",
    )
    """Built-in immutable sequence.

    If no argument is given, the constructor returns an empty tuple.
    If iterable is specified the tuple is initialized from iterable's items.

    If the argument is a tuple, the return value is the same object.
    """
    def __new__(cls, sequence: Iterable[Any], dict: dict[str, Any] = ...) -> Self: ...
    @property
    def key(self) -> int:
        """The key; 0 is IPC_PRIVATE."""
    @property
    def id(self) -> int:
        """The id."""
    @property
    def uid(self) -> int:
        """The owner's user id.  Owner, creator and root may set it (IPC_SET);
        others get PermissionsError (EPERM).
        """
    @property
    def gid(self) -> int:
        """The owner's group id; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def mode(self) -> int:
        """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    @property
    def nsems(self) -> int:
        """The number of members of the set."""
    @property
    def last_operation_time(self) -> int:
        """The time of the last semop(2) on the set, in seconds since the
        epoch; 0 if there was none.
        """
    @property
    def members(self) -> tuple[SemaphoreMemberInfo, ...] | None:
        """A SemaphoreMemberInfo for each member, or None if not
        requested or not readable.
        """

@final
class SharedMemoryInfo(tuple[Any, ...]):
    """A segment as the kernel describes it; see shmctl(2).

    >>> for record in shared_memories(pids=True):
    ...     print(record.id, record.size, record.pids)
    """

    n_fields: Final[int]
    n_sequence_fields: Final[int]
    n_unnamed_fields: Final[int]
    __match_args__: Final = (
        "key",
        "id",
        "uid",
        "gid",
        "cuid",
        "cgid",
        "mode",
        "last_change_time",
        "size",
        "creator_pid",
        "last_pid",
        "number_attached",
        "last_attach_time",
        "last_detach_time",
        "marked_for_removal",
        "locked",
        "resident",
        "swapped",
    )
    """Built-in immutable sequence.

    If no argument is given, the constructor returns an empty tuple.
    If iterable is specified the tuple is initialized from iterable's items.

    If the argument is a tuple, the return value is the same object.
    """
    def __new__(cls, sequence: Iterable[Any], dict: dict[str, Any] = ...) -> Self: ...
    @property
    def key(self) -> int:
        """The key; 0 is IPC_PRIVATE."""
    @property
    def id(self) -> int:
        """The id."""
    @property
    def uid(self) -> int:
        """The owner's user id.  Owner, creator and root may set it (IPC_SET);
        others get PermissionsError (EPERM).
        """
    @property
    def gid(self) -> int:
        """The owner's group id; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def mode(self) -> int:
        """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    @property
    def size(self) -> int:
        """The size in bytes."""
    @property
    def creator_pid(self) -> int:
        """The process that created the segment."""
    @property
    def last_pid(self) -> int:
        """The process that last attached or detached the segment."""
    @property
    def number_attached(self) -> int:
        """The number of attachments in all processes."""
    @property
    def last_attach_time(self) -> int:
        """The time of the last attach, in seconds since the epoch; 0 if
        there was none.
        """
    @property
    def last_detach_time(self) -> int:
        """The time of the last detach; 0 if there was none."""
    @property
    def marked_for_removal(self) -> bool:
        """True if the segment is removed with its last attachment."""
    @property
    def locked(self) -> bool:
        """True if lock() prevents swapping."""
    @property
    def resident(self) -> int | None:
        """Bytes in memory; None in the record of info()."""
    @property
    def swapped(self) -> int | None:
        """Bytes swapped out; None in the record of info()."""
    @property
    def pids(self) -> tuple[int, ...] | None:
        """The processes that have it attached, or None if not
        requested.
        """
    @property
    def pids_complete(self) -> bool | None:
        """True if pids accounts for all of number_attached."""

@final
class MessageQueueInfo(tuple[Any, ...]):
    """A message queue as the kernel describes it; see msgctl(2).

    >>> for record in message_queues():
    ...     print(record.id, record.current_messages, record.last_send_pid)
    """

    n_fields: Final[int]
    n_sequence_fields: Final[int]
    n_unnamed_fields: Final[int]
    __match_args__: Final = (
        "key",
        "id",
        "uid",
        "gid",
        "cuid",
        "cgid",
        "mode",
        "last_change_time",
        "current_messages",
        "current_bytes",
        "max_size",
        "last_send_pid",
        "last_receive_pid",
        "last_send_time",
        "last_receive_time",
    )
    """Built-in immutable sequence.

    If no argument is given, the constructor returns an empty tuple.
    If iterable is specified the tuple is initialized from iterable's items.

    If the argument is a tuple, the return value is the same object.
    """
    def __new__(cls, sequence: Iterable[Any], dict: dict[str, Any] = ...) -> Self: ...
    @property
    def key(self) -> int:
        """The key; 0 is IPC_PRIVATE."""
    @property
    def id(self) -> int:
        """The id."""
    @property
    def uid(self) -> int:
        """The owner's user id.  Owner, creator and root may set it (IPC_SET);
        others get PermissionsError (EPERM).
        """
    @property
    def gid(self) -> int:
        """The owner's group id; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def mode(self) -> int:
        """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    @property
    def current_messages(self) -> int:
        """The number of messages in the queue."""
    @property
    def current_bytes(self) -> int:
        """The number of bytes of all messages in the queue."""
    @property
    def max_size(self) -> int:
        """The largest number of bytes that the queue may hold (msg_qbytes).
        Raising it above kernel.msgmnb requires CAP_SYS_RESOURCE.
        """
    @property
    def last_send_pid(self) -> int:
        """The process that last sent a message; 0 if there was none."""
    @property
    def last_receive_pid(self) -> int:
        """The process that last received a message; 0 if there was none."""
    @property
    def last_send_time(self) -> int:
        """The time of the last send, in seconds since the epoch; 0 if there
        was none.
        """
    @property
    def last_receive_time(self) -> int:
        """The time of the last receive; 0 if there was none."""

@final
class Limits(tuple[Any, ...]):
    """The limits of the IPC namespace and how much is in use.

    Limits have the names of their sysctls; see proc(5).

    >>> now = limits()
    >>> now.queues < now.msgmni
    True
    """

    n_fields: Final[int]
    n_sequence_fields: Final[int]
    n_unnamed_fields: Final[int]
    __match_args__: Final = (
        "semmsl",
        "semmns",
        "semopm",
        "semmni",
        "shmmax",
        "shmall",
        "shmmni",
        "msgmax",
        "msgmnb",
        "msgmni",
        "semaphore_sets",
        "semaphores",
        "segments",
        "pages",
        "resident_pages",
        "swapped_pages",
        "queues",
        "messages",
        "message_bytes",
    )
    """Built-in immutable sequence.

    If no argument is given, the constructor returns an empty tuple.
    If iterable is specified the tuple is initialized from iterable's items.

    If the argument is a tuple, the return value is the same object.
    """
    def __new__(cls, sequence: Iterable[Any], dict: dict[str, Any] = ...) -> Self: ...
    @property
    def semmsl(self) -> int:
        """kernel.sem, first number: the most members of a set."""
    @property
    def semmns(self) -> int:
        """kernel.sem, second number: the most semaphores in all sets."""
    @property
    def semopm(self) -> int:
        """kernel.sem, third number: the most operations in one semop(2)."""
    @property
    def semmni(self) -> int:
        """kernel.sem, fourth number: the most sets."""
    @property
    def shmmax(self) -> int:
        """kernel.shmmax: the most bytes of a segment."""
    @property
    def shmall(self) -> int:
        """kernel.shmall: the most pages of all segments."""
    @property
    def shmmni(self) -> int:
        """kernel.shmmni: the most segments."""
    @property
    def msgmax(self) -> int:
        """kernel.msgmax: the most bytes of a message."""
    @property
    def msgmnb(self) -> int:
        """kernel.msgmnb: max_size of a new queue, in bytes."""
    @property
    def msgmni(self) -> int:
        """kernel.msgmni: the most queues."""
    @property
    def semaphore_sets(self) -> int:
        """Sets that exist; semmni limits them."""
    @property
    def semaphores(self) -> int:
        """Semaphores in all sets; semmns limits them."""
    @property
    def segments(self) -> int:
        """Segments that exist; shmmni limits them."""
    @property
    def pages(self) -> int:
        """Pages of all segments; shmall limits them."""
    @property
    def resident_pages(self) -> int:
        """Pages of segments that are in memory."""
    @property
    def swapped_pages(self) -> int:
        """Pages of segments that are swapped out."""
    @property
    def queues(self) -> int:
        """Queues that exist; msgmni limits them."""
    @property
    def messages(self) -> int:
        """Messages in all queues."""
    @property
    def message_bytes(self) -> int:
        """Bytes of text in all queues."""

@disjoint_base
class Semaphore:
    """A System V semaphore: member 0 of the set that has this key.

    key is an int, IPC_PRIVATE, or None for a random unused key (with
    IPC_CREX).  flags is 0 to open, IPC_CREAT to open or create, IPC_CREX
    to create or fail.  initial_value, from 0 to SEMAPHORE_VALUE_MAX, is
    the value of a new semaphore: other users of this library never see
    it without that value.  Opening an existing semaphore never changes
    its value.  Without a mode, opening requests the best access that
    the caller has.

    >>> semaphore = Semaphore(None, IPC_CREX, initial_value=1)
    >>> with semaphore:
    ...     print(semaphore.value)
    0
    >>> semaphore.remove()

    Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),
    ArgumentError (EINVAL, ERANGE), LimitError (ENOSPC) or
    OutOfMemoryError (ENOMEM) on failure.  See semget(2).
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def __init__(
        self,
        key: SupportsIndex | None,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        initial_value: SupportsIndex = 0,
    ) -> None: ...
    @property
    def key(self) -> int | None:
        """The object's key, a signed 32-bit int; 0 is IPC_PRIVATE.
        None if the object was opened by id and its key is
        unknown.
        """
    @property
    def id(self) -> int:
        """The id that the kernel assigned."""
    @property
    def removed(self) -> bool:
        """True if the object no longer exists."""
    uid: int
    """The owner's user id.  Owner, creator and root may set it (IPC_SET);
    others get PermissionsError (EPERM).
    """
    gid: int
    """The owner's group id; writable like uid."""
    mode: int
    """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    def remove(self) -> None:
        """Remove the whole set.  Blocked calls raise ExistentialError (EIDRM).

        Raise PermissionsError (EPERM) if the caller is not the owner, the
        creator or root, and ExistentialError (EINVAL) if the set no longer
        exists.  See semctl(2), IPC_RMID.
        """
    def cancel(self, later: bool = False) -> None:
        """End every wait that is in progress on this object.

        Each wait raises CancelledError (ECANCELED), unless it had already
        succeeded: then it returns its result.  No message and no permit is
        lost.  Other handles of the same object are not affected.  If later is
        true, each wait that begins afterwards also ends as soon as it would
        block, until the attribute cancelled is set to False.  cancel() may be
        called from another thread, or from a signal handler in the same one.
        """
    cancelled: bool
    """True after cancel(later=True): calls that would block raise
    CancelledError.  Set it to False to allow them to block again; setting
    it to True is the same as cancel(later=True).
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by id: the copy opens the same semaphore."""
    @classmethod
    def from_id(cls, id: SupportsIndex, index: SupportsIndex = 0) -> Self:
        """Open the member of the set with this id that has this index.

        A set that may not be read is opened too; its calls then fail.  Raise
        ExistentialError (EINVAL) if no set has this id, and ArgumentError
        (EINVAL) if the set has no such member.  See semctl(2).
        """
    def info(self) -> SemaphoreInfo:
        """Return a SemaphoreInfo of the whole set, from one system call.

        See semctl(2), IPC_STAT.
        """
    @property
    def index(self) -> int:
        """The index of this member in the set."""
    @property
    def set(self) -> SemaphoreSet:
        """The SemaphoreSet that contains this member."""
    @property
    def nsems(self) -> int:
        """The number of members of the set."""
    @property
    def last_operation_time(self) -> int:
        """The time of the last semop(2) on the set, in seconds since the
        epoch; 0 if there was none.
        """
    value: int
    """The value, 0 to SEMAPHORE_VALUE_MAX (GETVAL, SETVAL).
    Setting it discards the undo records of all processes.
    """
    block: bool
    """If False, acquire() and Z() never wait (IPC_NOWAIT)."""
    undo: bool
    """If True, operations are undone when the process ends.
    The kernel does that (SEM_UNDO).  On Linux the record
    belongs to the process, not to the thread.
    """
    @property
    def last_pid(self) -> int:
        """The pid of the process that last changed the value (GETPID)."""
    @property
    def waiting_for_nonzero(self) -> int:
        """The number of threads that wait for a larger value.
        They may be in any process (GETNCNT).
        """
    @property
    def waiting_for_zero(self) -> int:
        """The number of threads that wait for zero.
        They may be in any process (GETZCNT).
        """
    @property
    def o_time(self) -> int:
        """The same as last_operation_time."""
    def acquire(
        self, timeout: SupportsFloat | SupportsIndex | None = None, delta: SupportsIndex = 1
    ) -> bool:
        """Subtract delta from the value.  Wait while the value is smaller.

        Return True.  timeout is in seconds; None means no limit, and 0
        means do not wait.  The sign of delta is ignored.  After a signal
        handler returns, the wait continues with the remaining time
        (PEP 475).

        Raise BusyError (EAGAIN) if the time is up, or at once if block is
        False; ExistentialError (EINVAL, EIDRM) if the semaphore was
        removed, before or during the wait; CancelledError (ECANCELED)
        after cancel(); PermissionsError (EACCES); or ArgumentError
        (EINVAL).  See semop(2).
        """
    def P(
        self, timeout: SupportsFloat | SupportsIndex | None = None, delta: SupportsIndex = 1
    ) -> bool:
        """Subtract delta from the value.  Wait while the value is smaller.

        Return True.  timeout is in seconds; None means no limit, and 0
        means do not wait.  The sign of delta is ignored.  After a signal
        handler returns, the wait continues with the remaining time
        (PEP 475).

        Raise BusyError (EAGAIN) if the time is up, or at once if block is
        False; ExistentialError (EINVAL, EIDRM) if the semaphore was
        removed, before or during the wait; CancelledError (ECANCELED)
        after cancel(); PermissionsError (EACCES); or ArgumentError
        (EINVAL).  See semop(2).
        """
    def try_acquire(self, delta: SupportsIndex = 1) -> bool:
        """Subtract delta and return True, or return False if value < delta.

        This never waits.  The sign of delta is ignored.  See semop(2).
        """
    def release(self, delta: SupportsIndex = 1) -> None:
        """Add delta to the value.

        This never waits.  The sign of delta is ignored.  Raise ArgumentError
        (ERANGE) if the value would exceed SEMAPHORE_VALUE_MAX,
        ExistentialError (EINVAL) if the semaphore no longer exists, and
        PermissionsError (EACCES).  See semop(2).
        """
    def V(self, delta: SupportsIndex = 1) -> None:
        """Add delta to the value.

        This never waits.  The sign of delta is ignored.  Raise ArgumentError
        (ERANGE) if the value would exceed SEMAPHORE_VALUE_MAX,
        ExistentialError (EINVAL) if the semaphore no longer exists, and
        PermissionsError (EACCES).  See semop(2).
        """
    def Z(self, timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
        """Wait until the value is zero.  Return True.

        This does not change the value.  timeout and errors are those of
        acquire().  See semop(2).
        """
    def __enter__(self) -> Self:
        """Call acquire() and return self."""
    def __exit__(self, *exception: object) -> None:
        """Call release().

        An exception inside the block propagates.  If release() fails then,
        its error becomes a note of that exception.
        """

@disjoint_base
class SemaphoreSet:
    """A System V semaphore set: several semaphores in one object.

    key, flags and mode are those of Semaphore.  nsems is the number of
    members of a new set; an existing set must have at least as many.  0
    opens a set of any size.  initial_values, one for each member, are
    the values of a new set: other users of this library never see it
    without them.  len(), s[i] and iteration give the members as
    Semaphore objects.

    >>> pools = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 5])
    >>> pools.op([(0, -1), (1, -3)], timeout=1)
    True
    >>> pools.values
    (0, 2)
    >>> pools.remove()

    Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),
    ArgumentError (EINVAL, ERANGE), LimitError (ENOSPC) or
    OutOfMemoryError (ENOMEM) on failure.  See semget(2).
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def __init__(
        self,
        key: SupportsIndex | None,
        nsems: SupportsIndex = 0,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        initial_values: Iterable[SupportsIndex] | None = None,
    ) -> None: ...
    @property
    def key(self) -> int | None:
        """The object's key, a signed 32-bit int; 0 is IPC_PRIVATE.
        None if the object was opened by id and its key is
        unknown.
        """
    @property
    def id(self) -> int:
        """The id that the kernel assigned."""
    @property
    def removed(self) -> bool:
        """True if the object no longer exists."""
    uid: int
    """The owner's user id.  Owner, creator and root may set it (IPC_SET);
    others get PermissionsError (EPERM).
    """
    gid: int
    """The owner's group id; writable like uid."""
    mode: int
    """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    def remove(self) -> None:
        """Remove the set.  Blocked calls raise ExistentialError (EIDRM).

        Raise PermissionsError (EPERM) if the caller is not the owner, the
        creator or root, and ExistentialError (EINVAL) if the set no longer
        exists.  See semctl(2), IPC_RMID.
        """
    def cancel(self, later: bool = False) -> None:
        """End every wait that is in progress on this object.

        Each wait raises CancelledError (ECANCELED), unless it had already
        succeeded: then it returns its result.  No message and no permit is
        lost.  Other handles of the same object are not affected.  If later is
        true, each wait that begins afterwards also ends as soon as it would
        block, until the attribute cancelled is set to False.  cancel() may be
        called from another thread, or from a signal handler in the same one.
        """
    cancelled: bool
    """True after cancel(later=True): calls that would block raise
    CancelledError.  Set it to False to allow them to block again; setting
    it to True is the same as cancel(later=True).
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by id: the copy opens the same set."""
    @classmethod
    def from_id(cls, id: SupportsIndex, /) -> Self:
        """Open the set with this id.

        A set that may not be read is opened too; its calls then
        fail.  Raise ExistentialError (EINVAL) if no set has this id.
        See semctl(2).
        """
    def info(self) -> SemaphoreInfo:
        """Return a SemaphoreInfo of the set, from one system call.

        See semctl(2), IPC_STAT.
        """
    @property
    def nsems(self) -> int:
        """The number of members of the set."""
    @property
    def last_operation_time(self) -> int:
        """The time of the last semop(2) on the set, in seconds since the
        epoch; 0 if there was none.
        """
    @property
    def o_time(self) -> int:
        """The same as last_operation_time."""
    @property
    def values(self) -> tuple[int, ...]:
        """The values of all members (GETALL, SETALL).
        Reading or writing all of them is one system call.  Writing
        discards the undo records of all processes.
        """
    @values.setter
    def values(self, value: Iterable[SupportsIndex], /) -> None: ...
    def op(
        self,
        operations: Iterable[Sequence[SupportsIndex]],
        timeout: SupportsFloat | SupportsIndex | None = None,
    ) -> bool:
        """Do all of the operations, or none of them, in one system call.

        operations is a sequence of (index, delta) or (index, delta, flags).
        A positive delta is added.  A negative delta is subtracted, after
        waiting until the value is large enough.  0 waits until the value is
        zero.  flags are IPC_NOWAIT and SEM_UNDO.  timeout is in seconds;
        None means no limit.  Return True.

        Raise BusyError (EAGAIN) if the time is up; ArgumentError (E2BIG)
        for more operations than the limit SEMOPM in kernel.sem, (EFBIG) for
        an index that the set does not have, and (ERANGE) if a value would
        exceed SEMAPHORE_VALUE_MAX; ExistentialError (EINVAL, EIDRM) if the
        set was removed; CancelledError (ECANCELED) after cancel(); and
        PermissionsError (EACCES).  See semop(2).
        """
    def compile(self, operations: Iterable[Sequence[SupportsIndex]], /) -> SemaphoreOperations:
        """Return a callable that does these operations: f(timeout=None).

        The operations are converted once, not at each call.  Errors are
        those of op().
        """
    def acquire(
        self, *indexes: SupportsIndex, timeout: SupportsFloat | SupportsIndex | None = None
    ) -> bool:
        """Subtract 1 from each member, or wait until that is possible.

        indexes are the members.  Either all values change or none does.
        Return True.  timeout and errors are those of op().
        """
    def release(self, *indexes: SupportsIndex) -> None:
        """Add 1 to each of these members: to all of them, or to none.

        indexes are the members.  Errors are those of op().
        """
    def zero(
        self, *indexes: SupportsIndex, timeout: SupportsFloat | SupportsIndex | None = None
    ) -> bool:
        """Wait until all of these members are zero at the same time.

        indexes are the members.  This does not change the values.  Return
        True.  timeout and errors are those of op().
        """
    def __bool__(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: SupportsIndex, /) -> Semaphore: ...
    def __iter__(self) -> Iterator[Semaphore]: ...

@final
class SemaphoreOperations:
    """Operations on a semaphore set, made by SemaphoreSet.compile().

    Calling the object, f(timeout=None), does the operations in one
    system call, like SemaphoreSet.op().  They are done on the set that
    the handle referred to when they were compiled.

    >>> pools = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 5])
    >>> take = pools.compile([(0, -1), (1, -3)])
    >>> take(timeout=1)
    True
    >>> pools.remove()

    See semop(2).
    """

    @property
    def set(self) -> SemaphoreSet:
        """The SemaphoreSet that the operations are done on."""
    @property
    def operations(self) -> tuple[tuple[int, int, int], ...]:
        """The operations: a tuple of (index, delta, flags)."""
    def __call__(self, timeout: SupportsFloat | SupportsIndex | None = None) -> bool: ...

@disjoint_base
class SharedMemory:
    """A System V shared memory segment.  The constructor attaches it.

    key and flags are those of Semaphore; flags can also include
    SHM_HUGETLB, SHM_NORESERVE and similar flags of shmget(2).  size is
    in bytes.  With IPC_CREX it defaults to PAGE_SIZE, and the segment
    is filled with init_character; None keeps the kernel's zero pages,
    which use no memory until they are accessed.  With IPC_CREAT, size
    is that of a new segment, and an existing segment must be at least
    as large.  With flags 0, leave out size, or give the size of the
    segment.  A mode without 0o200 attaches read-only.

    >>> memory = SharedMemory(None, IPC_CREX, size=4096)
    >>> memory.write(b'four words of text')
    >>> memory[:4]
    b'four'
    >>> memory.remove()
    >>> memory.detach()

    Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),
    ArgumentError (EINVAL), LimitError (ENOSPC) or OutOfMemoryError
    (ENOMEM) on failure.  See shmget(2) and shmop(2).
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def __init__(
        self,
        key: SupportsIndex | None,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        size: SupportsIndex = 0,
        init_character: Buffer | str | None = b" ",
    ) -> None: ...
    @property
    def key(self) -> int | None:
        """The object's key, a signed 32-bit int; 0 is IPC_PRIVATE.
        None if the object was opened by id and its key is
        unknown.
        """
    @property
    def id(self) -> int:
        """The id that the kernel assigned."""
    @property
    def removed(self) -> bool:
        """True if the object no longer exists."""
    uid: int
    """The owner's user id.  Owner, creator and root may set it (IPC_SET);
    others get PermissionsError (EPERM).
    """
    gid: int
    """The owner's group id; writable like uid."""
    mode: int
    """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    def remove(self) -> None:
        """Remove the segment as soon as all processes have detached it.

        Until then it is marked for removal, and cannot be opened by key.
        Raise PermissionsError (EPERM) if the caller is not the owner, the
        creator or root, and ExistentialError (EINVAL) if the segment no
        longer exists.  See shmctl(2), IPC_RMID.
        """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by id: the copy opens the same segment."""
    @classmethod
    def from_id(
        cls, id: SupportsIndex, address: SupportsIndex | None = None, flags: SupportsIndex = 0
    ) -> Self:
        """Open and attach the segment with this id.

        address and flags are those of attach().  Raise ExistentialError
        (EINVAL) if no segment has this id, and the errors of attach().  See
        shmop(2).
        """
    @property
    def attached(self) -> bool:
        """True if this handle has the segment attached."""
    @property
    def address(self) -> int:
        """The address at which the segment is attached, or 0.
        After it has been read, the attachment outlives the handle:
        it stays until detach() or the end of the process.
        """
    @property
    def size(self) -> int:
        """The size in bytes, as given at creation."""
    @property
    def readonly(self) -> bool:
        """True if the attachment is read-only, or would be after attach()."""
    @property
    def number_attached(self) -> int:
        """The number of attachments in all processes."""
    @property
    def last_attach_time(self) -> int:
        """The time of the last attach, in seconds since the epoch; 0 if
        there was none.
        """
    @property
    def last_detach_time(self) -> int:
        """The time of the last detach; 0 if there was none."""
    @property
    def last_pid(self) -> int:
        """The process that last attached or detached the segment."""
    @property
    def creator_pid(self) -> int:
        """The process that created the segment."""
    @property
    def marked_for_removal(self) -> bool:
        """True if the segment is removed with its last attachment."""
    @property
    def locked(self) -> bool:
        """True if lock() prevents swapping."""
    def lock(self) -> None:
        """Prevent the kernel from swapping the segment out (SHM_LOCK).

        Pages that are not in memory are loaded when they are accessed.
        Raise PermissionsError (EPERM) unless the caller has CAP_IPC_LOCK,
        or is the owner or creator and RLIMIT_MEMLOCK is not 0; and
        OutOfMemoryError (ENOMEM) if the segment exceeds RLIMIT_MEMLOCK.
        See shmctl(2).
        """
    def unlock(self) -> None:
        """Allow the kernel to swap the segment out again (SHM_UNLOCK).

        Raise PermissionsError (EPERM) if the caller does not have
        CAP_IPC_LOCK and is not the owner or creator.  See shmctl(2).
        """
    def info(self) -> SharedMemoryInfo:
        """Return a SharedMemoryInfo, from one system call.

        Its fields resident and swapped are None, because IPC_STAT does not
        report them.  See shmctl(2).
        """
    def attach(self, address: SupportsIndex | None = None, flags: SupportsIndex = 0) -> None:
        """Attach the segment.  A new attachment replaces an existing one.

        address is the address of the new attachment; None lets the kernel
        choose.  flags are SHM_RDONLY, SHM_RND, SHM_EXEC and SHM_REMAP;
        without them the access is that with which the segment was opened.

        Raise BufferError while views, arrays or atomics exist;
        ArgumentError (EINVAL) for an address that is not aligned or not
        free; ExistentialError (EINVAL, EIDRM) if the segment no longer
        exists; and PermissionsError (EACCES).  See shmop(2).
        """
    def detach(self) -> None:
        """Detach the segment.

        Raise BufferError, and change nothing, while views, arrays or
        atomics exist; and NotAttachedError if the segment is not attached.
        See shmop(2).
        """
    def read(self, byte_count: SupportsIndex = 0, offset: SupportsIndex = 0) -> bytes:
        """Return a copy of bytes of the segment.

        byte_count 0 means all bytes from offset to the end.  Bytes past the
        end are left out.  This makes no system call.  Raise ArgumentError
        (EINVAL) if offset is negative or not below the size, and
        NotAttachedError if the segment is not attached.
        """
    def write(self, s: Buffer | str, offset: SupportsIndex = 0) -> None:
        """Copy bytes into the segment at offset.

        s is any C-contiguous buffer, or a str, which is encoded as UTF-8.
        This makes no system call.  Raise ArgumentError (EINVAL), and write
        nothing, if the bytes would go past the end; ReadOnlyError if the
        attachment is read-only; and NotAttachedError.
        """
    def read_into(self, buffer: Buffer, offset: SupportsIndex = 0) -> int:
        """Copy bytes at offset into a writable C-contiguous buffer.

        Return the number of bytes: the size of the buffer, or fewer if the
        segment ends before.  This makes no system call.  Raise
        ArgumentError (EINVAL) if offset is negative or not below the size,
        and NotAttachedError.
        """
    @overload
    def view(
        self,
        offset: SupportsIndex = 0,
        size: SupportsIndex | None = None,
        format: IntegerFormat = "B",
    ) -> memoryview[int]:
        """Return a memoryview of size bytes at offset, cast to format.

        size None means all bytes to the end.  format is a native
        single-character format of the struct module.  While the view
        exists, detach() raises BufferError.  Raise ArgumentError (EINVAL)
        if the range goes past the end, TypeError if size is not a multiple
        of the format's size, and NotAttachedError.
        """
    @overload
    def view(
        self, offset: SupportsIndex, size: SupportsIndex | None, format: FloatFormat
    ) -> memoryview[float]: ...
    @overload
    def view(
        self, offset: SupportsIndex = 0, size: SupportsIndex | None = None, *, format: FloatFormat
    ) -> memoryview[float]: ...
    @overload
    def view(
        self, offset: SupportsIndex, size: SupportsIndex | None, format: BytesFormat
    ) -> memoryview[bytes]: ...
    @overload
    def view(
        self, offset: SupportsIndex = 0, size: SupportsIndex | None = None, *, format: BytesFormat
    ) -> memoryview[bytes]: ...
    @overload
    def view(
        self, offset: SupportsIndex, size: SupportsIndex | None, format: BoolFormat
    ) -> memoryview[bool]: ...
    @overload
    def view(
        self, offset: SupportsIndex = 0, size: SupportsIndex | None = None, *, format: BoolFormat
    ) -> memoryview[bool]: ...
    @overload
    def view(
        self, offset: SupportsIndex, size: SupportsIndex | None, format: str
    ) -> memoryview[Any]: ...
    @overload
    def view(
        self, offset: SupportsIndex = 0, size: SupportsIndex | None = None, *, format: str
    ) -> memoryview[Any]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: type[_Scalar] | dtype[_Scalar],
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[_Scalar]:
        """Return a NumPy array on the memory of the segment, without a copy.

        shape is a length or a sequence of lengths.  dtype is any argument
        of numpy.dtype(), without Python objects in it.  offset is in bytes
        and need not be aligned.  order is 'C' (by rows) or 'F' (by
        columns).  While the array or a view of it exists, detach() raises
        BufferError.  The array of a read-only attachment is read-only.

        Raise ArgumentError (EINVAL) if the array does not fit, TypeError
        for a dtype with objects, NotAttachedError, and ModuleNotFoundError
        if NumPy is not installed.
        """
    @overload
    def ndarray(  # type: ignore[overload-overlap]  # bool is a subclass of int
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: type[bool] | BoolName,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[bool_]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: UInt8Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[uint8]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: Int32Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[int32]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: UInt32Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[uint32]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: Int64Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[int64]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: UInt64Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[uint64]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: Float32Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[float32]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: type[int],
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[int_]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: type[float] | Float64Name,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[float64]: ...
    @overload
    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: DTypeLike,
        offset: SupportsIndex = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[Any]: ...
    def atomic(self, offset: SupportsIndex, type: Literal["i32", "u32", "i64", "u64"]) -> Atomic:
        """Return an Atomic, a number that processes can change atomically.

        type is 'i32', 'u32', 'i64' or 'u64'.  offset is in bytes, a
        multiple of the size of the type.  While the atomic exists, detach()
        raises BufferError.  Raise ArgumentError (EINVAL) for another type or
        an offset that is unaligned or not in the segment; NotAttachedError;
        and Error (ENOSYS) for 'i64' and 'u64' without 64-bit atomics.
        """
    def __enter__(self) -> Self:
        """Attach the segment if it is not attached.  Return self."""
    def __exit__(self, *exception: object) -> None:
        """Detach the segment.

        Raise BufferError while views, arrays or atomics exist.  But an
        exception inside the block propagates in any case; then the segment
        stays attached.
        """
    def __bool__(self) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice[Any, Any, Any], /) -> bytes: ...
    @overload
    def __setitem__(self, key: SupportsIndex, value: SupportsIndex, /) -> None: ...
    @overload
    def __setitem__(self, key: slice[Any, Any, Any], value: Buffer, /) -> None: ...
    def __delitem__(self, key: Any, /) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview[int]: ...
    def __release_buffer__(self, buffer: memoryview[int], /) -> None: ...

@final
class Atomic:
    """A number in a segment, made by SharedMemory.atomic().

    Each operation is atomic for all processes and threads, in any
    language, and all of them see all operations in one order (C11's
    seq_cst).  None takes a lock; only wait() and wake() make system
    calls.  Raise ArgumentError (EINVAL) for a number that the type cannot
    hold, and ReadOnlyError if the attachment is read-only.

    >>> memory = SharedMemory(None, IPC_CREX, init_character=None)
    >>> counter = memory.atomic(0, 'u32')
    >>> counter.add(5), counter.load()
    (0, 5)
    >>> memory.remove()
    """

    @property
    def memory(self) -> SharedMemory:
        """The SharedMemory that contains the number."""
    @property
    def offset(self) -> int:
        """The offset of the number in the segment, in bytes."""
    @property
    def type(self) -> Literal["i32", "u32", "i64", "u64"]:
        """The type: 'i32', 'u32', 'i64' or 'u64'."""
    def load(self) -> int:
        """Return the number."""
    def store(self, value: SupportsIndex, /) -> None:
        """Set the number."""
    def exchange(self, value: SupportsIndex, /) -> int:
        """Set the number.  Return the previous one."""
    def add(self, value: SupportsIndex, /) -> int:
        """Add to the number; it wraps around.  Return the previous one."""
    def sub(self, value: SupportsIndex, /) -> int:
        """Subtract; the number wraps around.  Return the previous one."""
    def and_(self, value: SupportsIndex, /) -> int:
        """Keep the bits that value has too.  Return the previous number."""
    def or_(self, value: SupportsIndex, /) -> int:
        """Set the bits that value has.  Return the previous number."""
    def compare_exchange(self, expected: SupportsIndex, desired: SupportsIndex) -> bool:
        """Set the number to desired if it is expected.  Return True if it was."""
    def wait(
        self,
        expected: SupportsIndex,
        timeout: SupportsFloat | SupportsIndex | None = None,
        *,
        interval: SupportsFloat | SupportsIndex | None = None,
    ) -> bool:
        """Wait while the number is expected.  Return True after it changed.

        A program that changes the number calls wake(), or FUTEX_WAKE in C.  A
        change without a wake is noticed when the wait next reads the number:
        every interval seconds, or by default about ten times a second.  A wake
        while the number is still expected, or is expected again, does not end
        the wait.  timeout is in seconds; None means no limit.  Raise BusyError
        (EAGAIN) if the time is up, CancelledError (ECANCELED) after cancel(),
        and ArgumentError (EINVAL) for a 64-bit type or an interval that is not
        above 0.  See futex(2), FUTEX_WAIT.
        """
    def wake(self, count: SupportsIndex = 1) -> int:
        """Wake up to count threads, in any process, that wait for a change.

        Return their number.  Raise ArgumentError (EINVAL) for a 64-bit type or
        a count below 1, and ReadOnlyError.  See futex(2), FUTEX_WAKE.
        """
    def cancel(self, later: bool = False) -> None:
        """End every wait that is in progress on this object.

        Each wait raises CancelledError (ECANCELED), unless it had already
        succeeded: then it returns its result.  No message and no permit is
        lost.  Other handles of the same object are not affected.  If later is
        true, each wait that begins afterwards also ends as soon as it would
        block, until the attribute cancelled is set to False.  cancel() may be
        called from another thread, or from a signal handler in the same one.
        """
    cancelled: bool
    """True after cancel(later=True): calls that would block raise
    CancelledError.  Set it to False to allow them to block again; setting
    it to True is the same as cancel(later=True).
    """

@disjoint_base
class MessageQueue:
    """A System V message queue.

    key, flags and mode are those of Semaphore.  max_message_size is the
    size in bytes of the longest message that this handle sends or
    receives.  It belongs to the handle; the kernel's limits are
    kernel.msgmax for a message and max_size for the queue.

    >>> queue = MessageQueue(None, IPC_CREX)
    >>> queue.send(b"the job is done", type=7)
    >>> queue.receive(timeout=1)
    (b'the job is done', 7)
    >>> queue.remove()

    Raise ExistentialError (EEXIST, ENOENT), PermissionsError (EACCES),
    ArgumentError (EINVAL), LimitError (ENOSPC) or OutOfMemoryError
    (ENOMEM) on failure.  See msgget(2).
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def __init__(
        self,
        key: SupportsIndex | None,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        max_message_size: SupportsIndex = 2048,
    ) -> None: ...
    @property
    def key(self) -> int | None:
        """The object's key, a signed 32-bit int; 0 is IPC_PRIVATE.
        None if the object was opened by id and its key is
        unknown.
        """
    @property
    def id(self) -> int:
        """The id that the kernel assigned."""
    @property
    def removed(self) -> bool:
        """True if the object no longer exists."""
    uid: int
    """The owner's user id.  Owner, creator and root may set it (IPC_SET);
    others get PermissionsError (EPERM).
    """
    gid: int
    """The owner's group id; writable like uid."""
    mode: int
    """The permission bits, 0 to 0o777; writable like uid."""
    @property
    def cuid(self) -> int:
        """The creator's user id."""
    @property
    def cgid(self) -> int:
        """The creator's group id."""
    @property
    def last_change_time(self) -> int:
        """The time of the creation or of the last IPC_SET, in seconds since
        the epoch.
        """
    def remove(self) -> None:
        """Remove the queue and its messages.  Blocked calls raise an error.

        The error is ExistentialError (EIDRM).  Raise PermissionsError (EPERM)
        if the caller is not the owner, the creator or root, and
        ExistentialError (EINVAL) if the queue no longer exists.  See
        msgctl(2), IPC_RMID.
        """
    def cancel(self, later: bool = False) -> None:
        """End every wait that is in progress on this object.

        Each wait raises CancelledError (ECANCELED), unless it had already
        succeeded: then it returns its result.  No message and no permit is
        lost.  Other handles of the same object are not affected.  If later is
        true, each wait that begins afterwards also ends as soon as it would
        block, until the attribute cancelled is set to False.  cancel() may be
        called from another thread, or from a signal handler in the same one.
        """
    cancelled: bool
    """True after cancel(later=True): calls that would block raise
    CancelledError.  Set it to False to allow them to block again; setting
    it to True is the same as cancel(later=True).
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by id: the copy opens the same queue."""
    @classmethod
    def from_id(cls, id: SupportsIndex, max_message_size: SupportsIndex = 2048) -> Self:
        """Open the queue with this id.

        max_message_size is in bytes, as for the constructor.  Raise
        ExistentialError (EINVAL) if no queue has this id, and PermissionsError
        (EACCES).  See msgctl(2).
        """
    max_size: int
    """The largest number of bytes that the queue may hold (msg_qbytes).
    Raising it above kernel.msgmnb requires CAP_SYS_RESOURCE.
    """
    @property
    def max_message_size(self) -> int:
        """The longest message that this handle sends or receives, in
        bytes.
        """
    @property
    def current_messages(self) -> int:
        """The number of messages in the queue."""
    @property
    def current_bytes(self) -> int:
        """The number of bytes of all messages in the queue."""
    @property
    def last_send_time(self) -> int:
        """The time of the last send, in seconds since the epoch; 0 if there
        was none.
        """
    @property
    def last_receive_time(self) -> int:
        """The time of the last receive; 0 if there was none."""
    @property
    def last_send_pid(self) -> int:
        """The process that last sent a message; 0 if there was none."""
    @property
    def last_receive_pid(self) -> int:
        """The process that last received a message; 0 if there was none."""
    def info(self) -> MessageQueueInfo:
        """Return a MessageQueueInfo, from one system call.

        See msgctl(2), IPC_STAT.
        """
    def send(
        self,
        message: Buffer | str,
        block: bool = True,
        type: SupportsIndex = 1,
        *,
        timeout: SupportsFloat | SupportsIndex | None = None,
    ) -> None:
        """Put a message on the queue.  Wait while the queue is full.

        message is any C-contiguous buffer, or a str, which is encoded as
        UTF-8.  type is a C long of at least 1.  timeout is in seconds; None
        means no limit.  A message longer than the queue's max_size never fits:
        send() waits until its timeout, or without end.

        Raise BusyError (EAGAIN) if the queue is full and block is false or the
        time is up; CancelledError (ECANCELED) after cancel(); ArgumentError
        (EINVAL) if the message is longer than max_message_size or
        kernel.msgmax; ExistentialError (EINVAL, EIDRM) if the queue was
        removed, before or during the wait; and PermissionsError (EACCES).  See
        msgop(2).
        """
    def try_send(self, message: Buffer | str, type: SupportsIndex = 1) -> bool:
        """Send a message and return True, or return False if the queue is full.

        This never waits.  The other exceptions are those of send().  See
        msgop(2).
        """
    def send_many(
        self,
        messages: Iterable[Buffer | str],
        type: SupportsIndex = 1,
        block: bool = True,
        *,
        timeout: SupportsFloat | SupportsIndex | None = None,
    ) -> int:
        """Send messages in order.  Return the number of messages sent.

        All messages are taken from the iterable and checked before the first
        one is sent.  If the queue becomes full and block is false, or if the
        time for all of them is up, the remaining messages are not sent.  If
        an exception is raised in the middle, its attribute sent is the number
        of messages sent.  The exceptions are those of send().  See msgop(2).
        """
    def receive(
        self,
        block: bool = True,
        type: SupportsIndex = 0,
        *,
        timeout: SupportsFloat | SupportsIndex | None = None,
        except_type: bool = False,
        truncate: bool = False,
    ) -> tuple[bytes, int]:
        """Take a message off the queue: (bytes, type).  Wait until there is one.

        type 0 selects the first message; a type above 0 the first one of that
        type or, with except_type, of any other type (MSG_EXCEPT); a type below
        0 the first one of the lowest type that is at most -type.
        timeout is in seconds; None means no limit.

        Raise BusyError (ENOMSG) if there is no such message and block is false
        or the time is up; CancelledError (ECANCELED) after cancel();
        ArgumentError (E2BIG) if the message is longer than max_message_size:
        it stays queued, unless truncate is true, which returns its beginning
        and discards the rest (MSG_NOERROR); ExistentialError (EINVAL, EIDRM)
        if the queue was removed, before or during the wait; and
        PermissionsError (EACCES).  See msgop(2).
        """
    def try_receive(
        self, type: SupportsIndex = 0, *, except_type: bool = False, truncate: bool = False
    ) -> tuple[bytes, int] | None:
        """Take a message if there is one: (bytes, type).  Otherwise return None.

        This never waits.  The other arguments and the exceptions are those of
        receive(), except BusyError.  See msgop(2).
        """
    def receive_into(
        self,
        buffer: Buffer,
        block: bool = True,
        type: SupportsIndex = 0,
        *,
        timeout: SupportsFloat | SupportsIndex | None = None,
        except_type: bool = False,
        truncate: bool = False,
    ) -> tuple[int, int]:
        """Take a message off the queue into a buffer.  Return (count, type).

        buffer is a writable C-contiguous buffer; count is the number of bytes
        of the message.  The buffer's size is the limit instead of
        max_message_size.  The other arguments and the exceptions are those of
        receive().  See msgop(2).
        """
    def receive_many(
        self,
        limit: SupportsIndex,
        block: bool = True,
        type: SupportsIndex = 0,
        *,
        timeout: SupportsFloat | SupportsIndex | None = None,
        except_type: bool = False,
        truncate: bool = False,
    ) -> list[tuple[bytes, int]]:
        """Wait for a message, then take up to limit messages that are queued.

        Return a list of (bytes, type).  It is empty if there is no message and
        block is false or the time is up.  The other arguments and the
        exceptions are those of receive().  An error after the first message
        ends the list; the next call reports it.  See msgop(2).
        """
    def peek(self, index: SupportsIndex = 0) -> tuple[bytes, int] | None:
        """Return a copy of the message at an index: (bytes, type).

        The first message has index 0.  The message stays queued.  Return None
        if the queue has fewer messages.  Raise Error (ENOSYS) on systems other
        than Linux, which lack MSG_COPY; the other errors are those of
        receive().  See msgop(2).
        """
    def iterate(
        self,
        type: SupportsIndex = 0,
        timeout: SupportsFloat | SupportsIndex | None = None,
        except_type: bool = False,
    ) -> Iterator[tuple[bytes, int]]:
        """Return an iterator that receives messages: (bytes, type).

        It ends when the queue is removed or cancelled for later, like an
        iteration over the queue itself.  timeout is the limit for each
        message, in seconds; None means no limit.  The iterator raises
        BusyError (ENOMSG) when the time is up.  type, except_type and the
        other exceptions are those of receive().  See msgop(2).
        """
    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[bytes, int]: ...

def attach(
    id: SupportsIndex, address: SupportsIndex | None = None, flags: SupportsIndex = 0
) -> SharedMemory:
    """Attach the segment with this id and return a SharedMemory.

    address and flags are those of SharedMemory.attach().  Raise
    ExistentialError (EINVAL) if no segment has the id, and the errors of
    SharedMemory.attach().  See shmop(2).
    """

def exists(
    key: SupportsIndex, type: type[Semaphore | SemaphoreSet | SharedMemory | MessageQueue]
) -> bool:
    """Return True if an object of this kind has this key.

    type is Semaphore, SemaphoreSet, SharedMemory, MessageQueue or a
    subclass.  The result is True even if the caller may not use the object.
    Raise KeyTypeError if the key is not an int, ArgumentError (EINVAL) if
    it is None or IPC_PRIVATE.  See semget(2), shmget(2) and msgget(2).
    """

def ftok(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    id: SupportsIndex,
    silence_warning: bool = False,
) -> int:
    """Return a key that is made of the inode of a file and a byte.

    path is a str, bytes or os.PathLike; the byte is the low byte of id.
    Different files can have the same key, so each call issues a warning
    unless silence_warning is true.  Prefer key_from_name(), or None as a
    key.  Raise OSError with errno and filename if the path cannot be
    looked up, and ArgumentError (EINVAL) if the low byte is 0, for which
    POSIX defines no result.  See ftok(3).
    """

def key_from_name(name: str | bytes, /) -> int:
    """Return a key for a name: the same on every machine, in every language.

    name is bytes, or a str, which is encoded as UTF-8.  The key is the low
    31 bits of the 32-bit FNV-1a hash, or 1 if they are 0.  Two names can
    have the same key: among 1 000 names the probability is 1 in 4 300.
    """

def remove_semaphore(id: SupportsIndex, /) -> None:
    """Remove the semaphore set with this id.

    Raise ExistentialError (EINVAL) if no set has the id, OverflowError if
    the id does not fit into a C int, PermissionsError (EPERM) if the caller
    is neither owner nor creator nor root.  See semctl(2).
    """

def remove_shared_memory(id: SupportsIndex, /) -> None:
    """Mark the segment with this id for removal.

    The segment is removed with its last attachment.  Raise the exceptions
    of remove_semaphore().  See shmctl(2).
    """

def remove_message_queue(id: SupportsIndex, /) -> None:
    """Remove the message queue with this id, and its messages.

    Raise the exceptions of remove_semaphore().  See msgctl(2).
    """

def limits() -> Limits:
    """Return a Limits record: the system's limits, and how much is in use.

    They are those of the caller's IPC namespace.  See proc(5) and
    ipc_namespaces(7).
    """

def set_wait_signal(signalnum: SupportsIndex | None, /) -> int | None:
    """Set the signal that interrupts waits.  Return the previous one.

    Deadlines of queues and cancel() need a signal, which the library sends
    only to threads that wait in it.  By default it is a realtime signal
    for which the program has no handler, chosen at the first wait.  The
    library's handler does nothing and restarts system calls (SA_RESTART).
    With None, no signal is used: waits try repeatedly and sleep for at
    most a millisecond in between.  Raise ArgumentError (EINVAL) for a
    signal that the program uses or that cannot have a handler.  See
    signal(7) and timer_create(2).
    """

def semaphores(*, members: bool = False) -> list[SemaphoreInfo]:
    """Return a list of all semaphore sets, one SemaphoreInfo each.

    The list is in the order of the kernel's table.  It includes sets that
    the caller may not read.  If members is true, the members of each
    record are a tuple of SemaphoreMemberInfo (value, last pid, waiting
    threads), or None for a set that the caller may not read.  See
    semctl(2), SEM_STAT_ANY.
    """

def shared_memories(*, pids: bool = False) -> list[SharedMemoryInfo]:
    """Return a list of all segments, one SharedMemoryInfo each.

    The list is in the order of the kernel's table.  It includes segments
    that the caller may not read.  If pids is true, the pids of each record
    are the processes that have the segment attached, as far as /proc shows
    them.  pids_complete is True if they account for all of
    number_attached, and False if there may be more.  See shmctl(2),
    SHM_STAT_ANY, and proc(5).
    """

def message_queues() -> list[MessageQueueInfo]:
    """Return a list of all message queues, one MessageQueueInfo each.

    The list is in the order of the kernel's table.  It includes queues
    that the caller may not read.  See msgctl(2), MSG_STAT_ANY.
    """

def _call_at_end(function: Callable[[], object], /) -> None: ...
def _block_seconds(
    block: object, timeout: SupportsFloat | SupportsIndex | None, /
) -> float | None: ...
def _seconds(timeout: SupportsFloat | SupportsIndex | None, /) -> float | None: ...
def _timed_out(
    error: BusyError, seconds: float, operation: int, type: int = 0, except_type: int = 0, /
) -> None: ...
def _watch(queue: MessageQueue, type: int, except_type: bool, /) -> bool | tuple[bytes, int]: ...
def _put_back(queue: MessageQueue, message: bytes, type: int, /) -> None: ...
def _in_main_interpreter() -> bool: ...
