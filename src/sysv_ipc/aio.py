"""Semaphores, semaphore sets and message queues for asyncio.

Each call first tries without blocking.  If it would block, the task enters a wait queue, and a
worker thread blocks on behalf of the task at its head: _waits.py.  A cancelled call has either
happened or not.  acquire() is undone; send() and op() tell by the attribute done of the
CancelledError; receive() never takes a message for a task that may be gone: its worker thread only
watches, and the task then takes the message itself.

The public methods are plain functions that look at block and timeout and return a coroutine: a task
runs the coroutine from asyncio's own code, which an ArgumentWarning must not blame.
"""

import copy
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial, wraps
from operator import index
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    Self,
    SupportsFloat,
    SupportsIndex,
    TypeVar,
    cast,
)

import sysv_ipc
from sysv_ipc._core import (
    _OPERATION_ACQUIRE,
    _OPERATION_OPERATE,
    _OPERATION_RECEIVE,
    _OPERATION_SEND,
    _OPERATION_ZERO,
    _block_seconds,
    _put_back,
    _seconds,
    _watch,
)
from sysv_ipc._waits import Request, Waits

__all__ = ["MessageQueue", "Semaphore", "SemaphoreSet"]

_Timeout = SupportsFloat | SupportsIndex | None
_Operations = Iterable[Sequence[SupportsIndex]]
_Message = tuple[bytes, int]
_Undo = Callable[[Any, Any], Callable[[], object]]
_Init = TypeVar("_Init", bound=Callable[..., None])
_Class = TypeVar("_Class", bound="_Handle")


