"""The module: its names, constants and functions, and all ways to import it."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import pickle
import re
import subprocess
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import calls
import pytest
from calls import KINDS, REMOVE
from helpers import as_other_user, listed

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    IPC_PRIVATE,
    ArgumentError,
    ExistentialError,
    KeyTypeError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
    exists,
)

Run = Callable[..., subprocess.CompletedProcess[str]]

CLASSES = calls.HANDLES


@pytest.fixture
def made(table: str, key: int) -> Iterator[Any]:
    """One object of each kind in turn."""
    with calls.made(KINDS[table], key) as handle:
        yield handle


# ---------------------------------------------------------------------------------- names


def public_names() -> list[str]:
    namespace: dict[str, object] = {}
    exec("from sysv_ipc import *", namespace)
    return sorted(name for name in namespace if name != "__builtins__")


def test_constants_are_those_of_the_systems_headers(peer: Callable[[str], Path]) -> None:
    shown = subprocess.run([peer("constants")], capture_output=True, text=True, check=True)
    theirs = {name: int(value) for name, value in map(str.split, shown.stdout.splitlines())}
    assert {name: getattr(sysv_ipc, name) for name in theirs} == theirs


def test_every_constant_of_a_flag_is_compared_with_the_headers(
    peer: Callable[[str], Path],
) -> None:
    shown = subprocess.run([peer("constants")], capture_output=True, text=True, check=True)
    theirs = {line.split()[0] for line in shown.stdout.splitlines()}
    prefixes = ("IPC_", "SEM_", "SHM_", "KEY_")
    assert {name for name in public_names() if name.startswith(prefixes)} <= theirs


def test_semvmx_is_the_largest_value_that_the_kernel_takes(semaphore: Semaphore) -> None:
    semaphore.value = sysv_ipc.SEMAPHORE_VALUE_MAX
    with pytest.raises(ArgumentError):
        semaphore.release()
    assert semaphore.value == sysv_ipc.SEMAPHORE_VALUE_MAX


def test_timeouts_are_supported() -> None:
    assert sysv_ipc.SEMAPHORE_TIMEOUT_SUPPORTED is True


def test_versions_are_those_of_the_distribution(run_python: Run) -> None:
    code = "import importlib.metadata as m; print(m.version('sysv_ipc'))"
    assert run_python(code).stdout.strip() == sysv_ipc.VERSION == sysv_ipc.__version__


def test_copyright_author_and_license_are_texts() -> None:
    assert sysv_ipc.__author__
    assert sysv_ipc.__copyright__
    assert sysv_ipc.__license__ == "MIT"


def test_a_star_import_gives_no_modules() -> None:
    modules = [
        name
        for name in public_names()
        if isinstance(getattr(sysv_ipc, name, None), types.ModuleType)
    ]
    assert modules == []


def test_a_star_import_gives_all_names_of_1_2_0() -> None:
    names = (
        "BusyError Error ExistentialError IPC_CREAT IPC_CREX IPC_EXCL IPC_PRIVATE InternalError"
        " KEY_MAX KEY_MIN MessageQueue NotAttachedError PAGE_SIZE PermissionsError"
        " SEMAPHORE_TIMEOUT_SUPPORTED SEMAPHORE_VALUE_MAX SHM_RDONLY SHM_RND Semaphore"
        " SharedMemory VERSION attach ftok remove_message_queue remove_semaphore"
        " remove_shared_memory"
    )
    assert set(names.split()) <= set(public_names())


def test_all_lists_the_public_names_of_the_extension() -> None:
    """__init__.py lists the names again, for readers and type checkers."""
    assert sorted(sysv_ipc.__all__) == sorted(
        name for name in vars(sysv_ipc._core) if not name.startswith("_")
    )


def test_types_say_that_they_are_from_the_package() -> None:
    for name in sysv_ipc.__all__:
        value = getattr(sysv_ipc, name)
        if isinstance(value, type):
            assert value.__module__ == "sysv_ipc"
            assert pickle.loads(pickle.dumps(value)) is value


# ------------------------------------------------------------------ docstrings, signatures

#: Classes that only the library instantiates, or that have the signature of their built-in base.
NOT_FOR_CALLERS = (tuple, BaseException, sysv_ipc.SemaphoreOperations)


def callables() -> dict[str, Any]:
    """Return every public function, class and method, by its dotted name."""
    found: dict[str, Any] = {}
    for name in public_names():
        value = getattr(sysv_ipc, name)
        if callable(value):
            found[name] = value
    for cls in CLASSES:
        for name, value in inspect.getmembers(cls):
            if not name.startswith("_") and callable(value):
                found[f"{cls.__name__}.{name}"] = value
    return found


@pytest.mark.parametrize("name", callables())
def test_every_callable_has_a_docstring(name: str) -> None:
    summary = (inspect.getdoc(callables()[name]) or "").partition("\n\n")[0]
    assert summary.endswith((".", ":"))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in callables().items()
        if not (isinstance(value, type) and issubclass(value, NOT_FOR_CALLERS))
    ],
)
def test_every_callable_has_a_signature(name: str) -> None:
    signature = inspect.signature(callables()[name])
    assert "args" not in signature.parameters


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [
        (Semaphore, "(key, flags=0, mode=384, initial_value=0)"),
        (SharedMemory, "(key, flags=0, mode=384, size=0, init_character=b' ')"),
        (MessageQueue, "(key, flags=0, mode=384, max_message_size=2048)"),
    ],
)
def test_constructors_show_the_parameters_of_1_2_0(cls: Any, parameters: str) -> None:
    assert str(inspect.signature(cls)) == parameters


@pytest.mark.parametrize("cls", CLASSES)
def test_every_attribute_has_a_docstring(cls: Any) -> None:
    undocumented = [
        name
        for name, value in vars(cls).items()
        if inspect.isgetsetdescriptor(value) and not value.__doc__
    ]
    assert undocumented == []


def documented() -> list[type]:
    """Every public class with an example in its docstring, as all have that are not exceptions."""
    values = [getattr(sysv_ipc, name) for name in public_names()]
    classes = [value for value in values if isinstance(value, type)]
    return [
        *(cls for cls in classes if not issubclass(cls, Exception)),
        sysv_ipc.Error,
        *(getattr(sysv_ipc.aio, name) for name in sysv_ipc.aio.__all__),
    ]


@pytest.mark.parametrize("cls", documented(), ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_the_example_in_the_docstring_of_a_class_works(cls: type) -> None:
    names = {**vars(sysv_ipc), "sysv_ipc": sysv_ipc, "asyncio": asyncio}
    (example,) = doctest.DocTestFinder(recurse=False).find(cls, cls.__name__, globs=names)
    shown: list[str] = []
    assert example.examples
    doctest.DocTestRunner().run(example, out=shown.append)
    assert shown == []


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_have_their_public_name(cls: Any) -> None:
    assert (cls.__module__, cls.__qualname__) == ("sysv_ipc", cls.__name__)


# -------------------------------------------------------------------------------- exists()


def test_exists_returns_true_for_existing_objects_of_each_kind(made: Any, table: str) -> None:
    found = {name for name, cls in KINDS.items() if exists(made.key, cls)}
    assert found == {table}
    made.remove()
    if table == "shm":
        made.detach()
    assert exists(made.key, KINDS[table]) is False


def test_exists_takes_keywords_and_subclasses(made: Any, table: str) -> None:
    own = type("Own", (KINDS[table],), {})
    assert exists(key=made.key, type=own) is True
    assert exists(type=own, key=made.key) is True


def test_the_docstring_of_exists_names_all_classes() -> None:
    for cls in (Semaphore, SemaphoreSet, SharedMemory, MessageQueue):
        assert re.search(rf"\b{cls.__name__}\b", exists.__doc__ or "")


def test_exists_takes_a_set_for_a_semaphore(semaphore: Semaphore) -> None:
    assert exists(semaphore.key or 0, SemaphoreSet)


def test_exists_touches_nothing(made: Any, table: str) -> None:
    before = listed(table, made.id)
    assert exists(made.key, KINDS[table])
    assert listed(table, made.id) == before


def test_exists_creates_nothing(table: str, key: int) -> None:
    before = Path(f"/proc/sysvipc/{table}").read_text()
    assert not exists(key, KINDS[table])
    assert Path(f"/proc/sysvipc/{table}").read_text() == before


def test_exists_attaches_nothing(segment: SharedMemory) -> None:
    before = Path("/proc/self/maps").read_text().count("/SYSV")
    assert exists(segment.key or 0, SharedMemory)
    assert Path("/proc/self/maps").read_text().count("/SYSV") == before


def test_a_segment_marked_for_removal_has_no_key(key: int) -> None:
    segment = SharedMemory(key, IPC_CREX)
    segment.remove()
    assert not exists(key, SharedMemory)
    segment.detach()


@pytest.mark.parametrize("key_value", [None, IPC_PRIVATE, 2**32, -(2**40)])
def test_exists_refuses_keys_that_name_no_object(table: str, key_value: Any) -> None:
    with pytest.raises(ArgumentError):
        exists(key_value, KINDS[table])


@pytest.mark.parametrize("key_value", ["1", b"1", 1.0])
def test_exists_refuses_keys_of_a_wrong_type(table: str, key_value: Any) -> None:
    with pytest.raises(KeyTypeError):
        exists(key_value, KINDS[table])


@pytest.mark.parametrize("type_value", [int, object, type, "Semaphore", None, 1])
def test_exists_refuses_other_types(key: int, type_value: Any) -> None:
    with pytest.raises(TypeError, match="type must be Semaphore"):
        exists(key, type_value)


def test_exists_refuses_an_instance(made: Any) -> None:
    with pytest.raises(TypeError, match="type must be Semaphore"):
        exists(made.key, made)


def test_exists_needs_both_arguments(key: int) -> None:
    with pytest.raises(TypeError):
        exists(key)  # type: ignore[call-arg]


# ----------------------------------------------------------------------- remove_*, attach()


def test_removing_by_id_removes(made: Any, table: str) -> None:
    REMOVE[table](made.id)
    assert made.removed


@pytest.mark.parametrize("id", [2**31, -(2**31) - 1, 2**63, 2**64, 2**32, -(2**100)])
def test_an_id_outside_c_s_int_overflows(table: str, id: int) -> None:
    """The low 32 bits of some of them are an id that may exist."""
    with pytest.raises(OverflowError):
        REMOVE[table](id)


def test_an_id_is_not_cut_to_that_of_an_object(made: Any, table: str) -> None:
    with pytest.raises(OverflowError):
        REMOVE[table](made.id + 2**32)
    assert not made.removed


@pytest.mark.parametrize("id", [-1, -(2**31), 2**31 - 1])
def test_an_unused_id_raises_existential_error(table: str, id: int) -> None:
    with pytest.raises(ExistentialError, match=r"\[Errno 22\]") as caught:
        REMOVE[table](id)
    assert caught.value.id in (id, None)


def test_an_object_cannot_be_removed_by_id_twice(made: Any, table: str) -> None:
    if table == "shm":
        made.detach()
    REMOVE[table](made.id)
    with pytest.raises(ExistentialError, match=f"no .* has the id {made.id}") as caught:
        REMOVE[table](made.id)
    assert (caught.value.id, caught.value.errno) == (made.id, 22)


@pytest.mark.parametrize("id", [1.0, "1", None, b"1"])
def test_an_id_is_an_integer(table: str, id: Any) -> None:
    with pytest.raises(TypeError):
        REMOVE[table](id)


def test_another_users_object_is_not_removed_by_id(made: Any, table: str) -> None:
    with pytest.raises(sysv_ipc.PermissionsError):
        as_other_user(lambda: REMOVE[table](made.id))
    assert not made.removed


def test_attach_gives_an_attached_segment(segment: SharedMemory) -> None:
    other = sysv_ipc.attach(segment.id)
    assert (type(other), other, other.attached) == (SharedMemory, segment, True)
    assert other.address != segment.address
    assert segment.number_attached == 2
    other.detach()


def test_attach_read_only_gives_a_read_only_segment(segment: SharedMemory) -> None:
    other = sysv_ipc.attach(segment.id, None, sysv_ipc.SHM_RDONLY)
    assert other.readonly
    other.detach()


@pytest.mark.parametrize("id", [-1, 2**31 - 1])
def test_attach_to_an_unused_id_raises_existential_error(id: int) -> None:
    with pytest.raises(ExistentialError):
        sysv_ipc.attach(id)


# ------------------------------------------------------------------------------- importing


def test_importing_loads_little_of_the_standard_library(run_python: Run) -> None:
    """Except os, which every interpreter has loaded, and built-in modules."""
    code = """
