"""Build the sdist and the wheel, check their contents, and install them in the ways people use.

The work is done in a copy of the tree, in a folder whose name has a space and is not ASCII.  The
sdist is built from the copy, the wheel from the sdist, and each once: the ways to install that do
not build use this wheel.  In each environment tools/try_package.py runs.  Then the tests run
against the wheel without a source tree.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1].resolve()
# Variables of an outer make or of a checkout's environment, which the copy must not use.
UNWANTED = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONPATH", "VIRTUAL_ENV", "GIT_DIR")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNWANTED}
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--quiet")
EDITABLE = """
import pathlib, sys, sysv_ipc.aio
folder = pathlib.Path(sysv_ipc.aio.__file__).parent
sys.exit(0 if folder == pathlib.Path("src/sysv_ipc").resolve() else f"not editable: {folder}")
"""
#: A project that depends on a checkout.  uv must lock it without building the checkout, which would
#: fail, because CC names no compiler.
DEPENDENT = """
[project]
name = "dependent"
version = "1"
requires-python = ">=3.11"
dependencies = ["sysv_ipc"]
[tool.uv.sources]
sysv_ipc = {{ path = "{tree}" }}
"""


def say(text: str) -> None:
    """Print a heading before the output of the next step."""
    print(f"== {text}", flush=True)


def run(*command: str | Path, cwd: Path, quiet: bool = False, **variables: str | Path) -> None:
    """Run a command with some variables set; exit if it fails.

    With quiet, print its output only then.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT | {name: str(value) for name, value in variables.items()},
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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = f"sysv_ipc-{project['version']}.dist-info"
    data = f"sysv_ipc-{project['version']}.data/data"
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
        *(f"{data}/{name}" for name in files if name.startswith("share/")),
    }
    with zipfile.ZipFile(wheel) as archive:
        found = set(archive.namelist())
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    require(found, expected, "the wheel")
    for field, value in {
        "Name": "sysv_ipc",
        "Version": project["version"],
        "Requires-Python": ">=3.11",
        "License-Expression": "MIT",
    }.items():
        if metadata[field] != value:
            sys.exit(f"the wheel's metadata has {field}: {metadata[field]} instead of {value}")
    urls = {f"{name}, {url}" for name, url in project["urls"].items()}
    require(set(metadata.get_all("Project-URL", [])), urls, "the wheel's list of URLs")
    for requirement in metadata.get_all("Requires-Dist", []):
        if "extra ==" not in requirement:
            sys.exit(f"the wheel requires {requirement}: it must not have run-time dependencies")


def build_sdist(python: Path, tree: Path, folder: Path) -> Path:
    """Build the sdist of a commit, with the packages of group build."""
    folder.mkdir(parents=True)
    code = f"import mesonpy; mesonpy.build_sdist({str(folder)!r})"
    path = f"{python.parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    run(python, "-c", code, cwd=tree, quiet=True, PATH=path)
    (sdist,) = folder.glob("*.tar.gz")
    return sdist


def check_reproducible(python: Path, tree: Path, sdist: Path, folder: Path) -> None:
    """Exit unless another clone of the commit, made later, gives the same sdist."""
    clone = folder / "clone"
    run("git", "clone", "--quiet", tree, clone, cwd=folder)
    again = build_sdist(python, clone, folder / "again")
    if again.read_bytes() != sdist.read_bytes():
        sys.exit("two sdists of one commit differ")


def test_wheel(python: str, wheel: Path, unpacked: Path, arguments: list[str]) -> None:
    """Run the tests against a wheel, in an unpacked sdist without sources."""
    run("tools/setup.sh", python, "fresh", "test", cwd=unpacked)
    fresh = unpacked / "fresh" / "bin" / "python"
    run(fresh, *PIP, "install", "--no-deps", wheel, cwd=unpacked)
    run(fresh, "-m", "pytest", *arguments, cwd=unpacked)


class Built(NamedTuple):
    """Everything that an installation needs."""

    #: The command of the interpreter, and the Python of the environment that built the wheel.
    python: str
    own: Path
    #: A checkout, the sdist, the wheel, and a folder for anything else.
    tree: Path
    sdist: Path
    wheel: Path
    folder: Path


def environment(built: Built, name: str, python: str | Path = "") -> Path:
    """Create a virtual environment and return its Python."""
    folder = built.folder / name
    run(python or built.own, "-m", "venv", folder, cwd=built.folder)
    return folder / "bin" / "python"


def attempt(python: Path, cwd: Path) -> None:
    """Run the program that uses each part of the package, and the command."""
    alone = ["unshare", "--ipc"] if os.geteuid() == 0 else ["unshare", "--ipc", "--map-root-user"]
    run(*alone, python, ROOT / "tools/try_package.py", cwd=cwd, quiet=True)
    run(*alone, python.parent / "sysv-ipc", "limits", cwd=cwd, quiet=True)


def pip_with_extras(built: Built) -> None:
    """Install as a user who has a checkout does."""
    python = environment(built, "extras")
    run(python, *PIP, "install", ".[cli,numpy]", cwd=built.tree)
    attempt(python, built.folder)
    run(python, "-m", "pip", "check", cwd=built.folder, quiet=True)
    run(python, "-c", "import numpy", cwd=built.folder)


