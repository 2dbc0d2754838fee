"""Permissions: who may open, use, look at, change and remove an object.

The rows are those of the manual pages: semget(2), semop(2) and semctl(2) with their sisters for
segments and queues.  Objects are root's; the calls are made by a child that has become nobody.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import OTHER_UID, as_other_user, in_child, listed

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    MessageQueue,
    PermissionsError,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: only root can become another user"
)

KINDS: dict[str, Any] = {"sem": Semaphore, "shm": SharedMemory, "msg": MessageQueue}
REMOVE = {
    "sem": sysv_ipc.remove_semaphore,
    "shm": sysv_ipc.remove_shared_memory,
    "msg": sysv_ipc.remove_message_queue,
}

#: What a mode lets others do, whoever they are.
RIGHTS = {"": 0o600, "r": 0o604, "w": 0o602, "rw": 0o606}

Call = Callable[[Any], object]

#: Modes that are odd are what this is about.
pytestmark = pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")


@pytest.fixture(params=KINDS)
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(key: int) -> Iterator[Callable[..., Any]]:
    """Make root's object of a kind: make("sem", mode); it is removed at the end."""
    made: list[tuple[str, Any]] = []

    def create(table: str, mode: int = 0o600) -> Any:
        handle = KINDS[table](key, IPC_CREX, mode)
        made.append((table, handle))
        if table == "sem":
            handle.value = 1
        elif table == "msg":
            handle.send(b"text")
        return handle

    yield create
    for table, handle in made:
        if not handle.removed:
            handle.remove()
        if table == "shm" and handle.attached:
            handle.detach()


def outcome(call: Callable[[], object]) -> tuple[int | None, list[str]]:
    """Return the errno and the notes of the refusal; no errno where the call succeeds."""
    try:
        call()
    except PermissionsError as error:
        if not str(error).startswith(f"[Errno {error.errno}] {error.strerror}: "):
            raise
        return error.errno, getattr(error, "__notes__", [])
    return None, []


def state(table: str, handle: Any) -> dict[str, str]:
    """What the system lists of it, less what a child that has it attached changes."""
    return {
        column: word
        for column, word in listed(table, handle.id).items()
        if column not in ("atime", "dtime", "lpid")
    }


# ------------------------------------------------------------------------------- using it


def wait_for_zero(semaphore: Any) -> None:
    with contextlib.suppress(sysv_ipc.BusyError):
        semaphore.Z(0)


def attach_and_forget(id: int, flags: int = 0) -> None:
    sysv_ipc.attach(id, None, flags).detach()


#: kind, what it takes, and the call that takes it.
USES: list[tuple[str, str, str, Call]] = [
    ("sem", "w", "acquire", lambda s: s.acquire(0)),
    ("sem", "w", "try_acquire", lambda s: s.try_acquire()),
    ("sem", "w", "release", lambda s: s.release()),
    ("sem", "w", "with", lambda s: s.__enter__()),
    ("sem", "r", "Z", wait_for_zero),
    ("sem", "w", "SETVAL", lambda s: setattr(s, "value", 3)),
    ("sem", "r", "GETVAL", lambda s: s.value),
    ("sem", "r", "GETPID", lambda s: s.last_pid),
    ("sem", "r", "GETNCNT", lambda s: s.waiting_for_nonzero),
    ("sem", "r", "GETZCNT", lambda s: s.waiting_for_zero),
    ("sem", "r", "IPC_STAT", lambda s: s.o_time),
    ("sem", "r", "GETALL", lambda s: SemaphoreSet.from_id(s.id).values),
    ("sem", "w", "SETALL", lambda s: setattr(SemaphoreSet.from_id(s.id), "values", [2])),
    ("sem", "w", "set op", lambda s: SemaphoreSet.from_id(s.id).op([(0, 1)])),
    # Linux asks for one right for all operations: to alter, where one of them does.
    ("sem", "w", "set op with 0", lambda s: SemaphoreSet.from_id(s.id).op([(0, -1), (0, 0)])),
    ("shm", "rw", "shmat", lambda s: attach_and_forget(s.id)),
    ("shm", "r", "shmat read-only", lambda s: attach_and_forget(s.id, sysv_ipc.SHM_RDONLY)),
    ("shm", "rw", "attach again", lambda s: s.attach()),
    ("shm", "r", "IPC_STAT", lambda s: s.number_attached),
    ("msg", "w", "send", lambda q: q.send(b"x", block=False)),
    ("msg", "w", "try_send", lambda q: q.try_send(b"x")),
    ("msg", "r", "receive", lambda q: q.receive(block=False)),
    ("msg", "r", "try_receive", lambda q: q.try_receive()),
    ("msg", "r", "peek", lambda q: q.peek()),
    ("msg", "r", "IPC_STAT", lambda q: q.current_messages),
]

