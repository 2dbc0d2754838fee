"""docs/how-to/migrate-from-1.2.0.md: the code in the table's last column runs.

tests/project/test_docs.py runs the programs of the page, and tests/compat/ compares the behaviour
with that of 1.2.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from helpers import ROOT

import sysv_ipc

pytestmark = [pytest.mark.once, pytest.mark.thread_unsafe("the objects have a fixed key")]

PAGE = (ROOT / "docs/how-to/migrate-from-1.2.0.md").read_text()


class Row(NamedTuple):
    """A row of the table."""

    case: str
    before: str
    now: str
    cure: str


def rows() -> list[Row]:
    table = PAGE.partition("| --- | --- | --- | --- |\n")[2].partition("\n\n")[0]
    return [Row(*line.strip("| ").split(" | ")) for line in table.splitlines()]


ROWS = rows()


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """The names that the page defines for the code."""
    key = sysv_ipc.key_from_name("example/migrate")
    semaphore = sysv_ipc.Semaphore(key, sysv_ipc.IPC_CREX, initial_value=1)
    memory = sysv_ipc.SharedMemory(key, sysv_ipc.IPC_CREX, size=4096)
    queue = sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX)
    objects: dict[str, Any] = {"semaphore": semaphore, "memory": memory, "queue": queue}
    view = memoryview(memory)
    yield {**vars(sysv_ipc), **objects, "key": key, "view": view, "seconds": -1.5}
    view.release()
    for one in objects.values():
        one.remove()
    if memory.attached:
        memory.detach()


@pytest.mark.parametrize("row", ROWS, ids=[row.case for row in ROWS])
def test_code_in_the_last_column_runs(row: Row, names: dict[str, Any]) -> None:
    for code in re.findall("`([^`]+)`", row.cure):
        if code == "memory.attach()":
            names["view"].release()
            names["memory"].detach()
        exec(code, names)


def test_the_table_has_a_cure_in_each_row() -> None:
    assert len(ROWS) > 20
    assert all(all(row) for row in ROWS)
    assert sum("`" in row.cure for row in ROWS) > 10


def test_the_names_of_the_page_are_those_of_the_test(names: dict[str, Any]) -> None:
    text = PAGE.partition("## All differences")[2].partition("| case |")[0]
    used = {
        word for span in re.findall("`([^`]+)`", text) for word in re.findall(r"[a-z]\w+", span)
    }
    assert used <= set(names)
