"""Semaphores, sets and queues for asyncio: the same objects, with waits that are awaited.

Each call first tries at once.  Where it would have to wait, the task stands in a line, and one
helper thread waits in the kernel for the first of that line: a thread for each handle and
direction, however many tasks wait.  A task that is cancelled leaves its line; what the helper has
taken meanwhile goes to the next who asks.  See docs/reference/aio.md.
"""

import asyncio
import atexit
import contextlib
import copy
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, SupportsFloat, SupportsIndex

import sysv_ipc
from sysv_ipc._core import _seconds

__all__ = ["MessageQueue", "Semaphore", "SemaphoreSet"]

#: A helper that is told to end may only just be about to call: it is told again after this.
_AGAIN = 0.001
#: Loops keep no longer timers, in seconds: three years are for ever.
_FOR_EVER = 1e8

#: Guards all that tasks and helpers share; a fork waits for it.
_lock = threading.RLock()

_Timeout = SupportsFloat | SupportsIndex | None
_Future = asyncio.Future[Any]
_Operations = Iterable[Sequence[SupportsIndex]]


class _Request:
    """A task that stands in a line."""

    __slots__ = ("arguments", "done", "expired", "future", "loop")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        self.future: _Future = self.loop.create_future()
        #: What it asked for has been done.
        self.done = False
        #: Its time was up while the helper was in the call for it.
        self.expired = False

    def settle(self, settle: Callable[[_Future], None]) -> bool:
        """Let its loop call this with the future; False where the loop has gone."""
        try:
            self.loop.call_soon_threadsafe(settle, self.future)
        except RuntimeError:
            return False
        return True


