"""Objects outlive the process that made them, and another finds them: by key, name or path."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import system_calls
from helpers import ROOT, TESTS

import sysv_ipc

Run = Callable[..., subprocess.CompletedProcess[str]]
Build = Callable[[str], Path]

PEERS = TESTS / "peers"
EXAMPLES = ROOT / "examples"

MAKE = """
import sys
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SharedMemory
key = int(sys.argv[1])
Semaphore(key, IPC_CREX, initial_value=3).acquire()
SharedMemory(key, IPC_CREX, size=5000).write("left in memory")
MessageQueue(key, IPC_CREX).send("left on the queue", type=6)
"""

FIND = """
import sys
from sysv_ipc import MessageQueue, Semaphore, SharedMemory
key = int(sys.argv[1])
semaphore, segment, queue = Semaphore(key), SharedMemory(key), MessageQueue(key)
print(semaphore.value, segment.size, segment.read(14).decode(), *queue.receive())
semaphore.remove()
segment.remove()
queue.remove()
"""


def test_objects_outlive_their_process(run_python: Run, key: int) -> None:
    run_python(MAKE, key, check=True)
    found = run_python(FIND, key, check=True)
    assert found.stdout == "2 5000 left in memory b'left on the queue' 6\n"


def test_objects_of_a_killed_process_stay(run_python: Run, key: int) -> None:
    killed = run_python(MAKE + "import os\nos.kill(os.getpid(), 9)", key)
    found = run_python(FIND, key, check=True)
    assert killed.returncode == -9
    assert found.stdout == "2 5000 left in memory b'left on the queue' 6\n"


def test_creator_is_reported_after_its_end(run_python: Run, key: int) -> None:
    code = "import os, sys, sysv_ipc\nsysv_ipc.SharedMemory(int(sys.argv[1]), sysv_ipc.IPC_CREX)"
    maker = run_python(f"{code}\nprint(os.getpid())", key, check=True)
    segment = sysv_ipc.SharedMemory(key)
    segment.remove()
    assert segment.creator_pid == int(maker.stdout)


# -------------------------------------------------------- the program of the public description

PROGRAM = """
import sysv_ipc
from sysv_ipc import Semaphore, SharedMemory, MessageQueue, IPC_PRIVATE, ftok

try:
    sem = Semaphore(IPC_PRIVATE, flags=sysv_ipc.IPC_CREX, initial_value=1)
    print(f"key {sem.key}")
    sem.acquire()
    sem.release()
    sem.remove()
except sysv_ipc.ExistentialError as e:
    print(f"existential: {e}")
except sysv_ipc.Error as e:
    print(f"error: {e}")
"""


def test_program_of_the_public_description_runs(run_python: Run) -> None:
    result = run_python(PROGRAM)
    assert (result.returncode, result.stdout, result.stderr) == (0, "key 0\n", "")


def test_traceback_names_the_public_class_if_an_object_exists_already(
    run_python: Run, semaphore: sysv_ipc.Semaphore
) -> None:
    code = "import sys, sysv_ipc\nsysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREX)"
    result = run_python(code, semaphore.key)
    assert "\nsysv_ipc.ExistentialError: [Errno 17] File exists: semaphore" in result.stderr


def test_traceback_says_how_to_open_an_existing_object(
    run_python: Run, semaphore: sysv_ipc.Semaphore
) -> None:
    code = "import sys, sysv_ipc\nsysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREX)"
    result = run_python(code, semaphore.key)
    assert f"Semaphore({semaphore.key})" in result.stderr.splitlines()[-1]


def test_traceback_of_a_misspelt_name_suggests_the_right_one(run_python: Run) -> None:
    result = run_python("import sysv_ipc\nsysv_ipc.exist")
    text, _, suggestion = result.stderr.splitlines()[-1].partition(". ")
    assert text == "AttributeError: module 'sysv_ipc' has no attribute 'exist'"
    assert re.match("Did you mean:? '.?exists'", suggestion)


def test_str_as_a_key_is_an_invalid_argument(run_python: Run) -> None:
    result = run_python("import sysv_ipc\nsysv_ipc.Semaphore('name')")
    assert re.search(r"KeyTypeError: \[Errno 22\] .* not str: key_from_name\(\) ", result.stderr)


# ------------------------------------------------------------------------------------ ftok


@pytest.mark.parametrize("id", [1, 65, 127, 128, 255, 256 + 7, -1])
def test_ftok_is_that_of_c(peer: Build, tmp_path: Path, id: int) -> None:
    theirs = subprocess.run([peer("ftok"), tmp_path, str(id)], capture_output=True, check=True)
    assert sysv_ipc.ftok(tmp_path, id, silence_warning=True) == int(theirs.stdout)


@pytest.mark.parametrize("id", [1, 65, 255])
def test_ftok_is_that_of_perl(tmp_path: Path, id: int) -> None:
    perl = shutil.which("perl")
    assert perl, "the tests need Perl with IPC::SysV: apt-get install perl"
    theirs = subprocess.run(
        [perl, PEERS / "ftok.pl", tmp_path, str(id)], capture_output=True, check=True
    )
    assert int(theirs.stdout) == sysv_ipc.ftok(tmp_path, id, True)


def test_ftok_of_a_missing_path_names_the_file(tmp_path: Path) -> None:
    missing = os.fspath(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        sysv_ipc.ftok(missing, 1, silence_warning=True)
    assert caught.value.filename == missing


# --------------------------------------------------------------------------- key_from_name

NAMES = ["a", "demo", "/var/run/app.lock", "gr\u00fc\u00dfe", "\U0001f600", "x" * 10000, ""]


@pytest.fixture(scope="module")
def key_from_name_in_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C, compiled."""
    program = tmp_path_factory.mktemp("keys") / "key_from_name"
    source = EXAMPLES / "key_from_name.c"
    subprocess.run(
        [system_calls.compiler(), "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True
    )
    return program


def key_by(*command: object) -> int:
    """Run the program and return the key that it prints."""
    return int(subprocess.run(list(map(str, command)), capture_output=True, check=True).stdout)


@pytest.mark.parametrize("name", NAMES)
def test_key_from_name_is_the_same_in_c(key_from_name_in_c: Path, name: str) -> None:
    assert key_by(key_from_name_in_c, name) == sysv_ipc.key_from_name(name)


@pytest.mark.parametrize("name", NAMES)
def test_key_from_name_is_the_same_in_perl(name: str) -> None:
    perl = shutil.which("perl")
    assert perl, "the tests need Perl: apt-get install perl"
    assert key_by(perl, EXAMPLES / "key_from_name.pl", name) == sysv_ipc.key_from_name(name)


@pytest.mark.parametrize("name", NAMES)
def test_key_from_name_is_the_same_in_ruby(name: str) -> None:
    ruby = shutil.which("ruby")
    assert ruby, "the tests need Ruby: apt-get install ruby"
    assert key_by(ruby, EXAMPLES / "key_from_name.rb", name) == sysv_ipc.key_from_name(name)


#: The low 31 bits of their hashes are 0.
ZERO_NAMES = ["ppkttia", "afjtjzd"]


@pytest.mark.parametrize("name", ZERO_NAMES)
def test_key_from_name_is_1_if_the_hash_gives_0(key_from_name_in_c: Path, name: str) -> None:
    by_c = key_by(key_from_name_in_c, name)
    by_perl = key_by("perl", EXAMPLES / "key_from_name.pl", name)
    by_ruby = key_by("ruby", EXAMPLES / "key_from_name.rb", name)
    assert (sysv_ipc.key_from_name(name), by_c, by_perl, by_ruby) == (1, 1, 1, 1)
