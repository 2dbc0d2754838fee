"""An id is not an identity: handles and pickles check that it still names the same object."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import calls
import namespace
import pytest
from helpers import as_other_user, fork, in_child

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    IPC_PRIVATE,
    ExistentialError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

Handle = Any

KINDS: dict[str, Callable[[int | None], Handle]] = {
    "semaphore": lambda key: Semaphore(key, IPC_CREX, initial_value=1),
    "set": lambda key: SemaphoreSet(key, 3, IPC_CREX),
    "segment": lambda key: SharedMemory(key, IPC_CREX, size=4096),
    "queue": lambda key: MessageQueue(key, IPC_CREX),
}
CLASSES = dict(zip(KINDS, calls.HANDLES, strict=True))
SYSCTLS = {"semaphore": "sem", "set": "sem", "segment": "shm", "queue": "msg"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of object by its name in KINDS."""
    name: str = request.param
    return name


def with_id(kind: str, number: int, key: int) -> Handle:
    """Make an object that gets this id, with the help of kernel.sem_next_id and related limits."""
    path = Path(f"/proc/sys/kernel/{SYSCTLS[kind]}_next_id")
    path.write_text(str(number))
    made = KINDS[kind](key)
    assert made.id == number
    return made


def end(handle: Handle) -> None:
    """Remove an object, and detach it if it is a segment."""
    handle.remove()
    if isinstance(handle, SharedMemory) and handle.attached:
        handle.detach()


def uses_of(kind: str) -> dict[str, Callable[[Handle], object]]:
    """Return the uses of a handle that check first that the id still names its object."""
    found = {use.name: use.call for use in calls.uses(CLASSES[kind]) if use.looks}
    if kind == "set":
        # The new set has another number of members.
        found |= {
            "values": lambda one: one.values,
            "values =": lambda one: setattr(one, "values", [1, 2, 3]),
        }
    return found


@pytest.fixture
def stale(kind: str, key: int) -> Iterator[tuple[Handle, Handle]]:
    """A handle of a removed object, and a handle of another program's object with its id."""
    handle = KINDS[kind](key)
    end(handle)
    if kind == "set":
        Path("/proc/sys/kernel/sem_next_id").write_text(str(handle.id))
        other: Handle = SemaphoreSet(key + 1, 2, IPC_CREX)
    else:
        other = with_id(kind, handle.id, key + 1)
    assert other.id == handle.id
    yield handle, other
    other.mode = 0o600
    end(other)


def test_a_handle_does_nothing_to_another_object_with_its_id(
    kind: str, stale: tuple[Handle, Handle]
) -> None:
    handle, other = stale
    assert handle.removed
    before = other.info()
    for name, use in uses_of(kind).items():
        with pytest.raises(ExistentialError):
            pytest.fail(f"{name}: {use(handle)}")
    assert other.info() == before
    assert not other.removed


def test_a_handle_does_nothing_to_a_private_object_of_another_user(kind: str) -> None:
    """All private objects have the key 0: only their creators differ."""
    handle = KINDS[kind](IPC_PRIVATE)
    end(type(handle).from_id(handle.id))
    if isinstance(handle, SharedMemory):
        handle.detach()
    Path(f"/proc/sys/kernel/{SYSCTLS[kind]}_next_id").write_text(str(handle.id))
    number = as_other_user(lambda: KINDS[kind](IPC_PRIVATE).id)
    assert number == handle.id
    assert handle.removed
    # Reading the values is a hot call, which compares only the number of members.
    for name in uses_of(kind).keys() - {"values"}:
        with pytest.raises(ExistentialError):
            pytest.fail(f"{name}: {uses_of(kind)[name](handle)}")
    end(type(handle).from_id(number))


@pytest.mark.parametrize("private", [False, True])
def test_a_handle_does_nothing_to_an_object_of_another_namespace(
    kind: str, key: int, private: bool
) -> None:
    """Ids begin at 0 in each namespace."""

    def elsewhere() -> list[str]:
        namespace.enter()
        handle = KINDS[kind](IPC_PRIVATE if private else key)
        end(handle)
        namespace.enter()
        other = KINDS[kind](IPC_PRIVATE if private else key + 1)
        assert other.id == handle.id
        before = other.info()
        done = []
        for name, use in uses_of(kind).items():
            try:
                use(handle)
                done.append(name)
            except ExistentialError:
                pass
        if other.info() != before:
            done.append("changed")
        return done

    # Reading values of a set of the same size is a hot call, which does not check the id.
    assert set(in_child(elsewhere)) <= {"values"}


