"""Threads that nobody waits for when they start, and anybody may when they end.

threading.Thread waits until it has started: whoever holds what that takes must not start one, such
as a finalizer, which runs wherever garbage is collected.  A thread of _thread is never known to
have gone, and an interpreter that ends before takes the process with it.
"""

import _thread
import sys
import threading
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
            self._started.wait()
            with self._gone:
                pass

    start = Thread
