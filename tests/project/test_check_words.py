"""tools/check_words.py finds each phrase in each kind of file, and only in texts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parents[2] / "tools/check_words.py"

#: A sentence for each rule, in their order.
FOUND = [
    "Somebody changed it.",
    "The file is not to be had.",
    "The set is to be removed.",
    "The page tells of errors.",
    "It is told in the index.",
    "Who wants to take more than there is waits.",
    "The list names those who wait.",
    "What is wrong is raised.",
    "Whether the set exists.",
    "Raise an error where nothing is there.",
    "Return None where it is full.",
    "Return False where that fails.",
    "Send so many messages.",
    "Return the name in words.",
    "It stays so.",
    "This is all that exists.",
    "Besides, the queue is full.",
    "It pins the segment as a view does.",
    "It waits for ever.",
    "The queue has gone.",
    "The caller may not look into it.",
    "The function and its sisters are here.",
    "It removed a stranger's set.",
    "The file is made anew.",
    "It works all the same.",
    "It tries again and again.",
    "A set in the making is marked.",
    "It lets go.",
    "The wait goes on.",
    "Return a message, else None.",
    "A str is no key.",
    "A str which is no key.",
    "It is a table of ours.",
    "Return whatever there is.",
    "It stands in the list.",
    "Each in its turn waits.",
    "The caller can mend it.",
    "A view is in the way.",
    "See to it that it ends.",
    "It is known by what it is.",
    "The id names another set by now.",
    "The exception comes through.",
    "The test shows what becomes of each call.",
    "The segment goes with the handle.",
    "It looks whether the set exists.",
    "It is nearly always a slip.",
]
#: Sentences that resemble those, and are plain.
PLAIN = """
The page says where semaphores are implemented and which tests exist.
A user who may read the set gets a record.  Who removed it?  What now?
The bytes are all the same.  It goes on a list.  There is no key.  It is no longer here.
The error that comes out of a call is raised now.  A slippery set goes without a key.
It writes as many messages as fit, so it is fast, so that the test ends.
If it exists, open it, otherwise create it.  Ask whether it exists.
"""


@pytest.fixture(scope="module")
def check_words() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("check_words", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problems(root: Path) -> list[str]:
    """The lines that the script prints for a tree."""
    done = subprocess.run(
        [sys.executable, SCRIPT, root], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1 if lines else 0, "")
    return lines


def test_each_rule_has_a_sentence(check_words: ModuleType) -> None:
    assert len(check_words.RULES) == len(FOUND)


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_phrase_is_found(check_words: ModuleType, tmp_path: Path, number: int) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# Title\n\n{FOUND[number]}\n")
    found = [problem.text for problem in check_words.check_file(tmp_path, page)]
    assert any(text.endswith(f": {check_words.RULES[number].instead}") for text in found)


def test_plain_text_passes(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(PLAIN)
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "A page.\n\n- It waits for\n  ever.\n"),
        ("docs/a.md", "A page.\n\n| it | waits for ever |\n"),
        ("tools/a.py", "x = 1\n\n#: It waits for\n#: ever.\n"),
        ("tools/a.py", '"""Docstring.\n\nIt waits for\never."""\n'),
        ("tools/a.py", 'x = (\n    f"{x} waits"\n    " for ever")\n'),
        ("src/sysv_ipc/a.pyi", "\n\nx: int  # waits for ever\n"),
        ("tools/a.sh", "#!/bin/sh\n# It waits\n# for ever.\n"),
        ("tools/a.c", "int x;\n/* It waits for\n * ever. */\n"),
        ("tools/a.c", '#include "a b"\nf("waits for "\n  "ever");\n'),
        ("tools/a.h", '\n\n#define X "waits for " \\\n    "ever"\n'),
        (".ci/run", "#!/bin/sh\n\n# It waits for ever.\n"),
        ("Makefile", "\n\nall: ## wait for ever\n"),
    ],
)
def test_phrase_is_found_in_each_kind_of_file(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    (line,) = problems(tmp_path)
    assert line.startswith((f'{name}:2: "for ever": ', f'{name}:3: "for ever": '))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "A page with `all that` and\n\n```sh\nfor ever\n```\n"),
        ("README.md", "See [the page](for/ever).\n\nfor\n\never\n"),
        ("tools/a.py", "all = that = for_ever\nin_words = 1 if all else None\n"),
        ("tools/a.py", "x = 1  # for\ny = 2  # ever\n"),
        ("tools/a.c", "int mend, sisters; /* for */ int x; /* ever */\nchar c = '\"';\n"),
        ("docs/a.txt", "It waits for ever.\n"),
    ],
)
def test_code_and_other_files_pass(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert problems(tmp_path) == []


def test_an_exempt_text_passes_until_it_is_no_longer_there(
    check_words: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exempt = "none was to be had"
    monkeypatch.setattr(check_words, "EXEMPT", (("tools/*.c", exempt),))
    file = tmp_path / "tools/a.c"
    file.parent.mkdir()
    file.write_text(f'f("{exempt}");\n')
    assert list(check_words.check_file(tmp_path, file)) == []
    file.write_text(f'f("{exempt}");\n/* It waits for ever. */\n')
    (problem,) = check_words.check_file(tmp_path, file)
    assert (problem.line, problem.text.partition(":")[0]) == (2, '"for ever"')
    file.write_text("int x;\n")
    (problem,) = check_words.check_file(tmp_path, file)
    assert problem.text == f"{exempt!r} is not here: remove it from EXEMPT"


def test_the_script_does_not_check_itself(check_words: ModuleType) -> None:
    names = {file.name for file in check_words.files(SCRIPT.parents[1])}
    assert "check_c.py" in names
    assert names.isdisjoint({"check_words.py", "test_check_words.py"})
