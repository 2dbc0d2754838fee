"""Programs written for 1.2.0: each call behaves as before, except for the known differences.

``compat/calls.py`` makes several hundred calls, ``compat/recorded_1.2.0.txt`` holds their
outcomes in 1.2.0, and ``compat/differences.toml`` the outcomes that differ here, and why.
"""

from __future__ import annotations

import re
import sys
import tomllib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from compat import calls, record

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux, where the recording was made"
)

SECTIONS = [section.name for section in calls.sections()]

RECORDABLE = sys.version_info[:2] == (3, 11)

#: A call of send() that raises because of its arguments.
BAD_SEND = r"message queue \| queue\.send\([^;]*\) => (TypeError|UnicodeEncodeError): "

#: An outcome that a row without a call may give: an exception.
ERROR = re.compile(r"[A-Z]\w+(\([\w, ]+\))?: .*")


@dataclass(frozen=True)
class Row:
    """A row of the table; a row without a call applies to every call."""

    old: str
    new: str
    call: str | None = None

    def matches(self, outcome: str) -> bool:
        words = [re.escape(part) for part in self.new.split("<words>")]
        return re.fullmatch(".+".join(words), outcome) is not None


@dataclass(frozen=True)
class Table:
    """differences.toml."""

    by_call: dict[str, Row]
    by_outcome: dict[str, Row]

    @classmethod
    def read(cls) -> Table:
        by_call: dict[str, Row] = {}
        by_outcome: dict[str, Row] = {}
        text = (record.HERE / "differences.toml").read_text()
        for difference in tomllib.loads(text)["difference"]:
            assert set(difference) <= {"situation", "reason", "everywhere", "lines"}
            assert difference["situation"]
            assert difference["reason"].endswith(".")
            for old, new in difference.get("everywhere", []):
                assert ERROR.fullmatch(old), f"this row must name its calls: {old}"
                assert ERROR.fullmatch(new), f"this row must name its calls: {new}"
                assert old not in by_outcome, f"two rows for {old}"
                by_outcome[old] = Row(old, new)
            for call, old, new in difference.get("lines", []):
                assert call not in by_call, f"two rows for {call}"
                by_call[call] = Row(old, new, call)
        return cls(by_call, by_outcome)

    def find(self, call: str, old: str) -> Row | None:
        return self.by_call.get(call, self.by_outcome.get(old))


def parse(text: str) -> dict[str, str]:
    """Return the outcome of each call."""
    lines = text.splitlines()
    outcomes = dict(line.split(calls.SEPARATOR, 1) for line in lines)
    assert len(outcomes) == len(lines), "a call occurs twice"
    return outcomes


@pytest.fixture(scope="module")
def table() -> Table:
    """The contents of differences.toml."""
    return Table.read()


@pytest.fixture(scope="module")
def recorded() -> dict[str, str]:
    """The recorded outcome of each call in 1.2.0."""
    return parse(record.RECORDING.read_text())


@pytest.fixture(scope="module")
def both() -> tuple[Future[str], Future[str]]:
    """The outcomes here, and in 1.2.0 now; made at the same time, because many calls wait."""
    with ThreadPoolExecutor(2) as threads:
        ours = threads.submit(record.make_calls, sys.executable)
        return ours, threads.submit(record.record if RECORDABLE else str)


@pytest.fixture(scope="module")
def ours(both: tuple[Future[str], Future[str]]) -> dict[str, str]:
    """The outcome of each call in this library."""
    return parse(both[0].result())


def test_the_recording_has_all_calls(ours: dict[str, str], recorded: dict[str, str]) -> None:
    assert list(ours) == list(recorded), "run tests/compat/record.py"


@pytest.mark.parametrize("section", SECTIONS)
def test_calls_do_as_before_or_as_the_table_says(
    section: str, ours: dict[str, str], recorded: dict[str, str], table: Table
) -> None:
    unexpected = []
    for call, old in recorded.items():
        if not call.startswith(f"{section} | "):
            continue
        new = ours[call]
        if new == calls.NOT_RUN:
            pytest.skip("needs root: only root can become another user")
        row = table.find(call, old) if new != old else None
        if new != old and (row is None or row.old != old or not row.matches(new)):
            wanted = f"\n    table  {row.new}" if row is not None else ""
            unexpected.append(f"{call}\n    1.2.0  {old}\n    ours   {new}{wanted}")
    assert not unexpected, "differences that are not in the table:\n" + "\n".join(unexpected)


def test_every_row_of_the_table_is_a_difference(
    ours: dict[str, str], recorded: dict[str, str], table: Table
) -> None:
    if calls.NOT_RUN in ours.values():
        pytest.skip("needs root: only root can become another user")
    used = {table.find(call, old) for call, old in recorded.items() if ours[call] != old}
    rows = {*table.by_call.values(), *table.by_outcome.values()}
    assert not [f"{row.call or 'everywhere'}: {row.old}" for row in rows - used]


@pytest.mark.skipif(
    not RECORDABLE,
    reason="needs CPython 3.11: the recording has many texts of that interpreter",
)
def test_the_recording_is_the_behaviour_of_1_2_0(both: tuple[Future[str], Future[str]]) -> None:
    try:
        text = both[1].result()
    except record.CannotInstallError as error:
        pytest.skip(str(error))
    if calls.NOT_RUN in text:
        pytest.skip("needs root: only root can become another user")
    now, recorded = parse(text), parse(record.RECORDING.read_text())
    assert list(now) == list(recorded)
    # In bad calls of send(), 1.2.0 reads uninitialised memory: on one machine it raises, on
    # another it crashes.
    assert not {
        call: (outcome, now[call])
        for call, outcome in recorded.items()
        if now[call] != outcome
        and not (now[call] == "crashed SIGSEGV" and re.match(BAD_SEND, f"{call} => {outcome}"))
    }
