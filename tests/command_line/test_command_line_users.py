"""The processes that use an object, and the removal of unused objects, on the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import OTHER_UID, in_child, wait_until
from sleeping import blocked_process

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory
from sysv_ipc.cli import users

MODULE = [sys.executable, "-m", "sysv_ipc"]
#: A PID namespace of its own, with its /proc, in the IPC namespace of the caller.
CONTAINER = ["unshare", "-p", "--fork", "--mount-proc"]
FOREIGN = "a process of another PID namespace"


def run(*words: object, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*(before or []), *MODULE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def facts(kind: str, id: int, before: list[str] | None = None) -> dict[str, str]:
    """Return the rows of show, by name, and the last pid of each member of a set."""
    text = run("show", kind, f"id:{id}", before=before).stdout
    head, _, table = text.partition("\n\n")
    told = {line.partition(":")[0]: line.partition(":")[2].strip() for line in head.splitlines()}
    if kind == "sem":
        for line in table.splitlines()[1:]:
            words = re.split(" {2,}", line.strip())
            told[f"member {words[0]}"] = words[-1]
    return told


def listed(kind: str, id: int, before: list[str] | None = None) -> tuple[str, list[str]]:
    """Return the pids and the state that ls shows."""
    lines = run("ls", kind, "--id", id, before=before).stdout.splitlines()
    header, row = (re.split(" {2,}", line.strip()) for line in lines)
    cells = dict(zip(header, row, strict=True))
    return cells["PIDS"], cells["STATE"].split(", ")


def as_nobody(function: Callable[[], int]) -> int:
    """Call the function in a process of another user, which ends; return the id of its object."""
    return in_child(function, uid=OTHER_UID, gid=OTHER_UID)


# ------------------------------------------------------------------- another PID namespace


def test_a_process_of_another_pid_namespace_counts_as_a_process(
    segment: SharedMemory, queue: MessageQueue, semaphore: Semaphore
) -> None:
    queue.send("x")
    told = facts("msg", queue.id, CONTAINER)
    assert told["last send"].endswith(f" by {FOREIGN}")
    assert told["last receive"] == "never"
    queue.receive()
    assert facts("msg", queue.id, CONTAINER)["last receive"].endswith(f" by {FOREIGN}")
    told = facts("shm", segment.id, CONTAINER)
    assert told["created by"] == told["last used by"] == FOREIGN
    assert told["attached"] == "1 (not all of their processes can be seen)"
    assert facts("sem", semaphore.id, CONTAINER)["member 0"] == FOREIGN
    semaphore.acquire()
    assert facts("sem", semaphore.id, CONTAINER)["member 0"] == FOREIGN
    for kind, handle in (("shm", segment), ("msg", queue), ("sem", semaphore)):
        assert listed(kind, handle.id, CONTAINER)[0] == "..."


def test_each_member_of_a_set_is_shown_with_its_last_process_if_known() -> None:
    made = SemaphoreSet(None, 3, IPC_CREX)
    # The kernel has no record of an operation that never happened.
    assert not run("show", "sem", f"id:{made.id}").stdout.count("another PID")
    made.release(1)
    told = facts("sem", made.id, CONTAINER)
    assert told["member 1"] == FOREIGN
    assert told["member 0"] in (FOREIGN, "none, or of another PID namespace")
    assert facts("sem", made.id)["member 1"].startswith(f"{os.getpid()} (")
    made.remove()


def test_objects_never_used_have_no_process(queue: MessageQueue) -> None:
    code = (
        "import ctypes; c = ctypes.CDLL(None);"
        "print(c.semget(0, 2, 0o1600), c.shmget(0, 4096, 0o1600))"
    )
    command = [sys.executable, "-c", code]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    semaphores, segment = map(int, made)
    for before in (None, CONTAINER):
        told = facts("sem", semaphores, before)
        assert told["member 0"] == told["member 1"] == "nobody"
        assert facts("shm", segment, before)["last used by"] == "nobody"
        assert facts("msg", queue.id, before)["last send"] == "never"
    sysv_ipc.remove_semaphore(semaphores)
    sysv_ipc.remove_shared_memory(segment)


#: The command line as a user who may not read the library's folder.
AS_USER = """
import os, sys
from sysv_ipc.cli import commands, main
commands.parser().parse_args(["ls"])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""
HIDDEN = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'


