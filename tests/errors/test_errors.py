"""The error tree: classes, errno, texts, attributes and notes."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from helpers import as_other_user, caught, import_testcapi

import sysv_ipc
import sysv_ipc.aio
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    IPC_EXCL,
    ArgumentError,
    BusyError,
    CancelledError,
    Error,
    ExistentialError,
    InternalError,
    KeyTypeError,
    LimitError,
    MessageQueue,
    NotAttachedError,
    OutOfMemoryError,
    PermissionsError,
    ReadOnlyError,
    Semaphore,
    SemaphoreSet,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]

TREE: dict[type[Error], tuple[type[BaseException], ...]] = {
    Error: (OSError,),
    PermissionsError: (Error, PermissionError),
    ExistentialError: (Error,),
    BusyError: (Error, TimeoutError),
    ArgumentError: (Error, ValueError),
    KeyTypeError: (ArgumentError, TypeError),
    LimitError: (Error,),
    OutOfMemoryError: (Error, MemoryError),
    NotAttachedError: (Error,),
    ReadOnlyError: (Error,),
    CancelledError: (Error,),
    InternalError: (Error,),
}


@pytest.mark.parametrize("cls", TREE)
def test_a_class_has_exactly_these_bases_and_its_public_name(cls: type[Error]) -> None:
    assert cls.__bases__ == TREE[cls]
    assert (cls.__module__, getattr(sysv_ipc, cls.__name__)) == ("sysv_ipc", cls)


@pytest.mark.parametrize("cls", TREE)
def test_a_class_can_be_raised_without_arguments(cls: type[Error]) -> None:
    with pytest.raises(cls) as caught:
        raise cls
    error = caught.value
    assert (str(error), error.errno, error.kind, error.key, error.id) == (
        "",
        None,
        None,
        None,
        None,
    )
    assert str(cls("a text")) == "a text"
    assert str(cls(5, "a text")) == "[Errno 5] a text"


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        (errno.EACCES, PermissionsError),
        (errno.EPERM, PermissionsError),
        (errno.ENOENT, ExistentialError),
        (errno.EEXIST, ExistentialError),
        (errno.EIDRM, ExistentialError),
        (errno.EAGAIN, BusyError),
        (errno.ENOMSG, BusyError),
        (errno.EINVAL, ArgumentError),
        (errno.E2BIG, ArgumentError),
        (errno.ERANGE, ArgumentError),
        (errno.EFBIG, ArgumentError),
        (errno.ENOSPC, LimitError),
        (errno.ENOMEM, OutOfMemoryError),
        (errno.ECANCELED, CancelledError),
        (errno.EFAULT, InternalError),
        (errno.EMFILE, Error),
        (errno.ENOSYS, Error),
    ],
)
def test_each_errno_has_its_class(number: int, cls: type[Error]) -> None:
    code = (
        "import os, pickle, sys, sysv_ipc\n"
        "try:\n"
        "    sysv_ipc.Semaphore(42)\n"
        "except Exception as error:\n"
        "    sys.stdout.buffer.write(pickle.dumps(error))\n"
    )
    inject = f"inject=semget:error={errno.errorcode[number]}"
    done = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", inject, sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    error = pickle.loads(done.stdout)
    assert type(error) is cls
    assert (error.errno, error.strerror) == (number, os.strerror(number))
    assert (error.kind, error.key, error.id) == ("semaphore", 42, None)
    assert str(error).startswith(f"[Errno {number}] {os.strerror(number)}: ")
    assert "semaphore with key 42 (0x2a)" in str(error)


@pytest.mark.parametrize("kind", [Semaphore, SharedMemory, MessageQueue])
def test_common_errors_have_a_note_that_says_what_to_do(kind: Any, key: int) -> None:
    made = kind(key, IPC_CREX)
    exists = caught(lambda: kind(key, IPC_CREX))
    assert str(exists) == f"[Errno 17] File exists: {exists.kind} with key {key} ({key:#x})"
    assert f"{kind.__name__}({key})" in exists.__notes__[0]
    made.remove()
    if kind is SharedMemory:
        made.detach()
    missing = caught(lambda: kind(key))
    assert str(missing) == (
        f"[Errno 2] No such file or directory: {exists.kind} with key {key} ({key:#x})"
    )
    assert "IPC_CREX" in missing.__notes__[0]
    assert (missing.kind, missing.key, missing.id) == (exists.kind, key, None)


@pytest.mark.parametrize("kind", [Semaphore, SharedMemory, MessageQueue])
def test_an_error_on_another_users_object_names_owner_mode_and_caller(kind: Any, key: int) -> None:
    made = kind(key, IPC_CREX, 0o600)

    def open_it() -> tuple[str, list[str]]:
        error = caught(lambda: kind(key))
        return str(error), error.__notes__

    text, notes = as_other_user(open_it)
    assert text.startswith("[Errno 13] Permission denied: ")
    assert notes[0].startswith("It belongs to uid 0, gid 0 with mode 0o600")
    assert "this process has uid 65534, gid 65534" in notes[0]
    made.mode = 0o644

    def open_it_for_writing() -> str:
        return caught(lambda: kind(key, mode=0o600)).__notes__[0]

    assert "mode=0o400 opens it read-only" in as_other_user(open_it_for_writing)
    made.remove()
    if kind is SharedMemory:
        made.detach()


def test_a_busy_error_names_the_busy_object(semaphore: Semaphore, queue: MessageQueue) -> None:
    semaphore.acquire()
    error = caught(lambda: semaphore.acquire(0))
    assert (error.kind, error.key, error.id) == ("semaphore", semaphore.key, semaphore.id)
    assert isinstance(error, TimeoutError)
    assert error.args == (errno.EAGAIN, os.strerror(errno.EAGAIN))
    error = caught(lambda: queue.receive(False))
    assert (error.errno, error.kind, error.id) == (errno.ENOMSG, "message queue", queue.id)


@pytest.mark.parametrize("cls", TREE)
def test_errors_can_be_pickled_and_copied(cls: type[Error]) -> None:
    error = cls(errno.EIO, "a text")
    error._target, error._detail = ("semaphore", 42, 7), "a detail"
    assert str(error) == "[Errno 5] a text: a detail"
    error.add_note("a note")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(same) is cls
        assert str(same) == str(error)
        assert (same.errno, same.kind, same.key, same.id) == (5, "semaphore", 42, 7)
        assert same.__notes__ == ["a note"]


@pytest.mark.parametrize("attribute", ["_detail", "_target", "strerror"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
@pytest.mark.parametrize(
    "read", [str, repr, lambda error: error.key, lambda error: error.kind, pickle.dumps]
)
def test_an_exception_inside_an_error_is_passed_on(
    read: Callable[[Error], object], raised: type[BaseException], attribute: str
) -> None:
    """Ctrl-C may arrive while a property of a subclass runs; SystemError would hide it."""

    def fail(self: object) -> object:
        raise raised("inside")

    cls = type("Own", (sysv_ipc.BusyError,), {attribute: property(fail)})
    error = cls(errno.EAGAIN, "a text")
    # Some of these operations do not read it.
    with contextlib.suppress(raised, pickle.PicklingError, AttributeError):
        read(error)


def test_an_exception_inside_str_of_an_error_is_passed_on() -> None:
    capi = import_testcapi()
    error = caught(lambda: Semaphore(123456789))
    failed = 0
    for stop in range(30):
        for until in (stop + 1, 0):
            try:
                capi.set_nomemory(stop, until)
                str(error)
            except MemoryError:
                failed += 1
            finally:
                capi.remove_mem_hooks()
    assert failed > 0
    assert "semaphore with key 123456789" in str(error)


@pytest.mark.parametrize(
    "call", ["sysv_ipc.limits()", "handle.info()", "sysv_ipc.semaphores()", "sysv_ipc.Limits"]
)
def test_no_memory_for_a_type_of_records_is_a_memory_error(run_python: Run, call: str) -> None:
    """In this case CPython returns NULL without an exception."""
    code = f"""
