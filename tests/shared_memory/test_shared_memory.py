"""SharedMemory: opening and creating, sizes, modes, attributes, removal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import as_other_user, in_child, listed
from old_kernel import become_old, needs_seccomp

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    IPC_PRIVATE,
    PAGE_SIZE,
    SHM_HUGETLB,
    SHM_NORESERVE,
    SHM_RDONLY,
    ArgumentError,
    ExistentialError,
    NotAttachedError,
    OutOfMemoryError,
    PermissionsError,
    ReadOnlyError,
    SharedMemory,
)
from sysv_ipc.cli import main


def discard(segment: SharedMemory) -> None:
    segment.remove()
    segment.detach()


def test_parameters_have_the_order_and_the_names_of_1_2_0(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX, 0o640, 100, b"x")
    same = SharedMemory(key=key, flags=0, mode=0o640, size=100, init_character=b"y")
    assert (same.id, same.size, same.read()) == (segment.id, 100, b"x" * 100)
    same.detach()
    discard(segment)


# ---------------------------------------------------------------------------- size and fill


@pytest.mark.parametrize("size", [None, 0, 1, 100, PAGE_SIZE, PAGE_SIZE + 1, 10 * PAGE_SIZE])
def test_a_new_segment_has_its_size_and_is_filled(key: int, size: int | None) -> None:
    arguments: dict[str, Any] = {} if size is None else {"size": size}
    segment = SharedMemory(key, IPC_CREX, **arguments)
    assert segment.size == int(listed("shm", segment.id)["size"]) == (size or PAGE_SIZE)
    assert segment.read() == b" " * segment.size
    discard(segment)


@pytest.mark.parametrize(
    ("character", "wanted"),
    [(b"z", b"z"), (b"\0", b"\0"), (b"\xff", b"\xff"), (bytearray(b"q"), b"q"), (None, b"\0")],
)
def test_init_character_fills(key: int, character: bytes | None, wanted: bytes) -> None:
    segment = SharedMemory(key, IPC_CREX, init_character=character)
    assert segment.read() == wanted * PAGE_SIZE
    discard(segment)


def test_plain_creat_leaves_the_kernels_zeros(key: int) -> None:
    segment = SharedMemory(key, IPC_CREAT, size=10, init_character=b"x")
    assert segment.read() == bytes(10)
    discard(segment)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"flags": IPC_CREAT}, ArgumentError),
        ({"flags": IPC_CREAT, "size": 0}, ArgumentError),
        ({"size": -1}, ArgumentError),
        ({"size": 2**63}, ArgumentError),
        ({"size": 2**64 + 10}, ArgumentError),
        ({"size": "1"}, TypeError),
        ({"size": None}, TypeError),
        ({"size": 1.0}, TypeError),
        ({"init_character": b""}, ArgumentError),
        ({"init_character": b"ab"}, ArgumentError),
        ({"init_character": 1}, TypeError),
        ({"init_character": object()}, TypeError),
        ({"mode": "x"}, TypeError),
    ],
)
def test_impossible_arguments_are_refused_and_nothing_is_made(
    key: int, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        SharedMemory(key, **{"flags": IPC_CREX, **arguments})
    assert not sysv_ipc.exists(key, SharedMemory)


@pytest.mark.parametrize("options", [{}, {"size": 0}])
def test_creating_without_a_size_says_what_to_do(key: int, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        SharedMemory(key, IPC_CREAT, **options)
    text = f"there is no segment with key {key} ({key:#x}) yet: pass size= to create it"
    assert str(caught.value) == f"[Errno 22] Invalid argument: {text}"
    assert not hasattr(caught.value, "__notes__")
    assert (caught.value.kind, caught.value.key) == ("shared memory", key)


def test_a_size_beyond_memory_is_out_of_memory_or_refused(key: int) -> None:
    with pytest.raises((OutOfMemoryError, sysv_ipc.LimitError, ArgumentError)):
        SharedMemory(key, IPC_CREX, size=2**62)
    assert not sysv_ipc.exists(key, SharedMemory)


@pytest.mark.parametrize("size", [1, PAGE_SIZE - 1, PAGE_SIZE + 1, 8 * PAGE_SIZE])
def test_opening_with_another_size_names_both_sizes(segment: SharedMemory, size: int) -> None:
    with pytest.raises(OSError, match=rf"^\[Errno 22\] Invalid argument: .*{PAGE_SIZE}.*{size}"):
        SharedMemory(segment.key, size=size)
    assert segment.number_attached == 1


def test_creat_opens_a_larger_one_whole(segment: SharedMemory) -> None:
    assert SharedMemory(segment.key, IPC_CREAT, size=10).size == PAGE_SIZE
    assert SharedMemory(segment.key, IPC_CREAT).size == PAGE_SIZE


def test_creat_refuses_a_smaller_one(segment: SharedMemory) -> None:
    with pytest.raises(ArgumentError) as caught:
        SharedMemory(segment.key, IPC_CREAT, size=PAGE_SIZE + 1)
    assert str(caught.value) == (
        f"[Errno 22] Invalid argument: the existing segment has {PAGE_SIZE} bytes, fewer than"
        f" size={PAGE_SIZE + 1}: remove it if an older version of the program made it (sysv-ipc rm"
        f" shm {segment.key:#x}), or use another key"
    )


def test_the_command_of_that_error_removes_the_smaller_one(key: int) -> None:
    SharedMemory(key, IPC_CREX, size=10).detach()
    with pytest.raises(ArgumentError) as caught:
        SharedMemory(key, IPC_CREAT, size=100)
    command = str(caught.value).partition("(sysv-ipc ")[2].partition(")")[0]
    assert main(command.split()) == 0
    assert not sysv_ipc.exists(key, SharedMemory)


@pytest.mark.parametrize(
    ("injection", "mode"),
    [
        ("shmat:error=ENOMEM:when=1", "0o600"),
        ("shmctl:error=EACCES:when=1", "0o600"),
        ("shmat:error=ENOMEM:when=2", "0o400"),
        ("shmctl:error=EPERM:when=2", "0o400"),
        ("shmctl:error=EPERM:when=3", "0o400"),
    ],
)
def test_a_constructor_that_fails_leaves_nothing_behind(
    key: int, injection: str, mode: str
) -> None:
    code = f"import sysv_ipc; sysv_ipc.SharedMemory({key}, sysv_ipc.IPC_CREX, {mode})"
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={injection}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "sysv_ipc." in done.stderr
    assert not sysv_ipc.exists(key, SharedMemory)


# ---------------------------------------------------------------------------------- modes


def test_a_mode_without_write_attaches_read_only(segment: SharedMemory) -> None:
    for mode in (0o400, 0o444, 0):
        other = SharedMemory(segment.key, mode=mode)
        assert other.readonly
        with pytest.raises(ReadOnlyError):
            other.write(b"x")
    assert not SharedMemory(segment.key, mode=0o200).readonly
    assert not segment.readonly


@pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")
@pytest.mark.parametrize("mode", [0o400, 0o440, 0, 0o200, 0o600])
def test_any_user_may_create_with_any_mode(key: int, mode: int) -> None:
    def create() -> tuple[bytes, bool, str]:
        segment = SharedMemory(key, IPC_CREX, mode, 5, b"x")
        result = segment.read(), segment.readonly, listed("shm", segment.id)["perms"]
        discard(segment)
        return result

    assert as_other_user(create) == (b"xxxxx", mode & 0o200 == 0, f"{mode:o}")


def test_opening_without_a_mode_gets_the_best_access(segment: SharedMemory) -> None:
    segment.mode = 0o644

    def open_it() -> tuple[bool, bool]:
        other = SharedMemory(segment.key)
        try:
            SharedMemory(segment.key, mode=0o600)
        except PermissionsError:
            return other.readonly, True
        return other.readonly, False

    assert as_other_user(open_it) == (True, True)


@pytest.mark.parametrize("options", [{}, {"mode": 0o400}], ids=["no mode", "by choice"])
def test_a_write_without_permission_says_that_the_process_may_only_read(
    segment: SharedMemory, options: dict[str, Any]
) -> None:
    segment.mode = 0o644

    def write() -> list[str]:
        other = SharedMemory(segment.key, **options)
        with pytest.raises(ReadOnlyError) as by_write:
            other.write(b"x")
        with pytest.raises(ReadOnlyError) as by_atomic:
            other.atomic(0, "u32").store(1)
        return [str(by_write.value), str(by_atomic.value)]

    text = (
        "the segment is attached read-only, because this process may only read it (mode 0o644,"
        " owner uid 0)"
    )
    assert as_other_user(write) == [text, text]


def test_a_write_with_permission_says_how_to_attach_it_for_writing(segment: SharedMemory) -> None:
    text = "^the segment is attached read-only: call attach.. with flags=0 to write to it$"
    private = SharedMemory(IPC_PRIVATE, IPC_CREX)
    for id in (segment.id, private.id):
        other = sysv_ipc.attach(id, flags=SHM_RDONLY)
        with pytest.raises(ReadOnlyError, match=text):
            other.write(b"x")
        other.attach(flags=0)
        other.write(b"x")
        other.detach()
    discard(private)


def test_a_segment_that_has_lost_its_key_is_not_taken_for_one_with_the_key(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX, 0o644)
    segment.remove()
    other = SharedMemory(key, IPC_CREX, 0o600)

    def write() -> str:
        try:
            segment.attach(flags=SHM_RDONLY)
            segment.write(b"x")
        except ReadOnlyError as error:
            return str(error)
        return "written"

    assert "call attach()" in as_other_user(write)
    segment.detach()
    discard(other)


def test_attach_keeps_the_access_that_it_was_opened_with(segment: SharedMemory) -> None:
    segment.write(b"x")
    other = SharedMemory(segment.key, mode=0o400)
    other.attach()
    seen = [other.readonly]
    other.attach(flags=0)
    seen.append(other.readonly)
    segment.attach(flags=SHM_RDONLY)
    seen.append(segment.readonly)
    segment.attach()
    seen.append(segment.readonly)
    assert seen == [True, False, True, False]


# ------------------------------------------------------------------------------ huge pages


def test_unavailable_huge_pages_raise_out_of_memory_error(key: int) -> None:
    for flags in (SHM_HUGETLB, SHM_HUGETLB | sysv_ipc.SHM_HUGE_2MB, SHM_HUGETLB | SHM_NORESERVE):
        try:
            segment = SharedMemory(key, IPC_CREX | flags, size=64 << 20)
        except (OutOfMemoryError, PermissionsError, ArgumentError):
            assert not sysv_ipc.exists(key, SharedMemory)
        else:
            # The administrator has reserved huge pages, so they work, including views.
            assert segment.read(3) == b"   "
            memoryview(segment).release()
            discard(segment)


@needs_seccomp
def test_huge_pages_are_touched_on_kernels_without_a_call_for_it(key: int) -> None:
    """Linux before 5.14: a page that is not available causes neither SIGBUS nor EINVAL."""

    def create() -> tuple[str, bytes | None]:
        become_old()
        try:
            flags = IPC_CREX | SHM_HUGETLB | SHM_NORESERVE
            segment = SharedMemory(key, flags, size=64 << 20, init_character=None)
        except (OutOfMemoryError, PermissionsError) as error:
            return type(error).__name__, None
        text = segment.read(3)
        discard(segment)
        return "made", text

    assert in_child(create) in [
        ("OutOfMemoryError", None),
        ("PermissionsError", None),
        ("made", bytes(3)),
    ]
    assert not sysv_ipc.exists(key, SharedMemory)


def test_noreserve_is_an_ordinary_segment(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX | SHM_NORESERVE, size=10)
    assert segment.read() == b" " * 10
    discard(segment)


# ------------------------------------------------------------------------------ attributes


def test_attributes_agree_with_the_systems_list(segment: SharedMemory) -> None:
    record = listed("shm", segment.id)
    for name, column in {
        "key": "key",
        "uid": "uid",
        "gid": "gid",
        "cuid": "cuid",
        "cgid": "cgid",
        "size": "size",
        "creator_pid": "cpid",
        "last_pid": "lpid",
        "number_attached": "nattch",
        "last_attach_time": "atime",
        "last_detach_time": "dtime",
        "last_change_time": "ctime",
    }.items():
        assert getattr(segment, name) == int(record[column]), name
    assert segment.mode == int(record["perms"], 8)
    assert segment.creator_pid == os.getpid()
    assert abs(segment.last_attach_time - time.time()) < 60
    segment.detach()
    assert abs(segment.last_detach_time - time.time()) < 60


def test_lock_and_unlock(segment: SharedMemory) -> None:
    seen = [segment.locked]
    segment.lock()
    seen.append(segment.locked)
    assert int(listed("shm", segment.id)["perms"], 8) & 0o2000
    assert segment.mode == 0o600
    segment.unlock()
    seen.append(segment.locked)
    assert seen == [False, True, False]


# --------------------------------------------------------------------------------- removal


def test_a_removed_segment_stays_usable_while_attached(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX)
    assert not segment.marked_for_removal
    segment.remove()
    assert (segment.removed, segment.marked_for_removal) == (True, True)
    segment.write(b"still here")
    for other in (
        SharedMemory.from_id(segment.id),
        sysv_ipc.attach(segment.id),
        sysv_ipc.attach(segment.id, None, SHM_RDONLY),
    ):
        assert other.read(10) == b"still here"
        assert (other.key, other.size) == (0, PAGE_SIZE)
        other.detach()
    with pytest.raises(ExistentialError):
        SharedMemory(key)
    segment.detach()
    with pytest.raises(ExistentialError, match="no longer exists"):
        segment.attach()
    with pytest.raises(ExistentialError, match="no longer exists"):
        segment.remove()


def test_with_detaches_at_the_end(segment: SharedMemory) -> None:
    with SharedMemory(segment.key) as inside:
        inside.write(b"inside")
    assert not inside.attached
    with inside:
        assert inside.read(6) == b"inside"
    with inside:
        inside.detach()
    assert segment.number_attached == 1


def test_with_never_hides_an_exception(segment: SharedMemory) -> None:
    views: list[memoryview] = []

    def use() -> None:
        with SharedMemory(segment.key) as inside:
            views.append(memoryview(inside))
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        use()
    views.clear()


def test_with_raises_buffer_error_if_a_view_exists(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key)
    with pytest.raises(BufferError), other:
        view = memoryview(other)
    view.release()


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.read(),
        lambda s: s.write(b"x"),
        lambda s: s.read_into(bytearray(1)),
        lambda s: s.detach(),
        lambda s: len(s),
        lambda s: s[0],
        lambda s: s[0:2],
        lambda s: s.__setitem__(0, 1),
        lambda s: memoryview(s),
        lambda s: s.view(),
        lambda s: bytes(s),
        lambda s: list(s),
    ],
)
def test_calls_on_a_detached_segment_raise_not_attached_error(
    segment: SharedMemory, use: Callable[[SharedMemory], object]
) -> None:
    segment.detach()
    with pytest.raises(NotAttachedError, match="call attach"):
        use(segment)
    assert segment
    assert (segment.address, segment.attached, segment.size) == (0, False, PAGE_SIZE)
