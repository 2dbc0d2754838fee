"""The checks in tools/: each violation of a rule is found, and correct code passes."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import parallel
import pytest
from helpers import ROOT, TESTS

pytestmark = pytest.mark.once

TOOLS = ROOT / "tools"

GOOD = """\
/* A "file" that keeps the rules; it mentions Py_BEGIN_ALLOW_THREADS. */
#include "core/state.h"

static const char text[] = "return; goto; strlen(";

static Py_ssize_t
wait(int id, void *to, const void *from, size_t size)
{
    Py_ssize_t rc;
    Py_BEGIN_ALLOW_THREADS
    if (sizeof(rc) > 0) {
        rc = os_sem_op(id, 0); /* not strlen() */
    }
    memcpy(to, from, size);
    memmove(to, from, size);
    (void)memset(to, 0, size);
    Py_END_ALLOW_THREADS
    CORE_BEGIN_CRITICAL_SECTION(self);
    rc += 1;
    CORE_END_CRITICAL_SECTION();
    return rc;
}
"""


def function(body: str, name: str = "work") -> str:
    """Wrap lines into a function."""
    return f"int\n{name}(void)\n{{\n{body}}}\n"


def tool(name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a script of tools/ and return its status and output."""
    command = [sys.executable, TOOLS / name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


class Tree:
    """A tree with the folders that the checks read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.core = root / "src/core"
        self.os = root / "src/os"
        for folder in self.core, self.os:
            folder.mkdir(parents=True)
        (root / "tools").mkdir()
        (root / "tools/README.md").write_text("")

    def check(self) -> tuple[int, str]:
        """Run check_c.py on the tree."""
        return tool("check_c.py", self.root)

    def expect(self, problem: str) -> None:
        """Check that there is one problem, which begins with this text."""
        rc, output = self.check()
        assert output.startswith(problem)
        assert output.count("\n") == 1
        assert rc == 1


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree for the checks."""
    return Tree(tmp_path)


def test_check_c_passes_correct_code(tree):
    (tree.core / "good.c").write_text(GOOD)
    (tree.os / "good.c").write_text('#include "os/os.h"\n#ifdef __linux__\n#endif\n')
    assert tree.check() == (0, "")


@pytest.mark.parametrize(
    "line", ["#include <Python.h>", "#  include <python3.11/Python.h>", '#include "core/state.h"']
)
@pytest.mark.parametrize("name", ["bad.c", "os.h"])
def test_check_c_finds_python_in_the_system_layer(tree, name, line):
    (tree.os / name).write_text(f"/* One. */\n{line}\n")
    assert f"src/os/{name}:2: " in tree.check()[1]


@pytest.mark.parametrize(
    ("path", "line", "problem"),
    [
        ("core/error.h", '#include "core/open.h"', "core/open.h is on a floor above"),
        ("core/args.c", '#include "core/handle.h"', "core/handle.h is on a floor above"),
        ("core/message_queue/send.c", '#include "core/semaphore/set.h"', "belongs to another kind"),
        ("os/sem.c", '#include "sem.h"', "sem.h is on no floor"),
    ],
)
def test_check_c_finds_an_include_of_a_higher_floor(tree, path, line, problem):
    file = tree.root / "src" / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"/* One. */\n{line}\n")
    tree.expect(f"src/{path}:2: ")
    assert problem in tree.check()[1]


def test_check_c_finds_a_header_on_no_floor(tree):
    (tree.core / "new.h").write_text("int x;\n")
    tree.expect("src/core/new.h:1: on no floor")


def test_check_c_finds_a_static_name_that_two_files_define(tree):
    (tree.core / "one.c").write_text("static int\nmake(void)\n{\n    return 1;\n}\n")
    (tree.core / "two.c").write_text("static const char *const make[] = {0};\n")
    tree.expect("src/core/two.c:1: static make is in src/core/one.c too")


