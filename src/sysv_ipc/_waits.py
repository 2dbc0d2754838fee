"""The waits of sysv_ipc.aio: queues of waiting tasks, and the blocking calls of worker threads.

Each event loop has a wait queue for each thing that its tasks wait for.  The task at the head makes
the blocking call, in a worker thread and on a handle of its own, so that the call can be ended.
Everything about a wait queue happens in the thread of its loop.

A signal handler may raise in a loop's thread wherever Python calls a function.  Therefore this
module holds no lock, and one step of C, mostly map(), moves a result from the call to the waiter
and from the waiter to the task.  If the task does not want it, it is taken back from its present
place.
"""

import asyncio
import contextlib
import copy
import operator
import os
import threading
from _queue import Empty, SimpleQueue
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import sysv_ipc
from sysv_ipc import _core, _workers

#: Seconds; event loops cannot set timers much farther ahead.
_FOREVER = 1e8

#: The calls whose results no task has got yet.
_calls: "set[_Call]" = set()
_ended = False


class Request(NamedTuple):
    """A thing that a task waits for."""

    #: Tasks that wait for the same thing use the same name.
    name: Hashable
    #: The operation, for the text of a BusyError; type and except_type too if it receives.
    purpose: tuple[int, ...]
    #: Implemented in C: try without blocking; raise BusyError if the call would block.
    attempt: Callable[[], Any]
    #: block(handle): wait; return a list with the result, or an empty one if the task has to try.
    block: Callable[[Any], list[Any]]
    #: undo(handle, result) returns a function, implemented in C, that takes the result back.  None:
    #: that is impossible, and a cancelled task learns whether the call was done.
    undo: Callable[[Any, Any], Callable[[], object]] | None


#: At most one handle and result; one of several takes it: the task, or a thread that undoes it.
_Results = deque[tuple[Any, Any]]


def _undo(results: _Results, request: Request) -> bool:
    """Undo the call if its result is still here; return whether that is impossible."""
    # An object that has been removed needs nothing.
    with contextlib.suppress(IndexError, sysv_ipc.Error):
        if request.undo is not None:
            undo = request.undo(*results[0])
            deque(zip(map(deque.pop, [results]), map(operator.call, [undo]), strict=True), 0)
    return bool(results)


class _Call:
    """A blocking call in a worker thread."""

    def __init__(self, handle: Any, waiter: "_Waiter") -> None:
        self.handle = handle
        self.waiter = waiter
        self.results: _Results = deque()
        #: At most one.  A task removes it, because it would be part of a reference cycle here.
        self.errors: list[BaseException] = []
        #: Set by the worker thread, in this order.
        self.started = self.finished = False
        #: Set when the task does not want the result any more.
        self.abandoned = False
        self.pid = os.getpid()
        self.news: SimpleQueue[None] = SimpleQueue()

    def run(self) -> None:
        """Make the call.  Runs in the worker thread."""
        self.started = True
        if not self.abandoned:
            try:
                results = self.waiter.request.block(self.handle)
                self.results.extend([(self.handle, result) for result in results])
            except BaseException as error:
                self.errors.append(error.with_traceback(None))
        self.finished = True
        if self.abandoned:
            _undo(self.results, self.waiter.request)
        self.news.put(None)
        try:
            self.waiter.queue.loop.call_soon_threadsafe(self.waiter.wake)
        except RuntimeError:
            # The loop has been closed.
            _undo(self.results, self.waiter.request)

    def abandon(self, wait: bool) -> bool:
        """End the call; wait for that unless told otherwise.

        Return whether it has succeeded and cannot be undone.
        """
        # In this order: either the worker thread sees it, or this thread sees that it has started.
        self.abandoned = True
        _calls.discard(self)
        if self.pid != os.getpid():
            # It is the call of a parent process.
            return False
        if not self.finished:
            self.handle.cancel(later=True)
        while wait and self.started and not self.finished:
            with contextlib.suppress(Empty):
                self.news.get(timeout=1)
        return self.finished and _undo(self.results, self.waiter.request)


