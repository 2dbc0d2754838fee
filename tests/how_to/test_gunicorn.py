"""docs/how-to/gunicorn.md: the workers of gunicorn share a counter and a limit."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import wait_until
from recipes import FOLDER, SCRIPTS, environment

import sysv_ipc

pytestmark = pytest.mark.once

#: The application of the example, in which each report kills its worker.
DYING = """
import os
import gunicorn_app

def make_report():
    os.kill(os.getpid(), 9)

gunicorn_app.make_report = make_report
app = gunicorn_app.app
"""


class Connection(http.client.HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self.path))


def listens(path: Path) -> bool:
    """Return True if a server accepts connections."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


class Server:
    """A running gunicorn."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.process = process
        self.path = path

    def get(self, target: str) -> tuple[int, str]:
        connection = Connection(self.path)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start gunicorn with the configuration of the example: serve(*arguments)."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> Server:
        path = tmp_path / "socket"
        command = [str(SCRIPTS / "gunicorn"), "--config", str(FOLDER / "gunicorn_conf.py")]
        command += ["--bind", f"unix:{path}", "--log-level", "critical", *arguments]
        process = subprocess.Popen(command, env=environment(HOME=str(tmp_path)))
        started.append(process)
        wait_until(lambda: listens(path))
        return Server(process, path)

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def test_requests_are_counted_over_all_workers(serve: Callable[..., Server]) -> None:
    server = serve()
    answers = [server.get("/")[1].split(",") for _ in range(50)]
    assert [answer[0] for answer in answers] == [f"request {n}" for n in range(1, 51)]
    assert server.get("/report") == (200, "a report\n")


def test_a_permit_of_a_killed_worker_returns(serve: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    server = serve("--pythonpath", str(tmp_path), "dying:app")
    for _ in range(4):  # There are two permits.
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            server.get("/report")
    (record,) = sysv_ipc.semaphores()
    wait_until(lambda: sysv_ipc.Semaphore.from_id(record.id).value == 2)
    assert server.get("/")[0] == 200


def test_nothing_is_left_when_the_master_ends(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.get("/")[0] == 200
    assert (len(sysv_ipc.semaphores()), len(sysv_ipc.shared_memories())) == (1, 1)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert (sysv_ipc.semaphores(), sysv_ipc.shared_memories()) == ([], [])


def test_only_the_semaphore_is_left_when_all_processes_are_killed(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    assert server.get("/")[0] == 200
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 2)
    for pid in [server.process.pid, *map(int, children.read_text().split())]:
        os.kill(pid, signal.SIGKILL)
    (left,) = sysv_ipc.semaphores()
    wait_until(lambda: sysv_ipc.shared_memories() == [])
    sysv_ipc.remove_semaphore(left.id)
