"""How results and failures are shown: tables, JSON, one-line errors."""

import contextlib
import errno
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import sysv_ipc

PROGRAM = "sysv-ipc"


class CommandError(Exception):
    """What was wrong, and how to mend it; ends the command with status 1."""

    def __init__(
        self,
        message: str,
        cure: str | None = None,
        *,
        name: str = "Error",
        errno: int | None = None,
    ) -> None:
        """Take both texts without a full stop: they become one line.

        JSON tells also the name of the library's exception and the errno.
        """
        super().__init__(message)
        self.cure = cure
        self.name = name
        self.errno = errno


def report(problem: Exception | str, *, as_json: bool = False) -> None:
    """Tell what failed on standard error, in one line; where that fails too, nothing does it."""
    with contextlib.suppress(OSError, ValueError):
        tell(report_text(problem, as_json=as_json))


def report_text(problem: Exception | str, *, as_json: bool = False) -> str:
    """Return the line that tells what failed."""
    if isinstance(problem, str):
        problem = CommandError(problem)
    message, cure = _explain(problem)
    if as_json:
        import json

        name = problem.name if isinstance(problem, CommandError) else type(problem).__name__
        number = getattr(problem, "errno", None)
        about = {"class": name, "errno": number, "message": message, "cure": cure}
        text = json.dumps({"error": about})
    else:
        text = f"{PROGRAM}: {message}" + (f"; {cure}" if cure else "")
    return printable(text) + "\n"


def tell(text: str) -> None:
    """Write to standard error; raise OSError where that fails, and keep nothing for later.

    What a buffer keeps would fail once more when the interpreter ends, with a status of its own.
    """
    if sys.stderr is None:
        return
    file = descriptor(sys.stderr)
    if file is None:
        sys.stderr.write(text)
        return
    sys.stderr.flush()
    rest = text.encode(sys.stderr.encoding or "ascii", "backslashreplace")
    while rest:
        rest = rest[os.write(file, rest) :]


def descriptor(stream: TextIO) -> int | None:
    """Return the descriptor of a stream, None where it is no file."""
    try:
        return stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def failure_text(problem: Exception) -> str:
    """Return what failed, without the cure."""
    return _explain(problem)[0]


def _explain(problem: Exception) -> tuple[str, str | None]:
    """Return what was wrong, and the cure."""
    if isinstance(problem, CommandError):
        return str(problem), problem.cure
    if not isinstance(problem, sysv_ipc.Error):
        return str(problem), None
    message = re.sub(r"^\[Errno \d+\] ", "", str(problem))
    match problem.errno:
        case errno.EEXIST:
            cure: str | None = "choose another --key, or none for one that is free"
        case errno.ENOENT:
            cure = f"{PROGRAM} ls shows what exists"
        case _:
            cure = " ".join(getattr(problem, "__notes__", [])) or None
    return message, cure and " ".join(cure.split())


def printable(text: str) -> str:
    """Return the text without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def json_text(value: object) -> str:
    """Return it as JSON, in ASCII: no control character of others gets to a terminal."""
    # Here, because most commands are over sooner than it is imported.
    import json

    return json.dumps(value, indent=2) + "\n"


def print_json(value: object) -> None:
    """Write it as JSON."""
    print(json_text(value), end="")


#: All but newline and tab.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""Return the text of others as a terminal may show it: \xNN for what would control it."""
    return _CONTROL.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in match[0].encode()), text)


def is_shown(*, raw: bool) -> bool:
    """Whether what is written is seen on a terminal, which must not obey what others wrote."""
    return not raw and sys.stdout.isatty()


def encoded(text: str) -> bytes:
    """Return what the terminal shows as this text."""
    # In other encodings than UTF-8 its bytes may be control characters.
    return text.encode(sys.stdout.encoding or "ascii", "backslashreplace")


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()
) -> None:
    """Show a table; the columns named by right are numbers.

    On a terminal rich lays it out where it is installed, else it is aligned text.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    numeric = [header in set(right) for header in headers]
    if sys.stdout.isatty() and _print_rich_table(headers, cells, numeric):
        return
    lines = [[header.upper() for header in headers], *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        words = [
            word.rjust(width) if to_the_right else word.ljust(width)
            for word, width, to_the_right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(words).rstrip())


def _print_rich_table(
    headers: Sequence[str], rows: list[list[str]], numeric: Sequence[bool]
) -> bool:
    """Show a table through rich; False where it is not installed."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header, to_the_right in zip(headers, numeric, strict=True):
        justify: Any = "right" if to_the_right else "left"
        table.add_column(header, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    # As wide as it has to be: on a narrow terminal lines go on below, and nothing is left out.
    Console(highlight=False, width=100_000).print(table, crop=False)
    return True


def age(seconds_since_epoch: int) -> str:
    """Return how long ago that was: 12s, 5m, 3h, 2d; "-" for never."""
    if not seconds_since_epoch:
        return "-"
    seconds = max(0, int(time.time()) - seconds_since_epoch)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def moment(seconds_since_epoch: int) -> str:
    """Return date, time of day and age; "never" for 0."""
    if not seconds_since_epoch:
        return "never"
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds_since_epoch))
    return f"{date} ({age(seconds_since_epoch)} ago)"


def count(number: int, noun: str) -> str:
    """Return the number with its noun: 1 member, 4 members."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