import _testcapi, sys, sysv_ipc
handle = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
for first in range(40):
    try:
        _testcapi.set_nomemory(first, first + 1)
        {call}
    except (MemoryError, sysv_ipc.OutOfMemoryError):
        pass
    finally:
        _testcapi.remove_mem_hooks()
print("only that")
handle.remove()
"""
    import_testcapi()
    if (3, 12) <= sys.version_info < (3, 14):
        pytest.skip(
            "needs CPython 3.11, or 3.14 and newer: 3.12 and 3.13 crash if a type cannot be made"
        )
    assert run_python(code).stdout == "only that\n"


def test_ctrl_c_during_the_conversion_of_a_number_is_passed_on() -> None:
    class Odd:
        def __float__(self) -> float:
            raise ValueError("not now")

        def is_nan(self) -> bool:
            raise KeyboardInterrupt

    semaphore = Semaphore(None, IPC_CREX)
    with pytest.raises(KeyboardInterrupt):
        semaphore.acquire(Odd())
    semaphore.remove()


def test_ctrl_c_while_a_note_is_added_is_passed_on(key: int) -> None:
    class OddError(Exception):
        def add_note(self, note: str, /) -> None:
            raise KeyboardInterrupt

    semaphore = Semaphore(key, IPC_CREX, initial_value=1)
    semaphore.__enter__()
    semaphore.remove()
    with pytest.raises(KeyboardInterrupt):
        semaphore.__exit__(OddError, OddError(), None)


# ----------------------------------------------------------------------------- tracebacks


def test_a_traceback_shows_the_public_name_and_the_note(key: int, run_python: Run) -> None:
    code = (
        "import sys; from sysv_ipc import *\n"
        "s = Semaphore(int(sys.argv[1]), IPC_CREX)\n"
        "try: Semaphore(s.key, IPC_CREX)\n"
        "finally: s.remove()\n"
    )
    lines = run_python(code, key).stderr.splitlines()
    assert lines[-2] == (
        f"sysv_ipc.ExistentialError: [Errno 17] File exists: semaphore with key {key} ({key:#x})"
    )
    assert lines[-1].startswith("To open the existing one: ")
    assert not any("errors.py" in line for line in lines)


def test_a_misspelt_name_is_suggested(run_python: Run) -> None:
    """The first text is that of 3.15."""
    lines = run_python("import sysv_ipc; sysv_ipc.exist").stderr.splitlines()
    text, _, suggestion = lines[-1].partition(". ")
    assert text == "AttributeError: module 'sysv_ipc' has no attribute 'exist'"
    assert suggestion in (
        "Did you mean '.exists' instead of '.exist'?",
        "Did you mean: 'exists'?",
    )


# ------------------------------------------------------------------------------ arguments


class Mine:
    """An argument that raises an exception of its own in every conversion."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __index__(self) -> int:
        raise self.error

    def __float__(self) -> float:
        raise self.error


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda s, m, q, mine: q.send(b"x", type=mine),
        lambda s, m, q, mine: q.send(b"x", timeout=mine),
        lambda s, m, q, mine: q.receive(timeout=mine),
        lambda s, m, q, mine: s.acquire(mine),
        lambda s, m, q, mine: s.acquire(delta=mine),
        lambda s, m, q, mine: s.Z(mine),
        lambda s, m, q, mine: setattr(s, "value", mine),
        lambda s, m, q, mine: Semaphore(mine),
        lambda s, m, q, mine: m.read(mine),
        lambda s, m, q, mine: m.ndarray(mine, "u1"),
        lambda s, m, q, mine: sysv_ipc.aio.Semaphore(s.key).acquire(mine).send(None),
    ],
)
def test_an_exception_of_an_argument_is_passed_on(
    semaphore: Semaphore,
    segment: SharedMemory,
    queue: MessageQueue,
    call: Callable[..., object],
    error: type[Exception],
) -> None:
    mine = error("MINE")
    with pytest.raises(error) as info:
        call(semaphore, segment, queue, Mine(mine))
    assert info.value is mine


