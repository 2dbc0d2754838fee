"""Permissions to open, use, read, change and remove an object.

The rows are those of the manual pages: semget(2), semop(2) and semctl(2), and the same calls for
segments and queues.  Objects belong to root; an unprivileged child makes the calls.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import calls
import pytest
from calls import KINDS, REMOVE
from helpers import NEEDS_ROOT, OTHER_UID, as_other_user, in_child, listed

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    BusyError,
    MessageQueue,
    PermissionsError,
    SemaphoreSet,
    SharedMemory,
)
from sysv_ipc.cli import main

#: Rights of other users, each with a mode that gives them.
RIGHTS = {"": 0o600, "r": 0o604, "w": 0o602, "rw": 0o606}

Call = Callable[[Any], object]

#: These tests use odd modes on purpose.
pytestmark = [NEEDS_ROOT, pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")]


@pytest.fixture
def make(key: int) -> Iterator[Callable[..., Any]]:
    """Make root's object of a kind: make("sem", mode); it is removed at the end."""
    made: list[Any] = []

    def create(table: str, mode: int = 0o600) -> Any:
        made.append(calls.create(KINDS[table], key, mode))
        return made[-1]

    yield create
    for handle in made:
        calls.discard(handle)


def outcome(call: Callable[[], object]) -> tuple[int | None, list[str]]:
    """Return errno and notes of the error; no errno if the call is allowed."""
    try:
        call()
    except BusyError:
        return None, []
    except PermissionsError as error:
        if not str(error).startswith(f"[Errno {error.errno}] {error.strerror}: "):
            raise
        return error.errno, getattr(error, "__notes__", [])
    return None, []


def state(table: str, handle: Any) -> dict[str, str]:
    """Return the system's record, without the fields that an attached child changes."""
    return {
        column: word
        for column, word in listed(table, handle.id).items()
        if column not in ("atime", "dtime", "lpid")
    }


# ------------------------------------------------------------------------------- using it


def attach_and_forget(id: int, flags: int = 0) -> None:
    sysv_ipc.attach(id, None, flags).detach()


#: Rights that depend on the arguments, which the table does not hold.
MORE: list[tuple[Any, str, str, Call]] = [
    # Linux requires one right for all operations: to alter, if one of them alters.
    (SemaphoreSet, "op with 0", "w", lambda z: z.op([(0, -1), (1, 0)])),
    (SharedMemory, "attach read-only", "r", lambda m: attach_and_forget(m.id, sysv_ipc.SHM_RDONLY)),
]
USES = MORE + [
    (cls, use.name, use.right, use.call)
    for cls in calls.HANDLES
    for use in calls.uses(cls)
    # The owner's calls are below.  The kernel does not check access to mapped bytes.
    if use.right != "owner" and (cls is not SharedMemory or use.right) and use.name != "attach 2"
]


@pytest.mark.parametrize("rights", RIGHTS)
@pytest.mark.parametrize(
    ("cls", "needed", "call"),
    [
        pytest.param(cls, right, call, id=f"{cls.__name__}-{name}")
        for cls, name, right, call in USES
    ],
)
def test_a_call_needs_the_right_that_the_manual_page_names(
    key: int, cls: Any, needed: str, call: Call, rights: str
) -> None:
    with calls.made(cls, key, RIGHTS[rights]) as handle:
        error, notes = as_other_user(lambda: outcome(lambda: call(handle)))
    if set(needed) <= set(rights):
        assert error is None
    else:
        assert error == errno.EACCES
        assert f"uid 0, gid 0 with mode {RIGHTS[rights]:#o} " in notes[0]
        assert f"this process has uid {OTHER_UID}, gid {OTHER_UID}" in notes[0]


