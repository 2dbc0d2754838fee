"""Every public call of the library, once.  Tests that make every call select it from here.

TABLE holds methods and attributes with good arguments, and the right that the kernel requires.
FUNCTIONS and CONSTRUCTORS hold good arguments too.  WAITS holds the calls that can wait, with what
ends the wait.  test_calls.py fails for a public name that is in none of them.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    SHM_RDONLY,
    Atomic,
    BusyError,
    MessageQueue,
    Semaphore,
    SemaphoreOperations,
    SemaphoreSet,
    SharedMemory,
    aio,
)

#: The kinds of objects by their tables under /proc/sysvipc, and all classes of handles.
KINDS: dict[str, Any] = {"sem": Semaphore, "shm": SharedMemory, "msg": MessageQueue}
HANDLES: tuple[Any, ...] = (Semaphore, SemaphoreSet, SharedMemory, MessageQueue)
REMOVE: dict[str, Callable[[int], None]] = {
    "sem": sysv_ipc.remove_semaphore,
    "shm": sysv_ipc.remove_shared_memory,
    "msg": sysv_ipc.remove_message_queue,
}


def table_of(cls: Any) -> str:
    """Return the name of the system's table that holds the objects of a class."""
    return (
        "sem"
        if issubclass(cls, SemaphoreSet)
        else next(name for name, kind in KINDS.items() if issubclass(cls, kind))
    )


def create(cls: Any, key: int | None = None, mode: int = 0o600) -> Any:
    """Create an object on which all calls of TABLE succeed without waiting."""
    if cls is SemaphoreSet:
        return SemaphoreSet(key, 2, IPC_CREX, mode, [1, 0])
    handle = cls(key, IPC_CREX, mode)
    if cls is Semaphore:
        handle.value = 1
    elif cls is MessageQueue:
        handle.send(b"message")
    return handle


@contextlib.contextmanager
def made(cls: Any, key: int | None = None, mode: int = 0o600) -> Iterator[Any]:
    """Create an object with create(), and remove it at the end."""
    handle = create(cls, key, mode)
    try:
        yield handle
    finally:
        discard(handle)


def discard(handle: Any) -> None:
    """Remove an object that may have been removed; detach a segment."""
    if not handle.removed:
        handle.remove()
    if isinstance(handle, SharedMemory) and handle.attached:
        handle.detach()


class Of:
    """An argument that depends on the object that the call is made on."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self.function = function


class Arguments:
    """Good arguments of a call."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional = positional
        self.named = named

    def on(self, target: Any) -> Arguments:
        """Return the arguments for this object."""
        positional = [v.function(target) if isinstance(v, Of) else v for v in self.positional]
        named = {k: v.function(target) if isinstance(v, Of) else v for k, v in self.named.items()}
        return type(self)(*positional, **named)

    def __call__(self, function: Callable[..., object], target: Any = None) -> object:
        """Call the function with these arguments."""
        those = self.on(target)
        return function(*those.positional, **those.named)


class Waiting(Arguments):
    """Arguments with which the call waits until its timeout, on an object of create()."""


@dataclass(frozen=True)
class Method:
    """A method, including those that operators call."""

    #: The right that the kernel requires: "r", "w", "rw", ownership, or nothing.
    right: str
    arguments: tuple[Arguments, ...]
    #: The call checks first that the id still names the same object.
    looks: bool = False
    #: It can be called on a handle that was never initialised.
    empty: bool = False


@dataclass(frozen=True)
class Attribute:
    """An attribute; one that can be set has a value to set and the right for it."""

    right: str
    value: object = None
    to_set: str | None = None
    looks: bool = False
    looks_to_set: bool = False
    empty: bool = False


a = Arguments


def method(right: str, *arguments: Arguments, **flags: bool) -> Method:
    return Method(right, arguments or (a(),), **flags)


def attributes(
    right: str, names: str, *, looks: bool = False, empty: bool = False
) -> dict[str, Attribute]:
    return dict.fromkeys(names.split(), Attribute(right, looks=looks, empty=empty))


