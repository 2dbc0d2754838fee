"""``SharedMemory.ndarray()``: arrays that keep their segment attached, and their uses."""

from __future__ import annotations

import array
import ctypes
import gc
import os
import runpy
import struct
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT, in_child, listed

from sysv_ipc import IPC_CREX, PAGE_SIZE, ArgumentError, NotAttachedError, SharedMemory

POINT = np.dtype([("x", "<f8"), ("name", "S5"), ("at", ">i2", (2, 3))])

DTYPES = ["u1", "<i4", ">i4", "=u8", ">f8", "<c16", "?", "S7", "U3", "V5", "M8[ns]", POINT]


def attached(segment: SharedMemory) -> int:
    return int(listed("shm", segment.id)["nattch"])


# ----------------------------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("offset", [0, 8, 3])
def test_an_array_is_the_bytes_of_the_segment(
    segment: SharedMemory, dtype: Any, offset: int
) -> None:
    """The test compares with an array that NumPy makes from a copy of the bytes."""
    segment.write(bytes(range(200)) * 3)
    if dtype in ("?", "U3"):
        # Not all bytes are valid characters or truth values.
        segment.write(bytes(600))
    got = segment.ndarray((3, 4), dtype, offset)
    copy = np.ndarray((3, 4), dtype, segment.read(), offset)
    assert (got.dtype, got.shape, got.strides) == (np.dtype(dtype), (3, 4), copy.strides)
    assert got.tobytes() == copy.tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_written_to_an_array_are_in_the_segment(segment: SharedMemory, dtype: Any) -> None:
    segment.write(b"\xff" * PAGE_SIZE)
    numbers = segment.ndarray(2, dtype, 5)
    numbers[...] = np.zeros(2, dtype)
    size = np.dtype(dtype).itemsize * 2
    expected = np.zeros(2, dtype).tobytes()
    assert (segment.read(5), segment.read(size, 5), segment.read(1, 5 + size)) == (
        b"\xff" * 5,
        expected,
        b"\xff",
    )


def test_fields_of_a_structure_keep_their_byte_order(segment: SharedMemory) -> None:
    points = segment.ndarray(10, POINT, 1)
    points[2] = (1.5, b"abc", [[1, 2, 3], [4, 5, -6]])
    at = 1 + 2 * POINT.itemsize
    assert struct.unpack_from("<d5s", segment, at) == (1.5, b"abc\0\0")
    assert struct.unpack_from(">6h", segment, at + 13) == (1, 2, 3, 4, 5, -6)


def test_an_offset_may_be_unaligned(segment: SharedMemory) -> None:
    numbers = segment.ndarray(4, np.int64, 3)
    numbers[:] = [1, 2, 3, -4]
    assert not numbers.flags.aligned
    assert struct.unpack_from("=4q", segment, 3) == (1, 2, 3, -4)


@pytest.mark.parametrize(("order", "strides"), [("C", (12, 4)), ("F", (4, 8))])
def test_order_is_by_rows_or_by_columns(
    segment: SharedMemory, order: Any, strides: tuple[int, ...]
) -> None:
    numbers = segment.ndarray((2, 3), "i4", order=order)
    numbers[:] = [[1, 2, 3], [4, 5, 6]]
    assert numbers.strides == strides
    expected = [1, 2, 3, 4, 5, 6] if order == "C" else [1, 4, 2, 5, 3, 6]
    assert segment.view(0, 24, "i").tolist() == expected


