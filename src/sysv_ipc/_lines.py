"""What stands between the tasks of aio.py and the kernel: lines of tasks, and threads that wait.

Tasks that wait for the same stand in one line, and one helper thread waits in the kernel for the
first of them.  A line lasts while somebody stands in it; a helper then takes the next line that
wants one, and ends where none comes.  What a helper has taken belongs to its task when the task
comes to fetch it, and not before.  All of it is guarded by one lock, which a fork waits for.
"""

import asyncio
import atexit
import contextlib
import copy
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import sysv_ipc
from sysv_ipc._threads import Thread, start

#: A helper whose call is to end may only just be about to make it: it is told again after this.
_AGAIN = 0.001
#: A helper without a line waits so long for another; a subinterpreter may have to end before.
_LINGER = 1.0 if sysv_ipc._in_main_interpreter() else 0.0
#: Loops keep no longer timers, in seconds: three years are for ever.
_FOR_EVER = 1e8
#: At the end of the interpreter, what was taken for nobody waits so long for room.
_LAST_WAIT = 1.0

#: One that may be taken again, because garbage may be collected under it.
_lock = threading.RLock()


#: All that is to be closed at the end of the interpreter, and forgotten by a forked child.
_all: "weakref.WeakSet[Lines]" = weakref.WeakSet()
#: Those whose objects have gone, until nothing of theirs is left.
_collected: "set[Lines]" = set()
_helpers: "set[_Helper]" = set()
#: Helpers without a line; the last is the one that has waited least.
_idle: "list[_Helper]" = []
#: Helpers that end, and may not have ended yet.
_leaving: "set[_Helper]" = set()
#: Threads that close what belonged to collected objects.
_undertakers: "set[Thread]" = set()
_ended = False


class Call(NamedTuple):
    """What tasks wait for."""

    #: Who waits by the same name stands in the same line.
    name: Hashable
    #: wait(handle, *arguments) waits in the kernel, on a handle that only this wait has.
    wait: Callable[..., Any]
    #: attempt(*arguments) does not wait, and raises BusyError.
    attempt: Callable[..., Any]
    #: Where a result is as good for one as for another, spare() gets what nobody wants any more;
    #: where it is None, a result is its task's from the beginning.
    spare: Callable[[Any], None] | None
    #: Whether what was taken for another line will do for this one.
    wants: Callable[[Any], bool] = lambda _: False


class _Request:
    """A task that stands in a line."""

    __slots__ = ("arguments", "done", "expired", "future", "gone", "line", "loop", "result")

    def __init__(self, line: "_Line", arguments: tuple[Any, ...]) -> None:
        self.line = line
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        #: What the task awaits: only that something is new, or an exception.
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.result: Any = None
        #: What it asked for has been done, and the result is nobody else's.
        self.done = False
        #: Its time is up.
        self.expired = False
        #: The task does not come any more.
        self.gone = False

    # ------------------------------------------------------------- by the task and its loop

    async def fetch(self, timeout: float | None, new: "_Helper | None") -> Any:
        """Return the result as soon as there is one; start this helper first."""
        timer = None
        try:
            if timeout is not None and timeout < _FOR_EVER:
                timer = self.loop.call_later(timeout, self._expire)
            while True:
                if new is not None:
                    self.line.start(new)
                await self.future
                with _lock:
                    lines = self.line.lines
                    if self.done or lines.fetch(self):
                        return self.result
                    if self.expired:
                        # One last attempt, as in every wait.
                        return self.line.call.attempt(*self.arguments)
                    # Its loop had stopped, and others could not wait for it.
                    self.future = self.loop.create_future()
                    self.line, new = lines.stand_again(self)
        except BaseException as error:
            self._leave()
            if isinstance(error, asyncio.CancelledError):
                # Who sends cannot give the result to another, and has to know.
                error.done = await self._ended()  # type: ignore[attr-defined]
            self.gone = True
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _leave(self) -> None:
        """Leave the line; what the task has been given goes to another."""
        with _lock:
            self.line.requests.pop(self, None)
            if self.line.lines.fetch(self):
                self.line.give(self.result)
            self._end_needless_call()

    def _end_needless_call(self) -> None:
        """End the call that the helper is in for this task, which has left, and for no other."""
        line = self.line
        with _lock:
            if line.busy is self and (line.call.spare is None or not line.requests):
                line.interrupt()
                # A loop that has been closed calls no more.
                with contextlib.suppress(RuntimeError):
                    self.loop.call_later(_AGAIN, self._end_needless_call)

    async def _ended(self) -> bool:
        """Wait until no helper is in a call for this task: whether it has been done all the same.

        The call ends at once, one way or the other.
        """
        while True:
            with _lock:
                if self.line.call.spare is not None or self.line.busy is not self:
                    return self.done
                self.future = self.loop.create_future()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.future

    def _expire(self) -> None:
        """Time is up."""
        with _lock:
            if self.done or self.line.lines.has_for(self):
                return
            self.expired = True
            self._leave()
            if self.line.busy is not self or self.line.call.spare is not None:
                self._wake()

    def _wake(self, error: Exception | None = None) -> None:
        if self.gone or self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)

    # ------------------------------------------------------------------------ by any thread

    def tell(self, error: Exception | None = None) -> bool:
        """Wake the task; False where its loop has been closed."""
        try:
            self.loop.call_soon_threadsafe(self._wake, error)
        except RuntimeError:
            return False
        return True