class _Line:
    """Tasks that wait for the same, and the thread that waits for the first of them.

    wait(*arguments) waits in the kernel; attempt(*arguments) does not, and raises BusyError.
    Where a result is as good for one as for another, spare() gets one that nobody in the line
    wants any more; where spare is None it belongs to the task that asked.
    """

    def __init__(
        self,
        handle: Any,
        wait: Callable[..., Any],
        attempt: Callable[..., Any],
        spare: Callable[[Any], None] | None,
    ) -> None:
        self.condition = threading.Condition(_lock)
        self.handle = handle
        self.wait = wait
        self.attempt = attempt
        self.spare = spare
        #: In the order in which they came; a dict because any of them may leave.
        self.requests: dict[_Request, None] = {}
        #: Whom the helper is in the call for.
        self.busy: _Request | None = None
        self.thread: threading.Thread | None = None
        self.closed = False
        _lines.add(self)

    # ------------------------------------------------------------ on the side of the tasks

    async def ask(self, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        """Return the result as soon as there is one."""
        with self.condition:
            if self.closed:
                raise ValueError(f"{self.handle!r} has been closed")
            if not self.requests or timeout == 0:
                try:
                    return self.attempt(*arguments)
                except sysv_ipc.BusyError:
                    if timeout == 0:
                        raise
            request = _Request(arguments)
            self.requests[request] = None
            helper = self._call_helper()
        if helper is not None:
            try:
                helper.start()
            except RuntimeError:
                # There are too many threads, or the interpreter ends.
                self.thread = None
                self._withdraw(request)
                raise
        timer = None
        if timeout is not None and timeout < _FOR_EVER:
            timer = request.loop.call_later(timeout, self._expire, request)
        try:
            return await request.future
        except asyncio.CancelledError as error:
            # Who sends cannot give the result to another, and has to know.
            error.done = await self._leave(request)  # type: ignore[attr-defined]
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _call_helper(self) -> threading.Thread | None:
        """Wake the helper, or return one to start.

        Not under the lock: a thread that starts may have to collect garbage first, and what is
        collected may need the lock.
        """
        self.condition.notify_all()
        thread = self.thread
        if thread is not None and (thread.ident is None or thread.is_alive()):
            return None
        self.thread = threading.Thread(target=self._help, name="sysv_ipc.aio", daemon=True)
        return self.thread

    async def _leave(self, request: _Request) -> bool:
        """Leave the line; True where what was asked for has been done all the same."""
        future = request.future
        if future.done() and not future.cancelled() and future.exception() is None:
            # The result was there already, and the task has not come to take it.
            if self.spare is not None:
                self.give(future.result())
            return request.done
        if self._withdraw(request) and self.spare is None:
            # The call ends at once, one way or the other.
            while self.busy is request:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(_AGAIN / 4)
        return request.done

    def _expire(self, request: _Request) -> None:
        """Time is up: one last attempt, as in every wait."""
        if request.future.done():
            return
        if self._withdraw(request) and self.spare is None:
            request.expired = True
            # The helper tells, unless it has just told.
            request.loop.call_later(_AGAIN, self._settle_expired, request)
        else:
            self._attempt_for(request)

    def _settle_expired(self, request: _Request) -> None:
        if self.busy is request:
            request.loop.call_later(_AGAIN, self._settle_expired, request)
        elif not request.done:
            self._attempt_for(request)

    def _attempt_for(self, request: _Request) -> None:
        if request.future.done():
            return
        try:
            request.future.set_result(self.attempt(*request.arguments))
        except Exception as error:
            request.future.set_exception(error)

    def _withdraw(self, request: _Request) -> bool:
        """Take a task out of the line; True where the helper is in the call for it."""
        with self.condition:
            self.requests.pop(request, None)
            self._end_needless_call(request)
            return self.busy is request

    def _end_needless_call(self, request: _Request) -> None:
        """End the call that the helper is in for a task that has left, and for nobody else."""
        with self.condition:
            if self.busy is request and (self.spare is None or not self.requests):
                self._interrupt()
                request.loop.call_later(_AGAIN, self._end_needless_call, request)

    def _interrupt(self) -> None:
        # One that has been removed has ended the call itself.
        with contextlib.suppress(sysv_ipc.Error):
            self.handle.cancel()

    def close(self) -> None:
        """End the helper."""
        with self.condition:
            self.closed = True
            self.condition.notify_all()
            thread = self.thread
        while thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._interrupt()
            thread.join(_AGAIN)

    # ----------------------------------------------------------- on the side of the helper

    def _help(self) -> None:
        while True:
            with self.condition:
                while not self.requests and not self.closed:
                    self.condition.wait()
                if self.closed:
                    return
                request = self.busy = next(iter(self.requests))
            try:
                result = self.wait(*request.arguments)
            except sysv_ipc.CancelledError:
                self.busy = None
            except Exception as error:
                self._fail(request, error)
            else:
                self._succeed(request, result)
            # What is waited for may be collected meanwhile.
            del request

    def _succeed(self, request: _Request, result: Any) -> None:
        with self.condition:
            self.busy = None
            if self.spare is None:
                request.done = True
                self.requests.pop(request, None)
        if self.spare is not None:
            self.give(result)
            return

        def settle(future: _Future) -> None:
            if not future.done():
                future.set_result(result)

        request.settle(settle)

    def give(self, result: Any) -> None:
        """Give a result to the first who still wants it, or spare it."""
        assert self.spare is not None

        def settle(future: _Future) -> None:
            if future.done():
                self.give(result)
            else:
                future.set_result(result)

        while True:
            with self.condition:
                request = next(iter(self.requests), None)
                if request is None:
                    self.spare(result)
                    return
                del self.requests[request]
            if request.settle(settle):
                return

    def _fail(self, request: _Request, error: Exception) -> None:
        """Tell all who wait for the same: what one cannot have the others cannot either."""
        with self.condition:
            self.busy = None
            failed = [request] if self.spare is None else [*self.requests]
            for one in failed:
                self.requests.pop(one, None)

        def settle(future: _Future) -> None:
            if not future.done():
                future.set_exception(copy.copy(error))

        for one in failed:
            one.settle(settle)


_lines: "weakref.WeakSet[_Line]" = weakref.WeakSet()


def _forget_helpers() -> None:
    """In a forked child there are none, nor tasks that would wait."""
    for line in list(_lines):
        line.requests.clear()
        line.busy = line.thread = None
    _lock.release()


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_helpers
)


@atexit.register
def _close_all() -> None:
    """End all helpers before the interpreter ends under them."""
    for line in list(_lines):
        line.close()


def _close(lines: dict[Any, _Line], spared: "_Spared") -> None:
    for line in list(lines.values()):
        line.close()
    spared.put_back()


def _collect(lines: dict[Any, _Line], spared: "_Spared") -> None:
    """Close what has been collected.

    In a thread of its own: garbage may be collected at any moment in any thread, also in one that
    holds the lock, or that a helper waits for.
    """
    if lines:
        # At the end of the interpreter there are no new threads, and atexit has closed all.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=_close, args=(lines, spared), daemon=True).start()


