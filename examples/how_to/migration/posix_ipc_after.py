"""A program for sysv_ipc; posix_ipc_before.py is the same program for posix_ipc."""

import sys

from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SharedMemory, key_from_name

KEY = key_from_name(sys.argv[1] if len(sys.argv) == 2 else "/example")
#: Messages of the lowest type are received first: priority p has the type LOWEST_PRIORITY - p.
LOWEST_PRIORITY = 100


def main() -> None:
    lock = Semaphore(KEY, IPC_CREX, initial_value=1)
    memory = SharedMemory(KEY, IPC_CREX, size=4096, init_character=b"\0")
    queue = MessageQueue(KEY, IPC_CREX)

    with lock:
        memory[:5] = b"hello"
    queue.send(b"routine", type=LOWEST_PRIORITY - 1)
    queue.send(b"urgent", type=LOWEST_PRIORITY - 9)
    for _ in range(2):
        message, type = queue.receive(type=-LOWEST_PRIORITY, timeout=5)
        print(message.decode(), LOWEST_PRIORITY - type)
    print(memory[:5].decode())

    memory.detach()
    queue.remove()
    memory.remove()
    lock.remove()


if __name__ == "__main__":
    main()
