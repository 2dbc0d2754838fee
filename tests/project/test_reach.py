"""The library after chroot(2), under other interpreters and on other machines."""

from __future__ import annotations

import os
import re
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root can call chroot(2)")
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
        "['sysv_ipc.cures', 'sysv_ipc.listing']",
    ]


# ------------------------------------------------------- modules whose code is in the extension

#: Uses both modules for the first time.
FIRST_USE = """
import sys, sysv_ipc
try:
    sysv_ipc.remove_semaphore(2**31 - 1)
except sysv_ipc.ExistentialError as error:
    note = error.__notes__[0].partition(",")[0]
sysv_ipc.shared_memories()
"""
NOTE = "The object never existed"


def test_the_package_is_imported_without_the_modules_for_errors_and_lists(
    run_python: RunPython,
) -> None:
    code = "import sys, sysv_ipc; print(*sorted(x for x in sys.modules if 'sysv_ipc' in x))"
    assert run_python(code).stdout.split() == ["sysv_ipc", "sysv_ipc._core"]


@pytest.mark.parametrize("options", [[], ["-OO"]])
def test_the_modules_are_there_after_their_first_use(options: list[str]) -> None:
    code = FIRST_USE + "print(note, sysv_ipc.cures.__file__, sysv_ipc.listing.__file__)"
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60
    )
    files = f"{PACKAGE / 'cures.py'} {PACKAGE / 'listing.py'}"
    assert (done.stdout, done.stderr) == (f"{NOTE} {files}\n", "")


def test_the_code_in_the_extension_is_that_of_the_files(run_python: RunPython) -> None:
    code = """
import runpy
for module in sysv_ipc.cures, sysv_ipc.listing:
    file = runpy.run_path(module.__file__)
    functions = [name for name, value in file.items() if hasattr(value, "__code__")]
    print(len(functions) > 8, [name for name in functions
                               if getattr(module, name).__code__ != file[name].__code__])
"""
    assert run_python(FIRST_USE + code).stdout.splitlines() == ["True []", "True []"]


def test_a_traceback_shows_the_lines_of_the_file(run_python: RunPython) -> None:
    done = run_python(FIRST_USE + "sysv_ipc.listing._stat('/missing')")
    assert f'File "{PACKAGE / "listing.py"}", line' in done.stderr
    assert 'with open(f"{folder}/stat", "rb") as file:' in done.stderr


def test_the_core_uses_a_module_that_the_program_has_imported(run_python: RunPython) -> None:
    code = """
import sysv_ipc.listing
sysv_ipc.listing.with_memory = lambda core, records, pids: "the program's"
print(sysv_ipc.shared_memories())
"""
    assert run_python(code).stdout == "the program's\n"


def test_a_first_use_in_code_without_built_in_names_has_notes(run_python: RunPython) -> None:
    code = """
import sysv_ipc
try:
    exec("call(2**31 - 1)", {"call": sysv_ipc.remove_semaphore, "__builtins__": {}})
except sysv_ipc.ExistentialError as error:
    print(error.__notes__[0].partition(",")[0])
"""
    assert run_python(code).stdout == f"{NOTE}\n"


def test_threads_that_use_a_module_for_the_first_time_at_once_share_it(
    run_python: RunPython,
) -> None:
    code = """
import sys, sysv_ipc, threading
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
found = []
def use():
    barrier.wait()
    try:
        sysv_ipc.remove_semaphore(2**31 - 1)
    except sysv_ipc.ExistentialError as error:
        found.append((len(error.__notes__), sys.modules["sysv_ipc.cures"]))
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), {notes for notes, _ in found}, len({module for _, module in found}))
"""
    assert run_python(code).stdout == "8 {1} 1\n"


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
    """The package, built as for a machine without 64-bit atomic instructions.

    The code of Python modules in it is marked as that of another interpreter.
    """
    place = tmp_path_factory.mktemp("narrow")
    folder = place / "sysv_ipc"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    code = place / "embedded_code.c"
    modules = [SOURCE / "sysv_ipc" / name for name in ("cures.py", "listing.py")]
    subprocess.run([sys.executable, ROOT / "tools/embed.py", code, *modules], check=True)
    code.write_text(re.sub(r"(core_embedded_magic) = \d+;", r"\1 = 1;", code.read_text()))
    narrow = "__GCC_ATOMIC_LLONG_LOCK_FREE"
    command = ["gcc", "-shared", "-fPIC", "-O0", "-w", "-std=gnu11", "-D_GNU_SOURCE"]
    command += [f"-U{narrow}", f"-D{narrow}=1", '-DSYSV_IPC_VERSION="narrow"']
    command += [
        "-I",
        sysconfig.get_path("include"),
        "-I",
        str(SOURCE),
        *map(str, [code, *SOURCE.rglob("*.c")]),
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


needs_gil = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="needs CPython with the GIL: without it the compiler refuses such a machine",
)


@needs_gil
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


@needs_gil
def test_an_interpreter_with_other_bytecode_imports_the_files(
    without_wide_atomics: Path, run_python: RunPython
) -> None:
    code = FIRST_USE + "print(note, sysv_ipc.listing.__spec__.origin)"
    done = run_python(code, env={**os.environ, "PYTHONPATH": str(without_wide_atomics)})
    file = without_wide_atomics / "sysv_ipc" / "listing.py"
    assert done.stdout == f"{NOTE} {file}\n"


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
