"""Messages that a helper of _lines.py took for tasks that did not want them any more.

They go to another task that would take them, else back to the end of the queue.  Only while that
is full are they loose here, where the next who asks finds them.  All of it is guarded by the lock
of _lines.py: a message is here until the kernel has it.
"""

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import sysv_ipc
from sysv_ipc import _lines
from sysv_ipc._lines import Lines
from sysv_ipc._taken import Call, Taken

Message = tuple[bytes, int]


def whole(handle: sysv_ipc.MessageQueue) -> sysv_ipc.MessageQueue:
    """Return another handle of the same queue, for messages of any length."""
    return sysv_ipc.MessageQueue.from_id(handle.id, max_message_size=sys.maxsize // 2)


class Messages(Lines):
    """All lines of a queue."""

    def take(self, wants: Callable[[Message], bool], lowest: bool) -> Message | None:
        """Return the one that msgrcv(2) would take, if there is one."""
        found = [taken for taken in list(self.loose) if wants(taken.result)]
        if not found:
            return None
        taken = min(found, key=lambda one: one.result[1]) if lowest else found[0]
        del self.loose[taken]
        message: Message = taken.result
        return message

    def outlive(self) -> None:
        """Close, where the object has gone; a helper waits for room for what is loose."""
        self.end_waits()
        with _lines._lock, contextlib.suppress(sysv_ipc.ExistentialError):
            error = self.settle()
            if isinstance(error, sysv_ipc.BusyError):
                line = self._lines[_Return.name] = _Return(self)
                line.want_helper()
            elif error is None:
                _lines._collected.discard(self)


class _Return(_lines._Line):
    """The line in which messages stand that wait for room, when their object has gone."""

    lines: Messages
    name = "return"

    def __init__(self, lines: Messages) -> None:
        def nobody_asks(*_: Any) -> None:
            raise AssertionError

        super().__init__(
            lines, Call(self.name, nobody_asks, nobody_asks, None), whole(lines.handle)
        )
        self.taken: Taken | None = None

    def next(self) -> bool:
        """Say which message is to go; False where there is none, or no room will do."""
        self.handle.cancelled = False
        error = self.lines.settle()
        if isinstance(error, sysv_ipc.BusyError) and not _lines._ended:
            # Nobody else is to send it meanwhile.
            self.taken = next(iter(self.lines.loose))
            del self.lines.loose[self.taken]
            return True
        if error is None:
            _lines._collected.discard(self.lines)
        self.helper = None
        self.lines.forget(self)
        return False

    def work(self) -> None:
        """Wait for room for it.  Called by the helper, without the lock."""
        assert self.taken is not None
        content, number = self.taken.result
        try:
            self.handle.send(content, True, number)
        except Exception:
            # What stands in the way, next() sees.
            with _lines._lock:
                self.lines.loose = {self.taken: None, **self.lines.loose}
