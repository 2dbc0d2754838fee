"""Semaphore sets, with a C program and Perl's IPC::Semaphore on the same set."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from helpers import Peer, owners, run_in_thread, wait_until

from sysv_ipc import IPC_CREX, IPC_NOWAIT, SEM_UNDO, ExistentialError, Semaphore, SemaphoreSet

VALUES = (3, 0, 7, 32767)

Start = Callable[[str], Peer]


@pytest.fixture(params=["they create", "we create"])
def shared(
    request: pytest.FixtureRequest, start_peer: Start, key: int
) -> Iterator[tuple[Peer, SemaphoreSet]]:
    """A set that one side has created and the other has opened."""
    if request.param == "we create":
        handle = SemaphoreSet(key, 0, IPC_CREX, 0o640, VALUES)
        peer = start_peer("semaphore")
        assert peer.ask("open") == str(handle.id)
    else:
        peer = start_peer("semaphore")
        peer.ask("create", len(VALUES), "640")
        peer.ask("setall", ",".join(map(str, VALUES)))
        handle = SemaphoreSet(key)
    yield peer, handle
    if not handle.removed:
        handle.remove()


def operations(*triples: tuple[int, int, int]) -> str:
    return ",".join(str(number) for triple in triples for number in triple)


def test_both_see_the_same_values(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    assert peer.ask_numbers("values") == list(VALUES) == list(handle.values)
    assert len(handle) == len(VALUES)


def test_both_see_the_same_attributes(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    times = [handle.last_operation_time, handle.last_change_time]
    assert peer.ask_numbers("stat") == [*owners(handle), handle.nsems, *times]
    handle.release(0)
    assert peer.ask_numbers("stat")[6] == handle.last_operation_time > 0


def test_values_that_one_sets_the_other_reads(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    handle.values = (1, 2, 3, 4)
    assert peer.ask_numbers("values") == [1, 2, 3, 4]
    assert peer.ask_numbers("pid", 3) == [os.getpid()]
    assert peer.ask("setall", "9,8,7,6") == "0"
    assert handle.values == (9, 8, 7, 6)
    assert handle[2].last_pid == peer.pid
    assert peer.ask("set", 1, 5) == "0"
    assert (handle[1].value, handle.values) == (5, (9, 5, 7, 6))
    handle[3].value = 0
    assert peer.ask_numbers("values") == [9, 5, 7, 0]


def test_operations_of_either_are_all_or_none(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    handle.op([(0, -1), (1, 2), (2, -7), (3, -1)])
    assert peer.ask_numbers("values") == [2, 2, 0, 32766]
    # The last operation would block, so none is done.
    together = operations((0, -1, 0), (1, 1, 0), (2, -1, IPC_NOWAIT))
    assert peer.ask("together", together) == f"error {errno.EAGAIN}"
    assert handle.values == (2, 2, 0, 32766)
    assert peer.ask("together", operations((0, -1, 0), (1, 1, 0), (2, 1, IPC_NOWAIT))) == "0"
    assert handle.values == (1, 3, 1, 32766)


def test_a_peer_waits_for_several_members(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    peer.tell("together", operations((0, -3, 0), (1, -1, 0), (2, -7, 0)))
    wait_until(lambda: handle[1].waiting_for_nonzero)
    assert handle.values == VALUES
    handle.release(1)
    assert peer.answer() == "0"
    assert handle.values == (0, 0, 0, VALUES[3])


def test_we_wait_for_several_members(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    result = run_in_thread(lambda: handle.acquire(0, 1, 2))
    wait_until(lambda: peer.ask_numbers("waiting", 1) == [1, 0])
    assert peer.ask_numbers("values") == list(VALUES)
    assert peer.ask("operate", 1, 1) == "0"
    assert result() is True
    assert peer.ask_numbers("values") == [2, 0, 6, VALUES[3]]


def test_each_waits_for_the_others_zero(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    peer.tell("together", operations((0, 0, 0), (1, 5, 0)))
    wait_until(lambda: handle[0].waiting_for_zero)
    handle[0].value = 0
    assert peer.answer() == "0"
    assert handle.values[:2] == (0, 5)
    result = run_in_thread(lambda: handle.zero(0, 1))
    wait_until(lambda: peer.ask_numbers("waiting", 1) == [0, 1])
    assert peer.ask("operate", 1, -5) == "0"
    assert result() is True


def test_operations_with_undo_are_undone_when_the_peer_is_killed(
    shared: tuple[Peer, SemaphoreSet],
) -> None:
    peer, handle = shared
    assert peer.ask("together", operations((0, -2, SEM_UNDO), (1, 4, SEM_UNDO), (2, -1, 0))) == "0"
    assert handle.values == (1, 4, 6, VALUES[3])
    peer.kill()
    assert handle.values == (3, 0, 6, VALUES[3])


def test_operations_with_undo_are_undone_when_we_are_killed(
    shared: tuple[Peer, SemaphoreSet],
) -> None:
    peer, handle = shared
    code = (
        "import os, signal, sys, sysv_ipc\n"
        "s = sysv_ipc.SemaphoreSet(int(sys.argv[1]))\n"
        "s.op([(0, -2, sysv_ipc.SEM_UNDO), (1, 4, sysv_ipc.SEM_UNDO), (2, -1)])\n"
        "os.write(1, b'.')\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(handle.key)], stdout=subprocess.PIPE
    ) as ours:
        assert ours.stdout is not None
        assert ours.stdout.read(1) == b"."
        assert peer.ask_numbers("values") == [1, 4, 6, VALUES[3]]
        ours.send_signal(signal.SIGKILL)
    assert peer.ask_numbers("values") == [3, 0, 6, VALUES[3]]


def test_removal_ends_the_waits_of_both(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    result = run_in_thread(lambda: handle.acquire(1))
    peer.tell("together", operations((0, -1, 0), (1, -1, 0)))
    wait_until(lambda: handle[1].waiting_for_nonzero == 2)
    handle.remove()
    assert isinstance(result(), ExistentialError)
    assert peer.answer() == f"error {errno.EIDRM}"


def test_a_set_that_the_peer_removes_no_longer_exists(shared: tuple[Peer, SemaphoreSet]) -> None:
    peer, handle = shared
    assert peer.ask("remove") == "0"
    assert handle.removed
    with pytest.raises(ExistentialError):
        handle.release(0)


def test_members_beyond_a_byte_are_the_same_ones(start_peer: Start, key: int) -> None:
    handle = SemaphoreSet(key, 300, IPC_CREX)
    peer = start_peer("semaphore")
    peer.ask("open")
    handle.op([(299, 5), (256, 4), (0, 1)])
    values = peer.ask_numbers("values")
    assert (values[299], values[256], values[0], sum(values)) == (5, 4, 1, 10)
    assert peer.ask("operate", 257, 3) == "0"
    assert Semaphore.from_id(handle.id, 257).value == 3
    handle.remove()


def test_the_largest_set_is_the_same_for_both(start_peer: Start, key: int) -> None:
    peer = start_peer("semaphore")
    peer.ask("create", 32000, "600")
    values = [i % 1000 for i in range(32000)]
    assert peer.ask("setall", ",".join(map(str, values))) == "0"
    handle = SemaphoreSet(key)
    assert list(handle.values) == values
    handle.values = values[::-1]
    assert peer.ask_numbers("values") == values[::-1]
    assert handle[-1].value == 0
    handle.remove()
