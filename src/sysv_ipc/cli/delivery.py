"""What must not be lost between two moments: results that are handed over, signals that end.

A message that has been taken, an object that has been made or removed: Ctrl-C, a signal that
ends the program, a reader that goes away and a full disk must not come between that and the
line that tells it.  So signals are only noted meanwhile, and looked at where nothing can be lost.
"""

import contextlib
import errno
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self, TextIO, TypeVar

import sysv_ipc

from .output import descriptor, report_text

T = TypeVar("T")

#: What a user or a service manager ends programs with.
USUAL = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
#: The names of signals that end no program, that cannot be noted, or that tell of a fault after
#: which a program cannot go on.
_OTHERS = [
    "KILL",
    "STOP",
    "CHLD",
    "CLD",
    "CONT",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "WINCH",
    "INFO",
    "ILL",
    "TRAP",
    "BUS",
    "FPE",
    "SEGV",
    "SYS",
    "EMT",
]
#: All that end a program unless it says otherwise.
ENDING = frozenset(map(int, signal.valid_signals())) - {
    int(getattr(signal, f"SIG{name}", 0)) for name in _OTHERS
}
#: A wait is left after as many seconds to look for a signal that came right before it began.
SLICE = 1.0
#: How long an output that takes nothing is tried after a signal came.
GRACE = 1.0
#: How long to wait where there is room by poll(2) and none by write(2).
NAP = 0.01
#: A pipe that has room takes that much at once (PIPE_BUF): writing it does not block.
PIECE = 4096


class StoppedError(Exception):
    """A signal came that ends the program; nothing is half done."""

    def __init__(self, number: int) -> None:
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
        self.signals: list[int] = []
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Let the signals be noted, except those that are ignored, as nohup(1) does."""
        try:
            for number in ENDING - {_signal_of_waits()}:
                before = signal.getsignal(number)
                # The rest may be a program's own, within which this runs.
                if before == signal.SIG_DFL or (
                    number in USUAL and before not in (signal.SIG_IGN, None)
                ):
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
        self.signals.append(number)
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

    def write(self, data: bytes, stream: TextIO | None = None) -> None:
        """Write all of it to standard output; raise OSError or StoppedError where that fails.

        A signal does not come in between as long as the output takes something.
        """
        stream = sys.stdout if stream is None else stream
        stream.flush()
        file = descriptor(stream)
        if file is None:
            # Within another program, which has put something else in its place.
            stream.write(data.decode(errors="backslashreplace"))
            stream.flush()
            return
        poll = select.poll()
        poll.register(file, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            try:
                if poll.poll(100):
                    rest = rest[_write_at_once(file, rest[:PIECE]) :]
                    continue
            except BlockingIOError:
                # Another writer took the room, or the system has another idea of it.
                time.sleep(NAP)
            if self.signals and time.monotonic() > self._since + GRACE:
                raise StoppedError(self.signals[0])

    def report(self, problem: Exception | str) -> None:
        """Tell what failed on standard error, as long as that takes something."""
        if sys.stderr is not None:
            text = report_text(problem).encode(sys.stderr.encoding or "ascii", "backslashreplace")
            with contextlib.suppress(OSError, ValueError, StoppedError):
                self.write(text, sys.stderr)


def _signal_of_waits() -> int:
    """Return the signal with which the library ends waits, 0 if they poll; it has to stay so."""
    number = sysv_ipc.set_wait_signal(None)
    # It is refused if the program has set a handler for it since it was chosen: waits poll then.
    with contextlib.suppress(sysv_ipc.ArgumentError):
        sysv_ipc.set_wait_signal(number)
    return number or 0


def _write_at_once(file: int, data: memoryview) -> int:
    """Write what there is room for; raise BlockingIOError where there is none.

    Room that poll(2) has seen may be another writer's by now, and a write that waits is deaf:
    Python calls it again after each signal.  O_NONBLOCK would hold for all who share the file.
    """
    with contextlib.suppress(AttributeError):
        try:
            return os.pwritev(file, [data], -1, os.RWF_NOWAIT)
        except OSError as error:
            # Files cannot, terminals cannot, pipes can since Linux 6.4.
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
    if stat.S_ISFIFO(os.fstat(file).st_mode) or os.isatty(file):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            # The same pipe or terminal, and a file of our own.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            own = os.open(f"/proc/self/fd/{file}", flags)
            try:
                return os.write(own, data)
            finally:
                os.close(own)
    return os.write(file, data)


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
    file = descriptor(sys.stdout)
    if file is None:
        return
    poll = select.poll()
    poll.register(file, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError
