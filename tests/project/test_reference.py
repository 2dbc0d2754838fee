"""The reference has an entry for every public name, and each entry has the right signature.

An entry is a heading with the text below it.  Its first paragraph is the signature, which must
agree with _core.pyi and aio.py.
"""

from __future__ import annotations

import ast
import copy
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import calls
import pytest
from helpers import ROOT

import sysv_ipc
from sysv_ipc import aio

REFERENCE = ROOT / "docs/reference"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for name in ("docs", "examples") for page in (ROOT / name).rglob("*.md")),
    ]
)

#: The pages of each class, the one with its constructor first.
PAGES_OF: dict[Any, tuple[str, ...]] = {
    sysv_ipc.Semaphore: ("semaphore",),
    sysv_ipc.SemaphoreSet: ("semaphore_set",),
    sysv_ipc.SemaphoreOperations: ("semaphore_set",),
    sysv_ipc.SharedMemory: ("shared_memory", "shared_memory_bytes"),
    sysv_ipc.Atomic: ("atomic",),
    sysv_ipc.MessageQueue: ("message_queue",),
    aio.Semaphore: ("aio",),
    aio.SemaphoreSet: ("aio",),
    aio.MessageQueue: ("aio",),
}
#: The pages with entries that hold for several classes.
SHARED = ("handles", "waiting")
#: The headings for special methods.
OPERATORS = {
    "__enter__": "The with statement",
    "__exit__": "The with statement",
    "__len__": "len()",
    "__bool__": "len()",
    "__iter__": "Iteration",
    "__next__": "Iteration",
    "__getitem__": "Indexing",
    "__setitem__": "Indexing",
    "__delitem__": "Indexing",
    "__call__": "Calling",
    "__eq__": "Equality",
    "__hash__": "Equality",
    "__reduce__": "Pickling",
    "__repr__": "repr()",
}
#: Entries that need no example: another name for another entry.
ALIASES = {"Semaphore.P", "Semaphore.V", "Semaphore.o_time", "SemaphoreSet.o_time"}

HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Entry(NamedTuple):
    """A heading and the text up to the next heading."""

    page: str
    heading: str
    text: str

    @property
    def signature(self) -> str:
        """The code with which the first paragraph begins."""
        match = re.match(r"`([^`]+)`", self.text)
        assert match is not None, f"{self.page}.md: {self.heading} has no signature"
        return match[1].removeprefix("await ").removeprefix("aio.")

    @property
    def access(self) -> str:
        """The words after the signature of an attribute."""
        return self.text.partition("\n")[0].rpartition("`")[2].strip(" ,.")

    @property
    def examples(self) -> str:
        """The blocks of Python in the text."""
        return "".join(code for language, code in FENCE.findall(self.text) if language == "python")


def without_code(text: str) -> str:
    """Replace blocks of code by empty lines: a comment in them looks like a heading."""
    return FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)


@functools.cache
def entries_of(page: str) -> tuple[Entry, ...]:
    """Return the entries of a page of the reference."""
    text = (REFERENCE / f"{page}.md").read_text()
    hidden = FENCE.sub(lambda match: re.sub(r"[^\n]", "x", match[0]), text)
    found = list(HEADING.finditer(hidden))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return tuple(
        Entry(page, match[2], text[match.end() : end].strip())
        for match, end in zip(found, ends, strict=True)
    )


def entry(pages: tuple[str, ...], *headings: str) -> Entry:
    """Return the entry with the first of these headings that the pages have.

    Fail if there is none, or more than one.
    """
    for heading in headings:
        found = [one for page in pages for one in entries_of(page) if one.heading == heading]
        assert len(found) <= 1, f"{pages} have {len(found)} headings {heading!r}"
        if found != []:
            return found[0]
    raise AssertionError(f"no page of {pages} has a heading {' or '.join(headings)!r}")


def entry_of(cls: Any, name: str) -> Entry:
    """Return the entry of a member: that of the class, otherwise that of all kinds."""
    if name.startswith("__"):
        return entry((*PAGES_OF[cls], *SHARED), OPERATORS[name])
    if cls in calls.AIO:
        return entry(PAGES_OF[cls], f"aio.{cls.__name__}.{name}", name)
    return entry((*PAGES_OF[cls], *SHARED), f"{cls.__name__}.{name}", name)


