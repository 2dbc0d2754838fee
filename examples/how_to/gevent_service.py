"""Receive from a queue in a greenlet, without blocking the other greenlets.

A call of this library blocks its thread, and all greenlets of that thread.  Here a thread of
gevent's pool makes the call.
"""

import copy
from collections import deque

import gevent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from sysv_ipc import IPC_CREX, CancelledError, MessageQueue

Message = tuple[bytes, int]


class Receiver:
    def __init__(self, queue: MessageQueue) -> None:
        self.queue = queue
        self.turn = BoundedSemaphore(1)
        self.pool = ThreadPool(2)  # The second is for a call while the first one ends.
        #: Messages whose greenlet was killed while the thread received them.
        self.kept: deque[Message] = deque()

    def receive(self) -> Message:
        """Return the next message.  If the greenlet is killed, no message is lost."""
        self.turn.acquire()
        if self.kept:
            self.turn.release()
            return self.kept.popleft()
        handle = copy.copy(self.queue)  # cancel() ends the waits of one handle.
        call = self.pool.spawn(self.receive_in_thread, handle)
        try:
            message: Message = call.get()
        except BaseException:
            handle.cancel(later=True)
            call.rawlink(self.keep)
            raise
        self.turn.release()
        return message

    @staticmethod
    def receive_in_thread(handle: MessageQueue) -> Message | None:
        try:
            return handle.receive()
        except CancelledError:
            return None

    def keep(self, call: AsyncResult) -> None:
        """Keep the message of a call whose greenlet no longer exists."""
        if call.value is not None:
            self.kept.append(call.value)
        self.turn.release()


def main() -> None:
    queue = MessageQueue(None, IPC_CREX)
    receiver = Receiver(queue)
    ticks = gevent.spawn(gevent.sleep, 0.03)
    waiter = gevent.spawn(receiver.receive)
    ticks.get()
    print("other greenlets ran while one waited:", not waiter.ready())

    waiter.kill()
    queue.send("not lost")
    print("received after the kill:", receiver.receive()[0].decode())
    queue.remove()


if __name__ == "__main__":
    main()
