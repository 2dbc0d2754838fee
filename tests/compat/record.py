"""Record the behaviour of sysv_ipc 1.2.0: run calls.py under it, write recorded_1.2.0.txt.

1.2.0 is built from its source package into a virtual environment in the user's cache, together
with the rivals of the benchmarks.  Run this again after a change to calls.py or to ``calls/``.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
CALLS = HERE / "calls.py"
RECORDING = HERE / "recorded_1.2.0.txt"
CACHE = Path.home() / ".cache/sysv_ipc"

#: Variables that would make another build or interpreter use the library under test.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "CFLAGS", "LDFLAGS")

#: Options of pip that select the source package of 1.2.0.
REQUIREMENT = ("--no-binary", "sysv-ipc", "sysv-ipc==1.2.0")


class CannotInstallError(Exception):
    """1.2.0 cannot be installed; the text says why."""


def environment() -> dict[str, str]:
    """Return the environment without the variables that concern the library under test."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def has_old_library(python: Path) -> bool:
    """Return True if this interpreter exists and imports 1.2.0."""
    check = "import sysv_ipc, sys; sys.exit(sysv_ipc.VERSION != '1.2.0')"
    if not python.exists():
        return False
    command = [str(python), "-c", check]
    return subprocess.run(command, capture_output=True, env=environment()).returncode == 0


def install(python: Path) -> None:
    """Install 1.2.0 for this interpreter, or raise CannotInstallError."""
    command = [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENT]
    try:
        subprocess.run(
            command, capture_output=True, text=True, timeout=90, check=True, env=environment()
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or error
        text = f"needs a package index: pip cannot install sysv-ipc 1.2.0: {said}"
        raise CannotInstallError(text) from error


def old_python() -> Path:
    """Return an interpreter that imports 1.2.0; install 1.2.0 if necessary."""
    version = "{}.{}".format(*sys.version_info)
    folder = CACHE / f"rival-1.2.0-python{version}"
    python = folder / "bin/python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "rival-1.2.0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_old_library(python):
            venv.create(folder, clear=True, with_pip=True)
            install(python)
    return python


def make_calls(python: Path | str, env: dict[str, str] | None = None) -> str:
    """Run calls.py under an interpreter and return its output."""
    command = [str(python), str(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
    if done.returncode != 0:
        raise RuntimeError(f"{CALLS.name} failed under {python}:\n{done.stderr}")
    return done.stdout


def record() -> str:
    """Return the output of calls.py under 1.2.0."""
    return make_calls(old_python(), environment())


def main() -> None:
    """Write the recording."""
    try:
        text = record()
    except CannotInstallError as error:
        sys.exit(str(error))
    if " => not run" in text:
        sys.exit("some of the calls need root, which can become another user")
    RECORDING.write_text(text)
    print(f"wrote {RECORDING.name}")


if __name__ == "__main__":
    main()
