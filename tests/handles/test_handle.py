"""All kinds of handle: not initialised, subclassed, compared, copied, shown."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import calls
import namespace
import pytest
from helpers import FREE_THREADED, in_child, run_in_thread, wait_until
from sleeping import blocked_in_system_call

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    BusyError,
    ExistentialError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

KINDS, CLASSES = calls.KINDS, calls.HANDLES


@pytest.fixture
def make(key: int) -> Iterator[Callable[..., Any]]:
    """Make an object of a kind, by its class and the key; it is removed at the end."""
    made: list[Any] = []

    def create(cls: Any, *arguments: Any, **options: Any) -> Any:
        handle = cls(*arguments, **options) if arguments else cls(key, IPC_CREX)
        made.append(handle)
        return handle

    yield create
    for handle in made:
        calls.discard(handle)


# ------------------------------------------------------------------ never initialised ones

#: Operations that need the object of the handle, and those that only pickle and copy use.
USES = [
    (cls, use.name, use.call)
    for cls in calls.HANDLES
    for use in [
        *(use for use in calls.uses(cls) if not use.empty),
        calls.Use("pickle", "", pickle.dumps, True, False),
        calls.Use("copy", "", copy.copy, True, False),
    ]
]


def without_init(cls: Any) -> Any:
    return cls.__new__(cls, "any", arguments=1)


def with_failed_init(cls: Any) -> Any:
    handle = cls.__new__(cls)
    with pytest.raises(sysv_ipc.KeyTypeError):
        handle.__init__("no key")
    return handle


@pytest.mark.parametrize("make_empty", [without_init, with_failed_init])
@pytest.mark.parametrize(
    ("cls", "call"), [pytest.param(cls, call, id=f"{cls.__name__}-{n}") for cls, n, call in USES]
)
def test_a_handle_that_was_never_initialised_refuses(
    cls: Any, call: Callable[[Any], object], make_empty: Callable[[Any], Any]
) -> None:
    with pytest.raises(ExistentialError, match=r"was never initialised.*__init__\(\)") as caught:
        call(make_empty(cls))
    kind = {SharedMemory: "shared memory", MessageQueue: "message queue"}.get(cls, "semaphore")
    assert (caught.value.kind, caught.value.key, caught.value.id) == (kind, None, None)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_handle_that_was_never_initialised_touches_no_object_with_the_id_0(cls: Any) -> None:
    table = calls.table_of(cls)

    def use() -> tuple[str, str]:
        namespace.enter()
        first = KINDS[table](42, IPC_CREX)
        assert first.id == 0
        if table == "msg":
            first.send(b"text")
        records = Path(f"/proc/sysvipc/{table}")
        before = records.read_text()
        for make_empty in (without_init, with_failed_init):
            for kind, _, call in USES:
                if kind is cls:
                    with pytest.raises(ExistentialError):
                        call(make_empty(cls))
            make_empty(cls)
        gc.collect()
        return before, records.read_text()

    before, after = in_child(use)
    assert after == before


@pytest.mark.parametrize("cls", CLASSES)
def test_the_repr_of_a_handle_shows_that_it_was_never_initialised(cls: Any) -> None:
    assert repr(without_init(cls)) == f"<sysv_ipc.{cls.__name__}: never initialised>"


@pytest.mark.parametrize("cls", CLASSES)
def test_handles_that_were_never_initialised_equal_only_themselves(cls: Any) -> None:
    empty = without_init(cls)
    assert empty == empty
    assert empty != without_init(cls)


# ----------------------------------------------------------------------------- subclassing


def test_a_subclass_may_have_any_signature(table: str, key: int) -> None:
    base = KINDS[table]

    class Named(base):  # type: ignore[misc, valid-type]
        def __init__(self, name: str, *, number: int) -> None:
            super().__init__(number, IPC_CREX)
            self.name = name

    handle = Named("a name", number=key)
    assert (handle.name, handle.key) == ("a name", key)
    handle.remove()


def test_a_subclass_that_forgets_to_initialise_refuses(table: str) -> None:
    base = KINDS[table]

    class Forgetful(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            pass

    with pytest.raises(ExistentialError, match=r"Forgetful.__init__\(\) has not run or has failed"):
        Forgetful().remove()


def test_a_subclass_can_call_the_methods_that_it_overrides(
    make: Callable[..., Any], table: str
) -> None:
    base = KINDS[table]

    class Counting(base):  # type: ignore[misc, valid-type]
        def remove(self) -> None:
            self.removals = getattr(self, "removals", 0) + 1
            super().remove()

    handle = make(Counting)
    handle.remove()
    assert handle.removals == 1


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", ["__init__", "remove", "new"])
def test_classes_cannot_be_changed_as_those_of_1_2_0_cannot(cls: Any, name: str) -> None:
    with pytest.raises(TypeError, match="immutable type"):
        setattr(cls, name, None)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("way", ["call", "__init__"])
def test_constructors_refuse_arguments_that_they_do_not_know(cls: Any, way: str, key: int) -> None:
    make: Any = cls if way == "call" else lambda *a, **n: cls.__new__(cls).__init__(*a, **n)
    name = cls.__name__
    with pytest.raises(TypeError, match=rf"{name}\(\) missing required argument 'key'"):
        make()
    with pytest.raises(TypeError, match=rf"{name}\(\) takes at most \d positional arguments"):
        make(key, 0, 0, 0, 0, 0, 0)
    for word in ("nothing", "mode\0", "m\xf6de", "\u20ac"):
        with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument"):
            make(key, **{word: 0})
    with pytest.raises(TypeError, match=rf"{name}\(\) got multiple values for argument 'key'"):
        make(key, key=key)


def test_from_id_keeps_the_subclass(make: Callable[..., Any], table: str) -> None:
    base = KINDS[table]

    class Own(base):  # type: ignore[misc, valid-type]
        pass

    handle = make(KINDS[table])
    other = Own.from_id(handle.id)
    assert (type(other), other.key, other.id) == (Own, handle.key, handle.id)
    if table == "shm":
        other.detach()


def test_subclasses_and_their_instances_are_collected(table: str, key: int) -> None:
    base = KINDS[table]

    class Own(base):  # type: ignore[misc, valid-type]
        pass

    handle = Own(key, IPC_CREX)
    handle.remove()
    handle.itself = handle
    gone, gone_class = weakref.ref(handle), weakref.ref(Own)
    del handle, Own
    gc.collect()
    assert gone() is None
    # Classes are immortal in the free-threaded 3.13 from the first thread on.
    assert gone_class() is None or FREE_THREADED


@pytest.mark.parametrize("cls", CLASSES)
def test_instances_have_no_dict_and_classes_cannot_be_changed_into_another(cls: Any) -> None:
    empty = without_init(cls)
    with pytest.raises(AttributeError):
        empty.misspelt = 1
    with pytest.raises(TypeError):
        empty.__class__ = object


# ----------------------------------------------------------------------- initialised again


def test_init_again_leads_to_the_new_object(table: str, key: int) -> None:
    handle = KINDS[table](key, IPC_CREX)
    first = handle.id
    handle.__init__(None, IPC_CREX)
    second = handle.id
    assert second != first
    handle.remove()
    assert sysv_ipc.exists(key, KINDS[table])
    again = KINDS[table](key)
    assert again.id == first
    again.remove()


def test_init_that_fails_leaves_the_handle_as_it_was(make: Callable[..., Any], table: str) -> None:
    handle = make(KINDS[table])
    before = (handle.key, handle.id, handle.info())
    with pytest.raises(sysv_ipc.ArgumentError):
        handle.__init__(None)
    assert (handle.key, handle.id, handle.info()) == before


class Again:
    """A number that initialises a handle again in its conversion."""

    def __init__(self, handle: Any, key: int, value: int = 1) -> None:
        self.handle, self.key, self.value = handle, key, value

    def __index__(self) -> int:
        self.handle.__init__(self.key)
        return self.value


@contextlib.contextmanager
def two_of(cls: Any, **arguments: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a handle of an object to use, another handle of it, and a handle of another object."""
    objects = [cls(None, flags=IPC_CREX, **arguments) for _ in range(2)]
    yield cls(objects[0].key), *objects
    for each in objects:
        each.remove()


