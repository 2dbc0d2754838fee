"""ls --watch: the alternate screen, marks, keys, and a terminal that is always restored."""

from __future__ import annotations

import os
import re
import signal
import sys
import termios
from pathlib import Path

import pyte
import pytest
from helpers import wait_until
from terminals import Terminal

from sysv_ipc import IPC_CREX, MessageQueue, Semaphore

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def watch(*words: str, size: tuple[int, int] = (100, 12), **variables: str) -> Terminal:
    """Start the command and wait for its first frame."""
    terminal = Terminal("ls", "--watch", *words, size=size, **variables)
    terminal.show_until(lambda lines: any("KIND" in line for line in lines))
    return terminal


def restored(terminal: Terminal) -> bool:
    """The alternate screen was left last, with the cursor shown and the settings as before."""
    assert terminal.text.count(ENTER) == terminal.text.count(LEAVE) >= 1
    return terminal.text.rindex(LEAVE) > terminal.text.rindex(ENTER) and (
        terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")
    )


def test_q_ends_it_and_restores_the_terminal(queue: MessageQueue) -> None:
    terminal = watch("600")
    assert terminal.lines[0].startswith("sysv-ipc ls")
    assert re.search(r"every 600 s  \d\d:\d\d:\d\d  q quits$", terminal.lines[0])
    assert termios.tcgetattr(terminal.controller)[3] & termios.ICANON == 0
    terminal.type("q")
    terminal.read_until(LEAVE)
    assert termios.tcgetattr(terminal.controller) == terminal.settings
    assert terminal.finish() == 0
    assert restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_a_signal_restores_the_terminal(number: signal.Signals) -> None:
    terminal = watch("600")
    terminal.process.send_signal(number)
    terminal.read_until(LEAVE)
    assert termios.tcgetattr(terminal.controller) == terminal.settings
    assert terminal.finish() == 128 + number
    assert restored(terminal)
    assert "Traceback" not in terminal.text


def test_ctrl_c_restores_the_terminal() -> None:
    terminal = watch("0.05")
    terminal.type("\x03")
    terminal.read_until(LEAVE)
    assert termios.tcgetattr(terminal.controller) == terminal.settings
    assert terminal.finish() == 130
    assert restored(terminal)


def test_an_exception_restores_the_terminal() -> None:
    """The second list fails: an error of the library, or of the program."""
    code = (
        "import sys; from sysv_ipc.cli import main; from sysv_ipc.cli.commands import ls\n"
        "frames = iter([ls._frame])\n"
        "ls._frame = lambda options: next(frames, lambda _: 1 / 0)(options)\n"
        "sys.exit(main(['ls', '--watch', '0.05']))"
    )
    terminal = Terminal(command=[sys.executable, "-c", code])
    terminal.read_until("ZeroDivisionError")
    assert termios.tcgetattr(terminal.controller) == terminal.settings
    assert terminal.finish() == 1
    assert restored(terminal)
    assert terminal.text.index(LEAVE) < terminal.text.index("Traceback")


def test_ctrl_z_gives_the_terminal_back_and_fg_continues(queue: MessageQueue) -> None:
    terminal = watch("600")
    before = terminal.text.count(ENTER)
    os.kill(terminal.process.pid, signal.SIGTSTP)
    terminal.read_until(LEAVE)
    status = Path(f"/proc/{terminal.process.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(") ")[2].startswith("T"))
    assert termios.tcgetattr(terminal.controller) == terminal.settings
    os.kill(terminal.process.pid, signal.SIGCONT)
    while terminal.text.count(ENTER) == before:
        assert terminal.read()
    terminal.type("q")
    assert terminal.finish() == 0
    assert restored(terminal)


def test_the_screen_is_never_blank(queue: MessageQueue) -> None:
    terminal = watch("0.05")
    for text in ("1 message,", "2 messages,", "3 messages,"):
        queue.send("x")
        terminal.read_until(text)
    terminal.type("q")
    assert terminal.finish() == 0
    frames = terminal.text.partition(ENTER)[2].partition(LEAVE)[0]
    # No sequence erases a part of the screen: every cell is replaced by its successor.
    assert not re.search(r"\x1b\[\d*[JKX]", frames)
    screen = pyte.Screen(100, 12)
    stream = pyte.Stream(screen)
    shown = []
    for character in frames:
        stream.feed(character)
        shown.append(bool(screen.display[1].strip()))
    assert all(shown[shown.index(True) :])


