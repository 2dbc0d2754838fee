"""Write the docstrings of the extension into its stubs, src/sysv_ipc/_core.pyi and _linux.pyi.

Editors read the stubs, not the extension, and show their docstrings.  The types in the stubs are
written by hand.  This script replaces the docstrings: those of classes, functions, methods and
attributes by the ones of the C code, those of constants by the texts of constants.toml.

    stub_docs.py [--check]

With --check, print the differences, and fail if there are any.  The package must be installed.
"""

import argparse
import ast
import difflib
import inspect
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import WrapperDescriptorType
from typing import NamedTuple

from sysv_ipc import _core

STUBS = (Path("src/sysv_ipc/_core.pyi"), Path("src/sysv_ipc/_linux.pyi"))
CONSTANTS = Path(__file__).with_name("constants.toml")
#: The widest line of Python code.
WIDTH = 100

Defined = ast.ClassDef | ast.FunctionDef


class Edit(NamedTuple):
    """Text that replaces the characters from start to end."""

    start: int
    end: int
    text: str


class Writer:
    """Collects what to change in a stub, and what is wrong with it."""

    def __init__(self, text: str, constants: dict[str, str]) -> None:
        """Begin with the stub as it is; the texts of its constants are taken out of the table."""
        self.text = text
        self.constants = constants
        self.edits: list[Edit] = []
        self.problems: list[str] = []
        lines = text.splitlines(keepends=True)
        self.starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]

    def changed(self) -> str:
        """Return the stub with the docstrings of today."""
        self.visit(ast.parse(self.text).body, _core, "")
        text = self.text
        for edit in sorted(self.edits, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text

    def visit(self, body: list[ast.stmt], owner: object, prefix: str) -> None:
        """Look at each definition of a module, a class or a block."""
        seen: set[str] = set()
        for number, node in enumerate(body):
            if isinstance(node, ast.ClassDef):
                doc = inspect.getdoc(getattr(owner, node.name))
                self.write_body(node, doc, f"{prefix}{node.name}")
                self.visit(node.body, getattr(owner, node.name), f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                # Of the overloads of a function, the first one has the docstring.
                doc = None if node.name in seen else docstring(owner, node.name)
                seen.add(node.name)
                self.write_body(node, doc, f"{prefix}{node.name}")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
                doc = docstring(owner, name) if prefix else self.constant(name)
                if doc is None and not prefix and not name.startswith("_"):
                    self.problems.append(f"{name}: constants.toml does not describe it")
                self.write_below(node, body[number + 1 : number + 2], doc, f"{prefix}{name}")

    def constant(self, name: str) -> str | None:
        """Return the text of a constant, in lines."""
        text = self.constants.pop(name, None)
        return text and textwrap.fill(text, WIDTH - 6)

    def write_body(self, node: Defined, doc: str | None, name: str) -> None:
        """Replace the docstring of a class or function; an empty body stays an ellipsis."""
        first, rest = node.body[0], node.body[1:]
        old = is_text(first)
        if doc is None and not old:
            return
        quoted = self.quote(doc, node.col_offset + 4, name)
        start = self.start(first)
        if old:
            text = quoted.lstrip() if doc else "" if rest else "..."
            self.edits.append(Edit(start, self.end(first), text))
        elif is_ellipsis(first):
            self.edits.append(Edit(start, self.end(first), f"\n{quoted}"))
        else:
            space = " " * (node.col_offset + 4)
            self.edits.append(Edit(start, start, f"{quoted.lstrip()}\n{space}"))

    def write_below(
        self, node: ast.AnnAssign, after: list[ast.stmt], doc: str | None, name: str
    ) -> None:
        """Replace the text below an attribute or a constant."""
        end = self.end(after[0]) if after and is_text(after[0]) else self.end(node)
        quoted = f"\n{self.quote(doc, node.col_offset, name)}" if doc else ""
        self.edits.append(Edit(self.end(node), end, quoted))

    def quote(self, doc: str | None, column: int, name: str) -> str:
        """Return a docstring as source text, in lines that begin at the column."""
        if doc is None:
            return ""
        lines = doc.splitlines()
        space = " " * column
        if "\\" in doc or '"""' in doc or doc.endswith('"'):
            self.problems.append(f"{name}: the docstring has a backslash, or quotes at its end")
        # Nuitka takes such lines for imports of the extension.
        if any(line.strip().startswith(("import ", "from ")) for line in lines):
            self.problems.append(f"{name}: a line of the docstring begins like an import")
        close = f'\n{space}"""' if len(lines) > 1 else '"""'
        body = "\n".join(space + line if line else "" for line in lines[1:])
        quoted = f'{space}"""{lines[0]}' + (f"\n{body}" if body else "") + close
        if too_long := [line for line in quoted.splitlines() if len(line) > WIDTH]:
            self.problems.append(f"{name}: a line is longer than {WIDTH} columns: {too_long[0]}")
        return quoted

    def start(self, node: ast.stmt) -> int:
        """Return the place of the first character of a statement, or of its first decorator."""
        decorators = getattr(node, "decorator_list", [])
        line = decorators[0].lineno if decorators else node.lineno
        return self.starts[line - 1] + node.col_offset

    def end(self, node: ast.stmt) -> int:
        """Return the place after the last character of a statement."""
        return self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)


def docstring(owner: object, name: str) -> str | None:
    """Return the docstring of a function or an attribute that the C code wrote for it."""
    if name in ("__new__", "__init__"):
        return None
    value = inspect.getattr_static(owner, name, None)
    # The docstring of the method of a slot is the same for all types.
    if value is None or isinstance(value, int | str | WrapperDescriptorType):
        return None
    doc: object = getattr(value, "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) and doc else None


def is_text(node: ast.stmt) -> bool:
    """Return True if a statement is a string."""
    return isinstance(node, ast.Expr) and (
        isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def is_ellipsis(node: ast.stmt) -> bool:
    """Return True if a statement is an ellipsis."""
    return isinstance(node, ast.Expr) and (
        isinstance(node.value, ast.Constant) and node.value.value is ...
    )


def formatted(text: str, path: Path) -> str:
    """Return a stub as ruff formats it."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "format", "--quiet", "--stdin-filename", str(path), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def differences(old: str, new: str, name: str) -> Iterator[str]:
    """Yield the lines of a unified diff."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    yield from difflib.unified_diff(before, after, name, f"{name} as it should be")


def main() -> int:
    """Write or check the stubs."""
    parser = argparse.ArgumentParser(description="Write the docstrings of the extension.")
    parser.add_argument("--check", action="store_true", help="only print the differences")
    check = parser.parse_args().check
    constants: dict[str, str] = tomllib.loads(CONSTANTS.read_text())
    problems: list[str] = []
    changes: list[str] = []
    for path in STUBS:
        old = path.read_text()
        writer = Writer(old, constants)
        new = formatted(writer.changed(), path)
        problems += writer.problems
        changes += differences(old, new, str(path))
        if not check:
            path.write_text(new)
    problems += [f"{name}: constants.toml has it, but no stub" for name in constants]
    sys.stdout.writelines(changes if check else [])
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems or (check and changes) else 0


if __name__ == "__main__":
    sys.exit(main())
