"""The library after chroot(2), under other interpreters and on other machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT

import sysv_ipc

pytestmark = pytest.mark.once

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

PACKAGE = Path(sysv_ipc.__file__).parent

# ------------------------------------------------------------------------------- after chroot()

AFTER_CHROOT = """
import os, sys
import sysv_ipc, sysv_ipc.aio
os.chroot(sys.argv[1])
os.chdir("/")
assert os.listdir("/") == []
before = set(sys.modules)
try:
    sysv_ipc.MessageQueue(77)
except sysv_ipc.ExistentialError as error:
    print(error.__notes__)
queue = sysv_ipc.MessageQueue(77, sysv_ipc.IPC_CREX)
semaphore = sysv_ipc.Semaphore(77, sysv_ipc.IPC_CREX, initial_value=3)
segment = sysv_ipc.SharedMemory(77, sysv_ipc.IPC_CREX)
try:
    sysv_ipc.MessageQueue(77, sysv_ipc.IPC_CREX)
except sysv_ipc.ExistentialError as error:
    print(error.__notes__)
print([record.id == queue.id for record in sysv_ipc.message_queues()])
print([record.members[0].value for record in sysv_ipc.semaphores(members=True)])
print([(record.resident, record.pids, record.pids_complete)
       for record in sysv_ipc.shared_memories(pids=True)])
print(sysv_ipc.limits().queues)
print(segment.atomic(0, "u32").add(1), semaphore.info().nsems)
for handle in queue, semaphore, segment:
    handle.remove()
print(sorted(name for name in set(sys.modules) - before if name.startswith("sysv_ipc")))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for chroot(2)")
def test_after_chroot_errors_have_notes_and_lists_have_all_records(
    run_python: RunPython, tmp_path: Path
) -> None:
    code = "import namespace; namespace.enter()\n" + AFTER_CHROOT
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['To create it: MessageQueue(77, IPC_CREX).']",
        "['To open the existing one: MessageQueue(77); to open it or create it:"
        " MessageQueue(77, IPC_CREAT).']",
        "[True]",
        "[3]",
        "[(None, (), False)]",
        "1",
        f"{0x20202020} 1",
        "[]",
    ]


def test_python_modules_that_the_core_needs_are_imported_with_it(run_python: RunPython) -> None:
    code = "import sys, sysv_ipc; print(*sorted(x for x in sys.modules if 'sysv_ipc' in x))"
    assert run_python(code).stdout.split() == [
        "sysv_ipc",
        "sysv_ipc._core",
        "sysv_ipc.cures",
        "sysv_ipc.listing",
    ]


# ------------------------------------------------------------------------------------- freezers


def test_freezers_find_no_numpy_in_the_stub() -> None:
    """Nuitka treats the imports of an extension's stub as imports of the extension."""
    imported = {
        line.split()[1].split(".")[0]
        for line in (PACKAGE / "_core.pyi").read_text().splitlines()
        if line.strip().startswith(("import ", "from "))
    }
    assert imported - {"sysv_ipc"} <= sys.stdlib_module_names


# --------------------------------------------------------------------------- no such extension


@pytest.fixture
def without_extension(tmp_path: Path) -> Path:
    """A folder with the package, installed for another interpreter."""
    hidden = shutil.ignore_patterns("_core.*.so", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "site" / "sysv_ipc", ignore=hidden)
    (tmp_path / "site" / "sysv_ipc" / "_core.cpython-399-somewhere.so").touch()
    return tmp_path / "site"


def imports(place: Path, *arguments: str) -> str:
    """Return the last line of Python's output for this import, with only the package there."""
    done = subprocess.run(
        [sys.executable, "-S", "-P", *arguments],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import sysv_ipc.aio"],
        ["-c", "from sysv_ipc import aio"],
        ["-c", "import sysv_ipc.cli"],
        ["-m", "sysv_ipc", "ls"],
    ],
)
def test_importing_a_package_for_another_interpreter_says_what_to_do(
    without_extension: Path, arguments: list[str]
) -> None:
    told = imports(without_extension, *arguments)
    assert f"ImportError: sysv_ipc in {without_extension / 'sysv_ipc'} has no extension" in told
    assert f"({sys.implementation.cache_tag}): only _core.cpython-399-somewhere.so." in told
    assert f"{sys.executable} -m pip install" in told


def test_importing_from_a_zip_file_says_that_the_extension_is_missing(
    without_extension: Path, tmp_path: Path
) -> None:
    name = tmp_path / "all.zip"
    with zipfile.ZipFile(name, "w") as archive:
        archive.mkdir("sysv_ipc")
        for path in sorted((without_extension / "sysv_ipc").rglob("*")):
            archive.write(path, path.relative_to(without_extension))
    told = imports(name, "-c", "import sysv_ipc.aio")
    assert told.startswith(f"ImportError: sysv_ipc in {name}/sysv_ipc has no extension for this")
    assert "zip" in told


# ------------------------------------------------------------------------------- other machines

SOURCE = ROOT / "src"


@pytest.fixture(scope="session")
def without_wide_atomics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built as for a machine without 64-bit atomic instructions."""
    place = tmp_path_factory.mktemp("narrow")
    folder = place / "sysv_ipc"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    narrow = "__GCC_ATOMIC_LLONG_LOCK_FREE"
    command = ["gcc", "-shared", "-fPIC", "-O0", "-w", "-std=gnu11", "-D_GNU_SOURCE"]
    command += [f"-U{narrow}", f"-D{narrow}=1", '-DSYSV_IPC_VERSION="narrow"']
    command += [
        "-I",
        sysconfig.get_path("include"),
        "-I",
        str(SOURCE),
        *map(str, SOURCE.rglob("*.c")),
    ]
    extension = folder / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([*command, "-o", str(extension), "-lpthread", "-lrt"], check=True, timeout=100)
    return place


NARROW = """
import sysv_ipc
assert sysv_ipc.VERSION == "narrow"
memory = sysv_ipc.SharedMemory(0xDEADBEEF, sysv_ipc.IPC_CREX, init_character=b"\\0")
try:
    print(memory.key == 0xDEADBEEF - 2**32, memory.atomic(0, "i32").add(5),
          memory.atomic(0, "u32").compare_exchange(5, 6), memory.atomic(0, "u32").load())
    for name in "i64", "u64":
        try:
            memory.atomic(0, name)
        except sysv_ipc.Error as error:
            print(type(error).__name__, error.errno, error.key == memory.key, error)
    print(sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX).remove(), memory == memory)
finally:
    memory.detach()
    memory.remove()
"""


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="needs CPython with the GIL: without it the compiler refuses such a machine",
)
def test_without_64_bit_atomics_only_those_are_refused(
    without_wide_atomics: Path, run_python: RunPython
) -> None:
    done = run_python(NARROW, env={**os.environ, "PYTHONPATH": str(without_wide_atomics)})
    assert done.stderr == ""
    first, *refused, last = done.stdout.splitlines()
    assert first == "True 0 True 6"
    assert last == "None True"
    for line, name in zip(refused, ("i64", "u64"), strict=True):
        assert line.startswith("Error 38 True [Errno 38] ")
        assert line.endswith(f"64 bits, which {name} needs: use i32 or u32")


# ------------------------------------------------------------------------- other implementations


def test_another_implementation_than_cpython_is_refused_with_a_text(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.implementation.name = 'pypy'\n")
    done = subprocess.run(
        [sys.executable, "-m", "mesonbuild.mesonmain", "setup", str(tmp_path / "build")],
        cwd=SOURCE.parent,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode != 0
    assert "sysv_ipc needs CPython 3.11 or newer, and this is pypy" in done.stdout
