"""Help, aliases, chmod and chown, and names that were nearly right."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest
from commands import MODULE, as_other_user, fail, from_json, run, succeed
from helpers import OTHER_UID

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

# -------------------------------------------------------------------------------------- help


def test_the_program_alone_prints_its_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == succeed("--help") == succeed("help")


@pytest.mark.parametrize("words", ["ls", "create", "create shm", "rm"])
def test_help_shows_the_page_of_a_command(words: str) -> None:
    page = succeed("help", *words.split())
    assert page == succeed(*words.split(), "--help")
    assert page.startswith(f"usage: sysv-ipc {words} [OPTION]...")


def test_help_knows_the_aliases() -> None:
    assert succeed("help", "list") == succeed("help", "ls")
    assert succeed("help", "create", "queue") == succeed("help", "create", "msg")


def test_the_short_option_prints_the_version() -> None:
    assert succeed("-V") == f"sysv-ipc {sysv_ipc.VERSION}\n"


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_the_help_has_no_colours_and_does_not_depend_on_the_terminal_for_them(columns: str) -> None:
    done = subprocess.run(
        [*MODULE, "ls", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": columns, "FORCE_COLOR": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "-o, --columns COLUMNS" in done.stdout


# ----------------------------------------------------------------------------------- aliases


@pytest.mark.parametrize(
    ("alias", "kind"),
    [("s", "sem"), ("semaphore", "sem"), ("m", "shm"), ("segment", "shm"), ("q", "msg"),
     ("queue", "msg")],
)  # fmt: skip
def test_kinds_have_aliases(
    alias: str, kind: str, semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    assert [one["kind"] for one in from_json("list", alias)] == [kind]
    made = from_json("create", alias)
    assert made["kind"] == kind
    succeed("remove", alias, f"id:{made['id']}")


def test_commands_have_aliases(queue: MessageQueue) -> None:
    queue.send("four")
    assert succeed("recv", queue.key) == "four"


# ------------------------------------------------------------------------------------- names


def test_a_name_is_the_key_that_programs_make_from_it() -> None:
    made = from_json("create", "msg", "--key", "name:acme/jobs")
    assert made["key"] == sysv_ipc.key_from_name("acme/jobs")
    succeed("send", "name:acme/jobs", "text")
    assert succeed("peek", "name:acme/jobs") == "text"
    assert succeed("receive", "name:acme/jobs") == "text"
    assert from_json("chmod", "640", "msg", "name:acme/jobs")[0]["id"] == made["id"]
    assert from_json("ls", "--key", "name:acme/jobs")[0]["id"] == made["id"]
    assert from_json("show", "msg", "name:acme/jobs")["mode_octal"] == "640"
    succeed("rm", "msg", "name:acme/jobs")
    line = fail("show", "msg", "name:acme/jobs")
    assert f"there is no message queue with key {made['key']} " in line


def test_a_segment_is_used_by_name() -> None:
    with SharedMemory(sysv_ipc.key_from_name("acme/prices"), IPC_CREX) as made:
        succeed("write", "name:acme/prices", "text")
        assert succeed("read", "name:acme/prices", "--length", "4") == "text"
        assert "74657874" in succeed("dump", "name:acme/prices", "--length", "4").replace(" ", "")
        made.remove()


@pytest.mark.parametrize("name", ["grün", b"gr\xfcn", "a:b", "id:7", "7", " "])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_every_name_of_the_library_is_one_of_the_command_line(
    name: str | bytes, locale: str
) -> None:
    word = os.fsdecode(b"name:" + (name.encode() if isinstance(name, str) else name))
    environment = {**os.environ, "LC_ALL": locale}
    done = run("create", "sem", "--quiet", "--key", word, env=environment)
    assert int(done.stdout, 16) == sysv_ipc.key_from_name(name)
    Semaphore(sysv_ipc.key_from_name(name)).remove()


# ------------------------------------------------------------------------------ did you mean


@pytest.mark.parametrize("command", ["rm", "show", "chmod 600"])
def test_a_number_that_is_an_id_is_suggested_as_one(command: str) -> None:
    queues = [MessageQueue(0x1000000 + number, IPC_CREX) for number in range(2)]
    number = queues[1].id
    line = fail(*command.split(), "msg", number)
    assert line.startswith(f"sysv-ipc: there is no message queue with key {number} ")
    assert line.endswith(f"; did you mean id:{number}?")
    assert "did you mean" not in fail(*command.split(), "sem", number)
    for one in queues:
        one.remove()


def test_an_id_that_is_a_key_is_suggested_as_one(key: int) -> None:
    with SharedMemory(key, IPC_CREX) as made:
        line = fail("show", "shm", f"id:{key}")
        assert line.endswith(f"; did you mean {key}?")
        made.remove()


# --------------------------------------------------------------------------- create --quiet


@pytest.mark.parametrize("kind", ["sem", "shm", "msg"])
def test_quiet_create_prints_the_key_only(kind: str) -> None:
    output = succeed("create", kind, "--quiet")
    key = output.removesuffix("\n")
    assert from_json("show", kind, key)["key_hex"] == key
    succeed("rm", kind, key)


def test_create_takes_letters_as_the_mode(key: int) -> None:
    assert from_json("create", "sem", "--key", key, "--mode", "g=r")["mode_octal"] == "640"
    succeed("rm", "sem", key)


# --------------------------------------------------------------------------- chmod and chown

MODES = [
    ("640", 0o640),
    ("0o604", 0o604),
    ("g+r", 0o640),
    ("g+rw,o+r", 0o664),
    ("u-w", 0o400),
    ("=", 0),
    ("a=r", 0o444),
    ("+r", 0o644),
    ("ug=rw,o=", 0o660),
    ("o+rw-w", 0o604),
    ("g+x", 0o610),
]


@pytest.mark.parametrize(("text", "mode"), MODES)
def test_chmod_sets_the_mode(queue: MessageQueue, text: str, mode: int) -> None:
    assert succeed("chmod", text, "msg", queue.key) == ""
    assert queue.mode == mode


def test_chmod_changes_several_objects_of_any_kind() -> None:
    first, second = SemaphoreSet(None, 2, IPC_CREX), Semaphore(None, IPC_CREX)
    found = from_json("chmod", "g+r", "sem", first.key, f"id:{second.id}")
    assert [one["mode_octal"] for one in found] == ["640", "640"]
    assert (first.mode, second.mode) == (0o640, 0o640)
    for one in (first, second):
        one.remove()
    with SharedMemory(None, IPC_CREX) as segment:
        succeed("chmod", "600", "shm", segment.key)
        succeed("chmod", "444", "shm", segment.key)
        succeed("chmod", "640", "shm", segment.key)
        assert segment.mode == 0o640
        segment.remove()


def test_chmod_names_the_objects_that_it_could_not_change(queue: MessageQueue, key: int) -> None:
    done = run("chmod", "640", "msg", key, queue.key)
    assert done.returncode == 1
    assert done.stderr.startswith(b"sysv-ipc: there is no message queue with key ")
    assert done.stderr.count(b"\n") == 1
    assert queue.mode == 0o640


def test_chown_sets_owner_and_group(queue: MessageQueue) -> None:
    name = pwd.getpwuid(OTHER_UID).pw_name
    succeed("chown", name, "msg", queue.key)
    assert (queue.uid, queue.gid) == (OTHER_UID, os.getgid())
    succeed("chown", "0:7", "msg", queue.key)
    assert (queue.uid, queue.gid) == (0, 7)
    (found,) = from_json("chown", ":0", "msg", queue.key)
    assert (found["owner"], found["gid"]) == ("root", 0)


def test_only_the_owner_may_change_an_object(queue: MessageQueue) -> None:
    for words in (["chmod", "666"], ["chown", OTHER_UID]):
        status, output, errors = as_other_user(*words, "msg", queue.key)
        assert (status, output) == (1, "")
        assert "Only its owner, its creator and root may" in errors
    assert queue.mode == 0o600


def test_an_owner_may_give_an_object_away_with_its_group(queue: MessageQueue) -> None:
    queue.uid = OTHER_UID
    assert as_other_user("chown", f"{OTHER_UID - 1}:{OTHER_UID}", "msg", queue.key)[0] == 0
    assert (queue.uid, queue.gid) == (OTHER_UID - 1, OTHER_UID)
