"""Threads that nobody waits for when they start, and anybody may when they end.

threading.Thread waits until it has started: whoever holds what that takes must not start one, such
as a finalizer, which runs wherever garbage is collected.  A thread of _thread is never known to
have gone, and an interpreter that ends before takes the process with it.
"""

import _thread
import sys
import threading
import time
from collections.abc import Callable

if sys.version_info >= (3, 13):
    Thread = _thread._ThreadHandle
    start = _thread.start_joinable_thread
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

    start = Thread
