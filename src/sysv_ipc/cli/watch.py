"""A table that is drawn repeatedly, in the terminal's alternate screen, until q or Ctrl-C.

A frame is computed before anything is drawn, and one write replaces every cell of the screen, so
that the screen is never blank.  Signals, exceptions and Ctrl-Z restore the terminal.
"""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Hashable, Sequence
from types import FrameType
from typing import Any, NamedTuple, Self

from . import terminal
from .delivery import StoppedError
from .table import Column, table_lines
from .terminal import Text

#: Enter the alternate screen and hide the cursor; the opposite.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
#: Signals that end the program; without a handler they would leave the terminal as it is.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Row(NamedTuple):
    """A row of a frame.  Rows with the same identity are compared."""

    identity: Hashable
    cells: Sequence[str]


class Frame(NamedTuple):
    """One state of the table."""

    title: str
    columns: Sequence[Column]
    #: The headers of the columns that always change, and whose changes are not marked.
    restless: frozenset[str]
    rows: Sequence[Row]
    totals: str


def watch(make: Callable[[], Frame], interval: float) -> int:
    """Draw frames until the user types q."""
    before = None
    with Screen() as screen:
        while True:
            frame = make()
            now = time.strftime("%H:%M:%S", time.localtime(time.time()))
            about = f"every {interval:g} s  {now}" + ("  q quits" if screen.has_keys else "")
            deadline = time.monotonic() + interval
            while True:
                screen.draw(_lines(frame, before, about))
                if screen.wait(max(0.0, deadline - time.monotonic())):
                    return 0
                if time.monotonic() >= deadline:
                    break
            before = frame


def _lines(frame: Frame, before: Frame | None, about: str) -> list[str]:
    """Return the lines of the screen."""
    marked, changes = _marked(frame, before)
    room = max(1, terminal.height() - 4)
    rows = [[mark, *cells] for mark, cells in marked[:room]]
    title = f"{frame.title}  {changes}"
    gap = terminal.width() - terminal.cells(title) - terminal.cells(about)
    if gap >= 2:
        title += " " * gap + about
    hidden = len(marked) - len(rows)
    footer = (f"{hidden} more below; " if hidden else "") + frame.totals
    return [
        terminal.styled(terminal.shortened(title, terminal.width()), "bar"),
        *table_lines([Column(""), *frame.columns], rows),
        "",
        terminal.styled(terminal.shortened(footer, terminal.width()), "quiet"),
    ]


def _marked(frame: Frame, before: Frame | None) -> tuple[list[tuple[str, list[str]]], str]:
    """Return the rows with "+" if they are new and "*" if they changed, and how many there are."""
    if before is None:
        return [(" ", list(row.cells)) for row in frame.rows], ""
    old = {row.identity: row.cells for row in before.rows}
    marked, new, changed = [], 0, 0
    for row in frame.rows:
        cells, mark = list(row.cells), " "
        if row.identity not in old:
            mark, new = "+", new + 1
            cells = [Text(cell, "good") for cell in cells]
        else:
            pairs = zip(frame.columns, old[row.identity], row.cells, strict=True)
            differ = [a != b and one.header not in frame.restless for one, a, b in pairs]
            if any(differ):
                mark, changed = "*", changed + 1
                cells = [Text(cell, "changed") if differs else cell
                         for cell, differs in zip(cells, differ, strict=True)]  # fmt: skip
        marked.append((mark, cells))
    removed = len(old.keys() - {row.identity for row in frame.rows})
    counts = {"new": new, "changed": changed, "removed": removed}
    return marked, ", ".join(f"{number} {word}" for word, number in counts.items() if number)


class Screen:
    """The alternate screen, entered with the first frame and left at the end."""

    def __init__(self) -> None:
        """Prepare; nothing is changed yet."""
        self.has_keys = sys.stdin is not None and sys.stdin.isatty()
        self._entered = False
        self._settings: list[Any] | None = None
        #: True after Ctrl-Z; the program stops when no frame is half drawn.
        self._suspended = False
        self._before: dict[int, Any] = {}
        self._woken_before = -1
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def __enter__(self) -> Self:
        """Handle signals."""
        try:
            for number in ENDING:
                # Keep other handlers, such as those of a program that calls main().
                if signal.getsignal(number) == signal.SIG_DFL:
                    self._handle(number, self._stop)
            self._handle(signal.SIGWINCH, lambda *_: None)
            self._handle(signal.SIGTSTP, self._suspend)
            # A signal that arrives just before select(2) must end it too.
            self._woken_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        except ValueError:
            # This is not the main thread, so it cannot have handlers.
            self._before.clear()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the terminal and the handlers."""
        try:
            self._leave()
        except BaseException:
            # A signal has arrived meanwhile.
            self._leave()
            raise
        finally:
            if self._before:
                signal.set_wakeup_fd(self._woken_before)
            for number, before in self._before.items():
                signal.signal(number, before)
            os.close(self._woken)
            os.close(self._wake)

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the whole screen."""
        width, height = terminal.width(), terminal.height()
        parts = []
        for number in range(height):
            line = lines[number] if number < len(lines) else ""
            padding = " " * (width - terminal.cells(terminal.without_styles(line)))
            parts.append(f"\x1b[{number + 1};1H{line}{padding}")
        if not self._entered:
            self._enter()
        sys.stdout.write("".join(parts))
        sys.stdout.flush()

    def wait(self, seconds: float) -> bool:
        """Wait until the time is over or the screen must be drawn again; return True after q."""
        files = [self._woken, *([sys.stdin.fileno()] if self.has_keys else [])]
        ready, _, _ = select.select(files, [], [], seconds)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if self._suspended:
            self._suspended = False
            self._leave()
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.has_keys and sys.stdin.fileno() in ready:
            keys = os.read(sys.stdin.fileno(), 4096)
            # Without bytes the terminal has no other end any more.
            return not keys or b"q" in keys or b"Q" in keys
        return False

    def _enter(self) -> None:
        """Change the terminal's settings; the frame that follows is in the same write."""
        self._entered = True
        if self.has_keys:
            self._settings = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin, termios.TCSANOW)
        sys.stdout.write(ENTER)

    def _leave(self) -> None:
        if not self._entered:
            return
        if self._settings is not None:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._settings)
        with contextlib.suppress(OSError):
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
        self._entered = False

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._before[number] = signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        raise StoppedError(number)

    def _suspend(self, *_: object) -> None:
        self._suspended = True
