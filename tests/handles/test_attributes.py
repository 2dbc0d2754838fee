"""Attributes of all kinds of handle, and errors of handles whose object was removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import calls
import pytest
from helpers import listed

from sysv_ipc import IPC_PRIVATE, ArgumentError, ExistentialError, SemaphoreSet, SharedMemory


@pytest.fixture(params=calls.HANDLES)
def cls(request: pytest.FixtureRequest) -> Any:
    """Each class of handles."""
    return request.param


@pytest.fixture
def handle(cls: Any) -> Iterator[Any]:
    """A handle of the class."""
    with calls.made(cls) as made:
        yield made


def rows(handle: Any) -> Iterator[tuple[str, calls.Attribute]]:
    """Return the attributes of a handle in the table."""
    for name, row in calls.TABLE[type(handle)].items():
        if isinstance(row, calls.Attribute):
            yield name, row


def test_attributes_that_cannot_be_set_raise_the_error_of_1_2_0(handle: Any) -> None:
    cls = type(handle).__name__
    for name, row in rows(handle):
        if row.to_set is None:
            text = f"attribute '{name}' of 'sysv_ipc.{cls}' objects is not writable"
            wanted = "^readonly attribute$" if name == "id" else f"^{text}$"
            with pytest.raises(AttributeError, match=wanted):
                setattr(handle, name, 1)
            with pytest.raises(AttributeError, match=wanted):
                delattr(handle, name)


def test_attributes_that_can_be_set_cannot_be_deleted(handle: Any) -> None:
    for name, row in rows(handle):
        if row.to_set is not None:
            before = getattr(handle, name)
            with pytest.raises(AttributeError, match=f"'{name}' cannot be deleted"):
                delattr(handle, name)
            assert getattr(handle, name) == before


@pytest.mark.parametrize("name", ["uid", "gid", "mode"])
def test_owner_and_mode_are_set_exactly_or_not_at_all(handle: Any, name: str) -> None:
    table = calls.table_of(type(handle))
    before = listed(table, handle.id)
    for value in (-1, 2**32, 2**32 + 1234, 2**64, "0", 1.0, None):
        with pytest.raises((ArgumentError, TypeError), match=name):
            setattr(handle, name, value)
    assert listed(table, handle.id) == before
    good = 0o640 if name == "mode" else 2**31
    setattr(handle, name, good)
    assert getattr(type(handle).from_id(handle.id), name) == good


def test_calls_on_a_removed_object_say_that_it_was_removed(handle: Any) -> None:
    """Each call that reaches the kernel, on a handle that has removed its object."""
    calls.discard(handle)
    assert handle.removed
    for use in calls.uses(type(handle)):
        # Iteration over a queue ends when the queue is removed.
        if use.name != "__next__" and (use.looks or use.right):
            with pytest.raises(ExistentialError, match="no longer exists") as caught:
                pytest.fail(f"{use.name}: {use.call(handle)}")
            assert caught.value.errno == 22
            assert "RemoveIPC" in caught.value.__notes__[0]


def test_private_objects_are_always_new(cls: Any) -> None:
    arguments = {SemaphoreSet: {"nsems": 2}, SharedMemory: {"size": 10}}.get(cls, {})
    first, second = cls(IPC_PRIVATE, **arguments), cls(IPC_PRIVATE, **arguments)
    assert first.key == second.key == 0
    assert first.id != second.id
    assert first != second
    calls.discard(first)
    calls.discard(second)
