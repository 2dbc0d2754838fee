"""What tests of several rooms call: other users, waiting for waiters, the system's own lists."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: A user with no rights of its own: nobody.
OTHER_UID = 65534


def in_child(function: Callable[[], T], *, uid: int | None = None, gid: int | None = None) -> T:
    """Call the function in a forked child, as another user where one is given.

    Returns what it returned, or raises what it raised; both travel by pickle.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        try:
            if gid is not None or uid is not None:
                os.setgroups([])
                os.setgid(gid if gid is not None else uid)  # type: ignore[arg-type]
            if uid is not None:
                os.setuid(uid)
            outcome: tuple[bool, object] = (True, function())
        except BaseException as error:
            outcome = (False, error)
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(pickle.dumps(outcome))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    succeeded, value = pickle.loads(data)
    if not succeeded:
        raise value
    return value  # type: ignore[no-any-return]


def as_other_user(function: Callable[[], T]) -> T:
    """Call the function in a forked child that has dropped to an unprivileged user."""
    return in_child(function, uid=OTHER_UID)


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return when the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.0005)


def listed(table: str, id: int) -> dict[str, str]:
    """The record of an object in /proc/sysvipc; table is sem, shm or msg."""
    column = {"sem": "semid", "shm": "shmid", "msg": "msqid"}[table]
    lines = Path(f"/proc/sysvipc/{table}").read_text().splitlines()
    for line in lines[1:]:
        record = dict(zip(lines[0].split(), line.split(), strict=True))
        if record[column] == str(id):
            return record
    raise LookupError(f"no {table} with id {id}")


def blocked_in_system_call(thread_id: int, *names: str) -> bool:
    """Whether a thread of this process sleeps in one of these system calls."""
    numbers = {"semop": 65, "semtimedop": 220, "msgsnd": 69, "msgrcv": 70}
    try:
        text = Path(f"/proc/self/task/{thread_id}/syscall").read_text()
    except OSError:
        return False
    return text.split()[0] in {str(numbers[name]) for name in names}
