"""Create, use and remove one object of each kind."""

import sysv_ipc
from sysv_ipc import IPC_PRIVATE, MessageQueue, Semaphore, SharedMemory, ftok

try:
    semaphore = Semaphore(IPC_PRIVATE, flags=sysv_ipc.IPC_CREX, initial_value=1)
    print("the semaphore's key is", semaphore.key)
    semaphore.acquire()
    print("the semaphore is acquired")
    semaphore.release()
    semaphore.remove()

    # A program in any language computes the same key from the same path.
    key = ftok(__file__, 1, silence_warning=True)
    memory = SharedMemory(key, sysv_ipc.IPC_CREX, size=64)
    queue = MessageQueue(key, sysv_ipc.IPC_CREX)
    memory.write(b"four words of text")
    queue.send("data is ready", type=7)
    message, type = queue.receive()
    print(message.decode(), type, memory.read(18).decode())
    queue.remove()
    memory.remove()
    memory.detach()
except sysv_ipc.ExistentialError as error:
    print("the object exists already, or no longer exists:", error)
except sysv_ipc.Error as error:
    print("the call failed:", error)
