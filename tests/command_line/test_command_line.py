"""The command line, through its real entry points in processes of their own."""

from __future__ import annotations

import base64
import contextlib
import errno
import io
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import LONG_MAX, OTHER_UID, in_child, wait_until
from old_kernel import become_old, needs_seccomp
from sleeping import blocked_process

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

# A child that has become another user may not read the library's folder.
from sysv_ipc.cli import main

SCRIPT = Path(sys.executable).parent / "sysv-ipc"
MODULE = [sys.executable, "-m", "sysv_ipc"]

Completed = subprocess.CompletedProcess[bytes]


def run(*words: object, input: bytes = b"", **options: Any) -> Completed:
    return subprocess.run(
        [*MODULE, *map(str, words)], input=input, capture_output=True, timeout=60, **options
    )


def succeed(*words: object, input: bytes = b"") -> str:
    done = run(*words, input=input)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def fail(*words: object, input: bytes = b"", status: int = 1) -> str:
    """Return the one line that tells what was wrong."""
    done = run(*words, input=input)
    line = done.stderr.decode()
    assert done.returncode == status, line
    assert line.count("\n") == 1
    assert line.startswith("sysv-ipc")
    return line.rstrip("\n")


def from_json(*words: object) -> Any:
    return json.loads(succeed(*words, "--json"))


def as_other_user(*words: object) -> tuple[int, str, str]:
    """Run the command as an unprivileged user: status, output, errors."""

    def call() -> tuple[int, str, str]:
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = main([str(word) for word in words])
        return status, output.getvalue(), errors.getvalue()

    return in_child(call, uid=OTHER_UID)


def table(text: str) -> list[dict[str, str]]:
    """Read aligned text back: two spaces or more are between columns, and no cell is empty."""
    header, *rows = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


# --------------------------------------------------------------------------- entry points


