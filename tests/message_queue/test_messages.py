"""The features of msgop(2): except_type, truncation, peeking, buffers, many at once, iteration."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import LONG_MAX, fork, handled, run_in_thread, system_calls, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, ArgumentError, BusyError, ExistentialError, MessageQueue


@pytest.fixture
def three(queue: MessageQueue) -> MessageQueue:
    """A queue with the messages (a, 1), (b, 2), (c, 1)."""
    for text, kind in ((b"a", 1), (b"b", 2), (b"c", 1)):
        queue.send(text, type=kind)
    return queue


def test_room_for_large_messages_needs_no_other_system_call(queue: MessageQueue) -> None:
    code = (
        "import os, sys, sysv_ipc\n"
        "q = sysv_ipc.MessageQueue(int(sys.argv[1]), max_message_size=1 << 20)\n"
        "os.write(2, b'begin'); q.send(b'short'); q.receive(); os.write(2, b'end')"
    )
    names = [line.partition("(")[0] for line in system_calls(code, queue.key)]
    assert names == ["msgsnd", "msgrcv"]


# --------------------------------------------------------------------- except and truncate


def test_except_type_selects_the_first_message_of_another_type(three: MessageQueue) -> None:
    assert three.receive(type=1, except_type=True) == (b"b", 2)
    assert three.try_receive(1, except_type=True) is None
    with pytest.raises(BusyError):
        three.receive(False, 1, except_type=True)
    assert three.receive(type=2, except_type=True) == (b"a", 1)


@pytest.mark.parametrize("kind", [0, -1])
def test_except_type_needs_a_type(three: MessageQueue, kind: int) -> None:
    with pytest.raises(ArgumentError, match="except_type needs a type above 0"):
        three.receive(type=kind, except_type=True)
    assert three.current_messages == 3


@pytest.mark.parametrize("limit", [0, 1, 5, 8191])
def test_truncate_returns_the_beginning_of_the_message(queue: MessageQueue, limit: int) -> None:
    message = os.urandom(8192)
    MessageQueue(queue.key, max_message_size=8192).send(message, type=3)
    small = MessageQueue(queue.key, max_message_size=limit)
    with pytest.raises(ArgumentError):
        small.receive()
    assert small.receive(truncate=True) == (message[:limit], 3)
    assert queue.current_messages == 0


def test_flags_are_keywords_only(three: MessageQueue) -> None:
    for call in (three.receive, three.receive_into):
        with pytest.raises(TypeError, match="positional"):
            call(bytearray(1), False, 0, True, True)  # type: ignore[call-arg, arg-type]
    assert three.current_messages == 3


# -------------------------------------------------------------------------------- peeking


def test_peek_leaves_everything_queued(three: MessageQueue) -> None:
    assert three.peek() == (b"a", 1)
    assert [three.peek(number) for number in range(4)] == [(b"a", 1), (b"b", 2), (b"c", 1), None]
    assert three.current_messages == 3
    assert three.last_receive_pid == 0


def test_peek_at_an_empty_queue_returns_none(queue: MessageQueue) -> None:
    assert queue.peek() is None
    assert queue.peek(10**9) is None


@pytest.mark.parametrize("index", [-1, 2**63, "0", 1.0, None])
def test_impossible_places_are_refused(three: MessageQueue, index: Any) -> None:
    with pytest.raises((ArgumentError, TypeError), match="index"):
        three.peek(index)


def test_peek_shows_messages_of_any_length(long_messages: None) -> None:
    queue = MessageQueue(None, IPC_CREX, max_message_size=1 << 20)
    messages = [os.urandom(size) for size in (8192, 8193, 200_000, 0)]
    assert queue.send_many(messages) == 4
    small = MessageQueue(queue.key, max_message_size=1)
    assert [small.peek(number) for number in range(4)] == [(text, 1) for text in messages]
    queue.remove()


# --------------------------------------------------------------------------- receive_into


@pytest.mark.parametrize("buffer", [bytearray(5), memoryview(bytearray(5)), np.zeros(5, np.uint8)])
def test_receive_into_fills_a_buffer(queue: MessageQueue, buffer: Any) -> None:
    queue.send(b"abc", type=9)
    assert queue.receive_into(buffer) == (3, 9)
    assert bytes(buffer) == b"abc\0\0"


def test_the_buffer_is_the_limit_not_max_message_size(queue: MessageQueue) -> None:
    MessageQueue(queue.key, max_message_size=8192).send(b"x" * 5000)
    small = MessageQueue(queue.key, max_message_size=10)
    buffer = bytearray(4999)
    with pytest.raises(ArgumentError, match=r"^\[Errno 7\]"):
        small.receive_into(buffer)
    assert buffer == bytes(4999)
    buffer = bytearray(5000)
    assert small.receive_into(buffer) == (5000, 1)
    assert buffer == b"x" * 5000


def test_receive_into_supports_types_and_flags(three: MessageQueue) -> None:
    buffer = bytearray(1)
    assert three.receive_into(buffer, False, 1, except_type=True) == (1, 2)
    assert buffer == b"b"
    assert three.receive_into(bytearray(), truncate=True) == (0, 1)
    with pytest.raises(BusyError):
        three.receive_into(buffer, block=False, type=7)


def test_receive_into_receives_long_messages_in_any_order_completely(long_messages: None) -> None:
    """The size of the last messages is only a guess at that of the next."""
    queue = MessageQueue(None, IPC_CREX, max_message_size=1 << 20)
    sizes = [20_000] * 4 + [200_000, 5, 20_000, 20_000, 20_000, 19_999, 20_001, 9000, 9000, 9000]
    for size in sizes:
        text, buffer = os.urandom(size), bytearray(250_000)
        queue.send(text, type=size)
        assert queue.receive_into(buffer) == (size, size)
        assert buffer == text + bytes(250_000 - size)
    for size in 20_000, 8999:
        queue.send(b"x" * size)
        with pytest.raises(ArgumentError, match=r"^\[Errno 7\]"):
            queue.receive_into(bytearray(size - 1))
        buffer = bytearray(size - 1)
        assert queue.receive_into(buffer, truncate=True) == (size - 1, 1)
        assert buffer == b"x" * (size - 1)
    buffer = bytearray(9000)
    for size in 12_000, 12_000, 9000, 12_000, 12_000, 9001, 10:
        queue.send(b"x" * size)
        assert queue.receive_into(buffer, truncate=True) == (min(size, 9000), 1)
    queue.remove()


def test_a_long_message_after_others_of_its_size_takes_one_system_call(
    long_messages: None,
) -> None:
    queue = MessageQueue(None, IPC_CREX, max_message_size=1 << 20)
    for _ in range(3):
        queue.send(b"x" * 20_000)
    code = (
        "import os, sys, sysv_ipc\n"
        "q = sysv_ipc.MessageQueue(int(sys.argv[1]), max_message_size=1 << 20)\n"
        "b = bytearray(100_000); q.receive_into(b); q.receive_into(b)\n"
        "os.write(2, b'begin'); q.receive_into(b); os.write(2, b'end')"
    )
    calls = [line.partition("(")[0] for line in system_calls(code, queue.key)]
    assert calls.count("msgrcv") == 1, calls
    assert not [name for name in calls if name not in ("msgrcv", "brk", "mmap", "munmap")]
    queue.remove()


@pytest.mark.parametrize("buffer", [b"abc", "abc", 5, None, memoryview(bytearray(8))[::2]])
def test_an_object_without_a_writable_buffer_is_refused(three: MessageQueue, buffer: Any) -> None:
    with pytest.raises((TypeError, BufferError)):
        three.receive_into(buffer)
    assert three.current_messages == 3


# --------------------------------------------------------------------------- many at once


def test_send_many_sends_in_order(queue: MessageQueue) -> None:
    assert queue.send_many([b"a", "b", bytearray(b"c")], type=5) == 3
    assert queue.send_many(str(number) for number in range(3)) == 3
    assert queue.send_many(()) == 0
    assert [queue.receive() for _ in range(3)] == [(b"a", 5), (b"b", 5), (b"c", 5)]
    assert [text for text, _ in queue.receive_many(10)] == [b"0", b"1", b"2"]


def test_send_many_copies_each_buffer_when_the_iterator_yields_it(queue: MessageQueue) -> None:
    buffer = bytearray(2)

    def fill() -> Iterator[bytearray]:
        for number in range(3):
            buffer[:] = b"%02d" % number
            yield buffer

    assert queue.send_many(fill()) == 3
    assert [text for text, _ in queue.receive_many(9)] == [b"00", b"01", b"02"]
    buffers = [bytearray(b"a"), bytearray(b"b" * 3000)]
    with pytest.raises(ArgumentError, match="3000 bytes"):
        queue.send_many(each for each in buffers)
    assert queue.current_messages == 0


@pytest.mark.parametrize("wrong", [5, b"x" * 3000, "\ud800", None])
def test_send_many_names_the_message_that_is_wrong(queue: MessageQueue, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        queue.send_many([b"a", "b", wrong, b"c"])
    assert "messages[2]" in caught.value.__notes__[-1]
    assert queue.current_messages == 0


def test_an_exception_of_the_iterator_of_messages_is_passed_on(queue: MessageQueue) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise TypeError("MINE")

    with pytest.raises(TypeError, match=r"^MINE$") as caught:
        queue.send_many(broken())
    assert not hasattr(caught.value, "__notes__")
    assert queue.current_messages == 0


def test_send_many_without_waiting_sends_the_messages_that_fit(queue: MessageQueue) -> None:
    queue.max_size = 2500
    assert queue.send_many([b"x" * 1000] * 4, block=False) == 2
    assert queue.send_many([b"x" * 1000], 1, False) == 0
    assert queue.current_messages == 2


def test_send_many_waits_for_room(queue: MessageQueue) -> None:
    queue.max_size = 2500
    join = run_in_thread(lambda: queue.send_many([bytes([number]) * 1000 for number in range(6)]))
    wait_until(lambda: queue.current_messages == 2)
    assert [queue.receive()[0][0] for _ in range(6)] == list(range(6))
    assert join() == 6


@pytest.mark.parametrize(
    "messages", [[b"a", 5], [b"a", b"x" * 2049], [b"a", "\ud800"], [b"a", None], 5, None]
)
def test_all_messages_are_checked_before_the_first_is_sent(
    queue: MessageQueue, messages: Any
) -> None:
    with pytest.raises((TypeError, ValueError)):
        queue.send_many(messages)
    assert queue.current_messages == 0


@pytest.mark.parametrize("message", [b"abc", "abc"])
def test_send_many_refuses_a_single_message(queue: MessageQueue, message: Any) -> None:
    with pytest.raises(TypeError, match="not one"):
        queue.send_many(message)
    assert queue.current_messages == 0


def test_a_failure_in_the_middle_says_how_many_were_sent() -> None:
    queue = MessageQueue(None, IPC_CREX)
    queue.max_size = 2500
    join = run_in_thread(lambda: queue.send_many([b"x" * 1000] * 5))
    wait_until(lambda: queue.current_messages == 2)
    queue.remove()
    error = join()
    assert isinstance(error, ExistentialError)
    assert error.sent == 2  # type: ignore[attr-defined]
    assert any("2 messages were sent" in note for note in error.__notes__)


def test_receive_many_takes_the_queued_messages(three: MessageQueue) -> None:
    assert three.receive_many(2) == [(b"a", 1), (b"b", 2)]
    assert three.receive_many(100) == [(b"c", 1)]
    assert three.receive_many(100, block=False) == []
    assert three.receive_many(1, False, 5) == []


def test_receive_many_waits_for_the_first(queue: MessageQueue) -> None:
    join = run_in_thread(lambda: queue.receive_many(5))
    queue.send(b"x")
    assert join() == [(b"x", 1)]


def test_receive_many_supports_types_and_flags(three: MessageQueue) -> None:
    assert three.receive_many(9, type=1) == [(b"a", 1), (b"c", 1)]
    assert three.receive_many(9, type=1, except_type=True) == [(b"b", 2)]


def test_a_message_too_long_in_the_middle_ends_the_list(queue: MessageQueue) -> None:
    queue.send_many([b"a", b"long" * 10, b"b"])
    small = MessageQueue(queue.key, max_message_size=5)
    assert small.receive_many(9) == [(b"a", 1)]
    with pytest.raises(ArgumentError, match=r"^\[Errno 7\]"):
        small.receive_many(9)
    assert small.receive_many(9, truncate=True) == [(b"longl", 1), (b"b", 1)]


@pytest.mark.parametrize("limit", [0, -1, 2**63, "1", None])
def test_impossible_limits_are_refused(three: MessageQueue, limit: Any) -> None:
    with pytest.raises((ArgumentError, TypeError), match="limit"):
        three.receive_many(limit)
    assert three.current_messages == 3


# ------------------------------------------------------------------------------- iterating


def test_a_waiting_iteration_ends_when_the_queue_is_removed() -> None:
    queue = MessageQueue(None, IPC_CREX)
    join = run_in_thread(lambda: list(queue))
    queue.send(b"x")
    wait_until(lambda: queue.current_messages == 0)
    queue.remove()
    assert join() == [(b"x", 1)]


def test_iteration_yields_the_messages_that_are_sent(three: MessageQueue) -> None:
    seen = []
    for message, kind in three:
        seen.append((message, kind))
        if message == b"c":
            three.remove()
    assert seen == [(b"a", 1), (b"b", 2), (b"c", 1)]
    assert list(three) == []


def test_iteration_does_not_hide_other_errors(three: MessageQueue) -> None:
    small = MessageQueue(three.key, max_message_size=0)
    with pytest.raises(ArgumentError, match=r"^\[Errno 7\]"):
        next(small)
    assert three.current_messages == 3


# ---------------------------------------------------- long messages, whose size is guessed


@pytest.mark.parametrize("limit", [8192, 20000, 2**20])
def test_consecutive_long_messages_of_one_size_are_received_unchanged(
    long_messages: None, key: int, limit: int
) -> None:
    queue = MessageQueue(key, IPC_CREX, max_message_size=limit)
    sizes = [5000] * 5 + [5001] * 3 + [8192] * 4 + [64] + [8192] * 2 + [4096] * 3 + [0] + [7000] * 4
    sizes += [size for size in [15000] * 4 + [300_000] * 4 + [15000] * 3 if size <= limit]
    for number, size in enumerate(sizes, 1):
        message = bytes([number]) * size
        queue.send(message, type=LONG_MAX - number)
        got, type = queue.receive()
        assert (got, type) == (message, LONG_MAX - number)
        assert hash(got) == hash(message)
    queue.remove()


def test_a_message_longer_than_the_guess_is_not_cut(queue: MessageQueue) -> None:
    wide = MessageQueue(queue.key, max_message_size=8192)
    for size in (5000, 5000, 5000, 6000):
        wide.send(b"x" * size)
        assert wide.receive(truncate=True) == (b"x" * size, 1)


def test_truncating_cuts_at_the_limit_and_not_at_the_guess(
    long_messages: None, queue: MessageQueue
) -> None:
    sender = MessageQueue(queue.key, max_message_size=20_000)
    receiver = MessageQueue(queue.key, max_message_size=10_000)
    for size in (5000, 5000, 5000, 20_000, 5000, 20_000, 20_000, 20_000):
        sender.send(b"x" * size)
        assert receiver.receive(truncate=True) == (b"x" * min(size, 10_000), 1)


def test_threads_receive_long_messages_of_two_sizes(key: int) -> None:
    """The handle's guess is shared by all threads."""
    queue = MessageQueue(key, IPC_CREX, max_message_size=8192)
    threads, count = 4, 500
    received: list[bytes] = []

    def receive() -> None:
        for _ in range(count):
            received.append(queue.receive(timeout=60)[0])

    joins = [run_in_thread(receive) for _ in range(threads)]
    for number in range(threads * count):
        queue.send(bytes([number % 251]) * (5000 if number % 3 else 6000))
    for join in joins:
        join()
    assert sorted({(len(one), len(set(one))) for one in received}) == [(5000, 1), (6000, 1)]
    assert len(received) == threads * count
    queue.remove()


