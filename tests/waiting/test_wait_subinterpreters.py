"""Waits in subinterpreters, which are made, used and destroyed one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

import sysv_ipc

RunPython = Callable[..., subprocess.CompletedProcess[str]]

#: The code of each interpreter.
CODE = {
    "a timeout": """
try:
    queue.receive(timeout=0.005)
except sysv_ipc.BusyError:
    pass
""",
    "a thread that is cancelled": """
import threading
def wait():
    try:
        queue.receive()
    except sysv_ipc.CancelledError:
        pass
thread = threading.Thread(target=wait)
thread.start()
while thread.is_alive():
    queue.cancel()
    thread.join(0.001)
""",
    "aio": """
import asyncio
from sysv_ipc import aio
tasks = aio.MessageQueue.from_id(queue.id)
async def main():
    try:
        await tasks.receive(timeout=0.005)
    except sysv_ipc.BusyError:
        pass
asyncio.run(main())
""",
    "aio, closed while a task waits": """
import asyncio
from sysv_ipc import aio
tasks = aio.MessageQueue.from_id(queue.id)
loop = asyncio.new_event_loop()
task = loop.create_task(tasks.receive())
loop.run_until_complete(asyncio.sleep(0.005))
task._log_destroy_pending = False
loop.close()
tasks.close()
""",
    "aio, destroyed while a task waits": """
import asyncio
from sysv_ipc import aio
tasks = aio.MessageQueue.from_id(queue.id)
loop = asyncio.new_event_loop()
task = loop.create_task(tasks.receive())
loop.run_until_complete(asyncio.sleep(0.005))
task._log_destroy_pending = False
loop.close()
""",
    "aio, collected after a wait": """
import asyncio, sys
from sysv_ipc import aio
async def main():
    global tasks
    tasks = aio.MessageQueue.from_id(queue.id)
    task = asyncio.create_task(tasks.receive())
    await asyncio.sleep(0.005)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
asyncio.run(main())
if sys.version_info >= (3, 12):
    del tasks
""",
}

#: Threads of aio that end slowly, after the last line of their code: their thread-local objects
#: are freed last.  The threads call the loop, and this code gives them such an object there.
SLOWLY = """
import asyncio, threading, time

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.02)

local = threading.local()

def slowly(function):
    def run(*arguments, **keywords):
        local.slow = Slow()
        return function(*arguments, **keywords)
    return run

asyncio.BaseEventLoop.call_soon_threadsafe = slowly(asyncio.BaseEventLoop.call_soon_threadsafe)
"""

PROGRAM = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def create(kind):
    try:
        return interpreters.create(kind)
    except TypeError:
        return interpreters.create(isolated=kind == "isolated")

import sysv_ipc
kind, number, code = sys.argv[1], int(sys.argv[2]), sys.argv[3]
code = f"import sysv_ipc; queue = sysv_ipc.MessageQueue.from_id({number})" + code
for _ in range(8):
    interpreter = create(kind)
    failure = interpreters.run_string(interpreter, code)
    if failure is not None:
        print(failure.formatted)
    interpreters.destroy(interpreter)
queue = sysv_ipc.MessageQueue.from_id(number)
queue.send("and still")
print(queue.receive(timeout=10))
"""


#: Isolated interpreters have no threads in 3.11.
KINDS = ["isolated", "legacy"] if sys.version_info >= (3, 12) else ["legacy"]


def check(run_python: RunPython, queue: sysv_ipc.MessageQueue, kind: str, code: str) -> None:
    """Run the code in interpreters of this kind."""
    done = run_python(PROGRAM, kind, queue.id, code)
    assert (done.stdout, done.stderr, done.returncode) == ("(b'and still', 1)\n", "", 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in CODE if not name.startswith("aio")])
def test_interpreters_wait_and_are_destroyed(
    run_python: RunPython, queue: sysv_ipc.MessageQueue, name: str, kind: str
) -> None:
    check(run_python, queue, kind, CODE[name])


@pytest.mark.parametrize("threads", ["that end at once", "that end slowly"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in CODE if name.startswith("aio")])
def test_interpreters_whose_tasks_have_waited_are_destroyed(
    run_python: RunPython, queue: sysv_ipc.MessageQueue, name: str, kind: str, threads: str
) -> None:
    if sys.version_info[:2] == (3, 12) and kind == "isolated":
        pytest.skip("needs CPython 3.11, or 3.13 and newer: on 3.12, import asyncio crashes here")
    code = (SLOWLY if threads == "that end slowly" else "") + CODE[name]
    if sys.version_info < (3, 12):
        # 3.11 does not destroy an interpreter that has threads.
        code += "tasks.close()\n"
    check(run_python, queue, kind, "\n" + code)
