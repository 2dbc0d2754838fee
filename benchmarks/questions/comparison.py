"""Compare a message between two processes with the alternatives that the README names.

Every way to send has a process of its own at the other end.  It answers the messages that ask for
an answer, so that the same process serves both columns: a message and its answer, and messages one
after another, of which the last asks for an answer.  Connections are made after the fork, because
those of ZeroMQ and Redis cannot be inherited.

The figure is the CPU time of all processes that take part, the server included.  Unlike the time
that passes, it hardly depends on other work of the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import sysv_ipc
from sysv_ipc import IPC_CREX

from ..harness import Bench, Contestant, Table
from .rivals import add_rows

MESSAGE, REQUEST = b"x" * 64, b"?" * 64
OURS = "sysv_ipc.MessageQueue"
SERVER = "redis-server"

#: How to send and how to receive.
End = tuple[Callable[[bytes], object], Callable[[], bytes]]
#: Returns the nanoseconds of CPU time that processes have used.
Clock = Callable[[], int]
#: Connects one of the two processes; the argument is True in the one that measures.
Connect = Callable[[bool], End]


def die_with_parent() -> None:
    """Let the kernel kill this process when the parent ends; see prctl(2)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def import_rival(bench: Bench, name: str) -> Any:
    """Import a package from the environment of the rivals; return None if it is not there."""
    if bench.rivals is None:
        return None
    folders = bench.rivals.glob("lib/python{}.{}/site-packages".format(*sys.version_info))
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def two_queues(send: str, receive: str, pair: tuple[Any, Any], first: bool = False) -> Connect:
    """Use one queue for each direction; if first is True, a message is the first of a tuple."""

    def connect(here: bool) -> End:
        out, back = pair if here else pair[::-1]
        take = getattr(back, receive)
        return getattr(out, send), (lambda: take()[0]) if first else take

    return connect


def sockets(stack: contextlib.ExitStack) -> Connect:
    """Use a pair of Unix sockets that separate messages."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for one in pair:
        stack.callback(one.close)
    return lambda here: (pair[not here].send, partial(pair[not here].recv, 64))


def zeromq(zmq: Any, folder: str, stack: contextlib.ExitStack) -> Connect:
    """Use sockets of the type PAIR on a Unix socket."""

    def connect(here: bool) -> End:
        context = zmq.Context()
        one = context.socket(zmq.PAIR)
        one.linger = 0
        (one.bind if here else one.connect)(f"ipc://{folder}/zeromq")
        if here:
            stack.callback(context.destroy)
        return one.send, one.recv

    return connect


def redis_lists(redis: Any, folder: str, stack: contextlib.ExitStack) -> tuple[Connect, int]:
    """Start a server on a Unix socket, without persistence, and use a list for each direction.

    Return the pid of the server too.
    """
    path = f"{folder}/redis"
    options = ["--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
    server = subprocess.Popen(
        [SERVER, *options], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    )
    stack.callback(server.communicate)
    stack.callback(server.terminate)
    assert server.stdout is not None
    if not any("eady to accept connections" in line for line in server.stdout):
        raise RuntimeError(f"{SERVER} ended with status {server.wait()}")

    def connect(here: bool) -> End:
        client = redis.Redis(unix_socket_path=path)
        if here:
            stack.callback(client.close)
        out, back = ("there", "back") if here else ("back", "there")
        return partial(client.rpush, out), lambda: client.blpop(back)[1]

    return connect, server.pid


def make_ways(
    bench: Bench, folder: str, stack: contextlib.ExitStack
) -> tuple[dict[str, Connect], dict[str, int]]:
    """Create the objects and the server; the stack removes them.

    Return the ways to connect, and the pids of servers.
    """
    context = multiprocessing.get_context("fork")
    queues = sysv_ipc.MessageQueue(None, IPC_CREX), sysv_ipc.MessageQueue(None, IPC_CREX)
    theirs = context.Queue(), context.Queue()
    for queue in queues:
        stack.callback(queue.remove)
    for kept in theirs:
        stack.callback(kept.close)
    servers = {}
    ways = {
        OURS: two_queues("send", "receive", queues, first=True),
        "multiprocessing.Queue": two_queues("put", "get", theirs),
        "Unix socket": sockets(stack),
    }
    if posix := bench.posix_ipc:
        pair = posix.MessageQueue(None, posix.O_CREX), posix.MessageQueue(None, posix.O_CREX)
        for one in pair:
            stack.callback(one.close)
            stack.callback(one.unlink)
        ways["posix_ipc.MessageQueue"] = two_queues("send", "receive", pair, first=True)
    if zmq := import_rival(bench, "zmq"):
        ways["ZeroMQ"] = zeromq(zmq, folder, stack)
    redis = import_rival(bench, "redis")
    if redis and shutil.which(SERVER):
        ways["Redis"], servers["Redis"] = redis_lists(redis, folder, stack)
    return ways, servers


def start_other_end(connect: Connect) -> int:
    """Fork the process that answers requests; return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            send, receive = connect(False)
            while True:
                if (message := receive()) == REQUEST:
                    send(message)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid


def end(pid: int) -> None:
    """Kill a process that waits forever."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def cpu_clock(*pids: int) -> Clock:
    """Return a clock that adds the CPU times of processes; see clock_getcpuclockid(3)."""
    cpuclock_sched = 2
    clocks = [~pid << 3 | cpuclock_sched for pid in pids]
    return lambda: sum(map(time.clock_gettime_ns, clocks))


def there_and_back(way: End, now: Clock) -> Contestant:
    """Return the contestant that sends a request and waits for its answer."""
    send, receive = way

    def run(count: int) -> float:
        start = now()
        for _ in range(count):
            send(REQUEST)
            receive()
        return (now() - start) / count

    return run


def one_way(way: End, now: Clock) -> Contestant:
    """Return the contestant that sends messages and waits for one answer at the end."""
    send, receive = way

    def run(count: int) -> float:
        start = now()
        for _ in range(count - 1):
            send(MESSAGE)
        send(REQUEST)
        receive()
        return (now() - start) / count

    return run


def ask(bench: Bench) -> Iterator[Table]:
    table = Table("64 bytes between two processes, CPU time")
    few = bench.few(5 if bench.quick else 200, 0.002 if bench.quick else 0.01)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways, servers = make_ways(bench, folder, stack)
        clocks = {}
        for name, connect in ways.items():
            pid = start_other_end(connect)
            stack.callback(end, pid)
            others = [servers[name]] if name in servers else []
            clocks[name] = cpu_clock(os.getpid(), pid, *others)
        ends = {name: connect(True) for name, connect in ways.items()}
        trips = few.measure({name: there_and_back(ends[name], clocks[name]) for name in ends})
        streams = few.measure({name: one_way(ends[name], clocks[name]) for name in ends})
    add_rows(table, "there and back", trips, OURS)
    add_rows(table, "one way", streams, OURS)
    modules = [module for name in ("zmq", "redis") if (module := import_rival(bench, name))]
    versions = [f"{module.__name__} {module.__version__}" for module in modules]
    table.notes += [
        f"Python packages: {', '.join(versions) or 'no ZeroMQ and no Redis'}.",
        "ZeroMQ and Redis use a Unix socket; Redis stores nothing on disk, and its server is a",
        "third process.  A message through Redis is one call that waits for the server's answer.",
    ]
    if shutil.which(SERVER) is None:
        table.notes.append(f"Redis is missing: apt-get install {SERVER}.")
    yield table