class Index:
    """An object with __index__() that counts its calls."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.asked = 0

    def __repr__(self) -> str:
        return f"Index({self.value})"

    def __index__(self) -> int:
        self.asked += 1
        return self.value


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (5, (5,)),
        (np.int64(5), (5,)),
        ((), ()),
        ([2, 3], (2, 3)),
        (np.array([2, 3]), (2, 3)),
        pytest.param(iter([1, 2]), (1, 2), id="an iterator"),
        (Index(4), (4,)),
        ((0, 7), (0, 7)),
        (0, (0,)),
        ((1,) * 20, (1,) * 20),
    ],
    ids=repr,
)
def test_a_shape_is_a_length_or_a_sequence_of_lengths(
    segment: SharedMemory, shape: Any, expected: Any
) -> None:
    assert segment.ndarray(shape, "u1").shape == expected


def test_lengths_are_converted_once(segment: SharedMemory) -> None:
    """A length that grew after the check would lead out of the segment."""

    class Growing(Index):
        def __index__(self) -> int:
            self.value *= 1000
            return super().__index__()

    length = Growing(1)
    assert segment.ndarray((length,), "u1").shape == (1000,)
    assert length.asked == 1


def test_a_dtype_of_arrays_adds_its_shape(segment: SharedMemory) -> None:
    assert segment.ndarray(2, np.dtype(("i4", (3, 5)))).shape == (2, 3, 5)
    with pytest.raises(ArgumentError, match="past the end"):
        segment.ndarray(PAGE_SIZE // 4, np.dtype(("i4", 2)))


@pytest.mark.parametrize("dtype", [("i4", (2,)), ("S", 4), (np.void, 8), ("u1", 1)], ids=repr)
def test_a_tuple_is_a_dtype_as_numpy_takes_it(segment: SharedMemory, dtype: Any) -> None:
    array = segment.ndarray(3, dtype)
    wanted = np.zeros(3, np.dtype(dtype))
    assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)


def test_arguments_have_names(segment: SharedMemory) -> None:
    numbers = segment.ndarray(shape=(1, 2), dtype="u1", offset=9, order="F")
    numbers[:] = 7
    assert segment.read(4, 8) == b"\0\7\7\0"


# ------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((PAGE_SIZE + 1, "u1"), f"an array of {PAGE_SIZE + 1} bytes at offset 0 goes past the end"),
        ((1, "u1", PAGE_SIZE), "past the end"),
        ((1, "u8", PAGE_SIZE - 7), "past the end"),
        ((0, "u1", PAGE_SIZE + 1), "past the end"),
        (((sys.maxsize // 2, 2), "u8"), "larger than any segment"),
        ((sys.maxsize // 2 + 1, "u8"), "larger than any segment"),
        (((sys.maxsize // 2, 0, sys.maxsize // 2), "u8"), "larger than any segment"),
        ((-1, "u1"), "a length in shape"),
        (((2, -2), "u1"), "a length in shape"),
        ((2**63, "u1"), "a length in shape"),
        ((1, "u1", -1), "offset must be"),
        ((1, "u1", 2**63), "offset must be"),
        ((1, "S0"), "no size"),
        ((1, "V0"), "no size"),
        ((1, str), "no size"),
        ((1, []), "no size"),
        ((1, "u1", 0, "A"), "order must be 'C' or 'F'"),
        ((1, "u1", 0, "CC"), "order must be 'C' or 'F'"),
        ((1, "u1", 0, ""), "order must be 'C' or 'F'"),
    ],
    ids=repr,
)
def test_an_array_that_does_not_fit_is_an_argument_error(
    segment: SharedMemory, arguments: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text) as caught:
        segment.ndarray(*arguments)
    assert caught.value.errno == 22
    segment.detach()


@pytest.mark.parametrize(
    "arguments",
    [
        (1, object),
        (1, [("a", "i4"), ("b", object)]),
        (1, np.dtypes.StringDType()),
        (1, "nonsense"),
        (1, 5),
        (1.5, "u1"),
        ("12", "u1"),
        ((1, None), "u1"),
        (1, "u1", "0"),
        (1, "u1", None),
        (1, "u1", 0, 67),
        (1, "u1", 0, None),
        (1,),
        (),
    ],
    ids=repr,
)
def test_an_argument_of_a_wrong_type_is_a_type_error(
    segment: SharedMemory, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError):
        segment.ndarray(*arguments)
    segment.detach()


def test_too_many_dimensions_are_refused_by_numpy(segment: SharedMemory) -> None:
    with pytest.raises(ValueError, match="dimension"):
        segment.ndarray((1,) * 100, "u1")
    segment.detach()


def test_a_segment_that_is_not_attached_has_no_arrays(segment: SharedMemory) -> None:
    segment.detach()
    with pytest.raises(NotAttachedError):
        segment.ndarray(1, "u1")
    with pytest.raises(NotAttachedError):
        segment.ndarray(0, "u1")


def test_a_handle_that_was_never_initialised_has_no_arrays() -> None:
    with pytest.raises(OSError, match="never initialised"):
        SharedMemory.__new__(SharedMemory).ndarray(1, "u1")


def test_an_array_may_fill_the_segment_to_its_last_byte(segment: SharedMemory) -> None:
    numbers = segment.ndarray((PAGE_SIZE - 3) // 3, "V3", PAGE_SIZE % 3 or 3)
    assert numbers.nbytes == (PAGE_SIZE - 3) // 3 * 3
    assert segment.ndarray(0, "u8", PAGE_SIZE).shape == (0,)


# ------------------------------------------------------------------------------- lifetimes

Derive = Callable[[Any], object]


@pytest.mark.parametrize(
    "derive",
    [
        lambda a: a,
        lambda a: a[1:3],
        lambda a: a[1:3][::-1],
        lambda a: a.T,
        lambda a: a.reshape(2, 8),
        lambda a: a.view("u4"),
        lambda a: memoryview(a),
        lambda a: memoryview(a)[4:],
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.ndarray((3,), "u1", buffer=a),
        lambda a: np.ndarray((3,), "u1", buffer=memoryview(a)),
        lambda a: np.frombuffer(a, "u1"),
        lambda a: np.from_dlpack(a),
        lambda a: a.__dlpack__(),
        lambda a: iter(a),
        lambda a: a.flat,
        lambda a: np.lib.stride_tricks.as_strided(a, (2,), (1,)),
        lambda a: a.base,
        lambda a: memoryview(a.base),
        lambda a: np.ndarray((1,), "u1", buffer=a.base),
        lambda a: (ctypes.c_char * 4).from_buffer(a),
        lambda a: np.ma.masked_array(a),
        lambda a: a.view(np.recarray),
    ],
)
def test_detach_is_refused_while_an_array_or_a_view_of_it_lives(
    segment: SharedMemory, derive: Derive
) -> None:
    kept = derive(segment.ndarray(16, "u1"))
    gc.collect()
    for call in (segment.detach, segment.attach, lambda: segment.__init__(segment.key)):  # type: ignore[misc]
        with pytest.raises(BufferError, match="release them first"):
            call()
    assert (segment.attached, attached(segment)) == (True, 1)
    del kept
    gc.collect()
    segment.detach()
    assert attached(segment) == 0


def test_a_copy_does_not_pin(segment: SharedMemory) -> None:
    copy = segment.ndarray(16, "u1").copy()
    segment.detach()
    assert copy.sum() == 0


def test_the_base_of_an_array_cannot_be_released(segment: SharedMemory) -> None:
    """The memoryview of ``np.frombuffer()`` can be released, and using the array then crashes."""
    numbers = segment.ndarray(16, "u1")
    base: Any = numbers.base
    assert not hasattr(base, "release")
    with pytest.raises(TypeError):
        type(base)()
    memoryview(base).release()
    with pytest.raises(BufferError):
        segment.detach()


def test_an_array_keeps_the_mapping_of_a_handle_that_is_dropped(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key)
    numbers = other.ndarray(4, "u1")
    del other
    gc.collect()
    segment.write(b"\7")
    assert (numbers[0], attached(segment)) == (7, 2)
    del numbers
    gc.collect()
    assert attached(segment) == 1


def test_an_array_outlives_handle_and_removal_and_then_the_segment_goes() -> None:
    handle = SharedMemory(None, IPC_CREX, init_character=b"\3")
    numbers, id = handle.ndarray(5, "u1"), handle.id
    handle.remove()
    del handle
    gc.collect()
    assert (numbers.sum(), listed("shm", id)["nattch"]) == (15, "1")
    del numbers
    gc.collect()
    with pytest.raises(LookupError):
        listed("shm", id)


def test_a_read_only_attachment_gives_read_only_arrays(segment: SharedMemory) -> None:
    reader = SharedMemory(segment.key, mode=0o400)
    numbers: Any = reader.ndarray(4, "u1")
    segment.write(b"\5")
    assert numbers[0] == 5
    assert not numbers.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        numbers.flags.writeable = True
    with pytest.raises((BufferError, TypeError)):
        (ctypes.c_char * 4).from_buffer(numbers)


def test_a_subclass_is_collected_after_its_arrays(segment: SharedMemory) -> None:
    class Segment(SharedMemory):
        base: object
        me: object

    handle = Segment(segment.key)
    # NumPy's arrays do not support garbage collection, but their base objects do.
    handle.base, handle.me = handle.ndarray(4, "u1").base, handle
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None
    assert attached(segment) == 1


@pytest.mark.thread_unsafe(reason="the references to a dtype are those of all threads")
def test_arrays_leave_nothing_behind(segment: SharedMemory) -> None:
    segment.ndarray(4, "u1")
    before = sys.getrefcount(segment), sys.getrefcount(np.dtype("u1"))
    for _ in range(1000):
        segment.ndarray(4, "u1")
        with pytest.raises(ArgumentError):
            segment.ndarray(PAGE_SIZE + 1, "u1")
    assert (sys.getrefcount(segment), sys.getrefcount(np.dtype("u1"))) == before
    segment.detach()


def test_a_forked_child_writes_through_the_array(segment: SharedMemory) -> None:
    numbers = segment.ndarray(4, "u4")

    def child() -> None:
        numbers[2] = 77

    in_child(child)
    assert numbers[2] == 77


# ----------------------------------------------------------------------------- without NumPy

WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
import sysv_ipc
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX)
segment.remove()
try:
    segment.ndarray(1, "u1")
except ModuleNotFoundError as error:
    print(error.name, error)
segment.detach()
"""