# ------------------------------------------------------------------------------- pickles


@pytest.fixture
def elsewhere(kind: str, key: int) -> Iterator[bytes]:
    """A pickle of an object of another namespace, which exists until the test ends."""
    reader, writer = os.pipe()
    stay, leave = os.pipe()

    def make() -> None:
        os.close(leave)
        namespace.enter()
        handle = KINDS[kind](key)
        os.write(writer, pickle.dumps(handle))
        os.read(stay, 1)

    pid = fork(make)
    os.close(stay)
    yield os.read(reader, 65536)
    for descriptor in (reader, writer, leave):
        os.close(descriptor)
    os.waitpid(pid, 0)


def test_a_pickle_of_another_namespace_is_refused(kind: str, key: int, elsewhere: bytes) -> None:
    """Also if an object with the same key and the same size has the id there."""

    def load() -> str:
        namespace.enter()
        own = KINDS[kind](key)
        with pytest.raises(ExistentialError) as caught:
            pickle.loads(elsewhere)
        assert (caught.value.key, caught.value.id) == (own.key, own.id)
        return str(caught.value)

    assert "is in another IPC namespace" in in_child(load)


def test_a_pickle_of_an_object_in_another_namespace_does_not_say_that_it_was_removed(
    kind: str, elsewhere: bytes
) -> None:
    """The id does not exist here: only the namespaces show where the object is."""

    def load() -> str:
        namespace.enter()
        with pytest.raises(ExistentialError) as caught:
            pickle.loads(elsewhere)
        return str(caught.value)

    text = in_child(load)
    assert "is in another IPC namespace" in text
    assert "no longer exists" not in text


def test_a_pickle_from_before_the_machine_was_started_is_refused(kind: str, key: int) -> None:
    handle = KINDS[kind](key)
    text = pickle.dumps(handle)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()
    assert boot in text
    with pytest.raises(ExistentialError, match="the machine has been started again"):
        pickle.loads(text.replace(boot, boot[::-1]))
    end(handle)


def test_a_pickle_is_refused_if_its_object_has_another_key_now(kind: str, key: int) -> None:
    handle = KINDS[kind](key)
    text = pickle.dumps(handle)
    end(handle)
    other = with_id(kind, handle.id, key + 1)
    with pytest.raises(ExistentialError, match="its id names another object now"):
        pickle.loads(text)
    assert not other.removed
    end(other)


@pytest.mark.parametrize("kind", ["set", "segment"])
def test_a_pickle_is_refused_if_its_object_has_another_size_now(kind: str, key: int) -> None:
    handle = KINDS[kind](key)
    text = pickle.dumps(handle)
    end(handle)
    Path(f"/proc/sys/kernel/{SYSCTLS[kind]}_next_id").write_text(str(handle.id))
    other: Handle = (
        SemaphoreSet(key, 4, IPC_CREX) if kind == "set" else SharedMemory(key, IPC_CREX, size=8192)
    )
    assert other.id == handle.id
    with pytest.raises(ExistentialError, match="its id names another object now"):
        pickle.loads(text)
    end(other)


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        ("segment", lambda one: one.detach()),
        ("queue", lambda one: one.send("used")),
    ],
)
def test_a_pickle_of_a_used_object_is_refused_if_its_id_names_an_unused_one(
    kind: str, use: Callable[[Handle], object]
) -> None:
    """Without a key, of the same size, by the same user, within the same second."""
    handle = KINDS[kind](IPC_PRIVATE)
    use(handle)
    text = pickle.dumps(handle)
    end(handle)
    other = with_id(kind, handle.id, IPC_PRIVATE)
    with pytest.raises(ExistentialError, match="its id names another object now"):
        pickle.loads(text)
    end(other)


def test_a_pickle_of_a_removed_object_says_that_it_was_removed(kind: str, key: int) -> None:
    handle = KINDS[kind](key)
    text = pickle.dumps(handle)
    end(handle)
    with pytest.raises(ExistentialError):
        pickle.loads(text)


def use(handle: Handle) -> None:
    if isinstance(handle, Semaphore):
        handle.value = 7
    elif isinstance(handle, SemaphoreSet):
        handle.values = [1, 2, 3]
    elif isinstance(handle, SharedMemory):
        handle.detach()
        handle.attach()
    else:
        handle.send("x")
        handle.max_size = 100


#: Changes after pickling that do not make it another object.
CHANGES: dict[str, Callable[[Handle], object]] = {
    "nothing": lambda one: None,
    "its mode": lambda one: setattr(one, "mode", 0o640),
    "its owner": lambda one: setattr(one, "uid", 4711),
    "its use": use,
}


