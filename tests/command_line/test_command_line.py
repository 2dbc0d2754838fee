"""The command line, through its real entry points in processes of their own."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import MODULE, SCRIPT, as_other_user, fail, from_json, run, succeed, table
from helpers import OTHER_UID, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

# A child that has become another user may not read the library's folder.
from sysv_ipc.cli import main

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


def test_show_prints_every_field_of_a_set() -> None:
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


def test_show_names_the_processes_that_sent_and_received(queue: MessageQueue) -> None:
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


def test_a_new_queue_has_no_last_sender_or_receiver(queue: MessageQueue) -> None:
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


def test_limits_are_those_of_the_system() -> None:
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


def test_the_output_of_create_can_be_pasted_into_other_commands() -> None:
    line = succeed("create", "msg").splitlines()[1]
    command = line.partition(" run ")[2].split()[1:]
    assert shown(succeed(*command))["kind"] == "message queue"
    succeed("rm", "msg", command[-1])


def test_create_refuses_a_key_that_exists(queue: MessageQueue) -> None:
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


def test_rm_removes_objects_and_names_them() -> None:
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


def test_rm_names_each_object_that_it_could_not_remove(segment: SharedMemory, key: int) -> None:
    done = run("rm", "shm", key, segment.key, "id:2147483647")
    assert done.returncode == 1
    assert done.stdout.decode().startswith(f"removed segment with key {segment.key}")
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith(f"sysv-ipc: there is no segment with key {key}")
    assert lines[1].startswith("sysv-ipc: there is no segment with id 2147483647")
    assert len(lines) == 2


def test_rm_with_json_reports_each_object(queue: MessageQueue, key: int) -> None:
    done = run("rm", "msg", queue.key, key, "--json")
    assert (done.returncode, done.stderr) == (1, b"")
    first, second = json.loads(done.stdout)
    assert first == {"kind": "msg", "key": queue.key, "removed": True, "id": queue.id}
    assert second["removed"] is False
    assert second["error"].startswith(f"there is no message queue with key {key}")
