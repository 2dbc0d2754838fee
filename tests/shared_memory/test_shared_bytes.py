"""The bytes of a SharedMemory: read, write, views, indexing, the buffer protocol."""

from __future__ import annotations

import array
import ctypes
import hashlib
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sysv_ipc
from sysv_ipc import IPC_CREX, PAGE_SIZE, ArgumentError, SharedMemory

SIZE = PAGE_SIZE


def test_read_cuts_at_the_end(segment: SharedMemory) -> None:
    segment.write(b"0123456789", SIZE - 10)
    assert segment.read(5, SIZE - 10) == b"01234"
    assert segment.read(100, SIZE - 10) == b"0123456789"
    assert segment.read(0, SIZE - 3) == b"789"
    assert segment.read(byte_count=sys.maxsize, offset=SIZE - 1) == b"9"
    assert len(segment.read()) == SIZE


@pytest.mark.parametrize("offset", [SIZE, SIZE + 1, -1, 2**63, -(2**70)])
def test_offsets_outside_are_refused(segment: SharedMemory, offset: int) -> None:
    for call in (
        lambda: segment.read(1, offset),
        lambda: segment.read_into(bytearray(1), offset),
        lambda: segment.write(b"x", offset),
        lambda: segment.view(offset, 1),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.errno == 22
    assert segment.read() == bytes(SIZE)


@pytest.mark.parametrize("count", [-1, 2**63, "1", 1.0, None])
def test_impossible_counts_are_refused(segment: SharedMemory, count: Any) -> None:
    with pytest.raises((ArgumentError, TypeError), match="byte_count"):
        segment.read(count)


@pytest.mark.parametrize(
    "data",
    [
        b"data",
        bytearray(b"data"),
        memoryview(b"data"),
        memoryview(b"--data--")[2:6],
        array.array("b", b"data"),
        np.frombuffer(b"data", np.uint8),
        "data",
    ],
)
def test_write_takes_any_contiguous_buffer_and_text(segment: SharedMemory, data: Any) -> None:
    segment.write(data, offset=3)
    assert segment.read(10) == b"\0\0\0data\0\0\0"


def test_text_is_written_as_utf_8(segment: SharedMemory) -> None:
    segment.write("häß€😀")
    assert segment.read(13) == "häß€😀".encode() + b"\0"
    with pytest.raises(UnicodeEncodeError):
        segment.write("\ud800")


@pytest.mark.parametrize(
    ("data", "offset"),
    [(b"x" * (SIZE + 1), 0), (b"xy", SIZE - 1), (b"x", SIZE), (b"", SIZE + 1)],
)
def test_writing_past_the_end_writes_nothing(
    segment: SharedMemory, data: bytes, offset: int
) -> None:
    with pytest.raises(ArgumentError, match="past the end"):
        segment.write(data, offset)
    assert segment.read() == bytes(SIZE)


def test_writing_nothing_at_the_end_is_fine(segment: SharedMemory) -> None:
    segment.write(b"", SIZE)
    segment.write(b"x" * SIZE)
    assert segment.read(1, SIZE - 1) == b"x"


@pytest.mark.parametrize("data", [5, None, [1, 2], memoryview(b"abcdef")[::2]])
def test_an_object_without_a_contiguous_buffer_is_refused(segment: SharedMemory, data: Any) -> None:
    with pytest.raises((TypeError, BufferError)):
        segment.write(data)
    assert segment.read() == bytes(SIZE)


def test_read_into_fills_a_buffer(segment: SharedMemory) -> None:
    segment.write(b"0123456789")
    buffer = bytearray(4)
    assert segment.read_into(buffer, 3) == 4
    assert buffer == b"3456"
    numbers: Any = np.zeros(2, np.int32)
    assert segment.read_into(numbers) == 8
    assert numbers.tobytes() == b"01234567"
    assert segment.read_into(bytearray(100), SIZE - 7) == 7
    for bad in (b"immutable", "text", 5, memoryview(bytearray(8))[::2]):
        with pytest.raises((TypeError, BufferError)):
            segment.read_into(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 1000, 65535, 65536, 1 << 20])
