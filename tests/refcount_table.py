"""The objects and the calls of refcounts.py: good arguments of all that is public, and errors."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

OTHER_UID = 65534

Call = Callable[[], object]


class Failing:
    """Refuses every conversion with an exception of its own."""

    def __fail(self, *_: object) -> Any:
        raise RuntimeError("this object fails")

    __bool__ = __bytes__ = __eq__ = __float__ = __fspath__ = __getattr__ = __fail
    __hash__ = __index__ = __iter__ = __len__ = __fail


BAD = [None, object(), "text", b"", 1.5, -1, 2**70, float("nan"), Failing(), [object()], {}]
#: Those of them that are a timeout, or none.
LONGER = ["None", "1.5", "118059162071"]


def value_name(value: object) -> str:
    return "Failing" if type(value) is Failing else f"{value!r:.12}"


class Arguments:
    """Good arguments of a call; how to make bad ones of them."""

    replacements = BAD

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional = positional
        self.named = named

    def bad(self) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        """All that a caller can do wrong, each with words for it."""
        positional, named = self.positional, self.named
        for value in self.replacements:
            for i in range(len(positional)):
                changed = (*positional[:i], value, *positional[i + 1 :])
                yield f"argument {i} is {value_name(value)}", changed, named
            for name in named:
                yield f"{name} is {value_name(value)}", positional, {**named, name: value}
        if self.replacements is BAD:
            yield "too few", positional[:-1], {}
        yield "too many", positional + (1,) * 20, named
        yield "unknown name", positional, {**named, "nonsense": 1}


class Waiting(Arguments):
    """Those with which the call has to wait: what is a longer timeout is left out."""

    replacements = [value for value in BAD if value_name(value) not in LONGER]  # noqa: RUF012


# ------------------------------------------------------------------------------- the objects


class World:
    """The objects that calls are made on, and how to bring them back to where they were."""

    def __init__(self) -> None:
        self.semaphore = Semaphore(None, IPC_CREX, initial_value=1)
        self.set = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 0])
        self.segment = SharedMemory(None, IPC_CREX)
        self.queue = MessageQueue(None, IPC_CREX)
        self.readonly = SharedMemory(self.segment.key, mode=0o400)
        self.detached = SharedMemory(self.segment.key)
        self.operations = self.set.compile([(0, -1), (1, 1)])
        # Of other handles, because an atomic keeps its own from detaching.
        self.atomics = {
            "good": SharedMemory(self.segment.key).atomic(0, "u32"),
            "wide": SharedMemory(self.segment.key).atomic(8, "i64"),
            "read-only": SharedMemory(self.segment.key, mode=0o400).atomic(0, "i32"),
        }
        self.signal = sysv_ipc.set_wait_signal(signal.SIGRTMAX - 1) or signal.SIGRTMAX - 1
        self.reset()

    def states(self, cls: Any) -> dict[str, Any]:
        """An object of the class in each state that it can be in."""
        if cls is sysv_ipc.SemaphoreOperations:
            gone_set = SemaphoreSet(None, 1, IPC_CREX)
            gone = gone_set.compile([(0, 0)])
            gone_set.remove()
            return {"good": self.operations, "removed": gone}
        if cls is sysv_ipc.Atomic:
            return dict(self.atomics)
        gone = cls(None, flags=IPC_CREX, **({"nsems": 1} if cls is SemaphoreSet else {}))
        gone.remove()
        states = {"uninitialised": cls.__new__(cls), "removed": gone}
        if cls is Semaphore:
            return {"good": self.semaphore, **states}
        if cls is SemaphoreSet:
            return {"good": self.set, **states}
        if cls is MessageQueue:
            return {"good": self.queue, **states}
        gone_and_detached = SharedMemory(None, IPC_CREX)
        gone_and_detached.remove()
        gone_and_detached.detach()
        more = {"detached": self.detached, "gone": gone_and_detached, "read-only": self.readonly}
        return {"good": self.segment, **states, **more}

    def reset(self) -> None:
        """Undo what a call may have done."""
        sysv_ipc.set_wait_signal(self.signal)
        self.semaphore.value = 1
        self.semaphore.block, self.semaphore.undo = True, False
        everything: tuple[Any, ...] = (self.semaphore, self.set, self.queue, *self.atomics.values())
        for waits in everything:
            waits.cancelled = False
        self.set.values = (1, 0)
        while self.queue.try_receive() is not None:
            pass
        self.queue.send(b"message", type=1)
        for handle in (self.semaphore, self.set, self.segment, self.queue):
            if (handle.mode, handle.uid, handle.gid) != (0o600, os.getuid(), os.getgid()):
                handle.mode, handle.uid, handle.gid = 0o600, os.getuid(), os.getgid()
        if not self.segment.attached:
            self.segment.attach()
        if not self.readonly.attached:
            self.readonly.attach(None, sysv_ipc.SHM_RDONLY)
        if self.detached.attached:
            self.detached.detach()


#: Made when the namespace has been entered.
world: World = None  # type: ignore[assignment]


def made(cls: Any, *positional: Any, **named: Any) -> None:
    """Make an object; it is removed at once."""
    handle = cls(*positional, **named)
    handle.remove()
    if cls is SharedMemory:
        handle.detach()


# --------------------------------------------------------------------------------- the table


def handle_table(cls: Any, id: int) -> dict[str, list[Arguments]]:
    """What all kinds have."""
    return {
        "__eq__": [Arguments(1), Arguments(cls.from_id(id))],
        "__hash__": [Arguments()],
        "__repr__": [Arguments()],
        "__reduce__": [Arguments()],
        "info": [Arguments()],
        "from_id": [Arguments(id), Arguments(id=id)],
    }


def method_table() -> dict[Any, dict[str, list[Arguments]]]:
    """The good arguments of each method, for an object as World has it."""
    a, waiting = Arguments, Waiting
    acquire = [a(0), a(0, 1), a(timeout=0, delta=1), a(None), waiting(1e-5, 2)]
    release = [a(), a(1), a(delta=2)]
    many = [a(0, timeout=0), waiting(1, 0, timeout=1e-5)]
    operations = [(0, -1), (1, 1, sysv_ipc.SEM_UNDO)]
    receive = {"timeout": 0, "type": 1, "except_type": False, "truncate": True}
    context = {"__enter__": [a()], "__exit__": [a(None, None, None)]}
    buffer = bytearray(100)
    return {
        Semaphore: {
            **handle_table(Semaphore, world.semaphore.id),
            "acquire": acquire,
            "P": acquire,
            "release": release,
            "V": release,
            "try_acquire": [a(), a(1), a(delta=1), a(9)],
            "Z": [waiting(0), waiting(timeout=1e-5)],
            "cancel": [a(), a(later=False), a(True)],
            **context,
        },
        SemaphoreSet: {
            **handle_table(SemaphoreSet, world.set.id),
            "op": [a(operations), a(operations, 0), a(operations=operations, timeout=0)],
            "compile": [a(operations)],
            "acquire": many,
            "release": [a(0), a(0, 1)],
            "zero": [a(1, timeout=0), waiting(0, timeout=1e-5)],
            "cancel": [a(), a(later=False), a(True)],
            "__bool__": [a()],
            "__len__": [a()],
            "__getitem__": [a(0), a(-1), a(2)],
            "__iter__": [a()],
        },
        SharedMemory: {
            **handle_table(SharedMemory, world.segment.id),
            "attach": [a(), a(None, 0), a(address=None, flags=sysv_ipc.SHM_RDONLY)],
            "detach": [a()],
            "lock": [a()],
            "unlock": [a()],
            "read": [a(), a(5, 1), a(byte_count=5, offset=2)],
            "write": [a(b"x"), a("text", 3), a(s=buffer, offset=5), a(b"x" * 9999)],
            "read_into": [a(buffer), a(buffer, 7), a(buffer=buffer, offset=1), a(b"constant")],
            "view": [a(), a(8, 8, "i"), a(offset=4, size=4, format="B"), a(0, 7, "i")],
            # Without NumPy, which a debug interpreter has not, all of these are its absence.
            "ndarray": [
                a(4, "u1"),
                a(shape=(2, 3), dtype="<i4", offset=3, order="F"),
                a(9999, "u1"),
            ],
            "atomic": [a(0, "i32"), a(offset=8, type="u64"), a(1, "i32"), a(4096, "i64")],
            "__bool__": [a()],
            "__len__": [a()],
            "__iter__": [a()],
            "__getitem__": [a(3), a(slice(1, 9)), a(slice(None, None, -3)), a(10**6)],
            "__setitem__": [a(3, 4), a(slice(0, 2), b"ab"), a(slice(0, 9, 3), b"abc")],
            "__delitem__": [a(0)],
            **context,
        },
        sysv_ipc.Atomic: {
            "load": [a()],
            **{name: [a(7)] for name in ("store", "exchange", "add", "sub", "and_", "or_")},
            "compare_exchange": [a(7, 8), a(expected=9, desired=2**40)],
            "wait": [a(12345, 0), waiting(12345, timeout=1e-5)],
            "wake": [a(), a(2), a(count=3)],
            "cancel": [a(), a(later=False), a(True)],
            "__repr__": [a()],
        },
        MessageQueue: {
            **handle_table(MessageQueue, world.queue.id),
            "send": [a(b"x"), a("x", False, 5), a(message=buffer, block=True, type=1, timeout=0)],
            "try_send": [a(b"x"), a(message="x", type=3)],
            "send_many": [a([b"x", "y"]), a(messages=[buffer], type=4, block=False, timeout=0)],
            "receive": [a(), a(False, 1), a(block=False, **receive), waiting(timeout=1e-5, type=9)],
            "try_receive": [a(), a(1), a(type=-1, except_type=False, truncate=True), a(9)],
            "receive_into": [
                a(buffer),
                a(buffer, False, 1),
                a(buffer=buffer, block=True, **receive),
            ],
            "receive_many": [a(3), a(3, False, 1), a(limit=1, block=False, **receive)],
            "peek": [a(), a(0), a(index=5)],
            "iterate": [a(), a(1, 0, False), a(type=1, timeout=0, except_type=True)],
            "cancel": [a(), a(later=False), a(True)],
            "__iter__": [a()],
            "__next__": [a()],
        },
        sysv_ipc.SemaphoreOperations: {
            "__call__": [a(), a(0), a(timeout=0)],
            "__repr__": [a()],
        },
    }


#: Good and bad values for the attributes that can be set.
SETTABLE: dict[str, Any] = {
    "uid": os.getuid(), "gid": os.getgid(), "mode": 0o600, "value": 3, "block": True,
    "undo": False, "max_size": 1000, "values": [1, 0], "cancelled": False,
}  # fmt: skip

#: Object's own, and what "made" calls.
IMPLIED = {
    "__doc__", "__module__", "__new__", "__init__", "__lt__", "__le__", "__gt__", "__ge__",
    "__ne__", "__vectorcalloffset__", "__weakref__", "__buffer__", "__release_buffer__",
    "remove", "__static_attributes__", "__firstlineno__",
}  # fmt: skip


def function_table() -> dict[str, tuple[Callable[..., object], list[Arguments]]]:
    """The good arguments of each function and constructor of the module."""
    a, key, segment = Arguments, world.semaphore.key, world.segment.id
    flags = {"flags": IPC_CREX, "mode": 0o600}

    def functions(name: str, *arguments: Arguments) -> Any:
        return {name: (getattr(sysv_ipc, name), list(arguments))}

    def maker(cls: Any, *arguments: Arguments) -> Any:
        existing = a(key) if cls in (Semaphore, SemaphoreSet) else a(world.queue.key)
        opener = {f"{cls.__name__} open": (cls, [existing, a(1)])}
        return {cls.__name__: (lambda *p, **n: made(cls, *p, **n), list(arguments)), **opener}

    def remover(cls: Any, name: str) -> Any:
        remove = getattr(sysv_ipc, name)
        return {name: (remove, [a(2**31 - 1), a(2**40)]),
                f"{name} of one": (lambda: remove(made_here(cls)), [a()])}  # fmt: skip

    return {
        **maker(Semaphore, a(None, IPC_CREX, 0o600, 1), a(key=None, initial_value=2, **flags)),
        **maker(SemaphoreSet, a(None, 2, IPC_CREX, 0o600, [1, 2]), a(key=None, nsems=1, **flags)),
        **maker(SharedMemory, a(None, IPC_CREX, 0o600, 10, b"x"), a(key=None, size=9, **flags)),
        **maker(MessageQueue, a(None, IPC_CREX, 0o600, 9), a(None, max_message_size=9, **flags)),
        **remover(Semaphore, "remove_semaphore"),
        **remover(SharedMemory, "remove_shared_memory"),
        **remover(MessageQueue, "remove_message_queue"),
        **functions(
            "attach", a(segment), a(segment, None, 0), a(id=segment, address=None, flags=0)
        ),
        **functions("exists", a(key, Semaphore), a(key=key, type=SharedMemory), a(key, 1)),
        **functions("ftok", a("/", 1, True), a(b"/", 1), a(path="/nothing", id=1)),
        **functions("key_from_name", a("name"), a(b"name")),
        **functions("limits", a()),
        **functions("semaphores", a(), a(members=True)),
        **functions("shared_memories", a(), a(pids=True)),
        **functions("message_queues", a()),
        **functions("set_wait_signal", a(None), a(signal.SIGRTMAX - 2), a(signal.SIGKILL)),
    }


def made_here(cls: Any) -> int:
    id: int = cls(None, IPC_CREX).id
    return id


# --------------------------------------------------------------------- calls by themselves


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    os.seteuid(OTHER_UID)
    try:
        yield
    finally:
        os.seteuid(0)


def call_as_other(call: Call) -> None:
    with another_user():
        call()


def cancelled(wait: Call, cancel: Call) -> None:
    """Cancel a wait in another thread."""
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            wait()
        except sysv_ipc.CancelledError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not outcome:
        cancel()
    thread.join()
    outcome.clear()


def interrupted(wait: Call) -> None:
    """Let a signal's handler raise in a wait."""

    def handle(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    try:
        wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def copied(handle: Any) -> None:
    copy.copy(handle)
    pickle.loads(pickle.dumps(handle))


def error_texts(call: Call) -> None:
    """Look at all that an exception shows, and copy it."""
    try:
        call()
    except sysv_ipc.Error as error:
        str(error), repr(error), error.kind, error.key, error.id
        copied(error)


def short_message() -> None:
    reader = MessageQueue(world.queue.key, max_message_size=1)
    reader.receive()


def pinned(segment: SharedMemory) -> None:
    with memoryview(segment):
        segment.detach()


def exit_fails() -> None:
    with world.semaphore:
        world.semaphore.value = sysv_ipc.SEMAPHORE_VALUE_MAX
        raise ValueError("inside")


def cycle() -> None:
    own = Own(world.segment.key)
    own.me, own.view = own, memoryview(own)


class Own(SharedMemory):
    me: Any
    view: Any


def extra_calls() -> dict[str, Call]:
    """What no table of arguments reaches."""
    w = world
    taken = w.semaphore.key
    records = [w.semaphore.info(), w.segment.info(), w.queue.info(), sysv_ipc.limits()]
    calls: dict[str, Call] = {
        "a cycle": cycle,
        "a view": lambda: memoryview(w.segment).release(),
        "a view pins": lambda: pinned(w.segment),
        "an array": lambda: w.segment.view().cast("i")[0],
        "a buffer that may not be written": lambda: w.queue.receive_into(w.readonly),
        "exclusive, not created": lambda: Semaphore(1, sysv_ipc.IPC_EXCL),
        "exists already": lambda: Semaphore(taken, IPC_CREX),
        "too large": lambda: setattr(w.semaphore, "value", 40000),
        "too long": lambda: w.queue.send(b"x" * 3000),
        "too long for the kernel": lambda: w.queue.send_many([b"x", b"x" * 10**6]),
        "does not fit": short_message,
        "does not fit a buffer": lambda: w.queue.receive_into(bytearray(1)),
        "a wrong size": lambda: SharedMemory(w.segment.key, size=5),
        "exit fails": exit_fails,
        "error texts": lambda: error_texts(lambda: Semaphore(taken, IPC_CREX)),
        "error texts without an object": lambda: error_texts(lambda: Semaphore("x")),  # type: ignore[arg-type]
        "a bare error": lambda: (str(sysv_ipc.BusyError()), repr(sysv_ipc.Error(1, "x"))),
        "records": lambda: [(repr(one), pickle.loads(pickle.dumps(one))) for one in records],
        "a record of too little": lambda: sysv_ipc.SemaphoreInfo((1,)),
        "the set of a member": lambda: w.set[0].set,
        "the set of operations": lambda: w.operations.set,
        "iteration": lambda: [list(w.set), list(w.segment)[:3]],
        "interrupted acquire": lambda: interrupted(lambda: w.semaphore.acquire(5, 9)),
        "interrupted receive": lambda: interrupted(lambda: w.queue.receive(type=9, timeout=5)),
        "cancelled acquire": lambda: cancelled(
            lambda: w.semaphore.acquire(5, 9), w.semaphore.cancel
        ),
        "cancelled receive": lambda: cancelled(lambda: w.queue.receive(type=9), w.queue.cancel),
    }
    for handle in (w.semaphore, w.set, w.segment, w.queue, w.readonly):
        name = f"{type(handle).__name__} {handle.id}"
        calls[f"copies of {name}"] = lambda handle=handle: copied(handle)  # type: ignore[misc]
        calls[f"init of {name} again"] = lambda handle=handle: handle.__init__(handle.key)  # type: ignore[misc]
        calls[f"init of {name} fails"] = lambda handle=handle: handle.__init__(1)  # type: ignore[misc]
        if os.getuid() == 0:
            for word, call in (
                ("opens", lambda handle=handle: type(handle)(handle.key)),
                ("looks at", lambda handle=handle: handle.info()),
                ("changes", lambda handle=handle: setattr(handle, "mode", 0o666)),
                ("removes", lambda handle=handle: handle.remove()),
            ):
                calls[f"another user {word} {name}"] = lambda call=call: call_as_other(call)  # type: ignore[misc]
    return calls
