"""The command line with messages and bytes: send, receive, peek, read, write, dump."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys

import pytest
from commands import MODULE, fail, from_json, run, succeed
from helpers import LONG_MAX, wait_until
from sleeping import blocked_process

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SharedMemory

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


def test_arguments_after_two_dashes_are_text(queue: MessageQueue) -> None:
    succeed("send", queue.key, "--type", "5", "--", "--count", "-1")
    assert queue.receive_many(9) == [(b"--count", 5), (b"-1", 5)]


def test_each_line_is_a_message(queue: MessageQueue) -> None:
    succeed("send", queue.key, "--lines", input=b"a\nb\n\nlast")
    assert succeed("receive", queue.key, "--all", "--lines") == "a\nb\n\nlast\n"
    succeed("send", queue.key, "--lines", input=b"")
    assert queue.current_messages == 0


def test_count_is_the_number_of_messages_to_send_or_receive(queue: MessageQueue) -> None:
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


def test_send_to_a_full_queue_times_out(queue: MessageQueue) -> None:
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


def test_a_message_that_cannot_be_written_stays(queue: MessageQueue) -> None:
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
def test_a_full_disk_is_reported(words: list[str], unbuffered: str) -> None:
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
def test_error_messages_that_cannot_be_written_change_nothing_else(
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


def test_closed_standard_streams_are_reported() -> None:
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
def test_bytes_that_do_not_fit_are_not_written(segment: SharedMemory, words: list[str]) -> None:
    before = segment.read()
    input = b"" if len(words) == 3 else b"x" * 4096
    line = fail("write", segment.key, *words, input=input)
    assert "does not fit" in line
    assert line.endswith("nothing was written")
    assert segment.read() == before


def test_a_short_text_goes_into_a_segment_larger_than_memory(key: int) -> None:
    size = 1 << (42 if sys.maxsize > 2**32 else 30)
    segment = SharedMemory(key, IPC_CREX | sysv_ipc.SHM_NORESERVE, size=size, init_character=None)
    succeed("write", key, input=b"short")
    assert segment.read(6) == b"short\0"
    segment.remove()
    segment.detach()


@pytest.mark.parametrize("words", [[], ["--offset", "3"], ["--offset", "17", "--length", "31"]])
def test_dump_looks_like_xxd(segment: SharedMemory, words: list[str]) -> None:
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


def test_an_offset_past_the_end_is_reported(segment: SharedMemory) -> None:
    for command in ("read", "dump"):
        for offset in (4096, 5000):
            line = fail(command, segment.key, "--offset", offset)
            assert line == f"sysv-ipc: offset {offset} is past the end of a segment of 4096 bytes"