def test_source_and_target_may_overlap(size: int) -> None:
    segment = SharedMemory(None, IPC_CREX, size=2 * size)
    data = hashlib.shake_128(b"seed").digest(size)
    segment.write(data)
    with memoryview(segment)[:size] as view:
        segment.write(view, size // 3)
    assert segment.read(size, size // 3) == data
    with memoryview(segment)[:size] as view:
        assert segment.read_into(view, size // 3) == size
    assert segment.read(size) == data
    segment.remove()
    segment.detach()


# -------------------------------------------------------------------------------- indexing


def test_it_is_indexed_like_bytes(segment: SharedMemory) -> None:
    segment.write(bytes(range(16)))
    model = segment.read()
    assert len(segment) == SIZE
    assert (segment[0], segment[5], segment[-SIZE + 3]) == (0, 5, 3)
    for part in (
        slice(3, 7),
        slice(None, 4),
        slice(-4, None),
        slice(10, 2),
        slice(0, 16, 3),
        slice(15, None, -5),
        slice(-(10**30), 10**30, 1000),
    ):
        assert segment[part] == model[part]
    assert list(segment)[:16] == list(range(16))
    assert 7 in segment
    assert bytes(segment) == model


@pytest.mark.parametrize("index", [SIZE, -SIZE - 1, 2**70, -(2**70)])
def test_an_index_outside_is_an_index_error(segment: SharedMemory, index: int) -> None:
    with pytest.raises(IndexError):
        segment[index]
    with pytest.raises(IndexError):
        segment[index] = 1


def test_items_and_slices_can_be_assigned(segment: SharedMemory) -> None:
    segment[0] = 65
    segment[-1] = 90
    segment[1:4] = b"bcd"
    segment[4:8] = bytearray(b"efgh")
    segment[8:12:2] = b"xy"
    assert segment.read(12) == b"Abcdefghx\0y\0"
    assert segment.read(1, SIZE - 1) == b"Z"


@pytest.mark.parametrize(
    ("index", "value"),
    [(0, 256), (0, -1), (0, b"a"), (0, "a"), (slice(0, 2), b"abc"), (slice(0, 2), 5), ("x", 1)],
)
def test_impossible_assignments_change_nothing(
    segment: SharedMemory, index: Any, value: Any
) -> None:
    with pytest.raises((ValueError, TypeError)):
        segment[index] = value
    assert segment.read() == bytes(SIZE)


def test_bytes_cannot_be_deleted(segment: SharedMemory) -> None:
    with pytest.raises(TypeError, match="cannot be deleted"):
        del segment[0]
    with pytest.raises(TypeError, match="cannot be deleted"):
        del segment[0:4]


# --------------------------------------------------------------------- the buffer protocol


def test_the_buffer_is_plain_bytes(segment: SharedMemory) -> None:
    with memoryview(segment) as view:
        assert (view.format, view.itemsize, view.ndim, view.shape) == ("B", 1, 1, (SIZE,))
        assert not view.readonly
        assert view.contiguous
        view[3] = 9
    assert segment[3] == 9


def test_view_is_a_part_cast_to_a_format(segment: SharedMemory) -> None:
    struct.pack_into("=4i", segment, 8, 1, -2, 3, -4)
    with segment.view(8, 16, "i") as view:
        assert view.tolist() == [1, -2, 3, -4]
        view[1] = 77
    assert struct.unpack_from("=i", segment, 12) == (77,)
    with segment.view() as view:
        assert (len(view), view.format) == (SIZE, "B")
    with segment.view(SIZE - 8, format="d") as view:
        assert view.tolist() == [0.0]
    with segment.view(SIZE, 0) as view:
        assert len(view) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"offset": 1, "size": SIZE},
        {"size": SIZE + 1},
        {"size": -1},
        {"offset": SIZE + 1},
        {"size": 7, "format": "i"},
        {"format": "nonsense"},
        {"format": ""},
        {"format": 5},
    ],
)
def test_impossible_views_are_refused(segment: SharedMemory, arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        segment.view(**arguments)
    segment.detach()


def test_functions_that_take_buffers_take_a_segment(segment: SharedMemory) -> None:
    struct.pack_into("=Q", segment, 0, 0x1122334455667788)
    number = ctypes.c_uint64.from_buffer(segment, 0)
    assert number.value == 0x1122334455667788
    number.value = 5
    del number
    assert struct.unpack_from("=Q", segment) == (5,)
    values = array.array("Q")
    values.frombytes(segment)
    assert values[0] == 5
    buffer: Any = segment
    numbers = np.frombuffer(buffer, np.uint64)
    numbers[1] = 6
    del numbers
    assert struct.unpack_from("=Q", segment, 8) == (6,)
    assert hashlib.sha256(segment).digest() == hashlib.sha256(segment.read()).digest()
    assert b"".join([segment]) == segment.read()


def test_indexing_does_not_use_up_address_space() -> None:
    segment = SharedMemory(None, IPC_CREX, size=1 << 20)

    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * sysv_ipc.PAGE_SIZE

    before = mapped()
    for _ in range(300):
        segment[0], segment[1:3], segment[::4096]
        segment[0] = 1
        segment[1:3] = b"ab"
        segment.attach()
    segment.remove()
    segment.detach()
    assert mapped() - before < 100 << 20


INDEXES = [
    0, 1, -1, 9, -10, slice(None), slice(2, 5), slice(5, 2), slice(-3, None), slice(None, None, 2),
    slice(None, None, -1), slice(8, 1, -3), slice(100, 200), slice(-100, 3), slice(3, 3),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_indexes_have_the_same_meaning_as_for_a_bytearray(index: Any) -> None:
    segment = SharedMemory(None, IPC_CREX, size=10)
    segment.write(b"0123456789")
    model = bytearray(b"0123456789")
    assert segment[index] == (model[index] if isinstance(index, int) else bytes(model[index]))
    value: Any = 7 if isinstance(index, int) else bytes(range(100, 100 + len(model[index])))
    segment[index] = model[index] = value
    assert segment.read() == model
    segment.remove()
    segment.detach()


@pytest.mark.parametrize("index", [1.5, "1", (), (1, 2), None, ...])
def test_an_index_of_a_wrong_type_is_a_type_error(segment: SharedMemory, index: Any) -> None:
    with pytest.raises(TypeError, match="shared memory indices must be integers or slices"):
        segment[index]
    with pytest.raises(TypeError, match="shared memory indices must be integers or slices"):
        segment[index] = 1


@pytest.mark.parametrize("value", [256, -1, 2**70])
def test_a_value_that_is_not_a_byte_is_refused(segment: SharedMemory, value: int) -> None:
    with pytest.raises(ArgumentError, match="a byte must be from 0 to 255"):
        segment[0] = value


def test_a_slice_of_another_size_is_refused(segment: SharedMemory) -> None:
    before = segment.read()
    with pytest.raises(ArgumentError, match="3 bytes cannot be assigned to a slice of 2"):
        segment[0:2] = b"abc"
    with pytest.raises(ArgumentError):
        segment[::2] = b"abc"
    assert segment.read() == before


def test_a_slice_takes_a_view_of_the_same_segment() -> None:
    segment = SharedMemory(None, IPC_CREX, size=10)
    segment.write(b"0123456789")
    with memoryview(segment) as view:
        segment[::-1] = view
    assert segment.read() == b"9876543210"
    with memoryview(segment) as view, view[0:8] as part:
        segment[2:10] = part
    assert segment.read() == b"9898765432"
    segment.remove()
    segment.detach()
