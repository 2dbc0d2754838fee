"""C and Perl programs, written from the man pages, share semaphores with the library.

Either side creates and the other opens, and each sees the changes of the other.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from helpers import Peer, ours, owners, run_in_thread, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREAT, IPC_CREX, Semaphore

Start = Callable[[str], Peer]


# --------------------------------------------------------------------- the peer creates


@pytest.fixture
def their_semaphore(start_peer: Start, key: int) -> Iterator[Peer]:
    """A peer that has made a set of three: 5, 6, 7."""
    peer = start_peer("semaphore")
    peer.ask("create", 3, "640")
    for index in range(3):
        peer.ask("set", index, 5 + index)
    yield peer
    if sysv_ipc.exists(key, Semaphore):
        Semaphore(key).remove()


def test_semaphore_of_a_peer_has_its_value(their_semaphore: Peer, key: int) -> None:
    assert Semaphore(key).value == 5


def test_semaphore_of_a_peer_has_its_id(their_semaphore: Peer, key: int) -> None:
    assert [Semaphore(key).id] == their_semaphore.ask_numbers("open")


def test_semaphore_of_a_peer_has_its_mode_and_owners(their_semaphore: Peer, key: int) -> None:
    assert owners(Semaphore(key)) == [0o640, *ours()]


def test_semaphore_of_a_peer_keeps_its_value_when_opened_with_creat(
    their_semaphore: Peer, key: int
) -> None:
    assert Semaphore(key, IPC_CREAT, initial_value=1).value == 5


def test_semaphore_of_a_peer_cannot_be_created_again(their_semaphore: Peer, key: int) -> None:
    with pytest.raises(sysv_ipc.ExistentialError) as caught:
        Semaphore(key, IPC_CREX)
    assert caught.value.errno == errno.EEXIST


def test_operations_change_the_first_member_only(their_semaphore: Peer, key: int) -> None:
    semaphore = Semaphore(key)
    semaphore.acquire(delta=2)
    semaphore.release()
    assert their_semaphore.ask("values") == "4 6 7"


def test_value_is_set_on_the_first_member_only(their_semaphore: Peer, key: int) -> None:
    Semaphore(key).value = 9
    assert their_semaphore.ask("values") == "9 6 7"


def test_last_pid_is_that_of_the_peer(their_semaphore: Peer, key: int) -> None:
    their_semaphore.ask("operate", 0, -1)
    assert Semaphore(key).last_pid == their_semaphore.pid


def test_mode_that_a_peer_changes_is_seen(their_semaphore: Peer, key: int) -> None:
    semaphore = Semaphore(key)
    their_semaphore.ask("mode", "606")
    assert semaphore.mode == 0o606


@pytest.mark.parametrize("mode", ["601", "667", "645"])
def test_semaphore_of_a_peer_with_an_x_bit_for_others_is_not_taken_for_unfinished(
    start_peer: Start, key: int, mode: str
) -> None:
    peer = start_peer("semaphore")
    peer.ask("create", 1, mode)
    peer.ask("set", 0, 3)
    try:
        assert Semaphore(key).value == 3
    finally:
        peer.ask("remove")


def test_peer_may_give_its_semaphore_an_x_bit_for_others(their_semaphore: Peer, key: int) -> None:
    their_semaphore.ask("mode", "601")
    assert Semaphore(key).value == 5


# --------------------------------------------------------------- this process creates


@pytest.fixture
def our_semaphore(key: int) -> Iterator[Semaphore]:
    """A semaphore of this process on the key, removed at the end."""
    semaphore = Semaphore(key, IPC_CREX, 0o640, 1)
    yield semaphore
    if not semaphore.removed:
        semaphore.remove()


@pytest.fixture
def opener(start_peer: Start, our_semaphore: Semaphore) -> Peer:
    """A peer that has opened our semaphore."""
    peer = start_peer("semaphore")
    assert peer.ask_numbers("open") == [our_semaphore.id]
    return peer


def test_peer_sees_the_initial_value(opener: Peer, our_semaphore: Semaphore) -> None:
    assert opener.ask("values") == "1"


def test_peer_sees_the_same_attributes_of_a_semaphore(
    opener: Peer, our_semaphore: Semaphore
) -> None:
    our_semaphore.acquire()
    expected = [0o640, *ours(), 1, our_semaphore.o_time, our_semaphore.last_change_time]
    assert opener.ask_numbers("stat") == expected


def test_peer_sees_our_pid(opener: Peer, our_semaphore: Semaphore) -> None:
    our_semaphore.acquire()
    assert opener.ask_numbers("pid") == [os.getpid()]


def test_peer_sees_the_mode_that_we_set(opener: Peer, our_semaphore: Semaphore) -> None:
    our_semaphore.mode = 0o604
    assert opener.ask_numbers("stat")[0] == 0o604


def test_mode_that_we_set_may_have_an_x_bit_for_others(our_semaphore: Semaphore, key: int) -> None:
    our_semaphore.mode = 0o601
    assert Semaphore(key).id == our_semaphore.id


def test_peer_cannot_create_our_semaphore_again(opener: Peer) -> None:
    assert opener.ask("create", 1, "600") == f"error {errno.EEXIST}"


def test_peer_finds_the_semaphore_busy_that_we_hold(opener: Peer, our_semaphore: Semaphore) -> None:
    with our_semaphore:
        assert opener.ask("operate", 0, -1, "nowait") == f"error {errno.EAGAIN}"


def test_semaphore_that_a_peer_holds_is_busy(opener: Peer, our_semaphore: Semaphore) -> None:
    opener.ask("operate", 0, -1)
    assert not our_semaphore.try_acquire()


def test_release_wakes_a_peer_that_waits(opener: Peer, our_semaphore: Semaphore) -> None:
    our_semaphore.acquire()
    opener.tell("operate", 0, -1)
    wait_until(lambda: our_semaphore.waiting_for_nonzero == 1)
    our_semaphore.release()
    assert opener.answer() == "0"


def test_acquire_wakes_a_peer_that_waits_for_zero(opener: Peer, our_semaphore: Semaphore) -> None:
    opener.tell("operate", 0, 0)
    wait_until(lambda: our_semaphore.waiting_for_zero == 1)
    our_semaphore.acquire()
    assert opener.answer() == "0"


def test_release_of_a_peer_wakes_us(opener: Peer, our_semaphore: Semaphore) -> None:
    our_semaphore.acquire()
    result = run_in_thread(our_semaphore.acquire)
    wait_until(lambda: opener.ask("waiting") == "1 0")
    opener.ask("operate", 0, 1)
    assert result() is True


def test_peer_that_takes_the_last_wakes_us_from_z(opener: Peer, our_semaphore: Semaphore) -> None:
    result = run_in_thread(our_semaphore.Z)
    wait_until(lambda: opener.ask("waiting") == "0 1")
    opener.ask("operate", 0, -1)
    assert result() is True


def test_acquire_ends_when_a_peer_removes_the_semaphore(
    opener: Peer, our_semaphore: Semaphore
) -> None:
    our_semaphore.acquire()
    result = run_in_thread(our_semaphore.acquire)
    wait_until(lambda: our_semaphore.waiting_for_nonzero == 1)
    opener.ask("remove")
    error = result()
    assert isinstance(error, sysv_ipc.ExistentialError)
    assert error.errno == errno.EIDRM


def test_peer_that_waits_gets_an_error_when_we_remove_the_object(
    opener: Peer, our_semaphore: Semaphore
) -> None:
    our_semaphore.acquire()
    opener.tell("operate", 0, -1)
    wait_until(lambda: our_semaphore.waiting_for_nonzero == 1)
    our_semaphore.remove()
    assert opener.answer() == f"error {errno.EIDRM}"


def test_kernel_returns_the_permits_of_a_killed_peer(
    opener: Peer, our_semaphore: Semaphore
) -> None:
    opener.ask("operate", 0, -1, "undo")
    taken = our_semaphore.value
    opener.kill()
    assert (taken, our_semaphore.value) == (0, 1)


def test_kernel_does_not_return_the_permits_of_a_killed_peer_without_undo(
    opener: Peer, our_semaphore: Semaphore
) -> None:
    opener.ask("operate", 0, -1)
    opener.kill()
    assert our_semaphore.value == 0


ACQUIRES_AND_WAITS = """
import sys, sysv_ipc
semaphore = sysv_ipc.Semaphore(int(sys.argv[1]))
semaphore.undo = sys.argv[2] == "undo"
semaphore.acquire()
print("acquired", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("undo", "left"), [("undo", "1"), ("keep", "0")])
def test_peer_sees_our_permit_returned_only_with_undo_when_we_are_killed(
    opener: Peer, key: int, undo: str, left: str
) -> None:
    holder = Peer(sys.executable, "-c", ACQUIRES_AND_WAITS, str(key), undo)
    assert holder.answer() == "acquired"
    taken = opener.ask("values")
    holder.process.send_signal(signal.SIGKILL)
    holder.close()
    assert (taken, opener.ask("values")) == ("0", left)