for _table in KINDS:
    for _name in ("uid", "gid", "cuid", "cgid", "mode", "last_change_time"):
        USES.append((_table, "r", _name, operator.attrgetter(_name)))
    USES.append((_table, "r", "info", lambda handle: handle.info()))
    USES.append((_table, "", "id and key", lambda handle: (handle.id, handle.key)))
    USES.append((_table, "", "repr", repr))
    USES.append((_table, "", "removed", lambda handle: handle.removed))


@pytest.mark.parametrize("rights", RIGHTS)
@pytest.mark.parametrize(
    ("table", "needed", "call"),
    [pytest.param(*use[:2], use[3], id=f"{use[0]}-{use[2]}") for use in USES],
)
def test_a_use_takes_the_right_that_the_manual_page_names(
    make: Callable[..., Any], table: str, needed: str, call: Call, rights: str
) -> None:
    handle = make(table, RIGHTS[rights])
    error, notes = as_other_user(lambda: outcome(lambda: call(handle)))
    if set(needed) <= set(rights):
        assert error is None
    else:
        assert error == errno.EACCES
        assert f"uid 0, gid 0 with mode {RIGHTS[rights]:#o} " in notes[0]
        assert f"this process has uid {OTHER_UID}, gid {OTHER_UID}" in notes[0]


def test_a_refused_use_changes_nothing(make: Callable[..., Any], table: str) -> None:
    handle = make(table)
    before = state(table, handle)
    for kind, needed, _, call in USES:
        if kind == table and needed and call is not wait_for_zero:
            assert as_other_user(lambda call=call: outcome(lambda: call(handle)))[0] is not None  # type: ignore[misc]
    assert state(table, handle) == before


@pytest.mark.parametrize(("mode", "error"), [(0o606, errno.EACCES), (0o607, None)])
def test_an_executable_attachment_takes_the_right_to_execute(
    make: Callable[..., Any], mode: int, error: int | None
) -> None:
    id = make("shm", mode).id
    assert as_other_user(lambda: outcome(lambda: attach_and_forget(id, sysv_ipc.SHM_EXEC)))[0] == (
        error
    )


# ------------------------------------------------------------------------------ opening it


def opened(table: str, key: int, **arguments: Any) -> tuple[int | None, list[str]]:
    """Open it by key as another user, detached again where it is a segment."""

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
def test_opening_takes_the_access_that_the_mode_asks_for(
    make: Callable[..., Any], mode: int, asked: str, rights: str, flags: int
) -> None:
    """The kernel takes the bits of the three classes together."""
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
def test_opening_a_segment_takes_the_right_to_attach_it(
    make: Callable[..., Any], mode: int, asked: str, rights: str
) -> None:
    key = make("shm", RIGHTS[rights]).key
    error, _ = opened("shm", key, mode=mode)
    assert error == (None if set(asked) <= set(rights) else errno.EACCES)


@pytest.mark.parametrize("rights", RIGHTS)
def test_without_a_mode_the_best_access_is_had(
    make: Callable[..., Any], table: str, rights: str
) -> None:
    key = make(table, RIGHTS[rights]).key
    error, notes = opened(table, key)
    # There is no attachment that can only be written to.
    usable = {"sem": {"r", "w", "rw"}, "msg": {"r", "w", "rw"}, "shm": {"r", "rw"}}[table]
    assert error == (None if rights in usable else errno.EACCES)
    assert bool(notes) == (error is not None)


@pytest.mark.parametrize(("rights", "readonly"), [("r", True), ("rw", False)])
def test_a_segment_is_attached_for_what_may_be_done(
    make: Callable[..., Any], rights: str, readonly: bool
) -> None:
    key = make("shm", RIGHTS[rights]).key
    assert as_other_user(lambda: SharedMemory(key).readonly) is readonly
    assert as_other_user(lambda: memoryview(SharedMemory(key)).readonly) is readonly


def test_where_reading_is_allowed_the_note_tells_how(make: Callable[..., Any], table: str) -> None:
    key = make(table, 0o604).key
    assert "mode=0o400" in opened(table, key, mode=0o600)[1][0]


def test_where_nothing_is_allowed_the_note_does_not_send_the_reader_there(
    make: Callable[..., Any], table: str
) -> None:
    key = make(table, 0o660).key
    note = opened(table, key)[1][0]
    assert "mode 0o660" in note
    assert "mode=0o400" not in note


def test_an_object_that_may_not_be_opened_exists(make: Callable[..., Any], table: str) -> None:
    key = make(table, 0).key
    assert as_other_user(lambda: sysv_ipc.exists(key, KINDS[table])) is True


def test_creating_what_exists_says_so_before_any_right_is_asked_for(
    make: Callable[..., Any], table: str
) -> None:
    key = make(table, 0).key
    with pytest.raises(sysv_ipc.ExistentialError) as caught:
        as_other_user(lambda: KINDS[table](key, IPC_CREX))
    assert caught.value.errno == errno.EEXIST


# ------------------------------------------------------- changing, removing, giving it away

