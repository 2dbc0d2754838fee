"""The command line when something is wrong: usage, missing objects, rights, old kernels."""

from __future__ import annotations

import contextlib
import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest
from calls import KINDS
from commands import as_other_user, fail, run
from helpers import OTHER_UID, in_child
from old_kernel import become_old, needs_seccomp

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue

# A child that has become another user may not read the library's folder.
from sysv_ipc.cli import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("frobnicate", "there is no command 'frobnicate'"),
        ("shwo", "there is no command 'shwo' (did you mean show?); see sysv-ipc --help"),
        ("remov", "there is no command 'remov' (did you mean remove?)"),
        ("help lss", "there is no command 'lss' (did you mean ls?)"),
        ("help ls sem", "unrecognized arguments: sem; see sysv-ipc ls --help"),
        (
            "ls --revers3",
            "unrecognized arguments: --revers3 (did you mean --reverse?); see sysv-ipc ls ",
        ),
        ("--all", "unrecognized arguments: --all; see sysv-ipc --help"),
        (
            "ls -o key,stat",
            "there is no column 'stat' (did you mean state?): choose from kind, key",
        ),
        ("create cow", "'cow' is not a kind: choose from sem, shm, msg; see sysv-ipc create"),
        ("chmod u+q sem 1", "'u+q' is not a mode: give octal digits, such as 600, or letters, "),
        ("chmod 600 sem", "the following arguments are required: OBJECT; see sysv-ipc chmod"),
        ("chown : sem 1", "':' names neither a user nor a group"),
        ("chown :no-such-group sem 1", "there is no group 'no-such-group'"),
        ("create sem --quiet --json", "not allowed with argument"),
        ("ls cow", "'cow' is not a kind: choose from sem, shm, msg"),
        ("ls --key 0", "which identifies no object: --id 7 lists the object with id 7"),
        ("show sem 0", "0 is IPC_PRIVATE, which identifies no object: name the object by its id"),
        ("create sem --key 0", "which identifies no object: without --key the object"),
        ("ls --key 0x1ffffffff", "0x1ffffffff is not a key: keys have 32 bits"),
        (
            "ls --key 12ab",
            "'12ab' is not a number (decimal or 0x hexadecimal); for a name, use name:12ab; see ",
        ),
        ("show sem jobs", "; for a name, use name:jobs; see sysv-ipc show --help"),
        ("create sem --key jobs", "; for a name, use name:jobs; see sysv-ipc create sem --help"),
        ("send a$b text", "; for a name, use 'name:a$b'; see sysv-ipc send --help"),
        ("rm sem name:", "there is no name after name:; see sysv-ipc rm --help"),
        ("ls --id jobs", "'jobs' is not a number (decimal or 0x hexadecimal); see sysv-ipc ls"),
        ("ls --id 2147483648", "2147483648 is not an id"),
        ("ls --owner no-such-user", "there is no user 'no-such-user'"),
        ("ls --sort cow", "invalid choice: 'cow'"),
        ("ls --watch 0", "0 is not between 0.05 and 86400 seconds"),
        ("show", "the following arguments are required: KIND, OBJECT"),
        ("show sem", "the following arguments are required: OBJECT"),
        ("show sem id:-1", "-1 is negative"),
        ("show sem id:", "'' is not a number"),
        ("rm sem", "the following arguments are required: OBJECT"),
        ("create", "the following arguments are required: KIND"),
        ("create sem --members 0", "0 is not at least 1"),
        ("create sem --values 1,,2", "'' is not a number"),
        ("create sem --values 32768", "32768 is too large: a value is at most 32767"),
        ("create sem --mode 888", "'888' is not a mode: give octal digits, such as 600, or "),
        ("create shm --size 1X", "'1X' is not a number"),
        ("create shm --size 9999999999G", "is larger than any object can be"),
        ("create shm --members 3", "unrecognized arguments: --members 3"),
        ("peek 5 --count 2 --all", "not allowed with argument"),
        ("receive 5 --timeout never", "'never' is not a number of seconds"),
        ("receive 5 --timeout=-1", "'-1' is not a number of seconds"),
        ("receive 5 --timeout nan", "'nan' is not a number of seconds"),
        ("receive 5 --type 9223372036854775808", "does not fit into 64 bits"),
        ("read 5 --offset=-1", "-1 is negative"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith("sysv-ipc")
    assert told in errors
    assert errors.endswith(" --help\n")


def test_wrong_usage_ends_the_program() -> None:
    line = fail("frobnicate", status=2)
    assert line.endswith("; see sysv-ipc --help")


def test_errors_are_json_if_json_is_requested(key: int) -> None:
    done = run("show", "msg", key, "--json")
    assert (done.returncode, done.stdout) == (1, b"")
    error = json.loads(done.stderr)["error"]
    assert error["message"].startswith(f"there is no message queue with key {key}")
    made = MessageQueue(key, IPC_CREX)
    done = run("create", "msg", "--key", key, "--json")
    assert json.loads(done.stderr)["error"] == {
        "class": "ExistentialError",
        "errno": 17,
        "message": f"File exists: message queue with key {key} ({key:#x})",
        "cure": "choose another --key, or leave out --key to get an unused one",
    }
    made.remove()


@pytest.mark.parametrize("kind", ["sem", "shm", "msg"])
@pytest.mark.parametrize(("name", "number"), [("4711", errno.ENOENT), ("id:4711", errno.EINVAL)])
def test_a_missing_object_is_the_error_in_json_that_the_library_raises(
    kind: str, name: str, number: int
) -> None:
    error = json.loads(run("show", kind, name, "--json").stderr)["error"]
    assert (error["class"], error["errno"]) == ("ExistentialError", number)


def test_an_object_that_vanishes_is_reported(
    key: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process removes it after it is found and before it is used."""
    from sysv_ipc.cli import objects
    from sysv_ipc.cli.commands import queues

    MessageQueue(key, IPC_CREX)
    find = objects.find

    def find_and_remove(*arguments: Any) -> Any:
        record = find(*arguments)
        sysv_ipc.remove_message_queue(record.id)
        return record

    monkeypatch.setattr(queues, "find", find_and_remove)
    assert main(["send", str(key), "x"]) == 1
    assert "no message queue has the id" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["key", "id"])
@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["peek"], "queues"),
        (["receive"], "queues"),
        (["send", "x"], "queues"),
        (["read"], "segments"),
        (["dump"], "segments"),
        (["write", "text"], "segments"),
        (["rm", "sem"], "remove"),
        (["rm", "shm"], "remove"),
        (["rm", "msg"], "remove"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else one,
)
def test_an_object_that_took_the_id_of_the_one_found_is_not_used(
    words: list[str],
    module: str,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from sysv_ipc.cli import commands

    command, *rest = words
    kind = {"queues": "msg", "segments": "shm"}.get(module) or rest.pop()
    made = KINDS[kind](None, IPC_CREX)
    other = None
    used_by = getattr(commands, module)
    find = used_by.find

    def find_and_replace(*arguments: Any, **keywords: Any) -> Any:
        nonlocal other
        record = find(*arguments, **keywords)
        if other is None:
            made.remove()
            if kind == "shm":
                made.detach()
            Path(f"/proc/sys/kernel/{kind}_next_id").write_text(str(record.id))
            other = KINDS[kind](None, IPC_CREX)
            assert other.id == record.id
            if kind == "msg":
                other.send("secret")
        return record

    monkeypatch.setattr(used_by, "find", find_and_replace)
    name = f"id:{made.id}" if by == "id" else str(made.key)
    before = [command, *([kind] if module == "remove" else []), name]
    assert main([*before, *rest]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "belongs to another object now; nothing was done" in told.err
    assert other is not None
    assert not other.removed
    if kind == "msg":
        assert other.current_messages == 1
    if kind == "shm":
        assert other.read(4) == b"    "
        other.detach()
    other.remove()


def test_a_queue_that_may_only_be_written_to_is_sent_to(queue: MessageQueue) -> None:
    queue.mode = 0o622
    assert as_other_user("send", queue.key, "x") == (0, "", "")
    assert queue.receive() == (b"x", 1)


@needs_seccomp
@pytest.mark.parametrize("kind", KINDS)
def test_objects_that_an_old_kernel_hides_are_not_reported_as_missing(kind: str) -> None:
    made = KINDS[kind](None, IPC_CREX)
    missing = KINDS[kind](None, IPC_CREX)
    if kind == "shm":
        made.detach()
        missing.detach()
    missing.remove()

    def look() -> list[Any]:
        become_old()
        results = []
        for name in (made.key, f"id:{made.id}", missing.key, f"id:{missing.id}"):
            for command in ("show", "rm"):
                errors = io.StringIO()
                with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
                    status = main([command, kind, str(name)])
                    main(["show", kind, str(name), "--json"])
                line, as_json = errors.getvalue().splitlines()
                error = json.loads(as_json)["error"]
                results.append((status, "may not read" in line, error["class"], error["errno"]))
        return results

    hidden = (1, True, "PermissionsError", errno.EACCES)
    gone = [(1, False, "ExistentialError", number) for number in (errno.ENOENT, errno.EINVAL)]
    assert in_child(look, uid=OTHER_UID) == [hidden] * 4 + [gone[0]] * 2 + [gone[1]] * 2
    made.remove()


@needs_seccomp
def test_objects_that_an_old_kernel_shows_are_found_without_a_warning(queue: MessageQueue) -> None:
    hidden = MessageQueue(None, IPC_CREX)
    queue.mode = 0o666

    def look() -> tuple[int, str]:
        become_old()
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            return main(["send", str(queue.key), "x"]), errors.getvalue()

    assert in_child(look, uid=OTHER_UID) == (0, "")
    hidden.remove()


def test_lack_of_memory_is_reported_in_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def print_without_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sysv_ipc.cli.commands.ls.print_table", print_without_memory)
    assert main(["ls"]) == 1
    assert capfd.readouterr().err == "sysv-ipc: not enough memory\n"
