"""docs/how-to/kill-safe-lock.md, worker-pool.md: what they claim beside what the programs show."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest
from helpers import in_child, wait_until
from recipes import running_recipe
from sleeping import blocked_process

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore

pytestmark = pytest.mark.once

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_undo_between_acquire_and_release_takes_a_permit_away(semaphore: Semaphore) -> None:
    def slip() -> None:
        semaphore.acquire()
        semaphore.undo = True
        semaphore.release()

    in_child(slip)
    assert semaphore.value == 0


def test_undo_is_set_for_each_handle(semaphore: Semaphore) -> None:
    semaphore.undo = True
    assert not Semaphore(semaphore.key).undo


def test_a_forked_child_does_not_undo_what_its_parent_acquired(semaphore: Semaphore) -> None:
    semaphore.undo = True
    semaphore.acquire()
    in_child(lambda: None)
    assert semaphore.value == 0


@pytest.fixture
def jobs(queue: MessageQueue) -> MessageQueue:
    """The queue from which a worker receives."""
    return queue


def test_a_worker_that_is_stopped_leaves_the_other_jobs(jobs: MessageQueue) -> None:
    results = MessageQueue(None, IPC_CREX)
    results.max_size = 4  # room for four results of one byte
    jobs.send_many(["1", "2", "3"] * 3)
    try:
        with running_recipe("worker_pool.py", str(jobs.key), str(results.key)) as worker:
            # The worker has received a fifth job and waits until its result has room.
            wait_until(lambda: blocked_process(worker.pid, "msgsnd"))
            worker.send_signal(signal.SIGTERM)
            assert results.receive(timeout=60)[0] == b"1"
            assert worker.wait(60) == 0
        assert jobs.current_messages == 4
        assert [message for message, _ in results.receive_many(9)] == [b"4", b"9", b"1", b"4"]
    finally:
        results.remove()


def test_a_worker_that_waits_for_a_job_is_stopped(jobs: MessageQueue) -> None:
    results = MessageQueue(None, IPC_CREX)
    try:
        with running_recipe("worker_pool.py", str(jobs.key), str(results.key)) as worker:
            wait_until(lambda: blocked_process(worker.pid, "msgrcv"))
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
    finally:
        results.remove()


def test_a_removed_lock_raises_in_processes_that_still_use_it(semaphore: Semaphore) -> None:
    semaphore.remove()
    with pytest.raises(sysv_ipc.ExistentialError):
        semaphore.acquire()