class _WaitQueue:
    """The tasks of one loop that wait for the same thing: first come, first served."""

    def __init__(self, waits: "Waits", key: Hashable, loop: asyncio.AbstractEventLoop) -> None:
        self.waits = waits
        self.key = key
        self.loop = loop
        self.waiters: OrderedDict[_Waiter, None] = OrderedDict()
        #: The error that the head got for an object that was removed.
        self.error: BaseException | None = None

    def first(self) -> "_Waiter | None":
        """Return the head of the queue."""
        while self.waiters:
            waiter = next(iter(self.waiters))
            if not waiter.gone:
                return waiter
            self.waiters.pop(waiter, None)
        return None

    def leave(self, waiter: "_Waiter") -> None:
        """Remove a waiter, and wake the head.  Runs in the thread of the loop."""
        if waiter.timer is not None:
            waiter.timer.cancel()
        self.waiters.pop(waiter, None)
        first = self.first()
        if first is not None:
            first.wake()
        elif self.waits.queues.get(self.key) is self:
            self.waits.queues.pop(self.key, None)


class _Waiter:
    """A task in a wait queue."""

    def __init__(self, queue: _WaitQueue, request: Request, timeout: float) -> None:
        self.queue = queue
        self.request = request
        self.future: asyncio.Future[None] | None = None
        #: Seconds that it may wait; the timer that ends the wait; whether it has fired.
        self.timeout = timeout
        self.timer: asyncio.TimerHandle | None = None
        self.expired = False
        #: It has left the queue.
        self.gone = False
        #: The handle of its calls, and the last one of these.
        self.handle: Any = None
        self.call: _Call | None = None
        self.results: _Results = deque()

    async def pause(self) -> None:
        """Wait until something has happened."""
        self.future = self.queue.loop.create_future()
        await self.future

    def wake(self) -> None:
        """Say that something has happened.  Runs in the thread of the loop."""
        if self.future is not None:
            # The loop may have been closed.
            with contextlib.suppress(asyncio.InvalidStateError, RuntimeError):
                self.future.set_result(None)

    def expire(self) -> None:
        """Say that time is up."""
        self.expired = True
        self.wake()

    def give_up(self, collected: bool = False) -> bool:
        """Undo everything; return whether a call has succeeded that cannot be undone."""
        self.gone = True
        done = self.call is not None and self.call.abandon(wait=not collected)
        done = _undo(self.results, self.request) or done
        if not collected:
            self.queue.waits.recycle(self)
            self.queue.leave(self)
            return done
        # This may be any thread, in the middle of anything.
        try:
            self.queue.loop.call_soon_threadsafe(self.queue.leave, self)
        except RuntimeError:
            # The loop has been closed: nothing else happens in its thread.
            self.queue.leave(self)
        return done


