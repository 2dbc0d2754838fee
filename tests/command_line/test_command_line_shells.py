"""Completion in real shells, and the man page."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import SCRIPT
from helpers import ROOT
from terminals import Terminal

from sysv_ipc import IPC_CREX, MessageQueue, SemaphoreSet, SharedMemory
from sysv_ipc.cli.commands import parser
from sysv_ipc.cli.parser import Commands, Parser

pytestmark = pytest.mark.once

SHARE = ROOT / "share"
BASH = SHARE / "bash-completion/completions/sysv-ipc"
ZSH = SHARE / "zsh/site-functions/_sysv-ipc"
FISH = SHARE / "fish/vendor_completions.d/sysv-ipc.fish"
MAN = SHARE / "man/man1/sysv-ipc.1"


def test_the_files_are_what_the_command_line_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/shell_files.py", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("path", [BASH, ZSH, FISH, MAN], ids=lambda path: path.name)
def test_the_files_are_installed_where_the_programs_look(path: Path) -> None:
    # PREFIX/share is where man(1) and the shells look if PREFIX/bin is on the PATH.
    installed = Path(sysconfig.get_path("data")) / "share" / path.relative_to(SHARE)
    assert installed.read_bytes() == path.read_bytes()


# -------------------------------------------------------------------------------- completion


@pytest.fixture
def made() -> Iterator[dict[str, Any]]:
    """Two sets, a segment and a queue with keys, removed at the end."""
    objects: dict[str, Any] = {
        "sem": SemaphoreSet(0x51, 2, IPC_CREX),
        "other": SemaphoreSet(0x52, 1, IPC_CREX),
        "shm": SharedMemory(0x53, IPC_CREX),
        "msg": MessageQueue(0x54, IPC_CREX),
    }
    yield objects
    for handle in objects.values():
        handle.remove()
    objects["shm"].detach()


#: The line, the words that Tab offers, and words that it must not offer.
LINES = [
    ("sysv-ipc ", "ls show create chmod help", "list 0x00000051"),
    ("sysv-ipc show ", "sem shm msg", "ls"),
    ("sysv-ipc create ", "sem shm msg", "0x00000051"),
    ("sysv-ipc ls --r", "--reverse", "--mine"),
    ("sysv-ipc peek ", "0x00000054 id:{msg}", "0x00000051"),
    ("sysv-ipc read 0x", "0x00000053", "0x00000054"),
    ("sysv-ipc rm sem ", "0x00000051 0x00000052 id:{sem} id:{other}", "0x00000053"),
    ("sysv-ipc rm q 0x", "0x00000054", "0x00000051"),
    ("sysv-ipc rm --yes s 0x00000051 ", "0x00000052", "0x00000054"),
    ("sysv-ipc ls --key 0x0000005", "0x00000051 0x00000053 0x00000054", "id:"),
    ("sysv-ipc chmod 600 segment ", "0x00000053 id:{shm}", "0x00000054"),
    ("sysv-ipc chown roo", "root", "0x00000054"),
    ("sysv-ipc ls --sort ", "owner size", "state"),
    ("sysv-ipc ls -o ", "owner permissions", "0x00000054"),
]
each_line = pytest.mark.parametrize(("line", "offered", "absent"), LINES, ids=lambda one: one)


def ids_of(made: dict[str, Any]) -> dict[str, int]:
    return {name: handle.id for name, handle in made.items()}


def environment() -> dict[str, str]:
    return {"PATH": f"{SCRIPT.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


class Shell(Terminal):
    """An interactive shell in which completion has been set up."""

    def __init__(self, *command: str, set_up: str, folder: Path) -> None:
        variables = {**environment(), "HOME": str(folder), "PS1": "$ "}
        super().__init__(size=(200, 60), command=command, **variables)
        self.type(f"{set_up}; clear; echo re''ady\n")
        self.show_until(lambda lines: "ready" in lines)

    def offers(self, line: str, words: list[str]) -> str:
        """Type a line and Tab; return the screen when it shows the words."""
        self.type(line + "\t")
        self.show_until(lambda lines: all(word in " ".join(lines).split() for word in words))
        return "\n".join(self.lines)

    def close(self) -> None:
        self.process.kill()
        self.finish()


def bash(folder: Path) -> Shell:
    inputrc = folder / "inputrc"
    inputrc.write_text(
        "set show-all-if-ambiguous on\nset page-completions off\nset bell-style none\n"
        "set completion-query-items 0\nset enable-bracketed-paste off\n"
    )
    set_up = f"bind -f {shlex.quote(str(inputrc))}; source {shlex.quote(str(BASH))}"
    return Shell("bash", "--norc", "-i", set_up=set_up, folder=folder)


def zsh(folder: Path) -> Shell:
    set_up = (
        f"PS1='$ '; fpath=({shlex.quote(str(ZSH.parent))} $fpath); autoload -Uz compinit;"
        " compinit -u -D; setopt no_beep; LISTMAX=10000; zstyle ':completion:*' menu no"
    )
    return Shell("zsh", "-f", "-i", set_up=set_up, folder=folder)


@pytest.mark.parametrize("start", [bash, zsh], ids=["bash", "zsh"])
@each_line
def test_an_interactive_shell_completes(
    start: Any, line: str, offered: str, absent: str, made: dict[str, Any], tmp_path: Path
) -> None:
    shell = start(tmp_path)
    shown = shell.offers(line, offered.format(**ids_of(made)).split())
    shell.close()
    assert not set(absent.split()) & set(shown.replace(line, "").split())


@each_line
def test_fish_completes(
    line: str, offered: str, absent: str, made: dict[str, Any], tmp_path: Path
) -> None:
    command = f"source {shlex.quote(str(FISH))}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment(), "HOME": str(tmp_path)},
    )
    words = {one.partition("\t")[0] for one in done.stdout.splitlines()}
    assert done.stderr == ""
    assert set(offered.format(**ids_of(made)).split()) <= words
    assert not set(absent.split()) & words


def test_a_word_with_a_colon_is_completed_in_bash(made: dict[str, Any], tmp_path: Path) -> None:
    shell = bash(tmp_path)
    number = made["msg"].id
    shell.type("echo sysv-ipc peek id:\t; echo do''ne\n")
    shell.show_until(lambda lines: "done" in lines)
    shell.close()
    assert f"sysv-ipc peek id:{number}" not in shell.text, "only a command line is completed"
    shell = bash(tmp_path)
    shell.type("sysv-ipc show msg id:\t-o")
    shell.show_until(lambda lines: any(f"msg id:{number} -o" in line for line in lines))
    shell.close()


def test_the_words_after_a_name_are_completed_in_bash(made: dict[str, Any], tmp_path: Path) -> None:
    shell = bash(tmp_path)
    shell.offers("sysv-ipc chmod 600 msg name:acme/jobs id:", [f"id:{made['msg'].id}"])
    shell.close()


@pytest.mark.parametrize(("shell", "path"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_a_shell_finds_no_error_in_its_file(shell: str, path: Path) -> None:
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---------------------------------------------------------------------------------- man page


def test_man_shows_the_page() -> None:
    command = ["man", "--warnings", "-l", str(MAN)]
    env = {**environment(), "MANWIDTH": "80", "MANPAGER": "cat"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sysv-ipc - list, use and remove System V IPC objects" in done.stdout
    assert "chown [OPTION]... USER[:GROUP] KIND OBJECT..." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_mandoc_finds_nothing_except_that_the_page_has_no_date() -> None:
    done = subprocess.run(["mandoc", "-T", "lint", MAN], capture_output=True, text=True, timeout=60)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def parsers(one: Parser) -> Iterator[Parser]:
    yield one
    for action in one._actions:
        if isinstance(action, Commands):
            for sub in action.choices.values():
                yield from parsers(sub)


EXAMPLES = [example.command for one in parsers(parser()) for example in one.examples]


def test_every_command_has_examples() -> None:
    without = [one.prog for one in parsers(parser()) if not one.examples]
    assert without == [f"sysv-ipc create {kind}" for kind in ("sem", "shm", "msg")]
    assert len(parser().examples) == 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_right_usage(example: str) -> None:
    words = shlex.split(example.rpartition("| ")[2].removeprefix("KEY=$(").removesuffix(")"))
    if ">" in words or "<" in words:
        words = words[: words.index(">" if ">" in words else "<")]
    assert words[0] == "sysv-ipc"
    # The users and groups of the examples need not exist here.
    known = {"www-data": "nobody", ":staff": ":root"}
    options = parser().parse_args([known.get(word, word) for word in words[1:]])
    assert callable(options.run)
    assert example in MAN.read_text().replace("\\-", "-")


def test_every_page_of_the_help_ends_with_the_address_of_the_documentation() -> None:
    for one in parsers(parser()):
        assert one.format_help().endswith("\ndocumentation: https://sysv-ipc.readthedocs.io/\n")
        assert max(map(len, one.format_help().splitlines())) <= 80
