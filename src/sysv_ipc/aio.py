"""Semaphores, sets and queues for asyncio: the same objects, with waits that are awaited.

Each call first tries at once.  Where it would have to wait, the task stands in a line, and one
helper thread waits in the kernel for the first of that line.  Tasks that wait for the same stand
in one line, however many they are; those that wait for different types of messages, or for
different deltas or members, need a thread each, because msgrcv(2) and semop(2) wait for one.  A
task that is cancelled leaves its line; what the helper has taken meanwhile goes to another who
waits for such a thing, or back to the kernel.  Lines and helpers are in _lines.py.

What is awaited is a plain method that looks at block and timeout and returns a coroutine: a task
runs that from asyncio's own code, which an ArgumentWarning must not blame.
"""

import contextlib
import copy
import errno
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from operator import index
from typing import Any, NoReturn, Self, SupportsFloat, SupportsIndex

import sysv_ipc
from sysv_ipc._core import _patience, _seconds
from sysv_ipc._lines import Lines, collect
from sysv_ipc._messages import Message, Messages, whole
from sysv_ipc._taken import Call

__all__ = ["MessageQueue", "Semaphore", "SemaphoreSet"]

_Timeout = SupportsFloat | SupportsIndex | None
_Operations = Iterable[Sequence[SupportsIndex]]
#: Gives the seconds that a call waits, or raises what is wrong with them.
_Patience = Callable[[], float | None]


class _Handle:
    """What the three have in common."""

    #: The class of the object that it is about.
    _kind: Any
    _lines_of: Any = Lines

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make one whose handle refuses all, until it has been initialised."""
        self = super().__new__(cls)
        self._set(cls._kind.__new__(cls._kind))
        return self

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Open or create the object, as the class of the same name in sysv_ipc does."""
        self._open(self._kind(*arguments, **keywords))

    @classmethod
    def from_id(cls, *arguments: Any, **keywords: Any) -> Self:
        """Open an object by its id, as the class of the same name in sysv_ipc does."""
        self = cls.__new__(cls)
        self._open(cls._kind.from_id(*arguments, **keywords))
        return self

    def _set(self, handle: Any) -> None:
        #: The object itself: for all that does not wait.
        self.handle = handle
        self._lines = self._lines_of(handle)

    def _open(self, handle: Any) -> None:
        before = self._lines
        self._set(handle)
        collect(before)
        weakref.finalize(self, collect, self._lines).atexit = False

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
        """Remove the object; all who wait get ExistentialError."""
        self.handle.remove()

    def close(self) -> None:
        """End the helper threads.  It can wait no more; the object itself is left alone.

        A queue gets back what it had no room for when a task did not want it any more; BusyError
        where it is still full: that is kept.
        """
        self._lines.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the object itself does, by id: the copy opens the same."""
        return _reopen, (type(self), self.handle)

    def __repr__(self) -> str:
        """Return the object in words."""
        return f"<sysv_ipc.aio.{type(self).__name__} of {self.handle!r}>"


class Semaphore(_Handle):
    """A ``sysv_ipc.Semaphore`` whose waits are awaited; ``async with`` acquires and releases."""

    handle: sysv_ipc.Semaphore
    _kind = sysv_ipc.Semaphore

    def acquire(self, timeout: _Timeout = None, delta: int = 1) -> Coroutine[Any, Any, bool]:
        """Take delta, waiting until there is that much; True.

        timeout is in seconds, None for ever.  Raises BusyError when it is up, else what
        ``sysv_ipc.Semaphore.acquire`` raises.  A task that is cancelled has taken nothing.
        See semop(2).
        """
        return self._acquire(_given(_seconds, timeout), delta)

    async def _acquire(self, patience: _Patience, delta: int) -> bool:
        handle, number, undo = self.handle, _integer(delta, "delta"), self.handle.undo

        def wait(own: sysv_ipc.Semaphore) -> bool:
            own.block, own.undo = True, undo
            return own.acquire(None, number)

        def back(_: object) -> Callable[[], object]:
            # The handle's undo may be another by now, and the kernel would count it wrongly.
            own = copy.copy(handle)
            own.undo = undo
            return partial(own.release, number)

        call = Call(("acquire", number, undo), wait, lambda: handle.acquire(0, number), back)
        seconds = patience()
        taken: bool = await self._lines.ask(call, (), seconds if handle.block else 0)
        return taken

    def release(self, delta: int = 1) -> None:
        """Give delta back.  Never waits."""
        self.handle.release(delta)

    def zero(self, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Wait until the value is zero; True.  The rest is as in acquire()."""
        return self._zero(_given(_seconds, timeout))

    async def _zero(self, patience: _Patience) -> bool:
        handle = self.handle

        def wait(own: sysv_ipc.Semaphore) -> bool:
            own.block = True
            return own.Z()

        call = Call("zero", wait, lambda: handle.Z(0), _nothing)
        seconds = patience()
        taken: bool = await self._lines.ask(call, (), seconds if handle.block else 0)
        return taken

    async def __aenter__(self) -> Self:
        """Acquire it."""
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: object, inside: BaseException | None, traceback: object
    ) -> None:
        """Release it; an exception inside the block goes on, whatever becomes of that."""
        try:
            self.release()
        except Exception as error:
            if inside is None:
                raise
            inside.add_note(f"Besides, {error}")