def test_without_numpy_the_error_names_the_extra() -> None:
    command = [sys.executable, "-c", WITHOUT_NUMPY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expected = "numpy SharedMemory.ndarray() needs NumPy: pip install 'sysv_ipc[numpy]'\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_a_broken_numpy_raises_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("import something_else_entirely\n")
    command = [sys.executable, "-c", WITHOUT_NUMPY.replace('sys.modules["numpy"] = None', "")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.startswith("something_else_entirely No module named"), done.stderr


def test_numpy_is_imported_by_nothing_else() -> None:
    code = """
import sys, sysv_ipc
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX)
segment.remove()
segment.view(0, 8, "q")[0] = 1
segment.atomic(0, "i32").add(1)
print("numpy" in sys.modules)
segment.ndarray(1, "u1")
print("numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


# --------------------------------------------------------------------- with other libraries


def test_struct_packs_into_a_segment_and_its_arrays(segment: SharedMemory) -> None:
    struct.pack_into("<Ih", segment, 4, 0xDEADBEEF, -2)
    numbers: Any = segment.ndarray(2, "<u4", 4)
    assert numbers[0] == 0xDEADBEEF
    struct.pack_into("<I", numbers, 0, 5)
    assert struct.unpack_from("<Ih", segment, 4) == (5, -2)


def test_a_ctypes_structure_lies_in_a_segment(segment: SharedMemory) -> None:
    class Header(ctypes.Structure):
        _fields_ = (("magic", ctypes.c_uint32), ("count", ctypes.c_uint16))

    header = Header.from_buffer(segment, 16)
    header.magic, header.count = 0x01020304, 9
    assert segment.ndarray((), np.dtype(Header), 16).tolist() == (0x01020304, 9)
    with pytest.raises(BufferError):
        segment.detach()
    del header
    gc.collect()
    segment.detach()


def test_an_array_of_the_array_module_is_written_and_read(segment: SharedMemory) -> None:
    numbers = array.array("d", [1.5, -2.5])
    segment.write(numbers, 8)
    assert segment.ndarray(2, "d", 8).tolist() == [1.5, -2.5]
    segment.ndarray(2, "d", 8)[:] = [3, 4]
    segment.read_into(numbers, 8)
    assert numbers.tolist() == [3.0, 4.0]
    with segment.view(8, 16, "d") as view:
        assert array.array("d", view) == numbers


def test_a_memoryview_of_an_array_has_its_shape(segment: SharedMemory) -> None:
    numbers: Any = segment.ndarray((2, 3), "i4", order="F")
    with memoryview(numbers) as view:
        assert (view.shape, view.format, view.f_contiguous) == ((2, 3), np.dtype("i4").char, True)


def test_dlpack_shares_the_bytes(segment: SharedMemory) -> None:
    numbers = segment.ndarray(4, "i4")
    shared = np.from_dlpack(numbers)
    numbers[1] = 42
    assert shared[1] == 42
    assert np.shares_memory(shared, numbers)


def test_the_example_with_pillow_and_arrow_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """If one of the two is not installed, the example prints that; CI has both."""
    example = ROOT / "examples" / "buffers.py"
    runpy.run_path(str(example), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    expected = {
        "PIL": "Pillow draws in the segment: (255, 0, 0) in the middle, (0, 0, 255) outside",
        "pyarrow": "Arrow reads the segment: sum 4950, no copy",
    }
    for module, line in expected.items():
        missing = module not in sys.modules
        assert (f"{module} is not installed" if missing else line) in lines
    assert lines[-1] == "detached"


def test_arrays_from_the_numpy_side_read_zeros_after_a_detach() -> None:
    segment = SharedMemory(None, IPC_CREX, init_character=b"x")
    array = np.ndarray((10,), np.uint8, buffer=segment)  # type: ignore[arg-type]
    segment.remove()
    segment.detach()
    assert array.sum() == 0
