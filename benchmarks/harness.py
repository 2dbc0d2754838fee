"""What the questions share: the floor, the rivals, rounds that alternate, and figures.

A contestant is a function that is told how many calls to make and returns the nanoseconds that
one took.  In each round every contestant has its turn, so that what disturbs the machine disturbs
all of them; what counts is the median of the ratios of each round.
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

#: Makes about so many calls and returns the nanoseconds of one.
Contestant = Callable[[int], float]

#: Nanoseconds of one call in each round, for each contestant.
Times = dict[str, list[float]]

#: The contestant that makes the system calls of 1.2.0, where they are not ours.
OLD_FLOOR = "floor of 1.2.0"

#: A ratio to the floor that grows by no more than this along a curve is no growth.
GROWTH = 1.25

#: So often stands the statement in the loop that times it: the loop's own cost, some 15 ns a turn,
#: is a fraction of that for one call.
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
    """Leave the machine's own objects alone, and be root where that counts for System V IPC."""
    namespace.enter(as_root=True)


def resident_bytes() -> int:
    """Return what this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def raise_limit(name: str, value: str) -> None:
    """Set a limit of this namespace, as under /proc/sys/kernel."""
    Path("/proc/sys/kernel", name).write_text(value)


def python(statement: str, unrolled: int = UNROLLED, **names: Any) -> Contestant:
    """Time a statement of Python; what it names are local variables, as in a user's function."""
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
    """What a question is asked with."""

    floor: Floor
    quick: bool
    rounds: int
    #: What one contestant's turn in one round is to take.
    turn_seconds: float
    #: The environment of the rivals, and its modules where they are there.
    rivals: Path | None = None
    old: Any = None
    posix_ipc: Any = None

    def few(self, rounds: int, turn_seconds: float = 0) -> Bench:
        """Return the same with at most so many rounds, for what takes long."""
        return replace(self, rounds=min(self.rounds, rounds), turn_seconds=turn_seconds)

    def measure(self, contestants: Mapping[str, Contestant]) -> Times:
        """Let them take turns, each round beginning with another one."""
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
    """Return how many calls take about so long; also warms up what is measured."""
    count, wanted = 1, seconds * 1e9
    one = run(count)
    while wanted > 0 and count < 1 << 24:
        # What took long may have been something else: it counts where it does so twice.
        if one * count >= wanted / 8 and (one := min(one, run(count))) * count >= wanted / 8:
            break
        count *= 4
        one = run(count)
    return max(1, int(wanted / one))


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Keep the garbage collector from striking one contestant for what another left."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ----------------------------------------------------------------- figures


@dataclass
class Figure:
    """One figure in each round; shown is the median, with the quartiles where that is asked."""

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
        """Tell whether the target is reached, or None where there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


@dataclass
class Table:
    """The answer to a question, or to part of it."""

    title: str
    rows: list[tuple[str, dict[str, Figure]]] = field(default_factory=list)
    #: What a reader needs to know beside the figures.
    notes: list[str] = field(default_factory=list)

    def add(self, row: str, figures: Mapping[str, Figure]) -> None:
        """Add a row: the names of the columns and their figures."""
        self.rows.append((row, dict(figures)))


def ratios(times: Sequence[float], to: Sequence[float]) -> list[float]:
    """Return the ratio in each round."""
    return [one / other for one, other in zip(times, to, strict=True)]


def newer(at_most: float | None) -> float | None:
    """Return a target of CPython 3.11 for this one: from 3.12 on its own calls cost more."""
    return at_most and at_most + (0.07 if sys.version_info >= (3, 12) else 0)


def own_cost(times: Times) -> list[float]:
    """Return ours beyond the floor as a part of 1.2.0's beyond it, in each round."""
    theirs = times.get(OLD_FLOOR, times["floor"])
    rows = zip(times["ours"], times["floor"], times["1.2.0"], theirs, strict=True)
    return [(ours - floor) / (old - old_floor) for ours, floor, old, old_floor in rows]


def add_against_floor(
    table: Table, row: str, times: Times, at_most: float | None, own_at_most: float | None = None
) -> None:
    """Add a row of *floor*, *ours* and where it is there *1.2.0*, with the ratios and own cost.

    Where 1.2.0 makes other system calls, their floor is ``OLD_FLOOR``.
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
    """Add a row that tells how the ratios to the floor change from the first row to the last.

    What grows faster than the kernel's own cost is ours to mend.
    """
    first, last = table.rows[0][1], table.rows[-1][1]
    growth = {
        column: Figure([last[column].median / first[column].median], "x", at_most=GROWTH)
        for column in columns or ["ours to floor"]
    }
    table.add("last to first", growth)
