"""Check the rules for C that no compiler checks.

- The system layer, src/os, never includes Python.h.
- While the GIL is released, only os_ functions, memcpy, memmove and memset
  are called, and there is no return.
- No return or goto leaves a critical section.
- Lines have at most 79 columns, functions 60 lines, files 600 lines.
- Differences between platforms are in src/os.
- Headers are floors, in the order of FLOORS: a file includes only those of its own floor and below,
  and nothing of another kind's folder.
- No circle of calls joins several files; ``--circles`` prints the circles.
- No two files define a static function or table of the same name.
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

#: The headers from the lowest floor to the highest.
FLOORS = (
    *("os/call.h", "os/os.h", "os/semun.h", "os/wait/wait.h", "os/wait/list.h"),
    *("core/state.h", "core/kind.h", "core/embedded.h"),
    *("core/error.h", "core/warning.h", "core/args.h"),
    *("core/handle.h", "core/identity.h", "core/key.h", "core/wait.h", "core/open.h"),
    *("core/info.h", "core/listing.h", "core/finish.h"),
    *("core/semaphore/semaphore.h", "core/semaphore/set.h"),
    *("core/shared_memory/mapping.h", "core/shared_memory/shared_memory.h"),
    "core/message_queue/message_queue.h",
)
#: The one file that may include every header.
TOP = "core/module.c"

PLATFORM = re.compile(
    r"\b(__linux__|__linux|linux|__APPLE__|__MACH__|__FreeBSD__|__NetBSD__|__OpenBSD__|_WIN32)\b"
)
CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
JUMP = re.compile(r"\b(return|goto)\b")
CALLED_WITHOUT_GIL = re.compile(r"os_\w+|memcpy|memmove|memset")
KEYWORDS = {"if", "for", "while", "switch", "return", "sizeof", "_Alignof", "_Static_assert"}


#: A definition at the beginning of a line: of a function, whose type is on the line before, or of a
#: variable.
DEFINITION = re.compile(
    r"^(?P<type>[A-Za-z_][^\n;{}()]*)\n(?P<function>\w+)\("
    r"|^(?!typedef|extern)(?P<kind>[A-Za-z_][\w *]*?\W)(?P<variable>\w+)(?:\[[^\]]*\])* = ",
    re.MULTILINE,
)


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
                path,
                number,
                f"{match[1]} in the system layer: code that uses Python belongs in src/core",
            )


def floor_of(path: Path) -> int:
    """Return the floor of a file below src: that of its header, or the highest of its folder.

    In the folder of a kind, and in os/wait, a C file may include all headers of the folder.
    """
    name = path.as_posix()
    header = path.with_suffix(".h").as_posix()
    if name == TOP:
        return len(FLOORS)
    if header in FLOORS and (path.suffix == ".h" or len(path.parts) == 2):
        return FLOORS.index(header)
    folder = [i for i, each in enumerate(FLOORS) if Path(each).parent == path.parent]
    return max(folder, default=-1)


def check_floors(root: Path, path: Path) -> Iterator[Problem]:
    """Find includes of a floor above the file's own, or of another kind's folder."""
    source = path.relative_to(root / "src")
    floor = floor_of(source)
    if floor < 0 or (path.suffix == ".h" and source.as_posix() not in FLOORS):
        yield Problem(path, 1, "on no floor: add its header to FLOORS in tools/check_c.py")
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        included = re.match(r'\s*#\s*include\s*"(.+)"', line)
        if included is None:
            continue
        name = included[1]
        if name not in FLOORS:
            yield Problem(path, number, f"{name} is on no floor: name headers from src, as FLOORS")
        elif FLOORS.index(name) > floor:
            yield Problem(path, number, f"{name} is on a floor above this file: move what it needs")
        elif is_other_kind(source.parent, Path(name).parent) and source.as_posix() != TOP:
            yield Problem(path, number, f"{name} belongs to another kind: move what both need")


def is_other_kind(own: Path, other: Path) -> bool:
    """Return whether both are folders of kinds, and not the same."""
    core = Path("core")
    return own != other and own.parent == other.parent == core


class Definitions(NamedTuple):
    """The names that a C file defines, and the lines that they are on."""

    external: dict[str, int]
    static: dict[str, int]


def definitions(code: str) -> Definitions:
    """Find the functions and variables that a file defines."""
    found = Definitions({}, {})
    for match in DEFINITION.finditer(code):
        name = match["function"] or match["variable"]
        kind = match["type"] or match["kind"]
        names = found.static if re.search(r"\bstatic\b", kind) else found.external
        names.setdefault(name, line_at(code, match.start()))
    return found


def sources(root: Path) -> dict[Path, str]:
    """Read the C files of src without comments and directives."""
    return {
        path: without_directives(without_comments(path.read_text()))
        for path in sorted((root / "src").rglob("*.c"))
    }


def check_statics(root: Path) -> Iterator[Problem]:
    """Find static names that two files define."""
    first: dict[str, Path] = {}
    for path, code in sources(root).items():
        for name, line in definitions(code).static.items():
            other = first.setdefault(name, path)
            if other != path:
                told = f"static {name} is in {other.relative_to(root)} too: put the type before it"
                yield Problem(path, line, told)


def circles(root: Path) -> list[list[Path]]:
    """Return the largest sets of files that reach each other by calls, of two files or more."""
    texts = sources(root)
    home = {name: path for path, code in texts.items() for name in definitions(code).external}
    calls = {
        path: {home[word] for word in set(re.findall(r"\w+", code)) if word in home} - {path}
        for path, code in texts.items()
    }

    def reached(start: Path) -> set[Path]:
        seen: set[Path] = set()
        todo = [start]
        while todo:
            new = calls[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {path: reached(path) for path in calls}
    found = {
        tuple(sorted({path} | {other for other in reach[path] if path in reach[other]}))
        for path in calls
        if path in reach[path]
    }
    return [list(circle) for circle in sorted(found)]


def check_circles(root: Path) -> Iterator[Problem]:
    """Report each circle at its first file."""
    for circle in circles(root):
        names = ", ".join(path.relative_to(root / "src").as_posix() for path in circle)
        yield Problem(circle[0], 1, f"a circle of calls: {names}")


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
    if path.is_relative_to(root / "src"):
        yield from check_floors(root, path)
    if path.is_relative_to(root / SYSTEM):
        yield from check_os_layer(path, text)
    elif path.is_relative_to(root / CORE):
        yield from check_gil(path, code)
        yield from check_critical_sections(path, code)
        yield from check_platforms(path, no_comments)


def main() -> int:
    """Check the tree that is named, or the one that this script is in."""
    arguments = sys.argv[1:]
    only_circles = "--circles" in arguments
    if only_circles:
        arguments.remove("--circles")
    root = Path(arguments[0] if arguments else Path(__file__).parents[1]).resolve()
    if only_circles:
        for problem in check_circles(root):
            print(problem.text)
        return 0
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.[ch]"))]
    problems = [problem for path in files for problem in check_file(root, path)]
    problems += [*check_statics(root), *check_circles(root), *check_tools(root)]
    for path, line, text in problems:
        print(f"{path.relative_to(root)}:{line}: {text}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
