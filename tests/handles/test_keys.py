"""Keys: valid keys, random keys, ftok(), key_from_name()."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    IPC_PRIVATE,
    KEY_MAX,
    KEY_MIN,
    ArgumentError,
    KeyTypeError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
    ftok,
    key_from_name,
)

KINDS = [Semaphore, SharedMemory, MessageQueue]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """Each class that is opened by key."""
    return request.param


class Index:
    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


@pytest.mark.parametrize(
    ("given", "read_back"),
    [
        (42, 42),
        (-1, -1),
        (0xDEADBEEF, -559038737),
        (-559038737, -559038737),
        (2**31 - 1, 2**31 - 1),
        (2**31, -(2**31)),
        (2**32 + 5, 5),
        (KEY_MAX, -1),
        (KEY_MIN + 1, 1),
        (Index(77), 77),
        (np.uint32(0xDEADBEEF), -559038737),
        (True, 1),
    ],
)
def test_a_key_keeps_its_low_32_bits(kind: Any, given: Any, read_back: int) -> None:
    made = kind(given, IPC_CREX)
    assert made.key == read_back
    assert kind(read_back) == made
    assert kind(read_back & 0xFFFFFFFF) == made
    assert sysv_ipc.exists(given, kind)
    made.remove()


@pytest.mark.parametrize("given", [2**32, -(2**32), KEY_MIN, 3 * 2**32])
def test_no_key_is_reduced_to_ipc_private(kind: Any, given: int) -> None:
    with pytest.raises(ArgumentError, match="would become IPC_PRIVATE"):
        kind(given, IPC_CREX)
    with pytest.raises(ArgumentError, match="would become IPC_PRIVATE"):
        sysv_ipc.exists(given, kind)


@pytest.mark.parametrize("given", [KEY_MAX + 1, KEY_MIN - 1, 2**64, -(2**100)])
def test_keys_beyond_a_c_long_are_refused(kind: Any, given: int) -> None:
    with pytest.raises(ArgumentError, match="KEY_MAX"):
        kind(given, IPC_CREX)


@pytest.mark.parametrize("given", ["42", b"42", 42.0, np.float64(42), [42], object(), Semaphore])
@pytest.mark.parametrize("maker", [*KINDS, SemaphoreSet])
def test_keys_of_a_wrong_type_are_refused(maker: Any, given: Any) -> None:
    with pytest.raises(KeyTypeError, match=r"^\[Errno 22\] Invalid argument: .* not ") as caught:
        maker(given)
    for base in (OSError, ValueError, TypeError, ArgumentError):
        assert isinstance(caught.value, base)
    assert caught.value.errno == errno.EINVAL
    assert type(given).__name__ in str(caught.value)


def test_an_exception_of_a_key_is_passed_on(kind: Any) -> None:
    class Key:
        def __index__(self) -> int:
            raise KeyError("from __index__")

    with pytest.raises(KeyError, match="from __index__"):
        kind(Key())


# ---------------------------------------------------------------------------- random keys


def test_the_key_none_needs_excl(kind: Any) -> None:
    for flags in (0, sysv_ipc.IPC_CREAT):
        with pytest.raises(ValueError, match=r"Key can only be None if IPC_EXCL is set$"):
            kind(None, flags)


def test_random_keys_have_31_bits_and_are_never_0(kind: Any) -> None:
    made = [kind(None, IPC_CREX) for _ in range(200)]
    keys = [handle.key for handle in made]
    for handle in made:
        handle.remove()
    assert len(set(keys)) == 200
    assert all(0 < key < 2**31 for key in keys)
    ones = zeros = 0
    for key in keys:
        ones |= key
        zeros |= ~key
    assert ones == 2**31 - 1
    assert zeros & (2**31 - 1) == 2**31 - 1


def test_random_keys_leave_c_s_generator_alone(kind: Any) -> None:
    libc = ctypes.CDLL(None)
    libc.srand(5)
    wanted = [libc.rand() for _ in range(10)]
    libc.srand(5)
    made = [kind(None, IPC_CREX) for _ in range(10)]
    assert [libc.rand() for _ in range(10)] == wanted
    for handle in made:
        handle.remove()
    libc.srand(5)
    again = [kind(None, IPC_CREX) for _ in range(10)]
    assert {handle.key for handle in made}.isdisjoint(handle.key for handle in again)
    for handle in again:
        handle.remove()


@pytest.mark.parametrize(
    ("maker", "call"),
    [("Semaphore", "semget"), ("SharedMemory", "shmget"), ("MessageQueue", "msgget")],
)
def test_a_random_key_that_is_taken_is_tried_again(maker: str, call: str) -> None:
    code = f"import sysv_ipc; x = sysv_ipc.{maker}(None, sysv_ipc.IPC_CREX); x.remove()"
    command = ["strace", "-o", "/dev/stdout", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:error=EEXIST:when=1..3"]
    command += [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    created = [line for line in done.stdout.splitlines() if "IPC_CREAT|IPC_EXCL" in line]
    assert sum("EEXIST" in line for line in created) >= 2
    assert len({line.split(",")[0] for line in created}) == len(created)


def test_private_is_the_key_0(kind: Any) -> None:
    made = kind(IPC_PRIVATE, IPC_CREX)
    assert made.key == 0
    made.remove()


# ---------------------------------------------------------------------------------- ftok()


def quiet(path: Any, number: Any) -> int:
    return ftok(path, number, silence_warning=True)


@pytest.mark.parametrize("number", [1, 65, 255, 257, 2**32 + 3, -1, -255, np.int8(5)])
def test_ftok_agrees_with_that_of_c(number: int) -> None:
    libc = ctypes.CDLL(None)
    assert quiet("/", number) == libc.ftok(b"/", ctypes.c_int(int(number) & 0xFF))


def test_ftok_takes_any_path_like_object(tmp_path: Path) -> None:
    name = tmp_path / "näme"
    name.touch()
    keys = {quiet(path, 7) for path in (name, str(name), os.fsencode(name))}
    assert len(keys) == 1


@pytest.mark.parametrize("number", [0, 256, -256, 2**32, 2**100])
def test_ftok_refuses_an_id_whose_low_byte_is_0(number: int) -> None:
    with pytest.raises(ArgumentError, match="low byte"):
        quiet("/", number)


@pytest.mark.parametrize("path", ["/no/such/file", b"/no/such/file", Path("/no/such/file")])
def test_ftok_of_a_missing_path_names_it(path: Any) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        quiet(path, 1)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == path


@pytest.mark.parametrize(
    ("path", "number", "error"),
    [(5, 1, TypeError), (None, 1, TypeError), ("/", "1", TypeError), ("/", 1.0, TypeError),
     ("a\0b", 1, ValueError)],
)  # fmt: skip
def test_ftok_refuses_invalid_paths_and_ids(path: Any, number: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        quiet(path, number)


def test_ftok_warns_unless_it_is_silenced() -> None:
    text = "^Use of ftok\\(\\) is not recommended; see sysv_ipc documentation$"
    for _ in range(2):
        with pytest.warns(Warning, match=text) as caught:
            ftok("/", 1)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ftok("/", 1, True)
        with pytest.raises(Warning, match=text):
            ftok("/", 1, silence_warning=False)


# -------------------------------------------------------------------------- key_from_name()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("", 0x811C9DC5 & 0x7FFFFFFF),
        ("a", 0xE40C292C & 0x7FFFFFFF),
        ("foobar", 0xBF9CF968 & 0x7FFFFFFF),
    ],
)
def test_key_from_name_is_fnv_1a(name: str, key: int) -> None:
    """The values are those of the hash's published test vectors."""
    assert key_from_name(name) == key_from_name(name.encode()) == key


def test_key_from_name_takes_text_as_utf_8() -> None:
    assert key_from_name("häß€😀") == key_from_name("häß€😀".encode())
    with pytest.raises(UnicodeEncodeError):
        key_from_name("\ud800")


def test_key_from_name_is_positive_and_spread() -> None:
    keys = [key_from_name(f"name {number}") for number in range(20_000)]
    assert all(0 < key < 2**31 for key in keys)
    assert len(set(keys)) > 19_990


@pytest.mark.parametrize("name", [5, None, 1.5, ["a"], bytearray(b"a"), Path("/")])
def test_key_from_name_refuses_invalid_names(name: Any) -> None:
    with pytest.raises(TypeError, match="str or bytes"):
        key_from_name(name)
