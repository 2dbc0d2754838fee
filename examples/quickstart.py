"""A semaphore guards a counter in shared memory, and a queue tells of it."""

import sysv_ipc
from sysv_ipc import IPC_PRIVATE, MessageQueue, Semaphore, SharedMemory, ftok

try:
    semaphore = Semaphore(IPC_PRIVATE, flags=sysv_ipc.IPC_CREX, initial_value=1)
    print("the semaphore's key is", semaphore.key)
    semaphore.acquire()
    print("nobody else is in here now")
    semaphore.release()
    semaphore.remove()

    # Programs in any language get the same key from the same path.
    key = ftok(__file__, 1, silence_warning=True)
    memory = SharedMemory(key, sysv_ipc.IPC_CREX, size=64)
    queue = MessageQueue(key, sysv_ipc.IPC_CREX)
    memory.write(b"four words of text")
    queue.send("it is there", type=7)
    message, type = queue.receive()
    print(message.decode(), type, memory.read(18).decode())
    queue.remove()
    memory.remove()
    memory.detach()
except sysv_ipc.ExistentialError as error:
    print("it exists already, or not any more:", error)
except sysv_ipc.Error as error:
    print("the system says no:", error)