@pytest.mark.parametrize("how", [pickle.loads, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("change", CHANGES)
def test_the_same_object_is_opened_after_changes_to_it(
    kind: str, change: str, how: Callable[[Any], Handle]
) -> None:
    handle = KINDS[kind](IPC_PRIVATE)
    text = pickle.dumps(handle)
    CHANGES[change](handle)
    same = how(text) if how is pickle.loads else how(handle)
    assert same == handle
    del same
    end(handle)


def test_a_segment_that_is_removed_while_it_is_attached_is_opened(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX, init_character=b"x")
    text = pickle.dumps(segment)
    segment.remove()
    with pickle.loads(text) as same:
        assert same.read(1) == b"x"
    segment.detach()


def test_a_pickle_of_version_2_0_0_is_opened(key: int) -> None:
    """Such a pickle contains only the id."""
    semaphore = Semaphore(key, IPC_CREX)
    old = (Semaphore.from_id, (semaphore.id, 0), {"block": False, "undo": True})
    same = sysv_ipc._core._reopen(*old)  # type: ignore[attr-defined]
    assert (same == semaphore, same.block, same.undo) == (True, False, True)
    semaphore.remove()


def test_pickles_go_to_other_processes(kind: str, key: int) -> None:
    handle = KINDS[kind](key)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).id)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(handle), capture_output=True, check=True
    )
    assert int(done.stdout) == handle.id
    end(handle)


@pytest.mark.parametrize("private", [False, True])
def test_handles_and_pickles_made_before_chroot_work_after_it(
    kind: str, key: int, private: bool, tmp_path: Path
) -> None:
    """/proc is not available after it, which does not mean that the object was removed."""

    def inside() -> list[object]:
        handle = KINDS[kind](IPC_PRIVATE if private else key)
        text = pickle.dumps(handle)
        os.chroot(tmp_path)
        os.chdir("/")
        told: list[object] = [handle.removed, pickle.loads(text) == handle]
        use(handle)
        handle.mode = 0o640
        told += [pickle.loads(text) == handle, copy.copy(handle) == handle, handle.info().mode]
        handle.remove()
        return told

    assert in_child(inside) == [False, True, True, True, 0o640]


def test_a_handle_of_a_removed_object_cannot_be_pickled(kind: str, key: int) -> None:
    """A pickle without facts would open any object that gets the id."""
    handle = KINDS[kind](key)
    end(handle)
    for how in pickle.dumps, copy.copy:
        with pytest.raises(ExistentialError):
            how(handle)
    other = with_id(kind, handle.id, key + 1)
    for how in pickle.dumps, copy.copy:
        with pytest.raises(ExistentialError):
            how(handle)
    end(other)


@pytest.mark.parametrize("kind", ["semaphore", "set", "queue"])
def test_an_object_stays_removed_for_the_handle_that_removed_it(kind: str) -> None:
    """A private object of the same size that gets the id at once has no other difference."""
    handle = KINDS[kind](IPC_PRIVATE)
    handle.remove()
    other = with_id(kind, handle.id, IPC_PRIVATE)
    assert handle.removed
    for use in calls.uses(CLASSES[kind]):
        if use.looks:
            with pytest.raises(ExistentialError):
                use.call(handle)
    assert not other.removed
    end(other)


def test_a_segment_is_the_same_to_a_child_in_another_pid_namespace(key: int) -> None:
    """In that namespace its creator has no pid."""
    clone_newpid = 0x20000000
    segment = SharedMemory(key, IPC_CREX, init_character=b"x")

    def parent() -> None:
        assert ctypes.CDLL(None, use_errno=True).unshare(clone_newpid) == 0

        def child() -> None:
            assert not segment.removed
            segment.detach()
            segment.attach()
            assert segment.read(1) == b"x"
            assert segment.info().creator_pid == 0

        assert os.waitpid(fork(child), 0)[1] == 0

    assert os.waitpid(fork(parent), 0)[1] == 0
    end(segment)


def test_a_note_does_not_call_an_object_of_another_namespace_removed(kind: str, key: int) -> None:
    def text() -> str:
        namespace.enter()
        handle = KINDS[kind](key)
        end(handle)
        namespace.enter()
        KINDS[kind](key + 1)
        with pytest.raises(ExistentialError) as caught:
            handle.info()
        return f"{caught.value} {getattr(caught.value, '__notes__', [])}"

    told = in_child(text)
    assert "names another object now" in told
    assert "Somebody" not in told
