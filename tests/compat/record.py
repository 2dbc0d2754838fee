"""Record what sysv_ipc 1.2.0 does: run calls.py under it and write recorded_1.2.0.txt.

1.2.0 is built from its source package into a virtual environment in the user's cache, where the
benchmarks' rivals live too.  Run this again after a change to calls.py or to ``calls/``.
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

#: What would make another build or interpreter follow the library under test.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "CFLAGS", "LDFLAGS")

#: pip's options that get 1.2.0 as its source package.
REQUIREMENT = ("--no-binary", "sysv-ipc", "sysv-ipc==1.2.0")


class CannotInstallError(Exception):
    """1.2.0 cannot be installed; the text says why."""


def environment() -> dict[str, str]:
    """Return the environment without what concerns the library under test."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def has_old_library(python: Path) -> bool:
    """Tell whether this interpreter exists and imports 1.2.0."""
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
    """Return an interpreter that imports 1.2.0; install it where that was not done before."""
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
    """Run calls.py under an interpreter and return what it printed."""
    command = [str(python), str(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
    if done.returncode != 0:
        raise RuntimeError(f"{CALLS.name} failed under {python}:\n{done.stderr}")
    return done.stdout


def record() -> str:
    """Return what calls.py prints under 1.2.0."""
    return make_calls(old_python(), environment())


def main() -> None:
    """Write the recording."""
    try:
        text = record()
    except CannotInstallError as error:
        sys.exit(str(error))
    if " => not run" in text:
        sys.exit("only root can become another user, which some of the calls need")
    RECORDING.write_text(text)
    print(f"wrote {RECORDING.name}")


if __name__ == "__main__":
    main()