@pytest.mark.parametrize("cls", calls.HANDLES)
def test_a_refused_use_changes_nothing(key: int, cls: Any) -> None:
    with calls.made(cls, key) as handle:
        before = state(calls.table_of(cls), handle)

        def refused() -> list[str]:
            uses = [use for use in USES if use[0] is cls and use[2]]
            return [name for _, name, _, call in uses if not outcome(partial(call, handle))[0]]

        assert as_other_user(refused) == []
        assert state(calls.table_of(cls), handle) == before


@pytest.mark.parametrize(("mode", "error"), [(0o606, errno.EACCES), (0o607, None)])
def test_an_executable_attachment_needs_the_right_to_execute(
    make: Callable[..., Any], mode: int, error: int | None
) -> None:
    id = make("shm", mode).id
    assert as_other_user(lambda: outcome(lambda: attach_and_forget(id, sysv_ipc.SHM_EXEC)))[0] == (
        error
    )


# ------------------------------------------------------------------------------ opening it


def opened(table: str, key: int, **arguments: Any) -> tuple[int | None, list[str]]:
    """Open the object by key as another user; detach a segment."""

    def open_it() -> None:
        handle = KINDS[table](key, **arguments)
        if isinstance(handle, SharedMemory):
            handle.detach()

    return as_other_user(lambda: outcome(open_it))


@pytest.mark.parametrize("flags", [0, IPC_CREAT])
@pytest.mark.parametrize("rights", RIGHTS)
@pytest.mark.parametrize(
    ("mode", "asked"),
    [(0o600, "rw"), (0o400, "r"), (0o200, "w"), (0o060, "rw"), (0o004, "r"), (0, "")],
)
def test_opening_needs_the_rights_that_the_mode_requests(
    make: Callable[..., Any], mode: int, asked: str, rights: str, flags: int
) -> None:
    """The kernel combines the bits of the three classes."""
    for table in ("sem", "msg"):
        key = make(table, RIGHTS[rights]).key
        error, notes = opened(table, key, mode=mode, flags=flags)
        if set(asked) <= set(rights):
            assert error is None
        else:
            assert error == errno.EACCES
            assert f"mode {RIGHTS[rights]:#o} " in notes[0]


@pytest.mark.parametrize("rights", RIGHTS)
@pytest.mark.parametrize(("mode", "asked"), [(0o600, "rw"), (0o400, "r"), (0o444, "r")])
def test_opening_a_segment_needs_the_right_to_attach_it(
    make: Callable[..., Any], mode: int, asked: str, rights: str
) -> None:
    key = make("shm", RIGHTS[rights]).key
    error, _ = opened("shm", key, mode=mode)
    assert error == (None if set(asked) <= set(rights) else errno.EACCES)


@pytest.mark.parametrize("rights", RIGHTS)
def test_opening_without_a_mode_gets_the_best_possible_access(
    make: Callable[..., Any], table: str, rights: str
) -> None:
    key = make(table, RIGHTS[rights]).key
    error, notes = opened(table, key)
    # A write-only attachment does not exist.
    usable = {"sem": {"r", "w", "rw"}, "msg": {"r", "w", "rw"}, "shm": {"r", "rw"}}[table]
    assert error == (None if rights in usable else errno.EACCES)
    assert bool(notes) == (error is not None)


@pytest.mark.parametrize(("rights", "readonly"), [("r", True), ("rw", False)])
def test_a_segment_is_attached_with_the_rights_of_the_caller(
    make: Callable[..., Any], rights: str, readonly: bool
) -> None:
    key = make("shm", RIGHTS[rights]).key
    assert as_other_user(lambda: SharedMemory(key).readonly) is readonly
    assert as_other_user(lambda: memoryview(SharedMemory(key)).readonly) is readonly


def test_the_note_says_how_to_open_read_only_if_that_is_allowed(
    make: Callable[..., Any], table: str
) -> None:
    key = make(table, 0o604).key
    assert "mode=0o400" in opened(table, key, mode=0o600)[1][0]