BUFFER = bytearray(100)
OPERATIONS = [(0, -1), (1, 1, sysv_ipc.SEM_UNDO)]
_ACQUIRE = (a(0), a(0, 1), a(timeout=0, delta=1), a(None), Waiting(1e-5, 2))
_RELEASE = (a(), a(1), a(delta=2))
_RECEIVE = {"timeout": 0, "type": 1, "except_type": False, "truncate": True}
_CANCEL: dict[str, Method | Attribute] = {
    "cancel": method("", a(), a(later=False), a(True)),
    "cancelled": Attribute("", False, ""),
}
_CONTEXT = {"__enter__": method("w"), "__exit__": method("w", a(None, None, None))}


def _common() -> dict[str, Method | Attribute]:
    """Return the members that all kinds of handle have."""
    return {
        "__eq__": method("", a(1), a(Of(lambda one: type(one).from_id(one.id))), empty=True),
        "__hash__": method(""),
        "__repr__": method("", empty=True),
        "__reduce__": method("", looks=True),
        "from_id": method("", a(Of(lambda one: one.id)), a(id=Of(lambda one: one.id)), empty=True),
        "info": method("r", looks=True),
        "remove": method("owner", looks=True),
        **attributes("", "key id"),
        **attributes("", "removed"),
        **attributes("r", "cuid cgid last_change_time", looks=True),
        "uid": Attribute("r", os.getuid(), "owner", looks=True, looks_to_set=True),
        "gid": Attribute("r", os.getgid(), "owner", looks=True, looks_to_set=True),
        "mode": Attribute("r", 0o600, "owner", looks=True, looks_to_set=True),
    }