# --------------------------------------------------- limits that change in the middle


@pytest.mark.parametrize("truncate", [False, True])
def test_a_message_is_cut_only_at_the_callers_limit_even_if_msgmax_changes(
    long_messages: None, truncate: bool
) -> None:
    """Another program raises kernel.msgmax and sends a longer message between two system calls."""
    handle = MessageQueue(None, IPC_CREX, max_message_size=1 << 20)
    handle.max_size = 1 << 20
    msgmax = Path("/proc/sys/kernel/msgmax")
    parent = os.getpid()

    def change() -> None:
        writer = MessageQueue(handle.key, max_message_size=1 << 20)
        for number in range(3000):
            size = 9000 if number % 2 else 200_000
            msgmax.write_text(str(size))
            writer.send(b"x" * size)
            while writer.current_messages and os.getppid() == parent:
                pass
        os._exit(0)

    pid = fork(change)
    got = [len(handle.receive(timeout=60, truncate=truncate)[0]) for _ in range(3000)]
    os.waitpid(pid, 0)
    handle.remove()
    assert got == [200_000, 9000] * 1500


def test_a_buffer_cannot_find_the_list_of_send_many(run_python: Any) -> None:
    """Since CPython 3.12, a class may define __buffer__(), which can run any code."""
    code = """
import gc, sys, sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
class Evil(bytearray if sys.version_info < (3, 12) else object):
    def __buffer__(self, flags):
        clear()
        return memoryview(b"evil")
def clear():
    for one in gc.get_objects():
        if type(one) is list and any(type(item) is Evil for item in one):
            one.clear()
def iterable():
    for _ in range(5):
        clear()
        yield Evil()
for messages in [Evil() for _ in range(5)], iterable():
    # The caller may clear its own list.
    keep = list(messages) if type(messages) is not list else messages
    print(queue.send_many(tuple(keep) if type(messages) is list else iterable()))
queue.remove()
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "5\n5\n"), done.stderr


def test_peek_during_receives_returns_a_message_or_none(queue: MessageQueue) -> None:
    """Short and long messages alternate; peek() returns a complete copy of one of them."""
    long = b"L" * min(queue.max_size - 100, sysv_ipc.limits().msgmax)
    parent = os.getpid()

    def send_and_take() -> None:
        sender = MessageQueue(queue.key, max_message_size=len(long))
        while os.getppid() == parent:
            for message in (long, b"S"):
                sender.send(message)
                sender.receive()

    pid = fork(send_and_take)
    try:
        seen = {queue.peek() for _ in range(20000)}
        # On a busy machine the consumer may not have begun.
        while len(seen) < 2:
            seen.add(queue.peek())
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert seen <= {None, (long, 1), (b"S", 1)}
    assert len(seen) > 1


@pytest.mark.parametrize("limit", [sys.maxsize // 64, sys.maxsize // 2])
@pytest.mark.parametrize("truncate", [False, True])
def test_a_huge_limit_takes_no_memory(limit: int, truncate: bool) -> None:
    path = Path("/proc/sys/kernel/msgmax")
    before = path.read_text()
    path.write_text("10000")
    queue = MessageQueue(None, IPC_CREX, max_message_size=limit)
    queue.send(b"x" * 10000)
    path.write_text(before)
    assert queue.receive(truncate=truncate) == (b"x" * 10000, 1)
    queue.remove()


def test_a_buffer_that_is_too_short_is_named_in_the_error(queue: MessageQueue) -> None:
    queue.send("longer than that")
    with pytest.raises(ArgumentError) as caught:
        queue.receive_into(bytearray(5))
    assert "longer than the buffer" in caught.value.__notes__[0]
    assert queue.current_messages == 1


# ------------------------------------------------------------------------------- signals


@pytest.fixture
def interrupt_after(without_collection: None) -> Iterator[Callable[[float], None]]:
    """Yield a function that lets a signal handler raise KeyboardInterrupt after some seconds."""

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    def after(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    with handled(signal.SIGALRM, handler):
        yield after


@pytest.mark.thread_unsafe("signal handlers belong to the process")
def test_a_handler_that_raises_in_receive_many_loses_no_message(
    queue: MessageQueue, interrupt_after: Callable[[float], None]
) -> None:
    """The queue always has messages, so that no call waits; a full queue takes some ms.

    A signal may also come after receive_many() has returned.  deque() consumes its result in C, so
    that Python runs no handler before the messages are in the list.
    """
    messages = [bytes([number % 256]) for number in range(queue.max_size)]
    interrupted = 0
    for _ in range(40):
        assert queue.send_many(messages, block=False) == len(messages)
        got: list[tuple[bytes, int]] = []
        with contextlib.suppress(KeyboardInterrupt):
            interrupt_after(0.001)
            deque(map(got.extend, map(queue.receive_many, [len(messages)])), maxlen=0)
            until_interrupted()
        interrupted += not got
        got += queue.receive_many(len(messages), block=False)
        assert [text for text, _ in got] == messages
    assert interrupted > 0


@pytest.mark.thread_unsafe("signal handlers belong to the process")
def test_an_exception_of_a_handler_in_send_many_has_the_number_sent(
    queue: MessageQueue, interrupt_after: Callable[[float], None]
) -> None:
    messages = [b"m"] * queue.max_size
    all_sent = 0
    for _ in range(40):
        returned: list[int] = []
        with pytest.raises(KeyboardInterrupt) as caught:
            interrupt_and_send(interrupt_after, queue, messages, returned)
        # The signal may also come before or after the call.
        sent = getattr(caught.value, "sent", sum(returned))
        assert sent == len(queue.receive_many(len(messages), block=False))
        all_sent += not returned and sent
    assert all_sent > 0


def interrupt_and_send(
    interrupt_after: Callable[[float], None],
    queue: MessageQueue,
    messages: list[bytes],
    returned: list[int],
) -> None:
    interrupt_after(0.001)
    deque(map(returned.append, map(queue.send_many, [messages])), maxlen=0)
    until_interrupted()


def until_interrupted() -> None:
    """Run until a signal handler raises.  pause(2) would miss a signal that came before it."""
    while True:
        pass


@pytest.mark.thread_unsafe("signal handlers belong to the process")
def test_an_iterable_that_never_ends_can_be_interrupted(
    queue: MessageQueue, interrupt_after: Callable[[float], None]
) -> None:
    interrupt_after(0.05)
    with pytest.raises(KeyboardInterrupt):
        queue.send_many(itertools.repeat(b"x"))
    assert queue.current_messages == 0