class _Spared:
    """Messages that were taken for tasks that did not want them any more."""

    def __init__(self, handle: Any, lines: dict[Any, _Line]) -> None:
        self.handle = handle
        self.lines = lines
        self.messages: list[tuple[bytes, int]] = []

    def add(self, message: tuple[bytes, int]) -> None:
        """Give it to a line that would take it too, or keep it."""
        with _lock:
            for name, line in self.lines.items():
                if name != "send" and line.requests and _matches(message[1], *name[1:3]):
                    line.give(message)
                    return
            self.messages.append(message)

    def take(self, type: int, except_type: bool) -> tuple[bytes, int] | None:
        """Return the one that msgrcv(2) would take, if there is one."""
        with _lock:
            found = [one for one in self.messages if _matches(one[1], type, except_type)]
            if not found:
                return None
            message = min(found, key=lambda one: one[1]) if type < 0 else found[0]
            self.messages.remove(message)
            return message

    def put_back(self) -> None:
        """Put them back into the queue; what does not fit is kept."""
        with _lock:
            while self.messages:
                content, number = self.messages[0]
                self.handle.send(content, False, number)
                del self.messages[0]


class _Handle:
    """What the three have in common."""

    #: The class of the object that it is about.
    _kind: Any

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Open or create the object, as the class of the same name in sysv_ipc does."""
        self._open(self._kind(*arguments, **keywords))

    @classmethod
    def from_id(cls, *arguments: Any, **keywords: Any) -> Self:
        """Open an object by its id, as the class of the same name in sysv_ipc does."""
        self = cls.__new__(cls)
        self._open(cls._kind.from_id(*arguments, **keywords))
        return self

    def _open(self, handle: Any) -> None:
        #: The object itself: for all that does not wait.
        self.handle = handle
        self._lines: dict[Any, _Line] = {}
        self._spared = _Spared(handle, self._lines)
        weakref.finalize(self, _collect, self._lines, self._spared).atexit = False

    def _line(
        self,
        name: Any,
        wait: Callable[[Any], Callable[..., Any]],
        attempt: Callable[..., Any],
        spare: Callable[[Any], None] | None,
    ) -> _Line:
        """Return the line of this name; wait(handle) is the call, on a handle of its own."""
        with _lock:
            line = self._lines.get(name)
            if line is None:
                # cancel() ends all waits of a handle, so each line has its own.
                own = copy.copy(self.handle)
                if isinstance(own, sysv_ipc.Semaphore):
                    own.block = True
                line = _Line(own, wait(own), attempt, spare)
                self._lines[name] = line
            return line

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

        A queue gets back what was taken for tasks that did not want it any more; BusyError
        where it is full: that is kept.
        """
        _close(self._lines, self._spared)

    def __repr__(self) -> str:
        """Return the object in words."""
        return f"<sysv_ipc.aio.{type(self).__name__} of {self.handle!r}>"


