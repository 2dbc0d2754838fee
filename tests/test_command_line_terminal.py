"""The command line on a terminal: tables through rich, questions, Ctrl-C, the screen."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from helpers import wait_until
from sleeping import blocked_process

from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

COMMAND = [sys.executable, "-m", "sysv_ipc"]


class Terminal:
    """A pseudo-terminal of 160 columns with the command on it."""

    def __init__(self, *words: object, **variables: str) -> None:
        self.controller, terminal = os.openpty()
        size = struct.pack("HHHH", 50, 160, 0, 0)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm", **variables},
        )
        os.close(terminal)
        self.text = ""

    def read_until(self, end: str) -> None:
        """Read until the screen's text has this in it."""
        while end not in self.text:
            assert self._read(), f"the command ended with {self.text!r}"

    def type(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def finish(self) -> int:
        """Read all that comes; return the status."""
        while self._read():
            pass
        os.close(self.controller)
        return self.process.wait(timeout=60)

    def _read(self) -> bool:
        try:
            data = os.read(self.controller, 65536)
        except OSError:
            # EIO: the last process has closed its end.
            return False
        self.text += data.decode().replace("\r\n", "\n")
        return bool(data)


def on_terminal(*words: object, **variables: str) -> tuple[int, str]:
    """Run the command and return its status and all that was on the screen, without colours."""
    terminal = Terminal(*words, **variables)
    status = terminal.finish()
    return status, re.sub(r"\x1b\[[0-9;]*m", "", terminal.text)


def cells(text: str) -> list[list[str]]:
    """The cells of a table, whoever laid it out."""
    lines = [line for line in text.splitlines() if line.strip() and not set(line) <= set(" ─━")]
    return [[cell.lower() for cell in re.split(" {2,}", line.strip())] for line in lines]


def steady(text: str) -> str:
    """What would have been shown at the same moment."""
    return re.sub(r"\b\d+s\b", "0s", text)


@pytest.fixture
def without_rich(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has not installed rich."""
    (tmp_path / "rich.py").write_text("raise ImportError('not installed')")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("words", [["ls"], ["limits"], ["show", "sem", "id:{0.id}"]])
def test_tables_hold_the_same_with_rich_without_it_and_in_a_pipe(
    words: list[str], without_rich: dict[str, str]
) -> None:
    assert importlib.util.find_spec("rich"), "the tests need rich: pip install rich"
    made = SemaphoreSet(None, 3, IPC_CREX, initial_values=[1, 0, 2])
    segment = SharedMemory(None, IPC_CREX)
    words = [word.format(made) for word in words]

    status, through_rich = on_terminal(*words)
    assert status == 0
    assert "─" in through_rich
    status, plain = on_terminal(*words, **without_rich)
    assert status == 0
    assert "─" not in plain
    piped = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60).stdout
    assert cells(steady(through_rich)) == cells(steady(plain)) == cells(steady(piped))
    made.remove()
    segment.detach()
    segment.remove()


def test_nothing_of_rich_reads_names_as_markup(key: int) -> None:
    code = (
        f"import sysv_ipc; s = sysv_ipc.SharedMemory({key}, sysv_ipc.IPC_CREX);"
        " open('/proc/self/comm', 'w').write('[bold]x[/]'); print(); input(); s.remove()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    assert "[bold]x[/]" in on_terminal("show", "shm", key)[1]
    other.communicate(b"\n")


@pytest.mark.parametrize(
    ("answer", "removed"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("\x04", False)],
)
def test_rm_asks(answer: str, removed: bool) -> None:
    made = Semaphore(None, IPC_CREX)
    terminal = Terminal("rm", "sem", made.key)
    terminal.read_until("? [y/N] ")
    assert f"remove semaphore set with key {made.key}" in terminal.text
    assert not made.removed
    terminal.type(answer)
    assert terminal.finish() == 0
    assert made.removed is removed
    assert ("removed semaphore set" in terminal.text) is removed
    if not removed:
        made.remove()


def test_rm_asks_before_each() -> None:
    first, second = MessageQueue(None, IPC_CREX), MessageQueue(None, IPC_CREX)
    terminal = Terminal("rm", "msg", first.key, f"id:{second.id}")
    terminal.read_until(f"id {first.id}? [y/N] ")
    terminal.type("n\n")
    terminal.read_until(f"id {second.id}? [y/N] ")
    terminal.type("y\n")
    assert terminal.finish() == 0
    assert not first.removed
    assert second.removed
    first.remove()


def test_rm_does_not_ask_who_says_yes() -> None:
    made = Semaphore(None, IPC_CREX)
    status, text = on_terminal("rm", "sem", made.key, "--yes")
    assert (status, made.removed) == (0, True)
    assert "[y/N]" not in text


def test_ctrl_c_at_the_question_removes_nothing_and_is_quiet() -> None:
    made = Semaphore(None, IPC_CREX)
    terminal = Terminal("rm", "sem", made.key)
    terminal.read_until("? [y/N] ")
    terminal.type("\x03")
    assert terminal.finish() == 128 + signal.SIGINT
    assert "Traceback" not in terminal.text
    assert not made.removed
    made.remove()


def test_ctrl_c_ends_a_wait_quietly(queue: MessageQueue) -> None:
    terminal = Terminal("receive", queue.key)
    wait_until(lambda: blocked_process(terminal.process.pid, "msgrcv"))
    terminal.type("\x03")
    assert terminal.finish() == 128 + signal.SIGINT
    assert terminal.text == "^C"


def test_watch_draws_the_screen_anew(queue: MessageQueue) -> None:
    terminal = Terminal("ls", "--watch", "0.05")
    terminal.read_until("0 messages, 0 bytes")
    queue.send("news")
    terminal.read_until("1 message, 4 bytes")
    terminal.type("\x03")
    assert terminal.finish() == 128 + signal.SIGINT
    assert terminal.text.count("\x1b[H\x1b[2J") >= 2


def test_a_message_on_the_screen_ends_with_a_newline(queue: MessageQueue) -> None:
    queue.send("no newline")
    queue.send("newline\n")
    assert on_terminal("receive", queue.key, "--count", "2") == (0, "no newline\nnewline\n")


def test_a_narrow_terminal_shows_all(queue: MessageQueue) -> None:
    wide, narrow = (cells(steady(on_terminal("ls", COLUMNS=width)[1])) for width in ("160", "40"))
    assert narrow == wide
    assert narrow[1][2] == str(queue.id)


def test_the_session_in_the_docs_is_what_a_terminal_shows() -> None:
    script = Path(__file__).parent.parent / "tools/transcript.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
