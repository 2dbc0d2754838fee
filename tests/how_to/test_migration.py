"""docs/how-to/migrate-from-*.md: the programs before and after, and the tables of names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from multiprocessing import shared_memory

import pytest
from recipes import PAGES, run_recipe

import sysv_ipc

pytestmark = pytest.mark.once

Run = Callable[..., subprocess.CompletedProcess[str]]

FROM_POSIX = "migrate-from-posix_ipc.md"
FROM_SHARED_MEMORY = "migrate-from-shared_memory.md"

#: The names that a table may contain on its right side.
OURS = {
    *dir(sysv_ipc),
    *dir(sysv_ipc.Semaphore),
    *dir(sysv_ipc.SharedMemory),
    *dir(sysv_ipc.MessageQueue),
}


def rows(page: str) -> list[tuple[str, str]]:
    """Return the first two cells of each row of the tables of a page."""
    lines = (PAGES / page).read_text().splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:3] for line in lines if line.startswith("| ")]
    return [(left.strip(), right.strip()) for left, right in cells]


def names(cell: str) -> set[str]:
    """Return the names of functions, classes and attributes in a cell, without arguments."""
    spans = re.findall(r"`([^`]+)`", cell)
    return {name for span in spans for name in re.findall(r"\w+", span.partition("(")[0])}


def public(target: object) -> set[str]:
    return {name for name in dir(target) if not name.startswith("_")}


@pytest.mark.parametrize("program", ["posix_ipc_before.py", "posix_ipc_after.py"])
def test_both_programs_receive_by_priority(program: str) -> None:
    printed = run_recipe(f"migration/{program}", f"/sysv-ipc-{os.getpid()}")
    assert printed == "urgent 9\nroutine 1\nhello\n"


def test_the_table_names_everything_that_posix_ipc_has() -> None:
    # It would enable the GIL of an interpreter without one, with a warning.
    import posix_ipc

    named = {name for left, _ in rows(FROM_POSIX) for name in names(left)}
    classes = (posix_ipc.Semaphore, posix_ipc.SharedMemory, posix_ipc.MessageQueue)
    everything = public(posix_ipc).union(*map(public, classes))
    assert everything - named == set()


def test_the_table_names_everything_that_shared_memory_has() -> None:
    named = {name for left, _ in rows(FROM_SHARED_MEMORY) for name in names(left)}
    everything = public(shared_memory.SharedMemory) | {"SharedMemory", "ShareableList"}
    assert everything - named == set()


@pytest.mark.parametrize("page", [FROM_POSIX, FROM_SHARED_MEMORY])
def test_the_tables_lead_to_names_that_exist(page: str) -> None:
    words = {name for _, right in rows(page) for name in names(right)}
    assert len(words) > 5
    assert words - OURS == set()


def test_removing_ends_waits_and_unlinking_does_not(run_python: Run) -> None:
    code = """
import sys, posix_ipc
semaphore = posix_ipc.Semaphore(sys.argv[1], posix_ipc.O_CREX, initial_value=1)
semaphore.unlink()
semaphore.acquire(0)
"""
    assert run_python(code, f"/sysv-ipc-{os.getpid()}").returncode == 0
    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    semaphore.remove()
    with pytest.raises(sysv_ipc.ExistentialError):
        semaphore.acquire(0)