def test_the_note_does_not_mention_read_only_if_nothing_is_allowed(
    make: Callable[..., Any], table: str
) -> None:
    key = make(table, 0o660).key
    note = opened(table, key)[1][0]
    assert "mode 0o660" in note
    assert "mode=0o400" not in note


@pytest.mark.parametrize(
    ("gid", "mode", "advice"),
    [
        (5, 0o600, "Its owner or root can allow it: `sysv-ipc chmod g+rw {name}`."),
        (
            12,
            0o600,
            "Its owner or root can allow it: `sysv-ipc chmod g+rw {name}`, and"
            " `sysv-ipc chown :GROUP {name}`, with a group of this process.",
        ),
        (
            12,
            0o660,
            "Its owner or root can allow it: `sysv-ipc chown :GROUP {name}`, with a group of this"
            " process.",
        ),
    ],
)
def test_the_note_has_the_groups_of_the_process_and_commands_that_allow_it(
    make: Callable[..., Any], table: str, gid: int, mode: int, advice: str
) -> None:
    handle = make(table)
    handle.gid, handle.mode = gid, mode
    key = handle.key

    def ask() -> tuple[int | None, list[str]]:
        os.setgroups([7, 5, 99])
        os.setgid(99)
        os.setuid(99)
        return outcome(lambda: KINDS[table](key))

    _, (note,) = in_child(ask)
    assert "this process has uid 99, gid 99, groups 5, 7." in note
    assert note.endswith(advice.format(name=f"{table} {key:#x}"))
    for command in re.findall("`sysv-ipc (.*?)`", note):
        assert main(command.replace("GROUP", "7").split()) == 0
    assert in_child(ask) == (None, [])


@pytest.mark.parametrize(
    ("mode", "call", "right"),
    [
        (0o600, "info", "r"),
        (0o604, "send", "w"),
        (0o602, "receive", "r"),
    ],
)
def test_the_command_of_a_note_gives_the_right_that_lacks(mode: int, call: str, right: str) -> None:
    queue = MessageQueue(None, IPC_CREX, mode)
    arguments = ["x"] if call == "send" else []
    _, (note,) = as_other_user(lambda: outcome(lambda: getattr(queue, call)(*arguments)))
    queue.remove()
    assert f"`sysv-ipc chmod g+{right} msg {queue.key:#x}`" in note


def test_an_owner_without_the_right_learns_how_to_get_it(
    make: Callable[..., Any], table: str
) -> None:
    handle = make(table, 0)
    handle.uid = OTHER_UID
    _, (note,) = opened(table, handle.key)
    assert note.endswith(f"To allow it: `sysv-ipc chmod u+rw {table} {handle.key:#x}`.")
    assert main(["chmod", "u+rw", table, f"{handle.key:#x}"]) == 0
    assert opened(table, handle.key) == (None, [])


def test_an_object_without_a_key_is_named_by_its_id_in_a_command() -> None:
    queue = MessageQueue(sysv_ipc.IPC_PRIVATE, IPC_CREX)
    _, (note,) = as_other_user(lambda: outcome(queue.info))
    queue.remove()
    assert f"`sysv-ipc chmod g+r msg id:{queue.id}`" in note


def test_an_object_that_may_not_be_opened_exists(make: Callable[..., Any], table: str) -> None:
    key = make(table, 0).key
    assert as_other_user(lambda: sysv_ipc.exists(key, KINDS[table])) is True


def test_creating_an_existing_object_fails_with_eexist_before_rights_are_checked(
    make: Callable[..., Any], table: str
) -> None:
    key = make(table, 0).key
    with pytest.raises(sysv_ipc.ExistentialError) as caught:
        as_other_user(lambda: KINDS[table](key, IPC_CREX))
    assert caught.value.errno == errno.EEXIST


# ------------------------------------------------------- changing, removing, giving it away

