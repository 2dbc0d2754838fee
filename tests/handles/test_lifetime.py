"""Objects that are made and dropped repeatedly leave no memory, mapping or object behind.

Twenty thousand times; with ``SYSV_IPC_ROUNDS=1000000`` in the environment a million times
(``make test ARGS=tests/handles/test_lifetime.py``).  Reference counts are in
``tests/refcounts.py``.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import FLAT_MEMORY, FREE_THREADED

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, Semaphore, SemaphoreSet, SharedMemory

ROUNDS = int(os.environ.get("SYSV_IPC_ROUNDS", "20000"))

#: The repeated calls: the name, a part of ROUNDS, and the call.
CALLS = """
def failing(call):
    try:
        call()
    except sysv_ipc.Error:
        return
    raise AssertionError("it did not fail")

def made(cls, **options):
    handle = cls(None, flags=sysv_ipc.IPC_CREX, **options)
    handle.remove()
    if cls is sysv_ipc.SharedMemory:
        handle.detach()

def noted(error):
    try:
        raise error("a text")
    except sysv_ipc.Error as caught:
        caught.add_note("a note")

async def aio(handle):
    waits = sysv_ipc.aio.Semaphore.from_id(handle.id)
    task = asyncio.ensure_future(waits.acquire(delta=2))
    await asyncio.sleep(0)
    waits.release()
    await task
    waits.release()
    waits.close()

def waited():
    thread = threading.Thread(target=lambda: failing(lambda: queue.receive(type=9)))
    thread.start()
    while thread.is_alive():
        queue.cancel()
        # Release the GIL for it, which it would otherwise get every 5 ms.
        thread.join(1e-4)

calls = dict(
    make_semaphore=(4, lambda: made(sysv_ipc.Semaphore, initial_value=1)),
    make_semaphore_set=(4, lambda: made(sysv_ipc.SemaphoreSet, nsems=3)),
    make_segment=(8, lambda: made(sysv_ipc.SharedMemory)),
    make_queue=(4, lambda: made(sysv_ipc.MessageQueue)),
    open_semaphore=(1, lambda: sysv_ipc.Semaphore(semaphore.key)),
    open_segment=(2, lambda: sysv_ipc.SharedMemory(segment.key).detach()),
    open_by_id=(2, lambda: sysv_ipc.MessageQueue.from_id(queue.id)),
    drop_segment=(2, lambda: sysv_ipc.SharedMemory(segment.key)),
    send_and_receive=(1, lambda: (queue.send(b"x" * 700), queue.receive())),
    send_and_receive_many=(2, lambda: (queue.send_many(["a", b"b"]), queue.receive_many(9, False))),
    acquire_and_release=(1, lambda: (semaphore.acquire(), semaphore.release())),
    operations=(1, lambda: table.op([(0, 1), (1, 0), (0, -1)])),
    compiled=(2, lambda: table.compile([(0, 1), (0, -1)])()),
    members=(2, lambda: [member.value for member in table]),
    view_and_release=(1, lambda: memoryview(segment).release()),
    part=(1, lambda: segment.view(8, 8, "i")),
    array_without_count=(1, lambda: segment.read(700, 3)),
    attach_again=(4, lambda: segment.attach()),
    exists_already=(10, lambda: failing(lambda: sysv_ipc.MessageQueue(queue.key, exclusive))),
    missing=(10, lambda: failing(lambda: sysv_ipc.SharedMemory(missing))),
    wrong_type=(4, lambda: failing(lambda: sysv_ipc.MessageQueue("key"))),
    out_of_range=(5, lambda: failing(lambda: made(sysv_ipc.Semaphore, initial_value=-1))),
    busy=(1, lambda: failing(lambda: semaphore.acquire(0, 5))),
    timeout=(20, lambda: failing(lambda: semaphore.acquire(1e-9, 5))),
    queue_timeout=(20, lambda: failing(lambda: queue.receive(type=9, timeout=1e-9))),
    cancel_nobody=(1, lambda: queue.cancel()),
    cancel_a_wait=(250, waited),
    notes=(1, lambda: noted(sysv_ipc.ExistentialError)),
    records=(2, lambda: (semaphore.info(), segment.info(), queue.info(), sysv_ipc.limits())),
    lists=(40, lambda: (sysv_ipc.semaphores(members=True), sysv_ipc.message_queues())),
    segments=(40, sysv_ipc.shared_memories),
    texts=(2, lambda: (repr(semaphore), repr(segment), hash(queue), queue == segment)),
    copies=(10, lambda: pickle.loads(pickle.dumps(semaphore))),
    aio=(10, lambda: loop.run_until_complete(aio(semaphore))),
)
"""

#: The first tenth lets caches and the allocator fill.
MEASURE = """
import asyncio, gc, pickle, sys, threading, tracemalloc
import sysv_ipc, sysv_ipc.aio
semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
table = sysv_ipc.SemaphoreSet(None, 3, sysv_ipc.IPC_CREX)
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX)
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
exclusive = sysv_ipc.IPC_CREX
missing = next(key for key in range(1, 1000) if not sysv_ipc.exists(key, sysv_ipc.SharedMemory))
loop = asyncio.new_event_loop()
CALLS

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * sysv_ipc.PAGE_SIZE