class SemaphoreSet(_Handle):
    """A ``sysv_ipc.SemaphoreSet`` whose waits are awaited."""

    handle: sysv_ipc.SemaphoreSet
    _kind = sysv_ipc.SemaphoreSet

    def acquire(self, *indexes: int, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Take 1 from each of these members, all or none; True.

        The rest is as in ``Semaphore.acquire``.
        """
        return self._acquire(indexes, _given(_seconds, timeout))

    async def _acquire(self, indexes: tuple[int, ...], patience: _Patience) -> bool:
        handle, which = self.handle, _integers(indexes, "index")
        call = Call(
            ("acquire", which),
            lambda own: own.acquire(*which),
            lambda: handle.acquire(*which, timeout=0),
            lambda _: partial(handle.release, *which),
        )
        taken: bool = await self._lines.ask(call, (), patience())
        return taken

    def release(self, *indexes: int) -> None:
        """Give 1 back to each of these members.  Never waits."""
        self.handle.release(*indexes)

    def zero(self, *indexes: int, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Wait until each of these members is zero at the same time; True."""
        return self._zero(indexes, _given(_seconds, timeout))

    async def _zero(self, indexes: tuple[int, ...], patience: _Patience) -> bool:
        handle, which = self.handle, _integers(indexes, "index")
        call = Call(
            ("zero", which),
            lambda own: own.zero(*which),
            lambda: handle.zero(*which, timeout=0),
            _nothing,
        )
        taken: bool = await self._lines.ask(call, (), patience())
        return taken

    def op(self, operations: _Operations, timeout: _Timeout = None) -> Coroutine[Any, Any, bool]:
        """Do all of the operations or none; True.

        A task that is cancelled just when they are done is told: the attribute ``done`` of the
        CancelledError is True then.
        """
        return self._op(operations, _given(_seconds, timeout))

    async def _op(self, operations: _Operations, patience: _Patience) -> bool:
        handle = self.handle
        given = handle.compile(operations).operations
        call = Call(("op", given), lambda own: own.op(given), lambda: handle.op(given, 0), None)
        taken: bool = await self._lines.ask(call, (), patience())
        return taken


class MessageQueue(_Handle):
    """A ``sysv_ipc.MessageQueue`` whose waits are awaited; ``async for`` receives."""

    handle: sysv_ipc.MessageQueue
    _kind = sysv_ipc.MessageQueue
    _lines: Messages
    _lines_of = Messages

    def send(
        self, message: Any, block: bool = True, type: int = 1, *, timeout: _Timeout = None
    ) -> Coroutine[Any, Any, None]:
        """Put a message on the queue, waiting while it is full.

        Messages of one handle that wait go in the order in which they were given; one that does
        not wait, or whose time is just up, goes where there is room for it.  A task that is
        cancelled just when its message goes is told: the attribute ``done`` of the
        CancelledError is True then.  The rest is as in ``sysv_ipc.MessageQueue.send``.
        """
        return self._send(message, _given(_patience, block, timeout), type)

    async def _send(self, message: Any, patience: _Patience, type: int) -> None:
        handle, number = self.handle, _integer(type, "type")
        seconds = patience()
        if isinstance(message, str):
            message = message.encode()
        try:
            with memoryview(message) as view:
                fits = view.c_contiguous and view.nbytes <= handle.max_message_size
        except TypeError:
            fits = False
        if not fits or not 0 < number <= sys.maxsize:
            # What is wrong is told at once, whoever waits.
            handle.send(message, False, number)
        # A copy where it has to wait: who gave it may change it meanwhile.
        content = message if seconds == 0 else bytes(message)
        await self._lines.ask(
            Call(
                "send",
                lambda own, content, number: own.send(content, True, number),
                lambda content, number: handle.send(content, False, number),
                None,
            ),
            (content, number),
            seconds,
        )

    def receive(
        self,
        block: bool = True,
        type: int = 0,
        *,
        timeout: _Timeout = None,
        except_type: bool = False,
        truncate: bool = False,
    ) -> Coroutine[Any, Any, tuple[bytes, int]]:
        """Take a message off the queue, waiting until there is one: (bytes, type).

        Tasks that wait for the same get messages in the order in which they asked.  A task
        that is cancelled has taken none: what was taken for it goes to another that waits for
        it, or back to the end of the queue.  The rest is as in
        ``sysv_ipc.MessageQueue.receive``.
        """
        return self._receive(_given(_patience, block, timeout), type, except_type, truncate)

    async def _receive(
        self, patience: _Patience, type: int, except_type: bool, truncate: bool
    ) -> tuple[bytes, int]:
        handle, lines, number = self.handle, self._lines, _integer(type, "type")
        other, cut = bool(except_type), bool(truncate)
        seconds = patience()

        def wait(own: sysv_ipc.MessageQueue) -> Message:
            if cut:
                return _receive_whole(own, number, other)
            return own.receive(True, number, except_type=other)

        def back(message: Message) -> Callable[[], object]:
            content, number = message
            return partial(whole(handle).send, content, False, number)

        def attempt() -> Message:
            return lines.take(wants, number < 0) or handle.receive(
                False, number, except_type=other, truncate=cut
            )

        def wants(message: Message) -> bool:
            fits = cut or len(message[0]) <= handle.max_message_size
            return fits and _matches(message[1], number, other)

        call = Call(("receive", number, other, cut), wait, attempt, back, wants)
        content, taken = await lines.ask(call, (), seconds)
        # Only now, because another would have wanted it whole.
        return content[: handle.max_message_size], taken

    def __aiter__(self) -> Self:
        """Receive until the queue is removed."""
        return self

    async def __anext__(self) -> tuple[bytes, int]:
        """Receive the next message."""
        try:
            return await self.receive()
        except sysv_ipc.ExistentialError:
            raise StopAsyncIteration from None


def _reopen(kind: type[_Handle], handle: Any) -> _Handle:
    """Make one of a handle that was pickled."""
    self = kind.__new__(kind)
    self._open(handle)
    return self


def _given(convert: Callable[..., float | None], *values: object) -> _Patience:
    """Convert what a call was given: now, so that a warning comes where the call is.

    What is wrong is raised when the call is awaited, as everything else is.
    """
    try:
        seconds = convert(*values)
    except Exception as error:
        return partial(_raise, error)
    return lambda: seconds


def _raise(error: Exception) -> NoReturn:
    raise error


def _nothing(_: object) -> Callable[[], object]:
    """Return what gives back what was not taken."""
    return bool


def _integer(value: SupportsIndex, name: str) -> int:
    """Return it as an int; say what it is for where it is none, as the library does."""
    if not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    return index(value)


def _integers(values: Iterable[SupportsIndex], name: str) -> tuple[int, ...]:
    return tuple(_integer(value, name) for value in values)


def _matches(type: int, wanted: int, except_type: bool) -> bool:
    """Whether msgrcv(2) would take a message of this type."""
    if except_type:
        return type != wanted
    return not wanted or type == wanted or type <= -wanted


def _receive_whole(own: sysv_ipc.MessageQueue, type: int, except_type: bool) -> Message:
    """Wait for a message, also for one that is longer than the handle takes."""
    while True:
        try:
            return own.receive(True, type, except_type=except_type)
        except sysv_ipc.ArgumentError as error:
            if error.errno != errno.E2BIG:
                raise
        # It is still there, or somebody else was faster.
        with contextlib.suppress(sysv_ipc.BusyError):
            return whole(own).receive(False, type, except_type=except_type)
