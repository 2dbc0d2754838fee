"""The command line loses no message, and reports everything that it did."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from helpers import alarms, in_child, wait_until
from sleeping import blocked_process

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore

# A child that has become another user may not read the library's folder.
from sysv_ipc.cli import main

MODULE = [sys.executable, "-m", "sysv_ipc"]
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
#: Other signals that end a program without a handler.
FURTHER = [
    *(signal.SIGQUIT, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
    *(signal.SIGVTALRM, signal.SIGPROF, signal.SIGPOLL, signal.SIGABRT, signal.SIGPWR),
    *(signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX),
]
OTHER_UID = 65534
FORMS = pytest.mark.parametrize("form", ["--json", "--lines"])


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **options}
    return subprocess.run([*MODULE, *map(str, words)], **options)


def start(*words: object, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*MODULE, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.fixture
def nobody_reads() -> Iterator[int]:
    """A pipe whose reader has closed its end."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


@pytest.fixture
def full_disk() -> Iterator[IO[bytes]]:
    """A device on which nothing can be written."""
    with open("/dev/full", "wb") as file:
        yield file


def texts(output: bytes, form: str) -> list[str]:
    """Return the messages in the output; JSON must be complete."""
    if form == "--json":
        return [one["text"] for one in json.loads(output or b"[]")]
    return output.decode().splitlines()


# -------------------------------------------------------------------------------- receive


@FORMS
@pytest.mark.parametrize("amount", ["--all", "--count=3"])
def test_no_message_is_taken_if_the_reader_has_closed_the_pipe(
    queue: MessageQueue, nobody_reads: int, form: str, amount: str
) -> None:
    queue.send_many(["a", "b", "c"])
    done = run("receive", queue.key, form, amount, stdout=nobody_reads)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert [content for content, _ in queue.receive_many(9)] == [b"a", b"b", b"c"]


@FORMS
def test_a_message_for_a_full_disk_goes_back(
    queue: MessageQueue, full_disk: IO[bytes], form: str
) -> None:
    queue.send_many(["a", "b", "c"])
    done = run("receive", queue.key, form, "--all", stdout=full_disk)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert sorted(content for content, _ in queue.receive_many(9)) == [b"a", b"b", b"c"]


@FORMS
@pytest.mark.parametrize("number", ENDING)
def test_messages_taken_before_a_signal_are_written(
    queue: MessageQueue, form: str, number: signal.Signals
) -> None:
    queue.send_many(["a", "b"])
    receiver = start("receive", queue.key, form, "--count", 3)
    wait_until(lambda: not queue.current_messages and blocked_process(receiver.pid, "msgrcv"))
    receiver.send_signal(number)
    output, errors = receiver.communicate(timeout=60)
    assert (receiver.returncode, errors) == (128 + number, b"")
    assert texts(output, form) == ["a", "b"]


def test_an_array_of_no_messages_is_valid_json(queue: MessageQueue) -> None:
    receiver = start("receive", queue.key, "--json")
    wait_until(lambda: blocked_process(receiver.pid, "msgrcv"))
    receiver.send_signal(signal.SIGTERM)
    assert receiver.communicate(timeout=60) == (b"[]\n", b"")