def repeat(call, count):
    for _ in range(count):
        call()
    gc.collect()

part, call = calls[sys.argv[1]]
rounds = max(int(sys.argv[2]) // part, 100)
repeat(call, max(rounds // 10, 200))
before = resident()
repeat(call, rounds)
grown = resident() - before
tracemalloc.start()
# Objects that were kept for reuse are not traced until they have been freed once.
repeat(call, max(20000 // part, 200))
# A leak occurs each time; a late release, as at a thread's end, does not.
marks = [tracemalloc.get_traced_memory()[0]]
for _ in range(3):
    repeat(call, 500)
    marks.append(tracemalloc.get_traced_memory()[0])
traced = min(after - first for first, after in zip(marks, marks[1:]))
tracemalloc.stop()
loop.close()
for handle in semaphore, table, segment, queue:
    handle.remove()
print(rounds, grown, traced)
"""

NAMES = re.findall(r"^    (\w+)=\(", CALLS, re.MULTILINE)


@pytest.mark.timeout(120 + ROUNDS // 1000)
@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow(name: str) -> None:
    """The bounds allow for variation in the allocator, but not for one leaked object per round."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.replace("CALLS\n", CALLS), name, str(ROUNDS)],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, **FLAT_MEMORY},
    )
    assert (done.returncode, done.stderr) == (0, "")
    rounds, grown, traced = map(int, done.stdout.split())
    assert grown < (512 << 10) + rounds * 4, f"{grown} bytes in {rounds} rounds"
    assert traced < 500 * 40, f"{traced} bytes of Python's in 500 rounds"


# -------------------------------------------------------------------------------- cycles


def mapped(segment: SharedMemory) -> int:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("/SYSV" in line and line.split()[4] == str(segment.id) for line in lines)


@pytest.mark.parametrize("base", [Semaphore, SemaphoreSet, SharedMemory, MessageQueue])
def test_cycles_through_the_attributes_of_a_subclass_are_collected(base: Any) -> None:
    own = type("Own", (base,), {})
    options = {"nsems": 2} if base is SemaphoreSet else {}
    handle = own(None, flags=IPC_CREX, **options)
    handle.remove()
    handle.itself, handle.bound, handle.cls = handle, handle.info, own
    gone, gone_class = weakref.ref(handle), weakref.ref(own)
    del handle, own
    gc.collect()
    assert gone() is None
    # Classes are immortal in the free-threaded 3.13 from the first thread on.
    assert gone_class() is None or FREE_THREADED


@pytest.mark.parametrize(
    "view",
    [memoryview, lambda s: s.view(8, 8, "i"), lambda s: memoryview(s)[3:9], iter],
    ids=["whole", "part", "slice", "iterator"],
)
def test_cycles_through_views_are_collected_and_detach(
    segment: SharedMemory, view: Callable[[Any], object]
) -> None:
    class Own(SharedMemory):
        kept: object

    for _ in range(100):
        own = Own(segment.key)
        own.kept = view(own)
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert (gone(), mapped(segment)) == (None, 1)


def test_cycles_through_members_and_operations_are_collected() -> None:
    class Own(SemaphoreSet):
        kept: object

    own = Own(None, 2, IPC_CREX)
    own.kept = own, list(own), own.compile([(0, 1)]), iter(own), own[0].set
    own.remove()
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None


def test_cycles_through_a_caught_exception_are_collected(semaphore: Semaphore) -> None:
    class Own(Semaphore):
        caught: BaseException

    def fail() -> weakref.ref[Own]:
        own = Own(semaphore.key)
        try:
            own.acquire(0, 5)
        except sysv_ipc.BusyError as error:
            error.add_note("kept")
            own.caught = error
        return weakref.ref(own)

    gone = fail()
    gc.collect()
    assert gone() is None


def test_weak_references_with_callbacks_may_use_the_library(semaphore: Semaphore) -> None:
    other = Semaphore(semaphore.key)
    values: list[int] = []
    reference = weakref.ref(other, lambda _: values.append(semaphore.value))
    del other
    gc.collect()
    assert (reference(), values) == (None, [1])
