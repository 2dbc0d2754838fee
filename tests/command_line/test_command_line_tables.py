"""Tables of the command line: in a pipe, on terminals of every width, colours, the pager."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import from_json, run, succeed, table
from helpers import wait_until
from sleeping import blocked_process
from terminals import Terminal, on_terminal, without_colours

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, SemaphoreSet, SharedMemory


def cells(text: str) -> list[list[str]]:
    """The cells of a table, without the totals below it."""
    lines = text.split("\n\n")[0].splitlines()
    return [re.split(" {2,}", line.strip()) for line in lines]


def steady(text: str) -> str:
    """The text as it would have been at the same moment."""
    return re.sub(r"\b\d+s\b", "0s", text)


@pytest.fixture
def objects() -> Iterator[dict[str, Any]]:
    """A set, a large segment and a queue, removed at the end."""
    made: dict[str, Any] = {
        "sem": SemaphoreSet(None, 3, IPC_CREX, initial_values=[1, 0, 2]),
        "shm": SharedMemory(None, IPC_CREX, 0o600, 3 << 20),
        "msg": MessageQueue(None, IPC_CREX),
    }
    made["msg"].send("four")
    yield made
    for handle in made.values():
        handle.remove()
    made["shm"].detach()


# ---------------------------------------------------------------------------- full in a pipe


def test_a_pipe_gets_everything_in_full(objects: dict[str, Any]) -> None:
    code = f"import sysv_ipc; s = sysv_ipc.attach({objects['shm'].id}); print(flush=True); input()"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) for _ in range(4)
    ]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    pids = sorted([os.getpid(), *(one.pid for one in started)])
    piped = table(run("ls", "shm", env={**os.environ, "COLUMNS": "20"}).stdout.decode())[0]
    shown = cells(on_terminal("ls", "shm")[1])[1]
    for one in started:
        one.communicate(b"\n")
    assert (piped["SIZE"], piped["PIDS"]) == ("3145728 bytes", ",".join(map(str, pids)))
    assert shown[5:7] == ["3M", ",".join(map(str, pids[:3])) + " +2"]
    assert "…" not in str(piped)


@pytest.mark.parametrize("words", [["ls"], ["limits"], ["show", "sem", "id:{}"]])
def test_a_wide_terminal_has_the_cells_of_a_pipe(words: list[str], objects: dict[str, Any]) -> None:
    words = [*(word.format(objects["sem"].id) for word in words), "--bytes"]
    status, shown = on_terminal(*words)
    assert status == 0
    assert cells(steady(shown)) == cells(steady(succeed(*words)))


def test_a_narrow_terminal_gets_lines_that_fit(objects: dict[str, Any]) -> None:
    objects["shm"].lock()
    words = ["ls", "shm", "-o", "kind,state", "--no-header"]
    assert on_terminal(*words, size=(23, 50)) == (0, "shm  1 attached, locked\n")
    assert on_terminal(*words, size=(19, 50)) == (0, "shm  1 attached, l…\n")
    assert on_terminal(*words, size=(5, 50)) == (0, "shm  1 at…\n"), "it keeps a few letters"
    for width in (80, 100):
        lines = on_terminal("ls", size=(width, 50))[1].split("\n\n")[0].splitlines()
        assert len(lines) == 4
        assert max(map(len, lines)) <= width


def test_a_terminal_without_an_ellipsis_gets_a_tilde(objects: dict[str, Any]) -> None:
    words = ["ls", "shm", "-o", "kind,state", "--no-header"]
    shown = on_terminal(*words, size=(12, 50), PYTHONIOENCODING="ascii")
    assert shown == (0, "shm  1 atta~\n")


def test_the_limits_fit_80_columns() -> None:
    status, shown = on_terminal("limits", size=(80, 50))
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80
    assert "unlimited" in shown
    status, exact = on_terminal("limits", "--bytes", size=(120, 50))
    assert str(sysv_ipc.limits().shmmax) in exact
    assert "unlimited" not in exact + succeed("limits")


def test_sizes_are_rounded_on_a_terminal_only(objects: dict[str, Any]) -> None:
    name = f"id:{objects['shm'].id}"
    assert "size:                3M (3145728 bytes)" in on_terminal("show", "shm", name)[1]
    assert "size:                3145728 bytes" in on_terminal("show", "shm", name, "--bytes")[1]
    assert "size:                3145728 bytes" in succeed("show", "shm", name)
    assert "4 of 16384 (0 % full)" in on_terminal("show", "msg", f"id:{objects['msg'].id}")[1]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1K"),
        (1536, "1.5K"),
        (10 << 10, "10K"),
        (1048575, "1M"),
        (1 << 60, "1E"),
        (2**64 - 1, "16E"),
    ],
)
def test_a_brief_size_has_at_most_five_characters(size: int, text: str) -> None:
    # This function is not public; no object that a test can make has most of these sizes.
    from sysv_ipc.cli.output import brief_size

    assert brief_size(size) == text


# ----------------------------------------------------------------------------------- columns


def test_columns_are_chosen(objects: dict[str, Any]) -> None:
    queue = objects["msg"]
    queue.mode = 0o640
    (row,) = table(succeed("ls", "msg", "-o", "id,mode,permissions,group,creator,fill"))
    assert row == {
        "ID": str(queue.id),
        "MODE": "640",
        "PERMISSIONS": "rw-r-----",
        "GROUP": "root",
        "CREATOR": "root",
        "FILL": "0 %",
    }
    plain = succeed("ls", "msg", "-o", "key", "--no-header")
    assert plain == f"{(queue.key or 0) & 0xFFFFFFFF:#010x}\n"
    assert on_terminal("ls", "msg", "-o", "key", "--no-header") == (0, plain)


def test_messages_and_bytes_of_queues_are_columns(objects: dict[str, Any]) -> None:
    objects["msg"].send("x" * 1532)
    words = ["ls", "-o", "kind,messages,bytes,fill"]
    rows = [["KIND", "MESSAGES", "BYTES", "FILL"], ["sem", "-", "-", "-"], ["shm", "-", "-", "-"]]
    assert cells(succeed(*words)) == [*rows, ["msg", "2", "1536", "9 %"]]
    assert cells(on_terminal(*words)[1]) == [*rows, ["msg", "2", "1.5K", "9 %"]]
    assert cells(on_terminal(*words, "--bytes")[1]) == [*rows, ["msg", "2", "1536", "9 %"]]
    assert from_json("ls", "msg")[0]["fill"] == 1536 / 16384


def test_columns_are_suggested() -> None:
    done = run("ls", "-o", "onwer")
    assert done.returncode == 2
    assert b"there is no column 'onwer' (did you mean owner?)" in done.stderr


def test_totals_are_on_a_terminal_only(objects: dict[str, Any]) -> None:
    total = "3 objects: 1 semaphore set (3 members), 1 segment (3M), 1 message queue (4B)"
    assert on_terminal("ls")[1].endswith(f"\n\n{total}\n")
    assert "objects" not in succeed("ls")
    assert on_terminal("ls", "--id", "2147483647")[1].endswith("\n\nno objects\n")


# ------------------------------------------------------------------------------------- state


def test_the_state_tells_how_full_a_queue_is(objects: dict[str, Any]) -> None:
    queue = objects["msg"]
    queue.send(b"x" * 1956)
    queue.max_size = 2000
    assert table(succeed("ls", "msg"))[0]["STATE"] == "98 % full"
    assert from_json("ls", "msg")[0]["fill"] == 1960 / 2000
    queue.max_size = 4000
    assert table(succeed("ls", "msg"))[0]["STATE"] == "-"
    queue.max_size = 1960
    assert table(succeed("ls", "msg"))[0]["STATE"] == "full"
    queue.max_size = 16384
    assert table(succeed("ls", "msg"))[0]["STATE"] == "-"


def test_the_state_tells_who_waits_for_a_queue(objects: dict[str, Any]) -> None:
    queue = objects["msg"]
    code = f"import sysv_ipc; sysv_ipc.MessageQueue.from_id({queue.id}).receive(type=9)"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    for one in started:
        wait_until(functools.partial(blocked_process, one.pid, "msgrcv"))
    assert table(succeed("ls", "msg"))[0]["STATE"] == "3 waiting"
    for _ in started:
        queue.send("x", type=9)
    assert [one.wait(60) for one in started] == [0] * 3


def test_the_state_tells_that_the_creator_has_ended() -> None:
    code = "import sysv_ipc; print(sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX).id)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    with sysv_ipc.attach(int(made.stdout)) as segment:
        assert table(succeed("ls", "shm"))[0]["STATE"] == "1 attached, creator ended"
        assert from_json("ls", "shm")[0]["alive"] is True
        segment.remove()


# -------------------------------------------------------------------------------------- JSON


def test_json_has_what_programs_ask_for(objects: dict[str, Any]) -> None:
    segment = objects["shm"]
    for found in (from_json("show", "shm", f"id:{segment.id}"), from_json("ls", "shm")[0]):
        assert found["key_hex"] == f"{(segment.key or 0) & 0xFFFFFFFF:#010x}"
        assert found["key"] == segment.key
        assert (found["mode"], found["mode_octal"]) == (0o600, "600")
        assert (found["uid"], found["owner"]) == (0, "root")
        assert (found["alive"], found["unused"], found["fill"]) == (True, False, None)
        assert found["size"] == 3 << 20


def test_json_says_if_the_processes_have_ended() -> None:
    code = "import sysv_ipc; sysv_ipc.MessageQueue(0x77, sysv_ipc.IPC_CREX).send('x')"
    subprocess.run([sys.executable, "-c", code], check=True)
    found = from_json("show", "msg", "0x77")
    assert (found["alive"], found["unused"]) == (False, True)
    never = from_json("create", "msg")
    assert (never["alive"], never["unused"]) == (None, False)
    succeed("rm", "msg", "0x77", f"id:{never['id']}")


# ----------------------------------------------------------------------------------- colours

#: The variables, and whether a pipe and a terminal get colours.
COLOURS: list[tuple[dict[str, Any], bool, bool]] = [
    ({}, False, True),
    ({"NO_COLOR": "1"}, False, False),
    ({"NO_COLOR": ""}, False, True),
    ({"FORCE_COLOR": "1"}, True, True),
    ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ({"TERM": "dumb"}, False, False),
    ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
]


@pytest.mark.parametrize(("variables", "piped", "shown"), COLOURS, ids=str)
def test_colours_heed_the_environment(
    objects: dict[str, Any], variables: dict[str, Any], piped: bool, shown: bool
) -> None:
    environment = {**os.environ, "TERM": "xterm", **variables}
    text = run("ls", env=environment).stdout.decode()
    assert ("\x1b" in text) is piped
    assert steady(without_colours(text)) == steady(succeed("ls"))
    terminal = Terminal("ls", **variables)
    assert terminal.finish() == 0
    assert ("\x1b[1mKIND" in terminal.text) is shown


def test_a_state_that_needs_attention_is_coloured(objects: dict[str, Any]) -> None:
    objects["msg"].max_size = 4
    terminal = Terminal("ls", "msg")
    assert terminal.finish() == 0
    assert "\x1b[31mfull\x1b[0m" in terminal.text


def test_a_name_cannot_move_the_cursor_or_set_a_colour(key: int) -> None:
    code = (
        f"import sysv_ipc; s = sysv_ipc.SharedMemory({key}, sysv_ipc.IPC_CREX);"
        " open('/proc/self/comm', 'w').write('\\x1b[31m[b]x'); print(); input(); s.remove()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1)
    assert other.stdout is not None
    other.stdout.readline()
    terminal = Terminal("show", "shm", key)
    assert terminal.finish() == 0
    other.communicate(b"\n")
    assert "?[31m[b]x" in terminal.text
    assert "\x1b[31m" not in terminal.text


# ------------------------------------------------------------------------------------- pager


@pytest.fixture
def pager(tmp_path: Path) -> dict[str, str]:
    """A pager that writes its input into a file, and its LESS to the terminal."""
    script = tmp_path / "pager"
    script.write_text(f'#!/bin/sh\ncat > "{tmp_path}/paged"\necho "LESS=$LESS"\n')
    script.chmod(0o755)
    return {"PAGER": f"'{script}'", "paged": str(tmp_path / "paged")}


def test_a_long_list_goes_through_the_pager(objects: dict[str, Any], pager: dict[str, str]) -> None:
    paged = Path(pager.pop("paged"))
    status, shown = on_terminal("ls", size=(100, 6), **pager)
    assert (status, shown) == (0, "LESS=FRX\n")
    text = without_colours(paged.read_text())
    assert steady(text) == steady(on_terminal("ls", size=(100, 6), PAGER="")[1])
    assert "\x1b[1mKIND" in paged.read_text()


@pytest.mark.parametrize("words", [["ls", "--json"], ["ls"]])
def test_the_pager_is_not_used_for_what_fits_or_for_json(
    objects: dict[str, Any], pager: dict[str, str], words: list[str]
) -> None:
    paged = Path(pager.pop("paged"))
    assert on_terminal(*words, size=(100, 7 if words == ["ls"] else 6), **pager)[0] == 0
    assert not paged.exists()


def test_without_a_pager_that_works_the_list_is_printed(objects: dict[str, Any]) -> None:
    status, shown = on_terminal("ls", size=(100, 5), PAGER="/no/such/pager")
    assert status == 0
    assert "3 objects: " in shown


def test_a_user_who_leaves_the_pager_early_causes_no_error(objects: dict[str, Any]) -> None:
    assert on_terminal("ls", size=(100, 5), PAGER="true") == (0, "")


def test_ctrl_c_in_the_pager_does_not_end_the_command_before_it(objects: dict[str, Any]) -> None:
    pager = (
        "trap 'echo interrupted; exit' INT; echo ready; cat >/dev/null; read -r answer </dev/tty"
    )
    terminal = Terminal("ls", size=(100, 5), PAGER=pager)
    terminal.read_until("ready")
    terminal.type("\x03")
    terminal.read_until("interrupted")
    assert terminal.finish() == 0


def test_a_list_for_the_pager_ends_with_its_own_status(pager: dict[str, str]) -> None:
    paged = Path(pager.pop("paged"))
    status, _ = on_terminal("ls", "--id", "2147483647", size=(100, 3), **pager)
    assert (status, paged.exists()) == (1, True)
