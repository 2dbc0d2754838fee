"""Let Pillow draw and Arrow compute in one segment, without a copy.

Both accept any buffer: here, Pillow uses a view and Arrow an array.  While such an image or
column exists, the segment cannot be detached.
"""

import gc
from typing import Any

from sysv_ipc import IPC_CREX, SharedMemory

WIDTH, HEIGHT = 64, 48
IMAGE_BYTES = WIDTH * HEIGHT * 4
NUMBERS = 100


def draw(memory: SharedMemory) -> None:
    """Draw a red box on a blue background, directly in the segment."""
    try:
        from PIL import Image
    except ImportError:
        print("PIL is not installed")
        return
    # With four bytes per pixel Pillow uses the buffer itself for the image.
    pixels: Any = memory.view(0, IMAGE_BYTES)
    image = Image.frombuffer("RGBX", (WIDTH, HEIGHT), pixels, "raw", "RGBX", 0, 1)
    image.readonly = 0
    image.paste((0, 0, 255, 0), (0, 0, WIDTH, HEIGHT))
    image.paste((255, 0, 0, 0), (16, 12, 48, 36))

    def pixel(x: int, y: int) -> tuple[int, ...]:
        return tuple(memory.read(3, (y * WIDTH + x) * 4))

    print(f"Pillow draws in the segment: {pixel(32, 24)} in the middle, {pixel(1, 1)} outside")


def add_up(memory: SharedMemory) -> None:
    """Let Arrow compute with numbers in the segment."""
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError:
        print("pyarrow is not installed")
        return
    numbers = memory.ndarray(NUMBERS, "int64", offset=IMAGE_BYTES)
    numbers[:] = range(NUMBERS)
    buffer = pyarrow.py_buffer(numbers)
    column = pyarrow.Array.from_buffers(pyarrow.int64(), NUMBERS, [None, buffer])
    where = "no copy" if buffer.address == numbers.ctypes.data else "a copy"
    print(f"Arrow reads the segment: sum {pyarrow.compute.sum(column).as_py()}, {where}")


def main() -> None:
    memory = SharedMemory(None, IPC_CREX, size=IMAGE_BYTES + NUMBERS * 8, init_character=None)
    memory.remove()
    draw(memory)
    add_up(memory)
    # Images and columns may be in reference cycles.
    gc.collect()
    memory.detach()
    print("detached")


if __name__ == "__main__":
    main()