# ----------------------------------------------------------------------------- the stub


def tree(name: str) -> ast.Module:
    """Parse a file of the package."""
    return ast.parse((Path(sysv_ipc.__file__).parent / name).read_text())


STUB = tree("_core.pyi")
AIO = tree("aio.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def members(module: ast.Module, cls: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names and definitions of a class, those of its base classes in the module too."""
    node = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == cls)
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id == "_Handle":
            yield from members(module, base.id)
    for one in node.body:
        if isinstance(one, Function):
            yield one.name, one
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id, one


def definitions(module: ast.Module, cls: str, name: str) -> list[ast.stmt]:
    """Return the definitions of a member: several if it is overloaded, or has a setter."""
    found = [node for known, node in members(module, cls) if known == name]
    assert found != [], f"{cls}.{name} is not in the stub"
    return found


def functions(name: str) -> list[Function]:
    """Return the definitions of a function of the module."""
    return [node for node in STUB.body if isinstance(node, Function) and node.name == name]


def decorators(node: ast.stmt) -> set[str]:
    """Return the decorators of a definition."""
    return {ast.unparse(one) for one in getattr(node, "decorator_list", [])}


def parameters(node: Function, *, bound: bool) -> str:
    """Return the parameters with their kinds and defaults, without types, self and cls."""
    arguments = copy.deepcopy(node.args)
    for one in ast.walk(arguments):
        if isinstance(one, ast.arg):
            one.annotation = None
    if bound:
        del (arguments.posonlyargs or arguments.args)[0]
    return ast.unparse(arguments)


def result(node: Function, cls: str) -> str | None:
    """Return what a function returns, as a reader writes it."""
    if node.returns is None:
        return None
    text = ast.unparse(node.returns)
    text = re.sub(r"^Coroutine\[Any, Any, (.*)\]$", r"\1", text)
    text = text.replace("_Message", "tuple[bytes, int]").replace("NDArray[Any]", "numpy.ndarray")
    text = text.replace("memoryview[Any]", "memoryview")
    return re.sub(r"\bSelf\b", cls, text)


def documented(signature: str) -> Function:
    """Parse a signature of the reference."""
    node = ast.parse(f"def {signature}: pass").body[0]
    assert isinstance(node, Function)
    return node


def check_call(one: Entry, name: str, definitions: Sequence[ast.stmt], cls: str) -> None:
    """Check the signature of an entry against one definition, or against several overloads."""
    written = documented(one.signature)
    nodes = [node for node in definitions if isinstance(node, Function)]
    assert written.name == name
    expected = [parameters(node, bound=cls != "") for node in nodes]
    assert parameters(written, bound=False) in expected
    returned = result(written, cls) or "None"
    if len(nodes) == 1 and name != cls:
        assert returned == result(nodes[0], cls)


def check_attribute(one: Entry, name: str, nodes: list[ast.stmt], cls: str) -> None:
    """Check type and access in an entry against a property or a variable."""
    first = nodes[0]
    writable = len(nodes) > 1 or isinstance(first, ast.AnnAssign)
    if isinstance(first, ast.AnnAssign):
        kind: str | None = ast.unparse(first.annotation)
    else:
        assert isinstance(first, Function)
        kind = result(first, cls)
    assert one.signature == f"{name}: {kind}"
    assert one.access == ("writable" if writable else "read-only")


def check(one: Entry, module: ast.Module, cls: str, name: str) -> None:
    """Check the entry of a method or an attribute."""
    nodes = definitions(module, cls, name)
    if "property" in decorators(nodes[0]) or isinstance(nodes[0], ast.AnnAssign):
        check_attribute(one, name, nodes, cls)
        return
    check_call(one, name, nodes, cls)


# --------------------------------------------------------------------------------- entries


def rows(table: dict[Any, dict[str, Any]], *, special: bool = False) -> list[Any]:
    """Return the class and name of the public members, or special methods, in a table."""
    return [
        pytest.param(cls, name, id=f"{cls.__module__}.{cls.__name__}.{name}")
        for cls, members in table.items()
        for name in members
        if name.startswith("__") == special
    ]


