"""Creators of a semaphore that are killed at any moment, and what they leave."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter

from sysv_ipc import IPC_CREAT, ExistentialError, Semaphore

INITIAL = 7


def phase(key: int) -> str:
    """How far a creator came, as the system's own list shows it."""
    with open("/proc/sysvipc/sem", encoding="ascii") as file:
        lines = file.readlines()[1:]
    for line in lines:
        words = line.split()
        if int(words[0]) == key:
            return "unfinished" if words[2] == "611" else "finished"
    return "nothing"


def remove(key: int) -> None:
    """Remove whatever has the key; opening it cleans up what is unfinished."""
    with contextlib.suppress(ExistentialError):
        Semaphore(key, mode=0).remove()


def killed_creator(key: int, delay: float) -> None:
    """Fork a creator and kill it after that many seconds."""
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
    """Kill so many, one after the other, and print how often each phase was what it left."""
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
