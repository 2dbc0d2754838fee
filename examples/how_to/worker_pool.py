"""Stop workers at any moment without losing a message.

Without arguments, this program sends jobs, starts workers, stops and replaces them all the time,
and counts the results.
"""

import signal
import subprocess
import sys
from typing import Self

from sysv_ipc import IPC_CREX, MessageQueue

JOBS = 400


def work(jobs: MessageQueue, results: MessageQueue) -> None:
    """Receive jobs until SIGTERM arrives; finish the job that was received last."""
    signal.signal(signal.SIGTERM, lambda *_: jobs.cancel(later=True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent.
    for message, _ in jobs:
        results.send(b"%d" % int(message) ** 2)
        if jobs.cancelled:
            break  # Leave the other jobs to other workers.


class Pool:
    def __init__(self, size: int) -> None:
        self.jobs = MessageQueue(None, IPC_CREX)
        self.results = MessageQueue(None, IPC_CREX)
        self.workers = [self.start() for _ in range(size)]

    def start(self) -> subprocess.Popen[bytes]:
        keys = [str(self.jobs.key), str(self.results.key)]
        return subprocess.Popen([sys.executable, __file__, *keys])

    def replace(self) -> None:
        """Stop the worker that was started first, and start another one."""
        worker = self.workers.pop(0)
        worker.terminate()
        self.workers.append(self.start())
        worker.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait()
        self.jobs.remove()
        self.results.remove()


def main() -> None:
    found = []
    with Pool(2) as pool:
        for number in range(JOBS):
            pool.jobs.send(str(number))
            if number % 100 == 99:
                pool.replace()
            while result := pool.results.try_receive():
                found.append(int(result[0]))
        while len(found) < JOBS:
            found.append(int(pool.results.receive(timeout=60)[0]))
        print(len(found), "results,", len(set(found)), "different ones")
        print("jobs left:", pool.jobs.current_messages)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        work(*(MessageQueue(int(key)) for key in sys.argv[1:]))
    else:
        main()