@pytest.mark.parametrize(("cls", "name"), rows(calls.TABLE))
def test_entry_of_a_member_has_its_signature(cls: Any, name: str) -> None:
    check(entry_of(cls, name), STUB, cls.__name__, name)


@pytest.mark.parametrize(("cls", "name"), rows(calls.AIO))
def test_entry_of_a_member_of_aio_has_its_signature(cls: Any, name: str) -> None:
    check(entry_of(cls, name), AIO, cls.__name__, name)


@pytest.mark.parametrize(("cls", "name"), rows(calls.TABLE, special=True))
def test_operators_have_an_entry(cls: Any, name: str) -> None:
    assert entry_of(cls, name).text != ""


@pytest.mark.parametrize("cls", calls.CONSTRUCTORS)
def test_entry_of_a_class_has_the_signature_of_its_constructor(cls: Any) -> None:
    one = entry(PAGES_OF[cls], cls.__name__)
    check_call(one, cls.__name__, definitions(STUB, cls.__name__, "__init__"), cls.__name__)


@pytest.mark.parametrize("cls", calls.AIO)
def test_entry_of_a_class_of_aio_has_the_signature_of_its_constructor(cls: Any) -> None:
    one = entry(PAGES_OF[cls], f"aio.{cls.__name__}")
    check_call(one, cls.__name__, definitions(AIO, cls.__name__, "__init__"), cls.__name__)


def pages() -> list[str]:
    """Return the names of the pages of the reference."""
    return [path.stem for path in sorted(REFERENCE.glob("*.md"))]


def entry_of_function(name: str) -> Entry:
    """Return the entry of a function; a member of aio's classes may have the same heading."""
    return entry(tuple(page for page in pages() if page != "aio"), name)


@pytest.mark.parametrize("name", calls.FUNCTIONS)
def test_entry_of_a_function_has_its_signature(name: str) -> None:
    check_call(entry_of_function(name), name, functions(name), "")


EXCEPTIONS = [
    name
    for name in sysv_ipc.__all__
    if isinstance(getattr(sysv_ipc, name), type)
    and issubclass(getattr(sysv_ipc, name), BaseException)
]
RECORDS = [
    name
    for name in sysv_ipc.__all__
    if isinstance(getattr(sysv_ipc, name), type) and issubclass(getattr(sysv_ipc, name), tuple)
]


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_entry_of_an_exception_has_its_bases(name: str) -> None:
    bases = ", ".join(base.__name__ for base in getattr(sysv_ipc, name).__bases__)
    assert entry(("errors",), name).signature == f"class {name}({bases})"


@pytest.mark.parametrize("name", ["kind", "key", "id"])
def test_entry_of_an_attribute_of_errors_has_its_type(name: str) -> None:
    check(entry(("errors",), f"Error.{name}"), STUB, "Error", name)


@pytest.mark.parametrize("name", RECORDS)
def test_entry_of_a_record_has_every_field_in_order(name: str) -> None:
    one = entry(("records",), name)
    written = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", one.text.replace("\\|", "or"), re.M)
    fields = [
        (field, ast.unparse(node.returns).replace("|", "or"))
        for field, node in members(STUB, name)
        if isinstance(node, Function) and node.returns and "property" in decorators(node)
    ]
    assert [(field, kind.strip("`")) for field, kind in written] == fields
    assert one.signature == f"class {name}(tuple)"


@pytest.mark.parametrize("cls", [sysv_ipc.Atomic, sysv_ipc.SemaphoreOperations])
def test_class_without_a_constructor_has_an_entry(cls: Any) -> None:
    assert entry(PAGES_OF[cls], cls.__name__).signature == f"class {cls.__name__}"


def test_every_constant_is_in_a_group() -> None:
    text = (REFERENCE / "constants.md").read_text()
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    constants = {name for name in sysv_ipc.__all__ if name.isupper()}
    assert constants - named == set()
    assert {name for name in named if not hasattr(sysv_ipc, name)} == set()


