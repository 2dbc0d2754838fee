"""Explain why this interpreter cannot load the extension."""

import os
import sys
from typing import NoReturn

import sysv_ipc


def raise_missing() -> NoReturn:
    """Raise ImportError if the import of the extension has failed; otherwise raise that error."""
    error = sys.exc_info()[1]
    if not isinstance(error, ImportError) or error.name != "sysv_ipc._core":
        raise
    others = ", ".join(_others())
    why = f"only {others}" if others else "none can be loaded from a zip file"
    message = (
        f"sysv_ipc in {', '.join(sysv_ipc.__path__)} has no extension for this interpreter"
        f" ({sys.implementation.cache_tag}): {why}.  To install it for this one, as files:"
        f" {sys.executable} -m pip install --force-reinstall sysv_ipc"
    )
    raise ImportError(message, name="sysv_ipc") from None


def _others() -> list[str]:
    """Return the file names of extensions for other interpreters."""
    folders = [folder for folder in sysv_ipc.__path__ if os.path.isdir(folder)]
    return sorted(
        name
        for folder in folders
        for name in os.listdir(folder)
        if name.startswith("_core.") and not name.endswith(".pyi")
    )