TABLE: dict[Any, dict[str, Method | Attribute]] = {
    Semaphore: {
        **_common(),
        "acquire": method("w", *_ACQUIRE),
        "P": method("w", *_ACQUIRE),
        "release": method("w", *_RELEASE),
        "V": method("w", *_RELEASE),
        "try_acquire": method("w", a(), a(1), a(delta=1), a(9)),
        "Z": method("r", Waiting(0), Waiting(timeout=1e-5)),
        **_CANCEL,
        **_CONTEXT,
        "value": Attribute("r", 3, "w"),
        "block": Attribute("", True, ""),
        "undo": Attribute("", False, ""),
        **attributes("", "index set"),
        **attributes("r", "last_pid waiting_for_nonzero waiting_for_zero"),
        **attributes("r", "nsems o_time last_operation_time", looks=True),
    },
    SemaphoreSet: {
        **_common(),
        "from_id": method("", a(Of(lambda one: one.id)), empty=True),
        "op": method("w", a(OPERATIONS), a(OPERATIONS, 0), a(operations=OPERATIONS, timeout=0)),
        "compile": method("", a(OPERATIONS)),
        "acquire": method("w", a(0, timeout=0), Waiting(1, 0, timeout=1e-5)),
        "release": method("w", a(0), a(0, 1)),
        "zero": method("r", a(1, timeout=0), Waiting(0, timeout=1e-5)),
        **_CANCEL,
        "__bool__": method("", empty=True),
        "__len__": method(""),
        "__getitem__": method("", a(0), a(-1)),
        "__iter__": method("", empty=True),
        "values": Attribute("r", [1, 0], "w"),
        **attributes("r", "nsems o_time last_operation_time", looks=True),
    },
    SharedMemory: {
        **_common(),
        "attach": method("rw", a(), a(None, 0), a(address=None, flags=SHM_RDONLY), looks=True),
        "detach": method(""),
        "lock": method("owner", looks=True),
        "unlock": method("owner", looks=True),
        "read": method("", a(), a(5, 1), a(byte_count=5, offset=2)),
        "write": method("", a(b"x"), a("text", 3), a(s=BUFFER, offset=5)),
        "read_into": method("", a(BUFFER), a(BUFFER, 7), a(buffer=BUFFER, offset=1)),
        "view": method("", a(), a(8, 8, "i"), a(offset=4, size=4, format="B")),
        "ndarray": method("", a(4, "u1"), a(shape=(2, 3), dtype="<i4", offset=3, order="F")),
        "atomic": method("", a(0, "i32"), a(offset=8, type="u64")),
        "__bool__": method("", empty=True),
        "__len__": method(""),
        "__iter__": method("", empty=True),
        "__getitem__": method("", a(3), a(slice(1, 9)), a(slice(None, None, -3))),
        "__setitem__": method("", a(3, 4), a(slice(0, 2), b"ab"), a(slice(0, 9, 3), b"abc")),
        "__delitem__": method("", a(0), empty=True),
        "__enter__": method("", looks=True),
        "__exit__": method("", a(None, None, None)),
        **attributes("", "address size readonly"),
        **attributes("", "attached", empty=True),
        **attributes("r", "creator_pid last_pid number_attached", looks=True),
        **attributes("r", "last_attach_time last_detach_time", looks=True),
        **attributes("r", "marked_for_removal locked", looks=True),
    },
    MessageQueue: {
        **_common(),
        "send": method(
            "w", a(b"x"), a("x", False, 5), a(message=BUFFER, block=True, type=1, timeout=0)
        ),
        "try_send": method("w", a(b"x"), a(message="x", type=3)),
        "send_many": method(
            "w", a([b"x", "y"]), a(messages=[BUFFER], type=4, block=False, timeout=0)
        ),
        "receive": method(
            "r", a(), a(False, 1), a(block=False, **_RECEIVE), Waiting(timeout=1e-5, type=9)
        ),
        "try_receive": method("r", a(), a(1), a(type=-1, except_type=False, truncate=True), a(9)),
        "receive_into": method(
            "r", a(BUFFER), a(BUFFER, False, 1), a(buffer=BUFFER, block=True, **_RECEIVE)
        ),
        "receive_many": method("r", a(3), a(3, False, 1), a(limit=1, block=False, **_RECEIVE)),
        "peek": method("r", a(), a(0), a(index=5)),
        **_CANCEL,
        "__iter__": method(""),
        "__next__": method("r"),
        "iterate": method("", a(), a(1, 0, False), a(type=1, timeout=0, except_type=True)),
        "max_size": Attribute("r", 1000, "owner", looks=True, looks_to_set=True),
        **attributes("r", "current_messages current_bytes", looks=True),
        **attributes("r", "last_send_pid last_receive_pid", looks=True),
        **attributes("r", "last_send_time last_receive_time", looks=True),
        **attributes("", "max_message_size"),
    },
    Atomic: {
        "load": method(""),
        **{name: method("", a(7)) for name in ("store", "exchange", "add", "sub", "and_", "or_")},
        "compare_exchange": method("", a(7, 8), a(expected=9, desired=2**40)),
        "wait": method("", a(12345, 0), Waiting(12345, timeout=1e-5)),
        "wake": method("", a(), a(2), a(count=3)),
        **_CANCEL,
        "__repr__": method(""),
        **attributes("", "memory offset type"),
    },
    SemaphoreOperations: {
        "__call__": method("w", a(), a(0), a(timeout=0)),
        "__repr__": method(""),
        **attributes("", "set operations"),
    },
}

