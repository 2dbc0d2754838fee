"""Whole screens at 80x24 and 200x50, as a user sees them, compared with the files in screens/.

The namespaces of the program have 600 objects, one of them a segment that 21 processes have
attached.  With SYSV_IPC_WRITE_SCREENS=1 the files are written; read them before a commit.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from helpers import TESTS
from terminals import Terminal

pytestmark = pytest.mark.once

SCREENS = TESTS / "command_line/screens"
PROGRAM = [
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(sys.executable, str(TESTS / "command_line/screen_program.py")),
]
SIZES = [(80, 24), (200, 50)]
#: The name of each file, the command, and the end of the screen when it is complete.
COMMANDS = {
    "ls": (["ls"], r"^:$"),
    "ls-segments": (["ls", "shm", "--key", "0x5a000000"], r"^1 object: "),
    "ls-sorted": (["ls", "--sort", "size", "--reverse"], r"^:$"),
    "ls-columns": (["ls", "msg", "-o", "key,permissions,creator,fill,state"], r"^:$"),
    "show-segment": (["show", "shm", "0x5a000000"], r"^:$|^ *\d+ +\S+$"),
    "show-queue": (["show", "msg", "0x4d000001"], r"^last receive:"),
    "limits": (["limits"], r"^MSGMAX"),
    "watch": (["ls", "--watch", "600"], r"^\d+ more below; 600 objects"),
}


class Screen(Terminal):
    """A terminal with the program, in a locale and time zone that are the same everywhere."""

    def __init__(self, *words: str, size: tuple[int, int]) -> None:
        variables = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PAGER": "less"}
        super().__init__(*words, size=size, command=PROGRAM, **variables)


def steady(text: str) -> str:
    """The screen without the dates of the objects."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-01 00:00:00", text)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("name", COMMANDS)
def test_the_screen_is_the_one_that_was_read(name: str, size: tuple[int, int]) -> None:
    words, end = COMMANDS[name]
    terminal = Screen(*words, size=size)
    last = re.compile(end)
    terminal.show_until(lambda lines: any(last.search(line) for line in lines[-size[1] :][::-1]))
    if name == "show-segment" and size == (200, 50):
        terminal.show_until(
            lambda lines: sum(bool(re.match(r" *\d+  ", one)) for one in lines) == 21
        )
    lines = terminal.lines
    if terminal.process.poll() is None:
        terminal.type("q")
    assert terminal.finish() == 0
    text = steady("\n".join(lines).rstrip("\n") + "\n")
    assert max(map(len, lines)) <= size[0]
    file = SCREENS / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("SYSV_IPC_WRITE_SCREENS"):
        file.write_text(text)
    assert text == file.read_text()


def test_there_is_no_file_without_a_screen() -> None:
    names = {f"{name}-{w}x{h}.txt" for name in COMMANDS for w, h in SIZES}
    assert {path.name for path in Path(SCREENS).iterdir()} == names
