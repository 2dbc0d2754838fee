"""docs/how-to/other-languages.md: its claims about PHP, about NUL bytes and about C's layout."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from typing import Any

import numpy as np
import pytest
from recipes import FOLDER, run_command

from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

pytestmark = pytest.mark.once


def php(code: str) -> str:
    """Run PHP code and return what it prints."""
    assert shutil.which("php"), "the tests need PHP: apt-get install php-cli"
    return run_command("php", "-d", "display_errors=stderr", "-r", code)


def test_php_makes_sets_of_three(key: int) -> None:
    php(f"$lock = sem_get({key}); sem_acquire($lock);")
    with_php = SemaphoreSet(key)
    assert (len(with_php), with_php.values) == (3, (1, 0, 0))
    assert Semaphore(key).value == 1
    with_php.remove()


def test_php_cannot_open_a_set_of_one(semaphore: Semaphore) -> None:
    code = f"echo @sem_get({semaphore.key}) === false ? 'refused' : 'opened';"
    assert php(code) == "refused"


@pytest.mark.parametrize(("users", "value"), [(0, 1), (1, 0)])
def test_the_first_user_in_php_sets_the_value(key: int, users: int, value: int) -> None:
    semaphores = SemaphoreSet(key, 3, IPC_CREX, initial_values=[0, users, 0])
    assert php(f"$lock = sem_get({key}); echo sem_acquire($lock, true) ? 'yes' : 'no';") == (
        "yes" if value else "no"
    )
    semaphores.remove()


def test_php_serializes_unless_it_is_told_not_to(queue: MessageQueue) -> None:
    send = f"$queue = msg_get_queue({queue.key}); msg_send($queue, 5, 'text'"
    php(f"{send}); {send}, false);")
    assert queue.receive_many(2) == [(b's:4:"text";', 5), (b"text", 5)]


def test_php_receives_a_message_of_ours(queue: MessageQueue) -> None:
    queue.send("to PHP", type=3)
    code = f"""
        msg_receive(msg_get_queue({queue.key}), 0, $type, 2048, $text, false);
        echo "$type $text";
    """
    assert php(code) == "3 to PHP"


def test_a_set_that_c_has_created_has_no_time_before_the_first_operation(key: int) -> None:
    ctypes.CDLL(None).semget(ctypes.c_int(key), 1, IPC_CREX | 0o600)
    semaphore = Semaphore(key)
    assert (semaphore.last_operation_time, semaphore.value) == (0, 0)
    semaphore.release()
    assert semaphore.last_operation_time != 0
    semaphore.remove()


def test_a_variable_of_php_is_not_the_first_bytes_of_its_segment(key: int) -> None:
    php(f"$memory = shm_attach({key}, 1000); shm_put_var($memory, 1, 'text');")
    memory = SharedMemory(key)
    assert memory.read(2) == b"PH"
    assert b's:4:"text";' in memory.read()
    memory.remove()
    memory.detach()


@pytest.mark.parametrize("command", [["ruby", "peer.rb"], ["php", "peer.php"], ["perl", "peer.pl"]])
def test_a_peer_that_finds_no_objects_fails(command: list[str], key: int) -> None:
    program, script = command
    assert shutil.which(program), f"the tests need {program}: apt-get install php-cli ruby perl"
    done = subprocess.run(
        [program, FOLDER / "languages" / script, str(key), "1"], capture_output=True, timeout=60
    )
    assert done.returncode != 0


def test_nul_bytes_are_part_of_a_message(queue: MessageQueue) -> None:
    queue.send(b"text\0")
    message, _ = queue.receive()
    assert (message, message.rstrip(b"\0")) == (b"text\0", b"text")


def test_rows_with_padding_need_a_slice(key: int) -> None:
    width, stride, height = 5, 8, 3
    memory = SharedMemory(key, IPC_CREX, size=stride * height, init_character=b"\0")
    rows = memory.ndarray((height, stride), "u1")
    rows[:, :width] = 7
    image: Any = rows[:, :width]
    assert (image.shape, image.strides) == ((3, 5), (8, 1))
    with pytest.raises(ValueError, match="not C-contiguous"):
        memory.write(image)
    copied: Any = np.ascontiguousarray(image)
    memory.write(copied)
    assert memory.read(width * height) == b"\7" * 15
    del rows, image
    memory.remove()
    memory.detach()


@pytest.mark.parametrize(
    ("format", "size"), [("@l56s", 64), ("=l56s", 60), ("@10sdlh0d", 40), ("=10sdlh", 24)]
)
def test_native_formats_have_the_size_of_c(format: str, size: int) -> None:
    assert struct.calcsize(format) == size