OWNERS_CALLS: list[tuple[Any, str, Call]] = [
    (cls, use.name, use.call)
    for cls in calls.HANDLES
    for use in calls.uses(cls)
    if use.right == "owner"
]
OWNERS_CALLS += [
    (cls, "remove by id", lambda handle, table=table: REMOVE[table](handle.id))  # type: ignore[misc]
    for table, cls in KINDS.items()
]
owners_calls = pytest.mark.parametrize(
    ("cls", "call"),
    [pytest.param(cls, call, id=f"{cls.__name__}-{name}") for cls, name, call in OWNERS_CALLS],
)


@pytest.mark.parametrize("mode", [0o600, 0o666])
@owners_calls
def test_only_owner_and_creator_change_and_remove(
    key: int, cls: Any, call: Call, mode: int
) -> None:
    with calls.made(cls, key, mode) as handle:
        before = state(calls.table_of(cls), handle)
        error, notes = as_other_user(lambda: outcome(lambda: call(handle)))
        assert error == errno.EPERM
        assert f"uid 0, gid 0 with mode {mode:#o} " in notes[0]
        assert "Only its owner, its creator and " in notes[0]
        assert state(calls.table_of(cls), handle) == before


@owners_calls
@pytest.mark.parametrize("mode", [0, 0o600])
def test_an_owner_changes_and_removes_an_object_given_to_it(
    key: int, cls: Any, call: Call, mode: int
) -> None:
    """The owner needs no right to read the object."""
    with calls.made(cls, key) as handle:
        handle.uid = OTHER_UID
        handle.mode = mode
        assert as_other_user(lambda: outcome(lambda: call(handle))) == (None, [])


def test_a_creator_that_gave_it_away_keeps_a_creators_rights(table: str, key: int) -> None:
    def create_and_give() -> list[int | None]:
        handle = KINDS[table](key, IPC_CREX, 0o600)
        handle.uid = 1
        handle.gid = 1
        assert (handle.uid, handle.gid, handle.cuid) == (1, 1, OTHER_UID)
        return [
            outcome(lambda: handle.mode)[0],
            outcome(lambda: setattr(handle, "mode", 0o640))[0],
            outcome(lambda: setattr(handle, "uid", 2))[0],
            outcome(handle.remove)[0],
        ]

    assert as_other_user(create_and_give) == [None] * 4


def test_the_new_owner_owns_it_and_others_do_not(make: Callable[..., Any], table: str) -> None:
    handle = make(table)
    handle.uid = 1
    change = lambda: outcome(lambda: setattr(handle, "mode", 0o660))[0]  # noqa: E731
    assert in_child(change, uid=2) == errno.EPERM
    assert in_child(change, uid=1) is None


def test_the_note_names_owner_and_creator_separately(make: Callable[..., Any], table: str) -> None:
    handle = make(table, 0o640)
    handle.uid, handle.gid = 11, 12
    _, notes = as_other_user(lambda: outcome(lambda: handle.mode))
    assert "uid 11, gid 12 with mode 0o640 (created by uid 0, gid 0)" in notes[0]


# -------------------------------------------------------------- owner, group or the others


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "allowed"),
    [
        # The first class that applies decides, even if a later one would allow more.
        pytest.param(11, 99, 0o400, True, id="owner"),
        pytest.param(11, 99, 0o077, False, id="owner, though others may"),
        pytest.param(99, 12, 0o040, True, id="group"),
        pytest.param(99, 12, 0o707, False, id="group, though others may"),
        pytest.param(99, 99, 0o004, True, id="others"),
        pytest.param(99, 99, 0o770, False, id="others, though owner and group may"),
    ],
)
def test_the_class_of_the_caller_decides(
    make: Callable[..., Any], table: str, uid: int, gid: int, mode: int, allowed: bool
) -> None:
    handle = make(table)
    handle.uid, handle.gid = 11, 12
    handle.mode = mode
    error, _ = in_child(lambda: outcome(handle.info), uid=uid, gid=gid)
    assert error == (None if allowed else errno.EACCES)


