"""Count the references of a debug interpreter over every public call and its error paths.

Each call is made a few times, then ROUNDS times, and the interpreter's total of references
(``sys.gettotalrefcount``) must not change.  Calls are made from a table of good arguments:
unchanged; with each argument replaced by each of BAD; with one too few, far too many, and
an unknown name; on an object that works, was never initialised, is removed, detached or read-only;
and with the memory running out at each allocation.

``tools/refcounts.sh`` runs it; its arguments select the calls whose names contain them.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import calls
import namespace
import refcount_table
from refcount_table import BAD, REFUSED, World, bad, extra_calls, value_name

import sysv_ipc
from sysv_ipc import SemaphoreSet

WARM, ROUNDS = 4, 20
#: The number of allocations of a call that are made to fail.
ALLOCATIONS = 60
#: These run Python functions, or import a missing module, and 3.11 itself fails if they lack
#: memory.
IN_PYTHON = ("semaphores#1", "shared_memories#", "SharedMemory.ndarray#")

#: The states whose objects are used by other calls: they are not removed.
KEPT = ("good", "read-only", "detached")

Call = Callable[[], object]


# ------------------------------------------------------------------------- all of them


def attribute_calls(cls: Any, state: str, handle: Any) -> Iterator[tuple[str, Call]]:
    """Read, set and delete each attribute."""
    for name, row in calls.TABLE[cls].items():
        if not isinstance(row, calls.Attribute):
            continue
        path = f"{cls.__name__}.{name}"
        yield f"{path}, {state}", lambda name=name: getattr(handle, name)  # type: ignore[misc]
        yield f"del {path}, {state}", lambda name=name: delattr(handle, name)  # type: ignore[misc]
        good = row.value
        yield f"{path} set, {state}", lambda name=name, new=good: setattr(handle, name, new)  # type: ignore[misc]
        for new in BAD:
            words = f"{path} = {value_name(new)} where {state}"
            yield words, lambda name=name, new=new: setattr(handle, name, new)  # type: ignore[misc]


def method_calls(cls: Any, state: str, handle: Any, good: Any) -> Iterator[tuple[str, Call]]:
    """Yield each method in the state; with bad arguments only in the working state."""
    for name, row in calls.TABLE[cls].items():
        if not isinstance(row, calls.Method) or (name == "remove" and state in KEPT):
            continue
        method = getattr(handle, name)
        for number, line in enumerate([*row.arguments, *REFUSED.get(cls, {}).get(name, [])]):
            path = f"{cls.__name__}.{name}#{number}"
            line = line.on(good)
            yield f"{path}, {state}", functools.partial(method, *line.positional, **line.named)
            if state == "good":
                for words, p, n in bad(line):
                    yield f"{path}, {words}", lambda m=method, p=p, n=n: m(*p, **n)  # type: ignore[misc]


def function_calls() -> Iterator[tuple[str, Call]]:
    """Yield each function and constructor, with good and bad arguments."""
    world = refcount_table.world
    for name, lines in calls.FUNCTIONS.items():
        function = getattr(sysv_ipc, name)
        for number, line in enumerate(lines):
            path = f"{name}#{number}"
            if name.startswith("remove_"):
                # Each call creates another object.
                yield f"{path}, a new one", lambda f=function, a=line: a(f)  # type: ignore[misc]
            line = line.on(world.segment)
            yield f"{path}, good", functools.partial(function, *line.positional, **line.named)
            for words, p, n in bad(line):
                yield f"{path}, {words}", lambda f=function, p=p, n=n: f(*p, **n)  # type: ignore[misc]
    for cls, lines in calls.CONSTRUCTORS.items():
        make = functools.partial(made, cls)
        for number, line in enumerate(lines):
            path = f"{cls.__name__}#{number}"
            yield f"{path}, good", functools.partial(make, *line.positional, **line.named)
            for words, p, n in bad(line):
                yield f"{path}, {words}", lambda f=make, p=p, n=n: f(*p, **n)  # type: ignore[misc]
        existing = world.semaphore.key if issubclass(cls, SemaphoreSet) else world.queue.key
        for number, key in enumerate((existing, 1)):
            yield f"{cls.__name__} open#{number}, good", functools.partial(cls, key)


def made(cls: Any, *positional: Any, **named: Any) -> None:
    """Make an object and remove it at once."""
    calls.discard(cls(*positional, **named))


def all_calls() -> Iterator[tuple[str, Call]]:
    """Yield every call with a name that describes it."""
    for cls in calls.TABLE:
        states = refcount_table.world.states(cls)
        for state, handle in states.items():
            yield from method_calls(cls, state, handle, states["good"])
            yield from attribute_calls(cls, state, handle)
    yield from function_calls()
    for name, call in extra_calls().items():
        yield f"{name}, by itself", call


def without_memory(call: Call) -> Call:
    """Return the call, made once for each of its allocations, which then fails."""
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
    """Make the call, and return True if it raised."""
    raised = False
    try:
        call()
    except Exception:
        raised = True
    refcount_table.world.reset()
    return raised


def leak(call: Call, rounds: int) -> float:
    """Return the references that each call adds or takes; measure again if caches were filled."""
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
        sys.exit("this interpreter does not count references: run it with a debug interpreter")
    warnings.simplefilter("error")
    faulthandler.enable()
    # A call that hangs ends the process.  Once, because a thread that starts frees memory, and
    # must not do so while set_nomemory() exchanges the allocators.
    faulthandler.dump_traceback_later(1200, exit=True)
    namespace.enter()
    world = refcount_table.world = World()
    every = list(all_calls())
    every += [
        (f"{name}, memory runs out", without_memory(call))
        for name, call in every
        if name.endswith(", good") and not name.startswith(IN_PYTHON)
    ]
    gc.collect()
    gc.freeze()
    raised, done, leaks = 0, 0, []
    for name, call in every:
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
