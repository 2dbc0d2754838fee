"""What stands between the tasks of aio.py and the kernel: lines of tasks, and threads that wait.

Tasks that wait for the same stand in one line, and one helper thread waits in the kernel for the
first of them.  A line lasts while somebody stands in it; a helper then takes the next line that
wants one, and ends where none comes.  What helpers have taken, _taken.py keeps until a task has
it.  All of it is guarded by one lock, which a fork waits for.
"""

import asyncio
import atexit
import contextlib
import copy
import os
import threading
import time
import weakref
from collections.abc import Hashable
from typing import Any

import sysv_ipc
from sysv_ipc import _core, _threads
from sysv_ipc._taken import Call, Stock, Taken
from sysv_ipc._threads import Thread

#: Between two looks whether a helper has come out of its call.
_NAP = 0.00025
#: A helper without a line waits so long for another; a subinterpreter may have to end before.
_LINGER = 1.0 if _core._in_main_interpreter() else 0.0
#: Loops keep no longer timers, in seconds: three years are for ever.
_FOR_EVER = 1e8
#: At the end of the interpreter, what was taken for nobody waits so long for room.
_LAST_WAIT = 1.0

#: One that may be taken again, because garbage may be collected under it.
_lock = threading.RLock()


#: All that is to be closed at the end of the interpreter, and forgotten by a forked child.
_all: "weakref.WeakSet[Lines]" = weakref.WeakSet()
#: Those that a thread closes, as when their objects have gone, until nothing of theirs is left.
_collected: "set[Lines]" = set()
#: Helpers without a line; the last is the one that has waited least.
_idle: "list[_Helper]" = []
#: The threads of helpers that end, and may not have gone yet.
_leaving: "set[Thread]" = set()
#: In the thread of a helper, that one.
_here = threading.local()
_ended = False