@pytest.mark.parametrize(
    "call",
    [
        lambda q, again: q.send(b"x", True, again),
        lambda q, again: q.send(b"x", timeout=again),
        lambda q, again: q.try_send(b"x", again),
        lambda q, again: q.send_many([b"x"], again),
    ],
)
def test_a_message_goes_to_the_queue_that_the_call_began_with(call: Callable[..., Any]) -> None:
    with two_of(MessageQueue) as (handle, one, other):
        call(handle, Again(handle, other.key))
        assert (one.current_messages, other.current_messages, handle == other) == (1, 0, True)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, again: q.receive(True, again),
        lambda q, again: q.receive(timeout=again),
        lambda q, again: q.try_receive(again),
        lambda q, again: q.receive_many(again),
        lambda q, again: q.receive_many(2, True, again),
        lambda q, again: q.receive_into(bytearray(9), True, again),
    ],
)
def test_a_message_comes_from_the_queue_that_the_call_began_with(call: Callable[..., Any]) -> None:
    with two_of(MessageQueue) as (handle, one, other):
        one.send(b"x")
        other.send(b"y")
        call(handle, Again(handle, other.key))
        assert (one.current_messages, other.current_messages, handle == other) == (0, 1, True)


def test_a_mode_is_that_of_the_object_that_the_call_began_with(table: str) -> None:
    with two_of(KINDS[table]) as (handle, one, other):
        handle.mode = Again(handle, other.key, 0o640)
        assert (one.mode, other.mode, handle == other) == (0o640, 0o600, True)


