"""C and Perl programs, written from the man pages, share segments with the library."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator

import pytest
from helpers import Peer, listed, ours, owners

import sysv_ipc
from sysv_ipc import IPC_CREAT, IPC_CREX, SharedMemory

Start = Callable[[str], Peer]

#: Not a multiple of the page size.
SIZE = 12345
EVERY_BYTE = bytes(range(256))


# ------------------------------------------------------------------------- the peer creates


@pytest.fixture
def their_segment(start_peer: Start, key: int) -> Iterator[Peer]:
    """A peer that has made and attached a segment of zeros."""
    peer = start_peer("shared_memory")
    peer.ask("create", SIZE, "640")
    assert peer.ask("attach") == "0"
    yield peer
    if sysv_ipc.exists(key, SharedMemory):
        peer.ask("remove")


def test_segment_of_a_peer_has_its_size(their_segment: Peer, key: int) -> None:
    assert len(SharedMemory(key)) == SIZE


def test_segment_of_a_peer_has_its_mode_and_owners(their_segment: Peer, key: int) -> None:
    assert owners(SharedMemory(key)) == [0o640, *ours()]


def test_segment_of_a_peer_has_its_creator(their_segment: Peer, key: int) -> None:
    assert SharedMemory(key).creator_pid == their_segment.pid


def test_bytes_of_a_peer_are_read(their_segment: Peer, key: int) -> None:
    their_segment.ask("write", 100, EVERY_BYTE.hex())
    assert SharedMemory(key).read(256, 100) == EVERY_BYTE


def test_bytes_that_a_peer_writes_later_are_seen_in_a_view(their_segment: Peer, key: int) -> None:
    with SharedMemory(key).view(7, 4) as view:
        their_segment.ask("write", 7, b"late".hex())
        assert bytes(view) == b"late"


def test_opening_a_segment_of_a_peer_leaves_its_bytes(their_segment: Peer, key: int) -> None:
    their_segment.ask("write", 0, b"kept".hex())
    SharedMemory(key, IPC_CREAT, size=10, init_character=b"x")
    assert their_segment.ask("read", 0, 4) == b"kept".hex()


def test_segment_of_a_peer_opens_with_its_size(their_segment: Peer, key: int) -> None:
    assert SharedMemory(key, size=SIZE).size == SIZE


def test_opening_a_segment_of_a_peer_with_another_size_names_both_sizes(
    their_segment: Peer, key: int
) -> None:
    with pytest.raises(OSError, match=rf"Invalid argument: .*{SIZE} bytes, not 999") as caught:
        SharedMemory(key, size=999)
    assert caught.value.errno == errno.EINVAL


def test_number_attached_counts_peers(their_segment: Peer, key: int) -> None:
    segment = SharedMemory(key)
    both = segment.number_attached
    their_segment.ask("detach")
    assert (both, segment.number_attached) == (2, 1)


def test_last_pid_is_that_of_the_peer_that_detached(their_segment: Peer, key: int) -> None:
    segment = SharedMemory(key)
    their_segment.ask("detach")
    assert segment.last_pid == their_segment.pid


def test_segment_that_a_peer_removes_stays_readable(their_segment: Peer, key: int) -> None:
    their_segment.ask("write", 0, b"still".hex())
    segment = SharedMemory(key)
    their_segment.ask("remove")
    assert (segment.removed, segment.read(5)) == (True, b"still")


def test_segment_that_a_peer_removes_has_no_stray_bits_in_its_mode(
    their_segment: Peer, key: int
) -> None:
    segment = SharedMemory(key)
    their_segment.ask("remove")
    assert segment.mode == 0o640


def test_segment_of_a_killed_peer_keeps_its_bytes(their_segment: Peer, key: int) -> None:
    their_segment.ask("write", 0, b"legacy".hex())
    their_segment.kill()
    segment = SharedMemory(key)
    try:
        assert segment.read(6) == b"legacy"
    finally:
        segment.remove()
        segment.detach()


# ------------------------------------------------------------------ this process creates


@pytest.fixture
def our_segment(key: int) -> Iterator[SharedMemory]:
    """A segment of this process on the key, removed at the end."""
    segment = SharedMemory(key, IPC_CREX, 0o640, SIZE)
    yield segment
    if not segment.removed:
        segment.remove()
    if segment.attached:
        segment.detach()


@pytest.fixture
def opener(start_peer: Start, our_segment: SharedMemory) -> Iterator[Peer]:
    """A peer that has opened our segment and attached it."""
    peer = start_peer("shared_memory")
    assert peer.ask_numbers("open") == [our_segment.id]
    assert peer.ask("attach") == "0"
    yield peer
    # Before the end of the segment is compared.
    peer.close()


def test_peer_sees_the_spaces_of_a_new_segment(opener: Peer) -> None:
    assert opener.ask("read", SIZE - 3, 3) == b"   ".hex()


def test_peer_sees_zeros_without_an_init_character(start_peer: Start, key: int) -> None:
    segment = SharedMemory(key, IPC_CREX, size=SIZE, init_character=None)
    peer = start_peer("shared_memory")
    peer.ask("open")
    peer.ask("attach")
    try:
        assert peer.ask("read", SIZE - 3, 3) == "000000"
    finally:
        segment.remove()
        segment.detach()
        peer.close()


def test_peer_reads_the_bytes_that_we_write(opener: Peer, our_segment: SharedMemory) -> None:
    our_segment.write(EVERY_BYTE, 99)
    assert opener.ask("read", 99, 256) == EVERY_BYTE.hex()


def test_peer_reads_the_bytes_that_we_assign(opener: Peer, our_segment: SharedMemory) -> None:
    our_segment[10:14] = b"\0ab\xff"
    assert opener.ask("read", 10, 4) == "006162ff"


def test_peer_reads_the_bytes_that_we_write_through_a_view(
    opener: Peer, our_segment: SharedMemory
) -> None:
    with our_segment.view(8, 8, "q") as numbers:
        numbers[0] = -2
    assert opener.ask("read", 8, 8) == (-2).to_bytes(8, sys.byteorder, signed=True).hex()


def test_peer_sees_the_same_attributes_of_a_segment(
    opener: Peer, our_segment: SharedMemory
) -> None:
    expected = [
        *[0o640, *ours(), SIZE, os.getpid(), our_segment.last_pid, our_segment.number_attached],
        *[our_segment.last_attach_time, our_segment.last_detach_time],
        our_segment.last_change_time,
    ]
    assert opener.ask_numbers("stat") == expected


def test_read_only_attachment_sees_a_peer_write(opener: Peer, key: int) -> None:
    reader = SharedMemory(key, mode=0o400)
    opener.ask("write", 0, b"new".hex())
    assert reader.read(3) == b"new"


def test_peer_may_attach_our_segment_read_only(
    opener: Peer, start_peer: Start, our_segment: SharedMemory
) -> None:
    our_segment.write("look")
    reader = start_peer("shared_memory")
    reader.ask("open")
    reader.ask("attach", "readonly")
    seen = reader.ask("read", 0, 4)
    reader.close()
    assert seen == b"look".hex()


def test_peer_keeps_a_segment_that_we_remove(opener: Peer, our_segment: SharedMemory) -> None:
    our_segment.write("here")
    our_segment.remove()
    our_segment.detach()
    assert opener.ask("read", 0, 4) == b"here".hex()


def test_segment_is_destroyed_when_the_last_peer_detaches(
    opener: Peer, our_segment: SharedMemory
) -> None:
    our_segment.remove()
    our_segment.detach()
    assert listed("shm", our_segment.id)["nattch"] == "1"
    opener.ask("detach")
    with pytest.raises(LookupError):
        listed("shm", our_segment.id)


def test_peer_cannot_create_our_segment_again(opener: Peer) -> None:
    assert opener.ask("create", SIZE, "600") == f"error {errno.EEXIST}"


def test_attach_by_id_opens_the_segment_of_the_peer(opener: Peer) -> None:
    (id,) = opener.ask_numbers("open")
    opener.ask("write", 0, b"by id".hex())
    assert sysv_ipc.attach(id).read(5) == b"by id"
