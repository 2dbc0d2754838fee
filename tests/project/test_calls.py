"""The table of all public calls, calls.py, is complete and names only calls that exist."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import calls
import pytest

import sysv_ipc
from sysv_ipc import BusyError, aio

#: Attributes of every object, and methods that the interpreter derives from those in the table.
IMPLIED = {
    "__doc__", "__module__", "__new__", "__init__", "__lt__", "__le__", "__gt__", "__ge__",
    "__ne__", "__vectorcalloffset__", "__weakref__", "__buffer__", "__release_buffer__",
    "__static_attributes__", "__firstlineno__",
}  # fmt: skip


def is_no_call(value: object) -> bool:
    """Return True for a constant, and for a class whose objects only the library makes."""
    if isinstance(value, type):
        return issubclass(value, (tuple, BaseException)) or value in (
            sysv_ipc.Atomic,
            sysv_ipc.SemaphoreOperations,
        )
    return not callable(value)


def test_every_function_and_class_is_in_the_table() -> None:
    public = {name for name in sysv_ipc.__all__ if not is_no_call(getattr(sysv_ipc, name))}
    assert public == {cls.__name__ for cls in calls.CONSTRUCTORS} | set(calls.FUNCTIONS)
    classes = {getattr(sysv_ipc, name) for name in sysv_ipc.__all__}
    kinds = {one for one in classes if isinstance(one, type) and not is_no_call(one)}
    assert set(calls.TABLE) == kinds | {sysv_ipc.Atomic, sysv_ipc.SemaphoreOperations}


@pytest.mark.parametrize("cls", calls.TABLE)
def test_every_method_and_attribute_is_in_the_table(cls: Any) -> None:
    assert set(vars(cls)) - IMPLIED == set(calls.TABLE[cls])


def test_every_class_of_aio_is_in_the_table() -> None:
    assert {cls.__name__ for cls in calls.AIO} == set(aio.__all__)


@pytest.mark.parametrize("cls", calls.AIO)
def test_every_method_and_attribute_of_aio_is_in_the_table(cls: Any) -> None:
    # The handle is an object of the library, whose calls are in TABLE.
    public = {name for name in dir(cls) if not name.startswith("_")} - {"handle"}
    assert public == set(calls.AIO[cls])


@pytest.mark.parametrize("cls", calls.TABLE)
def test_every_call_with_a_timeout_is_among_the_waits(cls: Any) -> None:
    timed = {
        name
        for name, row in calls.TABLE[cls].items()
        if isinstance(row, calls.Method)
        and "timeout" in inspect.signature(getattr(cls, name)).parameters
    }
    waits = {name.partition(".")[2] for name, wait in calls.TIMED.items() if wait.cls is cls}
    # Compiled operations are called later.
    assert timed == waits - {"compile"}


def test_every_call_of_aio_with_a_timeout_is_among_the_waits() -> None:
    timed = {
        f"{cls.__name__}.{name}"
        for cls, rows in calls.AIO.items()
        for name, row in rows.items()
        if isinstance(row, calls.Method)
        and "timeout" in inspect.signature(getattr(cls, name)).parameters
    }
    assert timed == set(calls.AIO_WAITS)


@pytest.mark.parametrize("cls", calls.HANDLES)
def test_the_arguments_of_the_table_are_good(cls: Any) -> None:
    for use in calls.uses(cls):
        if use.name == "__delitem__":
            # This row exists for its message.
            continue
        with calls.made(cls) as handle, contextlib.suppress(BusyError):
            use.call(handle)
