"""Find the processes that use an object or used it last, from the kernel's records and /proc.

A pid of 0 means that there was no such process, or that it belongs to another PID namespace and
has no number here.  The kernel keeps the last process of each sort, not every process that has the
id.
"""

import contextlib
import functools
import os
from collections import Counter
from typing import NamedTuple

from .objects import MSG, SEM, SHM, Kind, Record

FOREIGN = "a process of another PID namespace"
#: The inode of the initial PID namespace, which sees all others: the kernel's PROC_PID_INIT_INO.
FIRST_PID_NAMESPACE = 0xEFFFFFFC


class Trace(NamedTuple):
    """The last process that did something to an object."""

    deed: str
    pid: int
    #: True if it was done at all, None if unknown.
    happened: bool | None

    @property
    def is_foreign(self) -> bool:
        """True if the process certainly has no number here."""
        return self.pid == 0 and self.happened is True


def traces(kind: Kind, record: Record) -> list[Trace]:
    """Return the last processes of an object."""
    if kind is SEM:
        return _traces_of_members(record)
    if kind is SHM:
        used = bool(record.last_attach_time or record.last_detach_time)
        return [
            Trace("created it", record.creator_pid, True),
            Trace("used it last", record.last_pid, used),
        ]
    return [
        Trace("sent to it last", record.last_send_pid, bool(record.last_send_time)),
        Trace("received from it last", record.last_receive_pid, bool(record.last_receive_time)),
    ]


def _traces_of_members(record: Record) -> list[Trace]:
    """Return the last process of each member: the kernel records it at each change."""
    members = record.members or ()
    operated = bool(record.last_operation_time)
    # A process with no number here has set a value, so it may have set others to 0.
    foreign = any(one.value and not one.last_pid for one in members)
    found = []
    for one in members:
        happened: bool | None = bool(one.last_pid or one.value or (operated and len(members) == 1))
        if not happened and (operated or foreign) and not _sees_all_processes():
            happened = None
        found.append(Trace("changed it last", one.last_pid, happened))
    return found


def _sees_all_processes() -> bool:
    try:
        return os.stat("/proc/self/ns/pid").st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return False


def describe_process(trace: Trace) -> str:
    """Return the number of a process, with its name if it still runs."""
    if trace.pid:
        name = process_name(trace.pid)
        if name is None:
            name = "running" if is_alive(trace.pid) else "ended"
        return f"{trace.pid} ({name})"
    if trace.happened is None:
        return "none, or of another PID namespace"
    return FOREIGN if trace.happened else "nobody"


def process_name(pid: int) -> str | None:
    """Return the name of a process, or None if it cannot be read."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return None  # /proc belongs to another PID namespace.
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return None


def is_alive(pid: int) -> bool:
    """Return True if the process exists, even if /proc hides it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def alive(kind: Kind, record: Record) -> bool | None:
    """Return True if a process runs that uses an object or used it last, False if all have ended.

    None means that there is no such process, or that not all of them can be seen.
    """
    if kind is SEM and record.members is None:
        return None
    found = traces(kind, record)
    pids = {trace.pid for trace in found if trace.pid}
    hidden = any(not trace.pid and trace.happened is not False for trace in found)
    if kind is SHM:
        pids.update(record.pids or ())
        hidden = hidden or bool(record.number_attached and not record.pids_complete)
    if any(map(is_alive, pids)):
        return True
    return None if hidden or not pids else False


