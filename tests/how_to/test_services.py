"""docs/how-to/asyncio-service.md, gevent.md: stopping and killing at the wrong moment."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from helpers import NEEDS_GEVENT
from recipes import FOLDER, running_recipe

from sysv_ipc import IPC_CREX, MessageQueue

pytestmark = pytest.mark.once

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def replies() -> Iterator[MessageQueue]:
    """The queue of the service's replies, removed at the end."""
    made = MessageQueue(None, IPC_CREX)
    yield made
    made.remove()


def test_a_service_that_is_stopped_has_answered_or_left_each_request(
    queue: MessageQueue, replies: MessageQueue
) -> None:
    questions = [{"id": n, "client": 7, "number": n} for n in range(100)]
    with running_recipe("asyncio_service.py", str(queue.key), str(replies.key)) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "the service is ready\n"
        queue.send_many(map(json.dumps, questions))
        answers = [replies.receive(timeout=60)]
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
    answers += replies.receive_many(100, block=False)
    left = queue.receive_many(100, block=False)
    ids = [json.loads(message)["id"] for message, _ in [*answers, *left]]
    assert sorted(ids) == list(range(100))


GREENLETS = """
import sys
sys.path.insert(0, sys.argv[1])
import gevent, sysv_ipc
from gevent_service import Receiver

queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
receiver = Receiver(queue)
received = []

def client():
    while True:
        received.append(int(receiver.receive()[0]))

for round in range(20):
    clients = [gevent.spawn(client) for _ in range(3)]
    for number in range(10):
        queue.send(str(round * 10 + number))
        gevent.sleep(0)
    gevent.killall(clients)
while len(received) < 200:
    received.append(int(receiver.receive()[0]))
print(received == list(range(200)), queue.current_messages)
queue.remove()
"""


@NEEDS_GEVENT
def test_greenlets_that_are_killed_lose_no_message(run_python: Run) -> None:
    done = run_python(GREENLETS, FOLDER)
    assert (done.returncode, done.stdout) == (0, "True 0\n"), done.stderr


def test_a_copy_of_a_cancelled_handle_can_wait(queue: MessageQueue) -> None:
    queue.cancel(later=True)
    assert not copy.copy(queue).cancelled
