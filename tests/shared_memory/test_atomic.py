"""``SharedMemory.atomic()``: values, invalid arguments, lifetimes, concurrent use."""

from __future__ import annotations

import copy
import ctypes
import gc
import operator
import os
import pickle
import struct
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import fork, in_child, listed, system_calls, wait_until

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    PAGE_SIZE,
    ArgumentError,
    Atomic,
    NotAttachedError,
    ReadOnlyError,
    SharedMemory,
)

#: type -> its format in struct, its bits, and True if it is signed.
TYPES = {"i32": ("=i", 32, True), "u32": ("=I", 32, False), "i64": ("=q", 64, True)}
TYPES["u64"] = ("=Q", 64, False)


Make = Callable[[], Any]


def limits(type: str) -> tuple[int, int]:
    _, bits, signed = TYPES[type]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def wrapped(type: str, number: int) -> int:
    """Return the number as C converts it to this type."""
    low, high = limits(type)
    return (number - low) % (high - low + 1) + low


def numbers(type: str) -> list[int]:
    low, high = limits(type)
    some = [0, 1, 5, -1, -7, 2**30, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**62, 0x5555_AAAA]
    return sorted({low, low + 1, high - 1, high, *(n for n in some if low <= n <= high)})


@pytest.fixture(params=TYPES)
def type(request: pytest.FixtureRequest) -> str:
    """Each type of number."""
    return str(request.param)


@pytest.fixture
def make(segment: SharedMemory, type: Any) -> Iterator[Make]:
    """Make an atomic of each type at offset 16, between bytes that must not change.

    The test makes it, because detach() fails while pytest refers to an atomic.
    """
    segment.write(b"\xee" * 64)
    segment.atomic(16, type).store(0)
    yield lambda: segment.atomic(16, type)
    # Tracebacks of caught exceptions refer to it in a cycle.
    gc.collect()
    size = TYPES[type][1] // 8
    assert segment.read(16) == b"\xee" * 16
    assert segment.read(16, 16 + size) == b"\xee" * 16


# ----------------------------------------------------------------------------------- values


def test_a_number_is_stored_as_c_stores_it(make: Make, type: str) -> None:
    atomic = make()
    for number in numbers(type):
        assert atomic.store(number) is None
        assert struct.unpack_from(TYPES[type][0], atomic.memory, 16) == (number,)
        assert atomic.load() == number


def test_a_number_is_loaded_as_c_loads_it(make: Make, type: str) -> None:
    atomic = make()
    for number in numbers(type):
        struct.pack_into(TYPES[type][0], atomic.memory, 16, number)
        assert atomic.load() == number


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("exchange", lambda a, b: b),
        ("add", operator.add),
        ("sub", operator.sub),
        ("and_", operator.and_),
        ("or_", operator.or_),
    ],
)
def test_operations_return_the_number_before_and_wrap_as_in_c(
    make: Make, type: str, method: str, function: Callable[[int, int], int]
) -> None:
    atomic = make()
    for before in numbers(type):
        for value in numbers(type):
            atomic.store(before)
            assert getattr(atomic, method)(value) == before
            assert atomic.load() == wrapped(type, function(before, value))


def test_compare_exchange_stores_only_if_the_number_is_the_expected_one(
    make: Make, type: str
) -> None:
    atomic = make()
    for before in numbers(type):
        for expected in numbers(type):
            atomic.store(before)
            assert atomic.compare_exchange(expected, 1) is (before == expected)
            assert atomic.load() == (1 if before == expected else before)


def test_compare_exchange_takes_keywords(make: Make) -> None:
    atomic = make()
    assert atomic.compare_exchange(desired=3, expected=0) is True
    assert atomic.load() == 3


class Index:
    def __index__(self) -> int:
        return 5

    def __repr__(self) -> str:
        return "Index()"


@pytest.mark.parametrize("value", [Index(), True, np.int8(5), np.uint64(5)], ids=repr)
def test_any_integer_like_object_is_accepted(make: Make, value: Any) -> None:
    atomic = make()
    atomic.store(value)
    assert atomic.load() == operator.index(value)


# -------------------------------------------------------------------------------- refusals


def uses(atomic: Any) -> list[Callable[[Any], object]]:
    calls = [atomic.store, atomic.exchange, atomic.add, atomic.sub, atomic.and_, atomic.or_]
    calls.append(lambda value: atomic.compare_exchange(value, 0))
    calls.append(lambda value: atomic.compare_exchange(9, value))
    if atomic.type.endswith("32"):
        calls.append(atomic.wait)
    return calls


