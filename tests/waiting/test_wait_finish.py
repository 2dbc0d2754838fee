"""Daemon threads that wait when the interpreter ends: nothing crashes, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from sysv_ipc import MessageQueue, Semaphore

Run = Callable[..., subprocess.CompletedProcess[str]]
T = TypeVar("T")

#: Actions of an object that is collected at exit; each of them once made waits or forks crash.
LAST_ACTS = {
    "waits": "other.receive(timeout=0.01)",
    "cancels": "queue.cancel()",
    "forks": "forked()",
    "waits for a semaphore": "semaphore.acquire(0.01)",
}

WORKERS = """
import _thread, ctypes, os, sys, time, sysv_ipc
from sysv_ipc import IPC_CREX
queue = sysv_ipc.MessageQueue(None, IPC_CREX)
other = sysv_ipc.MessageQueue(None, IPC_CREX)
semaphore = sysv_ipc.Semaphore(None, IPC_CREX)
memory = sysv_ipc.SharedMemory(None, IPC_CREX, init_character=bytes(1))
number = memory.atomic(0, "u32")
handles = [queue, other, semaphore, memory]
# Functions with globals that are not cleared with the module.
space = {"queue": queue, "semaphore": semaphore, "number": number, "Error": sysv_ipc.Error}
exec('''
def worker(wait):
    while True:
        try:
            wait()
        except Error:
            pass
def waits():
    return [lambda: queue.receive(timeout=0.05), lambda: queue.receive(),
            lambda: semaphore.acquire(0.05), lambda: number.wait(0, 0.05)]
''', space)
for wait in space["waits"]() * 16:
    _thread.start_new_thread(space["worker"], (wait,))

class Owner:
    def __del__(self, write=os.write, end=os._exit, wait=os.waitpid, sleep=time.sleep,
                queue=queue, other=other, semaphore=semaphore, handles=handles,
                Error=sysv_ipc.Error, fork=ctypes.CDLL(None).fork):
        def forked():
            # CPython's os.fork() refuses to run at this point.
            pid = fork()
            if pid == 0:
                end(0)
            wait(pid, 0)
        # The threads end as soon as they try to take the GIL.
        sleep(0.3)
        for _ in 1, 2, 3:
            try:
                ACT
            except Error:
                pass
        for handle in handles:
            handle.remove()
        write(1, b"ended well")

import warnings
warnings.simplefilter("ignore", DeprecationWarning)
time.sleep(0.1)
owner = Owner()
"""


@pytest.mark.parametrize("act", LAST_ACTS)
def test_threads_that_end_in_a_wait_leave_nothing_behind(run_python: Run, act: str) -> None:
    done = run_python(WORKERS.replace("ACT", LAST_ACTS[act]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended well", "")


CONSUMER = """
import os, sys, threading, sysv_ipc
queue = sysv_ipc.MessageQueue(int(sys.argv[1]))
space = {"queue": queue, "write": os.write}
exec('''
def consume():
    while True:
        message, _ = TAKE
        write(1, message + bytes([10]))
''', space)
threading.Thread(target=space["consume"], daemon=True).start()
os.write(1, b"started" + bytes([10]))
sys.stdin.read(1)
"""

TAKES = {
    "receive": "queue.receive()",
    "with a timeout": "queue.receive(timeout=100)",
    "many": "queue.receive_many(1)[0]",
    "iteration": "next(queue)",
}


def end_beside(code: str, key: int | None, give: Callable[[], T]) -> tuple[list[T], bytes]:
    """End a consumer while values are passed to it; return the results, and its output."""
    consumer = subprocess.Popen(
        [sys.executable, "-c", code, str(key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert consumer.stdin is not None
    assert consumer.stdout is not None
    assert consumer.stdout.readline() == b"started\n"
    consumer.stdin.close()
    given = []
    while consumer.poll() is None:
        given.append(give())
        # As long as the consumer needs for one message, so that it often waits for the next.
        time.sleep(0.0005)
    with consumer.stdout as shown:
        return given, shown.read()


def ends_under_load(queue: MessageQueue, code: str, ends: int) -> tuple[int, int]:
    """End consumers while messages arrive; return the numbers sent, and left or shown."""
    sent = there = 0
    for _ in range(ends):
        given, shown = end_beside(code, queue.key, lambda: queue.try_send(b"a message"))
        sent += sum(given)
        there += shown.count(b"a message")
        while queue.try_receive() is not None:
            there += 1
    return sent, there


@pytest.mark.parametrize("take", TAKES)
def test_no_message_is_lost_when_the_interpreter_ends_around_a_consumer(
    queue: MessageQueue, take: str
) -> None:
    sent, there = ends_under_load(queue, CONSUMER.replace("TAKE", TAKES[take]), 8)
    assert sent == there
    assert sent > 0


def test_no_permit_is_lost_when_the_interpreter_ends(semaphore: Semaphore) -> None:
    """The consumer prints each permit that it takes, and releases none."""
    code = """