def test_an_ignored_signal_stays_ignored(queue: MessageQueue) -> None:
    receiver = start(
        "receive", queue.key, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    wait_until(lambda: blocked_process(receiver.pid, "msgrcv"))
    receiver.send_signal(signal.SIGHUP)
    queue.send("still there")
    assert receiver.communicate(timeout=60) == (b"still there", b"")
    assert receiver.returncode == 0


@FORMS
def test_messages_taken_before_the_removal_are_written(key: int, form: str) -> None:
    made = MessageQueue(key, IPC_CREX)
    made.send("a")
    receiver = start("receive", key, form, "--count", 2)
    wait_until(lambda: not made.current_messages and blocked_process(receiver.pid, "msgrcv"))
    made.remove()
    output, errors = receiver.communicate(timeout=60)
    assert receiver.returncode == 1
    assert b"emoved" in errors or b"no longer exists" in errors
    assert texts(output, form) == ["a"]


def test_each_message_is_written_when_it_is_taken(queue: MessageQueue) -> None:
    receiver = start("receive", queue.key, "--json", "--count", 2)
    assert receiver.stdout is not None
    queue.send("first")
    seen = b""
    while not seen.endswith(b"}"):
        seen += os.read(receiver.stdout.fileno(), 4096)
    assert json.loads(seen + b"]")[0]["text"] == "first"
    queue.send("second")
    rest, _ = receiver.communicate(timeout=60)
    assert texts(seen + rest, "--json") == ["first", "second"]


def test_json_is_formatted_as_in_other_commands(queue: MessageQueue) -> None:
    queue.send_many(["a", "b"])
    peeked = run("peek", queue.key, "--all", "--json").stdout
    assert run("receive", queue.key, "--all", "--json").stdout == peeked


def fill(pipe: int) -> int:
    """Write into a pipe until it is full; return the number of bytes."""
    written = 0
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(pipe, b"-" * 4096)
    os.set_blocking(pipe, True)
    return written


@FORMS
def test_a_signal_ends_the_command_if_the_reader_does_not_read(
    queue: MessageQueue, form: str
) -> None:
    queue.send_many(["a", "b"])
    read_end, write_end = os.pipe()
    fill(write_end)
    receiver = subprocess.Popen(
        [*MODULE, "receive", str(queue.key), form, "--all"], stdout=write_end, stderr=-1
    )
    wait_until(lambda: queue.current_messages == 1)
    receiver.terminate()
    assert receiver.communicate(timeout=60)[1] == b""
    assert receiver.returncode == 128 + signal.SIGTERM
    assert sorted(content for content, _ in queue.receive_many(9)) == [b"a", b"b"]
    os.close(read_end)
    os.close(write_end)


def check_it_goes_back(queue: MessageQueue, output: int, number: int) -> None:
    """Check that a message returns to the queue if a signal ends a receiver with a full output."""
    queue.send("precious")
    command = [*MODULE, "receive", f"id:{queue.id}"]
    receiver = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE)
    wait_until(lambda: not queue.current_messages)
    receiver.send_signal(number)
    assert receiver.communicate(timeout=60)[1] == b""
    assert receiver.returncode == 128 + number
    assert queue.receive(block=False) == (b"precious", 1)


@pytest.mark.parametrize("number", [*ENDING, *FURTHER], ids=str)
def test_no_signal_loses_the_message_that_is_being_written(
    queue: MessageQueue, number: int
) -> None:
    read_end, write_end = os.pipe()
    fill(write_end)
    check_it_goes_back(queue, write_end, number)
    os.close(read_end)
    os.close(write_end)


