"""Read an array of C structures from a segment, in three ways.

The C program c_structs.c writes them.
"""

import ctypes
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sysv_ipc import IPC_CREX, SharedMemory

COUNT = 3


class Reading(ctypes.Structure):
    _fields_ = (
        ("sensor", ctypes.c_char * 10),
        ("value", ctypes.c_double),
        ("count", ctypes.c_long),
        ("flags", ctypes.c_short),
    )


#: "@" (not "=") pads like C; "0d" at the end pads to the alignment of the largest member.
READING = struct.Struct("@10sdlh0d")

FIELDS = [("sensor", "S10"), ("value", "d"), ("count", "l"), ("flags", "h")]
DTYPE = np.dtype(FIELDS, align=True)


def with_ctypes(memory: SharedMemory) -> None:
    readings = (Reading * COUNT).from_buffer(memory)
    print("ctypes:", readings[1].sensor.decode(), readings[1].value, readings[1].count)
    readings[1].flags = 7  # written to the segment


def with_struct(memory: SharedMemory) -> None:
    sensor, value, count, flags = READING.unpack_from(memory, 1 * READING.size)
    print("struct:", sensor.rstrip(b"\0").decode(), value, count, flags)


def with_numpy(memory: SharedMemory) -> None:
    readings: Any = memory.ndarray(COUNT, DTYPE)
    print("NumPy: ", readings["value"].mean(), readings[1]["flags"])


def compile_writer(folder: str) -> Path:
    source = Path(__file__).with_name("c_structs.c")
    program = Path(folder) / "c_structs"
    subprocess.run(["cc", "-o", program, source], check=True)
    return program


def main() -> None:
    memory = SharedMemory(None, IPC_CREX, size=COUNT * READING.size)
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [str(compile_writer(folder)), str(memory.key)]
            size = int(subprocess.check_output(command))
        print(size == ctypes.sizeof(Reading) == READING.size == DTYPE.itemsize)
        with_ctypes(memory)
        with_struct(memory)
        with_numpy(memory)
    finally:
        memory.remove()
    memory.detach()


if __name__ == "__main__":
    main()