def anything(value: object) -> Any:
    """Hide the type of a wrong argument from the type checker."""
    return value


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda key: Semaphore(key, mode=2**40), "semaphore"),
        (lambda key: Semaphore(key, flags=IPC_EXCL), "semaphore"),
        (lambda key: Semaphore(key, IPC_CREX, initial_value=-1), "semaphore"),
        (lambda key: SemaphoreSet(key, -1), "semaphore"),
        (lambda key: SemaphoreSet(key, 0, IPC_CREX), "semaphore"),
        (lambda key: SemaphoreSet(key, 3, IPC_CREX, initial_values=[1]), "semaphore"),
        (lambda key: SharedMemory(key, IPC_CREX, size=-1), "shared memory"),
        (lambda key: SharedMemory(key, IPC_CREX, init_character=b"ab"), "shared memory"),
        (lambda key: MessageQueue(key, max_message_size=-1), "message queue"),
        (lambda key: type("Mine", (MessageQueue,), {})(key, flags=2**40), "message queue"),
    ],
)
def test_an_argument_error_of_a_constructor_names_kind_and_key(
    key: int, call: Callable[[int], object], kind: str
) -> None:
    for number, told in ((key, key), (key + 2**32, key)):
        with pytest.raises(ArgumentError) as caught:
            call(number)
        assert (caught.value.kind, caught.value.key, caught.value.id) == (kind, told, None)