def test_the_command_does_not_handle_the_signal_that_interrupts_waits(
    queue: MessageQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a wait could not be interrupted, or would poll."""
    code = """
import os, signal, sys, sysv_ipc
from sysv_ipc.cli.delivery import ENDING, Held
queue = sysv_ipc.MessageQueue(int(sys.argv[1]))
with Held(queue) as held:
    assert held.wait(lambda left: queue.receive(timeout=5), None) == (b"x", 1)
    assert sysv_ipc.set_wait_signal(None) in ENDING
"""
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(queue.key)])
    wait_until(lambda: blocked_process(process.pid, "msgrcv"))
    queue.send("x")
    assert process.wait(60) == 0
    assert capfd.readouterr().err == ""


def test_a_handler_of_the_program_itself_stays() -> None:
    from sysv_ipc.cli.delivery import Held

    with alarms(1000) as calls, Held():
        os.kill(os.getpid(), signal.SIGALRM)
    assert calls == [signal.SIGALRM]


#: The delay in microseconds between poll(2), which reports room, and each write.
SLOW = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=write,pwritev2"]
DELAY = "delay_enter=300000"


@pytest.mark.parametrize(
    "inject",
    [[f"write,pwritev2:{DELAY}"], [f"write:{DELAY}", "pwritev2:error=EOPNOTSUPP"]],
    ids=["now", "before Linux 6.4"],
)
def test_room_that_another_writer_takes_does_not_block_signals(
    queue: MessageQueue, inject: list[str]
) -> None:
    read_end, write_end = os.pipe()
    fill(write_end)
    os.read(read_end, 4096)
    command = [*SLOW, *(word for one in inject for word in ("-e", f"inject={one}"))]
    command += [*MODULE, "receive", f"id:{queue.id}"]
    receivers = [
        subprocess.Popen(command, stdout=write_end, stderr=subprocess.PIPE) for _ in range(2)
    ]
    wait_until(lambda: all(blocked_process(one.pid, "msgrcv") for one in receivers))
    MessageQueue.from_id(queue.id, 4096).send_many([b"m" * 4096] * 2)
    wait_until(lambda: any(one.poll() == 0 for one in receivers))
    for one in receivers:
        one.terminate()
    for one in receivers:
        assert one.communicate(timeout=60)[1] == b""
    assert sorted(one.returncode for one in receivers) == [0, 128 + signal.SIGTERM]
    assert queue.current_messages == 1
    MessageQueue.from_id(queue.id, 4096).receive()
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("number", ENDING)
def test_a_full_terminal_does_not_block_signals(
    queue: MessageQueue, number: signal.Signals
) -> None:
    """poll(2) reports room, but write(2) blocks nevertheless."""
    ours, theirs = os.openpty()
    # The kernel processes the written bytes, and then has room again, a few times.
    in_vain = 0
    while in_vain < 100:
        in_vain = 0 if fill(theirs) else in_vain + 1
        time.sleep(0.001)
    check_it_goes_back(queue, theirs, number)
    os.close(ours)
    os.close(theirs)


def test_an_error_message_that_cannot_be_written_does_not_block_signals(key: int) -> None:
    """Output and errors are one full pipe, and the message cannot go back."""
    made = MessageQueue(key, IPC_CREX)
    made.send("x")
    read_end, write_end = os.pipe()
    fill(write_end)
    receiver = subprocess.Popen(
        [*MODULE, "receive", f"id:{made.id}"], stdout=write_end, stderr=write_end
    )
    wait_until(lambda: not made.current_messages)
    made.remove()
    receiver.terminate()
    assert receiver.wait(60) == 128 + signal.SIGTERM
    os.close(read_end)
    os.close(write_end)


def test_a_message_goes_back_to_a_queue_that_was_filled_meanwhile(
    queue: MessageQueue,
) -> None:
    queue.send("precious")
    read_end, write_end = os.pipe()
    fill(write_end)
    receiver = subprocess.Popen(
        [*MODULE, "receive", str(queue.key)], stdout=write_end, stderr=subprocess.PIPE
    )
    wait_until(lambda: not queue.current_messages)
    queue.max_size = 3
    queue.send("abc")
    receiver.terminate()
    wait_until(lambda: blocked_process(receiver.pid, "msgsnd"))
    queue.max_size = 100
    assert receiver.communicate(timeout=60)[1] == b""
    assert [content for content, _ in queue.receive_many(9)] == [b"abc", b"precious"]
    os.close(read_end)
    os.close(write_end)


def test_a_message_that_cannot_go_back_is_reported(key: int) -> None:
    """The caller may read the queue and not write to it."""
    made = MessageQueue(key, IPC_CREX, 0o644)
    made.send(b"\x1bprecious", type=7)

    def receive() -> tuple[int, str]:
        errors = io.StringIO()
        with open("/dev/full", "w") as full:
            with contextlib.redirect_stdout(full), contextlib.redirect_stderr(errors):
                status = main(["receive", str(key)])
            with contextlib.suppress(OSError):
                full.close()
        return status, errors.getvalue()

    status, errors = in_child(receive, uid=OTHER_UID)
    made.remove()
    assert status == 1
    assert errors.splitlines()[0] == (
        "sysv-ipc: a message of type 7 could neither be written nor put back into the queue;"
        " in base64 it is " + base64.b64encode(b"\x1bprecious").decode()
    )


class Load:
    """A process that sends numbered messages as fast as they are taken."""

    CODE = """
import sys, sysv_ipc
queue = sysv_ipc.MessageQueue(int(sys.argv[1]))
for number in range(int(sys.argv[2])):
    queue.send(str(number))
"""

    def __init__(self, queue: MessageQueue, count: int) -> None:
        command = [sys.executable, "-c", self.CODE, str(queue.key), str(count)]
        self.process = subprocess.Popen(command)


@pytest.mark.once
@FORMS
def test_receivers_that_are_stopped_at_random_lose_nothing(
    queue: MessageQueue, form: str, tmp_path: Path
) -> None:
    source = random.Random(8)
    count = 30000
    load = Load(queue, count)
    number = 0
    while load.process.poll() is None or queue.current_messages:
        receivers = []
        for _ in range(2):
            number += 1
            with (tmp_path / f"{number}").open("wb") as file:
                words = ["receive", str(queue.key), form, "--count", "1000000"]
                receivers.append(subprocess.Popen([*MODULE, *words], stdout=file))
        # If the queue is empty, a receiver is stopped that has taken nothing.
        last = tmp_path / f"{number}"
        wait_until(lambda file=last: file.stat().st_size or not queue.current_messages)  # type: ignore[misc]
        time.sleep(source.uniform(0, 0.05))
        for receiver in receivers:
            receiver.send_signal(source.choice(ENDING))
        for receiver in receivers:
            receiver.wait(60)
    assert load.process.wait(60) == 0
    found = [text for output in tmp_path.iterdir() for text in texts(output.read_bytes(), form)]
    assert len(found) == count
    assert {int(text) for text in found} == set(range(count))
    assert number > 4, "too few receivers were stopped"


# ----------------------------------------------------------------------------------- send


def test_a_message_that_is_too_long_is_refused_before_the_first_is_sent(
    queue: MessageQueue,
) -> None:
    long = "x" * (sysv_ipc.limits().msgmax + 1)
    done = run("send", queue.key, "short", long)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"sysv-ipc: message 2 of 2 has ")
    assert done.stderr.endswith(b"nothing was sent\n")
    assert queue.current_messages == 0


@pytest.mark.parametrize("number", ENDING)
def test_a_sender_that_is_stopped_reports_how_many_it_has_sent(
    queue: MessageQueue, number: signal.Signals
) -> None:
    queue.max_size = 10
    sender = start("send", queue.key, "abcde", "--count", 5)
    wait_until(lambda: blocked_process(sender.pid, "msgsnd"))
    sender.send_signal(number)
    _, errors = sender.communicate(timeout=60)
    assert sender.returncode == 128 + number
    assert errors == b"sysv-ipc: 2 of 5 messages were sent\n"
    assert queue.current_messages == 2


# -------------------------------------------------------------------------- create and rm


@pytest.mark.parametrize("kind", ["sem", "shm", "msg"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_object_that_cannot_be_reported_is_not_left_behind(
    kind: str, form: list[str], nobody_reads: int, full_disk: IO[bytes]
) -> None:
    done = run("create", kind, *form, stdout=nobody_reads)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    done = run("create", kind, *form, stdout=full_disk)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert run("ls", "--json").stdout == b"[]\n"


def test_an_object_is_not_left_behind_if_its_maker_is_stopped_before_the_report() -> None:
    read_end, write_end = os.pipe()
    fill(write_end)
    maker = subprocess.Popen([*MODULE, "create", "sem"], stdout=write_end, stderr=-1)
    wait_until(sysv_ipc.semaphores)
    maker.terminate()
    assert maker.communicate(timeout=60)[1] == b""
    assert maker.returncode == 128 + signal.SIGTERM
    assert sysv_ipc.semaphores() == []
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_nothing_is_removed_if_the_reader_has_closed_the_pipe(
    form: list[str], nobody_reads: int, semaphore: Semaphore
) -> None:
    done = run("rm", "sem", semaphore.key, *form, stdout=nobody_reads)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert not semaphore.removed


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_removed_objects_are_reported_even_with_a_full_disk(
    form: list[str], full_disk: IO[bytes]
) -> None:
    first, second = Semaphore(None, IPC_CREX), Semaphore(None, IPC_CREX)
    done = run("rm", "sem", first.key, second.key, *form, stdout=full_disk)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith(f"sysv-ipc: removed semaphore set with key {first.key}")
    assert "No space left on device" in lines[1]
    assert len(lines) == 2
    assert first.removed
    assert not second.removed
    second.remove()


@pytest.mark.parametrize("name", ["_create", "remove"])
def test_a_signal_does_not_come_between_an_action_and_its_report(
    name: str, key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal arrives right after the system call, which needs a test inside the process."""
    from sysv_ipc.cli import objects

    def then_stop(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            os.kill(os.getpid(), signal.SIGTERM)
            return result

        return call

    before = signal.getsignal(signal.SIGTERM)
    if name == "remove":
        Semaphore(key, IPC_CREX)
        stopping = objects.SEM._replace(remove=then_stop(objects.SEM.remove))
        monkeypatch.setitem(objects.KINDS, "sem", stopping)
        words = ["rm", "sem", str(key)]
    else:
        monkeypatch.setattr(sysv_ipc, "SemaphoreSet", then_stop(sysv_ipc.SemaphoreSet))
        words = ["create", "sem", "--key", str(key)]
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as output, contextlib.redirect_stdout(output):
        assert main(words) == 128 + signal.SIGTERM
    with os.fdopen(read_end) as file:
        told = file.read()
    assert signal.getsignal(signal.SIGTERM) is before
    assert told.startswith(f"{'removed' if name == 'remove' else 'created'} semaphore set with key")
    assert sysv_ipc.exists(key, Semaphore) is (name == "_create")
    if name == "_create":
        sysv_ipc.remove_semaphore(sysv_ipc.semaphores()[0].id)
