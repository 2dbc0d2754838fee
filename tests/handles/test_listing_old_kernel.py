"""Lists on kernels before Linux 4.17, which hide objects that the caller may not read."""

from __future__ import annotations

import contextlib
import errno
import io
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator

import namespace
import pytest
from helpers import NEEDS_ROOT, Handle, as_other_user, in_child, lists
from old_kernel import become_old, needs_seccomp

import sysv_ipc

# Imported here because a child that has changed its root cannot import it.
import sysv_ipc.listing
from sysv_ipc import (
    IPC_CREX,
    MessageQueue,
    Semaphore,
    SharedMemory,
    cli,
)


@pytest.fixture
def kinds() -> Iterator[dict[str, tuple[Handle, Handle, Handle]]]:
    """For each kind: a readable object, a gap from a removed one, and an unreadable object."""
    made: dict[str, tuple[Handle, Handle, Handle]] = {}
    for name, cls in ("sem", Semaphore), ("shm", SharedMemory), ("msg", MessageQueue):
        handles: list[Handle] = [cls(None, IPC_CREX, mode) for mode in (0o604, 0o600, 0o600)]
        for handle in handles:
            if isinstance(handle, SharedMemory):
                handle.detach()
        handles[1].remove()
        made[name] = handles[0], handles[1], handles[2]
    yield made
    for readable, _, unreadable in made.values():
        readable.remove()
        unreadable.remove()


def listed_with_warnings() -> tuple[dict[str, set[int]], list[str]]:
    """Return the ids of all lists, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ids = {name: {record.id for record in records} for name, records in lists().items()}
    assert all(one.category is RuntimeWarning for one in caught)
    return ids, [str(one.message) for one in caught]


def on_an_old_kernel() -> tuple[dict[str, set[int]], list[str]]:
    become_old()
    return listed_with_warnings()


@needs_seccomp
@NEEDS_ROOT
def test_an_old_kernel_lists_readable_objects_and_a_warning_counts_the_others(
    kinds: dict[str, tuple[Handle, Handle, Handle]],
) -> None:
    ids, texts = as_other_user(on_an_old_kernel)
    for name, (readable, removed, unreadable) in kinds.items():
        assert readable.id in ids[name]
        assert ids[name].isdisjoint({removed.id, unreadable.id})
    assert [text[:48] for text in texts] == [
        "the list lacks 1 semaphore object that the calle",
        "the list lacks 1 shared memory object that the c",
        "the list lacks 1 message queue object that the c",
    ]


@needs_seccomp
@NEEDS_ROOT
def test_on_an_old_kernel_root_sees_all_objects_without_a_warning(
    kinds: dict[str, tuple[Handle, Handle, Handle]],
) -> None:
    ids, texts = in_child(on_an_old_kernel)
    assert texts == []
    for name, (readable, removed, unreadable) in kinds.items():
        assert ids[name] >= {readable.id, unreadable.id}
        assert removed.id not in ids[name]


@NEEDS_ROOT
def test_a_kernel_that_lists_unreadable_objects_gives_no_warning(
    kinds: dict[str, tuple[Handle, Handle, Handle]],
) -> None:
    ids, texts = as_other_user(listed_with_warnings)
    assert texts == []
    for name, (readable, removed, unreadable) in kinds.items():
        assert ids[name] >= {readable.id, unreadable.id}
        assert removed.id not in ids[name]


@needs_seccomp
@NEEDS_ROOT
def test_an_old_kernel_that_holds_nothing_has_empty_lists() -> None:
    def count() -> tuple[dict[str, set[int]], list[str]]:
        namespace.enter()
        return on_an_old_kernel()

    assert in_child(count) == ({"sem": set(), "shm": set(), "msg": set()}, [])


@needs_seccomp
@NEEDS_ROOT
def test_a_warning_filter_makes_hidden_objects_an_error(
    kinds: dict[str, tuple[Handle, Handle, Handle]],
) -> None:
    def strictly() -> None:
        become_old()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sysv_ipc.message_queues()

    with pytest.raises(RuntimeWarning, match="lacks 1 message queue object that"):
        as_other_user(strictly)


@needs_seccomp
@NEEDS_ROOT
def test_the_command_line_reports_hidden_objects_in_one_line(
    kinds: dict[str, tuple[Handle, Handle, Handle]],
) -> None:
    def ls() -> tuple[int, str]:
        become_old()
        told = io.StringIO()
        warnings.simplefilter("default")
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            status = cli.main(["ls", "sem"])
        return status, told.getvalue()

    status, told = as_other_user(ls)
    assert status == 0
    assert re.fullmatch(r"sysv-ipc: the list lacks 1 semaphore object .*\n", told)


@pytest.mark.parametrize("call", ["EPERM", "ENOSYS"])
def test_a_list_that_the_kernel_refuses_is_an_error_and_not_empty(call: str) -> None:
    code = (
        "import os, sysv_ipc; q = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)\n"
        "try: print(sysv_ipc.message_queues())\n"
        "except sysv_ipc.Error as error: print(error.errno)\n"
        "finally: sysv_ipc.remove_message_queue(q.id)"
    )
    inject = f"inject=msgctl:error={call}:when=2"
    command = ["strace", "-f", "-o", "/dev/null", "-e", inject, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{getattr(errno, call)}\n"
