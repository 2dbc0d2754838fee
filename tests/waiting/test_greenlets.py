"""Greenlets, which switch stacks; sanitizers report that as an error."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_handler_that_switches_to_another_greenlet_in_a_wait_harms_nothing(
    run_python: Run,
) -> None:
    """A switch saves the stack elsewhere, and replaces it with another."""
    code = """
import signal, greenlet, sysv_ipc as s
queue, other = s.MessageQueue(None, s.IPC_CREX), s.MessageQueue(None, s.IPC_CREX)
main = greenlet.getcurrent()
def handler(*_):
    if greenlet.getcurrent() is waiter:
        main.switch()
signal.signal(signal.SIGALRM, handler)
def body():
    try:
        queue.receive(timeout=60)
    except s.CancelledError:
        print("cancelled")
    print(queue.receive(timeout=60))
waiter = greenlet.greenlet(body)
signal.setitimer(signal.ITIMER_REAL, 0.05)
waiter.switch()
def deep(n):
    if n:
        sorted([n], key=lambda _: deep(n - 1) or 0)
        return
    for _ in range(3):
        try:
            other.receive(timeout=0.01)
        except s.BusyError:
            pass
deep(5)
# The wait is in progress, although its thread is not in a system call.
queue.cancel()
queue.send("x")
waiter.switch()
queue.remove()
other.remove()
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "cancelled\n(b'x', 1)\n"), done.stderr
