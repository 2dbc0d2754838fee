"""C and Perl programs, written from the man pages, exchange messages with the library."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest
from helpers import LONG_MAX, Peer, ours, owners, run_in_thread, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue

Start = Callable[[str], Peer]

EVERY_BYTE = bytes(range(256))


# ------------------------------------------------------------------------- the peer creates


@pytest.fixture
def their_queue(start_peer: Start, key: int) -> Iterator[Peer]:
    """A peer that has created a queue on the key."""
    peer = start_peer("message_queue")
    peer.ask("create", "640")
    yield peer
    if sysv_ipc.exists(key, MessageQueue):
        MessageQueue(key).remove()


def test_queue_of_a_peer_has_its_id(their_queue: Peer, key: int) -> None:
    assert [MessageQueue(key).id] == their_queue.ask_numbers("open")


def test_queue_of_a_peer_has_its_mode_and_owners(their_queue: Peer, key: int) -> None:
    assert owners(MessageQueue(key)) == [0o640, *ours()]


@pytest.mark.parametrize("message", [b"", b"\0", b"text", EVERY_BYTE, b"x" * 2048])
def test_message_of_a_peer_is_received_byte_for_byte(
    their_queue: Peer, key: int, message: bytes
) -> None:
    their_queue.ask("send", 1, message.hex() or "-")
    assert MessageQueue(key).receive() == (message, 1)


@pytest.mark.parametrize("type", [1, min(2**31, LONG_MAX), min(2**32 + 1, LONG_MAX), LONG_MAX])
def test_type_of_a_peer_is_received_whole(their_queue: Peer, key: int, type: int) -> None:
    their_queue.ask("send", type, b"text".hex())
    assert MessageQueue(key).receive() == (b"text", type)


def test_type_selects_among_the_messages_of_a_peer(their_queue: Peer, key: int) -> None:
    for type in (5, LONG_MAX - 1, 3):
        their_queue.ask("send", type, b"text".hex())
    assert MessageQueue(key).receive(type=LONG_MAX - 1) == (b"text", LONG_MAX - 1)


def test_negative_type_selects_the_lowest_of_a_peer(their_queue: Peer, key: int) -> None:
    for type in (5, 4, 3, 4):
        their_queue.ask("send", type, b"text".hex())
    assert MessageQueue(key).receive(type=-4)[1] == 3


def test_messages_of_a_peer_come_in_order(their_queue: Peer, key: int) -> None:
    for number in range(10):
        their_queue.ask("send", 10 - number, f"{number:02x}")
    queue = MessageQueue(key)
    assert [queue.receive()[0][0] for _ in range(10)] == list(range(10))


def test_message_of_a_peer_that_is_too_long_stays_queued(their_queue: Peer, key: int) -> None:
    their_queue.ask("send", 1, (b"x" * 101).hex())
    with pytest.raises(sysv_ipc.ArgumentError) as caught:
        MessageQueue(key, max_message_size=100).receive()
    assert caught.value.errno == errno.E2BIG
    assert their_queue.ask("receive", 101, 0) == f"1 {(b'x' * 101).hex()}"


def test_current_messages_and_bytes_count_those_of_a_peer(their_queue: Peer, key: int) -> None:
    their_queue.ask("send", 1, b"four".hex())
    their_queue.ask("send", 1, b"seven..".hex())
    queue = MessageQueue(key)
    assert (queue.current_messages, queue.current_bytes) == (2, 11)


def test_last_send_pid_is_that_of_the_peer(their_queue: Peer, key: int) -> None:
    their_queue.ask("send", 1, "00")
    assert MessageQueue(key).last_send_pid == their_queue.pid


def test_mode_and_size_that_a_peer_sets_are_seen(their_queue: Peer, key: int) -> None:
    queue = MessageQueue(key)
    their_queue.ask("mode", "606", 5000)
    assert (queue.mode, queue.max_size) == (0o606, 5000)


def test_receive_ends_when_a_peer_sends(their_queue: Peer, key: int) -> None:
    result = run_in_thread(MessageQueue(key).receive)
    their_queue.ask("send", 9, b"wake up".hex())
    assert result() == (b"wake up", 9)


# ------------------------------------------------------------------ this process creates


@pytest.fixture
def our_queue(key: int) -> Iterator[MessageQueue]:
    """A queue of this process on the key, removed at the end."""
    queue = MessageQueue(key, IPC_CREX, 0o640)
    yield queue
    if not queue.removed:
        queue.remove()


@pytest.fixture
def opener(start_peer: Start, our_queue: MessageQueue) -> Peer:
    """A peer that has opened our queue."""
    peer = start_peer("message_queue")
    assert peer.ask_numbers("open") == [our_queue.id]
    return peer


@pytest.mark.parametrize("message", [b"", b"\0", b"text", EVERY_BYTE, b"x" * 2048])
def test_peer_receives_our_message_byte_for_byte(
    opener: Peer, our_queue: MessageQueue, message: bytes
) -> None:
    our_queue.send(message)
    assert opener.ask("receive", 2048, 0) == f"1 {message.hex() or '-'}"


@pytest.mark.parametrize("type", [1, min(2**31, LONG_MAX), min(2**32 + 1, LONG_MAX), LONG_MAX])
def test_peer_receives_our_type_whole(opener: Peer, our_queue: MessageQueue, type: int) -> None:
    our_queue.send(b"a", type=type)
    assert opener.ask("receive", 10, 0) == f"{type} 61"


def test_peer_receives_our_str_as_utf_8(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.send("\u20ac")
    assert opener.ask("receive", 10, 0) == "1 e282ac"


def test_peer_selects_among_our_types(opener: Peer, our_queue: MessageQueue) -> None:
    for type in (5, 2, 7):
        our_queue.send(bytes([type]), type=type)
    assert [opener.ask("receive", 10, wanted) for wanted in (7, -5, 0)] == ["7 07", "2 02", "5 05"]


def test_peer_finds_the_queue_empty_that_we_emptied(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.send(b"gone")
    our_queue.receive()
    assert opener.ask("receive", 10, 0, "nowait") == f"error {errno.ENOMSG}"


def test_queue_that_a_peer_emptied_is_empty(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.send(b"gone")
    opener.ask("receive", 10, 0)
    assert our_queue.try_receive() is None


def test_peer_sees_the_same_attributes_of_a_queue(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.send(b"one")
    our_queue.send(b"two")
    opener.ask("receive", 10, 0)
    expected = [
        *[0o640, *ours(), 1, our_queue.max_size, os.getpid(), opener.pid],
        *[our_queue.last_send_time, our_queue.last_receive_time, our_queue.last_change_time],
    ]
    assert opener.ask_numbers("stat") == expected


def test_last_receive_pid_is_that_of_the_peer(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.send(b"text")
    opener.ask("receive", 10, 0)
    assert our_queue.last_receive_pid == opener.pid


def test_send_wakes_a_peer_that_waits(opener: Peer, our_queue: MessageQueue) -> None:
    opener.tell("receive", 10, 3)
    wait_until(lambda: opener.waits_in("msgrcv"))
    our_queue.send(b"a", type=3)
    assert opener.answer() == "3 61"


def test_receive_makes_room_for_a_peer_that_waits(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.max_size = 10
    our_queue.send(b"0123456789")
    opener.tell("send", 2, b"more".hex())
    wait_until(lambda: opener.waits_in("msgsnd"))
    our_queue.receive()
    assert (opener.answer(), our_queue.receive()) == ("0", (b"more", 2))


def test_peer_is_held_to_the_size_that_we_set(opener: Peer, our_queue: MessageQueue) -> None:
    our_queue.max_size = 3
    assert opener.ask("send", 1, b"four".hex(), "nowait") == f"error {errno.EAGAIN}"


def test_peer_that_waits_gets_an_error_when_we_remove_the_object(
    opener: Peer, our_queue: MessageQueue
) -> None:
    opener.tell("receive", 10, 0)
    wait_until(lambda: opener.waits_in("msgrcv"))
    our_queue.remove()
    assert opener.answer() == f"error {errno.EIDRM}"


def test_send_to_a_queue_that_a_peer_removed_raises_an_error(
    opener: Peer, our_queue: MessageQueue
) -> None:
    opener.ask("remove")
    with pytest.raises(sysv_ipc.ExistentialError, match="no longer exists"):
        our_queue.send(b"text")


def test_peer_cannot_create_our_queue_again(opener: Peer) -> None:
    assert opener.ask("create", "600") == f"error {errno.EEXIST}"
