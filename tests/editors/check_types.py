"""Type checkers report wrong calls, and know the types of results.

The name of this file keeps it out of the suite: it needs the packages of the group "lint", which
exist only for some machines.  ``make lint`` runs it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

#: A line with an error has a comment that says so.
WRONG = """\
import sysv_ipc
from sysv_ipc import aio

sysv_ipc.Semaphore(None, inital_value=1)  # wrong
sysv_ipc.SemaphoreSet(None, 2, initial_value=[1])  # wrong
sysv_ipc.SharedMemory(None, sise=4096)  # wrong
sysv_ipc.MessageQueue(None, max_size=2048)  # wrong
aio.Semaphore(None, inital_value=1)  # wrong
aio.SemaphoreSet(None, 2, initial_value=[1])  # wrong
aio.MessageQueue(None, max_size=2048)  # wrong
sysv_ipc.aio.MessageQueue(None, 0, 0o600, 2048, 1)  # wrong
aio.Semaphore(None).undo = True  # wrong
aio.SemaphoreSet(None).values = [1]  # wrong
aio.MessageQueue(None).max_size = 4096  # wrong
print(aio.MessageQueue(None).max_size)  # wrong
sysv_ipc.Semaphore("key")  # wrong
sysv_ipc.Semaphor(None)  # wrong
sysv_ipc.aio.Semaphor(None)  # wrong
queue = sysv_ipc.MessageQueue(None)
queue.receive(timout=1)  # wrong
queue.last_send_pid = 1  # wrong
memory = sysv_ipc.SharedMemory(None)
memory.atomic(0, "i16")  # wrong
memory.ndarray(3, "f8", order="A")  # wrong
memory.view(format=8)  # wrong
"""

RIGHT = """\
import asyncio
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import sysv_ipc

memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=4096)
assert_type(memory.view(), memoryview[int])
assert_type(memory.view(0, 8, "H"), memoryview[int])
assert_type(memory.view(0, None, "d"), memoryview[float])
assert_type(memory.view(8, format="f"), memoryview[float])
assert_type(memory.view(format="c"), memoryview[bytes])
assert_type(memory.view(format="?"), memoryview[bool])
assert_type(memory.view(format=input()), memoryview[Any])
assert_type(memory.ndarray(3, np.float32), NDArray[np.float32])
assert_type(memory.ndarray((2, 2), np.dtype(np.uint16)), NDArray[np.uint16])
assert_type(memory.ndarray(3, "u1"), NDArray[np.uint8])
assert_type(memory.ndarray(3, "<i4"), NDArray[np.int32])
assert_type(memory.ndarray(3, "uint32"), NDArray[np.uint32])
assert_type(memory.ndarray(3, "i8", 8), NDArray[np.int64])
assert_type(memory.ndarray(3, "u8"), NDArray[np.uint64])
assert_type(memory.ndarray(3, "float32"), NDArray[np.float32])
assert_type(memory.ndarray(3, dtype="f8", order="F"), NDArray[np.float64])
assert_type(memory.ndarray(3, float), NDArray[np.float64])
assert_type(memory.ndarray(3, int), NDArray[np.int_])
assert_type(memory.ndarray(3, bool), NDArray[np.bool_])
assert_type(memory.ndarray(3, [("x", "f8")]), NDArray[Any])
assert_type(memory.atomic(0, "u32").add(1), int)
assert_type(memory[0], int)
assert_type(memory[:4], bytes)
queue = sysv_ipc.MessageQueue(None)
assert_type(queue.receive(), tuple[bytes, int])
assert_type(queue.peek(), tuple[bytes, int] | None)
assert_type(sysv_ipc.semaphores()[0].members, tuple[sysv_ipc.SemaphoreMemberInfo, ...] | None)


async def main() -> None:
    task = sysv_ipc.aio.MessageQueue(None, sysv_ipc.IPC_CREX, max_message_size=16)
    assert_type(await task.receive(timeout=1), tuple[bytes, int])
    assert_type(task.handle, sysv_ipc.MessageQueue)
    async with sysv_ipc.aio.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1) as semaphore:
        assert_type(semaphore, sysv_ipc.aio.Semaphore)


asyncio.run(main())
"""

Check = Callable[[Path], set[int]]


def mypy(file: Path) -> set[int]:
    """Return the lines in which mypy finds errors."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", file.name]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return {int(line) for line in re.findall(r"^\w+\.py:(\d+): error", done.stdout, re.MULTILINE)}


def basedpyright(file: Path) -> set[int]:
    """Return the lines in which basedpyright finds errors, with the strict rules of pyright."""
    (file.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    program = Path(sys.executable).with_name("basedpyright")
    command = [str(program), "--outputjson", "--pythonpath", sys.executable, file.name]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        problem["range"]["start"]["line"] + 1 for problem in found if problem["severity"] == "error"
    }


@pytest.fixture(params=[mypy, basedpyright])
def check(request: pytest.FixtureRequest) -> Check:
    """Each type checker in turn."""
    checker: Check = request.param
    return checker


def test_a_type_checker_reports_each_wrong_call(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    lines = WRONG.splitlines()
    assert check(file) == {n for n, line in enumerate(lines, 1) if line.endswith("# wrong")}


def test_a_type_checker_knows_the_types_of_results(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "right.py"
    file.write_text(RIGHT)
    assert check(file) == set()
