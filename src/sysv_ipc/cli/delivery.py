"""What must not be lost between two moments: results that are handed over, signals that end.

A message that has been taken, an object that has been made or removed: Ctrl-C, a signal that
ends the program, a reader that goes away and a full disk must not come between that and the
line that tells it.  So signals are only noted meanwhile, and looked at where nothing can be lost.
"""

import io
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self, TypeVar

import sysv_ipc

T = TypeVar("T")

#: What a user or a service manager ends programs with.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A wait is left after as many seconds to look for a signal that came right before it began.
SLICE = 1.0
#: How long an output that takes nothing is tried after a signal came.
GRACE = 1.0
#: A pipe that has room takes that much at once (PIPE_BUF): writing it does not block.
PIECE = 4096


class StoppedError(Exception):
    """A signal came that ends the program; nothing is half done."""

    def __init__(self, number: signal.Signals) -> None:
        """Take the signal's number."""
        super().__init__(number)
        self.number = number


class Held:
    """While it is entered, signals that end the program are noted and do not end it.

    Leaving it raises StoppedError where one has come and nothing else went wrong.
    """

    def __init__(self, queue: sysv_ipc.MessageQueue | None = None) -> None:
        """Take the queue whose waits such a signal ends."""
        self.queue = queue
        self.signals: list[signal.Signals] = []
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Let the signals be noted, except those that are ignored, as nohup(1) does."""
        try:
            for number in ENDING:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._note)
        except ValueError:
            # Not the main thread: no handler runs here.
            self._before.clear()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, cls: type[BaseException] | None, *_: object) -> None:
        """Let the signals be what they were."""
        self._restore()
        if cls is None:
            self.check()

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signals.append(signal.Signals(number))
        self._since = self._since or time.monotonic()
        if self.queue is not None:
            self.queue.cancel()

    def check(self) -> None:
        """Raise StoppedError where a signal has come."""
        if self.signals:
            raise StoppedError(self.signals[0])

    def wait(self, attempt: Callable[[float], T], timeout: float | None) -> T:
        """Call what takes a timeout until it succeeds; raise BusyError after the whole timeout.

        A signal raises StoppedError, and then the attempt has done nothing.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self.check()
            left = SLICE if deadline is None else deadline - time.monotonic()
            try:
                return attempt(min(SLICE, max(left, 0.0)))
            except sysv_ipc.BusyError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
            except sysv_ipc.CancelledError:
                self.check()
                raise

    def write(self, data: bytes) -> None:
        """Write all of it to standard output; raise OSError or StoppedError where that fails.

        A signal does not come in between as long as the output takes something.
        """
        sys.stdout.flush()
        file = _descriptor()
        if file is None:
            # Within another program, which has put something else in its place.
            sys.stdout.write(data.decode(errors="backslashreplace"))
            sys.stdout.flush()
            return
        poll = select.poll()
        poll.register(file, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if not poll.poll(100):
                if self.signals and time.monotonic() > self._since + GRACE:
                    raise StoppedError(self.signals[0])
                continue
            try:
                rest = rest[os.write(file, rest[:PIECE]) :]
            except BlockingIOError:
                continue


class JsonArray:
    """A JSON array that is written item by item, and is whole whenever it is closed."""

    def __init__(self) -> None:
        """Begin with nothing: not even the bracket has been written."""
        self.count = 0
        self.broken = False

    def add(self, held: Held, item: object) -> None:
        """Write an item."""
        # Here, because most commands are over sooner than it is imported.
        import json

        text = json.dumps(item, indent=2).replace("\n", "\n  ")
        before = "," if self.count else "["
        self.broken = True
        held.write(f"{before}\n  {text}".encode())
        self.broken = False
        self.count += 1

    def close(self, held: Held) -> None:
        """Write the end, unless an item could not be written: then there is no way to."""
        if not self.broken:
            held.write(b"\n]\n" if self.count else b"[]\n")


def require_reader() -> None:
    """Raise BrokenPipeError where nobody can get any more what is written."""
    file = _descriptor()
    if file is None:
        return
    poll = select.poll()
    poll.register(file, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError


def _descriptor() -> int | None:
    """Return the descriptor of standard output, None where it is no file."""
    try:
        return sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None
