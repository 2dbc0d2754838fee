"""The command line: look at what the machine holds, use it, clean it up.

One module for each group of commands; here they are run, and what goes wrong becomes one line
and an exit status: 0 done, 1 nothing matched or a part failed, 2 wrong usage.
"""

import contextlib
import os
import signal
import sys
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
        options = parser().parse_args(arguments)
    except SystemExit:
        # The help text may have no reader any more.
        with contextlib.suppress(AttributeError, ValueError):
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                return _ended_by(signal.SIGPIPE)
        raise
    as_json: bool = getattr(options, "json", False)
    if sys.stdout is None:
        output.report("standard output is closed")
        return 1
    # Names from elsewhere may hold what the terminal's encoding lacks.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except StoppedError as stopped:
        return _ended_by(stopped.number)
    except BrokenPipeError:
        return _ended_by(signal.SIGPIPE)
    except (output.CommandError, OSError, OverflowError) as error:
        output.report(error, as_json=as_json)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            return 1
        return _ended_by(None)
    return status


def _ended_by(number: signal.Signals | None) -> int:
    """Return the status that a shell gives to a program that this signal ends, or 1."""
    # What is left in the buffer has no reader: the interpreter must not complain of it.
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return 1 if number is None else 128 + number
