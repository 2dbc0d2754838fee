"""The README: its quickstart works in two terminals, and its commands and figures are true.

A terminal is a pseudo-terminal with an interactive Python on it.
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

pytestmark = pytest.mark.thread_unsafe("the programs use a fixed key")

README = (ROOT / "README.md").read_text()
OUTPUT = "it has 21 degrees"

#: Sent by prompts that distinguish pasted text, and around the text by the terminal.
WANTS_PASTE, PASTE_BEGINS, PASTE_ENDS = "\x1b[?2004h", "\x1b[200~", "\x1b[201~"


def block(terminal: str) -> str:
    pattern = rf"^\*\*{terminal} terminal:\*\*\n\n```python\n(.*?)^```$"
    (text,) = re.findall(pattern, README, re.MULTILINE | re.DOTALL)
    return str(text)


FIRST, SECOND = block("First"), block("Second")


class Prompt:
    """An interactive Python on a pseudo-terminal."""

    def __init__(self) -> None:
        self.controller, terminal = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PYTHON_HISTORY": os.devnull},
        )
        os.close(terminal)
        self.screen = self.seen = ""
        self.read_until(">>> ")

    def read_until(self, text: str) -> None:
        """Read until the text appears after the text that was found before."""
        while text not in self.screen:
            self.screen += os.read(self.controller, 65536).decode()
        self.seen += self.screen
        self.screen = self.screen.partition(text)[2]

    def send(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def waits(self) -> None:
        """Wait until the process sleeps in msgrcv(2)."""
        wait_until(functools.partial(blocked_process, self.process.pid, "msgrcv"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.controller)


@pytest.fixture
def prompts() -> Iterator[tuple[Prompt, Prompt]]:
    """The two terminals."""
    pair = Prompt(), Prompt()
    yield pair
    for prompt in pair:
        prompt.close()


def paste(prompt: Prompt, text: str) -> None:
    """Paste a block, as a terminal does it, and press the Enter key when it has appeared."""
    if WANTS_PASTE in prompt.seen:
        prompt.send(f"{PASTE_BEGINS}{text}{PASTE_ENDS}")
        prompt.read_until("detach")
        prompt.read_until("... ")
        prompt.send("\r")
    else:
        prompt.send(text)


def type_lines(prompt: Prompt, text: str) -> None:
    """Type each line when the prompt for it has appeared; it has for the first one."""
    for line in text.splitlines():
        prompt.send(line + "\n")
        if "receive" in line:
            prompt.waits()
            return
        # A prompt with colours is written again for each key.
        prompt.read_until("\n")
        prompt.read_until(">>> ")


def nothing_is_left() -> bool:
    """Return True if the programs have removed their objects."""
    return not any(lists().values())


def test_blocks_can_be_pasted_into_two_prompts(prompts: tuple[Prompt, Prompt]) -> None:
    first, second = prompts
    paste(first, FIRST)
    first.waits()
    paste(second, SECOND)
    first.read_until(OUTPUT)
    wait_until(nothing_is_left)


def test_blocks_can_be_typed_into_two_prompts(prompts: tuple[Prompt, Prompt]) -> None:
    first, second = prompts
    type_lines(first, FIRST)
    type_lines(second, SECOND)
    first.read_until(">>> ")
    line, rest = FIRST[FIRST.index("print") :].split("\n", 1)
    first.send(line + "\n")
    first.read_until(OUTPUT)
    first.read_until(">>> ")
    type_lines(first, rest)
    # Some prompts are drawn more than once, so the last line may not have run yet.
    wait_until(nothing_is_left)


def test_either_program_may_be_the_first(tmp_path: Path) -> None:
    outputs = []
    for name, text in [("second.py", SECOND), ("first.py", FIRST)]:
        script = tmp_path / name
        script.write_text(text)
        command = [sys.executable, "-W", "error", str(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout)
    assert outputs == ["", f"{OUTPUT}\n"]
    assert nothing_is_left()


@pytest.mark.parametrize("text", [FIRST, SECOND], ids=["first", "second"])
def test_blocks_have_only_simple_statements(text: str) -> None:
    # A prompt needs an empty line after a compound statement, and no empty line within it.
    assert not re.search(r"^(\s|$)", text.rstrip(), re.MULTILINE)


def test_the_page_shows_the_output() -> None:
    assert f"```text\n{OUTPUT}\n```" in README


def test_the_script_of_all_checks_runs_the_command_for_the_tests() -> None:
    commands = README.partition("## Two commands")[2].partition("```sh\n")[2].partition("```")[0]
    assert commands == "make demo\nmake test\n"
    assert "lane 'test' make test" in (ROOT / ".ci/run").read_text().splitlines()


def measured(file: str, question: str, title: str, column: str) -> dict[str, float]:
    """Return the medians of a column in a result of the benchmarks, by the name of the row."""
    result = json.loads((ROOT / "benchmarks" / file).read_text())
    tables = {table["title"]: table["rows"] for table in result["answers"][question]["tables"]}
    figures = {row["row"]: row["figures"] for row in tables[title]}
    return {name: row[column]["median"] for name, row in figures.items() if column in row}


def test_times_in_the_table_are_those_of_the_comparison() -> None:
    title, column = "64 bytes between two processes, CPU time", "one way, to ours"
    times = measured("comparison.json", "comparison", title, column)
    rows = re.findall(r"^\| `?([\w.]+)`? \|.*\| ([\d.]+) \|$", README, re.MULTILINE)
    names = {"posix_ipc": "posix_ipc.MessageQueue"}
    shown = {names.get(name, name): time for name, time in rows}
    assert shown.pop("sysv_ipc") == "1"
    assert len(shown) == 4
    for name, time in shown.items():
        assert time == f"{times[name]:.{1 if times[name] < 10 else 0}f}"


def test_other_figures_are_those_of_the_last_full_result() -> None:
    text = " ".join(README.split())
    full = functools.partial(measured, "result.json", "rivals")
    trips = full("a message of 64 B", "there and back, to ours")
    for name in ("multiprocessing.Queue", "posix_ipc.MessageQueue"):
        assert f"{trips[name]:.0f} times as long for `{name}`" in text
    reads = full("a segment of 64 KiB", "read 64 B")
    assert f"takes {reads['SharedMemory']:.0f} ns, and " in text
    assert f"{reads['multiprocessing.shared_memory']:.0f} ns with" in text
    locks = full("a lock, uncontended", "acquire + release, to ours")
    assert 0.07 < locks["posix_ipc.Semaphore"] < 0.13
    assert "its uncontended lock takes a tenth of the time" in text
