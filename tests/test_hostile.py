"""What hostile scripts have found: each of these once crashed, lost or changed something."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import as_other_user, fork, import_testcapi, in_child

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    SHM_RDONLY,
    SHM_RND,
    ArgumentError,
    ExistentialError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


# ------------------------------------------------------------------------------ attachments


def test_remapping_keeps_what_arrays_need(run_python: Run) -> None:
    code = """
import sysv_ipc as s, numpy as np
m = s.SharedMemory(None, s.IPC_CREX, size=8192, init_character=b"x")
a = np.ndarray((10,), np.uint8, buffer=m)
m.attach(m.address, s.SHM_REMAP)
print(a[0], m.readonly)
m.attach(m.address, s.SHM_REMAP | s.SHM_RDONLY)
print(m.readonly)
a[0] = 1
print(m.read(1))
try:
    m.write(b"2")
except s.ReadOnlyError:
    print("refused")
m.remove(); m.detach()
print(a[0])
"""
    assert run_python(code).stdout == "120 False\nTrue\nb'\\x01'\nrefused\n0\n"


def test_remapping_keeps_the_pointer_that_has_left(run_python: Run) -> None:
    code = """
import ctypes, sysv_ipc as s
m = s.SharedMemory(None, s.IPC_CREX, init_character=b"x")
address = m.address
m.attach(address, s.SHM_REMAP)
m.remove(); del m
print(ctypes.string_at(address, 3))
"""
    assert run_python(code).stdout == "b'xxx'\n"


def test_remapping_under_a_view_is_refused(segment: SharedMemory) -> None:
    view = memoryview(segment)
    with pytest.raises(BufferError):
        segment.attach(segment.address, sysv_ipc.SHM_REMAP)
    view.release()


@pytest.mark.parametrize("address", [1, 100, 4095])
def test_an_address_that_is_rounded_to_nothing_is_refused(
    segment: SharedMemory, address: int
) -> None:
    segment.detach()
    with pytest.raises(ArgumentError, match="rounds address"):
        segment.attach(address, SHM_RND)
    assert not segment.attached
    assert segment.number_attached == 0


def test_indexing_does_not_use_up_address_space() -> None:
    segment = SharedMemory(None, IPC_CREX, size=1 << 20)

    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * sysv_ipc.PAGE_SIZE

    before = mapped()
    for _ in range(300):
        segment[0], segment[1:3], segment[::4096]
        segment[0] = 1
        segment[1:3] = b"ab"
        segment.attach()
    segment.remove()
    segment.detach()
    assert mapped() - before < 100 << 20


@pytest.mark.parametrize("how", ["attach", "from_id"])
def test_read_only_access_by_id_stays_so(segment: SharedMemory, how: str) -> None:
    opener: Any = sysv_ipc.attach if how == "attach" else SharedMemory.from_id
    handle = opener(segment.id, flags=SHM_RDONLY)
    assert handle.readonly
    handle.attach()
    assert handle.readonly
    handle.detach()
    with handle:
        assert handle.readonly
    copied = pickle.loads(pickle.dumps(handle))
    assert copied.readonly
    copied.detach()


def test_who_may_only_read_attaches_again(segment: SharedMemory) -> None:
    segment.mode = 0o644

    def use() -> bool:
        handle = sysv_ipc.attach(segment.id, flags=SHM_RDONLY)
        handle.detach()
        handle.attach()
        return bool(pickle.loads(pickle.dumps(handle)).readonly)

    assert as_other_user(use) is True


# ----------------------------------------------------------------------------------- slices

INDEXES = [
    0, 1, -1, 9, -10, slice(None), slice(2, 5), slice(5, 2), slice(-3, None), slice(None, None, 2),
    slice(None, None, -1), slice(8, 1, -3), slice(100, 200), slice(-100, 3), slice(3, 3),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_indexes_mean_what_they_mean_for_a_bytearray(index: Any) -> None:
    segment = SharedMemory(None, IPC_CREX, size=10)
    segment.write(b"0123456789")
    model = bytearray(b"0123456789")
    assert segment[index] == (model[index] if isinstance(index, int) else bytes(model[index]))
    value: Any = 7 if isinstance(index, int) else bytes(range(100, 100 + len(model[index])))
    segment[index] = model[index] = value
    assert segment.read() == model
    segment.remove()
    segment.detach()


@pytest.mark.parametrize("index", [10, -11, 2**70, -(2**70)])
def test_an_index_outside_is_an_index_error(index: int) -> None:
    segment = SharedMemory(None, IPC_CREX, size=10)
    with pytest.raises(IndexError):
        segment[index]
    with pytest.raises(IndexError):
        segment[index] = 1
    segment.remove()
    segment.detach()


@pytest.mark.parametrize("index", [1.5, "1", (), (1, 2), None, ...])
def test_what_is_no_index_is_told(segment: SharedMemory, index: Any) -> None:
    with pytest.raises(TypeError, match="shared memory indices must be integers or slices"):
        segment[index]
    with pytest.raises(TypeError, match="shared memory indices must be integers or slices"):
        segment[index] = 1


@pytest.mark.parametrize("value", [256, -1, 2**70])
def test_what_is_no_byte_is_told(segment: SharedMemory, value: int) -> None:
    with pytest.raises(ArgumentError, match="a byte must be from 0 to 255"):
        segment[0] = value


def test_a_slice_of_another_size_is_refused(segment: SharedMemory) -> None:
    before = segment.read()
    with pytest.raises(ArgumentError, match="3 bytes cannot be assigned to a slice of 2"):
        segment[0:2] = b"abc"
    with pytest.raises(ArgumentError):
        segment[::2] = b"abc"
    assert segment.read() == before


def test_a_slice_takes_a_view_of_the_same_segment() -> None:
    segment = SharedMemory(None, IPC_CREX, size=10)
    segment.write(b"0123456789")
    with memoryview(segment) as view:
        segment[::-1] = view
    assert segment.read() == b"9876543210"
    with memoryview(segment) as view, view[0:8] as part:
        segment[2:10] = part
    assert segment.read() == b"9898765432"
    segment.remove()
    segment.detach()


# --------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "stop", [(n, n + 1) for n in range(1, 25)] + [(n, 0) for n in range(1, 25)]
)
def test_receive_many_loses_nothing_where_memory_is_lacking(
    queue: MessageQueue, stop: tuple[int, int]
) -> None:
    capi = import_testcapi()
    for number in range(5):
        queue.send(str(number) * 100, type=300 + number)
    got: list[tuple[bytes, int]] = []
    try:
        capi.set_nomemory(*stop)
        got = queue.receive_many(5, False)
    except MemoryError:
        pass
    finally:
        capi.remove_mem_hooks()
    left = queue.receive_many(9, False)
    assert sorted(type for _, type in got + left) == [300, 301, 302, 303, 304]


def test_peek_beside_a_consumer_gives_a_message_or_none(queue: MessageQueue) -> None:
    """Short and long messages come and go; a copy of one is whole, whichever it is."""
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
        # On a busy machine the other may not have begun.
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


def test_a_buffer_that_is_too_short_is_told_so(queue: MessageQueue) -> None:
    queue.send("longer than that")
    with pytest.raises(ArgumentError) as caught:
        queue.receive_into(bytearray(5))
    assert "longer than the buffer" in caught.value.__notes__[0]
    assert queue.current_messages == 1


# --------------------------------------------------------------------------------- creation

MARK_LIKE = [0o601, 0o623, 0o667]


@pytest.mark.parametrize("mode", MARK_LIKE)
@pytest.mark.parametrize("value", [0, 7, 32767])
def test_a_mode_like_the_mark_is_not_taken_for_it_in_another_pid_namespace(
    key: int, mode: int, value: int
) -> None:
    """There GETPID is 0 for who has set the values, as it is where nobody has."""
    made = Semaphore(key, IPC_CREX, mode, value)
    code = f"import sysv_ipc; print(sysv_ipc.Semaphore({key}, sysv_ipc.IPC_CREAT).id)"
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{made.id}\n", "")
    assert (made.value, made.mode) == (value, mode)
    made.remove()


def test_who_may_not_read_a_set_opens_it_all_the_same(key: int) -> None:
    made = Semaphore(key, IPC_CREX, 0o623, 1)

    def open_it() -> int:
        handle = Semaphore(key)
        handle.release()
        return handle.id

    assert as_other_user(open_it) == made.id
    assert made.value == 2
    made.remove()


def test_who_holds_the_lock_cannot_keep_others_from_creating(key: int) -> None:
    import fcntl

    with open("/proc/self/ns/ipc", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def create() -> tuple[int, int]:
            made = Semaphore(key, IPC_CREAT, initial_value=3)
            same = Semaphore(key, IPC_CREAT, initial_value=4)
            return made.value, same.value

        assert in_child(create) == (3, 3)
    Semaphore(key).remove()


def test_creating_needs_no_descriptor(key: int, run_python: Run) -> None:
    code = """
