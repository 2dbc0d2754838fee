"""What becomes of 16 threads that wait, in each kind of call, when the process ends or changes."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import sysv_ipc

CALLS = {
    "acquire": "semaphore.acquire()",
    "acquire with a timeout": "semaphore.acquire(100)",
    "op": "many.op([(0, -1)])",
    "zero": "many.zero(1)",
    "Z": "many[1].Z()",
    "receive": "queue.receive()",
    "receive with a timeout": "queue.receive(timeout=100)",
    "receive_into": "queue.receive_into(bytearray(8))",
    "receive_many": "queue.receive_many(8)",
    "iteration": "list(queue)",
    "send": "full.send(b'x' * 100)",
    "send with a timeout": "full.send(b'x' * 100, timeout=100)",
    "send_many": "full.send_many([b'x' * 100])",
    "aio, receive": "asyncio.run(aio_queue.receive())",
    "aio, send": "asyncio.run(aio_full.send(b'x' * 100))",
    "aio, acquire": "asyncio.run(aio_semaphore.acquire(100))",
    "aio, iteration": "asyncio.run(iterate())",
}

PROGRAM = """
import os, signal, sys, threading, time, warnings
from sleeping import blocked_in_system_call
import sysv_ipc
# To fork beside threads is what is tried here.
warnings.simplefilter("ignore", DeprecationWarning)
from sysv_ipc import IPC_CREX
call, how, daemon = sys.argv[1], sys.argv[2], sys.argv[3] == "daemon"
semaphore = sysv_ipc.Semaphore(None, IPC_CREX)
many = sysv_ipc.SemaphoreSet(None, 2, IPC_CREX, initial_values=[0, 1])
queue, full = (sysv_ipc.MessageQueue(None, IPC_CREX) for _ in range(2))
full.max_size = 10
ids = [handle.id for handle in (semaphore, many, queue, full)]
# The first error imports what tells the cure.  Where there is no GIL, CPython 3.13 may never end
# when a thread imports meanwhile.
try:
    sysv_ipc.MessageQueue.from_id(-1)
except sysv_ipc.ExistentialError:
    pass
print(*ids, flush=True)
if "asyncio" in call:
    import asyncio
    from sysv_ipc import aio
    aio_semaphore = aio.Semaphore.from_id(ids[0])
    aio_queue, aio_full = map(aio.MessageQueue.from_id, ids[2:])
    async def iterate():
        async for _ in aio_queue: pass
code = compile(call, "call", "eval")

def wait():
    try:
        eval(code)
    except sysv_ipc.ExistentialError:
        pass

threads = [threading.Thread(target=wait, daemon=daemon) for _ in range(16)]
for thread in threads:
    thread.start()

def sleeping():
    # Each event loop has a worker thread of its own, which is no thread of threading.
    natives = (os.listdir("/proc/self/task") if "asyncio" in call
               else [thread.native_id for thread in threads])
    return sum(blocked_in_system_call(int(one), "semop", "semtimedop", "msgsnd", "msgrcv")
               for one in natives)

while sleeping() < 16:
    time.sleep(0.001)

def remove(*_):
    sysv_ipc.remove_semaphore(ids[0]); sysv_ipc.remove_semaphore(ids[1])
    sysv_ipc.remove_message_queue(ids[2]); sysv_ipc.remove_message_queue(ids[3])

if how == "SIGTERM with a handler":
    def end(*_):
        print("handler", flush=True)
        remove()
        sys.exit(5)
    signal.signal(signal.SIGTERM, end)
    os.kill(os.getpid(), signal.SIGTERM)
    while True: time.sleep(1)
elif how == "SIGINT":
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True: time.sleep(1)
    finally:
        remove()
elif how == "SIGTERM":
    os.kill(os.getpid(), signal.SIGTERM)
    while True: time.sleep(1)
elif how == "sys.exit":
    sys.exit(6)
elif how == "removal, then the end":
    remove()
    for thread in threads: thread.join()
elif how == "os._exit":
    os._exit(7)
elif how == "fork and exec":
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/echo", ["echo", "child"])
    os.waitpid(pid, 0)
    print(sleeping(), flush=True)
    remove()
    for thread in threads: thread.join()
elif how == "exec":
    os.execv("/bin/echo", ["echo", "new"])
"""

#: How it ends, with daemon threads or not: status, and what it prints besides the ids.
OUTCOMES = [
    ("SIGTERM with a handler", "daemon", 5, "handler"),
    ("SIGTERM with a handler", "joined", 5, "handler"),
    ("SIGINT", "daemon", -signal.SIGINT, ""),
    ("SIGINT", "joined", -signal.SIGINT, ""),
    ("SIGTERM", "joined", -signal.SIGTERM, ""),
    ("sys.exit", "daemon", 6, ""),
    ("removal, then the end", "joined", 0, ""),
    ("os._exit", "joined", 7, ""),
    ("fork and exec", "daemon", 0, "child 16"),
    ("fork and exec", "joined", 0, "child 16"),
    ("exec", "joined", 0, "new"),
]


@functools.cache
def ends(call: str) -> dict[tuple[str, str], subprocess.CompletedProcess[str]]:
    """Let programs that wait in this call come to all their ends, two programs at a time."""

    def end(how: str, threads: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, CALLS[call], how, threads],
            capture_output=True,
            text=True,
            timeout=60,
        )

    hows = [(how, threads) for how, threads, *_ in OUTCOMES]
    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(hows, pool.map(end, *zip(*hows, strict=True)), strict=True))
    removers: list[Callable[[int], None]] = [
        sysv_ipc.remove_semaphore,
        sysv_ipc.remove_semaphore,
        sysv_ipc.remove_message_queue,
        sysv_ipc.remove_message_queue,
    ]
    for one in done.values():
        for remove, number in zip(removers, one.stdout.split(), strict=False):
            with contextlib.suppress(sysv_ipc.ExistentialError):
                remove(int(number))
    return done


@pytest.mark.parametrize(("how", "threads", "status", "printed"), OUTCOMES)
@pytest.mark.parametrize("call", CALLS)
def test_sixteen_threads_wait_when_the_end_comes(
    call: str, how: str, threads: str, status: int, printed: str
) -> None:
    done = ends(call)[how, threads]
    words = done.stdout.split()
    assert (done.returncode, " ".join(words[4:])) == (status, printed)
    if how == "SIGINT":
        assert done.stderr.count("KeyboardInterrupt") >= 1
    else:
        assert done.stderr == ""