@pytest.mark.parametrize("name", ["uid", "gid", "mode", "max_size"])
def test_an_argument_error_of_an_attribute_names_the_object(queue: MessageQueue, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"{name} must be from 0 to") as caught:
        setattr(queue, name, -1)
    error = caught.value
    assert (error.kind, error.key, error.id) == ("message queue", queue.key, queue.id)


def test_an_error_of_the_program_names_no_object(key: int) -> None:
    own = ArgumentError(22, "mine")
    with pytest.raises(ArgumentError) as caught:
        Semaphore(key, mode=anything(Mine(own)))
    assert caught.value is own
    assert (own.kind, own.key, own.id) == (None, None, None)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda s, m, q: Semaphore(5, IPC_CREX, initial_value=anything(None)),
            "initial_value must be an",
        ),
        (lambda s, m, q: setattr(s, "value", "x"), "value must be an integer, not str"),
        (lambda s, m, q: m.ndarray(None, "u1"), "shape must be a length or a sequence of them"),
        (lambda s, m, q: m.ndarray(4.0, "u1"), "shape must be .* not float"),
        (
            lambda s, m, q: SharedMemory(5, IPC_CREX, init_character=anything(5)),
            "init_character must be",
        ),
        (lambda s, m, q: s.op(5), "operations must be a sequence of operations, not int"),
        (lambda s, m, q: s.op([5]), r"an operation must be \(index, delta\) or .* not int"),
        (lambda s, m, q: setattr(s, "values", 5), "values must be a sequence of values, not int"),
        (lambda s, m, q: setattr(s, "values", "123"), "a value in values must be an integer"),
        (
            lambda s, m, q: SemaphoreSet(5, initial_values=anything(5)),
            "initial_values must be a sequence",
        ),
        (lambda s, m, q: q.send_many(5), "messages must be a sequence of messages, not int"),
        (
            lambda s, m, q: sysv_ipc.remove_semaphore(anything("1")),
            "id must be an integer, not str",
        ),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(
    segment: SharedMemory, queue: MessageQueue, call: Callable[..., object], words: str
) -> None:
    semaphores = SemaphoreSet(None, 3, IPC_CREX)
    subject = semaphores[0] if words.startswith("value ") else semaphores
    with pytest.raises(TypeError, match=words):
        call(subject, segment, queue)
    semaphores.remove()


