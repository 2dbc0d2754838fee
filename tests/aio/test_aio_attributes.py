"""``sysv_ipc.aio``: settings belong to the handle, and everything else is a misspelling."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import Any

import calls
import pytest

from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, aio

#: Attributes of the library's classes that asyncio's do not have: values to set, and their place.
OF_HANDLES: list[tuple[Any, str, object, str]] = [
    (aio.Semaphore, "undo", True, "semaphore.handle.undo"),
    (aio.Semaphore, "block", False, "semaphore.handle.block"),
    (aio.SemaphoreSet, "values", [1, 2], "semaphores.handle.values"),
    (aio.MessageQueue, "max_size", 1, "queue.handle.max_size"),
    (aio.MessageQueue, "mode", 0o666, "queue.handle.mode"),
]


class MySemaphore(aio.Semaphore):
    name = "pool"


class MySet(aio.SemaphoreSet):
    pass


class MyQueue(aio.MessageQueue):
    pass


OWN: dict[Any, Any] = {
    aio.Semaphore: MySemaphore,
    aio.SemaphoreSet: MySet,
    aio.MessageQueue: MyQueue,
}


@pytest.mark.parametrize("derived", [False, True], ids=["class", "subclass"])
@pytest.mark.parametrize(("cls", "name", "value", "place"), OF_HANDLES)
def test_an_attribute_of_the_handle_is_refused_and_its_place_is_named(
    cls: Any, name: str, value: object, place: str, derived: bool
) -> None:
    cls = OWN[cls] if derived else cls
    one = cls.__new__(cls)
    full = f"{type(one).__module__}.{type(one).__name__}"
    expected = f"{full} has no attribute {name!r}: it belongs to the handle, {place}"
    with pytest.raises(AttributeError) as caught:
        setattr(one, name, value)
    assert str(caught.value) == expected
    assert (caught.value.name, caught.value.obj) == (name, one)
    with pytest.raises(AttributeError) as caught:
        getattr(one, name)
    assert str(caught.value) == expected


@pytest.mark.parametrize("cls", calls.AIO)
def test_an_attribute_that_nothing_has_is_refused(cls: Any) -> None:
    one = cls.__new__(cls)
    with pytest.raises(AttributeError, match=f"'{cls.__name__}' object has no attribute 'oops'"):
        one.oops = 1
    with pytest.raises(AttributeError, match=r"has no attribute 'oops'$"):
        assert one.oops


def test_the_key_and_the_id_are_not_writable(permits: aio.Semaphore) -> None:
    for name in ("key", "id"):
        with pytest.raises(AttributeError, match="no setter"):
            setattr(permits, name, 1)


def test_a_subclass_has_attributes_of_its_own(messages: aio.MessageQueue) -> None:
    class Sized(aio.MessageQueue):
        #: A class may define a setting for itself.
        max_size = 5

        def __init__(self, *arguments: Any, label: str) -> None:
            super().__init__(*arguments)
            self.label = label

    queue = Sized(messages.key, label="jobs")
    queue.max_size = 7
    assert (queue.label, queue.max_size) == ("jobs", 7)
    assert queue.handle == messages.handle
    queue.close()


def test_they_have_weak_references_copies_and_pickles(permits: aio.Semaphore) -> None:
    mine = MySemaphore.from_id(permits.id)
    mine.name = "another pool"
    for one in (permits, mine):
        assert weakref.ref(one)() is one
        one.handle.cancel(later=True)
        for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert type(other) is type(one)
            assert other.handle == one.handle
            assert other.handle is not one.handle
            assert not other.handle.cancelled
            assert getattr(other, "name", None) == getattr(one, "name", None)
            other.close()
        one.close()


def test_a_setting_of_the_handle_holds_for_the_calls_that_are_awaited() -> None:
    semaphore = aio.Semaphore(None, IPC_CREX)
    queue = aio.MessageQueue(None, IPC_CREX)
    try:
        semaphore.handle.undo = True
        queue.handle.max_size = 4096
        assert Semaphore.from_id(semaphore.id).undo is False
        assert MessageQueue.from_id(queue.id).max_size == 4096
    finally:
        semaphore.remove()
        queue.remove()
