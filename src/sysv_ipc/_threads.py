"""Threads that nobody waits for when they start, and anybody may when they end.

threading.Thread waits until it has started: whoever holds what that takes must not start one, such
as a finalizer, which runs wherever garbage is collected.  A thread of _thread is never known to
have gone, and an interpreter that ends before takes the process with it.
"""

import _thread
import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

if sys.version_info >= (3, 13):
    Thread = _thread._ThreadHandle
    _start = _thread.start_joinable_thread
else:

    class Thread:
        """What start() returns; as CPython 3.13 has it."""

        def __init__(self, function: Callable[[], object]) -> None:
            self._function = function
            self._started = threading.Event()
            self._gone = _thread.allocate_lock()
            _thread.start_new_thread(self._run, ())

        def _run(self) -> None:
            try:
                # The interpreter releases it when the thread has gone.
                self._gone = _thread._set_sentinel()  # type: ignore[attr-defined]
                self._gone.acquire()
            finally:
                self._started.set()
            self._function()

        def is_done(self) -> bool:
            """Whether it has gone."""
            return self._started.is_set() and not self._gone.locked()

        def join(self) -> None:
            """Wait until it has gone."""
            # A signal handler may do the same in the middle of it, so nothing is locked here.
            while not self.is_done():
                time.sleep(0.0005)

    _start = Thread

#: Those that may not have gone yet.
_started: "deque[Thread]" = deque()


def start(function: Callable[[], object]) -> Thread:
    """Run it in a thread that join_all() waits for."""
    thread = _start(function)
    _started.append(thread)
    # To look at two for each that comes is enough to forget those that have gone.
    with contextlib.suppress(IndexError):
        for _ in range(2):
            one = _started.popleft()
            if not one.is_done():
                _started.append(one)
    return thread


def join_all() -> None:
    """Wait until all have gone."""
    with contextlib.suppress(IndexError):
        while True:
            _started.popleft().join()


def forget_all() -> None:
    """In a forked child there are none."""
    _started.clear()
