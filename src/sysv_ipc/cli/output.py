"""Output of results and errors: JSON, one-line errors, and the form of times and sizes."""

import contextlib
import errno
import io
import os
import re
import sys
import time
from typing import TextIO

import sysv_ipc

PROGRAM = "sysv-ipc"
DOCUMENTATION = "https://sysv-ipc.readthedocs.io/"


class CommandError(Exception):
    """An error that ends the command with status 1, and what to do about it."""

    def __init__(
        self,
        message: str,
        cure: str | None = None,
        *,
        name: str = "Error",
        errno: int | None = None,
    ) -> None:
        """Make an error.  Both texts have no full stop, because they become one line.

        JSON also contains the name of the library's exception and the errno.
        """
        super().__init__(message)
        self.cure = cure
        self.name = name
        self.errno = errno


def report(problem: Exception | str, *, as_json: bool = False) -> None:
    """Print an error on standard error, in one line; ignore it if that fails."""
    with contextlib.suppress(OSError, ValueError):
        tell(report_text(problem, as_json=as_json))


def report_text(problem: Exception | str, *, as_json: bool = False) -> str:
    """Return the line that reports an error."""
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
    """Write to standard error without a buffer; raise OSError if that fails.

    Text in a buffer would fail again when the interpreter ends, which changes the exit status.
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
    """Return the file descriptor of a stream, or None if it has none."""
    try:
        return stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def failure_text(problem: Exception) -> str:
    """Return the message of an error, without what to do about it."""
    return _explain(problem)[0]


def _explain(problem: Exception) -> tuple[str, str | None]:
    """Return the message of an error, and what to do about it or None."""
    if isinstance(problem, CommandError):
        return str(problem), problem.cure
    if not isinstance(problem, sysv_ipc.Error):
        # CPython's MemoryError has no text.
        return str(problem) or "not enough memory", None
    message = re.sub(r"^\[Errno \d+\] ", "", str(problem))
    match problem.errno:
        case errno.EEXIST:
            cure: str | None = "choose another --key, or leave out --key to get an unused one"
        case errno.ENOENT:
            cure = f"to list the objects that exist, run {PROGRAM} ls"
        case _:
            cure = " ".join(getattr(problem, "__notes__", [])) or None
    return message, cure and " ".join(cure.split())


def printable(text: str) -> str:
    """Return the text with "?" for characters that would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def json_text(value: object) -> str:
    """Return the value as JSON in ASCII, so that a terminal gets no control characters."""
    # Imported here, because the import takes longer than most commands.
    import json

    return json.dumps(value, indent=2) + "\n"


def print_json(value: object) -> None:
    """Print the value as JSON."""
    print(json_text(value), end="")


#: The control characters except newline and tab.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""Return the text with \xNN for each control character, to show it on a terminal."""
    return _CONTROL.sub(lambda match: "".join(f"\\x{byte:02x}" for byte in match[0].encode()), text)


def is_shown(*, raw: bool) -> bool:
    """Return True if the output is a terminal, which must not get control characters."""
    return not raw and sys.stdout.isatty()


def encoded(text: str) -> bytes:
    """Return the text in the encoding of the terminal."""
    # In other encodings the bytes of UTF-8 may be control characters.
    return text.encode(sys.stdout.encoding or "ascii", "backslashreplace")


def brief_size(size: int) -> str:
    """Return a number of bytes in at most five characters: 512B, 1.5K, 64K, 2G."""
    if size < 1024:
        return f"{size}B"
    amount = float(size)
    for unit in "KMGTPE":
        amount /= 1024
        if amount < 999.5 or unit == "E":
            break
    text = f"{amount:.1f}" if amount < 9.95 else f"{amount:.0f}"
    return text.removesuffix(".0") + unit


def age(seconds_since_epoch: int) -> str:
    """Return the time since then: 12s, 5m, 3h, 2d; "-" for never."""
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