def test_a_process_that_proc_hides_has_not_ended(queue: MessageQueue) -> None:
    queue.send("x")
    queue.mode = 0o644
    command = ["unshare", "-m", "sh", "-c", HIDDEN, "sh", sys.executable, "-c", AS_USER]

    def show() -> str:
        words = [str(OTHER_UID), "show", "msg", f"id:{queue.id}"]
        return subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout

    assert f" by {os.getpid()} (running)" in show()
    queue.send("y")
    ended = in_child(lambda: [queue.receive(), os.getpid()][1])
    assert f" by {ended} (ended)" in show()


# --------------------------------------------------------------------------------- unused


def make_semaphore() -> int:
    made = Semaphore(sysv_ipc.IPC_PRIVATE, IPC_CREX, 0o666, initial_value=1)
    made.acquire()
    return made.id


def make_segment() -> int:
    return SharedMemory(sysv_ipc.IPC_PRIVATE, IPC_CREX, 0o666).id


def make_queue() -> int:
    made = MessageQueue(sysv_ipc.IPC_PRIVATE, IPC_CREX, 0o666)
    made.send("x")
    return made.id


def make_untouched_queue() -> int:
    return MessageQueue(sysv_ipc.IPC_PRIVATE, IPC_CREX, 0o666).id


MAKERS: dict[str, tuple[str, Callable[[], int]]] = {
    "semaphore": ("sem", make_semaphore),
    "segment": ("shm", make_segment),
    "queue": ("msg", make_queue),
    "untouched queue": ("msg", make_untouched_queue),
}
each = pytest.mark.parametrize(("kind", "make"), MAKERS.values(), ids=MAKERS)


def ids(kind: str) -> list[int]:
    lists: dict[str, Callable[[], list[Any]]] = {
        "sem": sysv_ipc.semaphores,
        "shm": sysv_ipc.shared_memories,
        "msg": sysv_ipc.message_queues,
    }
    return [one.id for one in lists[kind]()]


