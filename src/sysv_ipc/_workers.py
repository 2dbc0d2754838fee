"""The worker threads of sysv_ipc.aio, which make its blocking calls.

Idle threads serve new calls and end after a second.  threading.Thread is not used: its start()
waits for the new thread under locks, which a signal handler or garbage collection may interrupt.
The threads are real ones also if gevent has patched the threads of the program.
"""

import _thread
import contextlib
import os
import sys
from _queue import Empty, SimpleQueue
from collections import deque
from collections.abc import Callable
from typing import Any

from sysv_ipc import _core

#: How long an idle thread waits for a call.  CPython 3.11 does not destroy a subinterpreter that
#: has threads.
LINGER = 1.0 if _core._in_main_interpreter() else 0.0
#: Seconds between two looks at a thread that is about to end.
_NAP = 0.0005

_Call = Callable[[], object]

#: The inboxes of idle threads; the last is the one that became idle last.
_idle: "deque[SimpleQueue[_Call | None]]" = deque()
#: The threads that may still run, and the system's numbers of those that do.
_threads: "set[Any]" = set()
_running: "set[int]" = set()


def _original(name: str) -> Any:
    """Return a function of _thread: if gevent has replaced it, the one that it was before."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(_thread, name) if monkey is None else monkey.get_original("_thread", name)


if sys.version_info >= (3, 13):
    _start = _original("start_joinable_thread")
else:
    _start_new_thread = _original("start_new_thread")

    class _Thread:
        """A thread that has started, as start_joinable_thread() of CPython 3.13 returns it."""

        def __init__(self, function: _Call) -> None:
            self._function = function
            self._gone: Any = None
            _start_new_thread(self._run, ())

        def _run(self) -> None:
            # The interpreter releases this lock when the thread has ended.
            gone = _thread._set_sentinel()  # type: ignore[attr-defined]
            gone.acquire()
            self._gone = gone
            self._function()

        def is_done(self) -> bool:
            return self._gone is not None and not self._gone.locked()

        def join(self) -> None:
            while not self.is_done():
                nap()

    _start = _Thread


def nap() -> None:
    """Sleep for a moment, all greenlets of this thread included."""
    with contextlib.suppress(Empty):
        SimpleQueue[None]().get(timeout=_NAP)


def submit(call: _Call) -> None:
    """Run the call in a worker thread; raise RuntimeError if no thread can start."""
    try:
        # map() does it in one step: no signal handler can come between taking a thread and
        # giving it the call.
        deque(map(SimpleQueue.put, map(deque.pop, [_idle]), [call]), 0)
    except IndexError:
        _threads.difference_update([thread for thread in list(_threads) if thread.is_done()])
        _threads.update(map(_start, [lambda: _work(call)]))


def _work(call: _Call | None) -> None:
    """Make this call and those that follow."""
    inbox: SimpleQueue[_Call | None] = SimpleQueue()
    number = _thread.get_native_id()
    _running.add(number)
    while call is not None:
        call()
        # Allow the objects that it refers to to be collected in the meantime.
        call = None
        _idle.append(inbox)
        try:
            call = inbox.get(timeout=LINGER)
        except Empty:
            try:
                _idle.remove(inbox)
            except ValueError:
                # Another thread has just taken it out and gives it a call.
                call = inbox.get()
    _running.discard(number)


def is_worker() -> bool:
    """Return True if this thread is one of the workers."""
    return _thread.get_native_id() in _running


def wait_until_at_most(count: int) -> None:
    """Dismiss idle threads, and wait until at most count threads are left."""
    while sum(not thread.is_done() for thread in list(_threads)) > count:
        with contextlib.suppress(IndexError):
            while True:
                deque(map(SimpleQueue.put, map(deque.pop, [_idle]), [None]), 0)
        nap()


def join_all() -> None:
    """Wait until all threads have ended."""
    wait_until_at_most(0)
    for thread in list(_threads):
        thread.join()


def _forget_all() -> None:
    """Forget the threads of the parent: a forked child has none of them."""
    _idle.clear()
    _threads.clear()
    _running.clear()


os.register_at_fork(after_in_child=_forget_all)
