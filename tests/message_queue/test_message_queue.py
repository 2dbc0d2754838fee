"""MessageQueue: opening, sending and receiving with every parameter, limits, attributes."""

from __future__ import annotations

import array
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import LONG_MAX, as_other_user, listed, run_in_thread

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    ArgumentError,
    BusyError,
    MessageQueue,
)


def test_parameters_have_the_order_and_the_names_of_1_2_0(key: int) -> None:
    queue = MessageQueue(key, IPC_CREX, 0o640, 100)
    same = MessageQueue(key=key, flags=0, mode=0o640, max_message_size=50)
    assert (same.id, same.mode, same.max_message_size) == (queue.id, 0o640, 50)
    assert MessageQueue(key, IPC_CREAT).max_message_size == 2048
    queue.remove()


@pytest.mark.parametrize("size", [-1, 2**63, "1", 1.5, None])
def test_impossible_max_message_sizes_are_refused(key: int, size: Any) -> None:
    with pytest.raises((ArgumentError, TypeError), match="max_message_size"):
        MessageQueue(key, IPC_CREX, max_message_size=size)
    assert not sysv_ipc.exists(key, MessageQueue)


# -------------------------------------------------------------------------------- sending


@pytest.mark.parametrize(
    "message",
    [
        b"data",
        bytearray(b"data"),
        memoryview(b"data"),
        array.array("b", b"data"),
        np.frombuffer(b"data", np.uint8),
        "data",
    ],
)
def test_any_contiguous_buffer_and_text_is_sent(queue: MessageQueue, message: Any) -> None:
    assert queue.send(message) is None  # type: ignore[func-returns-value]
    assert queue.receive() == (b"data", 1)


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 8191, 8192])
def test_messages_of_all_sizes_are_received_unchanged(size: int) -> None:
    queue = MessageQueue(None, IPC_CREX, max_message_size=8192)
    message = os.urandom(size)
    queue.send(message)
    assert queue.current_bytes == size
    assert queue.receive() == (message, 1)
    queue.remove()


def test_messages_longer_than_8_kib_are_received_unchanged(long_messages: None) -> None:
    queue = MessageQueue(None, IPC_CREX, max_message_size=1 << 20)
    for size in (8193, 100_000, 1 << 20):
        message = os.urandom(size)
        queue.send(message)
        assert queue.receive() == (message, 1)
    queue.remove()


def test_text_is_sent_as_utf_8(queue: MessageQueue) -> None:
    queue.send("häß€😀")
    assert queue.receive()[0] == "häß€😀".encode()
    with pytest.raises(UnicodeEncodeError):
        queue.send("\ud800")
    assert queue.current_messages == 0


@pytest.mark.parametrize("message", [None, 5, [b"x"], memoryview(b"abcd")[::2], object()])
def test_an_object_without_a_contiguous_buffer_is_refused(
    queue: MessageQueue, message: Any
) -> None:
    with pytest.raises((TypeError, BufferError)):
        queue.send(message)
    assert queue.current_messages == 0


@pytest.mark.parametrize(
    "type_value", [1, 2, min(2**31, LONG_MAX), min(2**32, LONG_MAX), LONG_MAX, np.int16(7), True]
)
def test_types_are_c_longs(queue: MessageQueue, type_value: int) -> None:
    queue.send(b"x", type=type_value)
    assert queue.receive(type=type_value) == (b"x", int(type_value))


@pytest.mark.parametrize("type_value", [0, -1, 2**63, -(2**63) - 1, 2**70, 1.0, "1", None])
def test_impossible_types_are_refused_before_anything_is_sent(
    queue: MessageQueue, type_value: Any
) -> None:
    for call in (queue.send, queue.try_send):
        with pytest.raises((ArgumentError, TypeError), match="type must be"):
            call(b"x", type=type_value)
    assert queue.current_messages == 0


class Untrue:
    def __bool__(self) -> bool:
        raise KeyError("no truth value")


