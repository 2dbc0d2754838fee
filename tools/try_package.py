"""Use each part of the installed package once, also the modules that the extension imports itself.

Nothing but the standard library is needed.  Other scripts run this with every wheel and in every
environment, and freeze it.  It uses a key that no object has.
"""

import sysv_ipc

# This uses the extension's cures before other imports could have added them to a frozen program.
key = next(key for key in range(0x7777, 0xFFFF) if not sysv_ipc.exists(key, sysv_ipc.Semaphore))
try:
    sysv_ipc.Semaphore(key)
except sysv_ipc.ExistentialError as error:
    notes = error.__notes__
assert notes == [f"To create it: Semaphore({key}, IPC_CREX)."], notes
semaphore = sysv_ipc.Semaphore(key, sysv_ipc.IPC_CREX, initial_value=1)
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX)

import asyncio  # noqa: E402
import pickle  # noqa: E402
import sys  # noqa: E402

import sysv_ipc.aio  # noqa: E402
import sysv_ipc.cli  # noqa: E402


async def acquire() -> None:
    """Acquire the semaphore in a task."""
    await sysv_ipc.aio.Semaphore.from_id(semaphore.id).acquire()


try:
    if sys.platform == "linux":
        sets = {record.id: record for record in sysv_ipc.semaphores(members=True)}
        (member,) = sets[semaphore.id].members or ()
        assert member.value == 1
        segments = {record.id: record for record in sysv_ipc.shared_memories(pids=True)}
        assert segments[segment.id].pids
        assert segments[segment.id].number_attached == 1
        assert sysv_ipc.cli.main(["ls"]) == 0
    asyncio.run(acquire())
    assert semaphore.value == 0
    assert pickle.loads(pickle.dumps(semaphore)) == semaphore
    try:
        semaphore.acquire(timeout=0.01)
        raise SystemExit("the semaphore was acquired twice")
    except sysv_ipc.BusyError:
        semaphore.release()
    segment.write(b"bytes")
    assert segment.read(5) == b"bytes"
    segment.atomic(8, "u32").store(7)
    assert segment.read(4, 8) == (7).to_bytes(4, sys.byteorder)
finally:
    segment.detach()
    segment.remove()
    semaphore.remove()
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
queue.send(b"a message", type=3)
assert queue.receive() == (b"a message", 3)
queue.remove()
print("everything works")