def test_many_messages_go_to_the_queue_that_the_call_began_with() -> None:
    with two_of(MessageQueue) as (handle, one, other):
        one.max_size = 2000
        result = run_in_thread(lambda: handle.send_many([b"x" * 1000] * 4))
        wait_until(lambda: one.current_messages == 2)
        handle.__init__(other.key)
        for _ in range(4):
            one.receive(timeout=10)
        assert (result(), other.current_messages) == (4, 0)


def test_many_messages_come_from_the_queue_that_the_call_began_with() -> None:
    with two_of(MessageQueue) as (handle, one, other):
        waiting: list[int] = []

        def receive() -> object:
            waiting.append(threading.get_native_id())
            return handle.receive_many(2, timeout=10)

        result = run_in_thread(receive)
        wait_until(lambda: waiting and blocked_in_system_call(waiting[0], "msgrcv"))
        other.send(b"other")
        handle.__init__(other.key)
        one.send(b"one")
        assert (result(), other.current_messages) == ([(b"one", 1)], 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda s, again: s.acquire(again),
        lambda s, again: s.acquire(None, again),
        lambda s, again: s.try_acquire(again),
    ],
)
def test_a_permit_comes_from_the_semaphore_that_the_call_began_with(
    call: Callable[..., Any],
) -> None:
    with two_of(Semaphore, initial_value=3) as (handle, one, other):
        call(handle, Again(handle, other.key))
        assert (one.value, other.value, handle == other) == (2, 3, True)
        handle.__init__(one.key)
        handle.release(Again(handle, other.key))
        assert (one.value, other.value) == (3, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda s, again: s.op([(0, -1), (1, again)]),
        lambda s, again: s.op([(0, -1)], again),
        lambda s, again: s.compile([(0, -1), (1, again)])(),
        lambda s, again: s.compile([(0, -1)])(again),
        lambda s, again: s.acquire(0, again),
        lambda s, again: s.acquire(0, timeout=again),
    ],
)
def test_operations_are_on_the_set_that_the_call_began_with(call: Callable[..., Any]) -> None:
    with two_of(SemaphoreSet, initial_values=[3, 3]) as (handle, one, other):
        call(handle, Again(handle, other.key))
        assert (one.values[0], other.values, handle == other) == (2, (3, 3), True)


def test_compiled_operations_stay_with_their_set() -> None:
    with two_of(SemaphoreSet, initial_values=[0, 3]) as (handle, one, other):
        operations = handle.compile([(1, -1)])
        handle.__init__(other.key)
        assert operations()
        assert (one.values, other.values) == ((0, 2), (0, 3))
        one.values = (0, 0)
        with pytest.raises(BusyError, match=f"with id {one.id}") as caught:
            operations(0)
        assert (caught.value.id, caught.value.key) == (one.id, None)


def test_an_error_of_a_wait_names_the_object_that_the_wait_began_with() -> None:
    with two_of(Semaphore) as (handle, one, other):
        result = run_in_thread(lambda: handle.acquire(0.2))
        wait_until(lambda: one.waiting_for_nonzero)
        handle.__init__(other.key)
        error = result()
        assert isinstance(error, BusyError)
        assert (error.id, handle.id) == (one.id, other.id)


# -------------------------------------------------------------------- equality, hash, weak


def test_handles_on_one_object_are_equal(make: Callable[..., Any], table: str) -> None:
    handle = make(KINDS[table])
    same = KINDS[table](handle.key)
    by_id = KINDS[table].from_id(handle.id)
    assert handle == same == by_id
    assert not handle != same  # noqa: SIM202
    assert len({handle, same, by_id}) == 1
    if table == "shm":
        same.detach()
        by_id.detach()


def test_handles_on_different_objects_are_not_equal(table: str) -> None:
    handles = [KINDS[table](None, IPC_CREX) for _ in range(3)]
    assert len(set(handles)) == 3
    assert handles[0] != handles[1]
    for handle in handles:
        handle.remove()


def test_handles_of_different_kinds_with_one_id_are_not_equal() -> None:
    """In a new namespace, the first object of each kind has the id 0."""

    def compare() -> tuple[set[int], int]:
        namespace.enter()
        handles = [cls(42, IPC_CREX) for cls in KINDS.values()]
        return {handle.id for handle in handles}, len(set(handles))

    assert in_child(compare) == ({0}, 3)


@pytest.mark.parametrize("other", [None, 0, "x", object()])
def test_a_handle_does_not_equal_objects_of_other_types(
    make: Callable[..., Any], table: str, other: object
) -> None:
    handle = make(KINDS[table])
    assert handle != other
    assert handle != handle.id
    with pytest.raises(TypeError, match="not supported between"):
        assert handle < other