@each
def test_objects_that_a_user_has_left_are_marked_and_removed(
    kind: str, make: Callable[[], int]
) -> None:
    left = [as_nobody(make) for _ in range(3)]
    kept = make()
    for id in left:
        assert "unused" in listed(kind, id)[1]
    assert "unused" not in listed(kind, kept)[1]
    done = run("rm", kind, "--owner", "nobody", "--yes")
    assert (done.returncode, done.stderr, done.stdout.count("removed ")) == (0, "", 3)
    assert ids(kind) == [kept]
    done = run("rm", kind, "--owner", OTHER_UID)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("that matches is unused; nothing was removed\n")
    done = run("rm", kind, "--mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(rf"process {os.getpid()} \(|it is attached|owner has processes", done.stderr)
    assert ids(kind) == [kept]
    assert run("rm", kind, f"id:{kept}").returncode == 0


@pytest.mark.parametrize(("kind", "make"), [*MAKERS.values()][:3], ids=[*MAKERS][:3])
def test_objects_of_another_pid_namespace_are_not_known_to_be_unused(
    kind: str, make: Callable[[], int]
) -> None:
    kept = as_nobody(make)
    assert "unused" not in listed(kind, kept, CONTAINER)[1]
    done = run("rm", kind, "--owner", "nobody", "--yes", before=CONTAINER)
    assert (done.returncode, done.stdout) == (1, "")
    assert FOREIGN in done.stderr
    assert ids(kind) == [kept]
    assert run("rm", kind, "--owner", "nobody", "--yes").returncode == 0


def remains(kind: str, id: int, why: str) -> None:
    """Check that rm removes neither the object nor those of other users, and gives the reason."""
    assert "unused" not in listed(kind, id)[1]
    done = run("rm", kind, "--owner", "nobody", "--yes", "--json")
    (result,) = json.loads(done.stdout)
    assert (done.returncode, result["removed"], result["id"]) == (1, False, id)
    assert re.search(why, result["left"])
    assert ids(kind) == [id]


def test_a_semaphore_with_a_waiter_remains() -> None:
    semaphore = as_nobody(make_semaphore)
    code = "import sysv_ipc; sysv_ipc.Semaphore.from_id({}).acquire()"
    with subprocess.Popen([sys.executable, "-c", code.format(semaphore)]) as waiter:
        wait_until(lambda: blocked_process(waiter.pid, "semop"))
        remains("sem", semaphore, "1 waits for it")
        sysv_ipc.remove_semaphore(semaphore)
        waiter.communicate()


def test_a_queue_with_a_waiter_remains() -> None:
    queue = as_nobody(make_queue)
    code = "import sysv_ipc; sysv_ipc.MessageQueue.from_id({}).receive(type=9)"
    with subprocess.Popen(
        [sys.executable, "-c", code.format(queue)], stderr=subprocess.DEVNULL
    ) as waiter:
        wait_until(lambda: blocked_process(waiter.pid, "msgrcv"))
        remains("msg", queue, "a process waits for it")
        sysv_ipc.remove_message_queue(queue)
        waiter.communicate()


def state_of(pid: int) -> tuple[bool, str]:
    """Return whether a process of one thread sleeps, and how often it went to sleep."""
    status = Path(f"/proc/{pid}/status").read_text()
    (switches,) = re.findall(r"^voluntary_ctxt_switches:\t(\d+)", status, re.MULTILINE)
    return "State:\tS" in status, switches


def test_a_waiter_that_has_just_gone_to_sleep_is_seen(queue: MessageQueue) -> None:
    """Since Linux 6.12, such a thread may have no wchan for a moment.

    A command takes too long to meet that moment, so this calls the function that it calls.
    """
    code = "import sysv_ipc; q = sysv_ipc.MessageQueue.from_id({})\nwhile q.receive()[0]: pass"
    namespace = os.readlink("/proc/self/ns/ipc")
    seen = []
    with subprocess.Popen([sys.executable, "-c", code.format(queue.id)]) as waiter:
        thread = f"/proc/{waiter.pid}/task/{waiter.pid}"
        wait_until(lambda: blocked_process(waiter.pid, "msgrcv"))
        for _ in range(5000):
            queue.send("x")
            while queue.current_messages:
                pass
            before = state_of(waiter.pid)
            found = users._queue_waited_for(thread, namespace)
            if before[0] and state_of(waiter.pid) == before:
                seen.append(queue.id in found)
        queue.send("")
        waiter.wait()
    assert seen
    assert all(seen)


def test_an_attached_segment_remains() -> None:
    id = as_nobody(make_segment)
    segment = sysv_ipc.attach(id)
    remains("shm", id, "it is attached")
    segment.detach()
    remains("shm", id, f"process {os.getpid()} .* used it last")
    segment.remove()


@pytest.mark.parametrize("done", ["send", "receive"])
def test_a_queue_whose_last_process_lives_remains(done: str) -> None:
    queue = MessageQueue.from_id(as_nobody(make_queue))
    if done == "send":
        queue.send("x")
        remains("msg", queue.id, f"process {os.getpid()} .* sent to it last")
    else:
        queue.receive()
        remains("msg", queue.id, f"process {os.getpid()} .* received from it last")
    queue.remove()


def test_a_set_remains_when_one_member_was_changed_by_a_process_that_lives() -> None:
    def make() -> int:
        return SemaphoreSet(sysv_ipc.IPC_PRIVATE, 3, IPC_CREX, 0o666, [1, 1, 1]).id

    made = SemaphoreSet.from_id(as_nobody(make))
    assert "unused" in listed("sem", made.id)[1]
    made.release(1)
    remains("sem", made.id, f"process {os.getpid()} .* changed it last")
    made.remove()


def test_an_unused_set_remains_while_its_owner_has_processes() -> None:
    code = "import ctypes; print(ctypes.CDLL(None).semget(0, 1, 0o1600))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    id = int(made.stdout)
    assert "unused" not in listed("sem", id)[1]
    done = run("rm", "sem", "--mine", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it has not been used yet, and its owner has processes" in done.stderr
    sysv_ipc.remove_semaphore(id)


def test_objects_in_use_do_not_make_rm_fail_if_it_removed_the_others() -> None:
    left, kept = as_nobody(make_semaphore), as_nobody(make_semaphore)
    Semaphore.from_id(kept).release()
    done = run("rm", "sem", "--owner", "nobody", "--yes")
    assert done.returncode == 0
    assert f"id {left}\n" in done.stdout
    name = f"semaphore set with no key, id {kept}"
    assert done.stderr.startswith(f"sysv-ipc: did not remove the {name}: ")
    assert done.stderr.count("\n") == 1
    sysv_ipc.remove_semaphore(kept)


def test_an_object_that_may_not_be_removed_is_a_failure() -> None:
    id = as_nobody(make_semaphore)
    words = ["rm", "sem", "--owner", "nobody", "--yes"]
    command = [sys.executable, "-c", AS_USER, str(OTHER_UID - 1), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Only its owner, its creator and root may remove it" in done.stderr
    sysv_ipc.remove_semaphore(id)


#: Root without the right to inspect other users' processes; --bounding-set applies after execve().
NOT_LOOKING = ["setpriv", "--bounding-set", "-sys_ptrace"]
#: The callers that cannot see if a process uses the object.
blind = pytest.mark.parametrize("before", [CONTAINER, NOT_LOOKING], ids=["container", "no ptrace"])


@pytest.fixture
def waiter() -> Iterator[int]:
    """An unused queue, whose last processes have ended; a third user's process waits for it."""
    queue = as_nobody(make_queue)
    code = (
        "import os, sys, sysv_ipc; os.setgroups([]); os.setuid(int(sys.argv[1]))\n"
        "sysv_ipc.MessageQueue.from_id(int(sys.argv[2])).receive(type=9)"
    )
    words = [str(OTHER_UID - 1), str(queue)]
    with subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL) as one:
        wait_until(lambda: blocked_process(one.pid, "msgrcv"))
        yield queue
        sysv_ipc.remove_message_queue(queue)


@blind
def test_a_queue_remains_if_an_invisible_process_may_wait_for_it(
    before: list[str], waiter: int
) -> None:
    assert "unused" not in listed("msg", waiter, before)[1]
    done = run("rm", "msg", "--owner", "nobody", "--yes", before=before)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"a process that cannot be seen may wait for it|another PID", done.stderr)
    assert ids("msg") == [waiter]


def test_a_queue_remains_if_the_caller_may_not_inspect_other_processes(waiter: int) -> None:
    words = ["rm", "msg", "--mine", "--yes"]
    command = [sys.executable, "-c", AS_USER, str(OTHER_UID), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a process that cannot be seen may wait for it" in done.stderr
    assert ids("msg") == [waiter]


@pytest.mark.parametrize(("kind", "call"), [("sem", "semget(0x80, 1,"), ("msg", "msgget(0x80,")])
def test_an_object_just_made_by_an_invisible_process_remains(kind: str, call: str) -> None:
    """C programs create sets without an operation: the kernel records no process for them."""
    code = (
        f"import ctypes, os, sys; os.setuid({OTHER_UID}); print(ctypes.CDLL(None).{call} 0o1600),"
        "flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as maker:
        assert maker.stdout is not None
        made = int(maker.stdout.readline())
        assert "unused" not in listed(kind, made, CONTAINER)[1]
        done = run("rm", kind, "--owner", "nobody", "--yes", before=CONTAINER)
        assert (done.returncode, done.stdout) == (1, "")
        assert "a process that cannot be seen may " in done.stderr
        assert ids(kind) == [made]
        maker.communicate()
    assert run("rm", kind, f"id:{made}").returncode == 0


def test_an_owner_in_another_ipc_namespace_does_not_protect_an_object() -> None:
    made = as_nobody(make_untouched_queue)
    code = f"import os, sys; os.setuid({OTHER_UID}); print(flush=True); sys.stdin.read()"
    command = ["unshare", "-i", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        assert run("rm", "msg", "--owner", "nobody", "--yes").returncode == 0
        stranger.communicate()
    assert made not in ids("msg")


def test_a_waiter_is_seen_if_only_its_thread_is_in_the_namespace() -> None:
    """The process itself, which is its first thread, has moved to another IPC namespace."""
    queue = as_nobody(make_queue)
    code = (
        "import namespace, sys, threading, sysv_ipc; queue = sysv_ipc.MessageQueue.from_id({})\n"
        "threading.Thread(target=queue.receive, kwargs={{'type': 9}}, daemon=True).start()\n"
        "namespace.enter(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code.format(queue)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as one:
        assert one.stdout is not None
        one.stdout.readline()
        threads = Path(f"/proc/{one.pid}/task")
        wait_until(lambda: any("msgrcv" in (t / "wchan").read_text() for t in threads.iterdir()))
        remains("msg", queue, "a process waits for it")
        one.communicate()
    sysv_ipc.remove_message_queue(queue)


def test_hundreds_are_removed_at_once() -> None:
    def make() -> int:
        for _ in range(500):
            make_queue()
        return 0

    as_nobody(make)
    done = run("rm", "msg", "--owner", "nobody", "--yes", "--json")
    assert done.returncode == 0
    assert [one["removed"] for one in json.loads(done.stdout)] == [True] * 500


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rm", "sem"], "the following arguments are required: OBJECT, --owner or --mine"),
        (["rm", "sem", "7", "--mine"], "give either OBJECTs or --owner and --mine, not both"),
        (["rm", "sem", "--owner", "no-such-user"], "there is no user 'no-such-user'"),
    ],
)
def test_wrong_usage_of_rm(words: list[str], told: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
