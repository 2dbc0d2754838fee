"""A C program with <stdatomic.h> and futex(2) shares atomic numbers with the library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Peer, run_in_thread, wait_until
from sleeping import waits_for_number

from sysv_ipc import IPC_CREX, SharedMemory

LOCK, UP, DOWN, PLAIN = 0, 4, 8, 16
ROUNDS = 20000


@pytest.fixture
def shared(key: int) -> Iterator[SharedMemory]:
    """A segment of zeros on the key, removed at the end."""
    handle = SharedMemory(key, IPC_CREX, init_character=b"\0")
    yield handle
    handle.remove()
    handle.detach()


@pytest.fixture
def other(shared: SharedMemory, peer: Callable[[str], Path]) -> Iterator[Peer]:
    """A peer that has attached the segment."""
    program = Peer(peer("atomic"), shared.key)
    assert program.ask_numbers("attach") == [shared.id]
    yield program
    program.close()


def test_peer_reads_the_numbers_that_we_store(shared: SharedMemory, other: Peer) -> None:
    shared.atomic(UP, "u32").store(0xDEADBEEF)
    shared.atomic(DOWN, "i64").store(-(2**63))
    assert other.ask("load32", UP) == str(0xDEADBEEF)
    assert other.ask("load64", DOWN) == str(-(2**63))


def test_we_read_the_numbers_that_a_peer_stores(shared: SharedMemory, other: Peer) -> None:
    other.ask("store32", UP, 2**32 - 1)
    assert shared.atomic(UP, "u32").load() == 2**32 - 1
    assert shared.atomic(UP, "i32").load() == -1


def test_numbers_wrap_identically_in_both_programs(shared: SharedMemory, other: Peer) -> None:
    number = shared.atomic(DOWN, "i64")
    number.store(2**63 - 1)
    assert other.ask("add64", DOWN, 1) == str(2**63 - 1)
    assert number.load() == -(2**63)
    assert number.sub(1) == -(2**63)
    assert other.ask("load64", DOWN) == str(2**63 - 1)


def test_both_count_at_the_same_time_and_lose_nothing(shared: SharedMemory, other: Peer) -> None:
    up, down = shared.atomic(UP, "u32"), shared.atomic(DOWN, "i64")
    other.tell("count", UP, DOWN, 50 * ROUNDS)
    for _ in range(ROUNDS):
        up.add(1)
        down.sub(1)
    assert other.answer() == "0"
    assert (up.load(), down.load()) == (51 * ROUNDS, -51 * ROUNDS)


def test_we_wake_a_peer(shared: SharedMemory, other: Peer) -> None:
    number = shared.atomic(UP, "u32")
    other.tell("wait", UP, 0)
    wait_until(lambda: other.waits_in("futex"))
    number.store(7)
    assert number.wake(100) == 1
    assert other.answer() == "7"


def test_a_peer_wakes_us(shared: SharedMemory, other: Peer) -> None:
    number = shared.atomic(UP, "u32")
    result = run_in_thread(lambda: number.wait(0, 30))
    wait_until(
        lambda: any(waits_for_number(thread.native_id or 0) for thread in threading.enumerate())
    )
    # The waiter ignores a wake without a change.
    assert other.ask("wake", UP, 100) == "1"
    other.ask("store32", UP, 7)
    assert other.ask("wake", UP, 100) in ("0", "1")
    assert result() is True


def test_a_lock_of_atomics_is_one_for_both(shared: SharedMemory, other: Peer) -> None:
    """The lock protects a number that is not atomic."""
    lock: Any = shared.atomic(LOCK, "u32")
    plain = shared.view(PLAIN, 8, "q")
    other.tell("add_locked", LOCK, PLAIN, ROUNDS)
    for _ in range(ROUNDS):
        while not lock.compare_exchange(0, 1):
            if (holder := lock.load()) != 0:
                lock.wait(holder, 30)
        plain[0] += 1
        lock.store(0)
        lock.wake()
    assert other.answer() == "0"
    assert plain[0] == 2 * ROUNDS
    plain.release()
