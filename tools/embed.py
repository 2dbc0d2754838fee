"""Write a C file with the code of Python modules, for src/core/embedded.h.

The arguments are the C file and the Python files.  meson.build calls this with the interpreter for
which it builds.
"""

import importlib.util
import marshal
import sys
from pathlib import Path


def embedded(path: Path) -> str:
    """Return the C definition of a module's code."""
    # The same options and the same file name everywhere make the same bytes.
    name = f"sysv_ipc/{path.name}"
    code = marshal.dumps(compile(path.read_bytes(), name, "exec", dont_inherit=True, optimize=0))
    lines = ["".join(map(r"\x{:02x}".format, code[i : i + 18])) for i in range(0, len(code), 18)]
    text = "\n".join(f'    "{line}"' for line in lines)
    return (
        f"static const char {path.stem}_code[] =\n{text};\n\n"
        f"const struct core_embedded core_embedded_{path.stem} = {{\n"
        f'    "sysv_ipc.{path.stem}", {path.stem}_code, sizeof({path.stem}_code) - 1}};\n'
    )


def main() -> None:
    output, *sources = map(Path, sys.argv[1:])
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
    parts = [
        '/* Made by tools/embed.py. */\n#include "core/embedded.h"\n',
        f"const long core_embedded_magic = {magic};\n",
        *map(embedded, sources),
    ]
    output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
