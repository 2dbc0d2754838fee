"""The README and the docs: their code runs and prints the output shown, and their links work.

A block of text that follows a block of Python is its output.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import ROOT

import sysv_ipc

pytestmark = pytest.mark.once

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)
LANGUAGES = {"c", "perl", "php", "python", "sh", "text"}


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str
    #: The block of text directly after it.
    output: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    top = (path for path in ROOT.glob("*.md"))
    deep = (path for name in ("docs", "examples") for path in (ROOT / name).rglob("*.md"))
    return sorted([*top, *deep])


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = list(FENCE.finditer(text))
    blocks = []
    for match, following in itertools.zip_longest(found, found[1:]):
        output = None
        if following is not None and following["language"] == "text":
            between = text[match.end() : following.start()]
            output = None if between.strip() else following["text"]
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(page, line, match["language"], match["text"], output))
    return blocks


ERRORS = {
    name
    for name, value in vars(sysv_ipc).items()
    if isinstance(value, type) and issubclass(value, sysv_ipc.Error)
}
PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_language(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "block.py"
    script.write_text(block.text)
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


def read(name: str) -> str:
    return (ROOT / name).read_text()


# ------------------------------------------------------------------------------------ code


@pytest.mark.parametrize("block", in_language("python"), ids=str)
def test_python_runs(block: Block, tmp_path: Path) -> None:
    result = run(block, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("block", [b for b in in_language("python") if b.output], ids=str)
def test_python_prints_the_output_shown_on_the_page(block: Block, tmp_path: Path) -> None:
    assert run(block, tmp_path).stdout == block.output


@pytest.mark.parametrize("block", in_language("sh"), ids=str)
def test_shell_commands_are_valid_for_make_and_pip(block: Block) -> None:
    for line in block.text.splitlines():
        words = line.split()
        installs = line in {"pip install .", "pip install sysv_ipc"}
        assert installs or (words[0] == "make" and words[1] in TARGETS)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_names_its_language(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize(("language", "suffix"), [("c", "c"), ("perl", "pl"), ("php", "php")])
def test_key_recipe_is_that_of_the_example(language: str, suffix: str) -> None:
    page = ROOT / "docs/reference/keys.md"
    (block,) = (block for block in blocks_of(page) if block.language == language)
    assert block.text in read(f"examples/key_from_name.{suffix}")


def test_the_page_of_aio_shows_the_example_with_trio_and_anyio() -> None:
    shown = [block.text for block in blocks_of(ROOT / "docs/reference/aio.md")]
    program = read("examples/trio_and_anyio.py")
    assert program[program.index("import copy") :] in shown


def test_readme_shows_the_quickstart() -> None:
    shown = next(block.text for block in blocks_of(ROOT / "README.md") if "ftok" in block.text)
    docstring, program = read("examples/quickstart.py").split("\n\n", 1)
    assert docstring.startswith('"""')
    assert shown == program


# ----------------------------------------------------------------------------------- words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    missing = [
        link
        for link in links
        if "://" not in link and not (page.parent / link.partition("#")[0]).exists()
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


def test_map_of_the_readme_names_existing_files() -> None:
    named = re.findall(r"^\| `([\w./]+)`", read("README.md"), re.MULTILINE)
    assert len(named) > 5
    # Next to an installed wheel there is no source tree, so its files cannot be checked.
    absent = "src/" if not (ROOT / "src").exists() else "?"
    named = [path for path in named if "/" in path and not path.startswith(absent)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_map_of_the_readme_names_every_folder() -> None:
    tracked = {"benchmarks", "docs", "examples", "src", "tests", "tools"}
    map = read("README.md").partition("## The map")[2].partition("## How")[0]
    assert {name for name in tracked if f"`{name}/" not in map} == set()


# ------------------------------------------------------------------------------- reference


def names_in(page: str) -> set[str]:
    """Return every name in the code of a page: `send(message)` mentions send and message."""
    spans = re.findall(r"`([^`\n]+)`", read(page))
    return {name for span in spans for name in re.findall(r"\w+", span)}


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize(
    ("cls", "page"),
    [
        (sysv_ipc.Semaphore, "semaphore"),
        (sysv_ipc.SemaphoreSet, "semaphore_set"),
        (sysv_ipc.SharedMemory, "shared_memory"),
        (sysv_ipc.Atomic, "atomic"),
        (sysv_ipc.MessageQueue, "message_queue"),
    ],
)
def test_page_mentions_every_attribute(cls: type, page: str) -> None:
    assert public(dir(cls)) - names_in(f"docs/reference/{page}.md") == set()


@pytest.mark.parametrize(
    ("cls", "page"),
    [
        (sysv_ipc.Semaphore, "semaphore"),
        (sysv_ipc.SemaphoreSet, "semaphore_set"),
        (sysv_ipc.SharedMemory, "shared_memory"),
        (sysv_ipc.MessageQueue, "message_queue"),
    ],
)
def test_page_has_the_signature_of_the_constructor(cls: type, page: str) -> None:
    signature = f"{cls.__name__}{cls.__text_signature__}"
    assert f"`{signature}`" in read(f"docs/reference/{page}.md")


def test_page_of_errors_mentions_every_class() -> None:
    classes = {
        name
        for name, value in vars(sysv_ipc).items()
        if isinstance(value, type) and issubclass(value, sysv_ipc.Error)
    }
    assert classes - names_in("docs/reference/errors.md") == set()


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_bases_in_the_page_of_errors_are_true(name: str) -> None:
    row = re.search(rf"^\| `{name}` \|([^|]*)\|", read("docs/reference/errors.md"), re.MULTILINE)
    assert row is not None
    bases = {base.__name__ for base in getattr(sysv_ipc, name).__mro__}
    assert set(re.findall(r"`(\w+)`", row[1])) <= bases


def test_index_mentions_every_function_and_constant() -> None:
    named = names_in("docs/reference/index.md")
    # Huge pages come in many sizes, and the classes of errors have a page of their own.
    missing = {
        name
        for name in vars(sysv_ipc)["__all__"]
        if not name.startswith("SHM_HUGE_") and name not in ERRORS
    }
    assert missing - named == set()
