"""Hold a lock that the kernel releases if its holder is killed.

Without arguments, this program starts a holder, kills it, and acquires the lock after it.
"""

import signal
import subprocess
import sys

from sysv_ipc import IPC_CREAT, Semaphore, key_from_name

KEY = key_from_name("example/kill-safe-lock")


def open_lock() -> Semaphore:
    lock = Semaphore(KEY, IPC_CREAT, initial_value=1)
    lock.undo = True  # before the first acquire()
    return lock


def hold_forever() -> None:
    with open_lock():
        print("the holder has the lock", flush=True)
        signal.pause()


def main() -> None:
    lock = open_lock()
    command = [sys.executable, __file__, "hold"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        print(holder.stdout.readline(), end="")
        print("free while it is held:", lock.try_acquire())
        holder.kill()
    with lock:
        print("the holder was killed, and the lock is acquired")
    print("its value is", lock.value)
    lock.remove()


if __name__ == "__main__":
    if sys.argv[1:] == ["hold"]:
        hold_forever()
    else:
        main()