def test_an_undo_adjustment_that_overflows_has_a_note(key: int) -> None:
    text = "The semaphore's value must remain between 0 and SEMVMX"
    semaphores = SemaphoreSet(key, 1, IPC_CREX, initial_values=[30000])
    semaphores.op([(0, -30000, sysv_ipc.SEM_UNDO)])
    semaphores.op([(0, 30000)])
    error = caught(lambda: semaphores.op([(0, -30000, sysv_ipc.SEM_UNDO)]))
    assert (str(error), error.errno) == (text, errno.ERANGE)
    assert "adjustment" in error.__notes__[0]
    member = Semaphore(key)
    member.undo = True
    error = caught(lambda: member.acquire(delta=30000))
    assert (str(error), "adjustment" in error.__notes__[0]) == (text, True)
    member.undo = False
    for plain in (lambda: member.release(30000), lambda: semaphores.op([(0, 30000)])):
        error = caught(plain)
        assert (str(error), hasattr(error, "__notes__")) == (text, False)
    semaphores.remove()


# ---------------------------------------------------------------------------------- notes


def test_notes_name_the_class_that_was_called(key: int) -> None:
    missing = caught(lambda: SemaphoreSet(key, 3))
    assert missing.__notes__ == [
        f"To create it: SemaphoreSet({key}, nsems, IPC_CREX); nsems comes before flags."
    ]
    misplaced = caught(lambda: SemaphoreSet(key, IPC_CREX))
    assert misplaced.__notes__ == missing.__notes__
    semaphores = SemaphoreSet(key, 3, IPC_CREX)
    exists = caught(lambda: SemaphoreSet(key, 3, IPC_CREX))
    assert exists.__notes__ == [
        f"To open the existing one: SemaphoreSet({key}); to open it or create it:"
        f" SemaphoreSet({key}, nsems, IPC_CREAT)."
    ]
    assert f"Semaphore({key})" in caught(lambda: Semaphore(key, IPC_CREX)).__notes__[0]
    semaphores.remove()


def test_a_size_of_huge_pages_that_does_not_exist_is_reported(key: int) -> None:
    flags = IPC_CREX | sysv_ipc.SHM_HUGETLB | sysv_ipc.SHM_HUGE_16GB
    error = caught(lambda: SharedMemory(key, flags, size=1 << 30))
    assert (type(error), error.errno) == (ArgumentError, errno.EINVAL)
    assert "SHM_HUGETLB" in error.__notes__[0]
    assert "/sys/kernel/mm/hugepages" in error.__notes__[0]


def test_flags_that_contradict_each_other_are_refused() -> None:
    error = caught(lambda: Semaphore(5, sysv_ipc.IPC_EXCL))
    assert (type(error), error.errno) == (ArgumentError, errno.EINVAL)
    error = caught(lambda: Semaphore(None, IPC_CREAT))
    assert str(error).endswith("Key can only be None if IPC_EXCL is set")


def errors_with_an_exact_text() -> list[sysv_ipc.Error]:
    found: list[sysv_ipc.Error] = []
    semaphore = Semaphore(None, IPC_CREX)
    for call in (
        lambda: setattr(semaphore, "value", 40000),
        lambda: semaphore.acquire(-1),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        found.append(caught.value)
    semaphore.remove()
    return found


def test_errors_keep_their_errno_in_copies() -> None:
    for error in errors_with_an_exact_text():
        assert error.errno
        for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert (same.errno, str(same), type(same)) == (error.errno, str(error), type(error))
