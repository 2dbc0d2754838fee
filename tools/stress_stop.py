"""Stop consumers at random moments, and count the messages.

Each consumer is a process that iterates over one queue until a SIGTERM handler calls
cancel(later=True).  Meanwhile another process sends.  At the end every message must have arrived
once.
"""

import argparse
import os
import random
import signal
import sys
import time
from functools import partial

from stress import enter_namespace, join, run

from sysv_ipc import IPC_CREX, MessageQueue, SharedMemory

#: Message types: a number; stop sending; how many numbers were sent.
NUMBER, STOP, TOTAL = 1, 2, 3
#: The largest number of messages that are sent for each consumer.
LOAD = 2000


def consume(key: int | None, seen: SharedMemory, ready: int) -> None:
    """Count the numbers that arrive until SIGTERM."""
    queue = MessageQueue(key)
    signal.signal(signal.SIGTERM, lambda *_: queue.cancel(later=True))
    os.write(ready, b"x")
    for message, _ in queue.iterate(NUMBER):
        number = int(message)
        seen[number] = seen[number] + 1


def send(queue: MessageQueue, seen: SharedMemory) -> None:
    """Send numbers, with short rests, until told to stop."""
    source = random.Random(1)
    for number in range(len(seen)):
        queue.send(str(number), True, NUMBER)
        if source.random() < 0.5:
            time.sleep(source.random() * 5e-5)
        if number % 16 == 0 and queue.try_receive(STOP) is not None:
            break
    queue.send(str(number + 1), True, TOTAL)


def stress_stopped(consumers: int) -> None:
    """Start and stop this number of consumers, and count the messages."""
    queue = MessageQueue(None, IPC_CREX)
    seen = SharedMemory(None, IPC_CREX, size=consumers * LOAD, init_character=b"\0")
    start = time.monotonic()
    source = random.Random(2)
    sender = run(partial(send, queue, seen))
    for _ in range(consumers):
        read_end, write_end = os.pipe()
        consumer = run(partial(consume, queue.key, seen, write_end))
        os.read(read_end, 1)
        os.close(read_end)
        os.close(write_end)
        time.sleep(source.random() * 2e-3)
        os.kill(consumer, signal.SIGTERM)
        join([consumer])
    while not queue.try_send("", STOP):
        number = int(queue.receive(type=NUMBER)[0])
        seen[number] = seen[number] + 1
    for message, type in queue.iterate(STOP, 60, except_type=True):
        number = int(message)
        if type == TOTAL:
            break
        seen[number] = seen[number] + 1
    join([sender])
    sent = number
    counts = seen.read()[:sent]
    lost, twice = counts.count(0), len(counts) - counts.count(0) - counts.count(1)
    queue.remove()
    seen.remove()
    print(
        f"{consumers} consumers stopped, {sent} messages in {time.monotonic() - start:.0f} s:"
        f" {lost} lost, {twice} twice",
        flush=True,
    )
    if lost or twice:
        sys.exit(1)


def main() -> None:
    """Run this stress test alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumers", type=int, default=2000)
    options = parser.parse_args()
    enter_namespace()
    stress_stopped(options.consumers)


if __name__ == "__main__":
    main()
