"""ArgumentWarning: only calls that are legal, but probably a mistake, issue it."""

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
from typing import Any, Self

import numpy as np
import pytest
from calls import HANDLES
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


class Priority(enum.IntEnum):
    """An enumeration of message types, as programs define it."""

    HIGH = 7


@pytest.fixture
def objects() -> Iterator[dict[str, Any]]:
    """One object of each kind, and the other names that expressions below use."""
    made: dict[str, Any] = {
        "s": Semaphore(None, IPC_CREX, initial_value=1),
        "z": SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 0]),
        "m": SharedMemory(None, IPC_CREX),
        "q": MessageQueue(None, IPC_CREX),
    }
    # More messages and permits than the calls below take.
    for _ in range(3):
        made["q"].send("x", type=7)
    yield {**made, **vars(sysv_ipc), "np": np, "Priority": Priority, "decimal": decimal}
    for handle in made.values():
        handle.remove()
    made["m"].detach()


def warned(call: Callable[[], object]) -> list[str]:
    """Return the texts of the warnings of a call, and ignore its errors."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.suppress(sysv_ipc.Error):
            call()
    assert {warning.category for warning in caught} <= {ArgumentWarning}
    return [str(warning.message) for warning in caught]


# ------------------------------------------------------------------------------- new objects


def new(cls: Any, key: int | None, flags: int, mode: Any) -> list[str]:
    """Create an object, remove it, and return the warnings."""
    arguments = {"nsems": 1} if cls is SemaphoreSet else {}
    return warned(lambda: cls(key, flags=flags, mode=mode, **arguments).remove())


def test_it_is_a_warning_that_is_shown_and_has_a_name() -> None:
    assert issubclass(ArgumentWarning, UserWarning)
    assert (ArgumentWarning.__module__, ArgumentWarning.__name__) == ("sysv_ipc", "ArgumentWarning")


@pytest.mark.parametrize("mode", [0, 1, 0o066, 0o111, 0o177, 4096, 640 * 480])
@pytest.mark.parametrize("cls", HANDLES)
def test_a_mode_that_leaves_the_owner_nothing_warns(cls: Any, mode: int) -> None:
    (text,) = new(cls, None, IPC_CREX, mode)
    assert f"mode={mode} (0o{mode:o}) gives the owner" in text
    names = {Semaphore: "initial_value", SharedMemory: "size", MessageQueue: "max_message_size"}
    assert cls not in names or f"{names[cls]}={mode} or " in text
    assert "mode=0o600" in text


@pytest.mark.parametrize(
    "mode", [440, 444, 600, 620, 640, 644, 660, 664, 666, 700, 711, 744, 750, 755, 770, 775, 777]
)
@pytest.mark.parametrize("cls", HANDLES)
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
    assert [new(cls, None, flags, mode) for cls in HANDLES] == [[]] * 4


@pytest.mark.parametrize("mode", [0, 1, 440, 644, 666])
def test_opening_an_existing_object_with_an_odd_mode_does_not_warn(
    objects: dict[str, Any], mode: int
) -> None:
    for name, cls in zip("szmq", HANDLES, strict=True):
        key = objects[name].key
        assert warned(lambda cls=cls, key=key: cls(key, mode=mode)) == []  # type: ignore[misc]


@pytest.mark.parametrize("flags", [IPC_CREAT, IPC_CREX])
@pytest.mark.parametrize("cls", HANDLES)
def test_a_call_that_may_create_warns(key: int, cls: Any, flags: int) -> None:
    assert len(new(cls, key, flags, 1)) == 1
    assert len(new(cls, IPC_PRIVATE, 0, 1)) == 1


# ---------------------------------------------------------------------------- flags and modes


@pytest.mark.parametrize("flags", [0o666, 0o600, 0o444, 1])
@pytest.mark.parametrize("cls", HANDLES)
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
@pytest.mark.parametrize("cls", HANDLES)
def test_creation_flags_in_mode_warn_and_the_error_mentions_them(
    key: int, cls: Any, mode: int, meant: str
) -> None:
    (text,) = warned(lambda: cls(key, mode=mode))
    assert meant in text
    with pytest.warns(ArgumentWarning), pytest.raises(ExistentialError) as caught:
        cls(key, mode=mode)
    notes = " ".join(caught.value.__notes__)
    assert "count in flags only" in notes
    assert f"mode=0o{mode & 0o777:03o}" in notes


def test_creation_flags_in_mode_are_mentioned_if_a_key_is_refused() -> None:
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

#: Calls with a number for block, which should be true or false.
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
def test_true_or_false_as_block_does_not_warn(
    objects: dict[str, Any], expression: str, value: str
) -> None:
    assert told(expression, value, objects) == []


@pytest.mark.parametrize(("value", "meant"), [("True", "timeout=None"), ("False", "timeout=0")])
@pytest.mark.parametrize("expression", TIMEOUTS)
def test_true_and_false_as_a_timeout_warn(
    objects: dict[str, Any], expression: str, value: str, meant: str
) -> None:
    (text,) = told(expression, value, objects)
    assert text.startswith(f"timeout={value} ")
    assert meant in text


@pytest.mark.parametrize("value", ["None", "0", "1", "0.5", "np.int64(0)", "decimal.Decimal(0)"])
@pytest.mark.parametrize("expression", TIMEOUTS)
def test_a_number_as_a_timeout_does_not_warn(
    objects: dict[str, Any], expression: str, value: str
) -> None:
    assert told(expression, value, objects) == []


# ------------------------------------------------------------------- as errors, and their lines


@pytest.mark.parametrize("expression", ["q.send('x', 7)", "q.receive(7)", "s.acquire(True)"])
def test_as_an_error_it_is_raised_before_anything_is_done(
    objects: dict[str, Any], expression: str
) -> None:
    with pytest.raises(ArgumentWarning):
        eval(expression, objects)
    assert (objects["q"].current_messages, objects["s"].value) == (3, 1)


@pytest.mark.parametrize("flags", [IPC_CREAT | 0o666, IPC_CREAT])
@pytest.mark.parametrize("cls", HANDLES)
def test_as_an_error_it_is_raised_before_anything_is_created(
    key: int, cls: Any, flags: int
) -> None:
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


def test_the_warning_names_the_line_of_the_caller(objects: dict[str, Any]) -> None:
    queue = objects["q"]
    assert blamed(lambda: queue.receive(7)) == here()


def test_with_asyncio_the_warning_names_the_line_that_awaits(objects: dict[str, Any]) -> None:
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


def test_with_asyncio_the_warning_names_the_line_of_the_call_that_becomes_a_task(
    objects: dict[str, Any],
) -> None:
    async def main() -> None:
        queue, members = aio.MessageQueue(objects["q"].key), aio.SemaphoreSet(objects["z"].key)
        permits = aio.Semaphore(objects["s"].key)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            tasks: list[asyncio.Task[Any]] = []
            tasks.append(asyncio.create_task(queue.send("x", 7)))  # type: ignore[arg-type]
            lines = [here()[1] - 1]
            tasks.append(asyncio.create_task(queue.send("y", 8)))  # type: ignore[arg-type]
            lines.append(here()[1] - 1)
            tasks.append(asyncio.create_task(queue.receive(9)))  # type: ignore[arg-type]
            lines.append(here()[1] - 1)
            tasks.append(asyncio.create_task(permits.acquire(True)))
            lines.append(here()[1] - 1)
            tasks.append(asyncio.create_task(permits.zero(True)))
            lines.append(here()[1] - 1)
            tasks.append(asyncio.create_task(members.acquire(0, timeout=True)))
            lines.append(here()[1] - 1)
            tasks.append(asyncio.create_task(members.zero(1, timeout=True)))
            lines.append(here()[1] - 1)
            tasks.append(asyncio.create_task(members.op([(0, 1)], True)))
            lines.append(here()[1] - 1)
            await asyncio.gather(*tasks)
        for one in (queue, members, permits):
            one.close()
        assert [warning.lineno for warning in caught] == lines
        assert {warning.filename for warning in caught} == {__file__}
        texts = [str(warning.message) for warning in caught]
        assert ["block=7" in texts[0], "block=8" in texts[1]] == [True, True]

    asyncio.run(main())


def test_with_asyncio_as_an_error_it_is_raised_before_anything_is_done(
    objects: dict[str, Any],
) -> None:
    async def main() -> None:
        queue, permits = aio.MessageQueue(objects["q"].key), aio.Semaphore(objects["s"].key)
        for call in (
            lambda: queue.send("x", 7),  # type: ignore[arg-type]
            lambda: queue.receive(7),  # type: ignore[arg-type]
            lambda: permits.acquire(True),
        ):
            with pytest.raises(ArgumentWarning):
                await call()

    asyncio.run(main())
    assert (objects["q"].current_messages, objects["s"].value) == (3, 1)


ONCE = """
import sysv_ipc
queue = sysv_ipc.MessageQueue(sysv_ipc.IPC_PRIVATE)
for n in range(2, 9):
    queue.send("x", n)