OWNERS_CALLS: dict[str, Call] = {
    "uid": lambda handle: setattr(handle, "uid", OTHER_UID),
    "gid": lambda handle: setattr(handle, "gid", OTHER_UID),
    "mode": lambda handle: setattr(handle, "mode", 0o666),
    "remove": lambda handle: handle.remove(),
    "remove by id": lambda handle: REMOVE[_table_of(handle)](handle.id),
}


def _table_of(handle: Any) -> str:
    return next(table for table, cls in KINDS.items() if isinstance(handle, cls))


@pytest.mark.parametrize("mode", [0o600, 0o666])
@pytest.mark.parametrize("name", OWNERS_CALLS)
def test_only_owner_and_creator_change_and_remove(
    make: Callable[..., Any], table: str, name: str, mode: int
) -> None:
    handle = make(table, mode)
    before = state(table, handle)
    error, notes = as_other_user(lambda: outcome(lambda: OWNERS_CALLS[name](handle)))
    assert error == errno.EPERM
    assert f"uid 0, gid 0 with mode {mode:#o} " in notes[0]
    assert "Only its owner, its creator and root may " in notes[0]
    assert state(table, handle) == before


@pytest.mark.parametrize("method", ["lock", "unlock"])
def test_only_owner_and_creator_lock_a_segment(make: Callable[..., Any], method: str) -> None:
    handle = make("shm", 0o666)
    error, notes = as_other_user(lambda: outcome(getattr(handle, method)))
    assert error == errno.EPERM
    assert f"uid 0, gid 0 with mode {0o666:#o} " in notes[0]


def test_only_owner_and_creator_resize_a_queue(make: Callable[..., Any]) -> None:
    handle = make("msg", 0o666)
    size = handle.max_size
    assert as_other_user(lambda: outcome(lambda: setattr(handle, "max_size", 1)))[0] == errno.EPERM
    assert handle.max_size == size


@pytest.mark.parametrize("name", OWNERS_CALLS)
@pytest.mark.parametrize("mode", [0, 0o600])
def test_an_owner_changes_and_removes_what_was_given_to_it(
    make: Callable[..., Any], table: str, name: str, mode: int
) -> None:
    """Owning is enough: the owner needs no right to read it."""
    handle = make(table)
    handle.uid = OTHER_UID
    handle.mode = mode
    assert as_other_user(lambda: outcome(lambda: OWNERS_CALLS[name](handle))) == (None, [])


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


def test_who_gets_it_owns_it_and_others_do_not(make: Callable[..., Any], table: str) -> None:
    handle = make(table)
    handle.uid = 1
    change = lambda: outcome(lambda: setattr(handle, "mode", 0o660))[0]  # noqa: E731
    assert in_child(change, uid=2) == errno.EPERM
    assert in_child(change, uid=1) is None


def test_the_note_tells_the_owner_and_the_creator_apart(
    make: Callable[..., Any], table: str
) -> None:
    handle = make(table, 0o640)
    handle.uid, handle.gid = 11, 12
    _, notes = as_other_user(lambda: outcome(lambda: handle.mode))
    assert "uid 11, gid 12 with mode 0o640 (created by uid 0, gid 0)" in notes[0]


# -------------------------------------------------------------- owner, group or the others


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "allowed"),
    [
        # The first class that fits decides, also where a later one would allow more.
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


def test_root_needs_no_right(make: Callable[..., Any], table: str) -> None:
    key = make(table, 0).key
    handle = KINDS[table](key)
    for kind, _, name, call in USES:
        if kind == table and name not in ("set op with 0",):
            assert outcome(lambda call=call: call(handle)) == (None, []), name  # type: ignore[misc]
    if table == "shm":
        handle.detach()


def test_a_removed_segment_is_told_also_to_who_may_not_read_it(make: Callable[..., Any]) -> None:
    """The creator's attachment keeps it alive."""
    handle = make("shm", 0o600)
    handle.remove()
    assert as_other_user(lambda: handle.removed) is True


def test_a_removed_object_is_gone_before_it_is_forbidden(
    make: Callable[..., Any], table: str
) -> None:
    handle = make(table, 0o600)
    if table == "shm":
        handle.detach()
    handle.remove()
    with pytest.raises(sysv_ipc.ExistentialError):
        as_other_user(lambda: handle.mode)


def test_the_note_says_so_if_the_id_belongs_to_another_object_by_now(key: int) -> None:
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


def test_huge_pages_are_not_for_everybody(key: int) -> None:
    """The manual page: CAP_IPC_LOCK, or a member of vm.hugetlb_shm_group."""

    def create() -> None:
        SharedMemory(key, IPC_CREX | sysv_ipc.SHM_HUGETLB, size=1 << 21).remove()

    number, (note,) = as_other_user(lambda: outcome(create))
    assert number == errno.EPERM
    assert "CAP_IPC_LOCK" in note
    assert "vm.hugetlb_shm_group (now " in note


def test_the_owner_is_told_what_keeps_it_from_locking(make: Callable[..., Any]) -> None:
    """The manual page: EPERM also where RLIMIT_MEMLOCK is 0 and CAP_IPC_LOCK lacks."""
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
