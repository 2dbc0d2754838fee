"""ArgumentWarning: calls that are legal and nearly always a slip say so, and no others do."""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import enum
import fractions
import inspect
import subprocess
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import listed

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    IPC_PRIVATE,
    ArgumentWarning,
    ExistentialError,
    MessageQueue,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
    aio,
)

KINDS = [Semaphore, SemaphoreSet, SharedMemory, MessageQueue]


class Priority(enum.IntEnum):
    """What a program may have for types."""

    HIGH = 7


@pytest.fixture
def objects() -> Iterator[dict[str, Any]]:
    """One of each kind, and what else an expression below may name."""
    made: dict[str, Any] = {
        "s": Semaphore(None, IPC_CREX, initial_value=1),
        "z": SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 0]),
        "m": SharedMemory(None, IPC_CREX),
        "q": MessageQueue(None, IPC_CREX),
    }
    # More than any call below takes or waits for.
    for _ in range(3):
        made["q"].send("x", type=7)
    yield {**made, **vars(sysv_ipc), "np": np, "Priority": Priority, "decimal": decimal}
    for handle in made.values():
        handle.remove()
    made["m"].detach()


def warned(call: Callable[[], object]) -> list[str]:
    """Return the texts of the warnings of a call, whose errors do not matter."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.suppress(sysv_ipc.Error):
            call()
    assert {warning.category for warning in caught} <= {ArgumentWarning}
    return [str(warning.message) for warning in caught]


# ------------------------------------------------------------------------------- new objects


def new(cls: Any, key: int | None, flags: int, mode: Any) -> list[str]:
    """Create one and remove it, and return the warnings of it."""
    arguments = {"nsems": 1} if cls is SemaphoreSet else {}
    return warned(lambda: cls(key, flags=flags, mode=mode, **arguments).remove())


def test_it_is_a_warning_that_is_shown_and_has_a_name() -> None:
    assert issubclass(ArgumentWarning, UserWarning)
    assert (ArgumentWarning.__module__, ArgumentWarning.__name__) == ("sysv_ipc", "ArgumentWarning")


@pytest.mark.parametrize("mode", [0, 1, 0o066, 0o111, 0o177, 4096, 640 * 480])
@pytest.mark.parametrize("cls", KINDS)
def test_a_mode_that_leaves_the_owner_nothing_warns(cls: Any, mode: int) -> None:
    (text,) = new(cls, None, IPC_CREX, mode)
    assert f"mode={mode} (0o{mode:o}) gives the owner" in text
    names = {Semaphore: "initial_value", SharedMemory: "size", MessageQueue: "max_message_size"}
    assert cls not in names or f"{names[cls]}={mode} or " in text
    assert "mode=0o600" in text


@pytest.mark.parametrize(
    "mode", [440, 444, 600, 620, 640, 644, 660, 664, 666, 700, 711, 744, 750, 755, 770, 775, 777]
)
@pytest.mark.parametrize("cls", KINDS)
def test_a_mode_in_decimal_warns(cls: Any, mode: int) -> None:
    (text,) = new(cls, None, IPC_CREX, mode)
    assert f"mode={mode} is not octal" in text
    assert f"mode=0o{mode}" in text


@pytest.mark.parametrize(
    "mode",
    [
        *(0o400, 0o440, 0o444, 0o600, 0o606, 0o620, 0o622, 0o640, 0o644, 0o660, 0o664, 0o666),
        *(0o700, 0o711, 0o744, 0o750, 0o755, 0o770, 0o775, 0o777, 0o200, 0o220, 0o222, 0o611),
        *(0o100644, np.int64(0o600)),
    ],
)
@pytest.mark.parametrize("flags", [IPC_CREX, IPC_CREX | 0o600])
def test_a_mode_that_makes_sense_does_not_warn(mode: int, flags: int) -> None:
    assert [new(cls, None, flags, mode) for cls in KINDS] == [[]] * 4


@pytest.mark.parametrize("mode", [0, 1, 440, 644, 666])
def test_asking_for_odd_access_to_what_exists_does_not_warn(
    objects: dict[str, Any], mode: int
) -> None:
    for name, cls in zip("szmq", KINDS, strict=True):
        key = objects[name].key
        assert warned(lambda cls=cls, key=key: cls(key, mode=mode)) == []  # type: ignore[misc]


@pytest.mark.parametrize("flags", [IPC_CREAT, IPC_CREX])
@pytest.mark.parametrize("cls", KINDS)
def test_what_may_create_warns(key: int, cls: Any, flags: int) -> None:
    assert len(new(cls, key, flags, 1)) == 1
    assert len(new(cls, IPC_PRIVATE, 0, 1)) == 1


# ---------------------------------------------------------------------------- flags and modes


@pytest.mark.parametrize("flags", [0o666, 0o600, 0o444, 1])
@pytest.mark.parametrize("cls", KINDS)
def test_permission_bits_in_flags_without_a_mode_warn(key: int, cls: Any, flags: int) -> None:
    arguments = {"nsems": 1} if cls is SemaphoreSet else {}
    made = cls(key, flags=IPC_CREX, **arguments)
    for more in (IPC_CREAT, 0):
        (text,) = warned(lambda more=more: cls(key, flags=flags | more))  # type: ignore[misc]
        assert f"mode=0o{flags:03o}" in text
    made.remove()


@pytest.mark.parametrize(
    ("mode", "meant"),
    [
        (IPC_CREAT | 0o666, "flags=IPC_CREAT, mode=0o666"),
        (IPC_CREX | 0o600, "flags=IPC_CREX, mode=0o600"),
        (IPC_CREAT, "flags=IPC_CREAT, mode=0o000"),
    ],
)
@pytest.mark.parametrize("cls", KINDS)
def test_creation_flags_in_mode_warn_and_the_error_says_it_too(
    key: int, cls: Any, mode: int, meant: str
) -> None:
    (text,) = warned(lambda: cls(key, mode=mode))
    assert meant in text
    with pytest.warns(ArgumentWarning), pytest.raises(ExistentialError) as caught:
        cls(key, mode=mode)
    notes = " ".join(caught.value.__notes__)
    assert "count in flags only" in notes
    assert f"mode=0o{mode & 0o777:03o}" in notes


def test_creation_flags_in_mode_are_told_where_a_key_is_refused() -> None:
    with pytest.raises(sysv_ipc.ArgumentError) as caught:
        Semaphore(None, mode=IPC_CREX | 0o600)
    assert str(caught.value).endswith("Key can only be None if IPC_EXCL is set")
    assert "count in flags only" in " ".join(caught.value.__notes__)


def test_creation_flags_in_both_create(key: int) -> None:
    (text,) = warned(lambda: MessageQueue(key, IPC_CREX, IPC_CREX | 0o640))
    assert "flags=IPC_CREX, mode=0o640" in text
    assert MessageQueue(key).mode == 0o640
    MessageQueue(key).remove()


# ---------------------------------------------------------------------------- block, timeout

#: Calls with a number where block is meant to be true or false.
BLOCKS = [
    "q.send('x', {})",
    "q.send('x', block={})",
    "q.receive({})",
    "q.receive_into(bytearray(9), {})",
    "q.receive_many(1, {})",
    "q.send_many(['x'], 1, {})",
]

#: Calls with a timeout, none of which has to wait.
TIMEOUTS = [
    "s.acquire({})",
    "s.P({})",
    "Semaphore.from_id(z.id, 1).Z({})",
    "z.acquire(0, timeout={})",
    "z.zero(1, timeout={})",
    "z.op([(0, 0 - 1)], {})",
    "z.compile([(0, -1)])({})",
    "q.receive(timeout={})",
    "q.receive_into(bytearray(9), timeout={})",
    "q.receive_many(1, timeout={})",
    "q.send('x', timeout={})",
    "q.send_many(['x'], timeout={})",
    "m.atomic(0, 'u32').wait(1, {})",
]


def told(expression: str, value: str, objects: dict[str, Any]) -> list[str]:
    """Return the warnings of an expression with this value in it."""
    return warned(lambda: eval(expression.format(value), objects))


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("7", "type=7 or timeout=7"),
        ("-7", "type=-7 or timeout=-7"),
        ("2**70", f"type={2**70} or timeout={2**70}"),
        ("Priority.HIGH", "type=7 or timeout=7"),
        ("0.5", ": timeout=0.5"),
        ("decimal.Decimal('7')", ": timeout=Decimal('7')"),
        ("float('nan')", ": timeout=nan"),
    ],
)
@pytest.mark.parametrize("expression", BLOCKS)
def test_a_number_as_block_warns(
    objects: dict[str, Any], expression: str, value: str, meant: str
) -> None:
    (text,) = told(expression, value, objects)
    assert f"{meant} was probably meant" in text


@pytest.mark.parametrize(
    "value", ["True", "False", "0", "1", "1.0", "0.0", "np.True_", "None", "'n'"]
)
@pytest.mark.parametrize("expression", BLOCKS)
def test_what_is_true_or_false_does_not_warn(
    objects: dict[str, Any], expression: str, value: str
) -> None:
    assert told(expression, value, objects) == []


@pytest.mark.parametrize(("value", "meant"), [("True", "timeout=None"), ("False", "timeout=0")])
@pytest.mark.parametrize("expression", TIMEOUTS)
def test_true_and_false_as_a_timeout_warn(
    objects: dict[str, Any], expression: str, value: str, meant: str
) -> None:
    (text,) = told(expression, value, objects)
    assert text.startswith(f"timeout={value} is ")
    assert meant in text


@pytest.mark.parametrize("value", ["None", "0", "1", "0.5", "np.int64(0)", "decimal.Decimal(0)"])
@pytest.mark.parametrize("expression", TIMEOUTS)
def test_a_number_as_a_timeout_does_not_warn(
    objects: dict[str, Any], expression: str, value: str
) -> None:
    assert told(expression, value, objects) == []


# ------------------------------------------------------------------------ as errors, and where


@pytest.mark.parametrize("expression", ["q.send('x', 7)", "q.receive(7)", "s.acquire(True)"])
def test_made_an_error_it_comes_before_anything_is_done(
    objects: dict[str, Any], expression: str
) -> None:
    with pytest.raises(ArgumentWarning):
        eval(expression, objects)
    assert (objects["q"].current_messages, objects["s"].value) == (3, 1)


@pytest.mark.parametrize("flags", [IPC_CREAT | 0o666, IPC_CREAT])
@pytest.mark.parametrize("cls", KINDS)
def test_made_an_error_it_comes_before_anything_is_created(key: int, cls: Any, flags: int) -> None:
    arguments = {"nsems": 1} if cls is SemaphoreSet else {}
    if flags == IPC_CREAT:
        arguments["mode"] = 1
    with pytest.raises(ArgumentWarning):
        cls(key, flags=flags, **arguments)
    assert not sysv_ipc.exists(key, cls)


def blamed(call: Callable[[], object]) -> tuple[str, int]:
    """Return file and line of the warning of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (warning,) = caught
    return warning.filename, warning.lineno


