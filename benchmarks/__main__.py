"""``python -m benchmarks``: ask questions about speed; ``make bench`` does it with rivals."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import report
from .harness import Bench, Floor, enter_namespace, load_rival

HERE = Path(__file__).parent


def names_in(folder: str) -> list[str]:
    """Return the questions in a folder."""
    return sorted(path.stem for path in (HERE / folder).glob("[!_]*.py"))


def parse(words: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    questions, curves = names_in("questions"), names_in("curves")
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...",
        description=f"Questions: {', '.join(questions)}.  Curves: {', '.join(curves)}.",
    )
    parser.add_argument("names", nargs="*", metavar="QUESTION", help="ask only these questions")
    parser.add_argument("--quick", action="store_true", help="take less than a minute")
    parser.add_argument("--curves", action="store_true", help="measure how cost grows")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--output", metavar="FILE", help="also write JSON to FILE")
    parser.add_argument("--rounds", type=int, help="number of rounds")
    parser.add_argument("--rivals", type=Path, metavar="VENV", help="the environment of the rivals")
    options = parser.parse_args(words)
    known = curves if options.curves else questions
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"no question {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    options.names = options.names or known
    return options


def has_gil() -> bool:
    """Return True if this interpreter runs with the GIL."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def make_bench(options: argparse.Namespace, folder: str) -> Bench:
    """Return the argument of the questions; the folder is for the floor's library."""
    # The import of a rival without free threading would enable the GIL.
    rivals = options.rivals if has_gil() else None
    return Bench(
        floor=Floor(folder),
        quick=options.quick,
        rounds=options.rounds or (75 if options.quick else 1001),
        turn_seconds=0.0002 if options.quick else 0.0005,
        rivals=rivals,
        old=load_rival(rivals, "sysv_ipc"),
        posix_ipc=load_rival(rivals, "posix_ipc"),
    )


def main(words: list[str] | None = None) -> int:
    """Ask the questions and print the answers."""
    options = parse(words)
    enter_namespace()
    folder = "curves" if options.curves else "questions"
    answers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as library:
        bench = make_bench(options, library)
        about = report.head(bench)
        if not options.json:
            print("\n".join(f"{name + ':':13}{text}" for name, text in about.items()), end="\n\n")
        for name in options.names:
            start = time.monotonic()
            module = importlib.import_module(f"benchmarks.{folder}.{name}")
            tables = []
            for table in module.ask(bench):
                tables.append(report.table_record(table))
                if not options.json:
                    report.show(table)
            answers[name] = {"seconds": round(time.monotonic() - start, 1), "tables": tables}
    text = json.dumps({"about": about, "answers": answers}, indent=1)
    if options.json:
        print(text)
    if options.output:
        Path(options.output).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
