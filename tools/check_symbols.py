"""Check the exported symbols and the writable data of the extension.

- It exports one symbol, PyInit__core.
- It has no writable data except the tables that CPython modifies, the state of
  waits, and the memory into which src/os/sem.c reads values.  Other data would
  be shared by all interpreters and threads of the process.

The argument is the file of an extension; without it, the script checks the
extension that is installed for its interpreter.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator

EXPORTED = {"PyInit__core"}
# The names of tables that CPython's API takes without const (types, the module,
# arguments), and of data that threads must share.
WRITABLE = re.compile(
    r"(\w+_)?(methods|getset|members|slots|spec|module|fields|description|names)"
    r"|(os_)?wait_\w+|sem_area"
)
# Symbols that the compiler and the linker add to every shared library.
TOOLCHAIN = re.compile(
    r"completed|__dso_handle|__TMC_END__|_edata|_end|__bss_start|_TLS_MODULE_BASE_"
)
SECTIONS = re.compile(r"\.(data|bss|tdata|tbss)(\..*)?")


def objdump(option: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the section and the name of each symbol in a symbol table."""
    command = ["objdump", option, path]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        # Address, seven flags, section, tab, size, visibility, name.
        if match := re.match(r"[0-9a-f]+ .{7} (\S+)\t[0-9a-f]+ +(?:.* )?(\S+)$", line):
            yield match[1], match[2]


def check(path: str) -> Iterator[str]:
    """Yield the problems of an extension."""
    # On some machines that table also contains sections, under their own names.
    exported = {name for section, name in objdump("-T", path) if section not in ("*UND*", name)}
    for name in sorted(exported - EXPORTED):
        yield f"exports {name}: make it static, or declare it only in a header of core/"
    for name in sorted(EXPORTED - exported):
        yield f"does not export {name}: is it the extension?"
    symbols = list(objdump("-t", path))
    if not symbols:
        yield "has no symbol table: build it without stripping"
    for section, symbol in symbols:
        # The compiler numbers the static variables of functions, and marks symbols that
        # it has merged from several files.
        name = re.sub(r"(\.\d+)?(\.lto_priv(\.\d+)?)?$", "", symbol)
        if not SECTIONS.fullmatch(section) or section.startswith(".data.rel.ro"):
            continue
        if name == section or TOOLCHAIN.fullmatch(name) or WRITABLE.fullmatch(name):
            continue
        yield f"has writable data {name} ({section}): make it const, or keep it in the module state"


def main() -> int:
    """Check the extension that is named, otherwise the one that is installed."""
    if len(sys.argv) > 1:
        path = sys.argv[1]
    else:
        spec = importlib.util.find_spec("sysv_ipc._core")
        if spec is None or spec.origin is None:
            print("sysv_ipc is not installed for this interpreter: run make test to install it")
            return 1
        path = spec.origin
    try:
        problems = list(check(path))
    except FileNotFoundError:
        problems = ["cannot be checked, there is no objdump: apt-get install binutils"]
    for problem in problems:
        print(f"{path}: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