class _Request:
    """A task that stands in a line."""

    __slots__ = (
        *("arguments", "call", "expired", "future", "gone", "line", "lines", "loop", "taken"),
    )

    def __init__(self, lines: "Lines", call: Call, arguments: tuple[Any, ...]) -> None:
        self.lines = lines
        self.call = call
        #: The one it has stood in last.
        self.line: _Line | None = None
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        #: What the task awaits: only that something is new, or an exception.
        self.future: asyncio.Future[None] = self.loop.create_future()
        #: What it has fetched, or what was its own from the beginning.
        self.taken: Taken | None = None
        #: Its time is up.
        self.expired = False
        #: The task does not come any more.
        self.gone = False

    # ------------------------------------------------------------- by the task and its loop

    async def wait(self, timeout: float | None) -> Any:
        """Stand in line, and return the result as soon as there is one."""
        try:
            await self._wait(timeout)
        except BaseException as error:
            # Another Ctrl-C cannot come before this has been said.
            self.gone = True
            if self.taken is not None and self.call.back is not None:
                self.lines.loose[self.taken] = None
                self.taken = None
            try:
                self._leave()
            except BaseException:
                self._leave()
                raise
            if isinstance(error, asyncio.CancelledError):
                # Who sends cannot give the result to another, and has to know.
                error.done = await self._ended()  # type: ignore[attr-defined]
            raise
        # And none can come from here to the task.
        assert self.taken is not None
        return self.taken.result

    async def _wait(self, timeout: float | None) -> None:
        timer = None
        try:
            if timeout is not None and timeout < _FOR_EVER:
                timer = self.loop.call_later(timeout, self._expire)
            self.lines.stand(self)
            while True:
                await self.future
                with _lock:
                    self.lines.fetch(self)
                    self.lines.take_back()
                    if self.taken is not None:
                        return
                    if self.expired:
                        # One last attempt, as in every wait.
                        self.taken = Taken(self.call, self.call.attempt(*self.arguments))
                        return
                    # Its loop had stopped, or who had something for it was interrupted.
                    self.future = self.loop.create_future()
                    self.lines.stand(self, first=True)
                    self.lines.settle()
        finally:
            if timer is not None:
                timer.cancel()

    def _leave(self) -> None:
        """Leave the line; what the task has been given goes to another."""
        line = self.line
        if line is None:
            return
        with _lock:
            line.requests.pop(self, None)
            self.lines.loosen(self)
            self.lines.settle()
            if not line.requests and not line.working():
                self.lines.forget(line)
            if line.is_needless() or (self.call.back is None and line.busy is self):
                line.interrupt()

    async def _ended(self) -> bool:
        """Wait until no helper is in a call for this task: whether it has been done all the same.

        The call ends at once, one way or the other.
        """
        while True:
            with _lock:
                if self.call.back is not None or not self._is_busy():
                    return self.taken is not None
                self.future = self.loop.create_future()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.future

    def _expire(self) -> None:
        """Time is up."""
        with _lock:
            if self.taken is not None or self in self.lines.given:
                return
            self.expired = True
            self._leave()
            if self.call.back is not None or not self._is_busy():
                self._wake()

    def _is_busy(self) -> bool:
        """Whether the helper is in a call for it."""
        return self.line is not None and self.line.busy is self

    def _wake(self, error: Exception | None = None) -> None:
        # A handler of a signal may cancel the task in the middle of this.
        with contextlib.suppress(asyncio.InvalidStateError):
            if error is None or self.gone:
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

    def working(self) -> "_Helper | None":
        """Return the helper that works for this line: both say so, or it has none."""
        helper = self.helper
        return helper if helper is not None and helper.line is self else None

    def want_helper(self) -> None:
        """See to it that a helper works for this line.

        Ctrl-C may end this anywhere, and then another may be wanted: what has been done until
        then must be right by itself.
        """
        helper = self.working()
        if helper is None:
            if _idle:
                helper = _idle[-1]
                helper.line = self
                self.helper = helper
                _idle.remove(helper)
            else:
                helper = _Helper(self)
                helper.thread = _threads.start(helper.run)
                self.helper = helper
        helper.wanted.notify_all()

    def first(self) -> _Request | None:
        """Return the first who stands here."""
        while self.requests:
            request = next(iter(self.requests))
            if not request.gone:
                return request
            self.requests.pop(request, None)
        return None

    def is_needless(self) -> bool:
        """Whether the helper is in a call for nobody, with a result that another may have."""
        return self.call.back is not None and self.busy is not None and self.first() is None

    def interrupt(self) -> None:
        """End the call that the helper is in, or is only about to make."""
        self.handle.cancel(later=True)

    # ----------------------------------------------------------- on the side of the helper

    def next(self) -> bool:
        """Say whom to wait for; False where nobody stands here any more."""
        self.handle.cancelled = False
        if self.lines.closed and not _ended:
            self.fail(self.lines.is_closed())
        self.busy = None if _ended else self.first()
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
        except Exception as error:
            with _lock:
                self.busy = None
                self.requests.setdefault(request)
                self.fail(error, only=request if self.call.back is None else None)
        else:
            taken = Taken(self.call, result)
            with _lock:
                self.busy = None
                if self.call.back is None:
                    self.requests.pop(request, None)
                    request.taken = taken
                    request.tell()
                else:
                    self.lines.loose[taken] = None
                    self.lines.settle()

    def give(self, taken: Taken) -> bool:
        """Give it to the first who still wants it; False where nobody does."""
        while request := self.first():
            if not request.loop.is_running():
                # It may never come.
                standing = [one for one in list(self.requests) if not one.gone]
                request = next((one for one in standing if one.loop.is_running()), request)
            # Before: who is told and finds nothing only stands in line again.
            told = request.tell()
            if request in self.requests:
                del self.requests[request]
                if told:
                    self.lines.give(request, taken)
                    if self.is_needless():
                        self.interrupt()
                    return True
        return False

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