def test_check_c_finds_a_circle_of_calls(tree):
    """The calls lead from one.c to two.c, then through a table in three.c back to one.c."""
    (tree.core / "one.c").write_text("int\none(void)\n{\n    return two();\n}\n")
    (tree.core / "two.c").write_text("int\ntwo(void)\n{\n    return three.x;\n}\n")
    (tree.core / "three.c").write_text("const struct table three = {.call = one};\n")
    (tree.core / "four.c").write_text("int\nfour(void)\n{\n    return one();\n}\n")
    circle = "a circle of calls: core/one.c, core/three.c, core/two.c\n"
    tree.expect(f"src/core/one.c:1: {circle}")
    assert tool("check_c.py", "--circles", tree.root) == (0, circle)


def test_the_project_has_no_circle_of_calls():
    assert tool("check_c.py", "--circles") == (0, "")


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("Py_BEGIN_ALLOW_THREADS", "Py_END_ALLOW_THREADS"),
        ("CORE_BEGIN_ALLOW_THREADS", "CORE_END_ALLOW_THREADS"),
        ("state = PyEval_SaveThread();", "PyEval_RestoreThread(state);"),
    ],
)
@pytest.mark.parametrize("bad", ["x = strlen(s);", "os_a(PyLong_AsLong(o));", "return 1;"])
def test_check_c_finds_calls_that_need_the_gil(tree, begin, end, bad):
    (tree.core / "bad.c").write_text(function(f"    {begin}\n    os_a(1);\n    {bad}\n    {end}\n"))
    tree.expect("src/core/bad.c:6: ")


def test_check_c_finds_the_gil_not_taken_back(tree):
    body = "    Py_BEGIN_ALLOW_THREADS\n    os_a();\n"
    (tree.core / "bad.c").write_text(function(body) + function("    strlen(s);\n"))
    tree.expect("src/core/bad.c:4: ")


@pytest.mark.parametrize("prefix", ["Py", "CORE"])
@pytest.mark.parametrize("jump", ["return 0;", "goto error;"])
def test_check_c_finds_a_jump_out_of_a_critical_section(tree, prefix, jump):
    inner = f"    {prefix}_BEGIN_CRITICAL_SECTION2(a, b);\n    {prefix}_END_CRITICAL_SECTION2();\n"
    body = (
        f"    {prefix}_BEGIN_CRITICAL_SECTION(self);\n{inner}"
        f"    if (bad) {{\n        {jump}\n    }}\n    {prefix}_END_CRITICAL_SECTION();\n"
    )
    (tree.core / "bad.c").write_text(function(body))
    tree.expect("src/core/bad.c:8: ")


def test_check_c_finds_a_long_line_wherever_c_is(tree):
    (tree.root / "tests").mkdir()
    (tree.root / "tests/peer.c").write_text(f"/* {'x' * 73} */\n/* {'x' * 74} */\n")
    tree.expect("tests/peer.c:2: 80 columns")


def test_check_c_finds_a_long_function(tree):
    good = function("    x++;\n" * 56, "just_fits")
    bad = function("    x++;\n" * 57, "too_long")
    (tree.core / "bad.c").write_text(f"{good}\n{bad}")
    tree.expect("src/core/bad.c:62: a function of 61 lines")


def test_check_c_finds_a_long_file(tree):
    (tree.core / "fits.c").write_text("int x;\n" * 600)
    (tree.core / "long.c").write_text("int x;\n" * 601)
    tree.expect("src/core/long.c:600: a file of 601 lines")


@pytest.mark.parametrize(
    "line", ["#ifdef __linux__", "#if X && defined(__APPLE__)", "# elif defined __FreeBSD__"]
)
def test_check_c_finds_a_platform_outside_the_system_layer(tree, line):
    (tree.core / "bad.c").write_text(f"/* __linux__ */\n{line}\n")
    tree.expect("src/core/bad.c:2: ")


def test_check_c_finds_a_script_that_is_not_listed(tree):
    (tree.root / "tools/README.md").write_text("| `listed.py` | is |\n")
    for name in ("listed.py", "forgotten.sh"):
        (tree.root / "tools" / name).write_text("")
    tree.expect("tools/README.md:1: no line for `forgotten.sh`")


