"""Pass handles to the processes of multiprocessing, with every start method."""

import multiprocessing

from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SharedMemory


def count(lock: Semaphore, memory: SharedMemory, results: MessageQueue, times: int) -> None:
    total = memory.view(0, 8, "q")
    for _ in range(times):
        with lock:
            total[0] += 1
    results.send("done")


def main() -> None:
    lock = Semaphore(None, IPC_CREX, initial_value=1)
    lock.undo = True  # Forked and pickled handles keep this attribute.
    memory = SharedMemory(None, IPC_CREX, init_character=b"\0")
    results = MessageQueue(None, IPC_CREX)
    try:
        for method in ("fork", "spawn", "forkserver"):
            multiprocessing.set_start_method(method, force=True)
            arguments = (lock, memory, results, 1000)
            workers = [multiprocessing.Process(target=count, args=arguments) for _ in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            done = results.receive_many(2, block=False)
            print(f"{method}: {len(done)} done, total", memory.view(0, 8, "q")[0])
    finally:
        lock.remove()
        memory.remove()
        results.remove()


if __name__ == "__main__":
    main()