#: The methods of asyncio's classes, of which most are coroutine functions.
_OF_AIO = {name: method("", empty=True) for name in ("from_id", "close")}
_OF_AIO["remove"] = method("owner")
_OF_AIO_TOO = attributes("", "id key")
AIO: dict[Any, dict[str, Method | Attribute]] = {
    aio.Semaphore: {
        **_OF_AIO, **_OF_AIO_TOO,
        "acquire": method("w", *_ACQUIRE),
        "release": method("w", *_RELEASE),
        "zero": method("r", Waiting(0), Waiting(timeout=1e-5)),
    },
    aio.SemaphoreSet: {
        **_OF_AIO, **_OF_AIO_TOO,
        "op": method("w", a(OPERATIONS), a(OPERATIONS, 0)),
        "acquire": method("w", a(0, timeout=0)),
        "release": method("w", a(0), a(0, 1)),
        "zero": method("r", a(1, timeout=0)),
    },
    aio.MessageQueue: {
        **_OF_AIO, **_OF_AIO_TOO,
        "send": method("w", a(b"x"), a("x", type=5)),
        "receive": method("r", a(), a(type=1, timeout=0)),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """One thing to do with a handle: call a method, or read or set an attribute."""

    name: str
    right: str
    call: Callable[[Any], object]
    looks: bool
    empty: bool


def uses(cls: Any) -> Iterator[Use]:
    """Return every use of a handle of a class, with each row of good arguments."""
    for name, row in (TABLE | AIO)[cls].items():
        if isinstance(row, Method):
            for number, arguments in enumerate(row.arguments):
                yield Use(
                    f"{name} {number}" if number else name,
                    row.right,
                    lambda one, name=name, a=arguments: a(getattr(one, name), one),  # type: ignore[misc]
                    row.looks,
                    row.empty,
                )
            continue
        yield Use(name, row.right, lambda one, n=name: getattr(one, n), row.looks, row.empty)  # type: ignore[misc]
        if row.to_set is not None:
            yield Use(
                f"{name} =",
                row.to_set,
                lambda one, n=name, value=row.value: setattr(one, n, value),  # type: ignore[misc]
                row.looks_to_set,
                row.empty,
            )


#: The good arguments of constructors, and of functions on a segment's or a semaphore's id or key.
_NEW = {"flags": IPC_CREX, "mode": 0o600}
CONSTRUCTORS: dict[Any, tuple[Arguments, ...]] = {
    Semaphore: (a(None, IPC_CREX, 0o600, 1), a(key=None, initial_value=2, **_NEW)),
    SemaphoreSet: (a(None, 2, IPC_CREX, 0o600, [1, 2]), a(key=None, nsems=1, **_NEW)),
    SharedMemory: (a(None, IPC_CREX, 0o600, 10, b"x"), a(key=None, size=9, **_NEW)),
    MessageQueue: (a(None, IPC_CREX, 0o600, 9), a(None, max_message_size=9, **_NEW)),
}
_ID, _KEY = Of(lambda segment: segment.id), Of(lambda segment: segment.key)
FUNCTIONS: dict[str, tuple[Arguments, ...]] = {
    "attach": (a(_ID), a(_ID, None, 0), a(id=_ID, address=None, flags=0)),
    "exists": (a(_KEY, Semaphore), a(key=_KEY, type=SharedMemory)),
    "ftok": (a("/", 1, True), a(b"/", 1)),
    "key_from_name": (a("name"), a(b"name")),
    "limits": (a(),),
    "semaphores": (a(), a(members=True)),
    "shared_memories": (a(), a(pids=True)),
    "message_queues": (a(),),
    "set_wait_signal": (a(None), a(signal.SIGRTMAX - 2)),
    "remove_semaphore": (a(Of(lambda _: create(Semaphore).id)),),
    "remove_shared_memory": (a(Of(lambda _: _made_and_detached())),),
    "remove_message_queue": (a(Of(lambda _: create(MessageQueue).id)),),
}


def _made_and_detached() -> int:
    segment = create(SharedMemory)
    segment.detach()
    return int(segment.id)


# ---------------------------------------------------------------------------------- waits


@dataclass(frozen=True)
class Wait:
    """A call that waits on the object of make(), until end() or until its timeout."""

    cls: Any
    make: Callable[[], Any]
    #: The call, with a timeout or None; a call that is not timed ignores it.
    call: Callable[[Any, float | None], object]
    #: Do, in another thread or process, the thing that the call waits for.
    end: Callable[[Any], object]
    timed: bool
    #: The exception, or the result, at the timeout.
    late: object
    #: The exception if the object is removed; None if the wait continues.
    removed: object

    @contextlib.contextmanager
    def target(self) -> Iterator[Any]:
        """Make the object to wait on, and remove it at the end."""
        target = self.make()
        try:
            yield target
        finally:
            target.let_go() if isinstance(target, Number) else discard(target)


class Number:
    """An atomic number whose segment is detached with it, even if tests still refer to it."""

    def __init__(self) -> None:
        memory = SharedMemory(None, IPC_CREX, init_character=b"\0")
        memory.remove()
        self.atomic, self.id = memory.atomic(0, "u32"), memory.id
        self._memory = weakref.ref(memory)

    def cancel(self, later: bool = False) -> None:
        """Cancel the waits for the number."""
        self.atomic.cancel(later=later)

    @property
    def cancelled(self) -> bool:
        """Return True if waits that begin now are cancelled."""
        return self.atomic.cancelled

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self.atomic.cancelled = value

    def let_go(self) -> None:
        """Detach the segment as soon as no ending thread and no traceback refers to the number."""
        del self.atomic
        deadline = time.monotonic() + 5
        while self._memory() is not None and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.0005)


def _full() -> MessageQueue:
    queue = MessageQueue(None, IPC_CREX)
    queue.max_size = 100
    queue.send(b"x" * 100)
    return queue


def _wake(number: Any) -> None:
    number.atomic.store(1)
    number.atomic.wake()


#: The class, the object that the calls wait on, the function that ends the waits, the calls.
_GROUPS: list[tuple[Any, Callable[[], Any], Callable[[Any], object], dict[str, Any]]] = [
    (
        Semaphore,
        functools.partial(Semaphore, None, IPC_CREX),
        lambda s: s.release(),
        {
            "acquire": lambda s, t: s.acquire(t),
            "P": lambda s, t: s.P(t),
            "__enter__": lambda s, t: s.__enter__(),
        },
    ),
    (
        Semaphore,
        functools.partial(Semaphore, None, IPC_CREX, initial_value=1),
        lambda s: s.acquire(0),
        {"Z": lambda s, t: s.Z(t)},
    ),
    (
        SemaphoreSet,
        functools.partial(SemaphoreSet, None, 2, IPC_CREX, initial_values=[0, 1]),
        lambda z: z.op([(0, 1), (1, -1)]),
        {
            "op": lambda z, t: z.op([(1, 0), (0, -1)], t),
            "compile": lambda z, t: z.compile([(0, -1), (1, 0)])(t),
            "acquire": lambda z, t: z.acquire(0, timeout=t),
            "zero": lambda z, t: z.zero(1, timeout=t),
        },
    ),
    (
        MessageQueue,
        functools.partial(MessageQueue, None, IPC_CREX),
        lambda q: q.send(b"end"),
        {
            "receive": lambda q, t: q.receive(timeout=t),
            "receive_into": lambda q, t: q.receive_into(bytearray(9), timeout=t),
            "receive_many": lambda q, t: q.receive_many(9, timeout=t),
            "__next__": lambda q, t: next(q),
            "iterate": lambda q, t: next(q.iterate(timeout=t)),
        },
    ),
    (
        MessageQueue,
        _full,
        lambda q: q.receive(False),
        {
            "send": lambda q, t: q.send(b"x" * 100, timeout=t),
            "send_many": lambda q, t: q.send_many([b"x" * 100], timeout=t),
        },
    ),
    (Atomic, Number, _wake, {"wait": lambda n, t: n.atomic.wait(0, t)}),
]
_UNTIMED = {"__enter__", "__next__"}
_AWAITED = {"acquire", "op", "zero", "receive", "send"}
_LATE: dict[str, object] = {"receive_many": [], "send_many": 0}
_REMOVED: dict[str, object] = {"__next__": StopIteration, "iterate": StopIteration, "wait": None}

WAITS = {
    f"{cls.__name__}.{name}": Wait(
        cls,
        make,
        call,
        end,
        name not in _UNTIMED,
        _LATE.get(name, BusyError),
        _REMOVED.get(name, sysv_ipc.ExistentialError),
    )
    for cls, make, end, calls in _GROUPS
    for name, call in calls.items()
}
TIMED = {name: wait for name, wait in WAITS.items() if wait.timed}
#: The calls of asyncio's classes that can wait; what call() returns is awaited.
AIO_WAITS = {
    "Semaphore.zero": replace(WAITS["Semaphore.Z"], call=lambda s, t: s.zero(t)),
    **{name: wait for name, wait in TIMED.items() if name.partition(".")[2] in _AWAITED},
}
