"""The command line on a pseudo-terminal, and the screen that a user sees there."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyte

COMMAND = [sys.executable, "-m", "sysv_ipc"]
#: Variables that change what a terminal gets.
UNWANTED = ("NO_COLOR", "FORCE_COLOR", "PAGER", "LESS", "COLUMNS", "LINES")


class Terminal:
    """A pseudo-terminal of 160 columns with the command on it."""

    def __init__(
        self,
        *words: object,
        size: tuple[int, int] = (160, 50),
        command: Sequence[str] = COMMAND,
        **variables: Any,
    ) -> None:
        self.controller, terminal = os.openpty()
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._set_size(terminal, size)
        kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        self.process = subprocess.Popen(
            [*command, *map(str, words)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**kept, "TERM": "xterm", "PAGER": "cat", **variables},
        )
        self.settings = termios.tcgetattr(terminal)
        os.close(terminal)
        self.data = b""

    @staticmethod
    def _set_size(terminal: int, size: tuple[int, int]) -> None:
        columns, lines = size
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        self.screen.resize(lines, columns)
        self._set_size(self.controller, (columns, lines))

    @property
    def text(self) -> str:
        """Everything that the command has written."""
        return self.data.decode(errors="replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The lines of the screen."""
        return [line.rstrip() for line in self.screen.display]

    def read_until(self, end: str) -> None:
        """Read until the text contains this."""
        while end not in self.text:
            assert self.read(), f"the command ended with {self.text!r}"

    def show_until(self, condition: Callable[[list[str]], bool]) -> None:
        """Read until the condition holds for the lines of the screen."""
        deadline = time.monotonic() + 60
        while not condition(self.lines):
            assert time.monotonic() < deadline, "\n".join(self.lines)
            assert self.read(), f"the command ended with {self.text!r}"

    def type(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def finish(self) -> int:
        """Read the rest; return the status."""
        while self.read():
            pass
        os.close(self.controller)
        return self.process.wait(timeout=60)

    def read(self) -> bool:
        """Read a piece; return False at the end."""
        ready, _, _ = select.select([self.controller], [], [], 60)
        assert ready, f"the command writes nothing after {self.text!r}"
        try:
            data = os.read(self.controller, 65536)
        except OSError:
            # EIO: the last process has closed its end.
            return False
        self.data += data
        self._stream.feed(data)
        return bool(data)


def on_terminal(*words: object, **variables: Any) -> tuple[int, str]:
    """Run the command and return its status and its text on the screen, without colours."""
    terminal = Terminal(*words, **variables)
    status = terminal.finish()
    return status, without_colours(terminal.text)


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
