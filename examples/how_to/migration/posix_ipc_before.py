"""A program for posix_ipc; posix_ipc_after.py is the same program for sysv_ipc."""

import mmap
import sys

import posix_ipc

NAME = sys.argv[1] if len(sys.argv) == 2 else "/example"


def main() -> None:
    lock = posix_ipc.Semaphore(NAME, posix_ipc.O_CREX, initial_value=1)
    segment = posix_ipc.SharedMemory(NAME, posix_ipc.O_CREX, size=4096)
    memory = mmap.mmap(segment.fd, segment.size)
    segment.close_fd()
    queue = posix_ipc.MessageQueue(NAME, posix_ipc.O_CREX)

    with lock:
        memory[:5] = b"hello"
    queue.send(b"routine", priority=1)
    queue.send(b"urgent", priority=9)
    for _ in range(2):
        message, priority = queue.receive(timeout=5)
        print(message.decode(), priority)
    print(memory[:5].decode())

    memory.close()
    segment.unlink()
    queue.unlink()
    queue.close()
    lock.unlink()
    lock.close()


if __name__ == "__main__":
    main()