def test_a_subclass_equals_its_base_on_one_object(make: Callable[..., Any], table: str) -> None:
    base = KINDS[table]

    class Own(base):  # type: ignore[misc, valid-type]
        pass

    handle = make(KINDS[table])
    own = Own(handle.key)
    assert handle == own
    assert own == handle
    assert hash(own) == hash(handle)
    if table == "shm":
        own.detach()


def test_a_handle_keeps_its_hash_when_the_object_is_removed(table: str, key: int) -> None:
    handle = KINDS[table](key, IPC_CREX)
    known = {handle: "value"}
    handle.remove()
    assert known[handle] == "value"


def test_weak_references_die_with_the_handle(make: Callable[..., Any], table: str) -> None:
    handle = make(KINDS[table])
    other = KINDS[table](handle.key)
    called: list[object] = []
    reference = weakref.ref(other, called.append)
    assert reference() is other
    del other
    assert (reference(), called) == (None, [reference])


# ----------------------------------------------------------------------- pickling, copying


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_handle_opens_the_same_object(
    make: Callable[..., Any], table: str, protocol: int
) -> None:
    handle = make(KINDS[table])
    same = pickle.loads(pickle.dumps(handle, protocol))
    assert (type(same), same.id, same.key) == (type(handle), handle.id, handle.key)
    if table == "shm":
        assert same.attached
        same.detach()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_handle_is_one_of_its_own(
    make: Callable[..., Any], table: str, duplicate: Callable[[Any], Any]
) -> None:
    handle = make(KINDS[table])
    same = duplicate(handle)
    assert same is not handle
    assert same == handle
    if table == "shm":
        same.detach()
        assert handle.attached


class Pickled(MessageQueue):
    note = "none"


def test_a_pickled_subclass_keeps_its_attributes(make: Callable[..., Any]) -> None:
    handle = make(Pickled)
    handle.note = "kept"
    same = pickle.loads(pickle.dumps(handle))
    assert (type(same), same, same.note) == (Pickled, handle, "kept")


def test_pickling_a_semaphore_keeps_block_and_undo(make: Callable[..., Any]) -> None:
    handle = make(Semaphore)
    handle.block, handle.undo = False, True
    same = pickle.loads(pickle.dumps(handle))
    assert (same.block, same.undo) == (False, True)


def test_a_pickle_of_a_removed_object_cannot_be_opened(table: str, key: int) -> None:
    handle = KINDS[table](key, IPC_CREX)
    data = pickle.dumps(handle)
    handle.remove()
    if table == "shm":
        handle.detach()
    with pytest.raises(ExistentialError, match="no longer exists"):
        pickle.loads(data)


# ------------------------------------------------------------------------------ being shown


def test_repr_shows_class_key_and_id(make: Callable[..., Any], table: str, key: int) -> None:
    handle = make(KINDS[table])
    assert f"<sysv_ipc.{KINDS[table].__name__} key={key:#x}, id={handle.id}" in repr(handle)
    assert "removed" not in repr(handle)
    handle.remove()
    assert "removed" in repr(handle)


def test_repr_shows_a_negative_key_unsigned(make: Callable[..., Any], table: str) -> None:
    assert "key=0xdeadbeef," in repr(make(KINDS[table], 0xDEADBEEF, IPC_CREX))


def test_repr_shows_the_name_of_a_subclass(make: Callable[..., Any], table: str) -> None:
    base = KINDS[table]

    class Own(base):  # type: ignore[misc, valid-type]
        pass

    assert "Own key=0x" in repr(make(Own))


class Slots(Semaphore):
    __slots__ = ("extra",)


class WithDict(Semaphore):
    pass


class OwnState(Semaphore):
    lock: Any
    name: str

    def __getstate__(self) -> object:
        return {"name": self.name}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.name = state["name"]
        self.lock = threading.Lock()


@pytest.mark.parametrize("duplicate", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))])
def test_attributes_of_a_subclass_are_kept(duplicate: Callable[[Any], Any]) -> None:
    kinds: list[Any] = [Slots, WithDict, OwnState]
    slots, plain, own = (kind(None, IPC_CREX) for kind in kinds)
    slots.extra, plain.extra, own.name, own.lock = 1, 2, "three", threading.Lock()
    for handle in (slots, plain, own):
        handle.block = False
    assert (duplicate(slots).extra, duplicate(slots).block) == (1, False)
    assert (duplicate(plain).extra, duplicate(plain).block) == (2, False)
    assert (duplicate(own).name, duplicate(own).block) == ("three", False)
    assert duplicate(own).lock is not own.lock
    for handle in (slots, plain, own):
        assert duplicate(handle) == handle
        handle.remove()
