"""The command line: look at what the machine holds, use it, clean it up.

One module for each group of commands; here they are run, and what goes wrong becomes one line
and an exit status: 0 done, 1 nothing matched or a part failed, 2 wrong usage.
"""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from . import output
from .arguments import parser
from .delivery import StoppedError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _ended_by(signal.SIGINT)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        try:
            options = parser().parse_args(arguments)
        except SystemExit:
            if not getattr(sys.stdout, "closed", sys.stdout is None):
                sys.stdout.flush()
            raise
    except OSError as error:
        # The help text has no reader any more, or no room.
        return _not_written(error)
    as_json: bool = getattr(options, "json", False)
    if sys.stdout is None:
        output.report("standard output is closed")
        return 1
    # Names from elsewhere may hold what the terminal's encoding lacks.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with warnings.catch_warnings():
            # That a list is not complete, say: in one line, as all else that is told.
            warnings.showwarning = lambda text, *_, **__: output.report(str(text))
            status: int = options.run(options)
        sys.stdout.flush()
    except StoppedError as stopped:
        return _ended_by(stopped.number)
    except BrokenPipeError as error:
        return _not_written(error)
    except (output.CommandError, OSError, OverflowError) as error:
        output.report(error, as_json=as_json)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            return 1
        return _ended_by(None)
    return status


def _not_written(error: OSError) -> int:
    """Return the status after an output that failed, and tell of it unless nobody reads."""
    if isinstance(error, BrokenPipeError):
        return _ended_by(signal.SIGPIPE)
    output.report(error)
    return _ended_by(None)


def _ended_by(number: int | None) -> int:
    """Return the status that a shell gives to a program that this signal ends, or 1."""
    # What is left in the buffer has no reader: the interpreter must not complain of it.
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return 1 if number is None else 128 + number