def test_numbers_outside_the_type_are_refused(make: Make, type: str) -> None:
    atomic = make()
    low, high = limits(type)
    atomic.store(9)
    for value in (low - 1, high + 1, -(2**63) - 1, 2**64, -(2**100), 2**100):
        for use in uses(atomic):
            with pytest.raises(ArgumentError, match=f"from {low} to {high}, not {value}") as caught:
                use(value)
            assert (caught.value.errno, caught.value.id) == (22, atomic.memory.id)
    assert atomic.load() == 9


@pytest.mark.parametrize("value", [1.0, "1", None, b"1", [], 1j])
def test_a_value_that_is_not_an_integer_is_a_type_error(make: Make, value: Any) -> None:
    atomic = make()
    atomic.store(9)
    for use in uses(atomic):
        with pytest.raises(TypeError, match="takes an integer"):
            use(value)
    assert atomic.load() == 9


def test_an_exception_of_an_index_is_passed_on(make: Make) -> None:
    atomic = make()

    class Bad:
        def __index__(self) -> int:
            raise ZeroDivisionError

    for use in uses(atomic):
        with pytest.raises(ZeroDivisionError):
            use(Bad())
    assert atomic.load() == 0


@pytest.mark.parametrize(
    ("offset", "type", "text"),
    [
        (1, "i32", "at a multiple of 4, not at offset 1"),
        (2, "u32", "multiple of 4"),
        (4, "i64", "at a multiple of 8, not at offset 4"),
        (12, "u64", "multiple of 8"),
        (PAGE_SIZE, "i32", "past the end"),
        (PAGE_SIZE - 8 + 8, "u64", "past the end"),
        (sys.maxsize // 16 * 8, "u64", "past the end"),
        (sys.maxsize // 8 * 8, "u64", "past the end"),
        (-4, "i32", "offset must be"),
        (2**63, "i32", "offset must be"),
        (0, "i16", "type must be 'i32', 'u32', 'i64' or 'u64', not 'i16'"),
        (0, "", "type must be"),
        (0, "i32\0", "type must be"),
        (0, "I32", "type must be"),
        (0, "\ud800", "type must be"),
    ],
)
def test_places_and_types_that_cannot_be_are_argument_errors(
    segment: SharedMemory, offset: int, type: Any, text: str
) -> None:
    with pytest.raises(ArgumentError, match=text) as caught:
        segment.atomic(offset, type)
    assert caught.value.errno == 22
    segment.detach()


@pytest.mark.parametrize("arguments", [(), (0,), (0, 5), (0, None), (1.5, "i32"), (0, "i32", 1)])
def test_wrong_arguments_are_type_errors(segment: SharedMemory, arguments: Any) -> None:
    with pytest.raises(TypeError):
        segment.atomic(*arguments)
    segment.detach()


@pytest.mark.parametrize(("size", "last32", "last64"), [(7, 0, None), (8, 4, 0), (13, 8, 0)])
def test_the_last_place_is_that_of_the_last_whole_number(
    size: int, last32: int, last64: int | None
) -> None:
    segment = SharedMemory(None, IPC_CREX, size=size)
    segment.remove()
    segment.atomic(last32, "u32").store(1)
    with pytest.raises(ArgumentError):
        segment.atomic(last32 + 4, "u32")
    if last64 is not None:
        segment.atomic(last64, "u64").store(1)
    with pytest.raises(ArgumentError):
        segment.atomic(0 if last64 is None else last64 + 8, "u64")


def test_a_segment_smaller_than_a_number_has_no_atomics() -> None:
    segment = SharedMemory(None, IPC_CREX, size=3)
    segment.remove()
    with pytest.raises(ArgumentError, match="past the end of a segment of 3 bytes"):
        segment.atomic(0, "i32")


def test_a_segment_that_is_not_attached_has_no_atomics(segment: SharedMemory) -> None:
    segment.detach()
    with pytest.raises(NotAttachedError):
        segment.atomic(0, "i32")
    with pytest.raises(sysv_ipc.ExistentialError, match="never initialised"):
        SharedMemory.__new__(SharedMemory).atomic(0, "i32")


def test_a_read_only_attachment_can_be_loaded_and_no_more(segment: SharedMemory, type: Any) -> None:
    reader = SharedMemory(segment.key, mode=0o400)
    number = reader.atomic(8, type)
    segment.atomic(8, type).store(77)
    assert number.load() == 77
    calls = uses(number)
    if type.endswith("32"):
        assert calls.pop()(76) is True
        with pytest.raises(sysv_ipc.BusyError):
            number.wait(77, 0.002)
        calls.append(number.wake)
    for call in calls:
        with pytest.raises(ReadOnlyError, match="read-only"):
            call(77)
    size = int(type[1:]) // 8
    assert int.from_bytes(segment.read(size, 8), sys.byteorder) == 77


# ------------------------------------------------------------------------------- the object


def test_its_repr_and_attributes_describe_it(segment: SharedMemory, type: Any) -> None:
    number = segment.atomic(24, type)
    assert (number.memory, number.offset, number.type) == (segment, 24, type)
    assert number.memory is segment
    assert repr(number) == f"<sysv_ipc.Atomic {type} at offset 24 of {segment!r}>"
    for name in ("memory", "offset", "type", "anything"):
        with pytest.raises(AttributeError):
            setattr(number, name, None)
        with pytest.raises(AttributeError):
            delattr(number, name)


def test_two_atomics_of_the_same_number_are_different_objects(segment: SharedMemory) -> None:
    one, other = segment.atomic(0, "i32"), segment.atomic(0, "i32")
    assert one != other
    assert len({one, other, one}) == 2
    one.store(5)
    assert other.load() == 5


def test_only_a_segment_makes_them() -> None:
    cls: Any = Atomic
    assert (cls.__module__, cls.__qualname__) == ("sysv_ipc", "Atomic")
    for make in (cls, lambda: cls(None, 0, "i32"), lambda: object.__new__(cls)):
        with pytest.raises(TypeError):
            make()
    with pytest.raises(TypeError):
        cls.__new__(cls)
    with pytest.raises(TypeError):
        types.new_class("Own", (cls,))
    with pytest.raises(TypeError):
        cls.load = None


def test_it_is_neither_copied_nor_pickled(segment: SharedMemory) -> None:
    number = segment.atomic(0, "i32")
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            call(number)


def test_detach_is_refused_while_it_lives(segment: SharedMemory) -> None:
    number = segment.atomic(0, "i32")
    for call in (segment.detach, segment.attach, lambda: segment.__init__(segment.key)):  # type: ignore[misc]
        with pytest.raises(BufferError, match="release them first"):
            call()
    with pytest.raises(BufferError):
        segment.attach(segment.address, sysv_ipc.SHM_REMAP)
    number.store(5)
    assert segment.attached
    del number
    gc.collect()
    segment.detach()
    assert listed("shm", segment.id)["nattch"] == "0"


def test_an_integer_that_detaches_gets_a_buffer_error(segment: SharedMemory) -> None:
    class Detaching:
        def __index__(self) -> int:
            with pytest.raises(BufferError):
                segment.detach()
            return 3

    number = segment.atomic(0, "i32")
    assert number.add(Detaching()) == 0
    assert number.load() == 3


def test_an_offset_that_detaches_leaves_no_atomic(segment: SharedMemory) -> None:
    class Detaching:
        def __index__(self) -> int:
            segment.detach()
            return 0

    with pytest.raises(NotAttachedError):
        segment.atomic(Detaching(), "i32")


def test_it_keeps_the_mapping_of_a_handle_that_is_dropped(segment: SharedMemory) -> None:
    number = SharedMemory(segment.key).atomic(0, "u64")
    gc.collect()
    segment.atomic(0, "u64").store(6)
    assert number.add(1) == 6
    assert listed("shm", segment.id)["nattch"] == "2"
    del number
    gc.collect()
    assert listed("shm", segment.id)["nattch"] == "1"


def test_it_outlives_the_removal_of_the_segment() -> None:
    segment = SharedMemory(None, IPC_CREX, init_character=b"\0")
    number = segment.atomic(0, "i64")
    segment.remove()
    assert (number.add(2), number.load()) == (0, 2)


def test_it_has_weak_references(segment: SharedMemory) -> None:
    number = segment.atomic(0, "i64")
    gone = weakref.ref(number)
    assert gone() is number
    del number
    gc.collect()
    assert gone() is None


def test_cycles_through_a_subclass_are_collected(segment: SharedMemory) -> None:
    loads: list[int] = []

    class Segment(SharedMemory):
        number: Atomic
        me: object

        def __del__(self) -> None:
            # The atomic is still usable: it is not cleared while it is referred to.
            loads.append(self.number.load())

    handle = Segment(segment.key)
    handle.number, handle.me = handle.atomic(0, "i32"), handle
    assert gc.is_tracked(handle.number)
    assert gc.get_referents(handle.number).count(handle) == 1
    gone = weakref.ref(handle.number)
    del handle
    gc.collect()
    assert gone() is None
    assert loads == [0]
    assert listed("shm", segment.id)["nattch"] == "1"


def test_nothing_is_left_behind(segment: SharedMemory) -> None:
    number = segment.atomic(0, "u64")
    before = sys.getrefcount(segment), sys.getrefcount(number)
    for value in range(2000):
        segment.atomic(0, "i32").add(value)
        number.store(value + 2**40)
        number.compare_exchange(value, value)
        for bad in (lambda: segment.atomic(1, "i32"), lambda: number.add(-1)):
            with pytest.raises(ArgumentError):
                bad()
    assert (sys.getrefcount(segment), sys.getrefcount(number)) == before


# ------------------------------------------------------------------------- all at the same time


def test_threads_count_without_losing_any(make: Make, type: str) -> None:
    atomic = make()
    other = atomic.memory.atomic(16, type)

    def count() -> None:
        for _ in range(20000):
            atomic.add(3)
            other.sub(2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert atomic.load() == 80000


def test_processes_count_without_losing_any(segment: SharedMemory) -> None:
    up, down = segment.atomic(0, "u32"), segment.atomic(8, "i64")

    def count() -> None:
        own = SharedMemory(segment.key).atomic(8, "i64")
        for _ in range(20000):
            up.add(1)
            own.sub(1)

    pids = [fork(count) for _ in range(3)]
    count()
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    assert (up.load(), down.load()) == (80000, -80000)


def test_bits_of_several_processes_do_not_disturb_each_other(segment: SharedMemory) -> None:
    flags = segment.atomic(0, "u64")

    def flip(bit: int) -> None:
        for _ in range(5000):
            assert flags.or_(1 << bit) & 1 << bit == 0
            assert flags.and_(~(1 << bit) & 2**64 - 1) & 1 << bit
        flags.or_(1 << bit)

    pids = [fork(lambda bit=bit: flip(bit)) for bit in (0, 31, 63)]  # type: ignore[misc]
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    assert flags.load() == 1 << 63 | 1 << 31 | 1


def test_a_reader_never_sees_half_a_number(segment: SharedMemory) -> None:
    """A writer in another process stores numbers whose bytes are all equal."""
    number = segment.atomic(8, "u64")
    stop = segment.atomic(0, "u32")

    def write() -> None:
        byte = 0
        while not stop.load():
            byte = byte % 255 + 1
            number.store(byte * 0x0101_0101_0101_0101)

    pid = fork(write)
    wait_until(lambda: number.load() != 0)
    seen = {number.load() for _ in range(50000)}
    wait_until(lambda: {number.load()} != seen)
    stop.store(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert {value for value in seen if value % 0x0101_0101_0101_0101} == set()


def test_a_forked_child_uses_the_atomics_of_its_parent(segment: SharedMemory) -> None:
    number = segment.atomic(0, "i32")
    assert in_child(lambda: number.add(5)) == 0
    assert number.load() == 5


def test_a_program_that_is_executed_opens_the_number_again(segment: SharedMemory) -> None:
    number = segment.atomic(0, "i32")
    code = "import sys, sysv_ipc; print(sysv_ipc.attach(int(sys.argv[1])).atomic(0, 'i32').add(5))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(segment.id)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, number.load()) == ("0\n", 5)


def test_an_array_and_ctypes_see_the_same_number(segment: SharedMemory) -> None:
    number = segment.atomic(8, "i64")
    array = segment.ndarray(2, "i8")
    word = ctypes.c_int64.from_buffer(segment, 8)
    number.store(-5)
    assert (array[1], word.value) == (-5, -5)
    word.value = 6
    array[1] += 1
    assert number.load() == 7


def test_operations_make_no_system_call() -> None:
    code = """
import os, sysv_ipc
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, init_character=b"\\0")
def use():
    for type in ("i32", "u32", "i64", "u64"):
        number = segment.atomic(8, type)
        number.store(3)
        number.load(), number.add(1), number.sub(1), number.exchange(3)
        number.and_(3), number.or_(3), number.compare_exchange(3, 4)
        number.type.endswith("32") and number.wait(9)
use()
os.write(2, b"begin")
use()
os.write(2, b"end")
segment.remove()
"""
    # Python's objects may need memory, above all under AddressSanitizer, which reuses it late.
    assert [line for line in system_calls(code) if "MAP_ANONYMOUS" not in line] == []
