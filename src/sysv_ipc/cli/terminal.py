"""The terminal that shows the output: its size, colours, and the pager for long texts.

Colours are the eight of ECMA-48, so that they suit dark and light terminals.  NO_COLOR turns them
off, FORCE_COLOR turns them on in a pipe too, and TERM=dumb means a terminal that has none.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Self

#: The parameters of the control sequence for each style.
STYLES = {
    "heading": "1",
    "quiet": "2",
    "good": "32",
    "notice": "33",
    "alarm": "31",
    "changed": "7",
    "bar": "7",
}
#: A screen is filled up to this size.  A program may give a terminal any size, up to 65535 x 65535.
MOST_COLUMNS, MOST_LINES = 1000, 300
_SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")


class Text(str):
    """A text with a style; its length and its comparisons are those of the text alone."""

    style: str | None = None

    def __new__(cls, text: str, style: str | None = None) -> Self:
        """Make a text; without a style it is shown like any other."""
        made = super().__new__(cls, text)
        made.style = style
        return made


def is_terminal() -> bool:
    """Return True if standard output is a terminal."""
    return sys.stdout.isatty()


def is_dumb() -> bool:
    """Return True if the terminal has no control sequences."""
    return os.environ.get("TERM", "dumb") == "dumb"


def has_colours() -> bool:
    """Return True if texts are shown with their styles."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal() and not is_dumb()


def styled(text: str, style: str | None) -> str:
    """Return the text with the control sequences of a style, if there are colours."""
    if style is None or not has_colours():
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def width() -> int:
    """Return the number of columns, but at most MOST_COLUMNS."""
    return min(shutil.get_terminal_size().columns, MOST_COLUMNS)


def height() -> int:
    """Return the number of lines, but at most MOST_LINES."""
    return min(shutil.get_terminal_size().lines, MOST_LINES)


def cells(text: str) -> int:
    """Return the number of columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of_character, text))


def _cells_of_character(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(text: str, room: int) -> str:
    """Return the text, or its beginning and "…" if it takes more columns than there is room."""
    if cells(text) <= room:
        return text
    mark = _mark(sys.stdout.encoding or "ascii")
    left = room - cells(mark)
    kept = ""
    for character in text:
        left -= _cells_of_character(character)
        if left < 0:
            break
        kept += character
    return kept + mark


def _mark(encoding: str) -> str:
    try:
        "…".encode(encoding)
    except UnicodeError:
        return "~"
    return "…"


def without_styles(line: str) -> str:
    """Return a line without the control sequences of styles."""
    return _SEQUENCE.sub("", line)


def print_lines(lines: Sequence[str], *, paged: bool = True) -> None:
    """Print lines, on a terminal through the pager if they do not fit on the screen."""
    text = "".join(f"{line}\n" for line in lines)
    if not (paged and is_terminal() and _needs_pager(lines) and _page(text)):
        sys.stdout.write(text)


def _needs_pager(lines: Sequence[str]) -> bool:
    columns = max(width(), 1)
    # The last line of the screen is for the prompt of the shell.
    taken = sum(max(1, -(-cells(without_styles(line)) // columns)) for line in lines)
    return taken >= height() and not is_dumb()


def _page(text: str) -> bool:
    """Show a text with the pager; return False if there is none."""
    command = os.environ.get("PAGER")
    if command is None:
        command = "less" if shutil.which("less") else ""
    if command.strip() in ("", "cat"):
        return False
    # -F: end at once if everything fits; -R: show colours; -X: leave the text on the screen.
    environment = {"LESS": "FRX", **os.environ}
    data = text.encode(sys.stdout.encoding or "ascii", "backslashreplace")
    sys.stdout.flush()
    with _ignoring_interrupts():
        shell = ["sh", "-c", command]
        with subprocess.Popen(shell, stdin=subprocess.PIPE, env=environment) as pager:
            pager.communicate(data)
    # 126 and 127 are the statuses of a shell that cannot run the command.
    return pager.returncode not in (126, 127)


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to the pager."""
    try:
        # A handler and not SIG_IGN, which the pager would inherit.
        before = signal.signal(signal.SIGINT, lambda *_: None)
    except ValueError:
        # This is not the main thread.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
