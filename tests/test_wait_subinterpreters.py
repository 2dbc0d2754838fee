"""Waits in subinterpreters, which are made, used and destroyed one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

import sysv_ipc

RunPython = Callable[..., subprocess.CompletedProcess[str]]

#: What each interpreter does.
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
# Helpers end when nobody wants them: 3.11 destroys no interpreter that has threads.
import threading
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(0.5)
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
}

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


#: Isolated ones have no threads in 3.11.
KINDS = ["isolated", "legacy"] if sys.version_info >= (3, 12) else ["legacy"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CODE)
def test_interpreters_wait_and_are_destroyed(
    run_python: RunPython, queue: sysv_ipc.MessageQueue, name: str, kind: str
) -> None:
    if sys.version_info[:2] == (3, 12) and kind == "isolated" and name.startswith("aio"):
        pytest.skip("importing asyncio itself crashes isolated interpreters of CPython 3.12")
    code = CODE[name]
    if sys.version_info < (3, 12) and "destroyed" in name:
        # 3.11 does not destroy an interpreter that has threads.
        code += "tasks.close()\n"
    done = run_python(PROGRAM, kind, queue.id, code)
    assert (done.stdout, done.stderr, done.returncode) == ("(b'and still', 1)\n", "", 0)
