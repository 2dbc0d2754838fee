"""The example with trio and anyio: it runs, and loses nothing however scopes are cancelled."""

from __future__ import annotations

import random
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio
from helpers import threads_in, wait_until

import sysv_ipc

EXAMPLE = Path(__file__).parents[2] / "examples/trio_and_anyio.py"


@pytest.fixture(scope="module")
def example() -> SimpleNamespace:
    """The example, as a module."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLE)))


def run(way: str, main: Any) -> None:
    if way == "trio":
        trio.run(main, trio)
    else:
        anyio.run(main, anyio, backend=way.removeprefix("anyio in "))


WAYS = ["trio", "anyio in asyncio", "anyio in trio"]


def test_the_example_runs() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [f"{way} b'nothing lost' 1" for way in WAYS]
    assert done.stderr == ""


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_when_scopes_are_cancelled_at_random(
    example: SimpleNamespace, queue: sysv_ipc.MessageQueue, way: str
) -> None:
    count = 1500
    received: list[int] = []
    source = random.Random(3)

    def send() -> None:
        pauses = random.Random(4)
        for number in range(count):
            queue.send(str(number))
            time.sleep(pauses.random() * 1e-3)

    async def main(library: Any) -> None:
        receiver = example.Receiver(queue, library.to_thread.run_sync)
        while len(received) < count:
            with library.move_on_after(source.random() * 2e-3):
                received.append(int((await receiver.receive())[0]))

    sender = threading.Thread(target=send)
    sender.start()
    run(way, main)
    sender.join()
    assert received == list(range(count))


@pytest.mark.parametrize("way", WAYS)
def test_the_thread_of_a_cancelled_scope_ends(
    example: SimpleNamespace, queue: sysv_ipc.MessageQueue, way: str
) -> None:
    async def main(library: Any) -> None:
        receiver = example.Receiver(queue, library.to_thread.run_sync)
        with library.move_on_after(0.02) as scope:
            await receiver.receive()
        assert scope.cancelled_caught

    run(way, main)
    wait_until(lambda: threads_in("msgrcv") == 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_scope_that_is_cancelled_before_its_thread_begins(
    example: SimpleNamespace, queue: sysv_ipc.MessageQueue, way: str
) -> None:
    async def main(library: Any) -> None:
        limiter = library.CapacityLimiter(1)

        async def run_sync(wait: Any, **keywords: Any) -> Any:
            return await library.to_thread.run_sync(wait, limiter=limiter, **keywords)

        receiver = example.Receiver(queue, run_sync)
        await limiter.acquire_on_behalf_of("nobody")
        with library.move_on_after(0.01) as scope:
            await receiver.receive()
        assert scope.cancelled_caught
        limiter.release_on_behalf_of("nobody")
        queue.send("for the next")
        assert await receiver.receive() == (b"for the next", 1)

    run(way, main)