import atexit, errno, os, sys
before = set(sys.modules)
import sysv_ipc
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("sysv_ipc")))
"""
    assert run_python(code).stdout.split() in ([], ["__future__"])


def test_aio_is_an_attribute_that_is_imported_when_it_is_used(run_python: Run) -> None:
    code = """
import sys, sysv_ipc
print("asyncio" in sys.modules, "aio" in dir(sysv_ipc))
print(sysv_ipc.aio.Semaphore.__module__, "aio" in vars(sysv_ipc))
"""
    assert run_python(code).stdout.split() == ["False", "True", "sysv_ipc.aio", "True"]


def test_a_misspelt_name_of_the_package_is_an_attribute_error(run_python: Run) -> None:
    done = run_python("import sysv_ipc; sysv_ipc.Semaphor")
    assert "module 'sysv_ipc' has no attribute 'Semaphor'" in done.stderr
    assert "Did you mean: 'Semaphore'?" in done.stderr


def test_objects_that_live_until_the_interpreter_ends_cause_no_crash(run_python: Run) -> None:
    code = """
import atexit, sys, sysv_ipc
class Late:
    def __del__(self):
        handle.acquire(0)
handle = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX)
view = memoryview(segment)
cycle = [segment, view]
cycle.append(cycle)
sys.late = Late()
handle.remove()
segment.remove()
"""
    done = run_python(code)
    assert done.returncode == 0
    assert "Fatal" not in done.stderr