def test_a_supplementary_group_counts_as_the_group(make: Callable[..., Any], table: str) -> None:
    handle = make(table, 0o640)
    handle.gid = 12

    def ask() -> tuple[int | None, list[str]]:
        os.setgroups([5, 12])
        os.setgid(99)
        os.setuid(99)
        return outcome(handle.info)

    assert in_child(ask) == (None, [])


def test_the_group_of_the_creator_keeps_the_groups_rights(table: str, key: int) -> None:
    def create_and_give() -> int:
        handle = KINDS[table](key, IPC_CREX, 0o640)
        handle.gid = 99
        return int(handle.id)

    id = in_child(create_and_give, uid=11, gid=12)
    handle = KINDS[table].from_id(id)
    try:
        assert in_child(lambda: outcome(handle.info), uid=20, gid=12)[0] is None
        assert in_child(lambda: outcome(handle.info), uid=20, gid=99)[0] is None
        assert in_child(lambda: outcome(handle.info), uid=20, gid=20)[0] == errno.EACCES
    finally:
        REMOVE[table](id)
        if table == "shm":
            handle.detach()


@pytest.mark.parametrize("cls", calls.HANDLES)
def test_root_needs_no_right(key: int, cls: Any) -> None:
    for kind, name, _, call in USES:
        if kind is cls:
            with calls.made(cls, key, 0):
                handle = cls(key)
                assert outcome(partial(call, handle)) == (None, []), name
                if cls is SharedMemory and handle.attached:
                    handle.detach()


def test_a_removed_segment_is_reported_to_users_who_may_not_read_it(
    make: Callable[..., Any],
) -> None:
    """The creator's attachment keeps it alive."""
    handle = make("shm", 0o600)
    handle.remove()
    assert as_other_user(lambda: handle.removed) is True


def test_removal_is_reported_before_missing_rights(make: Callable[..., Any], table: str) -> None:
    handle = make(table, 0o600)
    if table == "shm":
        handle.detach()
    handle.remove()
    with pytest.raises(sysv_ipc.ExistentialError):
        as_other_user(lambda: handle.mode)


def test_the_note_says_that_the_id_belongs_to_another_object_now(key: int) -> None:
    before = MessageQueue(key, IPC_CREX, 0o666)
    sysv_ipc.remove_message_queue(before.id)
    Path("/proc/sys/kernel/msg_next_id").write_text(str(before.id))
    other = MessageQueue(None, IPC_CREX, 0o600)
    assert other.id == before.id
    _, (note,) = as_other_user(lambda: outcome(lambda: before.send("x")))
    assert note.startswith(
        f"The id belongs to another object now, with key {(other.key or 0) & 0xFFFFFFFF:#010x}.  It"
    )
    other.remove()


def test_huge_pages_need_a_capability_or_a_group(key: int) -> None:
    """The manual page: CAP_IPC_LOCK, or a member of vm.hugetlb_shm_group."""

    def create() -> None:
        SharedMemory(key, IPC_CREX | sysv_ipc.SHM_HUGETLB, size=1 << 21).remove()

    number, (note,) = as_other_user(lambda: outcome(create))
    assert number == errno.EPERM
    assert "CAP_IPC_LOCK" in note
    assert "vm.hugetlb_shm_group (now " in note


def test_the_note_for_the_owner_names_the_limit_that_prevents_locking(
    make: Callable[..., Any],
) -> None:
    """The manual page: also EPERM if RLIMIT_MEMLOCK is 0 and CAP_IPC_LOCK is missing."""
    handle = make("shm", 0o666)

    def lock() -> tuple[int | None, list[str]]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        return outcome(handle.lock)

    _, (others,) = as_other_user(lambda: outcome(handle.lock))
    assert "Only its owner, its creator and processes with CAP_IPC_LOCK may lock it." in others
    handle.uid = OTHER_UID
    number, (note,) = as_other_user(lock)
    assert number == errno.EPERM
    assert "RLIMIT_MEMLOCK above 0" in note
    assert "Only its owner" not in note