def here() -> tuple[str, int]:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return __file__, frame.f_back.f_lineno


def test_the_line_of_the_caller_is_blamed(objects: dict[str, Any]) -> None:
    queue = objects["q"]
    assert blamed(lambda: queue.receive(7)) == here()


def test_with_asyncio_it_is_the_line_that_awaits(objects: dict[str, Any]) -> None:
    queue, semaphore = objects["q"], objects["s"]

    async def main() -> list[tuple[str, int]]:
        lines = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours = aio.MessageQueue(queue.key, 0o600)
            lines.append(here()[1] - 1)
            await ours.receive(7)  # type: ignore[arg-type]
            lines.append(here()[1] - 1)
            await ours.send("x", 7)  # type: ignore[arg-type]
            lines.append(here()[1] - 1)
            await ours.receive(timeout=True)
            lines.append(here()[1] - 1)
            await aio.Semaphore(semaphore.key).acquire(True)
            lines.append(here()[1] - 1)
        ours.close()
        assert [warning.lineno for warning in caught] == lines
        return [(warning.filename, warning.lineno) for warning in caught]

    assert {file for file, _ in asyncio.run(main())} == {__file__}


ONCE = """
import sysv_ipc
queue = sysv_ipc.MessageQueue(sysv_ipc.IPC_PRIVATE)
for n in range(2, 9):
    queue.send("x", n)
for n in range(2, 9):
    queue.receive(n); queue.send("x", timeout=True)
queue.remove()
"""