class _Line:
    """Tasks that wait for the same.  Who calls has the lock, unless it says otherwise."""

    def __init__(self, lines: "Lines", call: Call, handle: Any) -> None:
        self.lines = lines
        self.call = call
        #: cancel() ends all waits of a handle, so each line has its own.
        self.handle = handle
        #: In the order in which they came; a dict because any of them may leave.
        self.requests: dict[_Request, None] = {}
        #: Whom the helper is in the call for.
        self.busy: _Request | None = None
        self.helper: _Helper | None = None

    def want_helper(self) -> "_Helper | None":
        """Wake a helper for this line where it has none, or return one to start()."""
        if self.helper is not None or _ended:
            return None
        new = None
        if _idle:
            self.helper = _idle.pop()
        else:
            new = self.helper = _Helper()
            _helpers.add(new)
        self.helper.line = self
        self.helper.wanted.notify()
        return new

    def start(self, helper: "_Helper") -> None:
        """Start it.  Without the lock: who starts a thread waits for it, and collects garbage."""
        try:
            helper.start()
        except Exception as error:
            # There are too many threads, or the interpreter ends.
            with _lock:
                _helpers.discard(helper)
                self.helper = None
                self.fail(error)
                self.lines.forget(self)

    def interrupt(self) -> None:
        """End the call that the helper is in."""
        # One that has been removed has ended it already.
        with contextlib.suppress(sysv_ipc.Error):
            self.handle.cancel()

    # ----------------------------------------------------------- on the side of the helper

    def next(self) -> bool:
        """Say whom to wait for; False where nobody stands here any more."""
        self.busy = None if self.lines.closed else next(iter(self.requests), None)
        if self.busy is None:
            self.helper = None
            self.lines.forget(self)
        return self.busy is not None

    def work(self) -> None:
        """Make the call for the first of the line.  Called by the helper, without the lock."""
        request = self.busy
        assert request is not None
        try:
            result = self.call.wait(self.handle, *request.arguments)
        except sysv_ipc.CancelledError:
            with _lock:
                self.busy = None
                if request not in self.requests:
                    # It waits for this, where it cares.
                    request.tell()
                if self.lines.closed and not _ended:
                    self.fail(self.lines.is_closed())
        except Exception as error:
            with _lock:
                self.busy = None
                self.requests.setdefault(request)
                self.fail(error, only=request if self.call.spare is None else None)
        else:
            with _lock:
                self.busy = None
                if self.call.spare is None:
                    self.requests.pop(request, None)
                    request.result, request.done = result, True
                    request.tell()
                else:
                    self.give(result)

    def give(self, result: Any) -> None:
        """Give a result to the first who still wants it, or spare it."""
        assert self.call.spare is not None
        while self.requests:
            # Who stands in a loop that has stopped may never come.
            running = (one for one in self.requests if one.loop.is_running())
            request = next(running, None) or next(iter(self.requests))
            del self.requests[request]
            self.lines.give(request, result)
            if request.tell():
                return
            self.lines.fetch(request)
        # What has been removed meanwhile takes nothing back.
        with contextlib.suppress(sysv_ipc.Error):
            self.call.spare(result)

    def fail(self, error: Exception, only: _Request | None = None) -> None:
        """Tell all who wait for the same: what one cannot have the others cannot either."""
        for request in [only] if only is not None else list(self.requests):
            self.requests.pop(request, None)
            request.tell(_copy(error))


