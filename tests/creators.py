"""Creators of a semaphore that are stopped or killed at any moment, and what they leave."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers import fork, wait_until

from sysv_ipc import IPC_CREAT, ExistentialError, Semaphore

INITIAL = 7

CREATE = "import sys, sysv_ipc; sysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREAT, 0o640, 7)"


def phase(key: int) -> str:
    """Return how far a creator came, according to the system's own list."""
    with open("/proc/sysvipc/sem", encoding="ascii") as file:
        lines = file.readlines()[1:]
    for line in lines:
        words = line.split()
        if int(words[0]) == key:
            return "unfinished" if words[2] == "611" else "finished"
    return "nothing"


def remove(key: int) -> None:
    """Remove the semaphore with the key; opening it cleans up an unfinished one."""
    with contextlib.suppress(ExistentialError):
        Semaphore(key, mode=0).remove()


def killed_creator(key: int, delay: float) -> None:
    """Fork a creator and kill it after a number of seconds."""
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(go, b".")
            Semaphore(key, IPC_CREAT, 0o640, INITIAL)
            signal.pause()
        finally:
            os._exit(1)
    os.close(go)
    os.read(ready, 1)
    os.close(ready)
    end = time.perf_counter() + delay
    while time.perf_counter() < end:
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def kill_many(key: int, count: int) -> None:
    """Kill a number of creators, one after another, and print how often each phase was left."""
    random_source = random.Random(1)
    phases: Counter[str] = Counter()
    for _ in range(count):
        killed_creator(key, random_source.random() * 300e-6)
        phases[phase(key)] += 1
        try:
            assert Semaphore(key, mode=0).value == INITIAL
        except ExistentialError:
            assert phase(key) == "nothing"
        assert Semaphore(key, IPC_CREAT, 0o640, INITIAL).value == INITIAL
        remove(key)
    print(dict(phases))


def kill_beside_openers(key: int, count: int) -> None:
    """Kill creators while three processes open the semaphore; print the values that each saw."""
    read_end, write_end = os.pipe()

    def open_all_the_time(flags: int) -> None:
        os.close(read_end)
        seen: set[int] = set()
        stop = False

        def end(*_: object) -> None:
            nonlocal stop
            stop = True

        signal.signal(signal.SIGTERM, end)
        os.write(write_end, b"ready\n")
        while not stop:
            with contextlib.suppress(ExistentialError):
                seen.add(Semaphore(key, flags, 0o640, INITIAL).value)
        os.write(write_end, (" ".join(map(str, seen)) + "\n").encode())

    openers = [fork(functools.partial(open_all_the_time, flags)) for flags in (0, 0, IPC_CREAT)]
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert [pipe.readline() for _ in openers] == ["ready\n"] * 3
        random_source = random.Random(2)
        for _ in range(count):
            killed_creator(key, random_source.random() * 200e-6)
            remove(key)
        for pid in openers:
            os.kill(pid, signal.SIGTERM)
            assert os.waitpid(pid, 0)[1] == 0
        print(pipe.read(), end="")
    remove(key)


def killed_at(key: int, *injection: str, code: str = CREATE) -> None:
    """Run a creator that strace kills at the system call that the injection names."""
    command = ["strace", "-f", "-o", "/dev/null"]
    for item in injection:
        command += ["-e", f"inject={item}"]
    done = subprocess.run([*command, sys.executable, "-c", code, str(key)], timeout=60)
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


@contextlib.contextmanager
def stopped_creator(key: int, code: str = CREATE) -> Iterator[Callable[..., None]]:
    """Yield a function that continues a creator, which has stopped before it initialises the set.

    The function can also send another signal.
    """
    # The first semget(2) looks for the set, the second makes it.
    command = ["strace", "-f", "-o", "/dev/null", "-e", "inject=semget:signal=SIGSTOP:when=2"]
    creator = subprocess.Popen([*command, sys.executable, "-c", code, str(key)])
    wait_until(lambda: phase(key) == "unfinished")
    children = Path(f"/proc/{creator.pid}/task/{creator.pid}/children").read_text().split()

    def go_on(number: int = signal.SIGCONT) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)

    def has_ended() -> bool:
        # Repeatedly: SIGCONT has no effect if it arrives before the creator has stopped.
        go_on()
        return creator.poll() is not None

    yield go_on
    wait_until(has_ended)
    assert creator.returncode == 0
    remove(key)


@contextlib.contextmanager
def lock_taken() -> Iterator[None]:
    """Let another process hold the lock that creators hold."""
    read_end, write_end = os.pipe()

    def hold() -> None:
        fcntl.flock(os.open("/proc/self/ns/ipc", os.O_RDONLY), fcntl.LOCK_EX)
        os.write(write_end, b".")
        signal.pause()

    pid = fork(hold)
    os.read(read_end, 1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read_end)
        os.close(write_end)
