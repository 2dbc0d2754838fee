"""The command line on a terminal: tables through rich, questions, Ctrl-C, the screen."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from helpers import ROOT, wait_until
from sleeping import blocked_process

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

pytestmark = pytest.mark.once

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
        """Read until the screen contains this text."""
        while end not in self.text:
            assert self._read(), f"the command ended with {self.text!r}"

    def type(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def finish(self) -> int:
        """Read until the end of the output; return the status."""
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
    """Run the command and return its status and the text of the screen, without colours."""
    terminal = Terminal(*words, **variables)
    status = terminal.finish()
    return status, re.sub(r"\x1b\[[0-9;]*m", "", terminal.text)


def cells(text: str) -> list[list[str]]:
    """Return the cells of a table, with or without rich."""
    lines = [line for line in text.splitlines() if line.strip() and not set(line) <= set(" ─━")]
    return [[cell.lower() for cell in re.split(" {2,}", line.strip())] for line in lines]


def steady(text: str) -> str:
    """Remove the parts of the output that depend on the time."""
    return re.sub(r"\b\d+s\b", "0s", text)


@pytest.fixture
def without_rich(tmp_path: Path) -> dict[str, str]:
    """The environment of a user without rich."""
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


def test_rich_does_not_read_names_as_markup(key: int) -> None:
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


def test_an_answer_to_a_question_that_was_not_shown_removes_nothing() -> None:
    first, second = Semaphore(None, IPC_CREX), Semaphore(None, IPC_CREX)
    words = f"{first.key} {second.key}"
    shell = f'exec "{sys.executable}" -m sysv_ipc rm sem {words} 2>/dev/full'
    ours, theirs = os.openpty()
    asked = subprocess.Popen(["sh", "-c", shell], stdin=theirs, stdout=subprocess.PIPE)
    os.write(ours, b"y\ny\n")
    assert asked.communicate(timeout=60)[0] == b""
    assert asked.returncode == 1
    for handle in (first, second):
        handle.remove()
    os.close(ours)
    os.close(theirs)


def test_rm_does_not_ask_if_yes_is_given() -> None:
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


def test_watch_redraws_the_screen(queue: MessageQueue) -> None:
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


#: The control characters of a terminal: C0, DEL, and C1 alone and as UTF-8.
EVIL = b"a\x1b]0;owned\x07\x1b[2J\r\b\x00\x7f\x9b1m\xc2\x9b1m\xff caf\xc3\xa9\ttab\nline"
HARMLESS = r"a\x1b]0;owned\x07\x1b[2J\x0d\x08\x00\x7f\x9b1m\xc2\x9b1m\xff café" + "\ttab\nline\n"


@pytest.mark.parametrize("command", ["peek", "receive"])
@pytest.mark.parametrize("options", [[], ["--lines"]])
def test_a_message_cannot_control_the_terminal(
    queue: MessageQueue, command: str, options: list[str]
) -> None:
    queue.send(EVIL)
    terminal = Terminal(command, queue.key, *options)
    assert terminal.finish() == 0
    # Some terminals replace tabs with spaces.
    assert terminal.text.expandtabs() == HARMLESS.expandtabs()


@pytest.mark.parametrize("command", ["peek", "receive"])
def test_messages_in_json_cannot_control_the_terminal(queue: MessageQueue, command: str) -> None:
    queue.send("\x1b\x7f\x9b\u202e")
    terminal = Terminal(command, queue.key, "--json")
    assert terminal.finish() == 0
    assert all(character == "\n" or " " <= character <= "~" for character in terminal.text)
    assert json.loads(terminal.text)[0]["text"] == "\x1b\x7f\x9b\u202e"


def test_bytes_of_a_segment_cannot_control_the_terminal(segment: SharedMemory) -> None:
    segment.write(EVIL)
    terminal = Terminal("read", segment.key, "--length", len(EVIL))
    assert terminal.finish() == 0
    assert terminal.text.expandtabs() == HARMLESS.removesuffix("\n").expandtabs()


def test_a_character_in_two_pieces_of_a_segment_is_whole() -> None:
    segment = SharedMemory(None, IPC_CREX, size=(1 << 20) + sysv_ipc.PAGE_SIZE)
    segment.write(b"x" * len(segment))
    segment.write("é".encode(), (1 << 20) - 1)
    terminal = Terminal("read", segment.key, "--offset", 10, "--length", 1 << 20)
    status = terminal.finish()
    segment.remove()
    segment.detach()
    assert status == 0
    assert terminal.text.count("é") == 1
    assert "\\" not in terminal.text


@pytest.mark.parametrize("command", ["peek", "receive", "read"])
def test_raw_is_byte_for_byte(command: str, queue: MessageQueue, segment: SharedMemory) -> None:
    queue.send("\x1b[1mbold")
    segment.write("\x1b[1mbold")
    name, options = queue.key, []
    if command == "read":
        name, options = segment.key, ["--length", 8]
    terminal = Terminal(command, name, "--raw", *options)
    assert terminal.finish() == 0
    assert terminal.text.rstrip("\n") == "\x1b[1mbold"


def test_a_terminal_with_another_encoding_gets_only_characters_that_it_can_show(
    queue: MessageQueue,
) -> None:
    # As UTF-8 the last byte is CSI, which begins a control sequence there.
    queue.send("\u011b caf\xe9")
    terminal = Terminal("peek", queue.key, PYTHONIOENCODING="ascii")
    assert terminal.finish() == 0
    assert terminal.text == r"\u011b caf\xe9" + "\n"


def test_arguments_of_the_command_line_cannot_control_the_terminal() -> None:
    for words in (["ls", "--\x1b[2J"], ["ls", "\x1b[2J"], ["--\x1b[2J"]):
        terminal = Terminal(*words)
        assert terminal.finish() == 2
        assert "\x1b" not in terminal.text


def replace(queue: MessageQueue, id: int) -> MessageQueue:
    """Remove a queue and make another with the same id and key."""
    key, change = queue.key, queue.last_change_time
    queue.remove()
    wait_until(lambda: time.time() >= change + 1)
    Path("/proc/sys/kernel/msg_next_id").write_text(str(id))
    other = MessageQueue(key, IPC_CREX)
    assert other.id == id
    return other


@pytest.mark.parametrize("words", [["{0.key}"], ["id:{0.id}"], ["--mine"]])
def test_an_object_that_took_the_id_during_the_question_is_not_removed(words: list[str]) -> None:
    code = "import sysv_ipc; print(sysv_ipc.MessageQueue.from_id({}).send('x'))"
    made = MessageQueue(None, IPC_CREX)
    subprocess.run([sys.executable, "-c", code.format(made.id)], check=True)
    terminal = Terminal("rm", "msg", *[word.format(made) for word in words])
    terminal.read_until("? [y/N] ")
    other = replace(made, made.id)
    terminal.type("y\n")
    assert terminal.finish() == 1
    assert "nothing was removed" in terminal.text
    assert not other.removed
    other.remove()


def test_an_object_that_is_used_again_during_the_question_is_not_removed() -> None:
    made = Semaphore(None, IPC_CREX)
    code = f"import sysv_ipc; sysv_ipc.Semaphore({made.key}).release()"
    subprocess.run([sys.executable, "-c", code], check=True)
    terminal = Terminal("rm", "sem", "--owner", os.getuid())
    terminal.read_until("? [y/N] ")
    made.acquire()
    terminal.type("y\n")
    assert terminal.finish() == 1
    assert f"process {os.getpid()} (" in terminal.text
    assert not made.removed
    made.remove()


def test_ctrl_c_at_the_question_leaves_complete_json_of_the_removals_before_it() -> None:
    first, second = Semaphore(None, IPC_CREX), Semaphore(None, IPC_CREX)
    terminal = Terminal("rm", "sem", first.key, second.key, "--json")
    terminal.read_until("? [y/N] ")
    terminal.type("y\n")
    terminal.read_until(f"id {second.id}? [y/N] ")
    terminal.type("\x03")
    assert terminal.finish() == 128 + signal.SIGINT
    assert first.removed
    assert not second.removed
    second.remove()
    # The terminal shows ^C after it has sent the signal: before, within or after the next text.
    text = re.sub(r"remove .*\? \[y/N\] (y\n)?", "", terminal.text.replace("^C", ""))
    assert [one["removed"] for one in json.loads(text)] == [True]


def test_a_narrow_terminal_shows_all(queue: MessageQueue) -> None:
    wide, narrow = (cells(steady(on_terminal("ls", COLUMNS=width)[1])) for width in ("160", "40"))
    assert narrow == wide
    assert narrow[1][2] == str(queue.id)


def test_the_session_in_the_docs_is_the_output_on_a_terminal() -> None:
    script = ROOT / "tools/transcript.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