def _copy(error: Exception) -> Exception:
    """Return one for each task: each adds its own traceback."""
    try:
        return copy.copy(error)
    except Exception:
        return error


class Lines:
    """All lines of one object, by the names of their calls."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.closed = _ended
        self._lines: dict[Hashable, _Line] = {}
        #: Handles of lines that are no more.
        self._free: list[Any] = []
        #: What tasks have been given and have not come to fetch.
        self._given: dict[_Request, Any] = {}
        #: What was taken for tasks that did not want it any more, and has no room in the kernel.
        self.kept: list[Any] = []
        with _lock:
            _all.add(self)

    async def ask(self, call: Call, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        """Return the result of the call as soon as there is one."""
        with _lock:
            self._refuse_if_closed()
            self._take_back()
            self.put_back()
            line = self._lines.get(call.name)
            if timeout == 0 or line is None or not line.requests:
                try:
                    return call.attempt(*arguments)
                except sysv_ipc.BusyError:
                    if timeout == 0:
                        raise
            line = self.line(call)
            request = _Request(line, arguments)
            line.requests[request] = None
            new = line.want_helper()
        return await request.fetch(timeout, new)

    def stand_again(self, request: _Request) -> "tuple[_Line, _Helper | None]":
        """Let a task stand at the head of its line."""
        self._refuse_if_closed()
        line = self.line(request.line.call)
        line.requests = {request: None, **line.requests}
        return line, line.want_helper()

    def line(self, call: Call) -> _Line:
        """Return the line for a call."""
        line = self._lines.get(call.name)
        if line is None:
            handle = self._free.pop() if self._free else copy.copy(self.handle)
            line = self._lines[call.name] = _Line(self, call, handle)
        return line

    def forget(self, line: _Line) -> None:
        """Nobody stands in this line any more."""
        if self._lines.get(line.call.name) is line:
            del self._lines[line.call.name]
            self._free.append(line.handle)

    def _refuse_if_closed(self) -> None:
        # A daemon thread is not to write a traceback while the interpreter ends around it.
        if self.closed and not (_ended and threading.current_thread().daemon):
            raise self.is_closed()

    def is_closed(self) -> Exception:
        """Return what is raised then."""
        return ValueError(f"{self.handle!r} has been closed")

    # ----------------------------------------- between the helper and the task that it is for

    def give(self, request: _Request, result: Any) -> None:
        """Keep a result until its task comes for it."""
        request.result = result
        self._given[request] = result

    def has_for(self, request: _Request) -> bool:
        """Whether there is something for this task."""
        return request in self._given

    def fetch(self, request: _Request) -> bool:
        """Let the task have what it was given; False where that is nothing."""
        if request not in self._given:
            return False
        del self._given[request]
        return True

    def _take_back(self, everything: bool = False) -> None:
        """Let others have what was given to tasks whose loops have stopped before they came."""
        while self._given:
            # The first has had the longest time to come.
            request, result = next(iter(self._given.items()))
            if request.loop.is_running() and not everything:
                return
            del self._given[request]
            request.line.give(result)

    # ---------------------------------------------------------------------------- the end

    def put_back(self) -> Exception | None:
        """Give the kernel what is kept, without waiting: None, or what stands in the way.

        Only messages can be in want of room.
        """
        return None

    def close(self) -> None:
        """End all waits, and put back what is kept; raise what stands in the way."""
        if _lock._is_owned():  # type: ignore[attr-defined]
            # A __del__() calls, of garbage that is collected under the lock, which helpers need.
            self.closed = True
            collect(self)
            return
        self.end_waits()
        error = self.put_back()
        if error is not None:
            raise error

    def end_waits(self, everything: bool = False) -> None:
        """End all waits, and let go of what was taken for nobody, or even for running loops."""
        with _lock:
            self.closed = True
            lines = list(self._lines.values())
            for line in lines if not _ended else []:
                # Whether what the helper does for this one is done, the helper tells.
                busy = line.busy if line.call.spare is None else None
                for request in [one for one in line.requests if one is not busy]:
                    line.fail(self.is_closed(), only=request)
        for line in lines:
            while line.helper not in (None, threading.current_thread()):
                line.interrupt()
                time.sleep(_AGAIN / 4)
        _dismiss_idle()
        with _lock:
            self._take_back(everything)

    def outlive(self) -> None:
        """Close, where the object has gone."""
        self.end_waits()
        _collected.discard(self)


class _Helper(threading.Thread):
    """A thread that waits in the kernel for one line, and then for another."""

    def __init__(self) -> None:
        try:
            super().__init__(name="sysv_ipc.aio", daemon=True)
        except RuntimeError:
            # An interpreter with a GIL of its own has no daemon threads, and joins the others
            # before atexit.
            super().__init__(name="sysv_ipc.aio", daemon=False)
            _close_before_threads_are_joined()
        self.line: _Line | None = None
        self.wanted = threading.Condition(_lock)
        self.dismissed = False

    def run(self) -> None:
        """Wait for one line after another."""
        while line := self._next():
            line.work()
            # What is waited for may be collected meanwhile.
            del line

    def _next(self) -> _Line | None:
        """Return the line to work for, or None where there has been none for a while."""
        with _lock:
            while self.line is not None and not self.line.next():
                self.line = None
                _idle.append(self)
                self.wanted.wait_for(lambda: self.line is not None or self.dismissed, _LINGER)
                # Who gave it a line or dismissed it has taken it out.
                if self in _idle:
                    _idle.remove(self)
            if self.line is None:
                _helpers.discard(self)
                _leaving.difference_update([one for one in _leaving if not one.is_alive()])
                _leaving.add(self)
            return self.line


def _dismiss_idle() -> None:
    """End the helpers that have no line, and wait until those that end have gone."""
    current = threading.current_thread()
    with _lock:
        dismissed = [helper for helper in _idle if helper is not current]
        for helper in dismissed:
            _idle.remove(helper)
            helper.dismissed = True
            helper.wanted.notify()
        # Two helpers that end, and collect garbage that closes, would wait for each other.
        leaving = [] if isinstance(current, _Helper) else list(_leaving)
    for helper in dismissed + leaving:
        helper.join()


def _forget_all() -> None:
    """In a forked child nobody waits, and what was taken is the parent's."""
    for lines in list(_all):
        lines._lines.clear()
        lines._free.clear()
        lines._given.clear()
        lines.kept.clear()
    _collected.clear()
    for threads in (_helpers, _idle, _leaving, _undertakers):
        threads.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_all)


