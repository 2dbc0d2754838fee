"""The recipes, examples/how_to/ and docs/how-to/: their folders, and how tests run them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from helpers import ROOT

FOLDER = ROOT / "examples/how_to"
PAGES = ROOT / "docs/how-to"

#: The folder of sysv-ipc and gunicorn.
SCRIPTS = Path(sys.executable).parent


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which the commands of this interpreter are found first."""
    return {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", **variables}


def run_command(*command: str | Path) -> str:
    """Run a command that must succeed and complain of nothing, and return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def run_recipe(name: str, *arguments: str) -> str:
    """Run a program of examples/how_to/, with warnings as errors."""
    return run_command(sys.executable, "-W", "error", FOLDER / name, *arguments)


@contextmanager
def running_recipe(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program of examples/how_to/, and kill it at the end if it still runs."""
    command = [sys.executable, "-W", "error", str(FOLDER / name), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def load_recipe(name: str) -> ModuleType:
    """Import a program of examples/how_to/."""
    path = FOLDER / name
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def outputs(page: str) -> list[str]:
    """Return the blocks of text of a page."""
    text = (PAGES / page).read_text()
    return re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
