"""Check the rules for C that no compiler checks.

- The system layer, src/os, never includes Python.h.
- While the GIL is released, only os_ functions, memcpy, memmove and memset
  are called, and there is no return.
- No return or goto leaves a critical section.
- Lines have at most 79 columns, functions 60 lines, files 600 lines.
- Differences between platforms are in src/os.
- Every script in tools/ has a line in tools/README.md.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CORE, SYSTEM = "src/core", "src/os"
FOLDERS = ("src", "tests", "examples", "benchmarks")
LINE, FUNCTION, FILE = 79, 60, 600

PLATFORM = re.compile(
    r"\b(__linux__|__linux|linux|__APPLE__|__MACH__|__FreeBSD__|__NetBSD__|__OpenBSD__|_WIN32)\b"
)
CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
JUMP = re.compile(r"\b(return|goto)\b")
CALLED_WITHOUT_GIL = re.compile(r"os_\w+|memcpy|memmove|memset")
KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "_Alignof", "_Static_assert"}


class Problem(NamedTuple):
    """A rule that a line of a file breaks, and what to do about it."""

    path: Path
    line: int
    text: str


class Region(NamedTuple):
    """The text between two macros, and the lines of the macros."""

    begin: int
    end: int
    text: str


def blank(match: re.Match[str]) -> str:
    """Return spaces instead of the text, so that lines and columns do not move."""
    return re.sub(r"[^\n]", " ", match[0])


def without_comments(text: str) -> str:
    """Blank comments, strings and characters."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.DOTALL)


def without_directives(code: str) -> str:
    """Blank preprocessor directives, with continued lines."""
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", blank, code, flags=re.MULTILINE)


def line_at(text: str, position: int) -> int:
    """Return the number of the line of a position."""
    return text.count("\n", 0, position) + 1


def functions(code: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each function."""
    start = opened = None
    depth = 0
    for match in re.finditer(r"[{};]|^\S", code, flags=re.MULTILINE):
        token, position = match[0], match.start()
        if depth == 0 and start is None and token not in "{};":
            start = position
        if token == "{":
            if depth == 0 and code[:position].rstrip().endswith(")"):
                opened = start
            depth += 1
        elif token == "}":
            depth = max(depth - 1, 0)
            if depth == 0 and opened is not None:
                yield line_at(code, opened), line_at(code, position)
                opened = None
        if depth == 0 and token in "};":
            start = None


def regions(code: str, begin: str, end: str) -> Iterator[Region]:
    """Yield the regions between the outermost pairs of two macros.

    A region without an end macro ends with its function, and its end is 0.
    """
    depth = start = 0
    for match in re.finditer(rf"\b\w*(?:({begin})|({end}))\w*|^\}}", code, flags=re.MULTILINE):
        if match[1]:
            depth += 1
            start = start if depth > 1 else match.end()
            continue
        if depth == 0:
            continue
        depth = depth - 1 if match[2] else 0
        if depth == 0:
            closed = line_at(code, match.start()) if match[2] else 0
            yield Region(line_at(code, start), closed, code[start : match.start()])


def jumps(path: Path, region: Region, where: str) -> Iterator[Problem]:
    """Yield jumps out of a region, and a region without an end."""
    if region.end == 0:
        yield Problem(path, region.begin, f"{where} is not closed in this function: close it")
    for match in JUMP.finditer(region.text):
        line = region.begin + region.text.count("\n", 0, match.start())
        yield Problem(
            path, line, f"{match[1]} inside {where}: keep the result, leave after its end"
        )


def check_gil(path: Path, code: str) -> Iterator[Problem]:
    """Yield calls without the GIL of other functions than system calls and copies."""
    begin, end = "BEGIN_ALLOW_THREADS|PyEval_SaveThread", "END_ALLOW_THREADS|PyEval_RestoreThread"
    for region in regions(code, begin, end):
        yield from jumps(path, region, "a part that runs without the GIL")
        for match in CALL.finditer(region.text):
            name = match[1]
            line = region.begin + region.text.count("\n", 0, match.start())
            if name in KEYWORDS or CALLED_WITHOUT_GIL.fullmatch(name):
                continue
            yield Problem(path, line, f"{name}() without the GIL: call it before or after")


def check_critical_sections(path: Path, code: str) -> Iterator[Problem]:
    """Yield jumps out of a critical section, which would never release its lock."""
    for region in regions(code, "BEGIN_CRITICAL_SECTION", "END_CRITICAL_SECTION"):
        yield from jumps(path, region, "a critical section")


def check_platforms(path: Path, code: str) -> Iterator[Problem]:
    """Yield #if about a platform outside the system layer."""
    for number, line in enumerate(code.splitlines(), 1):
        if re.match(r"\s*#\s*(el)?if", line) and (match := PLATFORM.search(line)):
            yield Problem(
                path, number, f"{match[1]} outside src/os: give an os_ function another body there"
            )


def check_sizes(path: Path, text: str, code: str) -> Iterator[Problem]:
    """Yield lines, functions and files that are too long."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if len(line) > LINE:
            yield Problem(path, number, f"{len(line)} columns, at most {LINE}: break the line")
    for first, last in functions(code):
        if (length := last - first + 1) > FUNCTION:
            yield Problem(
                path, first, f"a function of {length} lines, at most {FUNCTION}: split it"
            )
    if len(lines) > FILE:
        yield Problem(path, FILE, f"a file of {len(lines)} lines, at most {FILE}: split it")


def check_os_layer(path: Path, text: str) -> Iterator[Problem]:
    """Yield #include of Python in the layer that must run without the GIL."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(
            r"\s*#\s*include\s*[<\"]((?:.*/)?Python\.h|(?:\.\./)*core/.*\.h)[>\"]", line
        ):
            yield Problem(
                path, number, f"{match[1]} in the system layer: Python belongs in src/core"
            )


def check_tools(root: Path) -> Iterator[Problem]:
    """Yield scripts that tools/README.md does not list."""
    readme = root / "tools" / "README.md"
    listed = readme.read_text() if readme.exists() else ""
    for script in sorted((root / "tools").glob("*.*")):
        if script != readme and f"`{script.name}`" not in listed:
            yield Problem(readme, 1, f"no line for `{script.name}`: add its purpose")


def check_file(root: Path, path: Path) -> Iterator[Problem]:
    """Yield every rule that a C file breaks."""
    text = path.read_text()
    no_comments = without_comments(text)
    code = without_directives(no_comments)
    yield from check_sizes(path, text, code)
    if path.is_relative_to(root / SYSTEM):
        yield from check_os_layer(path, text)
    elif path.is_relative_to(root / CORE):
        yield from check_gil(path, code)
        yield from check_critical_sections(path, code)
        yield from check_platforms(path, no_comments)


def main() -> int:
    """Check the tree that is named, otherwise the one that contains this script."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.[ch]"))]
    problems = [problem for path in files for problem in check_file(root, path)]
    problems += check_tools(root)
    for path, line, text in problems:
        print(f"{path.relative_to(root)}:{line}: {text}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