class Lines(Stock):
    """All lines of one object, by the names of their calls."""

    def __init__(self, handle: Any) -> None:
        super().__init__()
        self.handle = handle
        self.closed = _ended
        self._lines: dict[Hashable, _Line] = {}
        #: Handles of lines that are no more.
        self._free: list[Any] = []
        with _lock:
            _all.add(self)

    async def ask(self, call: Call, arguments: tuple[Any, ...], timeout: float | None) -> Any:
        """Return the result of the call as soon as there is one."""
        while True:
            with _lock:
                self._refuse_if_closed()
                self.take_back()
                line = self._lines.get(call.name)
                if timeout == 0 or line is None or not line.requests:
                    try:
                        return call.attempt(*arguments)
                    except sysv_ipc.BusyError:
                        if timeout == 0 and not self._end_needless_calls():
                            raise
            if timeout != 0:
                return await _Request(self, call, arguments).wait(timeout)
            # What has been taken for a task that is gone is back in a moment.
            try:
                await asyncio.sleep(_NAP)
            except asyncio.CancelledError as error:
                error.done = False  # type: ignore[attr-defined]
                raise

    def _end_needless_calls(self) -> bool:
        """End the calls that helpers make for nobody; whether there are any."""
        needless = [line for line in self._lines.values() if line.is_needless()]
        for line in needless:
            line.interrupt()
        return bool(needless)

    def stand(self, request: _Request, first: bool = False) -> None:
        """Let a task stand in its line, at the end or at the head."""
        with _lock:
            self._refuse_if_closed()
            line = request.line = self.line(request.call)
            if first:
                line.requests = {request: None, **line.requests}
            else:
                line.requests[request] = None
            line.want_helper()

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
        why = ", because the interpreter ends" if _ended else ""
        return ValueError(f"{self.handle!r} has been closed{why}")

    def take_back(self, everything: bool = False) -> None:
        """Let others have what was given to tasks that do not come."""
        self.loosen_stopped(everything)
        self.settle()

    def settle(self) -> Exception | None:
        """Give what is loose to who wants it, or back: None, or what stands in the way of that.

        Only messages can be in want of room.
        """
        with _lock:
            return self.settle_by(self._give)

    def _give(self, taken: Taken) -> bool:
        """Give it to a task that wants it; False where there is none."""
        own = self._lines.get(taken.call.name)
        return (own is not None and own.give(taken)) or any(
            line.give(taken) for line in list(self._lines.values()) if line.call.wants(taken.result)
        )

    # ---------------------------------------------------------------------------- the end

    def close(self) -> None:
        """End all waits, and give back what is loose; raise what stands in the way."""
        if _lock._is_owned():  # type: ignore[attr-defined]
            # A __del__() calls, of garbage that is collected under the lock, which helpers need.
            collect(self)
        elif self not in _collected:
            self.end_waits()
            error = self.settle()
            if error is not None:
                raise error

    def end_waits(self, everything: bool = False) -> None:
        """End all waits, and let go of what was taken for nobody, or even for running loops."""
        with _lock:
            self.closed = True
            lines = list(self._lines.values())
            for line in lines if not _ended else []:
                # Whether what the helper does for this one is done, the helper tells.
                busy = line.busy if line.call.back is None else None
                for request in [one for one in line.requests if one is not busy]:
                    line.fail(self.is_closed(), only=request)
        self.interrupt()
        for line in lines:
            while line.working() not in (None, _this_helper()):
                time.sleep(_NAP)
        _dismiss_idle()
        with _lock:
            self.take_back(everything)

    def interrupt(self) -> None:
        """End the calls that helpers are in."""
        with _lock:
            for line in list(self._lines.values()):
                line.interrupt()

    def outlive(self) -> None:
        """Close, where the object has gone."""
        self.end_waits()
        if self.settle() is None:
            _collected.discard(self)