def test_a_block_without_a_truth_value_raises_before_anything_happens(
    queue: MessageQueue,
) -> None:
    with pytest.raises(KeyError):
        queue.send(b"x", Untrue())  # type: ignore[arg-type]
    assert queue.current_messages == 0
    queue.send(b"x")
    with pytest.raises(KeyError):
        queue.receive(Untrue())  # type: ignore[arg-type]
    assert queue.current_messages == 1


@pytest.mark.parametrize("block", [1, "yes", [0]])
def test_block_takes_any_truth_value(queue: MessageQueue, block: Any) -> None:
    queue.send(b"x", block)
    assert queue.receive(block) == (b"x", 1)
    with pytest.raises(BusyError):
        queue.receive([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.send(),
        lambda q: q.send(b"x", True, 1, 1),
        lambda q: q.send(b"x", nonsense=1),
        lambda q: q.send(b"x", message=b"y"),
        lambda q: q.receive(True, 0, False),
        lambda q: q.receive(nonsense=1),
        lambda q: q.try_send(),
        lambda q: q.try_receive(0, 1),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    queue: MessageQueue, call: Callable[[MessageQueue], object]
) -> None:
    with pytest.raises(TypeError):
        call(queue)
    assert queue.current_messages == 0


# ------------------------------------------------------------------------------ receiving


def test_messages_come_in_order(queue: MessageQueue) -> None:
    for number in range(10):
        queue.send(bytes([number]), type=number % 3 + 1)
    assert [queue.receive()[0][0] for _ in range(10)] == list(range(10))


def test_a_type_selects_the_first_message_of_that_type(queue: MessageQueue) -> None:
    for text, kind in ((b"a", 3), (b"b", 1), (b"c", 3), (b"d", 2)):
        queue.send(text, type=kind)
    assert queue.receive(type=3) == (b"a", 3)
    assert queue.receive(False, 3) == (b"c", 3)
    assert queue.try_receive(3) is None
    assert queue.try_receive(type=2) == (b"d", 2)


def test_a_negative_type_selects_the_lowest_type_first(queue: MessageQueue) -> None:
    for text, kind in ((b"a", 5), (b"b", 2), (b"c", LONG_MAX), (b"d", 2)):
        queue.send(text, type=kind)
    assert queue.receive(type=-5) == (b"b", 2)
    assert queue.receive(type=-5) == (b"d", 2)
    assert queue.receive(type=-5) == (b"a", 5)
    assert queue.try_receive(type=-(LONG_MAX // 2)) is None
    assert queue.receive(type=-LONG_MAX) == (b"c", LONG_MAX)
    queue.send(b"e", type=LONG_MAX)
    assert queue.receive(type=-LONG_MAX - 1) == (b"e", LONG_MAX)


def test_receiving_from_an_empty_queue_raises_busy_or_returns_none(queue: MessageQueue) -> None:
    with pytest.raises(BusyError, match=r"^\[Errno 42\] No message of desired type: message queue"):
        queue.receive(block=False)
    assert queue.try_receive() is None


def test_sending_to_a_full_queue_raises_busy_or_returns_false(queue: MessageQueue) -> None:
    while queue.try_send(b"x" * 2048) is True:
        pass
    assert queue.current_bytes + 2048 > queue.max_size
    with pytest.raises(BusyError, match=r"^\[Errno 11\] Resource temporarily unavailable"):
        queue.send(b"x" * 2048, block=False)
    assert queue.try_send(b"x" * 2048) is False


def test_receive_waits_until_a_message_is_sent(queue: MessageQueue) -> None:
    join = run_in_thread(lambda: queue.receive(type=4))
    queue.send(b"not this", type=3)
    queue.send(b"this", type=4)
    assert join() == (b"this", 4)


# ---------------------------------------------------------------------------- too long


def test_a_message_longer_than_the_handle_sends_is_not_sent(queue: MessageQueue) -> None:
    with pytest.raises(ArgumentError, match=r"2049 bytes.*max_message_size is 2048") as caught:
        queue.send(b"x" * 2049)
    assert caught.value.errno == 22
    assert queue.current_messages == 0


def test_a_message_longer_than_the_kernel_takes_names_the_limit() -> None:
    queue = MessageQueue(None, IPC_CREX, max_message_size=1 << 20)
    with pytest.raises(ArgumentError, match=r"^\[Errno 22\]") as caught:
        queue.send(b"x" * 8193)
    assert "kernel.msgmax" in caught.value.__notes__[0]
    assert "8192" in caught.value.__notes__[0]
    queue.remove()


@pytest.mark.parametrize("limit", [0, 10, 8191])
def test_a_message_too_long_to_receive_stays_queued(queue: MessageQueue, limit: int) -> None:
    large = MessageQueue(queue.key, max_message_size=8192)
    small = MessageQueue(queue.key, max_message_size=limit)
    large.send(b"x" * (limit + 1))
    for call in (small.receive, small.try_receive):
        with pytest.raises(ArgumentError, match=r"^\[Errno 7\] Argument list too long") as caught:
            call()
        assert "still queued" in caught.value.__notes__[0]
    assert queue.current_messages == 1
    assert large.receive() == (b"x" * (limit + 1), 1)


# --------------------------------------------------------------------------- attributes


def test_attributes_agree_with_the_systems_list(queue: MessageQueue) -> None:
    queue.send(b"four")
    queue.send(b"six sx")
    queue.receive()
    record = listed("msg", queue.id)
    for name, column in {
        "key": "key",
        "uid": "uid",
        "gid": "gid",
        "cuid": "cuid",
        "cgid": "cgid",
        "current_messages": "qnum",
        "current_bytes": "cbytes",
        "last_send_pid": "lspid",
        "last_receive_pid": "lrpid",
        "last_send_time": "stime",
        "last_receive_time": "rtime",
        "last_change_time": "ctime",
    }.items():
        assert getattr(queue, name) == int(record[column]), name
    assert queue.mode == int(record["perms"], 8)
    assert (queue.current_messages, queue.current_bytes) == (1, 6)
    assert queue.last_send_pid == queue.last_receive_pid == os.getpid()


def test_a_new_queue_has_no_last_pids_and_times(queue: MessageQueue) -> None:
    assert queue.last_send_time == queue.last_receive_time == 0
    assert queue.last_send_pid == queue.last_receive_pid == 0
    assert queue.max_size == int(Path("/proc/sys/kernel/msgmnb").read_text())


def test_max_size_can_be_set_to_the_kernels_limit(queue: MessageQueue) -> None:
    for value in (1, 0, 100, queue.max_size):
        queue.max_size = value
        assert MessageQueue(queue.key).max_size == value


def test_a_max_size_above_the_kernels_limit_needs_a_capability(queue: MessageQueue) -> None:
    def raise_it() -> str:
        mine = MessageQueue(None, IPC_CREX)
        try:
            mine.max_size = 2**30
        except sysv_ipc.PermissionsError as error:
            return error.__notes__[0]
        finally:
            mine.remove()
        return "allowed"

    assert "kernel.msgmnb (now 16384) also requires CAP_SYS_RESOURCE" in as_other_user(raise_it)


@pytest.mark.parametrize("value", [-1, 2**31, 2**40, 2**63, "1", None, 1.5])
def test_impossible_max_sizes_are_refused(queue: MessageQueue, value: Any) -> None:
    """The kernel takes a C int, and would keep the low bits of more."""
    before = queue.max_size
    with pytest.raises((ArgumentError, TypeError), match="max_size"):
        queue.max_size = value
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del queue.max_size
    assert queue.max_size == before


def test_pickling_keeps_the_longest_message(queue: MessageQueue) -> None:
    small = MessageQueue(queue.key, max_message_size=5)
    copy = pickle.loads(pickle.dumps(small))
    assert (copy, copy.max_message_size) == (queue, 5)
