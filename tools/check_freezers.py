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

#: The program, and a check that no freezer has added NumPy.
PROGRAM = (
    (Path(__file__).parent / "try_package.py").read_text()
    + """
import importlib.util
assert "numpy" not in sys.modules and importlib.util.find_spec("numpy") is None
"""
)


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