class _Helper:
    """Waits in the kernel for one line, and then for another, in a thread of its own."""

    def __init__(self, line: _Line) -> None:
        self.line: _Line | None = line
        self.wanted = threading.Condition(_lock)
        self.dismissed = False
        self.thread: Thread | None = None

    def run(self) -> None:
        """Wait for one line after another."""
        _here.helper = self
        while line := self._next():
            try:
                line.work()
            except Exception as error:
                # Such as MemoryError.
                with _lock:
                    line.busy = None
                    line.fail(error)
            # What is waited for may be collected meanwhile.
            del line

    def _next(self) -> _Line | None:
        """Return the line to work for, or None where there has been none for a while."""
        with _lock:
            while self.line is not None and not (self.line.helper is self and self.line.next()):
                self.line = None
                _idle.append(self)
                self.wanted.wait_for(
                    lambda: self.line is not None or self.dismissed, 0 if _ended else _LINGER
                )
                # Who gave it a line or dismissed it has taken it out.
                if self in _idle:
                    _idle.remove(self)
            if self.line is None and self.thread is not None:
                _leaving.difference_update([one for one in _leaving if one.is_done()])
                _leaving.add(self.thread)
            return self.line


def _this_helper() -> _Helper | None:
    """Return the helper whose thread this is."""
    return getattr(_here, "helper", None)


def _dismiss_idle() -> None:
    """End the helpers that have no line, and wait until those that end have gone."""
    current = _this_helper()
    with _lock:
        dismissed = [helper for helper in _idle if helper is not current]
        for helper in dismissed:
            _idle.remove(helper)
            helper.dismissed = True
            helper.wanted.notify_all()
        # Two helpers that end, and collect garbage that closes, would wait for each other.
        leaving = list(_leaving) if current is None else []
    for thread in [helper.thread for helper in dismissed if helper.thread] + leaving:
        thread.join()


def _forget_all() -> None:
    """In a forked child nobody waits, and what was taken is the parent's."""
    for lines in list(_all):
        for line in lines._lines.values():
            line.busy = line.helper = None
            line.requests.clear()
        lines._lines.clear()
        lines._free.clear()
        lines.given.clear()
        lines.loose.clear()
    _collected.clear()
    _idle.clear()
    _leaving.clear()
    _threads.forget_all()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_all)


@atexit.register
def _close_all() -> None:
    """End all waits and all helpers before the interpreter ends under them."""
    global _ended
    with _lock:
        _ended = True
        every = list(_all)
    try:
        for lines in every:
            lines.end_waits(everything=True)
        _give_all_back(every)
    finally:
        # Ctrl-C may have come before.
        for lines in every:
            lines.interrupt()
        _dismiss_idle()
        _threads.join_all()


def _give_all_back(every: list[Lines]) -> None:
    """Give back what is loose as soon as there is room, but not later; tell of what is lost."""
    last = time.monotonic() + _LAST_WAIT
    while True:
        errors = [(lines, error) for lines in every if (error := lines.settle()) is not None]
        if time.monotonic() > last or not any(
            isinstance(error, sysv_ipc.BusyError) for _, error in errors
        ):
            break
        time.sleep(_NAP)
    if errors:
        lost = [f"{len(lines.loose)} of {lines.handle!r} ({error})" for lines, error in errors]
        for lines, _ in errors:
            # It may be the end more than once.
            lines.loose.clear()
        raise sysv_ipc.Error(
            "what was taken for tasks that did not want it any more could not be put back, and is "
            "lost: " + ", ".join(lost)
        )


def collect(lines: Lines) -> None:
    """Close what belonged to an object that has been collected.

    In a thread of its own: garbage may be collected at any moment in any thread, also in one that
    holds the lock, or that a helper waits for.
    """
    lines.closed = True
    if lines not in _collected and (lines._lines or lines.given or lines.loose):
        _collected.add(lines)
        # At the end of the interpreter there are no new threads, and atexit has closed all.
        with contextlib.suppress(RuntimeError):
            _threads.start(lines.outlive)
