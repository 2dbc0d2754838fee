"""examples/: the demo, the demo with a C side that fails in every way, and the quickstart.

A wrapper of the compiler on the PATH adds the faults to the unchanged C program: it includes
peers/demo_faults.h first.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, wait_until

import sysv_ipc

pytestmark = pytest.mark.once

EXAMPLES = ROOT / "examples"
FAULTS = ROOT / "tests/peers/demo_faults.h"

Run = Callable[..., subprocess.CompletedProcess[str]]


def run_script(name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / name],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def faulty_path(tmp_path: Path) -> Callable[[str], str]:
    """A PATH whose compiler adds a fault to every program: faulty_path(FAULT)."""

    def make(fault: str) -> str:
        compiler = shutil.which("cc") or shutil.which("gcc")
        assert compiler, "the tests need a C compiler: apt-get install gcc"
        command = [compiler, f"-D{fault}", "-include", str(FAULTS)]
        script = tmp_path / "bin/cc"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        script.chmod(0o700)
        return f"{script.parent}:{os.environ['PATH']}"

    return make


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    """The demo as a module."""
    specification = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def objects() -> list[str]:
    """Return every object of this namespace, as the kernel lists it."""
    return [
        line
        for table in ("sem", "shm", "msg")
        for line in Path(f"/proc/sysvipc/{table}").read_text().splitlines()[1:]
    ]


def receivers() -> list[int]:
    """Return the last process that received from each queue of this namespace."""
    lines = Path("/proc/sysvipc/msg").read_text().splitlines()
    column = lines[0].split().index("lrpid")
    return [int(line.split()[column]) for line in lines[1:]]


# ------------------------------------------------------------------------------- success


def test_demo_receives_every_sample() -> None:
    result = run_script("demo.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert "1000 of 1000 samples received, all of them correct" in result.stdout


def test_demo_says_that_nothing_is_left() -> None:
    result = run_script("demo.py")
    assert result.stdout.splitlines()[-1].endswith("nothing is left")


def test_demo_is_short_enough_to_read() -> None:
    result = run_script("demo.py")
    assert len(result.stdout.splitlines()) < 20


def test_demo_leaves_no_object() -> None:
    before = objects()
    run_script("demo.py")
    assert objects() == before


def test_demo_picks_another_path_when_a_key_is_in_use(demo: ModuleType, tmp_path: Path) -> None:
    taken = tmp_path / "key-0"
    taken.touch()
    key = sysv_ipc.ftok(taken, ord("M"), silence_warning=True)
    segment = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX)
    try:
        assert demo.path_with_free_keys(tmp_path) != taken
    finally:
        segment.remove()
        segment.detach()


# ------------------------------------------------------------------------------ failures


def test_demo_names_the_cure_for_a_missing_compiler(tmp_path: Path) -> None:
    result = run_script("demo.py", PATH=str(tmp_path))
    assert result.returncode != 0
    assert (result.stdout, result.stderr) == ("", "no C compiler: apt-get install gcc\n")


def test_demo_reports_a_compiler_that_fails(faulty_path: Callable[[str], str]) -> None:
    result = run_script("demo.py", PATH=faulty_path("main=}"))
    assert result.returncode != 0
    assert result.stderr.endswith("cannot compile demo_producer.c: see above\n")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("FAULT_NO_SEGMENT", "the C program created nothing and ended with status 1"),
        ("FAULT_KILLED_EARLY", "the C program created nothing and was ended by signal 9"),
        ("FAULT_KILLED", "5 of 1000 samples received, then the C program was ended by signal 9"),
        ("FAULT_EXITS", "5 of 1000 samples received, then the C program ended with status 3"),
        ("FAULT_FORGETS", "sample 5 is missing: the queue has b'6'"),
        ("FAULT_ENDS_EARLY", "995 of 1000 samples are missing"),
        ("FAULT_MISCALCULATES", "slot 5 holds 5, 26 instead of sample 5"),
    ],
)
def test_demo_gives_the_reason_why_it_failed(
    faulty_path: Callable[[str], str], fault: str, reason: str
) -> None:
    result = run_script("demo.py", PATH=faulty_path(fault))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == reason


@pytest.mark.parametrize(
    "fault", ["FAULT_NO_SEGMENT", "FAULT_KILLED_EARLY", "FAULT_KILLED", "FAULT_MISCALCULATES"]
)
def test_demo_that_failed_leaves_no_object(faulty_path: Callable[[str], str], fault: str) -> None:
    before = objects()
    run_script("demo.py", PATH=faulty_path(fault))
    assert objects() == before


def test_demo_ends_a_c_side_that_stops(faulty_path: Callable[[str], str], run_python: Run) -> None:
    code = "import sys, demo\ndemo.TIMEOUT_SECONDS = 0.5\ndemo.main()"
    variables = {**os.environ, "PATH": faulty_path("FAULT_STOPS"), "PYTHONPATH": str(EXAMPLES)}
    result = run_python(code, env=variables)
    assert result.returncode != 0
    assert "5 of 1000 samples received, then the C program was ended by signal 9" in result.stderr


def test_demo_that_is_interrupted_leaves_no_object(faulty_path: Callable[[str], str]) -> None:
    before = objects()
    variables = {**os.environ, "PATH": faulty_path("FAULT_STOPS")}
    command = [sys.executable, str(EXAMPLES / "demo.py")]
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: process.pid in receivers())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "interrupted\n")
    assert objects() == before


@pytest.fixture
def holding_pipe(tmp_path: Path) -> Iterator[Path]:
    """A named pipe, whose readers continue when the test ends, and release everything."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = objects()
    descriptor = os.open(pipe, os.O_RDWR)
    yield pipe
    os.close(descriptor)
    wait_until(lambda: objects() == before)


def test_demo_lists_the_objects_left_behind(
    faulty_path: Callable[[str], str], holding_pipe: Path
) -> None:
    path = faulty_path("FAULT_STAYS_ATTACHED")
    result = run_script("demo.py", PATH=path, HELD_BY=str(holding_pipe))
    assert result.returncode == 1
    assert result.stderr.startswith("left behind: the segment with id ")


# ------------------------------------------------------------------------- the quickstart


def test_quickstart_runs_as_printed() -> None:
    result = run_script("quickstart.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "the semaphore's key is 0",
        "the semaphore is acquired",
        "data is ready 7 four words of text",
    ]