def test_every_public_name_is_of_one_of_these_sorts() -> None:
    classes = {cls.__name__ for cls in calls.TABLE}
    sorts = {*classes, *calls.FUNCTIONS, *EXCEPTIONS, *RECORDS}
    assert {n for n in sysv_ipc.__all__ if not n.isupper()} == sorts


@pytest.mark.parametrize("name", [name for name in EXCEPTIONS if name != "ArgumentWarning"])
def test_bases_in_the_table_of_errors_are_true(name: str) -> None:
    text = (REFERENCE / "errors.md").read_text()
    row = re.search(rf"^\| \[`{name}`\]\(\S+\) \|([^|]*)\|", text, re.MULTILINE)
    assert row is not None, name
    bases = {base.__name__ for base in getattr(sysv_ipc, name).__mro__}
    assert set(re.findall(r"`(\w+)`", row[1])) <= bases


# -------------------------------------------------------------------------------- examples


@pytest.mark.parametrize(("cls", "name"), [*rows(calls.TABLE), *rows(calls.AIO)])
def test_entry_of_a_method_has_an_example(cls: Any, name: str) -> None:
    one = entry_of(cls, name)
    if callable(getattr(cls, name)) and one.heading not in ALIASES:
        assert re.search(rf"\b{name}\(", one.examples) is not None


@pytest.mark.parametrize("name", calls.FUNCTIONS)
def test_entry_of_a_function_has_an_example(name: str) -> None:
    assert re.search(rf"\b{name}\(", entry_of_function(name).examples) is not None


@pytest.mark.parametrize(("cls", "name"), [*rows(calls.TABLE), *rows(calls.AIO)])
def test_examples_of_a_page_use_every_attribute(cls: Any, name: str) -> None:
    one = entry_of(cls, name)
    code = "".join(other.examples for other in entries_of(one.page))
    assert one.heading in ALIASES or f".{name}" in code


# ----------------------------------------------------------------------------------- links


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and MyST make of a heading."""
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


@functools.cache
def anchors_of(path: Path) -> list[str]:
    """Return the anchors of a page."""
    return [anchor(match[2]) for match in HEADING.finditer(without_code(path.read_text()))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_headings_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", without_code(page.read_text()))
    missing = [
        f"{target}#{name}"
        for target, name in links
        if name not in anchors_of(page.parent / target if target else page)
    ]
    assert missing == []


@pytest.mark.parametrize("page", pages())
def test_headings_of_a_page_skip_no_level(page: str) -> None:
    text = without_code((REFERENCE / f"{page}.md").read_text())
    levels = [len(match[1]) for match in HEADING.finditer(text)]
    assert [later for level, later in itertools.pairwise(levels) if later > level + 1] == []


@pytest.mark.parametrize("page", pages())
def test_anchors_of_a_page_differ(page: str) -> None:
    anchors = [anchor(one.heading) for one in entries_of(page)]
    assert sorted(anchors) == sorted(set(anchors))


@pytest.mark.parametrize("page", [page for page in pages() if page != "index"])
def test_a_page_lists_its_entries_first(page: str) -> None:
    """Every entry with a signature is a link in a table above it."""
    signature = re.compile(r"`[^`]+`(, (writable|read-only))?$", re.MULTILINE)
    own = [one for one in entries_of(page) if signature.match(one.text)]
    first = "".join(one.text for one in entries_of(page) if one not in own[1:])
    linked = set(re.findall(r"\]\(#([^)]+)\)", first))
    assert {anchor(one.heading) for one in own[1:]} - linked == set()


def test_the_index_links_every_public_name() -> None:
    text = (REFERENCE / "index.md").read_text()
    linked = {name for names in re.findall(r"\[([^\]]+)\]\(", text) for name in names.split("`")}
    assert set(sysv_ipc.__all__) - {n for n in sysv_ipc.__all__ if "HUGE_" in n} - linked == set()


def test_the_index_names_every_page() -> None:
    text = (REFERENCE / "index.md").read_text()
    assert [page for page in pages() if page != "index" and f"({page}.md)" not in text] == []
    assert set(aio.__all__) <= set(re.findall(r"\[`aio\.(\w+)`\]", text))