def editable(built: Built) -> None:
    """Install a checkout so that its Python files are those that are imported."""
    path = f"{built.own.parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    options = ("--no-build-isolation", "--no-deps", "--editable")
    run(built.own, *PIP, "install", *options, ".", cwd=built.tree, PATH=path)
    run(built.own, "-c", EDITABLE, cwd=built.tree, PATH=path)


def debians_python(built: Built) -> None:
    """Install the sdist for the system's Python, with a compiler on the PATH, but little else.

    Debian builds Python in its own way.  git is not on the PATH.
    """
    few = built.folder / "few"
    few.mkdir()
    for name in ("cc", "gcc", "as", "ld", "ar", "gcc-ar", "sh", "grep", "cut", "rm"):
        if found := shutil.which(name, path=ENVIRONMENT["PATH"]):
            (few / name).symlink_to(found)
    python = environment(built, "debian", "/usr/bin/python3")
    run(python, *PIP, "install", built.sdist, cwd=built.folder, PATH=few)
    attempt(python, built.folder)


def uv(built: Built) -> None:
    """Lock a project that depends on a checkout, and install the wheel, also as a tool."""
    folder = built.folder / "uv"
    folder.mkdir()
    python = environment(built, "for-uv")
    run(python, *PIP, "install", "uv", cwd=folder)
    program = python.parent / "uv"
    run(program, "lock", "--quiet", "--python", built.own, cwd=built.tree)
    (folder / "pyproject.toml").write_text(DEPENDENT.format(tree=built.tree))
    run(program, "lock", "--quiet", "--python", built.own, cwd=folder, CC="no-such-compiler")
    run(program, "venv", "--quiet", "--python", built.own, folder / "venv", cwd=folder)
    installed = folder / "venv/bin/python"
    run(program, "pip", "install", "--quiet", "--python", installed, built.wheel, cwd=folder)
    attempt(installed, folder)
    # Like pipx, this makes an environment for the tool and links to its commands.
    tool = (program, "tool", "install", "--quiet", "--python", built.own, built.wheel)
    run(*tool, cwd=folder, UV_TOOL_DIR=folder / "tools", UV_TOOL_BIN_DIR=folder / "bin")
    run(folder / "bin/sysv-ipc", "limits", cwd=folder, quiet=True)


def pyinstaller(built: Built) -> None:
    """Freeze a program."""
    # Packages of the tests, such as Pillow, would make the freezer add NumPy.
    venv = built.folder / "freezer"
    run("tools/setup.sh", built.python, venv, "freeze", cwd=ROOT, quiet=True)
    freezer = venv / "bin" / "python"
    run(freezer, *PIP, "install", "--no-deps", built.wheel, cwd=built.folder)
    run(freezer, ROOT / "tools/check_freezers.py", "pyinstaller", cwd=built.folder, quiet=True)


#: The longest come first.
WAYS: dict[str, Callable[[Built], None]] = {
    "pip install '.[cli,numpy]', in a folder with a space": pip_with_extras,
    "the sdist, with Debian's Python and few programs": debians_python,
    "PyInstaller": pyinstaller,
    "pip install --editable": editable,
    "uv lock, uv pip install, uv tool install": uv,
}


def install(built: Built) -> None:
    """Install in all ways, two at once; exit if one fails."""

    def one(name: str) -> str:
        start = time.monotonic()
        try:
            WAYS[name](built)
        except SystemExit as failure:
            print(f"FAILED: {name}\n{failure}", flush=True)
            return name
        print(f"ok: {name} ({time.monotonic() - start:.0f} s)", flush=True)
        return ""

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        if failed := [name for name in pool.map(one, WAYS) if name]:
            sys.exit(f"these ways to install failed: {', '.join(failed)}")


def main() -> None:
    """Build, check, install and test."""
    if len(sys.argv) < 2:
        sys.exit("usage: tools/check_packaging.py PYTHON [PYTEST ARGUMENT]...")
    python, pytest_arguments = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="sysv_ipc-") as name:
        folder = Path(name)
        tree = folder / "with a space, größer" / "sysv_ipc"
        files = source_files()
        copy_tree(tree, files)

        say("make demo in a folder whose name has a space and is not ASCII")
        run("make", "demo", f"PYTHON={python}", cwd=tree)
        own = next(tree.glob(".venv*")) / "bin" / "python"

        say("sdist, and a wheel from it")
        sdist = build_sdist(own, tree, folder / "dist")
        check_sdist(sdist, files)
        check_reproducible(own, tree, sdist, folder)
        path = f"{own.parent}{os.pathsep}{ENVIRONMENT['PATH']}"
        options = ("--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist")
        run(own, *PIP, "wheel", *options, sdist, cwd=folder, PATH=path)
        (wheel,) = (folder / "dist").glob("*.whl")
        check_wheel(wheel, files)
        print(sdist.name, wheel.name, flush=True)

        say("ways to install")
        install(Built(python, own, tree, sdist, wheel, folder))

        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        shutil.rmtree(unpacked / "src")
        shutil.rmtree(tree)
        say("the tests against the wheel, without a source tree")
        test_wheel(python, wheel, unpacked, pytest_arguments)


if __name__ == "__main__":
    main()
