"""Print answers: tables on a terminal, otherwise aligned text, and JSON."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import sysv_ipc

from .harness import Bench, Figure, Table

ROOT = Path(__file__).parent.parent


def processor() -> str:
    """Return the model that /proc/cpuinfo names."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Return the commit that was measured, with "-dirty" if files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def head(bench: Bench) -> dict[str, str]:
    """Return the machine, the versions and the settings of the measurement."""
    build = f"{platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        build += " free-threaded"
    old = "missing" if bench.old is None else bench.old.VERSION
    return {
        "machine": f"{processor()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "interpreter": f"{build} ({platform.python_compiler()})",
        "library": f"sysv_ipc {sysv_ipc.VERSION}, commit {commit()}",
        "rivals": f"sysv_ipc {old}, posix_ipc {getattr(bench.posix_ipc, 'VERSION', 'missing')}",
        "rounds": f"{bench.rounds}, turns of {bench.turn_seconds * 1e3:g} ms",
    }


def number(value: float) -> str:
    """Return the number with three digits, or with all digits before the point."""
    if value == 0:
        return "0"
    digits = len(str(int(abs(value))))
    return f"{value:,.{max(0, 3 - digits)}f}".replace(",", " ")


def cell(figure: Figure) -> str:
    """Return the median, the quartiles of a ratio, and the target."""
    text = number(figure.median)
    if figure.unit == "ns" and figure.median >= 1e5:
        text = f"{number(figure.median / 1e6)} ms"
    elif figure.unit != "x":
        text = f"{text} {figure.unit}".rstrip()
    else:
        low, high = figure.quartiles
        text += f" [{number(low)}, {number(high)}]"
    if figure.reached is not None:
        sign, target = ("<=", figure.at_most) if figure.at_most is not None else (
            ">=", figure.at_least)  # fmt: skip
        text += f" {sign} {number(target or 0)} {'yes' if figure.reached else 'NO'}"
    return text


def columns_of(table: Table) -> list[str]:
    """Return the names of the columns, in the order of their first rows."""
    return list(dict.fromkeys(name for _, figures in table.rows for name in figures))


def show(table: Table) -> None:
    """Print a table as aligned text."""
    columns = columns_of(table)
    rows = [
        [name, *(cell(figures[one]) if one in figures else "" for one in columns)]
        for name, figures in table.rows
    ]
    lines = [[table.title, *columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())
    for note in table.notes:
        print(f"  {note}")
    print(flush=True)


def figure_record(figure: Figure) -> dict[str, Any]:
    """Return the JSON of a figure."""
    record: dict[str, Any] = {
        "median": figure.median,
        "quartiles": figure.quartiles,
        "rounds": len(figure.values),
        "unit": figure.unit,
    }
    for name in ("at_most", "at_least", "reached"):
        if getattr(figure, name) is not None:
            record[name] = getattr(figure, name)
    return record


def table_record(table: Table) -> dict[str, Any]:
    """Return the JSON of a table."""
    rows = [
        {"row": name, "figures": {key: figure_record(one) for key, one in figures.items()}}
        for name, figures in table.rows
    ]
    return {"title": table.title, "rows": rows, "notes": table.notes}
