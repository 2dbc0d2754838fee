"""What the helpers of _lines.py have taken: until a task has it, or it has been given back.

The handler of a signal may raise in the middle of this: where a function begins, where a call that
a line here makes has returned, and where a loop begins again.  At each of these points a result is
in one place, and in no other: among the loose, with those given, or with its task.  Who calls has
the lock of _lines.py, except that a task makes loose what it has without it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import sysv_ipc

if TYPE_CHECKING:
    from sysv_ipc._lines import _Request


class Call(NamedTuple):
    """What tasks wait for."""

    #: Who waits by the same name stands in the same line.
    name: Hashable
    #: wait(handle, *arguments) waits in the kernel, on a handle that only this wait has.
    wait: Callable[..., Any]
    #: attempt(*arguments) does not wait, and raises BusyError.
    attempt: Callable[..., Any]
    #: Where a result is as good for one as for another, back(result) returns a function, in C,
    #: that gives it back; where it is None, a result is its task's from the beginning.
    back: Callable[[Any], Callable[[], object]] | None
    #: Whether what was taken for another line will do for this one.
    wants: Callable[[Any], bool] = lambda _: False


class Taken:
    """A result; where its call can give it back, another may have it as well."""

    __slots__ = ("call", "result")

    def __init__(self, call: Call, result: Any) -> None:
        self.call = call
        self.result = result


class Stock:
    """All that was taken from one object."""

    def __init__(self) -> None:
        #: What tasks have been given and have not come to fetch: the oldest first.
        self.given: dict[_Request, Taken] = {}
        #: What is nobody's, in its order: longer than a moment only where it cannot be given back.
        self.loose: dict[Taken, None] = {}

    def give(self, request: _Request, taken: Taken) -> None:
        """Let what is loose wait for this task."""
        if taken in self.loose:
            self.given[request] = taken
            del self.loose[taken]

    def fetch(self, request: _Request) -> None:
        """Let the task have what it was given, if anything."""
        if request in self.given:
            request.taken = self.given[request]
            del self.given[request]

    def loosen(self, request: _Request) -> None:
        """Let others have what the task was given, if anything."""
        if request in self.given:
            self.loose[self.given[request]] = None
            del self.given[request]

    def loosen_stopped(self, everything: bool) -> None:
        """Let others have what tasks were given that do not come."""
        while self.given:
            # The first has had the longest time to come.
            request = next(iter(self.given))
            if request.loop.is_running() and not request.gone and not everything:
                return
            self.loosen(request)

    def settle_by(self, give: Callable[[Taken], bool]) -> Exception | None:
        """Give what is loose to who wants it, or back: None, or what stands in the way of that."""
        error = None
        for taken in list(self.loose):
            if not give(taken) and error is None:
                error = self._give_back(taken)
        return error

    def _give_back(self, taken: Taken) -> Exception | None:
        """Give it back without waiting: None, or what stands in the way."""
        assert taken.call.back is not None
        try:
            back = taken.call.back(taken.result)
            calls = map(operator.call, [back])
            if taken in self.loose:
                # It is map() that calls it, so no handler comes between that and the next line.
                for _ in calls:
                    del self.loose[taken]
        except sysv_ipc.ExistentialError:
            # It went with its object.
            self.loose.pop(taken, None)
        except Exception as error:
            # Its frames would hold the error that they hand on, and the task's object with it.
            return error.with_traceback(None)
        return None
