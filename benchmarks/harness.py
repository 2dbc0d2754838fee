"""Common parts of the questions: the floor, the rivals, alternating rounds, and figures.

A contestant is a function that takes a number of calls to make and returns the nanoseconds of one
call.  Every contestant has a turn in each round, so that other work of the machine disturbs all of
them.  The figure is the median of the ratios of the rounds.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import namespace

#: Makes about the given number of calls and returns the nanoseconds of one.
Contestant = Callable[[int], float]

#: Nanoseconds of one call in each round, for each contestant.
Times = dict[str, list[float]]

#: The contestant that makes the system calls of 1.2.0, if they differ from ours.
OLD_FLOOR = "floor of 1.2.0"

#: A ratio to the floor that grows by at most this factor along a curve counts as constant.
GROWTH = 1.25

#: The number of copies of the statement in the body of the loop, so that the loop's own cost, about
#: 15 ns per turn, is divided among them.
UNROLLED = 20

LOOP = """
def run(count):
    turns = -(-count // {unrolled})
    calls = repeat(None, turns)
    start = now()
    for _ in calls:
{body}
    return (now() - start) / (turns * {unrolled})
"""


def enter_namespace() -> None:
    """Enter a new IPC namespace as root, so that the machine's objects are not used."""
    namespace.enter(as_root=True)


def resident_bytes() -> int:
    """Return the number of bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def raise_limit(name: str, value: str) -> None:
    """Set a limit of this namespace, as under /proc/sys/kernel."""
    Path("/proc/sys/kernel", name).write_text(value)


def python(statement: str, unrolled: int = UNROLLED, **names: Any) -> Contestant:
    """Time a Python statement; its names are local variables, as in a user's function."""
    body = textwrap.indent(statement, " " * 8)
    code = LOOP.format(unrolled=unrolled, body="\n".join([body] * unrolled))
    parameters = {"now": time.perf_counter_ns, "repeat": itertools.repeat, **names}
    # The names become parameters with defaults: fast locals, filled before the clock starts.
    code = code.replace("(count)", f"(count, {', '.join(f'{n}={n}' for n in parameters)})")
    scope = dict(parameters)
    exec(compile(code, f"<{statement}>", "exec"), scope)
    return scope["run"]  # type: ignore[no-any-return]


class Floor:
    """floor.c, compiled with -O2 into a folder and loaded."""

    def __init__(self, folder: str) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise SystemExit("the floor needs a C compiler: apt-get install gcc")
        source, library = Path(__file__).with_name("floor.c"), Path(folder, "floor.so")
        options = ["-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-pthread", "-o"]
        subprocess.run([compiler, *options, library, source], check=True)
        self._library = ctypes.CDLL(str(library))

    def __call__(self, name: str, *arguments: int) -> Contestant:
        """Return the contestant ``floor_name(arguments, count)``."""
        function = getattr(self._library, f"floor_{name}")
        function.restype = ctypes.c_int64
        fixed = [ctypes.c_int64(argument) for argument in arguments]

        def run(count: int) -> float:
            took = function(*fixed, ctypes.c_int64(count))
            if took < 0:
                raise OSError(-took, os.strerror(-took), f"floor_{name}")
            return float(took / count)

        return run


def load_rival(folder: Path | None, name: str) -> ModuleType | None:
    """Load an extension module of another environment beside ours, as ``rival.name``."""
    version = "python{}.{}".format(*sys.version_info)
    found = folder and [*folder.glob(f"lib/{version}*/site-packages/{name}.*.so")]
    if not found:
        return None
    full_name = f"rival.{name}"
    loader = ExtensionFileLoader(full_name, str(found[0]))
    specification = importlib.util.spec_from_loader(full_name, loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    loader.exec_module(module)
    return module


@dataclass
class Bench:
    """The argument of the questions: floor, rivals and settings."""

    floor: Floor
    quick: bool
    rounds: int
    #: The duration of a contestant's turn in one round.
    turn_seconds: float
    #: The environment of the rivals, and its modules if it has them.
    rivals: Path | None = None
    old: Any = None
    posix_ipc: Any = None

    def few(self, rounds: int, turn_seconds: float = 0) -> Bench:
        """Return a copy with at most this number of rounds, for calls that take long."""
        return replace(self, rounds=min(self.rounds, rounds), turn_seconds=turn_seconds)

    def measure(self, contestants: Mapping[str, Contestant]) -> Times:
        """Let the contestants take turns; each round begins with another one."""
        counts = {name: calls_for(run, self.turn_seconds) for name, run in contestants.items()}
        times: Times = {name: [] for name in contestants}
        names = list(contestants)
        with no_collector():
            for number in range(self.rounds):
                first = number % len(names)
                for name in names[first:] + names[:first]:
                    times[name].append(contestants[name](counts[name]))
        return times


def calls_for(run: Contestant, seconds: float) -> int:
    """Return the number of calls that take about this time; also warms up the caches."""
    count, wanted = 1, seconds * 1e9
    one = run(count)
    while wanted > 0 and count < 1 << 24:
        # Something else may have caused a long time, so measure it twice.
        if one * count >= wanted / 8 and (one := min(one, run(count))) * count >= wanted / 8:
            break
        count *= 4
        one = run(count)
    return max(1, int(wanted / one))


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Disable the garbage collector, so that no contestant pays for objects of another."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ----------------------------------------------------------------- figures


@dataclass
class Figure:
    """One figure for each round; it is shown as the median, with quartiles for ratios."""

    values: list[float]
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def reached(self) -> bool | None:
        """True if the target is reached, None if there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


@dataclass
class Table:
    """The answer to a question, or to part of it."""

    title: str
    rows: list[tuple[str, dict[str, Figure]]] = field(default_factory=list)
    #: Sentences that explain the figures.
    notes: list[str] = field(default_factory=list)

    def add(self, row: str, figures: Mapping[str, Figure]) -> None:
        """Add a row: the names of the columns and their figures."""
        self.rows.append((row, dict(figures)))


def ratios(times: Sequence[float], to: Sequence[float]) -> list[float]:
    """Return the ratio in each round."""
    return [one / other for one, other in zip(times, to, strict=True)]


def newer(at_most: float | None) -> float | None:
    """Return the target for this CPython: from 3.12 on its own calls cost more."""
    return at_most and at_most + (0.07 if sys.version_info >= (3, 12) else 0)


def own_cost(times: Times) -> list[float]:
    """Return our cost above the floor as a part of 1.2.0's, for each round."""
    theirs = times.get(OLD_FLOOR, times["floor"])
    rows = zip(times["ours"], times["floor"], times["1.2.0"], theirs, strict=True)
    return [(ours - floor) / (old - old_floor) for ours, floor, old, old_floor in rows]


def add_against_floor(
    table: Table, row: str, times: Times, at_most: float | None, own_at_most: float | None = None
) -> None:
    """Add a row of *floor*, *ours* and, if it is measured, *1.2.0*, with ratios and own cost.

    If 1.2.0 makes other system calls, their floor is ``OLD_FLOOR``.
    """
    figures = {name: Figure(values, "ns") for name, values in times.items()}
    if "1.2.0" in times:
        theirs = times.get(OLD_FLOOR, times["floor"])
        figures["1.2.0 to floor"] = Figure(ratios(times["1.2.0"], theirs), "x")
    figures["ours to floor"] = Figure(ratios(times["ours"], times["floor"]), "x", newer(at_most))
    if "1.2.0" in times:
        figures["own cost, of 1.2.0's"] = Figure(own_cost(times), "x", own_at_most)
    table.add(row, figures)


def add_growth(table: Table, *columns: str) -> None:
    """Add a row with the change of the ratios to the floor from the first row to the last.

    If a ratio grows faster than the kernel's own cost, the library must be improved.
    """
    first, last = table.rows[0][1], table.rows[-1][1]
    growth = {
        column: Figure([last[column].median / first[column].median], "x", at_most=GROWTH)
        for column in columns or ["ours to floor"]
    }
    table.add("last to first", growth)