def compile_extension(folder: Path, text: str) -> Path:
    """Make a shared library whose only default export is PyInit__core."""
    source, library = folder / "x.c", folder / "x.so"
    source.write_text(
        '__attribute__((visibility("default"))) int PyInit__core(void) { return 0; }\n' + text
    )
    command = ["cc", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    return library


def test_check_symbols_passes_a_correct_library(tmp_path):
    text = """
        const int limit = 3;
        static int *const at[] = {(int *)&limit};
        int semaphore_methods[3] = {1}, core_module[9], wait_running;
        int hidden(void) { return *at[0] + limit; }
    """
    assert tool("check_symbols.py", compile_extension(tmp_path, text)) == (0, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('__attribute__((visibility("default"))) int main(void) { return 0; }', "exports main"),
        ("int counter;", "has writable data counter"),
        ("int total = 3;", "has writable data total"),
        ("int f(void) { static int calls; return calls++; }", "has writable data calls"),
        ("_Thread_local int last;", "has writable data last"),
    ],
)
def test_check_symbols_finds_forbidden_symbols(tmp_path, text, problem):
    library = compile_extension(tmp_path, text)
    rc, output = tool("check_symbols.py", library)
    assert output.startswith(f"{library}: {problem}")
    assert output.count("\n") == 1
    assert rc == 1


def test_check_symbols_requires_the_init_function(tmp_path):
    source = tmp_path / "x.c"
    source.write_text("int x(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "x.so", source], check=True)
    rc, output = tool("check_symbols.py", tmp_path / "x.so")
    assert rc == 1
    assert "exports x" in output
    assert "does not export PyInit__core" in output


# ------------------------------------------------------------------------ check_targets.py


def test_check_targets_names_the_packages_that_are_missing():
    command = [sys.executable, TOOLS / "check_targets.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={"PATH": "/nowhere"}
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "no musl-gcc, or no headers: apt-get install musl-tools" in done.stdout
    assert "apt-get install gcc-i686-linux-gnu libc6-dev-i386-cross" in done.stdout


@pytest.mark.parametrize("type", ["int", "__int128"])
def test_check_targets_finds_atomics_that_need_a_library(tmp_path, type):
    """No compiler has inline atomics of 16 bytes without extra options."""
    spec = importlib.util.spec_from_file_location("check_targets", TOOLS / "check_targets.py")
    check_targets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check_targets)
    source = tmp_path / "atomic.c"
    source.write_text(
        f"{type} load({type} *p);\n"
        f"{type}\nload({type} *p)\n{{\n    return __atomic_load_n(p, __ATOMIC_SEQ_CST);\n}}\n"
    )
    target = check_targets.Target("here", ("gcc",), "")
    told = check_targets.compile_one(target, source, tmp_path, tmp_path)
    assert told == ("" if type == "int" else "atomic.c needs libatomic: __atomic_load_16\n")


# ----------------------------------------------------------------------- check_freezers.py


def test_check_freezers_refuses_a_name_that_it_does_not_know():
    status, said = tool("check_freezers.py", "py2exe")
    assert status == 2
    assert "no such freezer: py2exe" in said


# ------------------------------------------------------------------- lists that name tests

#: Files that select tests by their paths, or refer to a test.
NAME_TESTS = [
    ROOT / ".ci/run",
    ROOT / "Makefile",
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "tools").glob("*.*")),
]


def functions(path: Path) -> set[str]:
    """The names of the functions that a file of tests defines."""
    return set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", NAME_TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tests_that_a_list_names_exist(path: Path) -> None:
    named = re.findall(r"\b(tests/[\w/]+(?:\.\w+)?)(?:::(\w+))?", path.read_text())
    missing = [
        (file, test)
        for file, test in named
        if not (ROOT / file).exists() or (test and test not in functions(ROOT / file))
    ]
    assert missing == []


def test_the_tests_listed_for_one_thread_exist() -> None:
    files = {path.name: functions(path) for path in TESTS.rglob("test_*.py")}
    assert set(parallel.FILES) <= set(files)
    assert set(parallel.TESTS) <= set().union(*files.values())
