"""The lists of objects and limits(), compared with the system's own tools."""

from __future__ import annotations

import ctypes
import json
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import namespace
import pytest
from helpers import (
    OTHER_UID,
    Handle,
    as_other_user,
    in_child,
    listed,
    lists,
    run_in_thread,
    system_calls,
    wait_until,
)

import sysv_ipc
import sysv_ipc.listing
from sysv_ipc import (
    IPC_CREX,
    IPC_PRIVATE,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

KINDS = ["sem", "shm", "msg"]


#: Fields of records and their columns in /proc/sysvipc.
COLUMNS = {
    "sem": {"id": "semid", "nsems": "nsems", "last_operation_time": "otime"},
    "shm": {
        "id": "shmid",
        "size": "size",
        "creator_pid": "cpid",
        "last_pid": "lpid",
        "number_attached": "nattch",
        "last_attach_time": "atime",
        "last_detach_time": "dtime",
        "resident": "rss",
        "swapped": "swap",
    },
    "msg": {
        "id": "msqid",
        "current_bytes": "cbytes",
        "current_messages": "qnum",
        "last_send_pid": "lspid",
        "last_receive_pid": "lrpid",
        "last_send_time": "stime",
        "last_receive_time": "rtime",
    },
}
COMMON = {
    "key": "key",
    "uid": "uid",
    "gid": "gid",
    "cuid": "cuid",
    "cgid": "cgid",
    "last_change_time": "ctime",
}


@pytest.fixture
def five_hundred() -> Iterator[None]:
    """500 objects of mixed kinds, sizes, owners and modes."""
    source = random.Random(3)
    made: list[Handle] = []
    for number in range(500):
        key = source.choice([IPC_PRIVATE, 100_000 + number])
        mode = source.choice([0o600, 0o644, 0o666, 0o400, 0o000, 0o777])
        kind = number % 3
        handle: Handle
        if kind == 0:
            values = [source.randrange(100) for _ in range(source.randint(1, 9))]
            handle = SemaphoreSet(key, 0, IPC_CREX, 0o600, values)
            if number % 2:
                handle.op([(0, 1)])
        elif kind == 1:
            handle = SharedMemory(key, IPC_CREX, 0o600, source.randint(1, 50_000))
            handle.detach()
        else:
            handle = MessageQueue(key, IPC_CREX, 0o600)
            handle.send_many([b"x" * source.randrange(100) for _ in range(source.randrange(5))])
        handle.mode = mode
        if number % 4 == 0:
            handle.uid = OTHER_UID
        if number % 5 == 0:
            handle.gid = OTHER_UID
        made.append(handle)
    yield
    for handle in made:
        handle.remove()


def proc(table: str) -> dict[int, dict[str, str]]:
    lines = Path(f"/proc/sysvipc/{table}").read_text().splitlines()
    records = [dict(zip(lines[0].split(), line.split(), strict=True)) for line in lines[1:]]
    return {int(record[COLUMNS[table]["id"]]): record for record in records}


def check_against_proc() -> int:
    """Compare every field that /proc shows; return how many objects there are."""
    count = 0
    for table, records in lists().items():
        wanted = proc(table)
        assert [record.id for record in records] == sorted(wanted, key=lambda n: n % 32768)
        for record in records:
            row = wanted[record.id]
            for field, column in {**COMMON, **COLUMNS[table]}.items():
                assert getattr(record, field) == int(row[column]), (table, field)
            assert record.mode == int(row["perms"], 8) & 0o777
        count += len(records)
    return count


def test_the_lists_agree_with_proc(five_hundred: None) -> None:
    assert check_against_proc() == 500


def test_an_unprivileged_user_sees_the_same(five_hundred: None) -> None:
    assert as_other_user(check_against_proc) == 500


def test_the_lists_agree_with_lsipc(five_hundred: None) -> None:
    ours = lists()
    columns = {
        "sem": ("-s", {"nsems": "nsems"}),
        "shm": ("-m", {"size": "size", "nattch": "number_attached", "cpid": "creator_pid"}),
        "msg": ("-q", {"msgs": "current_messages", "usedbytes": "current_bytes"}),
    }
    for table, (flag, names) in columns.items():
        command = ["lsipc", flag, "--json", "--bytes"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (rows,) = json.loads(done.stdout).values()
        wanted = [
            (row["key"], row["id"], row["perms"], *(int(row[name]) for name in names))
            for row in rows
        ]
        assert wanted == [
            (
                f"0x{record.key & 0xFFFFFFFF:08x}",
                str(record.id),
                stat.filemode(record.mode)[1:],
                *(getattr(record, name) for name in names.values()),
            )
            for record in ours[table]
        ]


def test_the_lists_agree_with_ipcs(five_hundred: None) -> None:
    ours = lists()
    for flag, table in (("-s", "sem"), ("-m", "shm"), ("-q", "msg")):
        done = subprocess.run(["ipcs", flag], capture_output=True, text=True, check=True)
        rows = [line.split() for line in done.stdout.splitlines() if line.startswith("0x")]
        wanted = [(int(row[0], 16), int(row[1]), int(row[3], 8)) for row in rows]
        assert wanted == [
            (record.key & 0xFFFFFFFF, record.id, record.mode) for record in ours[table]
        ]


def test_limits_and_their_use_agree_with_ipcs_and_sysctl(five_hundred: None) -> None:
    now = sysv_ipc.limits()
    kernel = Path("/proc/sys/kernel")
    sem = [int(word) for word in (kernel / "sem").read_text().split()]
    assert [now.semmsl, now.semmns, now.semopm, now.semmni] == sem
    for name in ("shmmax", "shmall", "shmmni", "msgmax", "msgmnb", "msgmni"):
        assert getattr(now, name) == int((kernel / name).read_text()), name
    ours = lists()
    assert (now.semaphore_sets, now.segments, now.queues) == tuple(
        len(ours[table]) for table in KINDS
    )
    assert now.semaphores == sum(record.nsems for record in ours["sem"])
    assert now.messages == sum(record.current_messages for record in ours["msg"])
    assert now.message_bytes == sum(record.current_bytes for record in ours["msg"])
    pages = sum(-(-record.size // sysv_ipc.PAGE_SIZE) for record in ours["shm"])
    assert (now.pages, now.resident_pages * sysv_ipc.PAGE_SIZE) == (
        pages,
        sum(record.resident for record in ours["shm"]),
    )
    done = subprocess.run(["ipcs", "-u"], capture_output=True, text=True, check=True)
    words = done.stdout.replace("\n", " ")
    for text in (
        f"allocated queues = {now.queues}",
        f"used headers = {now.messages}",
        f"segments allocated {now.segments}",
        f"pages allocated {now.pages}",
        f"used arrays = {now.semaphore_sets}",
        f"allocated semaphores = {now.semaphores}",
    ):
        assert text in words


# ------------------------------------------------------------------------------- records


def test_info_is_the_lists_record_and_one_system_call(
    semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    assert semaphore.info() == next(r for r in sysv_ipc.semaphores() if r.id == semaphore.id)
    assert queue.info() == next(r for r in sysv_ipc.message_queues() if r.id == queue.id)
    ours = segment.info()
    record = next(r for r in sysv_ipc.shared_memories() if r.id == segment.id)
    assert ours[:-2] == record[:-2]
    assert (ours.resident, ours.swapped, ours.pids, record.resident) == (None, None, None, 4096)
    code = (
        "import os, sysv_ipc, sys\n"
        "x = getattr(sysv_ipc, sys.argv[1]).from_id(int(sys.argv[2]))\n"
        # The first one may need memory, which a sanitizer asks the kernel for.
        "x.info()\n"
        "os.write(2, b'begin'); x.info(); os.write(2, b'end')"
    )
    for handle in (semaphore, segment, queue):
        (call,) = system_calls(code, type(handle).__name__, handle.id)
        assert "IPC_STAT" in call


def test_records_are_struct_sequences_with_the_attributes_words(
    semaphore: Semaphore, segment: SharedMemory, queue: MessageQueue
) -> None:
    common = ("key", "id", "uid", "gid", "cuid", "cgid", "mode", "last_change_time")
    for handle in (semaphore, segment, queue):
        info = handle.info()
        assert isinstance(info, tuple)
        assert info.__match_args__[: len(common)] == common
        assert tuple(getattr(info, name) for name in info.__match_args__) == tuple(info)
        for name in set(info.__match_args__) - {"resident", "swapped"}:
            assert getattr(info, name) == getattr(handle, name), name


def test_members_tell_values_pids_and_waiters(key: int) -> None:
    semaphores = SemaphoreSet(key, 0, IPC_CREX, initial_values=[0, 5, 0])
    joins = [run_in_thread(semaphores[0].acquire) for _ in range(2)]
    joins.append(run_in_thread(semaphores[1].Z))
    wait_until(lambda: semaphores[0].waiting_for_nonzero == 2)
    wait_until(lambda: semaphores[1].waiting_for_zero == 1)
    record = next(r for r in sysv_ipc.semaphores(members=True) if r.id == semaphores.id)
    assert record.members is not None
    pid = os.getpid()
    assert [tuple(member) for member in record.members] == [
        (0, pid, 2, 0),
        (5, pid, 0, 1),
        (0, pid, 0, 0),
    ]
    assert all(r.members is None for r in sysv_ipc.semaphores())
    semaphores.op([(0, 2), (1, -5)])
    for join in joins:
        assert join() is True
    semaphores.remove()


def test_the_members_of_an_unreadable_set_are_none(semaphore: Semaphore) -> None:
    def members() -> list[object]:
        return [record.members for record in sysv_ipc.semaphores(members=True)]

    assert as_other_user(members) == [None]


def test_a_set_that_goes_while_the_members_are_asked_for_is_not_listed(
    semaphore: Semaphore,
) -> None:
    gone = SemaphoreSet(None, 2, IPC_CREX)
    before = sysv_ipc.semaphores()
    gone.remove()
    (record,) = sysv_ipc.listing.with_members(sysv_ipc, before, True)
    assert record.id == semaphore.id
    assert record.members is not None


def test_a_segment_that_goes_while_the_memory_is_asked_for_is_not_listed(
    segment: SharedMemory,
) -> None:
    gone = SharedMemory(None, IPC_CREX)
    before = sysv_ipc.shared_memories()
    gone.detach()
    gone.remove()
    for pids in (False, True):
        records = sysv_ipc.listing.with_memory(sysv_ipc, before, pids)
        assert [one.id for one in records] == [segment.id]


@pytest.fixture
def holder(segment: SharedMemory) -> Iterator[Callable[[], int]]:
    """Start processes that have the segment attached until the test ends."""
    processes = []
    code = (
        "import sys, sysv_ipc; x = sysv_ipc.attach(int(sys.argv[1]))\n"
        "print(flush=True); sys.stdin.read()"
    )

    def start() -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(segment.id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield start
    for process in processes:
        process.communicate()


def test_the_processes_that_have_a_segment_attached_are_listed(
    segment: SharedMemory, holder: Callable[[], int]
) -> None:
    pids = sorted([os.getpid(), holder(), holder()])
    record = next(r for r in sysv_ipc.shared_memories(pids=True) if r.id == segment.id)
    assert record.pids == tuple(pids)
    assert len(record.pids) == record.number_attached
    assert next(r.pids for r in sysv_ipc.shared_memories()) is None


def attached(segment: SharedMemory) -> tuple[int, tuple[int, ...] | None, bool | None]:
    """Return the number of attachments of a segment, their pids, and if the pids are complete."""
    record = next(r for r in sysv_ipc.shared_memories(pids=True) if r.id == segment.id)
    return record.number_attached, record.pids, record.pids_complete


def test_processes_that_cannot_be_inspected_make_the_list_incomplete(segment: SharedMemory) -> None:
    def look() -> tuple[object, ...]:
        segment.detach()
        return attached(segment)

    # The test's own process belongs to another user then.
    assert as_other_user(look) == (1, (), False)


def test_the_list_is_complete_if_all_attachments_are_seen(
    segment: SharedMemory,
) -> None:
    def look() -> tuple[object, ...]:
        segment.detach()
        with SharedMemory(None, IPC_CREX) as own:
            found = attached(own), attached(segment)
            own.remove()
        return os.getpid(), *found

    pid, own, other = as_other_user(look)
    assert own == (1, (pid,), True)
    assert other == (1, (), False)
    segment.detach()
    assert as_other_user(lambda: attached(segment)) == (0, (), True)


def test_each_mapping_counts_including_split_and_forked_ones() -> None:
    segment = SharedMemory(None, IPC_CREX, size=3 * sysv_ipc.PAGE_SIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    middle = ctypes.c_void_p((segment.address or 0) + sysv_ipc.PAGE_SIZE)
    assert libc.mprotect(middle, ctypes.c_size_t(sysv_ipc.PAGE_SIZE), 1) == 0
    assert attached(segment) == (3, (os.getpid(),), True)
    seen, child = in_child(lambda: (attached(segment), os.getpid()))
    assert seen == (6, tuple(sorted((os.getpid(), child))), True)
    segment.remove()
    segment.detach()


def test_a_process_that_lives_in_its_parents_memory_is_not_counted_twice(
    segment: SharedMemory, peer: Callable[[str], Path]
) -> None:
    with subprocess.Popen(
        [peer("vfork"), str(segment.id)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        number, pids, complete = attached(segment)
        parent.communicate()
    assert (number, complete) == (2, True)
    assert pids is not None
    assert {os.getpid(), parent.pid} < {*pids}


def test_attachments_in_another_pid_namespace_are_not_reported_as_none(
    segment: SharedMemory,
) -> None:
    unused = SharedMemory(None, IPC_CREX)
    unused.detach()
    code = (
        "import sysv_ipc\n"
        "print(sorted([(r.number_attached, r.pids, r.pids_complete)"
        " for r in sysv_ipc.shared_memories(pids=True)]))"
    )
    # With the /proc of its own PID namespace, and with that of another, whose pids mean nothing.
    for options in (["--mount-proc"], []):
        command = ["unshare", "-p", "--fork", *options, sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "[(0, (), True), (1, (), False)]\n"
    unused.remove()


def test_the_list_is_incomplete_without_proc(segment: SharedMemory, tmp_path: Path) -> None:
    def look() -> tuple[object, ...]:
        os.chroot(tmp_path)
        before = attached(segment)
        segment.detach()
        return before, attached(segment)

    def look_again() -> tuple[object, ...]:
        os.chroot(tmp_path)
        return attached(segment)

    assert in_child(look) == ((2, (), False), (1, (), False))
    segment.detach()
    assert in_child(look_again) == (0, (), True)


FAKE = """
import mmap, os, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
file = os.open(sys.argv[1] + "/SYSV" + sys.argv[2], os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 4096)
# A file system that is not mounted has no folder before its name.
subprocess.run(["umount", "-l", sys.argv[1]], check=True)
memory = mmap.mmap(file, 4096)
print(os.fstat(file).st_ino, flush=True)
sys.stdin.read()
"""


def test_a_file_that_looks_like_a_segment_does_not_count(tmp_path: Path, key: int) -> None:
    with subprocess.Popen(
        ["unshare", "-m", sys.executable, "-c", FAKE, str(tmp_path), f"{key:08x}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as faker:
        assert faker.stdout is not None
        inode = int(faker.stdout.readline())
        assert f" {inode} " in next(
            line
            for line in Path(f"/proc/{faker.pid}/maps").read_text().splitlines()
            if line.endswith(f"/SYSV{key:08x}")
        )
        Path("/proc/sys/kernel/shm_next_id").write_text(str(inode))
        segment = SharedMemory(key, IPC_CREX)
        assert segment.id == inode
        assert attached(segment) == (1, (os.getpid(),), True)
        segment.detach()
        assert attached(segment) == (0, (), True)
        segment.remove()
        faker.communicate()


def test_a_segment_of_the_namespace_before_does_not_count(key: int) -> None:
    """A process that has changed its namespace still maps it, and ids may be equal there."""

    def look() -> tuple[object, ...]:
        kept = SharedMemory(key, IPC_CREX)
        kept.remove()
        namespace.enter()
        Path("/proc/sys/kernel/shm_next_id").write_text(str(kept.id))
        segment = SharedMemory(key + 1 if key < 2**31 - 1 else 1, IPC_CREX)
        segment.detach()
        assert segment.id == kept.id
        return attached(segment)

    assert in_child(look) == (0, (), True)


def test_pids_are_not_guessed_if_the_device_of_segments_is_unknown(
    segment: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert attached(segment) == (1, (os.getpid(),), True)
    monkeypatch.setitem(sys.modules, "mmap", None)
    assert attached(segment) == (1, (), False)
    segment.detach()
    assert attached(segment) == (0, (), True)


def test_segments_created_and_removed_meanwhile_disturb_nothing() -> None:
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            passing = SharedMemory(None, IPC_CREX)
            passing.remove()
            passing.detach()

    join = run_in_thread(come_and_go)
    kept = SharedMemory(None, IPC_CREX)
    for _ in range(100):
        assert attached(kept) == (1, (os.getpid(),), True)
    done.set()
    join()
    kept.detach()
    kept.remove()


def test_members_of_a_set_that_took_the_id_are_not_mixed_in(
    key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is removed after it was listed and before its members are read."""
    made = SemaphoreSet(key, 3, IPC_CREX)
    from_id = SemaphoreSet.from_id

    class Replacing(SemaphoreSet):
        @classmethod
        def from_id(cls, id: int) -> SemaphoreSet:  # type: ignore[override]
            sysv_ipc.remove_semaphore(id)
            Path("/proc/sys/kernel/sem_next_id").write_text(str(id))
            assert SemaphoreSet(None, 2, IPC_CREX).id == id
            return from_id(id)

    monkeypatch.setattr(sysv_ipc._core, "SemaphoreSet", Replacing)
    (record,) = sysv_ipc.semaphores(members=True)
    assert (record.nsems, record.members) == (3, None)
    sysv_ipc.remove_semaphore(made.id)


def test_segments_of_other_namespaces_are_not_mixed_in(segment: SharedMemory) -> None:
    code = (
        "import sysv_ipc; x = sysv_ipc.SharedMemory(5, sysv_ipc.IPC_CREX)\n"
        "print(x.id, flush=True); input()"
    )
    other = subprocess.Popen(
        ["unshare", "-i", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert int(other.stdout.readline()) >= 0
    for record in sysv_ipc.shared_memories(pids=True):
        assert record.pids == (os.getpid(),)
    other.communicate("\n")


def test_a_segment_marked_for_removal_is_listed_as_such(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX)
    segment.remove()
    record = next(r for r in sysv_ipc.shared_memories() if r.id == segment.id)
    assert (record.marked_for_removal, record.key) == (True, 0)
    assert int(listed("shm", segment.id)["perms"], 8) & 0o1000
    segment.detach()
    assert all(r.id != segment.id for r in sysv_ipc.shared_memories())
