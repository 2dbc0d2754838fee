"""Share a counter and a limit between the workers of gunicorn.

    gunicorn --config examples/how_to/gunicorn_conf.py

The master process imports this module once (preload_app), and the workers inherit its objects.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from sysv_ipc import IPC_CREX, IPC_PRIVATE, Semaphore, SharedMemory

#: The segment has no key and is removed at once: the kernel deletes it with its last process.
memory = SharedMemory(IPC_PRIVATE, IPC_CREX, init_character=b"\0")
memory.remove()
hits = memory.atomic(0, "u64")

#: At most two requests may make a report at the same time, in all workers together.
reports = Semaphore(IPC_PRIVATE, IPC_CREX, initial_value=2)
reports.undo = True  # gunicorn kills workers that take too long


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    number = hits.add(1) + 1
    if environ["PATH_INFO"] != "/report":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"request %d, worker %d\n" % (number, os.getpid())]
    if not reports.try_acquire():
        start_response("503 Service Unavailable", [("Retry-After", "1")])
        return [b"too many reports at the moment\n"]
    try:
        body = make_report()
    finally:
        reports.release()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def make_report() -> bytes:
    return b"a report\n"
