"""``make bench-plots``: write a result into the pages, as plots and tables.

The result is the file that ``make bench ARGS="--output FILE"`` has written.  The figure of the
README has a file of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .harness import Figure
from .report import cell, number

# Imported by name, because make lint runs without matplotlib.
matplotlib: Any = importlib.import_module("matplotlib")
matplotlib.use("svg")
pyplot: Any = importlib.import_module("matplotlib.pyplot")

HERE = Path(__file__).parent
RESULT = HERE / "result.json"
#: The file that make bench ARGS="--output FILE comparison" has written.
COMPARISON = HERE / "comparison.json"
DOCS = HERE.parent / "docs"

#: The same result must make the same file.  Text stays text, which is small and can be searched.
STYLE = {"svg.hashsalt": "sysv_ipc", "svg.fonttype": "none", "font.size": 9}

#: Columns of the table by size, and their names in the figure.
THROUGHPUT = {
    "floor": "raw C",
    "lists": "sysv_ipc, lists of 64",
    "ours": "sysv_ipc",
    "1.2.0": "sysv_ipc 1.2.0",
}


def table(result: dict[str, Any], question: str, title: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of a table: name and figures."""
    if question not in result["answers"]:
        raise SystemExit(f"this result does not answer {question}: run make bench with --output")
    tables = result["answers"][question]["tables"]
    rows = next(one["rows"] for one in tables if one["title"] == title)
    return [(row["row"], row["figures"]) for row in rows]


def draw_throughput(result: dict[str, Any], to: Path) -> None:
    """Draw megabytes per second between two processes, by the size of a message."""
    rows = table(result, "two_processes", "two processes, by size")
    sizes = [int(name.split()[0]) for name, _ in rows]
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    for column, label in THROUGHPUT.items():
        if all(column in figures for _, figures in rows):
            times = [figures[column]["median"] for _, figures in rows]
            speeds = [size / time * 1e3 for size, time in zip(sizes, times, strict=True)]
            axes.plot(sizes, speeds, marker="o", markersize=3, label=label)
    axes.set(xscale="log", yscale="log", xlabel="bytes in a message", ylabel="MB/s")
    axes.set_xscale("log", base=2)
    axes.set_title("messages from one process to another", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, to)


def draw_latency(result: dict[str, Any], to: Path) -> None:
    """Draw the time of 64 bytes to another process and back, for each kind of channel."""
    rows = table(result, "rivals", "a message of 64 B")
    trips = {name: figures["there and back"] for name, figures in rows}
    names = sorted(trips, key=lambda name: -trips[name]["median"])
    middles = [trips[name]["median"] / 1e3 for name in names]
    low = [(trips[name]["median"] - trips[name]["quartiles"][0]) / 1e3 for name in names]
    high = [(trips[name]["quartiles"][1] - trips[name]["median"]) / 1e3 for name in names]
    figure, axes = pyplot.subplots(figsize=(6.4, 2.8))
    colours = ["tab:orange" if name == "MessageQueue" else "tab:blue" for name in names]
    axes.barh(names, middles, xerr=[low, high], color=colours, error_kw={"linewidth": 0.8})
    axes.set(xscale="log", xlim=(1, None), xlabel="microseconds, with quartiles")
    axes.set_title("64 bytes to another process and back", fontsize=9)
    save(figure, to)


def draw_comparison(result: dict[str, Any], to: Path) -> None:
    """Draw the CPU times of messages between two processes, relative to this library."""
    rows = table(result, "comparison", "64 bytes between two processes, CPU time")
    rivals = [(name, figures) for name, figures in rows if "one way, to ours" in figures]
    rivals.sort(key=lambda row: -row[1]["one way, to ours"]["median"])
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2))
    # The page may be shown on a dark screen.
    figure.patch.set_facecolor("white")
    for column, shift, colour in [
        ("there and back", 0.2, "tab:blue"), ("one way", -0.2, "tab:orange"),
    ]:  # fmt: skip
        for place, (_, figures) in enumerate(rivals):
            ratio = figures[f"{column}, to ours"]
            middle, (low, high) = ratio["median"], ratio["quartiles"]
            label = column if place == 0 else None
            errors = [[middle - low], [high - middle]]
            axes.barh(
                place + shift, middle - 1, 0.38, left=1, xerr=errors, color=colour, label=label,
                error_kw={"linewidth": 0.8},
            )  # fmt: skip
            text = f"{middle:.{1 if middle < 10 else 0}f}"
            spot = (max(high, 1), place + shift)
            axes.annotate(text, spot, (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlim=(0.2, 200))
    axes.set_yticks(range(len(rivals)), [name for name, _ in rivals])
    axes.set_xlabel("multiples of the CPU time of sysv_ipc.MessageQueue, with quartiles")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, loc="upper right", fontsize=8)
    axes.set_title("64 bytes between two processes", fontsize=9)
    save(figure, to)