def test_each_place_is_told_of_once(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python(ONCE)
    lines = [line for line in done.stderr.splitlines() if "ArgumentWarning" in line]
    assert len(lines) == 3
    assert "block=2 is true" in lines[0]
    assert "block=2 is true" in lines[1]
    assert "timeout=True" in lines[2]
    assert done.returncode == 0


def test_where_each_one_is_to_be_told_each_is_told_as_it_is(objects: dict[str, Any]) -> None:
    queue = objects["q"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in (2, 3):
            queue.send("x", n)
    assert ["block=2" in str(caught[0].message), "block=3" in str(caught[1].message)] == [True] * 2


def test_it_can_be_silenced(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    silence = "warnings.simplefilter('ignore', sysv_ipc.ArgumentWarning)"
    done = run_python(f"import warnings, sysv_ipc\n{silence}\n{ONCE}")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_value_raises_when_it_is_looked_at_comes_through(objects: dict[str, Any]) -> None:
    class Odd(fractions.Fraction):
        def __eq__(self, other: object) -> bool:
            raise KeyError(other)

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(KeyError):
        objects["q"].receive(Odd(7))
    assert objects["q"].current_messages == 3


def test_the_object_is_as_the_call_says_all_the_same(key: int) -> None:
    warned(lambda: Semaphore(key, IPC_CREX, 1))
    made = Semaphore(key, mode=0)
    assert (listed("sem", made.id)["perms"], made.value) == ("1", 0)
    made.remove()
