"""tools/stub_docs.py notices every docstring of the stubs that is not that of the extension.

The name of this file keeps it out of the suite: it needs ruff.  ``make lint`` runs it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Change = Callable[[str, str, str], None]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that the tool uses."""
    for name in ("pyproject.toml", "tools/stub_docs.py", "tools/constants.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "src/sysv_ipc").mkdir(parents=True)
    for name in ("_core.pyi", "_linux.pyi"):
        shutil.copy(ROOT / "src/sysv_ipc" / name, tmp_path / "src/sysv_ipc" / name)
    return tmp_path


@pytest.fixture
def run(tree: Path) -> Run:
    """Run the tool in the copy."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/stub_docs.py", *arguments]
        return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def change(tree: Path) -> Change:
    """Replace a text in a file of the copy."""

    def change(name: str, old: str, new: str) -> None:
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new, 1))

    return change


CORE = "src/sysv_ipc/_core.pyi"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (CORE, "Subtract delta from the value.", "Take delta."),
        (CORE, '    """The value, 0 to SEMAPHORE_VALUE_MAX', '    """The number, 0 to'),
        (CORE, '\n    """A number in a segment', '\n    """A word in a segment'),
        (CORE, '\n"""The largest value of a semaphore (SEMVMX)."""', ""),
        ("src/sysv_ipc/_linux.pyi", "huge pages of 2 MiB", "huge pages of 2 MB"),
    ],
)
def test_another_text_is_a_difference_and_is_replaced(
    tree: Path, run: Run, change: Change, name: str, old: str, new: str
) -> None:
    before = (tree / name).read_text()
    change(name, old, new)
    checked = run("--check")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert f"+++ {name} as it should be" in checked.stdout
    assert run().returncode == 0
    assert (tree / name).read_text() == before


def test_a_constant_without_a_text_is_named(run: Run, change: Change) -> None:
    change("tools/constants.toml", "SEM_UNDO =", "SEM_REDO =")
    told = run("--check")
    assert told.returncode == 1
    assert "SEM_UNDO: constants.toml does not describe it" in told.stderr
    assert "SEM_REDO: constants.toml has it, but no stub" in told.stderr


def test_a_line_that_begins_like_an_import_is_named(run: Run, change: Change) -> None:
    text = "The largest value of a semaphore (SEMVMX)."
    change("tools/constants.toml", text, f"{'x' * 90} from semaphores")
    told = run("--check")
    assert told.returncode == 1
    assert "SEMAPHORE_VALUE_MAX: a line of the docstring begins like an import" in told.stderr
