"""The system's own tools ipcmk, ipcs and ipcrm, used on the same objects as the library.

Keys that ipcmk chooses are read from the kernel's list.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from helpers import listed, ours, owners, run_in_thread, wait_until

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SharedMemory


def tool(name: str, *arguments: object) -> str:
    """Run a program of util-linux and return its output."""
    assert shutil.which(name), f"the tests need {name}: apt-get install util-linux"
    return subprocess.run(
        [name, *map(str, arguments)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def make(table: str, *arguments: object) -> tuple[int, int]:
    """Let ipcmk make an object and return its key and id."""
    found = re.search(r"id: (\d+)", tool("ipcmk", *arguments))
    assert found
    id = int(found[1])
    return int(listed(table, id)["key"]), id


def row(option: str, id: int) -> list[str]:
    """Return the columns of `ipcs OPTION` for the object with this id: key, id, owner and so on."""
    for line in tool("ipcs", option).splitlines():
        words = line.split()
        if len(words) > 1 and words[1] == str(id):
            return words
    raise LookupError(f"ipcs {option} does not show {id}")


def user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


# ----------------------------------------------------------------------------------- ipcmk


@pytest.fixture
def made_semaphore() -> Iterator[tuple[int, int]]:
    """Key and id of a set that ipcmk made."""
    key, id = make("sem", "-S", 3, "-p", "0640")
    yield key, id
    sysv_ipc.remove_semaphore(id)


@pytest.fixture
def made_segment() -> Iterator[tuple[int, int]]:
    """Key and id of a segment that ipcmk made."""
    key, id = make("shm", "-M", 10001, "-p", "0640")
    yield key, id
    sysv_ipc.remove_shared_memory(id)


@pytest.fixture
def made_queue() -> Iterator[tuple[int, int]]:
    """Key and id of a queue that ipcmk made."""
    key, id = make("msg", "-Q", "-p", "0640")
    yield key, id
    sysv_ipc.remove_message_queue(id)


def test_set_that_ipcmk_made_opens(made_semaphore: tuple[int, int]) -> None:
    key, id = made_semaphore
    semaphore = Semaphore(key)
    assert (semaphore.id, semaphore.value, *owners(semaphore)) == (id, 0, 0o640, *ours())


def test_set_that_ipcmk_made_works(made_semaphore: tuple[int, int]) -> None:
    semaphore = Semaphore(made_semaphore[0])
    semaphore.release(3)
    semaphore.acquire(0, 2)
    assert semaphore.value == 1


def test_segment_that_ipcmk_made_opens_whole(made_segment: tuple[int, int]) -> None:
    key, id = made_segment
    segment = SharedMemory(key)
    assert (segment.id, segment.size, *owners(segment)) == (id, 10001, 0o640, *ours())


def test_segment_that_ipcmk_made_is_of_zeros(made_segment: tuple[int, int]) -> None:
    assert SharedMemory(made_segment[0]).read() == bytes(10001)


def test_queue_that_ipcmk_made_opens(made_queue: tuple[int, int]) -> None:
    key, id = made_queue
    queue = MessageQueue(key)
    assert (queue.id, queue.current_messages, *owners(queue)) == (id, 0, 0o640, *ours())


def test_queue_that_ipcmk_made_works(made_queue: tuple[int, int]) -> None:
    queue = MessageQueue(made_queue[0])
    queue.send("text", type=4)
    assert queue.receive() == (b"text", 4)


# ------------------------------------------------------------------------------------ ipcs


def test_ipcs_shows_a_semaphore(semaphore: Semaphore) -> None:
    semaphore.mode = 0o640
    key = f"{semaphore.key:#010x}"
    assert row("-s", semaphore.id) == [key, str(semaphore.id), user(), "640", "1"]


def test_ipcs_shows_a_semaphore_with_a_negative_key_in_hex() -> None:
    semaphore = Semaphore(0xDEADBEEF, IPC_CREX)
    try:
        assert row("-s", semaphore.id)[0] == "0xdeadbeef"
    finally:
        semaphore.remove()


def test_ipcs_shows_the_value_of_a_semaphore_and_its_pid(semaphore: Semaphore) -> None:
    semaphore.release(41)
    last = tool("ipcs", "-s", "-i", semaphore.id).split("\n")[-3:]
    member = next(words for line in last if (words := line.split()))
    assert member == ["0", "42", "0", "0", str(os.getpid())]


def test_ipcs_shows_the_waiters_of_a_semaphore(semaphore: Semaphore) -> None:
    semaphore.value = 0
    result = run_in_thread(semaphore.acquire)
    wait_until(lambda: semaphore.waiting_for_nonzero == 1)
    shown = tool("ipcs", "-s", "-i", semaphore.id)
    semaphore.release()
    assert result() is True
    assert re.search(r"^0 +0 +1 +0 ", shown, re.MULTILINE)


def test_ipcs_shows_a_segment(segment: SharedMemory) -> None:
    expected = [f"{segment.key:#010x}", str(segment.id), user(), "600", "4096", "1"]
    assert row("-m", segment.id) == expected


def test_ipcs_shows_that_a_segment_is_marked_for_removal(segment: SharedMemory) -> None:
    segment.remove()
    assert row("-m", segment.id)[-1] == "dest"


def test_ipcs_shows_the_pids_of_a_segment(segment: SharedMemory) -> None:
    shown = tool("ipcs", "-m", "-p")
    pid = os.getpid()
    assert re.search(rf"^{segment.id} +\S+ +{pid} +{pid}\s*$", shown, re.MULTILINE)


def test_ipcs_shows_a_queue(queue: MessageQueue) -> None:
    queue.send(b"12345")
    queue.send(b"67")
    expected = [f"{queue.key:#010x}", str(queue.id), user(), "600", "7", "2"]
    assert row("-q", queue.id) == expected


def test_ipcs_shows_the_size_of_a_queue(queue: MessageQueue) -> None:
    queue.max_size = 4321
    assert "qbytes=4321" in tool("ipcs", "-q", "-i", queue.id)


def test_ipcs_does_not_show_removed_objects(semaphore: Semaphore) -> None:
    semaphore.remove()
    with pytest.raises(LookupError):
        row("-s", semaphore.id)


# ----------------------------------------------------------------------------------- ipcrm


@pytest.mark.parametrize("by", ["key", "id"])
def test_semaphore_that_ipcrm_removed_no_longer_exists(semaphore: Semaphore, by: str) -> None:
    tool("ipcrm", *(("-S", semaphore.key) if by == "key" else ("-s", semaphore.id)))
    assert (semaphore.removed, sysv_ipc.exists(semaphore.key or 0, Semaphore)) == (True, False)


def test_acquire_ends_when_ipcrm_removes_the_semaphore(semaphore: Semaphore) -> None:
    semaphore.value = 0
    result = run_in_thread(semaphore.acquire)
    wait_until(lambda: semaphore.waiting_for_nonzero == 1)
    tool("ipcrm", "-s", semaphore.id)
    error = result()
    assert isinstance(error, sysv_ipc.ExistentialError)
    assert error.errno == errno.EIDRM


@pytest.mark.parametrize("by", ["key", "id"])
def test_segment_that_ipcrm_removed_is_marked(segment: SharedMemory, by: str) -> None:
    tool("ipcrm", *(("-M", segment.key) if by == "key" else ("-m", segment.id)))
    assert (segment.removed, segment.marked_for_removal) == (True, True)


def test_segment_that_ipcrm_removed_stays_usable_while_attached(segment: SharedMemory) -> None:
    tool("ipcrm", "-m", segment.id)
    segment.write(b"still here")
    assert segment.read(10) == b"still here"


def test_segment_that_ipcrm_removed_is_not_found_by_its_key(segment: SharedMemory) -> None:
    tool("ipcrm", "-m", segment.id)
    assert not sysv_ipc.exists(segment.key or 0, SharedMemory)


@pytest.mark.parametrize("by", ["key", "id"])
def test_queue_that_ipcrm_removed_no_longer_exists(queue: MessageQueue, by: str) -> None:
    tool("ipcrm", *(("-Q", queue.key) if by == "key" else ("-q", queue.id)))
    assert (queue.removed, sysv_ipc.exists(queue.key or 0, MessageQueue)) == (True, False)


def test_receive_from_a_queue_that_ipcrm_removed_raises_an_error(queue: MessageQueue) -> None:
    tool("ipcrm", "-q", queue.id)
    with pytest.raises(sysv_ipc.ExistentialError, match="no longer exists"):
        queue.receive()