import os, sys, threading, sysv_ipc
semaphore = sysv_ipc.Semaphore(int(sys.argv[1]))
space = {"semaphore": semaphore, "write": os.write}
exec('''
def consume():
    while True:
        semaphore.acquire()
        write(1, bytes([46]))
''', space)
threading.Thread(target=space["consume"], daemon=True).start()
os.write(1, b"started" + bytes([10]))
sys.stdin.read(1)
"""
    semaphore.value = 0
    for _ in range(8):
        given, shown = end_beside(code, semaphore.key, semaphore.release)
        assert len(given) - shown.count(b".") == semaphore.value
        semaphore.value = 0


def test_a_function_that_runs_at_the_end_may_use_and_join_a_daemon_thread(run_python: Run) -> None:
    """Even if it was registered before the import of the library, so that it runs afterwards."""
    code = """
import atexit
@atexit.register
def stop():
    queue.send("last")
    queue.send("stop")
    thread.join()
    queue.remove()
    print(*got)
import sysv_ipc, threading
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
got = []
def consume():
    while not got or got[-1] != "stop":
        got.append(queue.receive()[0].decode())
thread = threading.Thread(target=consume, daemon=True)
thread.start()
queue.send("first")
while not got:
    pass
"""
    assert run_python(code).stdout == "first last stop\n"


def test_the_thread_that_ends_the_interpreter_can_wait(run_python: Run) -> None:
    code = """
import atexit
@atexit.register
def last():
    queue.send("x")
    print(queue.receive(timeout=5))
    try:
        queue.receive(timeout=0.01)
    except sysv_ipc.BusyError:
        print("in time")
    queue.remove()
import sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
"""
    assert run_python(code).stdout == "(b'x', 1)\nin time\n"


CHILD = """
import multiprocessing, os, sys, threading, time
def work(key, write):
    import sysv_ipc
    queue = sysv_ipc.MessageQueue(key)
    def consume():
        while True:
            message, _ = queue.receive(type=1)
            os.write(write, message + b"\\n")
    threading.Thread(target=consume, daemon=True).start()
    queue.send("started", type=2)
    time.sleep(0.02)
if __name__ == "__main__":
    IMPORT
    context = multiprocessing.get_context(sys.argv[2])
    process = context.Process(target=work, args=(int(sys.argv[1]), 1))
    process.start()
    process.join()
"""


@pytest.mark.parametrize("imported", ["", "import sysv_ipc"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_no_message_is_lost_when_a_child_of_multiprocessing_ends(
    queue: MessageQueue, tmp_path: Path, method: str, imported: str
) -> None:
    """Such a child does not call the functions of atexit, but the finalizers of multiprocessing."""
    program = tmp_path / "children.py"
    program.write_text(CHILD.replace("IMPORT", imported or "pass"))
    sent = there = 0
    for _ in range(6):
        parent = subprocess.Popen(
            [sys.executable, program, str(queue.key), method], stdout=subprocess.PIPE
        )
        assert parent.stdout is not None
        queue.receive(type=2, timeout=60)
        while parent.poll() is None:
            sent += queue.try_send(b"a message")
            time.sleep(0.0005)
        there += parent.stdout.read().count(b"a message")
        parent.stdout.close()
        while queue.try_receive() is not None:
            there += 1
    assert sent == there


def test_cancel_still_ends_waits_in_the_last_functions(run_python: Run) -> None:
    """Even in one that was registered before the library was imported."""
    code = """
import atexit
@atexit.register
def stop():
    while thread.is_alive():
        queue.cancel()
        thread.join(0.01)
    queue.remove()
    print("joined")
import sysv_ipc, threading
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
def work():
    try:
        queue.receive()
    except sysv_ipc.CancelledError:
        print("cancelled")
thread = threading.Thread(target=work, daemon=True)
thread.start()
"""
    assert run_python(code).stdout == "cancelled\njoined\n"


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="needs CPython 3.12 or newer: interpreters with GILs of their own",
)
def test_no_message_is_lost_if_only_another_interpreter_has_imported_the_library(
    queue: MessageQueue,
) -> None:
    code = """
import os, sys, threading
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
made, run = interpreters.create(), interpreters.run_string
run(made, f"import os, sysv_ipc; queue = sysv_ipc.MessageQueue({sys.argv[1]})")
text = "for message, _ in queue: os.write(1, message + bytes([10]))"
threading.Thread(target=lambda: run(made, text), daemon=True).start()
os.write(1, b"started" + bytes([10]))
sys.stdin.read(1)
"""
    sent, there = ends_under_load(queue, code, 6)
    assert sent == there