class _Handle:
    """The base class of the three public classes."""

    __slots__ = ("__weakref__", "_waits", "handle")

    #: The class of the synchronous object.
    _kind: Any
    #: The name of an object in a message.
    _name: str
    #: The synchronous object, for everything that does not wait.
    handle: Any
    _waits: Waits

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Create an object whose handle refuses everything until it is initialised."""
        self = super().__new__(cls)
        self.handle = cls._kind.__new__(cls._kind)
        self._waits = Waits(self.handle)
        return self

    def _open(self, handle: Any) -> None:
        before = self._waits
        self.handle, self._waits = handle, Waits(handle)
        before.close()

    # A type checker that saw these would accept every attribute.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Refuse an attribute that neither the object nor its class has."""
            raise self._missing(name)

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse the settings of the synchronous object, also in a class with a __dict__."""
            if hasattr(self._kind, name) and not hasattr(type(self), name):
                raise self._missing(name)
            super().__setattr__(name, value)

    def _missing(self, name: str) -> AttributeError:
        """Make the error for an attribute that this object does not have."""
        cls = type(self)
        text = f"{cls.__module__}.{cls.__qualname__} has no attribute {name!r}"
        if hasattr(self._kind, name):
            text += f": it belongs to the handle, {self._name}.handle.{name}"
        return AttributeError(text, name=name, obj=self)

    def _wait(
        self, make: Callable[[], Request], limit: Callable[..., float | None], *values: object
    ) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that waits for the request that make() returns.

        limit(*values) is how many seconds it may wait.  All arguments are converted now, so that a
        warning shows the line of the call.  An error in them is raised when the call is awaited,
        like all other errors.
        """
        try:
            wait = self._waits.wait(make(), limit(*values))
        except Exception as error:
            return _raise(error)
        # A warning that it was never awaited shows this.
        wait.__qualname__ = make.__qualname__  # type: ignore[attr-defined]
        return wait

    @property
    def key(self) -> int | None:
        """The object's key."""
        key: int | None = self.handle.key
        return key

    @property
    def id(self) -> int:
        """The object's id."""
        number: int = self.handle.id
        return number

    def remove(self) -> None:
        """Remove the object; all waiting tasks get ExistentialError."""
        self.handle.remove()

    def close(self) -> None:
        """End all waits with ValueError, and later awaited calls too.  The object itself stays."""
        self._waits.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by id, like the synchronous object: the copy opens the same object."""
        # Only a subclass can have a __dict__.
        state = getattr(self, "__dict__", None)
        return _reopen, (type(self), copy.copy(self.handle)), state or None

    def __repr__(self) -> str:
        """Return the class and the synchronous object."""
        return f"<sysv_ipc.aio.{type(self).__name__} of {self.handle!r}>"


def _passes_on(written: _Init) -> _Init:
    """Make an __init__() that passes on the arguments that it is given, and no defaults.

    An ArgumentWarning depends on which arguments are given.  The function as it is written is for
    readers and type checkers.
    """

    @wraps(written)
    def init(self: _Handle, *arguments: Any, **keywords: Any) -> None:
        self._open(self._kind(*arguments, **keywords))

    return cast(_Init, init)


class Semaphore(_Handle):
    """A ``sysv_ipc.Semaphore`` whose waits are awaited; ``async with`` acquires and releases.

    The constructor has the arguments of ``sysv_ipc.Semaphore``, and raises the same errors.

    >>> async def main():
    ...     semaphore = sysv_ipc.aio.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    ...     async with semaphore:
    ...         print(semaphore.handle.value)
    ...     semaphore.remove()
    >>> asyncio.run(main())
    0
    """

    __slots__ = ()

    handle: sysv_ipc.Semaphore
    """The ``sysv_ipc.Semaphore``, for everything that does not wait."""
    _kind = sysv_ipc.Semaphore
    _name = "semaphore"

    @_passes_on
    def __init__(
        self,
        key: SupportsIndex | None,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        initial_value: SupportsIndex = 0,
    ) -> None:
        """Open or create the semaphore, like ``sysv_ipc.Semaphore``."""

    @classmethod
    def from_id(cls, id: SupportsIndex, index: SupportsIndex = 0) -> Self:
        """Open a semaphore by its id, like ``sysv_ipc.Semaphore.from_id``."""
        return _reopen(cls, sysv_ipc.Semaphore.from_id(id, index))

    def acquire(self, timeout: _Timeout = None, delta: int = 1) -> Coroutine[Any, Any, bool]:
        """Subtract delta from the value.  Wait while the value is smaller.  Return True.

        timeout is in seconds; None means no limit.  Raise BusyError (EAGAIN) if the time is up,
        and the other errors of ``sysv_ipc.Semaphore.acquire``.  A cancelled task has taken
        nothing.  See semop(2).
        """

        def acquire() -> Request:
            handle, number, undo = self.handle, _integer(delta, "delta"), self.handle.undo

            def block(own: sysv_ipc.Semaphore) -> list[bool]:
                own.block, own.undo = True, undo
                return [own.acquire(None, number)]

            return Request(
                ("acquire", number, undo),
                (_OPERATION_ACQUIRE,),
                partial(handle.acquire, 0, number),
                block,
                lambda own, _: partial(own.release, number),
            )

        return self._wait(acquire, self._limit, timeout)

    def _limit(self, timeout: _Timeout) -> float | None:
        """Return how many seconds a call may wait, like the synchronous object."""
        seconds = _seconds(timeout)
        return seconds if self.handle.block else 0

    def release(self, delta: int = 1) -> None:
        """Add delta to the value.  This never waits.  See semop(2)."""
        self.handle.release(delta)

    def zero(self, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Wait until the value is zero.  Return True.  The errors are those of acquire()."""

        def zero() -> Request:
            def block(own: sysv_ipc.Semaphore) -> list[bool]:
                own.block = True
                return [own.Z()]

            attempt = partial(self.handle.Z, 0)
            return Request("zero", (_OPERATION_ZERO,), attempt, block, _undo_nothing)

        return self._wait(zero, self._limit, timeout)

    async def __aenter__(self) -> Self:
        """Acquire it."""
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: object, inside: BaseException | None, traceback: object
    ) -> None:
        """Release it; if that fails, an exception from inside the block gets a note."""
        try:
            self.release()
        except Exception as error:
            if inside is None:
                raise
            inside.add_note(f"release() also failed: {error}")


