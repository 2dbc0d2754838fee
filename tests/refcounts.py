"""Count the references of a debug interpreter over every public call and its error paths.

Each call is made a few times, then ROUNDS times, and the interpreter's total of references
(``sys.gettotalrefcount``) has to be what it was.  Calls are made from a table of good arguments:
as they are; with each argument in turn replaced by each of BAD; with one too few, far too many, and
an unknown name; on an object that works, was never initialised, is removed, detached or read-only;
and with the memory running out at each allocation.  A public name that the table lacks is an error.

``tools/refcounts.sh`` runs it; arguments are words that the names of the calls must hold.
"""

from __future__ import annotations

import faulthandler
import gc
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import namespace
import refcount_table
from refcount_table import (
    BAD,
    IMPLIED,
    SETTABLE,
    Arguments,
    World,
    extra_calls,
    function_table,
    method_table,
    value_name,
)

import sysv_ipc

WARM, ROUNDS = 4, 20
#: How far a call is followed where memory runs out.
ALLOCATIONS = 60
#: These run Python functions, or import what is not there, and 3.11 itself fails where they lack
#: memory.
IN_PYTHON = ("semaphores#1", "shared_memories#", "SharedMemory.ndarray#")

Call = Callable[[], object]


# ------------------------------------------------------------------------- all of them


def missing_names(methods: dict[Any, dict[str, list[Arguments]]], functions: Any) -> list[str]:
    """The public names that no call is made of, and those of the table that are not public."""
    public = {
        name
        for name in dir(sysv_ipc)
        if not name.startswith("_") and callable(getattr(sysv_ipc, name))
    }
    classes = {cls.__name__ for cls in methods}
    made = {name.split()[0] for name in functions} | classes
    named = {
        name
        for name in public - made
        if issubclass(getattr(sysv_ipc, name), (tuple, sysv_ipc.Error, Warning))
    }
    lacking = sorted(public - made - named) + sorted(made - public)
    for cls, table in methods.items():
        own = {
            name
            for name, value in vars(cls).items()
            if not is_attribute(value) and name not in IMPLIED
        }
        lacking += [f"{cls.__name__}.{name}" for name in sorted(own ^ set(table))]
    return lacking


def is_attribute(value: object) -> bool:
    return inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value)


def attribute_calls(cls: Any, state: str, handle: Any) -> Iterator[tuple[str, Call]]:
    """Read, set and delete each attribute."""
    for name, value in vars(cls).items():
        if not is_attribute(value) or name in IMPLIED:
            continue
        path = f"{cls.__name__}.{name}"
        yield f"{path}, {state}", lambda name=name: getattr(handle, name)  # type: ignore[misc]
        yield f"del {path}, {state}", lambda name=name: delattr(handle, name)  # type: ignore[misc]
        good = SETTABLE.get(name)
        yield f"{path} set, {state}", lambda name=name, new=good: setattr(handle, name, new)  # type: ignore[misc]
        for new in BAD:
            words = f"{path} = {value_name(new)} where {state}"
            yield words, lambda name=name, new=new: setattr(handle, name, new)  # type: ignore[misc]


def method_calls(
    cls: Any, table: dict[str, list[Arguments]], state: str, handle: Any
) -> Iterator[tuple[str, Call]]:
    """Each method in the state, and with bad arguments where it is the good one."""
    for name, lines in table.items():
        method = getattr(handle, name)
        for number, line in enumerate(lines):
            path = f"{cls.__name__}.{name}#{number}"
            yield f"{path}, {state}", lambda m=method, a=line: m(*a.positional, **a.named)  # type: ignore[misc]
            if state == "good":
                for words, p, n in line.bad():
                    yield f"{path}, {words}", lambda m=method, p=p, n=n: m(*p, **n)  # type: ignore[misc]


def all_calls(
    methods: dict[Any, dict[str, list[Arguments]]], functions: Any
) -> Iterator[tuple[str, Call]]:
    """Every call, with a name that says what it is."""
    for cls, table in methods.items():
        for state, handle in refcount_table.world.states(cls).items():
            yield from method_calls(cls, table, state, handle)
            yield from attribute_calls(cls, state, handle)
            if hasattr(cls, "remove") and state in ("uninitialised", "removed"):
                yield f"{cls.__name__}.remove, {state}", handle.remove
    for name, (function, lines) in functions.items():
        for number, line in enumerate(lines):
            path = f"{name}#{number}"
            yield f"{path}, good", lambda f=function, a=line: f(*a.positional, **a.named)  # type: ignore[misc]
            for words, p, n in line.bad():
                yield f"{path}, {words}", lambda f=function, p=p, n=n: f(*p, **n)  # type: ignore[misc]
    for name, call in extra_calls().items():
        yield f"{name}, by itself", call


def without_memory(call: Call) -> Call:
    """The call, with the memory running out at each of its allocations in turn."""
    import _testcapi  # type: ignore[import-not-found]

    def run() -> None:
        for stop in range(1, ALLOCATIONS):
            try:
                _testcapi.set_nomemory(stop, stop + 1)
                call()
            except Exception:
                pass
            finally:
                _testcapi.remove_mem_hooks()
            refcount_table.world.reset()

    return run


# ----------------------------------------------------------------------------- the count


def once(call: Call) -> bool:
    """Make the call; whether it raised."""
    raised = False
    try:
        call()
    except Exception:
        raised = True
    refcount_table.world.reset()
    return raised


def leak(call: Call, rounds: int) -> float:
    """References that each call adds or takes; what is cached on the way gets a second chance."""
    for _ in range(WARM):
        once(call)
    change = 0
    for _ in range(3):
        gc.collect()
        before = sys.gettotalrefcount()
        for _ in range(rounds):
            once(call)
        gc.collect()
        change = sys.gettotalrefcount() - before
        if abs(change) < rounds / 2:
            return 0
    return change / rounds


def main(words: list[str]) -> int:
    if not hasattr(sys, "gettotalrefcount"):
        sys.exit("this interpreter does not count references: run it with a debug one")
    warnings.simplefilter("error")
    faulthandler.enable()
    # A call that hangs ends the process.  Once, because a thread that starts frees memory, and
    # must not do so while set_nomemory() exchanges the allocators.
    faulthandler.dump_traceback_later(1200, exit=True)
    namespace.enter()
    world = refcount_table.world = World()
    methods, functions = method_table(), function_table()
    lacking = missing_names(methods, functions)
    if lacking:
        sys.exit(f"tests/refcount_table.py lacks or has too much: {', '.join(lacking)}")
    calls = list(all_calls(methods, functions))
    calls += [
        (f"{name}, memory runs out", without_memory(call))
        for name, call in calls
        if name.endswith(", good") and not name.startswith(IN_PYTHON)
    ]
    gc.collect()
    gc.freeze()
    raised, done, leaks = 0, 0, []
    for name, call in calls:
        if not all(word in name for word in words):
            continue
        raised += once(call)
        done += 1
        lost = leak(call, 4 if name.endswith("runs out") else ROUNDS)
        if lost:
            leaks.append(name)
            print(f"{name}: {lost:+.1f} references a call", flush=True)
    print(f"{done} calls, of which {raised} raise: {len(leaks)} leak")
    for handle in (world.semaphore, world.set, world.segment, world.queue):
        handle.remove()
    return 1 if leaks or not done else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