import os, resource, sys
import sysv_ipc
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
made = sysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREX, initial_value=5)
print(made.value)
made.remove()
"""
    assert run_python(code, key).stdout == "5\n"


# ---------------------------------------------------------------------------------- pickling


def errors_with_an_exact_text() -> list[sysv_ipc.Error]:
    found: list[sysv_ipc.Error] = []
    semaphore = Semaphore(None, IPC_CREX)
    for call in (
        lambda: setattr(semaphore, "value", 40000),
        lambda: semaphore.acquire(-1),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        found.append(caught.value)
    semaphore.remove()
    return found


def test_errors_keep_their_errno_in_copies() -> None:
    for error in errors_with_an_exact_text():
        assert error.errno
        for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert (same.errno, str(same), type(same)) == (error.errno, str(error), type(error))


class Slots(Semaphore):
    __slots__ = ("extra",)


class WithDict(Semaphore):
    pass


class OwnState(Semaphore):
    lock: Any
    name: str

    def __getstate__(self) -> object:
        return {"name": self.name}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.name = state["name"]
        self.lock = threading.Lock()


@pytest.mark.parametrize("duplicate", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))])
def test_what_a_subclass_adds_is_kept(duplicate: Callable[[Any], Any]) -> None:
    kinds: list[Any] = [Slots, WithDict, OwnState]
    slots, plain, own = (kind(None, IPC_CREX) for kind in kinds)
    slots.extra, plain.extra, own.name, own.lock = 1, 2, "three", threading.Lock()
    for handle in (slots, plain, own):
        handle.block = False
    assert (duplicate(slots).extra, duplicate(slots).block) == (1, False)
    assert (duplicate(plain).extra, duplicate(plain).block) == (2, False)
    assert (duplicate(own).name, duplicate(own).block) == ("three", False)
    assert duplicate(own).lock is not own.lock
    for handle in (slots, plain, own):
        assert duplicate(handle) == handle
        handle.remove()


# ------------------------------------------------------------------------------------- others


@pytest.mark.parametrize(
    "use",
    [
        lambda: Semaphore.__new__(Semaphore).block,
        lambda: Semaphore.__new__(Semaphore).undo,
        lambda: setattr(Semaphore.__new__(Semaphore), "undo", True),
        lambda: Semaphore.__new__(Semaphore).index,
        lambda: MessageQueue.__new__(MessageQueue).max_message_size,
        lambda: iter(MessageQueue.__new__(MessageQueue)),
        lambda: SharedMemory.__new__(SharedMemory).size,
        lambda: SemaphoreSet.__new__(SemaphoreSet).op([(0, 1)]),
    ],
)
def test_what_was_never_initialised_refuses_everything(use: Callable[[], object]) -> None:
    with pytest.raises(ExistentialError, match="was never initialised"):
        use()


def test_an_exception_that_takes_no_note_is_not_hidden() -> None:
    class OwnError(Exception):
        pass

    def fail_inside() -> None:
        with semaphore:
            semaphore.remove()
            raise error

    semaphore = Semaphore(None, IPC_CREX, initial_value=1)
    error = OwnError("inner")
    error.__notes__ = 5  # type: ignore[assignment]
    try:
        fail_inside()
    except OwnError as caught:
        assert caught is error  # noqa: PT017


@pytest.mark.parametrize("index", [-4, 3, 70000, 2**40])
def test_a_member_outside_a_set_is_told_with_its_size(index: int) -> None:
    many = SemaphoreSet(None, 3, IPC_CREX)
    with pytest.raises(ArgumentError, match=rf"index {index} is outside a set of 3 members"):
        many.op([(index, 1)])
    many.remove()


def test_arrays_from_the_numpy_side_read_zeros_after_a_detach() -> None:
    segment = SharedMemory(None, IPC_CREX, init_character=b"x")
    array = np.ndarray((10,), np.uint8, buffer=segment)  # type: ignore[arg-type]
    segment.remove()
    segment.detach()
    assert array.sum() == 0
