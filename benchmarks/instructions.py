"""Count the instructions that the hot calls execute inside the library, with callgrind.

The counts are the same on every run, whatever else the machine does, so a small regression is
visible.  They depend on the interpreter and the compiler; instructions.json has them for each pair.
The counts are those of the extension module itself, without the interpreter that it calls and the
kernel; *in all* is the count of the whole process, including the loop.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sysv_ipc
from sysv_ipc import IPC_CREX, _core

from .harness import Contestant, enter_namespace, no_collector, python

KEPT = Path(__file__).with_name("instructions.json")
CALLS = 4000

#: The factor by which a count may grow before it is a failure.
ALLOWED = 1.05

#: Two client requests of valgrind: see its manual on callgrind.
REQUESTS = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_ZERO_STATS; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""


@dataclass
class Counts:
    """Instructions of all calls, by function: (True if it is the library's, name)."""

    functions: Counter[tuple[bool, str]] = field(default_factory=Counter)

    @property
    def ours(self) -> float:
        return sum(count for (is_ours, _), count in self.functions.items() if is_ours) / CALLS

    @property
    def total(self) -> float:
        return sum(self.functions.values()) / CALLS


def contestants() -> Iterator[tuple[str, Contestant]]:
    """Yield the calls to count; one turn of the loop makes each call in the name once."""
    semaphore = sysv_ipc.Semaphore(None, IPC_CREX, initial_value=1)
    busy = sysv_ipc.Semaphore(None, IPC_CREX)
    set = sysv_ipc.SemaphoreSet(None, 4, IPC_CREX, initial_values=[1] * 4)
    queue = sysv_ipc.MessageQueue(None, IPC_CREX, max_message_size=8192)
    segment = sysv_ipc.SharedMemory(None, IPC_CREX)
    take, give = ([(index, delta) for index in range(4)] for delta in (-1, 1))
    names = {
        "s": semaphore, "busy": busy, "q": queue, "m": segment, "set": set,
        "take": set.compile(take), "give": set.compile(give),
        "b": b"x" * 64, "large": b"x" * 8192, "buffer": bytearray(2048), "many": [b"x" * 64] * 64,
        "Semaphore": sysv_ipc.Semaphore, "MessageQueue": sysv_ipc.MessageQueue,
        "SharedMemory": sysv_ipc.SharedMemory,
        "key": semaphore.key, "queue_key": queue.key, "segment_key": segment.key,
        "BusyError": sysv_ipc.BusyError, "memoryview": memoryview,
    }  # fmt: skip
    for statement in [
        "s.acquire(); s.release()",
        "s.acquire(timeout=1); s.release()",
        "with s: pass",
        "try: busy.acquire(0)\nexcept BusyError: pass",
        "busy.try_acquire()",
        "take(); give()",
        "set.acquire(0, 1); set.release(0, 1)",
        "q.send(b); q.receive()",
        "q.send(b, block=True, type=1); q.receive(block=True, type=0)",
        "q.send(large); q.receive()",
        "q.send(b); q.receive_into(buffer)",
        "q.send_many(many); q.receive_many(64)",
        "m.read(64)",
        "m.write(b)",
        "m.size",
        "m[0]",
        "memoryview(m)",
        "Semaphore(key)",
        "MessageQueue(queue_key)",
        "SharedMemory(segment_key).detach()",
    ]:
        yield statement.replace("\n", "; "), python(statement, unrolled=1, **names)
    for handle in (semaphore, busy, set, queue):
        handle.remove()
    segment.remove()


def count_inside(library: str) -> None:
    """Make the calls under valgrind, with a dump after each kind."""
    requests = ctypes.PyDLL(library)
    begin, end = requests.begin, requests.end
    with no_collector():
        for name, run in contestants():
            # First let the interpreter adapt its code and the linker bind all symbols.
            run(CALLS)
            begin()
            run(CALLS)
            end(name.encode())


def parse(dump: str) -> tuple[str, Counts]:
    """Return the name of a dump, and the instructions by function."""
    name = re.search(r"^desc: Trigger: Client Request: (.*)$", dump, re.MULTILINE)
    counts = Counts()
    is_ours = inclusive = False
    function = ""
    for line in dump.splitlines():
        if line.startswith("ob="):
            is_ours = line[3:] == _core.__file__
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            # The next line has the inclusive cost of the call, which the callee's lines contain.
            inclusive = True
        elif line[:1] in set("0123456789+-*"):
            # callgrind leaves out costs of zero.
            cost = 0 if inclusive else int([*line.split(), "0"][1])
            inclusive = False
            counts.functions[is_ours, function] += cost
    return name[1] if name else "", counts


def measure() -> dict[str, Counts]:
    """Run the calls under callgrind and return the counts of each statement."""
    valgrind = shutil.which("valgrind")
    if valgrind is None or not Path("/usr/include/valgrind/callgrind.h").exists():
        raise SystemExit("no valgrind: apt-get install valgrind")
    counted = {}
    with tempfile.TemporaryDirectory() as folder:
        library, out = Path(folder, "requests.so"), Path(folder, "out")
        command = ["cc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=REQUESTS, text=True, check=True)
        command = [
            valgrind, "--quiet", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
            f"--callgrind-out-file={out}", sys.executable, "-m", "benchmarks.instructions",
            "--inside", str(library),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        for path in sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:])):
            name, counts = parse(path.read_text())
            if name:
                counted[name] = counts
    if not counted:
        raise SystemExit("callgrind has counted nothing")
    return counted


