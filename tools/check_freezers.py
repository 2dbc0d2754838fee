"""Freeze a program that uses the package, without options for the package, and run the result.

The arguments name freezers.  They, the package and NumPy must be installed for this interpreter:
NumPy, so that a freezer could add it by mistake.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

#: Modules that the extension imports itself (cures, listing) are used first, before imports of the
#: program could have added them.
PROGRAM = """
import sysv_ipc

try:
    sysv_ipc.Semaphore(0x7777)
except sysv_ipc.ExistentialError as error:
    assert error.__notes__ == ["To create it: Semaphore(30583, IPC_CREX)."], error.__notes__
semaphore = sysv_ipc.Semaphore(0x7777, sysv_ipc.IPC_CREX, initial_value=1)
segment = sysv_ipc.SharedMemory(0x7777, sysv_ipc.IPC_CREX)
(record,) = sysv_ipc.semaphores(members=True)
assert record.members[0].value == 1
(record,) = sysv_ipc.shared_memories(pids=True)
assert record.pids and record.number_attached == 1

import asyncio
import importlib.util
import pickle
import sys

import sysv_ipc.aio
import sysv_ipc.cli


async def acquire():
    await sysv_ipc.aio.Semaphore.from_id(semaphore.id).acquire()


asyncio.run(acquire())
assert pickle.loads(pickle.dumps(semaphore)) == semaphore
assert sysv_ipc.cli.main(["ls"]) == 0
segment.detach()
segment.remove()
semaphore.remove()
assert "numpy" not in sys.modules and importlib.util.find_spec("numpy") is None
print("everything works")
"""


def pyinstaller(folder: Path, program: Path) -> Path:
    """Freeze with PyInstaller and return the program to run."""
    options = ("--log-level=ERROR", "-y", "--distpath=dist", "--workpath=work", "--specpath=.")
    run(folder, "-m", "PyInstaller", *options, program)
    return folder / "dist/program/program"


def cx_freeze(folder: Path, program: Path) -> Path:
    """Freeze with cx_Freeze and return the program to run."""
    run(folder, "-m", "cx_Freeze", "--script", program, "build_exe", "--build-exe=dist", "--silent")
    return folder / "dist/program"


def nuitka(folder: Path, program: Path) -> Path:
    """Compile with Nuitka and return the program to run."""
    options = ("--standalone", "--assume-yes-for-downloads", "--quiet")
    run(folder, "-m", "nuitka", *options, program)
    return folder / "program.dist/program.bin"


FREEZERS: dict[str, Callable[[Path, Path], Path]] = {
    "pyinstaller": pyinstaller,
    "cx_freeze": cx_freeze,
    "nuitka": nuitka,
}


def run(folder: Path, *arguments: str | Path) -> None:
    """Run Python; if it fails, exit with its output."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}failed: {' '.join(map(str, command))}")


def main() -> int:
    """Freeze with the freezers that are named, otherwise with all."""
    names = sys.argv[1:] or list(FREEZERS)
    if unknown := set(names) - set(FREEZERS):
        print(f"no such freezer: {', '.join(unknown)}; choose from {', '.join(FREEZERS)}")
        return 2
    alone = ["unshare", "--ipc"] if os.geteuid() == 0 else ["unshare", "--ipc", "--map-root-user"]
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="sysv_ipc-") as folder:
            program = Path(folder) / "program.py"
            program.write_text(PROGRAM)
            frozen = FREEZERS[name](Path(folder), program)
            # Move it, so that it cannot use the installed packages.
            moved = Path(folder) / "moved"
            shutil.move(frozen.parent, moved)
            done = subprocess.run(
                [*alone, str(moved / frozen.name)], capture_output=True, text=True, timeout=120
            )
            size = sum(path.stat().st_size for path in moved.rglob("*") if path.is_file()) >> 20
        right = done.returncode == 0 and done.stdout.endswith("everything works\n")
        print(f"{'ok' if right else 'FAILED'}: {name} ({size} MB)", flush=True)
        if not right:
            print(done.stdout + done.stderr)
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
