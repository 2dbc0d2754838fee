"""How many instructions the hot calls take inside the library, as callgrind counts them.

The counts are the same on every run, whatever else the machine does, so that a small regression
shows.  They depend on the interpreter and the compiler; instructions.json keeps them for each
pair.  Counted is what the extension module itself executes, not the interpreter that it calls nor
the kernel; *in all* tells what the whole process executes, the loop included.
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

#: What a count may grow to before it is a failure.
ALLOWED = 1.05

#: Two client requests of valgrind: see its manual on callgrind.
REQUESTS = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_ZERO_STATS; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""


@dataclass
class Counts:
    """Instructions of all calls, by whether the function is ours and what it is called."""

    functions: Counter[tuple[bool, str]] = field(default_factory=Counter)

    @property
    def ours(self) -> float:
        return sum(count for (is_ours, _), count in self.functions.items() if is_ours) / CALLS

    @property
    def total(self) -> float:
        return sum(self.functions.values()) / CALLS


def contestants() -> Iterator[tuple[str, Contestant]]:
    """Give what is counted; one turn of the loop is one of each call that the name tells of."""
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
    """Make the calls under valgrind; each kind ends with a dump."""
    requests = ctypes.PyDLL(library)
    begin, end = requests.begin, requests.end
    with no_collector():
        for name, run in contestants():
            # Until the interpreter has adapted its code, and all symbols are bound.
            run(CALLS)
            begin()
            run(CALLS)
            end(name.encode())


def parse(dump: str) -> tuple[str, Counts]:
    """Return the name that a dump was given, and the instructions by function."""
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
            # The next line holds what was called, which is counted where it is.
            inclusive = True
        elif line[:1] in set("0123456789+-*"):
            # Costs of zero are left out.
            cost = 0 if inclusive else int([*line.split(), "0"][1])
            inclusive = False
            counts.functions[is_ours, function] += cost
    return name[1] if name else "", counts


def measure() -> dict[str, Counts]:
    """Run the calls under callgrind and return what each statement takes."""
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
    """Return what the counts depend on: the interpreter and the compiler of the extension."""
    comment = re.search(
        rb"GCC: \([^)]*\) (\d+)|clang version (\d+)", Path(_core.__file__).read_bytes()
    )
    compiler = "an unknown compiler"
    if comment:
        compiler = f"{'gcc' if comment[1] else 'clang'} {(comment[1] or comment[2]).decode()}"
    version = "{}.{}".format(*platform.python_version_tuple())
    return f"CPython {version}, {compiler}, {platform.machine()}"


def show(counted: dict[str, Counts], kept: dict[str, float], functions: int) -> list[str]:
    """Print the counts beside those that are kept; return what has become worse."""
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
    """Count, show and compare, or write the counts anew."""
    parser = argparse.ArgumentParser(prog="make bench-instructions ARGS=...")
    parser.add_argument("--write", action="store_true", help="keep the counts")
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="name the N dearest functions"
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
        print(f"\nno counts are kept for {built}: ARGS=--write keeps these", file=sys.stderr)
        return 1
    if worse:
        print(f"\nmore than 5 % worse: {', '.join(worse)}", file=sys.stderr)
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
