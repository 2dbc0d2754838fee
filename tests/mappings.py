"""What this process has mapped of a segment, as the kernel says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from helpers import listed

from sysv_ipc import (
    SharedMemory,
)


def mappings(segment: SharedMemory) -> int:
    """How often this process maps the segment."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("/SYSV" in line and line.split()[4] == str(segment.id) for line in lines)


def attached(segment: SharedMemory) -> int:
    """How often anybody maps the segment, as the kernel says."""
    return int(listed("shm", segment.id)["nattch"])


def array_of(segment: SharedMemory) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Make an array that the buffer protocol does not count."""
    buffer: Any = segment
    return np.ndarray((segment.size,), np.uint8, buffer=buffer)


def preloading(library: Path) -> dict[str, str]:
    """Return an environment in which a library stands before the C library, behind a sanitizer."""
    before = os.environ.get("LD_PRELOAD")
    return {**os.environ, "LD_PRELOAD": f"{before}:{library}" if before else str(library)}


def address_space() -> int:
    """How many pages of addresses this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[0])
