"""Build the sdist and the wheel, check their contents, and test the installed package.

The work is done in a copy of the tree, in a folder with a space in its name.
The sdist is built from the copy, the wheel from the sdist.  Then an editable
install is tried, PyInstaller freezes a program with the wheel, and the tests
run against the wheel without a source tree.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1].resolve()
# Variables of an outer make or of a checkout's environment, which the copy must not use.
UNWANTED = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONPATH", "VIRTUAL_ENV", "GIT_DIR")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNWANTED}
EDITABLE = """
import pathlib, sys, sysv_ipc.aio
folder = pathlib.Path(sysv_ipc.aio.__file__).parent
sys.exit(0 if folder == pathlib.Path("src/sysv_ipc").resolve() else f"not editable: {folder}")
"""


def say(text: str) -> None:
    """Print a heading before the output of the next step."""
    print(f"== {text}", flush=True)


def run(*command: str | Path, cwd: Path, quiet: bool = False) -> None:
    """Run a command; exit if it fails.  With quiet, print its output only then."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout or ''}failed ({done.returncode}): {' '.join(map(str, command))}")


def require(found: set[str], expected: set[str], what: str) -> None:
    """Exit unless two sets of names are equal."""
    problems = [f"{what} lacks {name}" for name in sorted(expected - found)]
    problems += [f"{what} should not contain {name}" for name in sorted(found - expected)]
    if problems:
        sys.exit("\n".join(problems))


def source_files() -> list[str]:
    """Return the project's files: those that git does not ignore, or all of an unpacked sdist."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        names = {name for name in listed.stdout.split("\0") if name}
    else:
        unwanted = re.compile(r"\.venv|__pycache__|\.\w+_cache|PKG-INFO|\.hypothesis")
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        names = {
            str(path) for path in paths if not any(unwanted.match(part) for part in path.parts)
        }
    return sorted(name for name in names if (ROOT / name).is_file())


def copy_tree(tree: Path, files: list[str]) -> None:
    """Copy the project and commit it there, because an sdist is made from a commit."""
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    run("git", "init", "--quiet", cwd=tree)
    run("git", "add", "--force", ".", cwd=tree)
    identity = ("-c", "user.name=sysv_ipc", "-c", "user.email=sysv_ipc@localhost")
    run("git", *identity, "commit", "--quiet", "--no-verify", "-m", "copy", cwd=tree)


def check_sdist(sdist: Path, files: list[str]) -> None:
    """Exit unless the sdist contains the project and its metadata, and no generated files."""
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames() if "/" in name}
        folders = {m.name.partition("/")[2] for m in archive.getmembers() if m.isdir()}
    require(found - folders, {*files, "PKG-INFO"}, "the sdist")


def check_wheel(wheel: Path, files: list[str]) -> None:
    """Exit unless the wheel contains modules, stubs, metadata and the licence, and nothing else."""
    version = re.search(r"version: '(.+?)'", (ROOT / "meson.build").read_text())
    assert version is not None
    info = f"sysv_ipc-{version[1]}.dist-info"
    package = {
        name.removeprefix("src/")
        for name in files
        if re.fullmatch(r"src/sysv_ipc/.+(\.pyi?|/py\.typed)", name)
    }
    extension = "sysv_ipc/_core" + sysconfig.get_config_var("EXT_SUFFIX")
    expected = {
        *package,
        extension,
        "sysv_ipc/_core.pyi",
        "sysv_ipc/py.typed",
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        f"{info}/licenses/LICENSE",
        *(f"sysv_ipc-{version[1]}.data/data/{name}" for name in files if name.startswith("share/")),
    }
    with zipfile.ZipFile(wheel) as archive:
        found = set(archive.namelist())
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    require(found, expected, "the wheel")
    for field, value in {
        "Name": "sysv_ipc",
        "Version": version[1],
        "Requires-Python": ">=3.11",
        "License-Expression": "MIT",
    }.items():
        if metadata[field] != value:
            sys.exit(f"the wheel's metadata has {field}: {metadata[field]} instead of {value}")
    for requirement in metadata.get_all("Requires-Dist", []):
        if "extra ==" not in requirement:
            sys.exit(f"the wheel requires {requirement}: it must not have run-time dependencies")


def main() -> None:
    """Build, check, install and test."""
    if len(sys.argv) < 2:
        sys.exit("usage: tools/check_packaging.py PYTHON [PYTEST ARGUMENT]...")
    python, pytest_arguments = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="sysv_ipc-") as name:
        folder = Path(name)
        tree, dist = folder / "with a space" / "sysv_ipc", folder / "dist"
        files = source_files()
        copy_tree(tree, files)

        say("make demo in a folder with a space in its name")
        run("make", "demo", f"PYTHON={python}", cwd=tree)
        own = next(tree.glob(".venv*")) / "bin" / "python"
        environment = ENVIRONMENT["PATH"]
        ENVIRONMENT["PATH"] = f"{own.parent}{os.pathsep}{environment}"

        say("sdist, and a wheel from it")
        build = f"import mesonpy; mesonpy.build_sdist({str(dist)!r})"
        dist.mkdir()
        run(own, "-c", build, cwd=tree, quiet=True)
        (sdist,) = dist.glob("*.tar.gz")
        check_sdist(sdist, files)
        pip = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--quiet")
        run(own, *pip, "wheel", "--no-deps", "--wheel-dir", dist, sdist, cwd=folder)
        (wheel,) = dist.glob("*.whl")
        check_wheel(wheel, files)
        print(sdist.name, wheel.name, flush=True)

        say("editable install")
        run(own, *pip, "install", "--no-build-isolation", "--no-deps", "--editable", ".", cwd=tree)
        run(own, "-c", EDITABLE, cwd=tree)

        ENVIRONMENT["PATH"] = environment
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        shutil.rmtree(unpacked / "src")
        shutil.rmtree(tree)

        say("frozen by PyInstaller")
        # The tests' own packages, rich and Pillow, would make the freezer add NumPy.
        run("tools/setup.sh", python, "freezer", "freeze", cwd=unpacked)
        freezer = unpacked / "freezer" / "bin" / "python"
        run(freezer, *pip, "install", "--no-deps", wheel, cwd=unpacked)
        run(freezer, "tools/check_freezers.py", "pyinstaller", cwd=unpacked)

        say("the tests against the wheel, without a source tree")
        run("tools/setup.sh", python, "fresh", "test", cwd=unpacked)
        fresh = unpacked / "fresh" / "bin" / "python"
        run(fresh, *pip, "install", "--no-deps", wheel, cwd=unpacked)
        run(fresh, "-m", "pytest", *pytest_arguments, cwd=unpacked)


if __name__ == "__main__":
    main()