class Neighbours:
    """The processes of the machine, read once and only if needed."""

    @functools.cached_property
    def waited_for(self) -> Counter[int] | None:
        """The number of threads that wait for each queue, by its id, or None if unknown."""
        try:
            ours = os.readlink("/proc/thread-self/ns/ipc")
            for name in ("wchan", "syscall"):
                os.stat(f"/proc/thread-self/{name}")
            found = Counter[int]()
            for pid in _all_processes():
                # Some machines do not let root inspect init, which does not wait for queues.
                refusal = [PermissionError] if pid == "1" and os.geteuid() == 0 else []
                with _unless_ended(), contextlib.suppress(*refusal):
                    for thread in os.listdir(f"/proc/{pid}/task"):
                        with _unless_ended():
                            found.update(_queue_waited_for(f"/proc/{pid}/task/{thread}", ours))
        except (OSError, ValueError):
            return None
        return found

    @functools.cached_property
    def users(self) -> set[int] | None:
        """The users that have a process in this IPC namespace, or None if unknown.

        A process that cannot be inspected counts.
        """
        found: set[int] = set()
        try:
            ours = os.readlink("/proc/thread-self/ns/ipc")
            for pid in _all_processes():
                with _unless_ended(), open(f"/proc/{pid}/status", "rb") as file:
                    if _is_elsewhere(pid, ours):
                        continue
                    for line in file:
                        if line.startswith(b"Uid:"):
                            found |= {int(word) for word in line.split()[1:]}
        except (OSError, ValueError):
            return None
        return found


def _all_processes() -> list[str]:
    """Return every process of the machine; raise OSError if some cannot be seen."""
    if os.readlink("/proc/self") != str(os.getpid()) or not _sees_all_processes():
        raise ProcessLookupError("there may be processes of another PID namespace")
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    # hidepid= hides processes of other users, including process 1.
    if "1" not in pids:
        raise ProcessLookupError("/proc hides processes")
    return pids


def _unless_ended() -> contextlib.suppress:
    """Ignore a process or thread that has ended, but not one that may not be inspected."""
    return contextlib.suppress(FileNotFoundError, ProcessLookupError)


def _is_elsewhere(pid: str, namespace: str) -> bool:
    """Return True if no thread of a process is in this IPC namespace, and False in doubt."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with _unless_ended():
                if os.readlink(f"/proc/{pid}/task/{thread}/ns/ipc") == namespace:
                    return False
    except PermissionError:
        return False
    return True


def _queue_waited_for(folder: str, namespace: str) -> set[int]:
    """Return the possible ids of the queue for which a thread waits in msgrcv(2) or msgsnd(2)."""
    # Read the link first: if the caller may not inspect the thread, the kernel refuses the link,
    # but reports 0 for wchan without an error.
    if os.readlink(f"{folder}/ns/ipc") != namespace:
        return set()
    # Since Linux 6.12 a thread may leave the run queue some time after it fell asleep, and
    # wchan is 0 until then.  To read its system call ends that.
    with contextlib.suppress(PermissionError), open(f"{folder}/syscall", "rb") as file:
        file.read()
    with open(f"{folder}/wchan", "rb") as file:
        place = file.read()
    if b"msgrcv" not in place and b"msgsnd" not in place:
        return set()
    with open(f"{folder}/syscall", "rb") as file:
        # The call's number and arguments.  On machines with one ipc(2) for all calls the id is the
        # second argument.
        words = file.read().split()[1:3]
    if not words:
        raise BlockingIOError("the thread woke up, and may wait again")
    return {int(word, 16) for word in words}


def use(kind: Kind, record: Record, neighbours: Neighbours) -> str | None:
    """Return why an object is in use or may be, or None if its processes have ended."""
    if kind is SEM:
        if record.members is None:
            return "the caller may not read its last processes"
        waiting = sum(one.waiting_for_nonzero + one.waiting_for_zero for one in record.members)
        if waiting:
            return f"{waiting} {'waits' if waiting == 1 else 'wait'} for it"
    if kind is SHM and record.number_attached:
        return "it is attached"
    found = traces(kind, record)
    for trace in found:
        if trace.pid and is_alive(trace.pid):
            return f"process {describe_process(trace)} {trace.deed}"
        if not trace.pid and trace.happened is not False:
            doubt = "" if trace.happened else " may have"
            return f"{FOREIGN}{doubt} {trace.deed}"
    if kind is MSG:
        waited_for = neighbours.waited_for
        if waited_for is None:
            return "a process that cannot be seen may wait for it"
        if record.id in waited_for:
            return "a process waits for it"
    if not any(trace.pid for trace in found):
        # It may be new.  The kernel does not record the creating process.
        users = neighbours.users
        if users is None:
            return "it has not been used yet, and a process that cannot be seen may have created it"
        if {record.uid, record.cuid} & users:
            return "it has not been used yet, and its owner has processes"
    return None
