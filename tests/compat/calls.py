"""Make several hundred calls of the API of sysv_ipc 1.2.0, and describe the outcome of each.

Runs under either library and prints one line per call: ``section | call => outcome``.  The calls
are in ``calls/``, a file for each subject; a call is its own label.  Each is made in a forked child
with an IPC namespace of its own, so that it sees only the objects of its set-up, leaves
nothing behind, and may crash or hang.

Outcomes are the same on every run, machine and Python version: a value is its ``repr``, an
object of the library is ``a Semaphore``, an exception is ``Class(built-in bases): text``, where
``WORDINGS`` replace texts of the interpreter that differ between its versions.
"""

from __future__ import annotations

import array
import builtins
import copy
import ctypes
import decimal
import fractions
import gc
import os
import pickle
import re
import resource
import select
import signal
import struct
import sys
import threading
import tomllib
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import sysv_ipc

sys.path.append(str(Path(__file__).parents[1]))
import namespace

HERE = Path(__file__).parent
FILES = (
    "module",
    "semaphore",
    "shared_memory",
    "message_queue",
    "functions",
    "waiting",
    "other_user",
)
SEPARATOR = " => "
NOT_RUN = "not run: there is no other user to become"

NOBODY = 65534

#: For texts of built-in exceptions that come from the interpreter, or that only name the type
#: that an argument should have.
WORDINGS = {
    r"(missing .*argument|takes .*argument|keyword argument|multiple values)": "(wrong arguments)",
    r"(cannot be interpreted as an integer|must be (a long|int,|an integer(?! or)))": "(no int)",
    r"(argument 1 must be str|expected str, bytes or os.PathLike)": "(no path)",
    r"(bytes-like object is required|must be a byte string of length 1)": "(no buffer)",
    r"(too large to convert|integer is (greater|less) than|fit into a C int)": "(no C int)",
    r"object has no attribute": "(no such attribute)",
    r"embedded null": "(embedded null)",
}

#: The set-up of sections with ``objects = true``.
OBJECTS = """
sem = Semaphore(42, IPC_CREX, 0o600, 3)
shm = SharedMemory(42, IPC_CREX, size=16, init_character=b".")
queue = MessageQueue(42, IPC_CREX)
"""

#: The public names of 1.2.0.
PUBLIC = re.findall(
    r"\w+",
    """
    BusyError Error ExistentialError InternalError NotAttachedError PermissionsError
    MessageQueue Semaphore SharedMemory attach ftok
    remove_message_queue remove_semaphore remove_shared_memory
    IPC_CREAT IPC_CREX IPC_EXCL IPC_PRIVATE KEY_MAX KEY_MIN PAGE_SIZE
    SEMAPHORE_TIMEOUT_SUPPORTED SEMAPHORE_VALUE_MAX SHM_HUGETLB SHM_NORESERVE SHM_RDONLY
    SHM_REMAP SHM_RND VERSION __author__ __copyright__ __license__ __version__
    """,
)


@dataclass(frozen=True)
class Section:
    """Calls that need the same set-up."""

    name: str
    calls: str
    #: True if a semaphore, a segment and a queue exist; they have the key 42.
    objects: bool = False
    #: Statements that run before each call.
    setup: str = ""
    #: True if the calls need a second user.
    other_users_exist: bool = False
    #: True if another user makes the calls after the set-up.
    other_user: bool = False
    #: The number of seconds after which a call is reported as hung.
    seconds: float = 60.0


# ------------------------------------------------------------- what the calls may use


class Index:
    """An object with __index__() that is not an int."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


class Float:
    """An object with __float__() that is not a float."""

    def __float__(self) -> float:
        return 0.0


class Untrue:
    """An object without a truth value."""

    def __bool__(self) -> bool:
        raise KeyError("no truth value")


def late(function: Callable[..., object], *arguments: object) -> None:
    """Call the function in another thread, a little later."""
    threading.Timer(0.05, function, arguments).start()


def alarm(handler: Callable[..., object]) -> None:
    """Send a signal a little later."""
    signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def returning() -> None:
    """Do nothing."""


def raising() -> NoReturn:
    """Raise an exception that no library raises."""
    raise KeyError("raised")


def throw(exception: BaseException | type[BaseException]) -> NoReturn:
    """Raise, as an expression."""
    raise exception


def caught(function: Callable[..., object], *arguments: object) -> object:
    """Return the result of the function, or the name of its exception."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error).__name__


def inside(context: Any, function: Callable[[], object]) -> object:
    """Call the function in a with block and return what ``as`` gave."""
    with context as target:
        function()
    return target


def in_child(function: Callable[[], object]) -> None:
    """Call the function in another process, which then exits."""
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    os.waitpid(pid, 0)