@pytest.mark.parametrize("command", [[str(SCRIPT)], MODULE], ids=["script", "module"])
def test_both_entry_points_are_the_same_program(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"sysv-ipc {sysv_ipc.VERSION}\n")
    done = subprocess.run(
        [*command, "show", "msg", "1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("sysv-ipc: there is no message queue with key 1 (0x00000001)")


COMMANDS = [
    "ls",
    "show",
    "rm",
    "limits",
    "peek",
    "send",
    "receive",
    "read",
    "write",
    "dump",
    "create",
]


def test_help_names_each_command() -> None:
    named = re.findall(r"^    (\w+) ", succeed("--help"), re.MULTILINE)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: sysv-ipc {command}")


# ------------------------------------------------------------------------------------- ls


def test_ls_shows_all_kinds_in_one_table(
    semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    queue.send("four")
    rows = {row["KIND"]: row for row in table(succeed("ls"))}
    assert list(rows) == ["sem", "shm", "msg"]
    for kind, handle in (("sem", semaphore), ("shm", segment), ("msg", queue)):
        assert rows[kind]["KEY"] == f"{(handle.key or 0) & 0xFFFFFFFF:#010x}"
        assert rows[kind]["ID"] == str(handle.id)
        assert rows[kind]["OWNER"] == pwd.getpwuid(os.getuid()).pw_name
        assert rows[kind]["MODE"] == "600"
        assert rows[kind]["PIDS"] == str(os.getpid())
        assert rows[kind]["AGE"].endswith("s")
    assert (rows["sem"]["SIZE"], rows["sem"]["STATE"]) == ("1 member", "value 1")
    assert (rows["shm"]["SIZE"], rows["shm"]["STATE"]) == ("4096 bytes", "1 attached")
    assert (rows["msg"]["SIZE"], rows["msg"]["STATE"]) == ("1 message, 4 bytes", "-")


def test_ls_shows_states(queue: MessageQueue, segment: SharedMemory, semaphore: Semaphore) -> None:
    segment.lock()
    segment.remove()
    assert table(succeed("ls", "shm"))[0]["STATE"] == "1 attached, marked for removal, locked"
    segment.unlock()
    assert table(succeed("ls", "msg"))[0]["STATE"] == "empty"
    while queue.try_send("x" * 2000):
        pass
    queue.max_size = queue.current_bytes
    assert table(succeed("ls", "msg"))[0]["STATE"] == "full"
    with subprocess.Popen(
        [sys.executable, "-c", f"import sysv_ipc; sysv_ipc.Semaphore({semaphore.key}).Z()"]
    ) as waiter:
        wait_until(lambda: semaphore.waiting_for_zero)
        assert table(succeed("ls", "sem"))[0]["STATE"] == "value 1, 1 waiting"
        semaphore.value = 0
        assert waiter.wait(60) == 0


def test_ls_with_nothing_there_is_an_empty_table() -> None:
    assert succeed("ls").split() == [
        "KIND",
        "KEY",
        "ID",
        "OWNER",
        "MODE",
        "SIZE",
        "PIDS",
        "AGE",
        "STATE",
    ]
    assert from_json("ls") == []


def test_ls_json_has_the_fields_of_the_records(
    semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    found = from_json("ls")
    assert [one["kind"] for one in found] == ["sem", "shm", "msg"]
    records: list[Any] = [semaphore.info(), segment.info(), queue.info()]
    for one, record in zip(found, records, strict=True):
        for name in type(record).__match_args__:
            if name not in ("resident", "swapped"):
                assert one[name] == getattr(record, name), name
    assert found[0]["members"] == [
        {"value": 1, "last_pid": os.getpid(), "waiting_for_nonzero": 0, "waiting_for_zero": 0}
    ]
    assert found[1]["pids"] == [os.getpid()]
    assert found[1]["resident"] == sysv_ipc.shared_memories()[0].resident


def test_ls_filters(queue: MessageQueue, semaphore: Semaphore, segment: SharedMemory) -> None:
    def kinds(*words: object) -> list[str]:
        return [one["kind"] for one in from_json("ls", *words)]

    semaphore.uid = OTHER_UID
    key = (queue.key or 0) & 0xFFFFFFFF
    assert kinds("msg") == kinds("--kind", "msg") == ["msg"]
    assert kinds("msg", "sem") == ["sem", "msg"]
    assert kinds("--key", key) == kinds("--key", hex(key)) == ["msg"]
    assert kinds("--key", hex(key), "--key", segment.key) == ["shm", "msg"]
    assert kinds("--id", segment.id, "shm") == kinds("--id", hex(segment.id), "shm") == ["shm"]
    assert kinds("--owner", OTHER_UID) == ["sem"]
    assert kinds("--owner", pwd.getpwuid(OTHER_UID).pw_name) == ["sem"]
    assert kinds("--owner", "root") == ["shm", "msg"]
    assert kinds("--mine") == ["sem", "shm", "msg"], "the creator of the semaphore is us"
    semaphore.uid = os.getuid()
    status, output, _ = as_other_user("ls", "--mine")
    assert (status, output.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    "words", [["sem"], ["--key", "77"], ["--id", "2147483647"], ["--mine"], ["--owner", "nobody"]]
)
def test_ls_with_nothing_matching_ends_with_status_1(words: list[str]) -> None:
    done = run("ls", *words)
    assert (done.returncode, done.stderr) == (1, b"")
    done = run("ls", *words, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (1, [])


def test_ls_sorts_by_each_column(key: int) -> None:
    small = SharedMemory(None, IPC_CREX, 0o600, 100)
    large = SharedMemory(None, IPC_CREX, 0o400, 5000)
    large.uid = OTHER_UID
    made = SemaphoreSet(None, 3, IPC_CREX)
    for column, name in [
        ("kind", "kind"), ("id", "id"), ("mode", "mode"), ("key", "key"),
    ]:  # fmt: skip
        found = [one[name] & 0xFFFFFFFF if name == "key" else one[name]
                 for one in from_json("ls", "--sort", column)]  # fmt: skip
        assert found == sorted(found)
        backwards = from_json("ls", "--sort", column, "--reverse")
        assert [one["id"] for one in backwards] == [
            one["id"] for one in from_json("ls", "--sort", column)
        ][::-1]
    assert [one["id"] for one in from_json("ls", "--sort", "size")][1:] == [small.id, large.id]
    assert from_json("ls", "--sort", "owner")[0]["id"] == large.id
    assert from_json("ls", "--sort", "age") != []
    for handle in (small, large, made):
        handle.remove()


def test_ls_watches_until_ctrl_c(key: int) -> None:
    watch = subprocess.Popen(
        [*MODULE, "ls", "--watch", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    assert watch.stdout.readline().startswith("KIND")
    made = Semaphore(key, IPC_CREX)
    while not (line := watch.stdout.readline()).startswith("sem"):
        assert line.startswith("KIND")
    assert str(made.id) in line.split()
    made.remove()
    watch.send_signal(signal.SIGINT)
    _, errors = watch.communicate(timeout=60)
    assert (watch.returncode, errors) == (128 + signal.SIGINT, "")


def test_an_object_that_we_may_not_read_is_listed_and_shown(
    semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    status, output, errors = as_other_user("ls")
    assert (status, errors) == (0, "")
    rows = {row["KIND"]: row for row in table(output)}
    assert list(rows) == ["sem", "shm", "msg"]
    assert (rows["sem"]["STATE"], rows["sem"]["PIDS"]) == ("unreadable", "-")
    assert rows["shm"]["PIDS"].endswith("...")
    status, output, errors = as_other_user("show", "sem", f"id:{semaphore.id}")
    assert (status, errors) == (0, "")
    assert "1 member, whose values the caller may not read" in output
    status, output, errors = as_other_user("peek", queue.key)
    assert (status, output) == (1, "")
    assert errors.startswith("sysv-ipc: Permission denied: message queue with ")
    status, output, errors = as_other_user("read", segment.key)
    assert (status, output) == (1, "")
    assert errors.startswith("sysv-ipc: Permission denied: shared memory with ")
    assert "It belongs to uid 0" in errors
    status, output, errors = as_other_user("rm", "sem", f"id:{semaphore.id}")
    assert (status, output) == (1, "")
    assert "Only its owner, its creator and root may remove it." in errors


# ----------------------------------------------------------------------------------- show


def shown(text: str) -> dict[str, str]:
    lines = text.split("\n\n")[0].splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("spelling", ["{}", "{:#x}", "{:#010X}"])
def test_show_takes_keys_in_all_spellings(spelling: str) -> None:
    made = MessageQueue(0xDEADBEEF, IPC_CREX)
    name = spelling.format(0xDEADBEEF)
    assert shown(succeed("show", "msg", name))["key"] == "0xdeadbeef (-559038737)"
    assert shown(succeed("show", "msg", "-559038737"))["id"] == str(made.id)
    assert shown(succeed("show", "msg", f"id:{made.id}"))["id"] == str(made.id)
    assert shown(succeed("show", "msg", f"id:{made.id:#x}"))["id"] == str(made.id)
    made.remove()


def test_show_tells_all_of_a_set() -> None:
    made = SemaphoreSet(None, 3, IPC_CREX, 0o640, [5, 0, 7])
    waiter = subprocess.Popen(
        [sys.executable, "-c", f"import sysv_ipc; sysv_ipc.SemaphoreSet({made.key}).acquire(1)"]
    )
    wait_until(lambda: made[1].waiting_for_nonzero)
    text = succeed("show", "sem", made.key)
    facts = shown(text)
    assert facts["size"] == "3 members"
    assert facts["mode"] == "640"
    assert facts["owner"] == f"root (uid {os.getuid()}, gid {os.getgid()})"
    assert facts["last operation"] == facts["last change"]
    members = table(text.split("\n\n")[1])
    assert [row["VALUE"] for row in members] == ["5", "0", "7"]
    assert [row["WAITING FOR MORE"] for row in members] == ["0", "1", "0"]
    assert members[0]["LAST PID"].startswith(f"{os.getpid()} (")
    found = from_json("show", "sem", made.key)
    assert [member["value"] for member in found["members"]] == [5, 0, 7]
    made.release(1)
    assert waiter.wait(60) == 0
    made.remove()


def test_show_names_the_processes_that_have_a_segment_attached(segment: SharedMemory) -> None:
    code = f"import sysv_ipc; s = sysv_ipc.SharedMemory({segment.key}); print(); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    text = succeed("show", "shm", segment.key)
    processes = {row["PID"]: row["PROCESS"] for row in table(text.split("\n\n")[1])}
    assert processes.keys() == {str(os.getpid()), str(other.pid)}
    assert processes[str(other.pid)] == Path(f"/proc/{other.pid}/comm").read_text().strip()
    facts = shown(text)
    assert facts["size"] == "4096 bytes"
    assert facts["attached"] == "2"
    assert facts["created by"].startswith(f"{os.getpid()} (")
    assert facts["marked for removal"] == facts["locked"] == "no"
    names = {one["pid"]: one["name"] for one in from_json("show", "shm", segment.key)["processes"]}
    assert names[other.pid] == processes[str(other.pid)]
    other.communicate(b"\n")


def test_show_tells_who_sent_and_received(queue: MessageQueue) -> None:
    queue.send("abc")
    other = subprocess.Popen(
        [sys.executable, "-c", f"import sysv_ipc; sysv_ipc.MessageQueue({queue.key}).receive()"]
    )
    assert other.wait(60) == 0
    queue.send("four")
    facts = shown(succeed("show", "msg", queue.key))
    assert facts["messages"] == "1"
    assert facts["bytes"] == f"4 of {queue.max_size}"
    assert f" by {os.getpid()} (" in facts["last send"]
    assert facts["last receive"].endswith(f" by {other.pid} (ended)")
    assert facts["last send"][:19] == time.strftime(
        "%Y-%m-%d %H:%M:%S", time.localtime(queue.last_send_time)
    )


def test_nobody_has_sent_to_a_new_queue_or_received_from_it(queue: MessageQueue) -> None:
    facts = shown(succeed("show", "msg", queue.key))
    assert facts["last send"] == facts["last receive"] == "never"


def test_a_process_name_cannot_move_the_cursor(segment: SharedMemory) -> None:
    code = (
        f"import sysv_ipc; s = sysv_ipc.SharedMemory({segment.key});"
        " open('/proc/self/comm', 'w').write('\\x1b[2J[b]x'); print(); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    text = succeed("show", "shm", segment.key)
    assert "?[2J[b]x" in text
    assert "\x1b" not in text
    other.communicate(b"\n")


# --------------------------------------------------------------------------------- limits


def test_limits_are_the_systems() -> None:
    made = SemaphoreSet(None, 5, IPC_CREX)
    now = sysv_ipc.limits()
    rows = {row["LIMIT"]: row for row in table(succeed("limits"))}
    for name in [
        "semmni",
        "semmns",
        "semmsl",
        "semopm",
        "shmmni",
        "shmall",
        "shmmax",
        "msgmni",
        "msgmnb",
        "msgmax",
    ]:
        assert rows[name.upper()]["AT MOST"] == str(getattr(now, name))
    assert rows["SEMMNS"]["USED"] == "5"
    assert "[#...................] <1%" in succeed("limits")
    assert from_json("limits") == {
        name: getattr(now, name) for name in sysv_ipc.Limits.__match_args__
    }
    made.remove()


def test_the_bar_of_a_limit_is_full_when_it_is_reached() -> None:
    path = Path("/proc/sys/kernel/msgmni")
    before = path.read_text()
    queues = [MessageQueue(None, IPC_CREX) for _ in range(4)]
    try:
        path.write_text("8")
        assert "[##########..........] 50%" in succeed("limits")
        path.write_text("4")
        assert "[####################] 100%" in succeed("limits")
        line = fail("create", "msg")
        assert "4 of 4 message queues exist (kernel.msgmni)" in line
    finally:
        path.write_text(before)
        for one in queues:
            one.remove()


# --------------------------------------------------------------------------- create and rm


def test_create_makes_a_set(key: int) -> None:
    assert (
        succeed("create", "sem", "--key", key, "--values", "1,0,0x10", "--mode", "640")
        .splitlines()[0]
        .startswith(f"created semaphore set with key {key} (")
    )
    made = SemaphoreSet(key)
    assert (made.values, made.mode) == ((1, 0, 16), 0o640)
    made.remove()
    found = from_json("create", "sem", "--members", "4")
    made = SemaphoreSet.from_id(found["id"])
    assert (made.values, made.mode, found["kind"]) == ((0, 0, 0, 0), 0o600, "sem")
    made.remove()


def test_create_makes_a_segment(key: int) -> None:
    found = from_json("create", "shm", "--key", hex(key), "--size", "64K")
    made = SharedMemory(key)
    assert (made.size, made.id, made.read(3)) == (65536, found["id"], b"\0\0\0")
    made.remove()


def test_create_makes_a_queue(key: int) -> None:
    succeed("create", "msg", "--key", key, "--max-size", "4096")
    made = MessageQueue(key)
    assert made.max_size == 4096
    made.remove()


def test_what_create_prints_can_be_pasted() -> None:
    line = succeed("create", "msg").splitlines()[1]
    command = line.partition(" run ")[2].split()[1:]
    assert shown(succeed(*command))["kind"] == "message queue"
    succeed("rm", "msg", command[-1])


def test_create_refuses_what_exists(queue: MessageQueue) -> None:
    line = fail("create", "msg", "--key", queue.key)
    assert line.startswith(f"sysv-ipc: File exists: message queue with key {queue.key}")
    assert line.endswith("; choose another --key, or leave out --key to get an unused one")


def test_a_create_that_fails_leaves_nothing() -> None:
    line = fail("create", "sem", "--members", "3", "--values", "1,2")
    assert line == (
        "sysv-ipc: --values has 2 numbers for 3 members; give one number for each member, or only"
        " one of --values and --members"
    )
    fail("create", "msg", "--max-size", "9000000000000000000")
    fail("create", "sem", "--members", 2**40)
    assert from_json("ls") == []


def test_rm_removes_and_says_what() -> None:
    first, second = Semaphore(None, IPC_CREX), SemaphoreSet(None, 2, IPC_CREX)
    output = succeed("rm", "sem", first.key, f"id:{second.id}")
    assert [line.split(" with ")[0] for line in output.splitlines()] == [
        "removed semaphore set"
    ] * 2
    assert f"id {second.id}" in output
    assert first.removed
    assert second.removed


def test_options_of_rm_and_ls_may_stand_anywhere(
    semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    assert [one["kind"] for one in from_json("ls", "sem", "--mine", "msg")] == ["sem", "msg"]
    other = Semaphore(None, IPC_CREX)
    succeed("rm", "sem", semaphore.key, "--yes", other.key)
    assert semaphore.removed
    assert other.removed


def test_rm_names_each_that_it_could_not_remove(segment: SharedMemory, key: int) -> None:
    done = run("rm", "shm", key, segment.key, "id:2147483647")
    assert done.returncode == 1
    assert done.stdout.decode().startswith(f"removed segment with key {segment.key}")
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith(f"sysv-ipc: there is no segment with key {key}")
    assert lines[1].startswith("sysv-ipc: there is no segment with id 2147483647")
    assert len(lines) == 2


def test_rm_json_tells_of_each(queue: MessageQueue, key: int) -> None:
    done = run("rm", "msg", queue.key, key, "--json")
    assert (done.returncode, done.stderr) == (1, b"")
    first, second = json.loads(done.stdout)
    assert first == {"kind": "msg", "key": queue.key, "removed": True, "id": queue.id}
    assert second["removed"] is False
    assert second["error"].startswith(f"there is no message queue with key {key}")


# ---------------------------------------------------------------------------------- queues

ALL_BYTES = bytes(range(256)) + b"\n\r\n\0"


def test_messages_travel_byte_for_byte(queue: MessageQueue) -> None:
    assert run("send", queue.key, "--type", "7", input=ALL_BYTES).returncode == 0
    assert queue.peek() == (ALL_BYTES, 7)
    assert run("peek", queue.key).stdout == ALL_BYTES
    assert queue.current_messages == 1
    assert run("receive", f"id:{queue.id}").stdout == ALL_BYTES
    assert queue.current_messages == 0


def test_each_text_is_a_message(queue: MessageQueue) -> None:
    succeed("send", queue.key, "one", "zwölf", "", "--type", LONG_MAX)
    assert queue.receive_many(9) == [
        (b"one", LONG_MAX), ("zwölf".encode(), LONG_MAX), (b"", LONG_MAX),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words", ["{0} --type 5 one two", "{0} one --type 5 two", "--type 5 {0} one two"]
)
def test_options_of_send_may_stand_anywhere(queue: MessageQueue, words: str) -> None:
    succeed("send", *words.format(queue.key).split())
    assert queue.receive_many(9) == [(b"one", 5), (b"two", 5)]


def test_what_follows_two_dashes_is_text(queue: MessageQueue) -> None:
    succeed("send", queue.key, "--type", "5", "--", "--count", "-1")
    assert queue.receive_many(9) == [(b"--count", 5), (b"-1", 5)]


def test_each_line_is_a_message(queue: MessageQueue) -> None:
    succeed("send", queue.key, "--lines", input=b"a\nb\n\nlast")
    assert succeed("receive", queue.key, "--all", "--lines") == "a\nb\n\nlast\n"
    succeed("send", queue.key, "--lines", input=b"")
    assert queue.current_messages == 0


def test_count_sends_and_receives_so_many(queue: MessageQueue) -> None:
    succeed("send", queue.key, "ab", "--count", "3")
    assert succeed("peek", queue.key, "--count", "2") == "abab"
    assert succeed("receive", queue.key, "--count", "2") == "abab"
    assert queue.current_messages == 1
    line = fail("receive", queue.key, "--count", "3", "--timeout", "0.05")
    assert line.endswith("had no message within 0.05 s; received 1 of 3")


def test_receive_chooses_by_type(queue: MessageQueue) -> None:
    for number in (5, 3, 4):
        queue.send(str(number), type=number)
    assert succeed("receive", queue.key, "--type", "4") == "4"
    assert succeed("receive", queue.key, "--type=-9") == "3"
    line = fail("receive", queue.key, "--type", "5", "--except", "--timeout", "0")
    assert line.endswith("had no message of any type except 5 within 0 s")
    line = fail("receive", queue.key, "--type=-2", "--timeout", "0")
    assert line.endswith("had no message of a type up to 2 within 0 s")


def test_peek_begins_at_an_index(queue: MessageQueue) -> None:
    queue.send_many(["a", "b", "c"])
    assert succeed("peek", queue.key, "--index", "1") == "b"
    assert succeed("peek", queue.key, "--index", "1", "--all", "--lines") == "b\nc\n"
    assert fail("peek", queue.key, "--index", "3").endswith("has no message at index 3")


def test_messages_as_json(queue: MessageQueue) -> None:
    queue.send("gr\u00fcn", type=3)
    queue.send(b"\xff\0", type=4)
    expected = [
        {
            "type": 3,
            "size": 5,
            "text": "gr\u00fcn",
            "base64": base64.b64encode("grün".encode()).decode(),
        },
        {"type": 4, "size": 2, "text": None, "base64": "/wA="},
    ]
    assert from_json("peek", queue.key, "--all") == expected
    assert from_json("receive", queue.key, "--count", "2") == expected
    done = run("receive", queue.key, "--all", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"[]\n", b"")


def test_send_to_a_full_queue_gives_up_in_time(queue: MessageQueue) -> None:
    while queue.try_send("x" * 1000):
        pass
    line = fail("send", queue.key, "y" * 1000, "--timeout", "0.05")
    assert line.endswith("had no room within 0.05 s")
    room = queue.max_size - queue.current_bytes
    line = fail("send", queue.key, "y" * room, "z", "--timeout", "0")
    assert line.endswith("; 1 of 2 messages were sent")


def test_a_message_too_long_is_an_error_with_the_limit(queue: MessageQueue) -> None:
    line = fail("send", queue.key, input=b"x" * (sysv_ipc.limits().msgmax + 1))
    assert "kernel.msgmax" in line or str(sysv_ipc.limits().msgmax) in line
    assert queue.current_messages == 0


def test_a_large_count_takes_no_memory(queue: MessageQueue) -> None:
    """A hundred thousand million messages; a list of them would need terabytes."""
    line = fail("send", queue.key, "x", "--count", 10**11, "--timeout", "0")
    assert line.endswith(f"; {queue.max_size} of {10**11} messages were sent")


def test_send_waits_for_room_and_receive_for_a_message(queue: MessageQueue) -> None:
    receiver = subprocess.Popen([*MODULE, "receive", str(queue.key)], stdout=subprocess.PIPE)
    wait_until(lambda: blocked_process(receiver.pid, "msgrcv"))
    succeed("send", queue.key, "at last")
    assert receiver.communicate(timeout=60)[0] == b"at last"
    while queue.try_send("x" * 1000):
        pass
    sender = subprocess.Popen([*MODULE, "send", str(queue.key), "y" * 1000])
    wait_until(lambda: blocked_process(sender.pid, "msgsnd"))
    queue.receive()
    assert sender.wait(60) == 0


def test_a_queue_that_is_removed_ends_the_wait(key: int) -> None:
    made = MessageQueue(key, IPC_CREX)
    receiver = subprocess.Popen([*MODULE, "receive", str(key)], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: blocked_process(receiver.pid, "msgrcv"))
    made.remove()
    _, errors = receiver.communicate(timeout=60)
    assert receiver.returncode == 1
    assert errors.startswith(f"sysv-ipc: Identifier removed: message queue with key {key}") or (
        "no longer exists" in errors
    )
    assert errors.count("\n") == 1


def test_ctrl_c_is_quiet(queue: MessageQueue) -> None:
    receiver = subprocess.Popen(
        [*MODULE, "receive", str(queue.key)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: blocked_process(receiver.pid, "msgrcv"))
    receiver.send_signal(signal.SIGINT)
    assert receiver.communicate(timeout=60) == (b"", b"")
    assert receiver.returncode == 128 + signal.SIGINT


def test_a_message_that_nobody_can_get_stays(queue: MessageQueue) -> None:
    queue.send("precious")
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*MODULE, "receive", str(queue.key)], stdout=write_end, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert queue.peek() == (b"precious", 1)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*MODULE, "receive", str(queue.key)], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == b"sysv-ipc: [Errno 28] No space left on device\n"
    assert queue.peek() == (b"precious", 1)


def test_a_closed_pipe_is_quiet() -> None:
    handles = [Semaphore(None, IPC_CREX) for _ in range(30)]
    for words in (["ls"], ["ls", "--json"], ["limits"], ["--help"]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = subprocess.run(
            [*MODULE, *words], stdout=write_end, stderr=subprocess.PIPE, timeout=60
        )
        os.close(write_end)
        assert done.stderr == b"", words
        assert done.returncode in (128 + signal.SIGPIPE, 0, 120), words
    for handle in handles:
        handle.remove()


BUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


@BUFFERED
@pytest.mark.parametrize(
    "words",
    [["ls"], ["limits", "--json"], ["--help"], ["--version"], ["create", "--help"]],
    ids=str,
)
def test_a_full_disk_is_told(words: list[str], unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*MODULE, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


@BUFFERED
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["rm", "sem", "0x7ffffff1", "id:{}"], 1),
        (["rm", "sem", "0x7ffffff1", "id:{}", "--json"], 1),
        (["rm", "sem", "--owner", "1", "--owner", "2"], 1),
        (["show", "sem", "0x7ffffff1"], 1),
        (["frobnicate"], 2),
    ],
    ids=str,
)
def test_errors_that_find_no_room_change_nothing_else(
    words: list[str], status: int, unbuffered: str
) -> None:
    made = Semaphore(None, IPC_CREX)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*MODULE, *(word.format(made.id) for word in words)],
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == status
    assert made.removed is ("id:{}" in words)
    if not made.removed:
        made.remove()


def test_closed_standard_streams_are_told() -> None:
    command = [sys.executable, "-m", "sysv_ipc", "ls"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, b"sysv-ipc: standard output is closed\n")


# -------------------------------------------------------------------------------- segments


def test_a_segment_is_read_and_written_byte_for_byte(segment: SharedMemory) -> None:
    succeed("write", segment.key, input=ALL_BYTES)
    assert segment.read(len(ALL_BYTES)) == ALL_BYTES
    assert run("read", segment.key).stdout == segment.read()
    assert run("read", segment.key, "--offset", "0x10", "--length", "5").stdout == ALL_BYTES[16:21]
    assert run("read", segment.key, "--offset", "4090", "--length", "99").stdout == bytes(6)
    assert run("read", segment.key, "--length", "0").stdout == b""
    succeed("write", segment.key, "text", "--offset", "4092")
    assert segment.read(4, 4092) == b"text"


@pytest.mark.parametrize(
    "words", ["{0} --offset 98 abc", "{0} abc --offset 98", "--offset 98 {0} abc"]
)
def test_options_of_write_may_stand_anywhere(segment: SharedMemory, words: str) -> None:
    succeed("write", *words.format(segment.key).split(), input=b"not this")
    assert segment.read(5, 97) == b"\0abc\0"


@pytest.mark.parametrize(
    "words", [["text", "--offset", "4093"], ["", "--offset", "5000"], ["--offset", "1"]]
)
def test_what_does_not_fit_is_not_written(segment: SharedMemory, words: list[str]) -> None:
    before = segment.read()
    input = b"" if len(words) == 3 else b"x" * 4096
    line = fail("write", segment.key, *words, input=input)
    assert "does not fit" in line
    assert line.endswith("nothing was written")
    assert segment.read() == before


def test_a_short_text_goes_into_a_segment_larger_than_memory(key: int) -> None:
    segment = SharedMemory(
        key, IPC_CREX | sysv_ipc.SHM_NORESERVE, size=1 << 42, init_character=None
    )
    succeed("write", key, input=b"short")
    assert segment.read(6) == b"short\0"
    segment.remove()
    segment.detach()


def test_lack_of_memory_is_reported_in_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def print_without_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sysv_ipc.cli.listing.print_table", print_without_memory)
    assert main(["ls"]) == 1
    assert capfd.readouterr().err == "sysv-ipc: not enough memory\n"


@pytest.mark.parametrize("words", [[], ["--offset", "3"], ["--offset", "17", "--length", "31"]])
def test_dump_looks_as_xxd(segment: SharedMemory, words: list[str]) -> None:
    xxd = shutil.which("xxd")
    assert xxd, "the tests need xxd: apt-get install xxd"
    segment.write(os.urandom(4096))
    offset = int(words[1]) if words else 0
    length = int(words[3]) if len(words) > 2 else 4096
    expected = subprocess.run(
        [xxd, "-o", str(offset)],
        input=segment.read(length, offset),
        capture_output=True,
        check=True,
    )
    assert succeed("dump", segment.key, *words) == expected.stdout.decode()


def test_an_offset_past_the_end_is_told(segment: SharedMemory) -> None:
    for command in ("read", "dump"):
        for offset in (4096, 5000):
            line = fail(command, segment.key, "--offset", offset)
            assert line == f"sysv-ipc: offset {offset} is past the end of a segment of 4096 bytes"


# ---------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("frobnicate", "invalid choice: 'frobnicate'"),
        ("ls cow", "'cow' is not a kind: choose from sem, shm, msg"),
        ("ls --key 0", "which identifies no object: --id 7 lists the object with id 7"),
        ("show sem 0", "0 is IPC_PRIVATE, which identifies no object: name the object by its id"),
        ("create sem --key 0", "which identifies no object: without --key the object"),
        ("ls --key 0x1ffffffff", "0x1ffffffff is not a key: keys have 32 bits"),
        ("ls --key 12ab", "'12ab' is not a number (decimal or 0x hexadecimal)"),
        ("ls --id 2147483648", "2147483648 is not an id"),
        ("ls --owner nobody-at-all", "there is no user 'nobody-at-all'"),
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
        ("create sem --mode 888", "'888' is not a mode: give octal digits, such as 600"),
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


def test_errors_are_json_where_json_is_asked_for(key: int) -> None:
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


def test_an_object_that_vanishes_is_told(
    key: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between finding it and using it, somebody removes it."""
    from sysv_ipc.cli import objects, queues

    MessageQueue(key, IPC_CREX)
    find = objects.find

    def find_and_remove(*arguments: Any) -> Any:
        record = find(*arguments)
        sysv_ipc.remove_message_queue(record.id)
        return record

    monkeypatch.setattr(queues, "find", find_and_remove)
    assert main(["send", str(key), "x"]) == 1
    assert "no message queue has the id" in capsys.readouterr().err


KINDS: dict[str, Any] = {"sem": Semaphore, "shm": SharedMemory, "msg": MessageQueue}


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
        (["rm", "sem"], "change"),
        (["rm", "shm"], "change"),
        (["rm", "msg"], "change"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else one,
)
def test_an_object_that_took_the_id_of_the_one_that_was_found_is_not_used(
    words: list[str],
    module: str,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from sysv_ipc import cli

    command, *rest = words
    kind = {"queues": "msg", "segments": "shm"}.get(module) or rest.pop()
    made = KINDS[kind](None, IPC_CREX)
    other = None
    used_by = getattr(cli, module)
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
    before = [command, *([kind] if module == "change" else []), name]
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
def test_what_an_old_kernel_hides_is_not_said_to_be_missing(kind: str) -> None:
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
def test_what_an_old_kernel_shows_is_found_without_a_word_of_the_rest(queue: MessageQueue) -> None:
    hidden = MessageQueue(None, IPC_CREX)
    queue.mode = 0o666

    def look() -> tuple[int, str]:
        become_old()
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            return main(["send", str(queue.key), "x"]), errors.getvalue()

    assert in_child(look, uid=OTHER_UID) == (0, "")
    hidden.remove()