@atexit.register
def _close_all() -> None:
    """End all waits and all helpers before the interpreter ends under them."""
    global _ended
    with _lock:
        _ended = True
        every = list(_all)
        helpers = _helpers | _leaving
    try:
        for lines in every:
            lines.end_waits(everything=True)
        _put_all_back(every)
    finally:
        while _undertakers:
            _undertakers.pop().join()
        while any(helper.is_alive() for helper in helpers):
            _dismiss_idle()
            time.sleep(_AGAIN / 4)


def _put_all_back(every: list[Lines]) -> None:
    """Put back what is kept as soon as there is room, but not later; tell of what is lost."""
    last = time.monotonic() + _LAST_WAIT
    while True:
        errors = [(lines, error) for lines in every if (error := lines.put_back()) is not None]
        if time.monotonic() > last or not any(
            isinstance(error, sysv_ipc.BusyError) for _, error in errors
        ):
            break
        time.sleep(_AGAIN)
    if errors:
        lost = [f"{len(lines.kept)} of {lines.handle!r} ({error})" for lines, error in errors]
        for lines, _ in errors:
            # It may be the end more than once.
            lines.kept.clear()
        raise sysv_ipc.Error(
            "messages that were taken for tasks that did not want them any more could not be put "
            "back, and are lost: " + ", ".join(lost)
        )


def _close_before_threads_are_joined() -> None:
    # There is no public way; concurrent.futures has the same need.
    threading._register_atexit(_close_all)  # type: ignore[attr-defined]


def collect(lines: Lines) -> None:
    """Close what belonged to an object that has been collected.

    In a thread of its own: garbage may be collected at any moment in any thread, also in one that
    holds the lock, or that a helper waits for.
    """
    if lines._lines or lines._given or lines.kept:
        _collected.add(lines)
        # At the end of the interpreter there are no new threads, and atexit has closed all.
        with contextlib.suppress(RuntimeError):
            _undertakers.add(start(lines.outlive))
        _undertakers.difference_update([one for one in _undertakers.copy() if one.is_done()])
