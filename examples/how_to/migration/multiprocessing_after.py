"""A program for sysv_ipc; multiprocessing_before.py is the one for multiprocessing."""

from multiprocessing import Process
from typing import Any

import numpy as np

from sysv_ipc import IPC_CREX, SharedMemory

COUNT = 1000


def array_in(memory: SharedMemory) -> Any:
    return memory.ndarray(COUNT, "f8")


def fill(key: int) -> None:
    memory = SharedMemory(key)
    array = array_in(memory)
    array[:] = np.arange(COUNT)


def main() -> None:
    memory = SharedMemory(None, IPC_CREX, size=COUNT * 8, init_character=None)
    worker = Process(target=fill, args=(memory.key,))
    worker.start()
    worker.join()
    array = array_in(memory)
    print(array.sum(), array[:3].tolist())
    del array
    memory.detach()
    memory.remove()


if __name__ == "__main__":
    main()
