"""Receive from a queue in trio and anyio.

A worker thread of trio or anyio waits.  When the scope is cancelled, cancel() ends that wait.  A
message that the thread received at the same moment is not lost: the next receive() returns it.
"""

import copy
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import trio

import sysv_ipc


class Receiver:
    """Receives from a queue; run_sync is trio.to_thread.run_sync or that of anyio."""

    def __init__(self, queue: sysv_ipc.MessageQueue, run_sync: Callable[..., Any]) -> None:
        self.queue = queue
        self.run_sync = run_sync
        self.taken_for_nobody: deque[tuple[bytes, int]] = deque()

    async def receive(self) -> tuple[bytes, int]:
        if self.taken_for_nobody:
            return self.taken_for_nobody.popleft()
        # cancel() ends all waits of a handle, so each wait has its own.
        wait = Wait(copy.copy(self.queue))
        try:
            await self.run_sync(wait, abandon_on_cancel=True)
        except BaseException:
            wait.end()
            self.taken_for_nobody.extend(wait.taken)
            raise
        return wait.taken[0]


class Wait:
    """One wait in a thread, which another may end."""

    def __init__(self, queue: sysv_ipc.MessageQueue) -> None:
        self.queue = queue
        self.taken: list[tuple[bytes, int]] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.begun = self.abandoned = False

    def __call__(self) -> None:
        with self.lock:
            if self.abandoned:
                return
            self.begun = True
        try:
            self.taken.append(self.queue.receive())
        except sysv_ipc.CancelledError:
            pass
        finally:
            self.ended.set()

    def end(self) -> None:
        with self.lock:
            self.abandoned = True
        # The thread may only just be about to call.
        while self.begun and not self.ended.is_set():
            self.queue.cancel()
            self.ended.wait(0.001)


async def use(library: Any, name: str) -> None:
    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    receiver = Receiver(queue, library.to_thread.run_sync)
    with library.move_on_after(0.05):
        await receiver.receive()
        print("never printed")
    queue.send("nothing lost")
    with library.fail_after(10):
        print(name, *await receiver.receive())
    queue.remove()


if __name__ == "__main__":
    trio.run(use, trio, "trio")
    anyio.run(use, anyio, "anyio in asyncio", backend="asyncio")
    anyio.run(use, anyio, "anyio in trio", backend="trio")
