"""Races on purpose: several threads use one handle in conflicting ways.

Every outcome is a value that was set at some time, or a documented exception.  ThreadSanitizer
finds data races in these tests: ``tools/sanitize_threads.sh``.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from helpers import FREE_THREADED

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    BusyError,
    CancelledError,
    ExistentialError,
    MessageQueue,
    NotAttachedError,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

#: The duration of each race, in seconds.
SECONDS = 0.4


def race(*calls: Callable[[], object], ends: type[Exception] | None = None) -> None:
    """Make each call repeatedly in a thread of its own, all at once.

    With ends, that exception ends a thread, and every thread must end with it.
    """
    start = threading.Barrier(len(calls))
    deadline = time.monotonic() + (60 if ends else SECONDS)
    failures: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        start.wait()
        try:
            while time.monotonic() < deadline:
                call()
            assert ends is None, "it never ended"
        except BaseException as error:
            if ends is None or not isinstance(error, ends):
                failures.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def quietly(call: Callable[[], object], *errors: type[Exception]) -> Callable[[], object]:
    """Ignore these exceptions."""

    def run() -> None:
        with contextlib.suppress(*errors):
            call()

    return run


def test_importing_the_library_does_not_turn_on_the_gil(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """CPython turns it on for an extension that does not declare that it runs without it."""
    code = """
import sys, sysv_ipc, sysv_ipc.aio
print(getattr(sys, "_is_gil_enabled", lambda: True)())
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == (f"{not FREE_THREADED}\n", "")


