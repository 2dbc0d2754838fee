"""Type commands into a real terminal, as a new user would, and record what it shows.

The terminal is tmux; the session has its own IPC namespace.  Dates, pids and ages, which differ
each time, are replaced by fixed ones, so that docs/command-line-session.txt changes only if the
program does.  With --check the file is compared and not written.
"""

import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1].resolve()
PAGE = ROOT / "docs/command-line-session.txt"

#: The lines to type.  An answer to a question follows its command after a tab.
TYPED = [
    "sysv-ipc lss",
    "sysv-ipc ls",
    "sysv-ipc create sem --key 42 --values 1,0",
    "sysv-ipc create shm --key 0x51 --size 64K",
    "sysv-ipc create msg --key 0x4d",
    "sysv-ipc create msg --key 0x4d",
    "sysv-ipc ls",
    "echo hello from the shell | sysv-ipc send 0x4d",
    "sysv-ipc send 0x4d one two --type 7",
    "sysv-ipc ls msg",
    "sysv-ipc peek 0x4d",
    "sysv-ipc peek 0x4d --index 1 --json",
    "sysv-ipc receive 0x4d --type 7 --all --lines",
    "sysv-ipc receive 77 > message; cat message",
    "sysv-ipc receive 77 --timeout 0.2; echo status $?",
    "sysv-ipc show msg 0x4d",
    "echo written by echo | sysv-ipc write 0x51 --offset 16",
    "sysv-ipc dump 0x51 --length 48",
    "sysv-ipc show sem 42",
    "sysv-ipc chmod g+r sem 42",
    "sysv-ipc ls -o key,mode,permissions,state",
    "sysv-ipc show shm 0",
    "sysv-ipc ls --key forty-two",
    "sysv-ipc show shm 42",
    "sysv-ipc limits",
    "sysv-ipc rm sem 42\ty",
    "sysv-ipc rm msg 0x4d\tn",
    "sysv-ipc rm msg 0x4d 0x4e --yes; echo status $?",
    "sysv-ipc rm shm 0x51 --yes",
    "sysv-ipc ls",
]

#: The parts that differ each time.  Their replacements are as wide, because of the columns.
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+s ago\)")
ENDED = re.compile(r"\b\d+(?= \(ended\))")
PIDS_AND_AGE = re.compile(r"(?<=  )([\d,]+|-)( +)\d+s(?=  )")


def steady(text: str) -> str:
    """Return the text with fixed dates, pids and ages."""
    text = MOMENT.sub("2026-01-01 12:00:00 (0s ago)", text)
    text = ENDED.sub(lambda match: "9" * len(match[0]), text)
    return PIDS_AND_AGE.sub(lambda match: re.sub(r"\d", "9", match[1]) + match[2] + "0s", text)


class Terminal:
    """A tmux server with one window, independent of the user's own servers."""

    def __init__(self, folder: Path) -> None:
        """Start the server in a folder."""
        self.tmux = ["tmux", "-u", "-f", "/dev/null", "-S", str(folder / "socket")]
        environment = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PAGER": "cat",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PS1": "$ ",
            "TZ": "UTC",
        }
        # An interpreter with sanitizers needs these.
        for name in ("ASAN_OPTIONS", "LD_PRELOAD", "PYTHONMALLOC", "UBSAN_OPTIONS"):
            if name in os.environ:
                environment[name] = os.environ[name]
        settings = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
        shell = f"exec env {' '.join(settings)} bash --noprofile --norc"
        limit = ["set-option", "-g", "history-limit", "50000", ";"]
        new = ["new-session", "-d", "-x", "120", "-y", "50", shell]
        namespace = ["unshare", "--ipc"]
        if os.geteuid() != 0:
            namespace += ["--user", "--map-root-user"]
        clean = {name: value for name, value in os.environ.items() if name not in environment}
        clean |= {"PATH": environment["PATH"], "TERM": "xterm"}
        subprocess.run([*namespace, *self.tmux, *limit, *new], check=True, cwd=folder, env=clean)

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the server and its programs."""
        subprocess.run([*self.tmux, "kill-server"], check=False)

    def screen(self) -> str:
        """Return everything that the terminal has shown."""
        # -J: return long lines as they were written, without the terminal's line breaks.
        command = [*self.tmux, "capture-pane", "-p", "-J", "-S", "-"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")

    def type(self, text: str) -> None:
        """Type a line."""
        subprocess.run([*self.tmux, "send-keys", "-l", text], check=True)
        subprocess.run([*self.tmux, "send-keys", "Enter"], check=True)

    def wait_for_prompt(self, number: int) -> None:
        """Wait until the shell has printed this number of prompts."""
        self.wait_for(lambda text: len(re.findall(r"^\$", text, re.M)) == number)

    def wait_for(self, condition: Callable[[str], bool]) -> None:
        """Wait until the condition is true for the text on the screen."""
        deadline = time.monotonic() + 60
        while not condition(self.screen()):
            if time.monotonic() > deadline:
                sys.exit(f"the command did not end; the terminal shows:\n{self.screen()}")
            time.sleep(0.02)


def session() -> str:
    """Type all commands and return what the terminal has shown."""
    # The shell may still write its files for a moment after the terminal has ended.
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folder as name, Terminal(Path(name)) as terminal:
        terminal.wait_for_prompt(1)
        for number, line in enumerate(TYPED, 1):
            command, *answers = line.split("\t")
            terminal.type(command)
            for answer in answers:
                terminal.wait_for(lambda text: text.endswith("? [y/N]"))
                terminal.type(answer)
            terminal.wait_for_prompt(number + 1)
        return terminal.screen().removesuffix("$").rstrip()


def squeezed(text: str) -> str:
    """Return the text independent of the number of digits in a pid."""
    return re.sub("9+", "9", re.sub("[ ─]+", " ", text))


def main() -> None:
    """Write the session file, or compare it."""
    text = steady(session()) + "\n"
    if sys.argv[1:] == ["--check"]:
        before = PAGE.read_text()
        if squeezed(before) != squeezed(text):
            sys.stdout.writelines(
                difflib.unified_diff(before.splitlines(True), text.splitlines(True), n=1)
            )
            sys.exit(f"{PAGE.name} differs from what the program shows: run tools/transcript.py")
    elif sys.argv[1:]:
        sys.exit("usage: tools/transcript.py [--check]")
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