def make_set(key: int, members: int) -> None:
    """Make a semaphore set with semget(2)."""
    ctypes.CDLL(None).semget(key, members, 0o1600)


def listed(table: str) -> int:
    """Count the objects that the kernel lists."""
    return len(Path(f"/proc/sysvipc/{table}").read_text().splitlines()) - 1


def fill(queue: Any) -> None:
    """Fill a queue up."""
    queue.max_size = 10
    queue.send(b"0123456789")


def warned(function: Callable[[], object]) -> list[tuple[str, str]]:
    """Return category and text of each warning."""
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        function()
    return [(record.category.__name__, str(record.message)) for record in records]


def scope() -> dict[str, Any]:
    """Return the names that a call can use, such as those of ``from sysv_ipc import *``."""
    helpers = (Index, Float, Untrue, late, alarm, returning, raising, throw, caught, inside)
    more = (in_child, make_set, listed, fill, warned, Path)
    modules = (array, copy, ctypes, decimal, fractions, gc, os, pickle, struct, sysv_ipc)
    return {
        **{name: getattr(sysv_ipc, name) for name in PUBLIC},
        **{thing.__name__: thing for thing in (*helpers, *more, *modules, warnings, weakref)},
        "PUBLIC": PUBLIC,
    }


# ------------------------------------------------------------------------ the calls


def sections() -> Iterator[Section]:
    """Read the sections of all files."""
    for name in FILES:
        for table in tomllib.loads((HERE / f"calls/{name}.toml").read_text())["section"]:
            yield Section(**table)


def describe_error(error: BaseException) -> str:
    """Return class, built-in bases, text and context of an exception."""
    cls = type(error)
    ours = cls.__module__ == "sysv_ipc"
    built_in = [c for c in cls.__mro__ if vars(builtins).get(c.__name__) is c]
    nearest = [
        c.__name__
        for c in built_in
        if c not in (Exception, BaseException, object)
        and not any(other is not c and issubclass(other, c) for other in built_in)
    ]
    bases = f"({', '.join(nearest)})" if ours and nearest else ""
    text = str(error)
    if not ours:
        for pattern, wording in WORDINGS.items():
            if re.search(pattern, text):
                text = wording
    context = error.__context__
    after = f" [after {type(context).__name__}: {context}]" if context is not None else ""
    return f"{cls.__name__}{bases}: {text}{after}".replace("\n", r"\n")


def describe(value: object) -> str:
    """Describe the result of a call."""
    for cls in (sysv_ipc.Semaphore, sysv_ipc.SharedMemory, sysv_ipc.MessageQueue, memoryview):
        if isinstance(value, cls):
            return f"a {cls.__name__}"
    return repr(value)


def is_expression(code: str) -> bool:
    """Return True for an expression, False for a statement."""
    try:
        compile(code, "call", "eval")
    except SyntaxError:
        return False
    return True


def outcome(call: str, names: dict[str, Any]) -> str:
    """Make the call and describe its outcome."""
    *statements, last = call.split("; ")
    expression = is_expression(last)
    try:
        try:
            for statement in statements:
                exec(statement, names)
            if expression:
                return describe(eval(last, names))
            exec(last, names)
            return "done"
        except BaseException as error:
            # If a signal handler raised as well, its exception arrives here.
            for _ in range(1000):
                pass
            return describe_error(error)
    except BaseException as error:
        return describe_error(error)


def has_nobody() -> bool:
    """Return True if this user namespace has another user."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(word) for word in line.split())
        if first <= NOBODY < first + count:
            return True
    return False


def in_namespace(call: str, section: Section) -> str:
    """Make a namespace, do the set-up, make the call and return its outcome."""
    try:
        namespace.enter()
        names = scope()
        exec((OBJECTS if section.objects else "") + section.setup, names)
        if section.other_user:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    except BaseException as error:
        return f"the set-up failed: {error!r}"
    return outcome(call, names)


def run(call: str, section: Section) -> str:
    """Make a call in a forked child and return its outcome, including a crash or a hang."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        text = in_namespace(call, section)
        os.write(write_end, text.encode(errors="backslashreplace"))
        os._exit(0)
    os.close(write_end)
    ended, _, _ = select.select([read_end], [], [], section.seconds)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not ended:
        return "hung"
    if os.WIFSIGNALED(status):
        return f"crashed {signal.Signals(os.WTERMSIG(status)).name}"
    return text


def main() -> None:
    """Print a line for each call."""
    all_users = os.geteuid() == 0 and has_nobody()
    for section in sections():
        for call in section.calls.splitlines():
            made = all_users or not (section.other_user or section.other_users_exist)
            result = run(call, section) if made else NOT_RUN
            print(f"{section.name} | {call}{SEPARATOR}{result}", flush=True)


if __name__ == "__main__":
    main()
