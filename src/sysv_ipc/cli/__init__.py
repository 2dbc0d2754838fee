"""The command line: list, use and remove System V IPC objects.

Each group of commands has a module.  This one runs a command and turns an exception into one line
on standard error and an exit status: 0 success, 1 nothing matched or a part failed, 2 wrong usage.
"""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from . import output
from .commands import parser
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
        # The help text could not be written: no reader, or no space.
        return _not_written(error)
    as_json: bool = getattr(options, "json", False)
    if sys.stdout is None:
        output.report("standard output is closed")
        return 1
    # Names of users and processes may contain characters that the encoding lacks.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with warnings.catch_warnings():
            # Such as that a list is not complete: print warnings in one line, as errors are.
            warnings.showwarning = lambda text, *_, **__: output.report(str(text))
            status: int = options.run(options)
        sys.stdout.flush()
    except StoppedError as stopped:
        return _ended_by(stopped.number)
    except BrokenPipeError as error:
        return _not_written(error)
    except (output.CommandError, OSError, OverflowError, MemoryError) as error:
        output.report(error, as_json=as_json)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            return 1
        return _ended_by(None)
    return status


def _not_written(error: OSError) -> int:
    """Report output that failed, unless it has no reader, and return the exit status."""
    if isinstance(error, BrokenPipeError):
        return _ended_by(signal.SIGPIPE)
    output.report(error)
    return _ended_by(None)


def _ended_by(number: int | None) -> int:
    """Return the status that a shell reports for a program ended by this signal, or 1."""
    # The interpreter must not report an error for what is left in the buffer at its end.
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return 1 if number is None else 128 + number
