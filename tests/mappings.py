"""The mappings of segments in this process, according to the kernel."""

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
    """Return how often this process maps the segment."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("/SYSV" in line and line.split()[4] == str(segment.id) for line in lines)


def attached(segment: SharedMemory) -> int:
    """Return how often any process maps the segment, according to the kernel."""
    return int(listed("shm", segment.id)["nattch"])


def array_of(segment: SharedMemory) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Make an array that the buffer protocol does not count."""
    buffer: Any = segment
    return np.ndarray((segment.size,), np.uint8, buffer=buffer)


def preloading(library: Path) -> dict[str, str]:
    """Return an environment that preloads a library before the C library, after a sanitizer."""
    before = os.environ.get("LD_PRELOAD")
    return {**os.environ, "LD_PRELOAD": f"{before}:{library}" if before else str(library)}


def address_space() -> int:
    """Return how many pages of addresses this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0])
