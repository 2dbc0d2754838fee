"""Calls that refcounts.py adds to those of calls.py: states of objects, bad arguments, errors."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from calls import Arguments, Waiting

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

OTHER_UID = 65534

Call = Callable[[], object]


class Failing:
    """An object that raises an exception of its own in every conversion."""

    def __fail(self, *_: object) -> Any:
        raise RuntimeError("this object fails")

    __bool__ = __bytes__ = __eq__ = __float__ = __fspath__ = __getattr__ = __fail
    __hash__ = __index__ = __iter__ = __len__ = __fail


BAD = [None, object(), "text", b"", 1.5, -1, 2**70, float("nan"), Failing(), [object()], {}]
#: The names of bad arguments that are valid as a timeout.
LONGER = ["None", "1.5", "118059162071"]


def value_name(value: object) -> str:
    return "Failing" if type(value) is Failing else f"{value!r:.12}"


#: Bad arguments of single calls, in addition to BAD.
REFUSED: dict[Any, dict[str, list[Arguments]]] = {
    SemaphoreSet: {"__getitem__": [Arguments(2)]},
    SharedMemory: {
        "__getitem__": [Arguments(10**6)],
        "write": [Arguments(b"x" * 9999)],
        "read_into": [Arguments(b"constant")],
        "view": [Arguments(0, 7, "i")],
        "ndarray": [Arguments(9999, "u1")],
        "atomic": [Arguments(1, "i32"), Arguments(4096, "i64")],
    },
}


def bad(arguments: Arguments) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Yield every way to pass wrong arguments, with a description."""
    positional, named = arguments.positional, arguments.named
    waits = isinstance(arguments, Waiting)
    for value in BAD:
        if waits and value_name(value) in LONGER:
            continue
        for i in range(len(positional)):
            changed = (*positional[:i], value, *positional[i + 1 :])
            yield f"argument {i} is {value_name(value)}", changed, named
        for name in named:
            yield f"{name} is {value_name(value)}", positional, {**named, name: value}
    if not waits:
        yield "too few", positional[:-1], {}
    yield "too many", positional + (1,) * 20, named
    yield "unknown name", positional, {**named, "nonsense": 1}


# ------------------------------------------------------------------------------- the objects


class World:
    """The objects that calls are made on, and functions that restore their state."""

    def __init__(self) -> None:
        self.semaphore = Semaphore(None, IPC_CREX, initial_value=1)
        self.set = SemaphoreSet(None, 2, IPC_CREX, initial_values=[1, 0])
        self.segment = SharedMemory(None, IPC_CREX)
        self.queue = MessageQueue(None, IPC_CREX)
        self.readonly = SharedMemory(self.segment.key, mode=0o400)
        self.detached = SharedMemory(self.segment.key)
        self.operations = self.set.compile([(0, -1), (1, 1)])
        # Of other handles, because an atomic prevents its own handle from detaching.
        self.atomics = {
            "good": SharedMemory(self.segment.key).atomic(0, "u32"),
            "wide": SharedMemory(self.segment.key).atomic(8, "i64"),
            "read-only": SharedMemory(self.segment.key, mode=0o400).atomic(0, "i32"),
        }
        self.signal = sysv_ipc.set_wait_signal(signal.SIGRTMAX - 1) or signal.SIGRTMAX - 1
        self.reset()

    def states(self, cls: Any) -> dict[str, Any]:
        """Return an object of the class in each possible state."""
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
        """Undo the changes that a call may have made."""
        sysv_ipc.set_wait_signal(self.signal)
        self.semaphore.value = 1
        self.semaphore.block, self.semaphore.undo = True, False
        waits: list[Any] = [self.semaphore, self.set, self.queue, *self.atomics.values()]
        for one in waits:
            one.cancelled = False
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


#: Made after the namespace has been entered.
world: World = None  # type: ignore[assignment]


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
    """Read every attribute and text of an exception, and copy it."""
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
    """Return calls that the tables of arguments do not reach."""
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
        "a record that is too short": lambda: sysv_ipc.SemaphoreInfo((1,)),
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
