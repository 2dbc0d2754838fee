"""Output that must not be lost when a signal ends the program.

After a message was received, or an object was created or removed, the program must print that
before it ends: neither Ctrl-C or another signal nor a closed pipe or a full disk may lose it.
Therefore signals are only recorded meanwhile, and handled when nothing can be lost.
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

#: The signals with which users and service managers end programs.
USUAL = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
#: The names of signals that do not end programs, that cannot be handled, or that report a fault
#: after which a program cannot continue.
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
#: The signals whose default action ends a program.
ENDING = frozenset(map(int, signal.valid_signals())) - {
    int(getattr(signal, f"SIG{name}", 0)) for name in _OTHERS
}
#: A wait ends after this time, in seconds, because a signal may arrive just before it begins.
SLICE = 1.0
#: After a signal, a blocked output is tried for this time, in seconds.
GRACE = 1.0
#: The pause, in seconds, if poll(2) reports room and write(2) finds none.
NAP = 0.01
#: A pipe that has room accepts this many bytes (PIPE_BUF) without blocking.
PIECE = 4096


class StoppedError(Exception):
    """A signal that ends the program has arrived; no step is half done."""

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        super().__init__(number)
        self.number = number


class Held:
    """A context in which signals that end the program are recorded and do not end it.

    Its end raises StoppedError if one has arrived and there is no other exception.
    """

    def __init__(self, queue: sysv_ipc.MessageQueue | None = None) -> None:
        """Make a context; such a signal cancels the waits on the queue."""
        self.queue = queue
        self.signals: list[int] = []
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Record the signals, except ignored ones, such as SIGHUP under nohup(1)."""
        try:
            for number in ENDING - {_signal_of_waits()}:
                before = signal.getsignal(number)
                # Keep other handlers: they belong to the program that calls main().
                if before == signal.SIG_DFL or (
                    number in USUAL and before not in (signal.SIG_IGN, None)
                ):
                    self._before[number] = before
                    signal.signal(number, self._note)
        except ValueError:
            # This is not the main thread, so it cannot have handlers.
            self._before.clear()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, cls: type[BaseException] | None, *_: object) -> None:
        """Restore the handlers; raise StoppedError if a signal has arrived."""
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
        """Raise StoppedError if a signal has arrived."""
        if self.signals:
            raise StoppedError(self.signals[0])

    def wait(self, attempt: Callable[[float], T], timeout: float | None) -> T:
        """Call attempt(timeout) until it succeeds; raise BusyError after the whole timeout.

        Raise StoppedError if a signal arrives; then the attempt has had no effect.
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
        """Write the data to a stream, by default standard output; raise OSError if that fails.

        After a signal, raise StoppedError only if the output accepts nothing for GRACE seconds.
        """
        stream = sys.stdout if stream is None else stream
        stream.flush()
        file = descriptor(stream)
        if file is None:
            # Another program calls main() and has replaced the stream.
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
                # Another writer has used the room, or the system counts it differently.
                time.sleep(NAP)
            if self.signals and time.monotonic() > self._since + GRACE:
                raise StoppedError(self.signals[0])

    def report(self, problem: Exception | str) -> None:
        """Print an error to standard error, unless it accepts nothing."""
        if sys.stderr is not None:
            text = report_text(problem).encode(sys.stderr.encoding or "ascii", "backslashreplace")
            with contextlib.suppress(OSError, ValueError, StoppedError):
                self.write(text, sys.stderr)


def _signal_of_waits() -> int:
    """Return the signal that interrupts waits, or 0 if they poll.  It must get no handler here."""
    number = sysv_ipc.set_wait_signal(None)
    # Refused if the program has set a handler for it since it was chosen; waits then poll.
    with contextlib.suppress(sysv_ipc.ArgumentError):
        sysv_ipc.set_wait_signal(number)
    return number or 0


def _write_at_once(file: int, data: memoryview) -> int:
    """Write as much as there is room for; raise BlockingIOError if there is none.

    Another writer may have used the room that poll(2) has reported.  Then a write blocks, and
    signals do not end it, because Python repeats it after each signal (PEP 475).  O_NONBLOCK
    would apply to every process that shares the file.
    """
    with contextlib.suppress(AttributeError):
        try:
            return os.pwritev(file, [data], -1, os.RWF_NOWAIT)
        except OSError as error:
            # Files and terminals do not support it; pipes do since Linux 6.4.
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
    if stat.S_ISFIFO(os.fstat(file).st_mode) or os.isatty(file):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            # The same pipe or terminal, but an open file that is not shared.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            own = os.open(f"/proc/self/fd/{file}", flags)
            try:
                return os.write(own, data)
            finally:
                os.close(own)
    return os.write(file, data)


class JsonArray:
    """A JSON array that is written item by item, and is valid JSON once it is closed."""

    def __init__(self) -> None:
        """Make an array; the bracket is written with the first item."""
        self.count = 0
        self.broken = False

    def add(self, held: Held, item: object) -> None:
        """Write an item."""
        # Imported here, because the import takes longer than most commands.
        import json

        text = json.dumps(item, indent=2).replace("\n", "\n  ")
        before = "," if self.count else "["
        self.broken = True
        held.write(f"{before}\n  {text}".encode())
        self.broken = False
        self.count += 1

    def close(self, held: Held) -> None:
        """Write the end, unless an item was written only in part."""
        if not self.broken:
            held.write(b"\n]\n" if self.count else b"[]\n")


def require_reader() -> None:
    """Raise BrokenPipeError if standard output has no reader any more."""
    file = descriptor(sys.stdout)
    if file is None:
        return
    poll = select.poll()
    poll.register(file, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError
