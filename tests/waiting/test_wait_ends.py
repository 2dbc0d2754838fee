"""Threads that wait, in every call that can wait, while the process ends or is replaced."""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import calls
import pytest

import sysv_ipc

#: Starts two threads for each call of the table, without and with a timeout, or four for each
#: kind of wait of asyncio; then ends as its second argument names.
PROGRAM = """
import asyncio, contextlib, os, signal, sys, threading, time, warnings
import calls, sysv_ipc
from sleeping import waits
from sysv_ipc import IPC_CREX, aio
# This test forks in a process with threads on purpose.
warnings.simplefilter("ignore", DeprecationWarning)
kind, how, daemon = sys.argv[1], sys.argv[2], sys.argv[3] == "daemon"
made, functions, ends = [], [], []
# The first error imports the module with the notes.  Without the GIL, CPython 3.13 may hang at
# exit if a thread imports meanwhile.
try:
    sysv_ipc.MessageQueue.from_id(-1)
except sysv_ipc.ExistentialError:
    pass

if kind == "threads":
    for wait in calls.WAITS.values():
        for timeout in (None, 100) if wait.timed else (None,):
            target = wait.make()
            functions.append(lambda wait=wait, target=target, t=timeout: wait.call(target, t))
            # The segment of a number is removed with the process.
            if isinstance(target, calls.Number):
                ends.append(lambda wait=wait, target=target: wait.end(target))
            else:
                made.append(target)
else:
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX)
    queue, full = (sysv_ipc.MessageQueue(None, IPC_CREX) for _ in range(2))
    full.max_size = 10
    made += [semaphore, queue, full]
    aio_semaphore = aio.Semaphore.from_id(semaphore.id)
    aio_queue, aio_full = map(aio.MessageQueue.from_id, (queue.id, full.id))
    async def iterate():
        async for _ in aio_queue: pass
    for start in (aio_queue.receive, lambda: aio_full.send(b"x" * 100),
                  lambda: aio_semaphore.acquire(100), iterate):
        functions += [lambda start=start: asyncio.run(start())] * 4

print(",".join(f"{calls.table_of(type(one))}:{one.id}" for one in made), flush=True)

def wait(function):
    with contextlib.suppress(sysv_ipc.ExistentialError, StopIteration):
        function()

threads = [threading.Thread(target=wait, args=[one], daemon=daemon) for one in functions]
for thread in threads:
    thread.start()

def all_sleep():
    if kind == "threads":
        return all(waits(thread.native_id) for thread in threads)
    # The worker threads of event loops wait; the threading module does not list them.
    return sum(waits(int(one)) for one in os.listdir("/proc/self/task")) >= len(threads)

def until_all_sleep():
    while not all_sleep():
        time.sleep(0.001)

def remove(*_):
    for one in made:
        one.remove()
    for end in ends:
        end()

until_all_sleep()
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
    until_all_sleep()
    print("all wait", flush=True)
    remove()
    for thread in threads: thread.join()
elif how == "exec":
    os.execv("/bin/echo", ["echo", "new"])
"""

#: Each way to end, with daemon threads or not: the status, and the output after the ids.
OUTCOMES = [
    ("SIGTERM with a handler", "daemon", 5, "handler"),
    ("SIGTERM with a handler", "joined", 5, "handler"),
    ("SIGINT", "daemon", -signal.SIGINT, ""),
    ("SIGINT", "joined", -signal.SIGINT, ""),
    ("SIGTERM", "joined", -signal.SIGTERM, ""),
    ("sys.exit", "daemon", 6, ""),
    ("removal, then the end", "joined", 0, ""),
    ("os._exit", "joined", 7, ""),
    ("fork and exec", "daemon", 0, "child all wait"),
    ("fork and exec", "joined", 0, "child all wait"),
    ("exec", "joined", 0, "new"),
]


@functools.cache
def ends(kind: str) -> dict[tuple[str, str], subprocess.CompletedProcess[str]]:
    """End programs that wait in each way, two programs at a time."""

    def end(how: str, threads: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, kind, how, threads]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    hows = [(how, threads) for how, threads, *_ in OUTCOMES]
    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(hows, pool.map(end, *zip(*hows, strict=True)), strict=True))
    for one in done.values():
        for table, id in re.findall(r"(\w+):(\d+)", one.stdout.partition("\n")[0]):
            with contextlib.suppress(sysv_ipc.ExistentialError):
                calls.REMOVE[table](int(id))
    return done


@pytest.mark.parametrize(("how", "threads", "status", "printed"), OUTCOMES)
@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_every_call_waits_when_the_process_ends(
    kind: str, how: str, threads: str, status: int, printed: str
) -> None:
    done = ends(kind)[how, threads]
    words = done.stdout.split()
    assert (done.returncode, " ".join(words[1:])) == (status, printed), done.stderr
    if how == "SIGINT":
        assert done.stderr.count("KeyboardInterrupt") >= 1
    else:
        assert done.stderr == ""
