"""How much one busy thread slows an uncontended pair of calls, here and in 1.2.0.

Each contestant runs in an interpreter of its own and measures pairs of calls without and with
a CPU-bound thread beside them, in alternate rounds; what counts is the ratio of the two in the
same run.  The contestants take turns, and the medians of their ratios are printed.
"""

from __future__ import annotations

import json
import runpy
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 5

#: Run by both contestants: only what 1.2.0 has.
WORKER = """
import json, threading, time
import sysv_ipc

semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)

def semaphore_pair():
    semaphore.acquire()
    semaphore.release()

def queue_pair():
    queue.send(b"x" * 64)
    queue.receive()

def nanoseconds(pair, seconds=0.15):
    pairs, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        pair()
        pairs += 1
    return (now - start) / pairs * 1e9

def with_busy_thread(pair):
    stop = threading.Event()
    def spin():
        while not stop.is_set():
            pass
    thread = threading.Thread(target=spin)
    thread.start()
    try:
        return nanoseconds(pair)
    finally:
        stop.set()
        thread.join()

try:
    print(json.dumps({
        pair.__name__: (nanoseconds(pair), with_busy_thread(pair))
        for pair in (semaphore_pair, queue_pair)
    }))
finally:
    semaphore.remove()
    queue.remove()
"""


def rival() -> Path:
    """Return an interpreter that has 1.2.0."""
    record = Path(__file__).parent.parent / "tests" / "compat" / "record.py"
    return Path(runpy.run_path(str(record))["old_python"]())


def measure(python: str) -> dict[str, tuple[float, float]]:
    """Run the worker once: pair -> nanoseconds alone and beside a busy thread."""
    command = [python, "-c", WORKER]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {name: (alone, busy) for name, (alone, busy) in json.loads(done.stdout).items()}


def main() -> None:
    contestants = {"this library": sys.executable, "1.2.0": str(rival())}
    runs: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, python in contestants.items():
            runs[name].append(measure(python))
    print(f"{'':14}{'pair':16}{'alone':>10}{'busy':>12}{'ratio':>9}")
    for name, rounds in runs.items():
        for pair in rounds[0]:
            alone = statistics.median(run[pair][0] for run in rounds)
            busy = statistics.median(run[pair][1] for run in rounds)
            ratio = statistics.median(run[pair][1] / run[pair][0] for run in rounds)
            print(f"{name:14}{pair:16}{alone:>7.0f} ns{busy:>9.0f} ns{ratio:>8.1f}x")


if __name__ == "__main__":
    main()