class SemaphoreSet(_Handle):
    """A ``sysv_ipc.SemaphoreSet`` whose waits are awaited.

    The constructor has the arguments of ``sysv_ipc.SemaphoreSet``, and raises the same errors.

    >>> async def main():
    ...     pools = sysv_ipc.aio.SemaphoreSet(None, 2, sysv_ipc.IPC_CREX, initial_values=[1, 5])
    ...     print(await pools.op([(0, -1), (1, -3)], timeout=1), pools.handle.values)
    ...     pools.remove()
    >>> asyncio.run(main())
    True (0, 2)
    """

    __slots__ = ()

    handle: sysv_ipc.SemaphoreSet
    """The ``sysv_ipc.SemaphoreSet``, for everything that does not wait."""
    _kind = sysv_ipc.SemaphoreSet
    _name = "semaphores"

    @_passes_on
    def __init__(
        self,
        key: SupportsIndex | None,
        nsems: SupportsIndex = 0,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        initial_values: Iterable[SupportsIndex] | None = None,
    ) -> None:
        """Open or create the set, like ``sysv_ipc.SemaphoreSet``."""

    @classmethod
    def from_id(cls, id: SupportsIndex) -> Self:
        """Open a set by its id, like ``sysv_ipc.SemaphoreSet.from_id``."""
        return _reopen(cls, sysv_ipc.SemaphoreSet.from_id(id))

    def acquire(self, *indexes: int, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Subtract 1 from each of these members: from all, or from none.  Return True.

        indexes are the members.  timeout and errors are those of ``Semaphore.acquire``.
        """
        return self._on_members(
            "acquire", indexes, timeout, lambda own, members: partial(own.release, *members)
        )

    def release(self, *indexes: int) -> None:
        """Add 1 to each of these members: to all, or to none.  This never waits."""
        self.handle.release(*indexes)

    def zero(self, *indexes: int, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Wait until all of these members are zero at the same time.  Return True."""
        return self._on_members("zero", indexes, timeout, _undo_nothing)

    def _on_members(
        self, name: str, indexes: tuple[int, ...], timeout: _Timeout, undo: _Undo
    ) -> Coroutine[Any, Any, bool]:
        """Call the method of this name, which waits for members, in a task."""

        def call() -> Request:
            members = tuple(_integer(number, "index") for number in indexes)
            return Request(
                (name, members),
                (_OPERATION_OPERATE,),
                partial(getattr(self.handle, name), *members, timeout=0),
                lambda own: [getattr(own, name)(*members)],
                lambda own, _: undo(own, members),
            )

        return self._wait(call, _seconds, timeout)

    def op(self, operations: _Operations, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Do all of the operations, or none of them.  Return True.

        The arguments and errors are those of ``sysv_ipc.SemaphoreSet.op``.  If the task is
        cancelled, the attribute ``done`` of the CancelledError tells whether the operations were
        done.
        """

        def op() -> Request:
            given = self.handle.compile(operations).operations
            attempt = partial(self.handle.op, given, 0)
            return Request(
                ("op", given), (_OPERATION_OPERATE,), attempt, lambda own: [own.op(given)], None
            )

        return self._wait(op, _seconds, timeout)


class MessageQueue(_Handle):
    """A ``sysv_ipc.MessageQueue`` whose waits are awaited; ``async for`` receives.

    The constructor has the arguments of ``sysv_ipc.MessageQueue``, and raises the same errors.

    >>> async def main():
    ...     queue = sysv_ipc.aio.MessageQueue(None, sysv_ipc.IPC_CREX)
    ...     await queue.send(b"the job is done", type=7)
    ...     print(await queue.receive(timeout=1))
    ...     queue.remove()
    >>> asyncio.run(main())
    (b'the job is done', 7)
    """

    __slots__ = ()

    handle: sysv_ipc.MessageQueue
    """The ``sysv_ipc.MessageQueue``, for everything that does not wait."""
    _kind = sysv_ipc.MessageQueue
    _name = "queue"

    @_passes_on
    def __init__(
        self,
        key: SupportsIndex | None,
        flags: SupportsIndex = 0,
        mode: SupportsIndex = 0o600,
        max_message_size: SupportsIndex = 2048,
    ) -> None:
        """Open or create the queue, like ``sysv_ipc.MessageQueue``."""

    @classmethod
    def from_id(cls, id: SupportsIndex, max_message_size: SupportsIndex = 2048) -> Self:
        """Open a queue by its id, like ``sysv_ipc.MessageQueue.from_id``."""
        return _reopen(cls, sysv_ipc.MessageQueue.from_id(id, max_message_size))

    def send(
        self, message: Any, block: bool = True, type: int = 1, *, timeout: _Timeout = None
    ) -> Coroutine[Any, Any, None]:
        """Put a message on the queue.  Wait while the queue is full.

        Messages that wait in one loop are sent in the order of the calls; a message that does not
        wait, or whose time is just up, is sent if there is room.  If the task is cancelled, the
        attribute ``done`` of the CancelledError tells whether the message was sent.  The arguments
        and errors are those of ``sysv_ipc.MessageQueue.send``.
        """

        def send() -> Request:
            handle, number = self.handle, _integer(type, "type")
            content = message.encode() if isinstance(message, str) else message
            try:
                with memoryview(content) as view:
                    fits = view.c_contiguous and view.nbytes <= handle.max_message_size
            except TypeError:
                fits = False
            if not fits or not 0 < number <= sys.maxsize:
                # It raises what is wrong, at once, also if other tasks wait.
                handle.send(content, False, number)
            # The caller may change its buffer while the task waits.
            kept = bytes(content)
            return Request(
                "send",
                (_OPERATION_SEND,),
                partial(handle.send, kept, False, number),
                lambda own: [own.send(kept, True, number)],
                None,
            )

        return self._wait(send, _block_seconds, block, timeout)

    def receive(
        self,
        block: bool = True,
        type: int = 0,
        *,
        timeout: _Timeout = None,
        except_type: bool = False,
        truncate: bool = False,
    ) -> Coroutine[Any, Any, _Message]:
        """Take a message off the queue: (bytes, type).  Wait until there is one.

        Tasks of one loop that wait for the same messages get them in the order in which they
        asked.  A cancelled task has taken nothing.  The arguments and errors are those of
        ``sysv_ipc.MessageQueue.receive``.
        """

        def receive() -> Request:
            handle, number, other = self.handle, _integer(type, "type"), bool(except_type)
            attempt = partial(
                handle.receive, False, number, except_type=other, truncate=bool(truncate)
            )

            def watch(own: sysv_ipc.MessageQueue) -> list[_Message]:
                found = _watch(own, number, other)
                # An empty message is taken by a watch; the task takes any other one.
                return [found] if isinstance(found, tuple) else []

            def put_back(_: object, message: _Message) -> Callable[[], object]:
                return partial(_put_back, handle, *message)

            purpose = (_OPERATION_RECEIVE, number, other)
            return Request(("receive", number, other), purpose, attempt, watch, put_back)

        return self._wait(receive, _block_seconds, block, timeout)

    def __aiter__(self) -> Self:
        """Receive until the queue is removed."""
        return self

    async def __anext__(self) -> _Message:
        """Receive the next message."""
        try:
            return await self.receive()
        except sysv_ipc.ExistentialError:
            raise StopAsyncIteration from None


def _reopen(cls: type[_Class], handle: Any) -> _Class:
    """Make an object of a synchronous one, such as one that was pickled."""
    self = cls.__new__(cls)
    self._open(handle)
    return self


async def _raise(error: Exception) -> NoReturn:
    raise error


def _undo_nothing(_own: object, _result: object) -> Callable[[], object]:
    """Return a function that undoes nothing."""
    return bool


def _integer(value: SupportsIndex, name: str) -> int:
    """Return an int; if it is none, raise the same error as the library."""
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    return index(value)
