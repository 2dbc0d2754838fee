"""Whether the extension is there, which is the package itself.

Where Python finds only the modules beside it, as those of an installation for another interpreter
or inside a zip file, it takes the folder for an empty package and says nothing.  So the modules
that programs import, and the command line, import this first.
"""

import os
import sys

import sysv_ipc


def _others() -> list[str]:
    """Return the names of the extensions for other interpreters that are there instead."""
    names = {
        name for folder in sysv_ipc.__path__ if os.path.isdir(folder) for name in os.listdir(folder)
    }
    return sorted(
        name
        for name in names
        if name.startswith("__init__.") and not name.endswith((".py", ".pyi"))
    )


def _what_is_wrong() -> str:
    others = ", ".join(_others())
    why = f"only {others}" if others else "from inside a zip file none can be loaded"
    return (
        f"sysv_ipc in {', '.join(sysv_ipc.__path__)} has no extension for this interpreter"
        f" ({sys.implementation.cache_tag}): {why}.  To install it for this one, as files:"
        f" {sys.executable} -m pip install --force-reinstall sysv_ipc"
    )


if not hasattr(sysv_ipc, "VERSION"):
    raise ImportError(_what_is_wrong(), name="sysv_ipc")