def test_the_list_is_computed_before_the_screen_is_changed(tmp_path: Path) -> None:
    """A list that takes long leaves the terminal as it was until it is there."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = (
        "import sys; from sysv_ipc.cli import main; from sysv_ipc.cli.commands import ls\n"
        "frame = ls._frame\n"
        f"ls._frame = lambda options: (print('computing', flush=True), open({str(fifo)!r}).read(),"
        " frame(options))[-1]\n"
        "sys.exit(main(['ls', '--watch', '600']))"
    )
    terminal = Terminal(command=[sys.executable, "-c", code])
    terminal.read_until("computing")
    assert ENTER not in terminal.text
    fifo.write_text("done")
    terminal.read_until(ENTER)
    terminal.type("q")
    assert terminal.finish() == 0


def test_changes_are_marked(queue: MessageQueue, key: int) -> None:
    terminal = watch("0.2")
    queue.send("four")
    terminal.show_until(lambda lines: any(line.startswith("*  msg") for line in lines))
    assert any("1 changed" in line for line in terminal.lines[:1])
    assert "\x1b[7m1 message, 4B\x1b[0m" in terminal.text
    made = Semaphore(key, IPC_CREX)
    terminal.show_until(lambda lines: any(line.startswith("+  sem") for line in lines))
    assert "1 new" in terminal.lines[0]
    made.remove()
    terminal.show_until(lambda lines: "1 removed" in lines[0])
    terminal.show_until(lambda lines: lines[0].startswith("sysv-ipc ls    "))
    terminal.type("q")
    assert terminal.finish() == 0


def test_without_colours_the_marks_remain(queue: MessageQueue) -> None:
    terminal = watch("0.2", NO_COLOR="1")
    queue.send("four")
    terminal.show_until(lambda lines: any(line.startswith("*  msg") for line in lines))
    terminal.type("q")
    assert terminal.finish() == 0
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.text)


def test_a_window_that_changes_its_size_is_filled_again(queue: MessageQueue) -> None:
    terminal = watch("600")
    terminal.resize(60, 8)
    terminal.show_until(lambda lines: lines[0].endswith("q quits") and len(lines) == 8)
    terminal.resize(120, 30)
    terminal.show_until(lambda lines: len(lines[0]) == 120)
    terminal.type("q")
    assert terminal.finish() == 0


def test_a_window_of_any_size_gets_a_screen_of_a_reasonable_size() -> None:
    terminal = watch("600")
    terminal._set_size(terminal.controller, (65535, 65535))
    seen = len(terminal.data)
    while len(terminal.data) < seen + 100_000:
        assert terminal.read()
    terminal.type("q")
    assert terminal.finish() == 0
    assert len(terminal.data) < 2_000_000


def test_rows_below_the_window_are_counted() -> None:
    made = [Semaphore(None, IPC_CREX) for _ in range(12)]
    terminal = watch("600", size=(80, 10))
    assert terminal.lines[9].startswith("6 more below; 12 objects: 12 semaphore sets")
    terminal.type("q")
    assert terminal.finish() == 0
    for one in made:
        one.remove()


def test_a_dumb_terminal_gets_one_list_after_another(queue: MessageQueue) -> None:
    terminal = Terminal("ls", "--watch", "0.05", TERM="dumb")
    while terminal.text.count("KIND") < 3:
        assert terminal.read()
    terminal.type("\x03")
    assert terminal.finish() == 130
    assert "\x1b" not in terminal.text


def test_the_filters_hold_for_each_list(queue: MessageQueue, semaphore: Semaphore) -> None:
    terminal = watch("0.05", "msg", "-o", "kind,id")
    queue.send("x")
    assert [line.split() for line in terminal.lines[1:3]] == [
        ["KIND", "ID"],
        ["msg", str(queue.id)],
    ]
    terminal.type("q")
    assert terminal.finish() == 0
