"""docs/tutorial.md: two terminals do what the page says, and show what it shows.

A terminal is a shell or, after the command "python", a prompt of Python.  A statement whose line
ends in "# waits" must wait; its result is at the beginning of a later block of its terminal.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT, lists, wait_until
from sleeping import blocked_process

import sysv_ipc

pytestmark = pytest.mark.once

PAGE = ROOT / "docs/tutorial.md"
PIECE = re.compile(
    r"^\*\*(?P<who>First|Second|Both) terminals?:\*\*$|^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: The commands that install the library; `make package` tests that.
INSTALL = ("python3 -m venv tutorial", ". tutorial/bin/activate", "pip install .")
#: The calls in which a prompt waits.
WAITS = ("msgrcv", "semop", "semtimedop")
END = "\N{END OF TRANSMISSION BLOCK}"

#: The program behind a prompt: each line of its input is one statement, as JSON.
PROMPT = f"""
import code, json, sys
console = code.InteractiveInterpreter({{"__name__": "__main__"}})
for line in sys.stdin:
    console.runsource(json.loads(line), symbol="single")
    print({END!r}, flush=True)
"""


def statements(block: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the output before the first prompt, and each statement with its output."""
    before, *rest = re.split(r"^>>> ", block, flags=re.MULTILINE)
    pairs = [part.partition("\n") for part in rest]
    return before, [(source, output) for source, _, output in pairs]


class Terminal:
    """Types what the page says, and compares what appears."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prompt: subprocess.Popen[str] | None = None
        self.output = ""

    def shell(self, commands: str) -> None:
        for command in commands.splitlines():
            if command == "python":
                self.prompt = subprocess.Popen(
                    [sys.executable, "-c", PROMPT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                continue
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            result = subprocess.run(
                ["bash", "-c", command],
                capture_output=True,
                text=True,
                cwd=self.folder,
                env={**os.environ, "PATH": path},
                timeout=60,
            )
            assert (result.returncode, result.stderr) == (0, ""), command
            self.output = result.stdout

    def read(self) -> str:
        """Return the output until the prompt appears."""
        assert self.prompt is not None
        assert self.prompt.stdout is not None
        lines = iter(self.prompt.stdout.readline, "")
        return "".join(iter(lambda: next(lines), END + "\n"))

    def type(self, block: str) -> None:
        before, pairs = statements(block)
        if before:
            assert self.read() == before
        for source, output in pairs:
            prompt = self.prompt
            assert prompt is not None
            assert prompt.stdin is not None
            if source == "exit()":
                prompt.communicate(timeout=60)
                self.prompt = None
                continue
            print(json.dumps(source), file=prompt.stdin, flush=True)
            if source.endswith("# waits"):
                wait_until(functools.partial(blocked_process, prompt.pid, *WAITS))
            else:
                assert (source, self.read()) == (source, output)

    def close(self) -> None:
        if self.prompt is not None:
            self.prompt.kill()
            self.prompt.communicate()
            self.prompt = None


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    """The two terminals, in the same folder."""
    pair = {"First": Terminal(tmp_path), "Second": Terminal(tmp_path)}
    yield pair
    for terminal in pair.values():
        terminal.close()


def test_every_step_of_the_tutorial_shows_what_the_page_says(
    terminals: dict[str, Terminal], tmp_path: Path
) -> None:
    who: list[str] = []
    typed = 0
    for piece in PIECE.finditer(PAGE.read_text()):
        if piece["who"]:
            who = ["First", "Second"] if piece["who"] == "Both" else [piece["who"]]
            continue
        for terminal in (terminals[name] for name in who):
            match piece["language"]:
                case "pycon":
                    terminal.type(piece["text"])
                case "sh":
                    terminal.shell(piece["text"])
                case "text":
                    assert terminal.output == piece["text"]
                case "c":
                    (tmp_path / "peer.c").write_text(piece["text"])
            typed += 1
    assert typed > 20
    assert not any(lists().values())


def test_every_block_of_the_tutorial_has_a_terminal_or_installs() -> None:
    text = PAGE.read_text()
    before = text.partition("**Both terminals:**")[0]
    blocks = re.findall(r"^```\w+\n(.*?)^```$", before, re.MULTILINE | re.DOTALL)
    assert "".join(blocks).splitlines() == list(INSTALL)


def test_list_in_the_tutorial_has_a_line_for_each_object() -> None:
    key = sysv_ipc.key_from_name("tutorial")
    semaphore = sysv_ipc.Semaphore(key, sysv_ipc.IPC_CREX)
    memory = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX)
    queue = sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX)
    command = [sys.executable, "-m", "sysv_ipc", "ls"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        semaphore.remove()
        memory.remove()
        queue.remove()
    kinds = {line.split()[0] for line in result.stdout.splitlines() if f"{key:#010x}" in line}
    assert kinds == {"sem", "shm", "msg"}


def test_program_of_the_tutorial_compiles_without_warnings(tmp_path: Path) -> None:
    program = re.search(r"^```c\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert program is not None
    source = tmp_path / "peer.c"
    source.write_text(program[1])
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(tmp_path / "peer")], check=True)
