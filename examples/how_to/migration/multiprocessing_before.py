"""A program for multiprocessing.shared_memory; multiprocessing_after.py is for sysv_ipc."""

from multiprocessing import Process
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

COUNT = 1000


def array_in(memory: SharedMemory) -> Any:
    return np.ndarray(COUNT, "f8", buffer=memory.buf)


def fill(name: str) -> None:
    memory = SharedMemory(name)
    array = array_in(memory)
    array[:] = np.arange(COUNT)
    del array
    memory.close()


def main() -> None:
    memory = SharedMemory(create=True, size=COUNT * 8)
    worker = Process(target=fill, args=(memory.name,))
    worker.start()
    worker.join()
    array = array_in(memory)
    print(array.sum(), array[:3].tolist())
    del array
    memory.close()
    memory.unlink()


if __name__ == "__main__":
    main()