class Waits:
    """The waits of one aio object."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.closed = False
        self.queues: dict[Hashable, _WaitQueue] = {}
        #: Handles of calls, for the next calls.
        self.free: deque[Any] = deque()

    def check_open(self) -> None:
        """Raise ValueError after close()."""
        if self.closed:
            raise ValueError(f"{self.handle!r} has been closed")

    async def wait(self, request: Request, timeout: float | None) -> Any:
        """Return what request.attempt() returns, or an equivalent; wait while it would block."""
        # A forked child may continue the loop, but not its tasks.
        key = (os.getpid(), asyncio._get_running_loop(), request.name)
        queue = self.queues.get(key)
        if timeout == 0 or queue is None:
            self.check_open()
            try:
                return request.attempt()
            except sysv_ipc.BusyError:
                if timeout == 0:
                    raise
        loop = asyncio.get_running_loop()
        if queue is None:
            queue = self.queues[key] = _WaitQueue(self, key, loop)
        waiter = _Waiter(queue, request, _FOREVER if timeout is None else timeout)
        try:
            queue.waiters[waiter] = None
            if waiter.timeout < _FOREVER:
                waiter.timer = loop.call_later(waiter.timeout, waiter.expire)
            await self._serve(waiter)
            self.recycle(waiter)
            queue.leave(waiter)
        except GeneratorExit:
            # The coroutine is garbage, and may be collected anywhere.
            waiter.give_up(collected=True)
            raise
        except BaseException as error:
            try:
                done = waiter.give_up()
            except BaseException:
                # A signal handler has raised.
                waiter.give_up()
                raise
            if isinstance(error, asyncio.CancelledError):
                error.done = done  # type: ignore[attr-defined]
            raise
        # No function is called from the last line of leave() to here, so no signal handler runs.
        return waiter.results[0][1]

    async def _serve(self, waiter: _Waiter) -> None:
        """Give the waiter its result."""
        queue = waiter.queue
        while not waiter.results:
            self.check_open()
            if queue.first() is not waiter and not waiter.expired:
                await waiter.pause()
                continue
            if queue.error is not None:
                raise copy.copy(queue.error)
            expired = waiter.expired
            try:
                attempt = map(operator.call, [waiter.request.attempt])
                waiter.results.extend(zip([self.handle], attempt, strict=False))
            except sysv_ipc.BusyError as error:
                if expired:
                    _core._timed_out(error, waiter.timeout, *waiter.request.purpose)
                    raise
                await self._block(waiter)

    async def _block(self, waiter: _Waiter) -> None:
        """Make the blocking call, and give the waiter its result, if it has one."""
        if waiter.handle is None:
            try:
                waiter.handle = self.free.pop()
            except IndexError:
                waiter.handle = copy.copy(self.handle)
        call = waiter.call = _Call(waiter.handle, waiter)
        # In this order: either close() and _end() see the call, or this sees what they have set.
        _calls.add(call)
        self.check_open()
        if _ended:
            await self._refuse()
        _workers.submit(call.run)
        while not call.finished:
            await waiter.pause()
            if waiter.expired and not call.finished:
                if call.abandon(wait=True):
                    break
                waiter.handle = None
                return
        _calls.discard(call)
        if call.errors and isinstance(call.errors[0], sysv_ipc.ExistentialError):
            # The kernel reports the removal only to calls that are blocked.
            waiter.queue.error = copy.copy(call.errors[0])
        if call.errors and not isinstance(call.errors[0], sysv_ipc.CancelledError):
            raise call.errors.pop()
        with contextlib.suppress(IndexError):
            waiter.results.extend(map(deque.pop, [call.results]))

    def recycle(self, waiter: _Waiter) -> None:
        """Keep the handle of a waiter's calls, unless a call is still on its way."""
        handle, waiter.handle = waiter.handle, None
        if handle is not None and (waiter.call is None or waiter.call.finished):
            handle.cancelled = False
            self.free.append(handle)

    async def _refuse(self) -> None:
        """Refuse to wait when the interpreter ends; a daemon thread just ends with it."""
        if threading.current_thread().daemon:
            await asyncio.get_running_loop().create_future()
        raise ValueError(f"{self.handle!r} has been closed, because the interpreter ends")

    def close(self) -> None:
        """End all waits."""
        self.closed = True
        # The end of a call wakes the head of its queue, and each task that leaves wakes the next.
        for call in [call for call in list(_calls) if call.waiter.queue.waits is self]:
            call.abandon(wait=False)
        if not _workers.LINGER and not _workers.is_worker():
            _workers.wait_until_at_most(len(_calls))


def _end() -> None:
    """End all calls before the interpreter ends."""
    global _ended
    _ended = True
    for call in list(_calls):
        call.abandon(wait=False)
    _workers.join_all()


_core._call_at_end(_end)
