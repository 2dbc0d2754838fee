"""benchmarks/: every question and every curve runs; the measured values are not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT

pytestmark = pytest.mark.once

Answers = dict[str, Future[dict[str, Any]]]
QUESTIONS, CURVES = (
    sorted(path.stem for path in (ROOT / "benchmarks" / folder).glob("[!_]*.py"))
    for folder in ("questions", "curves")
)
#: make bench installs the rivals in an environment next to that of the tests.
RIVALS = Path(f"{sys.prefix}-rivals")


@pytest.fixture(scope="module")
def answers() -> Answers:
    """The answers to all questions without rivals, and the curves, measured at the same time."""
    with ThreadPoolExecutor(2) as threads:
        return {"questions": threads.submit(ask), "curves": threads.submit(ask, "--curves")}


def ask(*arguments: object) -> dict[str, Any]:
    """Run the benchmarks in one round and return the output of --json."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--json"]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def figures(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        figure
        for table in answer["tables"]
        for row in table["rows"]
        for figure in row["figures"].values()
    ]


def test_every_question_is_answered_without_rivals(answers: Answers) -> None:
    result = answers["questions"].result()
    assert list(result["answers"]) == QUESTIONS
    for name, answer in result["answers"].items():
        assert figures(answer), name
        assert all(figure["rounds"] == 1 for figure in figures(answer)), name


def test_every_curve_is_drawn(answers: Answers) -> None:
    result = answers["curves"].result()
    assert list(result["answers"]) == CURVES
    for name, answer in result["answers"].items():
        assert figures(answer), name


@pytest.mark.skipif(
    not RIVALS.exists(), reason="needs 1.2.0 in an environment of its own: run `make bench` once"
)
def test_all_questions_are_answered_with_rivals() -> None:
    result = ask("--rivals", RIVALS)
    assert "sysv_ipc 1.2.0" in result["about"]["rivals"]
    columns = {
        column
        for answer in result["answers"].values()
        for table in answer["tables"]
        for row in table["rows"]
        for column in row["figures"]
    }
    assert {"1.2.0", "own cost, of 1.2.0's", "ours to floor"} <= columns


def test_tables_are_printed_and_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "semaphore"]
    out = tmp_path / "result.json"
    done = subprocess.run(
        [*command, "--output", out], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith("machine:")
    assert "acquire + release" in done.stdout
    assert "semaphore" in json.loads(out.read_text())["answers"]


def test_figure_of_the_readme_shows_the_result_of_the_comparison() -> None:
    result = json.loads((ROOT / "benchmarks/comparison.json").read_text())
    (table,) = result["answers"]["comparison"]["tables"]
    times = [
        figure["median"]
        for row in table["rows"]
        for column, figure in row["figures"].items()
        if column.endswith("to ours")
    ]
    assert len(times) == 10
    figure = (ROOT / "docs/comparison.svg").read_text()
    for time in times:
        assert f">{time:.{1 if time < 10 else 0}f}</text>" in figure


def test_unknown_question_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "no question nonsense: there are aio" in done.stderr