class Semaphore(_Handle):
    """A ``sysv_ipc.Semaphore`` whose waits are awaited; ``async with`` acquires and releases."""

    handle: sysv_ipc.Semaphore
    _kind = sysv_ipc.Semaphore

    async def acquire(self, timeout: _Timeout = None, delta: int = 1) -> bool:
        """Take delta, waiting until there is that much; True.

        timeout is in seconds, None for ever.  Raises BusyError when it is up, else what
        ``sysv_ipc.Semaphore.acquire`` raises.  A task that is cancelled has taken nothing.
        See semop(2).
        """
        handle = self.handle
        line = self._line(
            ("acquire", delta),
            lambda own: lambda: own.acquire(None, delta),
            lambda: handle.acquire(0, delta),
            lambda _: handle.release(delta),
        )
        return bool(await line.ask((), _seconds(timeout)))

    def release(self, delta: int = 1) -> None:
        """Give delta back.  Never waits."""
        self.handle.release(delta)

    async def zero(self, timeout: _Timeout = None) -> bool:
        """Wait until the value is zero; True.  The rest is as in acquire()."""
        handle = self.handle
        line = self._line("zero", lambda own: own.Z, lambda: handle.Z(0), lambda _: None)
        return bool(await line.ask((), _seconds(timeout)))

    async def __aenter__(self) -> Self:
        """Acquire it."""
        await self.acquire()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Release it."""
        self.release()


class SemaphoreSet(_Handle):
    """A ``sysv_ipc.SemaphoreSet`` whose waits are awaited."""

    handle: sysv_ipc.SemaphoreSet
    _kind = sysv_ipc.SemaphoreSet

    async def acquire(self, *indexes: int, timeout: _Timeout = None) -> bool:
        """Take 1 from each of these members, all or none; True.

        The rest is as in ``Semaphore.acquire``.
        """
        handle = self.handle
        line = self._line(
            ("acquire", indexes),
            lambda own: lambda: own.acquire(*indexes),
            lambda: handle.acquire(*indexes, timeout=0),
            lambda _: handle.release(*indexes),
        )
        return bool(await line.ask((), _seconds(timeout)))

    def release(self, *indexes: int) -> None:
        """Give 1 back to each of these members.  Never waits."""
        self.handle.release(*indexes)

    async def zero(self, *indexes: int, timeout: _Timeout = None) -> bool:
        """Wait until each of these members is zero at the same time; True."""
        handle = self.handle
        line = self._line(
            ("zero", indexes),
            lambda own: lambda: own.zero(*indexes),
            lambda: handle.zero(*indexes, timeout=0),
            lambda _: None,
        )
        return bool(await line.ask((), _seconds(timeout)))

    async def op(self, operations: _Operations, timeout: _Timeout = None) -> bool:
        """Do all of the operations or none; True.

        A task that is cancelled just when they are done is told: the attribute ``done`` of the
        CancelledError is True then.
        """
        handle = self.handle
        given = tuple(tuple(operation) for operation in operations)
        line = self._line(
            ("op", given),
            lambda own: own.compile(given),
            lambda: handle.op(given, 0),
            None,
        )
        return bool(await line.ask((), _seconds(timeout)))


class MessageQueue(_Handle):
    """A ``sysv_ipc.MessageQueue`` whose waits are awaited; ``async for`` receives."""

    handle: sysv_ipc.MessageQueue
    _kind = sysv_ipc.MessageQueue

    async def send(
        self, message: Any, block: bool = True, type: int = 1, *, timeout: _Timeout = None
    ) -> None:
        """Put a message on the queue, waiting while it is full.

        Messages of one handle go in the order in which they were given.  A task that is
        cancelled just when its message goes is told: the attribute ``done`` of the
        CancelledError is True then.  The rest is as in ``sysv_ipc.MessageQueue.send``.
        """
        handle = self.handle
        # A copy: who gave it may change it meanwhile.
        content = message.encode() if isinstance(message, str) else bytes(message)
        line = self._line(
            "send",
            lambda own: lambda content, number: own.send(content, True, number),
            lambda content, number: handle.send(content, False, number),
            None,
        )
        await line.ask((content, type), _seconds(timeout) if block else 0)

    async def receive(
        self,
        block: bool = True,
        type: int = 0,
        *,
        timeout: _Timeout = None,
        except_type: bool = False,
        truncate: bool = False,
    ) -> tuple[bytes, int]:
        """Take a message off the queue, waiting until there is one: (bytes, type).

        Tasks that wait for the same get messages in the order in which they asked.  A task
        that is cancelled has taken none: what was taken for it goes to the next who asks.
        The rest is as in ``sysv_ipc.MessageQueue.receive``.
        """
        name = ("receive", type, bool(except_type), bool(truncate))
        which: dict[str, Any] = {"except_type": except_type, "truncate": truncate}
        handle, spared = self.handle, self._spared
        line = self._line(
            name,
            lambda own: lambda: own.receive(True, type, **which),
            lambda: spared.take(type, except_type) or handle.receive(False, type, **which),
            spared.add,
        )
        message: tuple[bytes, int] = await line.ask((), _seconds(timeout) if block else 0)
        return message

    def __aiter__(self) -> Self:
        """Receive until the queue is removed."""
        return self

    async def __anext__(self) -> tuple[bytes, int]:
        """Receive the next message."""
        try:
            return await self.receive()
        except sysv_ipc.ExistentialError:
            raise StopAsyncIteration from None


def _matches(type: int, wanted: int, except_type: bool) -> bool:
    """Whether msgrcv(2) would take a message of this type."""
    if except_type:
        return type != wanted
    return not wanted or type == wanted or type <= -wanted
