"""Run the command line in a process of its own, and read its output."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers import OTHER_UID, in_child

# A child that has become another user may not read the library's folder.
from sysv_ipc.cli import main

SCRIPT = Path(sys.executable).parent / "sysv-ipc"
MODULE = [sys.executable, "-m", "sysv_ipc"]

Completed = subprocess.CompletedProcess[bytes]


def run(*words: object, input: bytes = b"", **options: Any) -> Completed:
    return subprocess.run(
        [*MODULE, *map(str, words)], input=input, capture_output=True, timeout=60, **options
    )


def succeed(*words: object, input: bytes = b"") -> str:
    done = run(*words, input=input)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def fail(*words: object, input: bytes = b"", status: int = 1) -> str:
    """Return the error message, which must be one line."""
    done = run(*words, input=input)
    line = done.stderr.decode()
    assert done.returncode == status, line
    assert line.count("\n") == 1
    assert line.startswith("sysv-ipc")
    return line.rstrip("\n")


def from_json(*words: object) -> Any:
    return json.loads(succeed(*words, "--json"))


def as_other_user(*words: object) -> tuple[int, str, str]:
    """Run the command as an unprivileged user: status, output, errors."""

    def call() -> tuple[int, str, str]:
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = main([str(word) for word in words])
        return status, output.getvalue(), errors.getvalue()

    return in_child(call, uid=OTHER_UID)


def table(text: str) -> list[dict[str, str]]:
    """Split aligned text into cells: two or more spaces separate columns, and no cell is empty."""
    header, *rows = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]
