"""The README and the docs: their code runs and prints the output shown, and their links work.

A block of text that follows a block of Python is its output.
"""

from __future__ import annotations

import functools
import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import ROOT

pytestmark = pytest.mark.once

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)
#: Instructions for Sphinx, such as a table of contents.
DIRECTIVE = re.compile(r"^```\{.*?^```$", re.M | re.S)
LANGUAGES = {"c", "perl", "php", "pycon", "python", "ruby", "sh", "text", "yaml"}
#: tests/project/test_tutorial.py runs its commands.
TUTORIAL = ROOT / "docs/tutorial.md"
#: How pages install the library; `make package` tests that.
INSTALL = {"python3 -m venv env", ". env/bin/activate", "pip install ."}


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str
    #: The block of text directly after it.
    output: str | None
    #: True if it is one of two programs that wait for each other: see test_quickstart.py.
    terminal: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    top = (path for path in ROOT.glob("*.md"))
    deep = (path for name in ("docs", "examples") for path in (ROOT / name).rglob("*.md"))
    return sorted([*top, *deep])


def blocks_of(page: Path) -> list[Block]:
    text = DIRECTIVE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text())
    found = list(FENCE.finditer(text))
    blocks = []
    for match, following in itertools.zip_longest(found, found[1:]):
        output = None
        if following is not None and following["language"] == "text":
            between = text[match.end() : following.start()]
            output = None if between.strip() else following["text"]
        line = text.count("\n", 0, match.start()) + 1
        terminal = text[: match.start()].endswith(" terminal:**\n\n")
        blocks.append(Block(page, line, match["language"], match["text"], output, terminal))
    return blocks


PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_example(block: Block) -> bool:
    """Return True if a recipe shows a part of an example that it links to: a test runs that."""
    if block.page.parent != ROOT / "docs/how-to":
        return False
    links = re.findall(r"\]\((\.\./\.\./examples/[^)]+)\)", block.page.read_text())
    return any(block.text in (block.page.parent / link).read_text() for link in links)


#: Blocks that are complete programs.
PROGRAMS = [b for b in BLOCKS if b.language == "python" and not b.terminal and not in_example(b)]


def in_language(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and not block.terminal]


@functools.cache
def run(block: Block) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "block.py")
        script.write_text(block.text)
        command = [sys.executable, "-W", "error", str(script)]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


SHELL = [b for b in in_language("sh") if b.page != TUTORIAL and not in_example(b)]


def read(name: str) -> str:
    return (ROOT / name).read_text()


# ------------------------------------------------------------------------------------ code


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_python_runs(block: Block) -> None:
    result = run(block)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("block", [b for b in PROGRAMS if b.output], ids=str)
def test_python_prints_the_output_shown_on_the_page(block: Block) -> None:
    assert run(block).stdout == block.output


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_commands_are_valid_for_make_and_pip(block: Block) -> None:
    for line in block.text.splitlines():
        words = line.split()
        assert line in INSTALL or (words[0] == "make" and words[1] in TARGETS)


@pytest.mark.parametrize(
    "block",
    [b for b in BLOCKS if b.page.parent.name == "how-to" and b.language not in ("python", "text")],
    ids=str,
)
def test_a_recipe_shows_its_example_as_it_is(block: Block) -> None:
    assert in_example(block) or block.language == "sh"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_names_its_language(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize(
    ("language", "suffix"), [("c", "c"), ("perl", "pl"), ("php", "php"), ("ruby", "rb")]
)
def test_key_recipe_is_that_of_the_example(language: str, suffix: str) -> None:
    page = ROOT / "docs/reference/keys.md"
    (block,) = (block for block in blocks_of(page) if block.language == language)
    assert block.text in read(f"examples/key_from_name.{suffix}")


def test_the_page_of_tasks_shows_the_example_with_trio_and_anyio() -> None:
    shown = [block.text for block in blocks_of(ROOT / "docs/reference/aio_tasks.md")]
    program = read("examples/trio_and_anyio.py")
    assert program[program.index("import copy") :] in shown


# ----------------------------------------------------------------------------------- words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"^\[.+\]: (\S+)$", text, re.MULTILINE)
    missing = [
        link
        for link in links
        if not re.match("inv:|.*://", link) and not (page.parent / link.partition("#")[0]).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_at_most_120_wide(page: Path) -> None:
    wide = [n for n, line in enumerate(page.read_text().splitlines(), 1) if len(line) > 120]
    assert wide == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_targets_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", page.read_text()))
    assert named <= TARGETS


def map_of_the_repository() -> str:
    return read("CONTRIBUTING.md").partition("## The map")[2].partition("Texts that users")[0]


def test_map_names_existing_files() -> None:
    named = re.findall(r"^\| `([\w./]+)`", map_of_the_repository(), re.MULTILINE)
    assert len(named) > 5
    # Next to an installed wheel there is no source tree, so its files cannot be checked.
    absent = "src/" if not (ROOT / "src").exists() else "?"
    named = [path for path in named if "/" in path and not path.startswith(absent)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_map_names_every_folder() -> None:
    tracked = {"benchmarks", "docs", "examples", "src", "tests", "tools"}
    map = map_of_the_repository()
    assert {name for name in tracked if f"`{name}/" not in map} == set()
