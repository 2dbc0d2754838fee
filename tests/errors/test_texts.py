"""The texts of errors: timeouts, ids of no object, keys of a wrong type, failures at the exit."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    BusyError,
    ExistentialError,
    KeyTypeError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

# ------------------------------------------------------------------------ timeouts


def name_of(handle: Semaphore | SemaphoreSet | MessageQueue) -> str:
    """Return the name of an object in the text of an error."""
    kinds = {Semaphore: "semaphore", SemaphoreSet: "semaphore set", MessageQueue: "message queue"}
    kind = kinds[type(handle)]
    assert handle.key is not None
    return f"{kind} with key {handle.key} ({handle.key & 0xFFFFFFFF:#x})"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "no message in"),
        ({"type": 3}, "no message of type 3 in"),
        ({"type": -3}, "no message of a type up to 3 in"),
        ({"type": 3, "except_type": True}, "no message of a type other than 3 in"),
    ],
)
def test_the_error_of_a_receive_says_that_it_timed_out(
    queue: MessageQueue, options: dict[str, Any], text: str
) -> None:
    if options.get("except_type"):
        queue.send("x", type=3)
    calls: list[Callable[[], object]] = [
        lambda: queue.receive(timeout=0.01, **options),
        lambda: queue.receive_into(bytearray(9), timeout=0.01, **options),
        lambda: next(queue.iterate(timeout=0.01, **options)),
    ]
    for call in calls:
        with pytest.raises(BusyError) as caught:
            call()
        error = caught.value
        assert str(error) == (
            "[Errno 42] No message of desired type: timed out after 0.01 s:"
            f" {text} {name_of(queue)}"
        )
        assert (error.errno, error.strerror) == (errno.ENOMSG, os.strerror(errno.ENOMSG))


def test_the_error_of_a_send_says_that_it_timed_out(queue: MessageQueue) -> None:
    while queue.try_send(b"x" * 2048):
        pass
    with pytest.raises(BusyError) as caught:
        queue.send(b"x" * 2048, timeout=0.01)
    assert str(caught.value).endswith(f": timed out after 0.01 s: no room in {name_of(queue)}")


def test_the_error_of_a_wait_for_a_semaphore_says_that_it_timed_out(semaphore: Semaphore) -> None:
    prefix = f"[Errno 11] {os.strerror(errno.EAGAIN)}: timed out after 0.01 s: "
    with pytest.raises(BusyError) as caught:
        semaphore.Z(0.01)
    assert str(caught.value) == f"{prefix}{name_of(semaphore)} is not zero"
    semaphore.acquire()
    with pytest.raises(BusyError) as caught:
        semaphore.acquire(0.01)
    assert str(caught.value) == f"{prefix}could not acquire {name_of(semaphore)}"
    semaphores = semaphore.set
    operations = semaphores.compile([(0, -1)])
    for call in (lambda: semaphores.acquire(0, timeout=0.01), lambda: operations(timeout=0.01)):
        with pytest.raises(BusyError) as caught:
            call()
        assert str(caught.value) == f"{prefix}could not operate on {name_of(semaphores)}"


def test_the_errors_of_a_set_call_it_a_set_and_their_kind_is_semaphore(key: int) -> None:
    semaphores = SemaphoreSet(key, 2, IPC_CREX)
    with pytest.raises(ExistentialError) as caught:
        SemaphoreSet(key, 2, IPC_CREX)
    for error in (caught.value, copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert str(error) == f"[Errno 17] File exists: {name_of(semaphores)}"
        assert (error.kind, error.key) == ("semaphore", key)
    semaphores.remove()
    with pytest.raises(ExistentialError, match=f": {re.escape(name_of(semaphores))} no longer"):
        semaphores.release(0)


def test_the_error_of_a_wait_for_memory_says_that_it_timed_out(segment: SharedMemory) -> None:
    with pytest.raises(BusyError, match=r": timed out after 0\.01 s: .* did not change$"):
        segment.atomic(0, "u32").wait(0, 0.01)


@pytest.mark.parametrize(
    ("timeout", "shown"),
    [(1e-9, "1e-09"), (0.1 + 0.2 - 0.28, "0.02"), (0.0123456, "0.0123456")],
)
def test_the_timeout_is_shown_in_seconds(queue: MessageQueue, timeout: float, shown: str) -> None:
    with pytest.raises(BusyError) as caught:
        queue.receive(timeout=timeout)
    assert f"timed out after {shown} s: " in str(caught.value)


def test_a_call_that_did_not_wait_does_not_say_that_it_timed_out(
    semaphore: Semaphore, queue: MessageQueue
) -> None:
    semaphore.acquire()
    semaphore.block = False
    for call in (
        lambda: semaphore.acquire(5),
        lambda: semaphore.acquire(0),
        lambda: queue.receive(False, timeout=5),
        lambda: queue.receive(timeout=0),
    ):
        with pytest.raises(BusyError) as caught:
            call()
        assert "timed out" not in str(caught.value)


def test_copies_of_a_timeout_have_its_text(queue: MessageQueue) -> None:
    with pytest.raises(BusyError) as caught:
        queue.receive(timeout=0.01, type=3)
    error = caught.value
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert str(same) == str(error)
        assert "timed out after 0.01 s: no message of type 3" in str(same)
        assert (same.args, same.errno, same.key) == (error.args, errno.ENOMSG, queue.key)


def test_an_error_that_a_signal_handler_raises_keeps_its_text(
    semaphore: Semaphore, queue: MessageQueue
) -> None:
    semaphore.acquire()
    before = signal.signal(signal.SIGALRM, lambda *_: queue.receive(False))
    try:
        for wait in (semaphore.acquire, lambda seconds: queue.receive(timeout=seconds)):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            with pytest.raises(BusyError) as caught:
                wait(60)
            assert str(caught.value).endswith(f": {name_of(queue)}")
    finally:
        signal.signal(signal.SIGALRM, before)


# ------------------------------------------------------------------------ ids and keys

OPENED_BY_ID: list[tuple[Callable[[int], object], str]] = [
    (sysv_ipc.remove_semaphore, "semaphore"),
    (sysv_ipc.remove_shared_memory, "shared memory"),
    (sysv_ipc.remove_message_queue, "message queue"),
    (sysv_ipc.attach, "shared memory"),
    (Semaphore.from_id, "semaphore"),
    (SemaphoreSet.from_id, "semaphore"),
    (SharedMemory.from_id, "shared memory"),
    (MessageQueue.from_id, "message queue"),
]


@pytest.mark.parametrize(("call", "kind"), OPENED_BY_ID)
def test_a_negative_id_is_not_called_removed(call: Callable[[int], object], kind: str) -> None:
    with pytest.raises(ExistentialError) as caught:
        call(-1)
    error = caught.value
    assert str(error) == f"[Errno 22] Invalid argument: no {kind} has the id -1"
    assert error.__notes__ == ["An id is never negative."]
    assert (error.errno, error.kind, error.key, error.id) == (errno.EINVAL, kind, None, -1)


@pytest.mark.parametrize(("call", "kind"), OPENED_BY_ID)
def test_an_id_that_is_not_in_use_may_have_been_removed(
    call: Callable[[int], object], kind: str
) -> None:
    with pytest.raises(ExistentialError) as caught:
        call(2**31 - 1)
    assert str(caught.value) == f"[Errno 22] Invalid argument: no {kind} has the id {2**31 - 1}"
    assert caught.value.__notes__[0].startswith("The object never existed, or was removed.")


@pytest.mark.parametrize("cls", [Semaphore, MessageQueue, SharedMemory])
@pytest.mark.parametrize("key", ["4711", b"4711"])
def test_a_name_as_a_key_mentions_key_from_name(
    cls: Callable[[str | bytes], object], key: str | bytes
) -> None:
    with pytest.raises(KeyTypeError) as caught:
        cls(key)
    assert str(caught.value) == (
        "[Errno 22] Invalid argument: a key must be an int, None or IPC_PRIVATE, not"
        f" {type(key).__name__}: key_from_name() makes a key from a name"
    )


def test_a_key_of_another_type_does_not_mention_names() -> None:
    with pytest.raises(KeyTypeError) as caught:
        Semaphore(1.5)  # type: ignore[arg-type]
    assert str(caught.value).endswith(": a key must be an int, None or IPC_PRIVATE, not float")


# ------------------------------------------------------------------------ notes


def test_a_failure_at_the_exit_is_a_note_that_names_the_call() -> None:
    semaphore = Semaphore(None, IPC_CREX, initial_value=1)

    def use() -> None:
        with semaphore:
            semaphore.remove()
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside") as caught:
        use()
    assert caught.value.__notes__ == [
        f"release() also failed: [Errno 22] Invalid argument: {name_of(semaphore)} no longer exists"
    ]