def built_with() -> str:
    """Return the versions of the interpreter and of the extension's compiler."""
    comment = re.search(
        rb"GCC: \([^)]*\) (\d+)|clang version (\d+)", Path(_core.__file__).read_bytes()
    )
    compiler = "an unknown compiler"
    if comment:
        compiler = f"{'gcc' if comment[1] else 'clang'} {(comment[1] or comment[2]).decode()}"
    version = "{}.{}".format(*platform.python_version_tuple())
    return f"CPython {version}, {compiler}, {platform.machine()}"


def show(counted: dict[str, Counts], kept: dict[str, float], functions: int) -> list[str]:
    """Print the counts beside the saved ones; return the calls that have become worse."""
    worse = []
    print(f"{'instructions':62}{'ours':>9}{'kept':>9}{'in all':>10}")
    for name, counts in counted.items():
        before, ours = kept.get(name), counts.ours
        told = ""
        if before is not None and ours > before * ALLOWED:
            worse.append(name)
            told = f"  {ours / before - 1:+.0%}: WORSE"
        elif before is not None and ours * ALLOWED < before:
            told = f"  {ours / before - 1:+.0%}: better"
        shown = "" if before is None else f"{before:.0f}"
        print(f"{name:62}{ours:9.0f}{shown:>9}{counts.total:10.0f}{told}")
        for (is_ours, function), count in counts.functions.most_common(functions):
            print(f"    {'ours' if is_ours else '':6}{function:52}{count / CALLS:9.0f}")
    return worse


def main() -> int:
    """Count, print and compare, or save the counts."""
    parser = argparse.ArgumentParser(prog="make bench-instructions ARGS=...")
    parser.add_argument("--write", action="store_true", help="save the counts")
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="list the N largest functions"
    )
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        count_inside(options.inside)
        return 0
    enter_namespace()
    everything = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    built = built_with()
    print(f"built with {built}\n")
    counted = measure()
    worse = show(counted, everything.get(built, {}), options.functions)
    if options.write:
        everything[built] = {name: round(one.ours) for name, one in counted.items()}
        KEPT.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")
        print(f"\nwrote {KEPT.name}")
        return 0
    if built not in everything:
        print(f"\nno counts are saved for {built}: ARGS=--write saves these", file=sys.stderr)
        return 1
    if worse:
        print(f"\nmore than 5 % worse: {', '.join(worse)}", file=sys.stderr)
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