def test_threads_that_request_a_record_type_at_once_get_the_same_type(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """The type is made on its first use, which happens only once per interpreter."""
    code = """
import sys, threading, sysv_ipc
sys.setswitchinterval(1e-6)
names = [name for name in sysv_ipc.__all__ if name.endswith("Info")] + ["Limits"]
start, got = threading.Barrier(8), []
def ask():
    start.wait()
    got.extend(getattr(sysv_ipc, name) for name in names)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(names), len(got), len(set(got)), type(sysv_ipc.limits()) in got)
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("5 40 5 True\n", "")


@pytest.fixture
def two_queues() -> Iterator[list[MessageQueue]]:
    """Two new queues, removed at the end."""
    queues = [MessageQueue(None, IPC_CREX, max_message_size=100 + i) for i in range(2)]
    yield queues
    for queue in queues:
        queue.remove()


def test_init_again_while_others_use_the_handle(two_queues: list[MessageQueue]) -> None:
    """The threads see one object or the other, never a mixture of their attributes."""
    keys = [queue.key for queue in two_queues]
    ids = [queue.id for queue in two_queues]
    handle = MessageQueue(keys[0])

    def look() -> None:
        assert handle.key in keys
        assert handle.id in ids
        assert handle.max_message_size in (2048, 300)
        repr(handle), hash(handle), handle.info(), handle == two_queues[0]

    def use() -> None:
        handle.try_send(b"x" * 50)
        handle.try_receive()

    def again() -> None:
        for key in keys:
            handle.__init__(key, max_message_size=300)  # type: ignore[misc]

    race(look, use, use, again)


def test_a_semaphore_and_a_set_are_initialised_again_while_others_use_them() -> None:
    sets = [SemaphoreSet(None, n, IPC_CREX, initial_values=[1] * n) for n in (2, 5)]
    handle, member = SemaphoreSet(sets[0].key), Semaphore(sets[0].key)

    def again() -> None:
        for one in sets:
            handle.__init__(one.key)  # type: ignore[misc]
            member.__init__(one.key)  # type: ignore[misc]

    def look() -> None:
        assert len(handle) in (2, 5)
        assert len(handle.values) in (2, 5)
        assert member.value in range(3)

    def use() -> None:
        if member.try_acquire():
            # The handle may already have the other object.
            member.release()
        handle.op([(1, 1), (1, -1)])

    race(again, quietly(look, sysv_ipc.ArgumentError), use, use)
    for one in sets:
        one.remove()


def test_a_segment_is_initialised_again_while_others_read_it() -> None:
    segments = [
        SharedMemory(None, IPC_CREX, size=size, init_character=b"x") for size in (100, 9000)
    ]
    handle = SharedMemory(segments[0].key)

    def again() -> None:
        for one in segments:
            with contextlib.suppress(BufferError):
                handle.__init__(one.key)  # type: ignore[misc]

    def read() -> None:
        assert handle.read() in (b"x" * 100, b"x" * 9000)
        assert handle.size in (100, 9000)
        assert handle[50] == ord("x")

    def view() -> None:
        with memoryview(handle) as whole:
            assert len(whole) in (100, 9000)

    race(again, read, read, view)
    for one in segments:
        one.remove()


def test_attach_and_detach_while_others_read_and_write(segment: SharedMemory) -> None:
    segment.write(b"\1" * 4096)

    def attach() -> None:
        segment.attach()
        segment.detach()

    def read() -> None:
        assert set(segment.read()) == {1}

    def look() -> None:
        assert segment.attached in (True, False)
        repr(segment), segment.readonly, segment.number_attached

    race(
        quietly(attach, BufferError, NotAttachedError),
        quietly(read, NotAttachedError),
        quietly(lambda: segment.write(b"\1" * 4096), NotAttachedError),
        quietly(lambda: bytes(segment.view(8, 8)), NotAttachedError),
        quietly(lambda: segment.__setitem__(5, 1), NotAttachedError),
        look,
    )


@pytest.mark.parametrize("kind", [Semaphore, SemaphoreSet, MessageQueue])
def test_removal_while_others_use_the_object(kind: type) -> None:
    handle = kind(None, flags=IPC_CREX, **({"nsems": 1} if kind is SemaphoreSet else {}))
    used = threading.Event()
    uses: dict[type, Callable[[], object]] = {
        Semaphore: lambda: (handle.release(), handle.acquire(timeout=5)),
        SemaphoreSet: lambda: (handle.release(0), handle.acquire(0, timeout=5), handle.values),
        MessageQueue: lambda: (handle.send(b"x"), handle.receive(timeout=5)),
    }

    def use() -> None:
        uses[kind]()
        used.set()

    def remove() -> None:
        used.wait(60)
        handle.remove()

    race(use, use, remove, ends=ExistentialError)


def test_cancelling_while_others_wait_and_take(queue: MessageQueue, semaphore: Semaphore) -> None:
    """All messages and permits are accounted for at the end."""
    taken, sent = [0] * 2, [0]

    def receive(which: int) -> Callable[[], object]:
        def call() -> None:
            with contextlib.suppress(CancelledError, BusyError):
                queue.receive(timeout=1e-4)
                taken[which] += 1

        return call

    def send() -> None:
        if queue.try_send(b"x"):
            sent[0] += 1

    def borrow() -> None:
        with contextlib.suppress(CancelledError, BusyError):
            if semaphore.acquire(timeout=1e-4):
                semaphore.release()

    def cancel() -> None:
        queue.cancel()
        semaphore.cancel()

    race(receive(0), receive(1), send, borrow, borrow, cancel)
    assert sum(taken) + queue.current_messages == sent[0]
    assert semaphore.value == 1


def test_two_threads_set_the_same_attributes(semaphore: Semaphore, queue: MessageQueue) -> None:
    def set_to(truth: bool, mode: int) -> Callable[[], object]:
        def call() -> None:
            semaphore.block = semaphore.undo = truth
            semaphore.mode = queue.mode = mode
            assert semaphore.block in (True, False)
            assert semaphore.mode in (0o600, 0o640)

        return call

    def use() -> None:
        with contextlib.suppress(BusyError):
            semaphore.acquire(0)
            semaphore.release()

    race(set_to(True, 0o600), set_to(False, 0o640), use)


def test_four_threads_iterate_over_one_queue(queue: MessageQueue) -> None:
    got: list[list[bytes]] = [[] for _ in range(4)]

    def iterate(which: int) -> None:
        got[which].extend(message for message, _ in queue)

    threads = [threading.Thread(target=iterate, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        queue.send(str(number))
    deadline = time.monotonic() + 60
    while queue.current_messages and time.monotonic() < deadline:
        time.sleep(0.001)
    # Every message taken from the queue is in a list when the threads have ended.
    queue.remove()
    for thread in threads:
        thread.join()
    assert sorted(int(one) for each in got for one in each) == list(range(2000))


def test_four_threads_call_one_compiled_operation() -> None:
    table = SemaphoreSet(None, 3, IPC_CREX, initial_values=[4, 4, 4])
    take, give = table.compile([(0, -1), (2, -1)]), table.compile([(0, 1), (2, 1)])

    def borrow() -> None:
        take(5)
        give()

    race(borrow, borrow, borrow, borrow, lambda: list(table), lambda: table.values)
    assert table.values == (4, 4, 4)
    table.remove()


def test_records_lists_and_errors_in_four_threads(queue: MessageQueue) -> None:
    def fail() -> None:
        with pytest.raises(ExistentialError) as caught:
            MessageQueue(queue.key, IPC_CREX)
        assert caught.value.key == queue.key
        assert str(caught.value)

    race(fail, fail, lambda: sysv_ipc.message_queues(), lambda: (sysv_ipc.limits(), queue.info()))