def written(figure: dict[str, Any]) -> str:
    """Return the median of a figure with its unit, as in the tables of make bench."""
    return cell(Figure([figure["median"]], figure["unit"] if figure["unit"] != "x" else ""))


def target_lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of all figures that have a target."""
    yield "| what | figure | median | quartiles | target | reached |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for answer in result["answers"].values():
        for table in answer["tables"]:
            for row in table["rows"]:
                for name, figure in row["figures"].items():
                    if "reached" in figure:
                        yield f"| {what(table, row)} | {name} | {target_cells(figure)} |"


def what(table: dict[str, Any], row: dict[str, Any]) -> str:
    """Return the name of a row, with the name of its table."""
    title, name = table["title"], row["row"]
    return str(title) if title == name else f"{title}: {name}"


def target_cells(figure: dict[str, Any]) -> str:
    """Return the cells of a figure and its target."""
    bound = "most" if "at_most" in figure else "least"
    target = Figure([figure[f"at_{bound}"]], figure["unit"].replace("x", ""))
    low, high = map(number, figure["quartiles"])
    spread = f"{low} to {high}" if figure["unit"] == "x" else ""
    reached = "yes" if figure["reached"] else "**no**"
    return f"{written(figure)} | {spread} | at {bound} {cell(target)} | {reached}"


def time_lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables of times, without ratios."""
    for answer in result["answers"].values():
        for table in answer["tables"]:
            rows = [
                (row["row"], {k: v for k, v in row["figures"].items() if v["unit"] != "x"})
                for row in table["rows"]
            ]
            columns = list(dict.fromkeys(name for _, figures in rows for name in figures))
            if not columns:
                continue
            yield f"| {' | '.join([table['title'], *columns])} |"
            yield f"| {' | '.join(['---'] * (len(columns) + 1))} |"
            for name, figures in rows:
                cells = [written(figures[one]) if one in figures else "" for one in columns]
                yield f"| {' | '.join([name, *cells])} |"
            if table["notes"]:
                yield from ["", " ".join(table["notes"])]
            yield ""


def write_tables(result: dict[str, Any], page: Path) -> None:
    """Replace the result in the page."""
    text, mark = page.read_text(), "<!-- below is what make bench-plots writes -->"
    if mark not in text:
        raise SystemExit(f"{page.name} has no line {mark}")
    about = [f"- {name}: {told}" for name, told in result["about"].items()]
    lines = [mark, "", *about, "", *target_lines(result), "", *time_lines(result)]
    folded = [part for line in lines for part in (fold(line) if line[:1] != "|" else [line])]
    page.write_text(text.partition(mark)[0] + "\n".join(folded).rstrip() + "\n")
    print(f"wrote {page.name}")


def fold(line: str) -> list[str]:
    """Break a line at 120 columns, as the Markdown of this repository."""
    return textwrap.wrap(
        " ".join(line.split()), 120, subsequent_indent="  " * (line[:1] == "-")
    ) or [""]


def save(figure: Any, to: Path) -> None:
    """Write a figure, the same way each time."""
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None, "Creator": None})
    # Remove spaces at the end of lines.
    lines = [line.rstrip() for line in to.read_text().splitlines()]
    to.write_text("\n".join(lines) + "\n")
    print(f"wrote {to.name}")


def main() -> int:
    """Draw the figures and write the tables."""
    parser = argparse.ArgumentParser(prog="make bench-plots ARGS=...")
    parser.add_argument("result", nargs="?", type=Path, default=RESULT)
    parser.add_argument("--to", type=Path, default=DOCS, metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=HERE / "README.md")
    options = parser.parse_args()
    result = json.loads(options.result.read_text())
    with matplotlib.rc_context(STYLE):
        draw_throughput(result, options.to / "throughput.svg")
        draw_latency(result, options.to / "latency.svg")
        draw_comparison(json.loads(COMPARISON.read_text()), options.to / "comparison.svg")
    write_tables(result, options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