for n in range(2, 9):
    queue.receive(n); queue.send("x", timeout=True)
queue.remove()
"""


def test_each_line_warns_once(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python(ONCE)
    lines = [line for line in done.stderr.splitlines() if "ArgumentWarning" in line]
    assert len(lines) == 3
    assert "block=2 is true" in lines[0]
    assert "block=2 is true" in lines[1]
    assert "timeout=True" in lines[2]
    assert done.returncode == 0


#: Statements at a prompt, where each is line 1, and a part of the expected warning.
PROMPT = {
    "a = Semaphore(None, IPC_CREX, 1)": "mode=1 (0o1) gives the owner",
    "b = SharedMemory(None, IPC_CREX, 640*480)": "mode=307200",
    "c = MessageQueue(None, IPC_CREX, 666)": "mode=666 is not octal",
    "q = MessageQueue(None, IPC_CREX)": None,
    "q.send('x', 7)": "block=7",
    "q.send('x', 8); q.send('x', 9)": "block=8, block=9",
    "for n in (10, 11): q.send('x', n)": "block=10",
    "q.send('x', 12) if q.receive(13) else 0": "block=13, block=12",
    "warnings.simplefilter('error')": None,
    "d = MessageQueue(None, IPC_CREX, 0o100)": "mode=64 (0o100) gives the owner",
    "for one in (a, b, c, q): one.remove()": None,
}


def test_at_a_prompt_each_statement_warns(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = (
        "import sys, warnings\n"
        "from sysv_ipc import *\n"
        "def show(message, *_): print('told', message)\n"
        "warnings.showwarning = show\n"
        "names = dict(globals())\n"
        "for line in sys.argv[1:]:\n"
        "    print('>>>', line)\n"
        "    try: exec(compile(line, '<stdin>', 'exec'), names)\n"
        "    except ArgumentWarning as error: print('told', error)\n"
    )
    done = run_python(code, *PROMPT)
    assert done.stderr == ""
    told = [part.splitlines() for part in done.stdout.split(">>> ")[1:]]
    assert [part[0] for part in told] == list(PROMPT)
    for (_, *texts), wanted in zip(told, PROMPT.values(), strict=True):
        parts = [] if wanted is None else wanted.split(", ")
        assert len(texts) == len(parts)
        assert all(part in text for part, text in zip(parts, texts, strict=True))


def test_no_text_is_that_of_another_call(objects: dict[str, Any]) -> None:
    """The filters change between two calls on one line, and the same value is passed again."""
    queue = objects["q"]

    def send(n: int) -> None:
        queue.send("x", n)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        send(7)
        send(8)
        send(7)
    assert ["block=7" in str(warning.message) for warning in caught] == [True]
    for n in (9, 7, 8):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ArgumentWarning, match=f"block={n} "):
                send(n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("default")
        warnings.filterwarnings("ignore", message="block=8 ")
        for n in (8, 9, 8, 10):
            send(n)
    assert ["block=9" in str(warning.message) for warning in caught] == [True]


def test_the_registry_of_a_module_does_not_grow(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = (
        "import sysv_ipc, warnings\n"
        "warnings.showwarning = lambda *_: None\n"
        "queue = sysv_ipc.MessageQueue(sysv_ipc.IPC_PRIVATE)\n"
        "sizes = set()\n"
        "for n in range(2, 200):\n"
        "    queue.send('x', n)\n"
        "    eval('queue.receive(7)')\n"
        "    sizes.add(len(__warningregistry__))\n"
        "queue.remove()\n"
        "print(len(sizes))\n"
    )
    assert run_python(code).stdout == "1\n"


class Odd(float):
    """A number with this repr()."""

    def __new__(cls, text: Any) -> Self:
        self = super().__new__(cls, 0.5)
        self.text = text  # type: ignore[attr-defined]
        return self

    def __repr__(self) -> str:
        if isinstance(self.text, BaseException):  # type: ignore[attr-defined]
            raise self.text  # type: ignore[attr-defined]
        return self.text  # type: ignore[attr-defined, no-any-return]


class OddInt(int):
    """A subclass of int."""

    def __int__(self) -> int:
        raise ZeroDivisionError

    __index__ = __int__


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**5000, "type or timeout was"),
        (Odd("\udc80"), r"block=\udc80 is"),
        (Odd("a\0b"), "block=a\0b is"),
        (Odd(ValueError()), "type or timeout was"),
        (Odd(RecursionError()), "type or timeout was"),
        (OddInt(7), ""),
    ],
    ids=["digits", "surrogate", "zero", "raises", "recursion", "no int"],
)
def test_a_value_whose_repr_fails_causes_no_error(
    objects: dict[str, Any], value: Any, shown: str
) -> None:
    (text,) = warned(lambda: objects["q"].send("x", value))
    assert shown in text
    assert text.encode()
    assert objects["q"].current_messages == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_exception_that_ends_a_program_is_passed_on(
    objects: dict[str, Any], error: type[BaseException]
) -> None:
    with pytest.raises(error):
        objects["q"].send("x", Odd(error()))
    assert objects["q"].current_messages == 3


def test_with_the_filter_always_each_value_is_in_its_warning(objects: dict[str, Any]) -> None:
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


def test_an_exception_of_a_value_is_passed_on(objects: dict[str, Any]) -> None:
    class Odd(fractions.Fraction):
        def __eq__(self, other: object) -> bool:
            raise KeyError(other)

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(KeyError):
        objects["q"].receive(Odd(7))
    assert objects["q"].current_messages == 3


def test_the_object_is_made_as_requested_despite_the_warning(key: int) -> None:
    warned(lambda: Semaphore(key, IPC_CREX, 1))
    made = Semaphore(key, mode=0)
    assert (listed("sem", made.id)["perms"], made.value) == ("1", 0)
    made.remove()
