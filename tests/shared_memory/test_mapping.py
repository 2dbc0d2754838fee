"""Attachments: views that pin them, zeros that take their place, failures, leaks, threads."""

from __future__ import annotations

import gc
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import in_child, listed, system_calls

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    PAGE_SIZE,
    SHM_RDONLY,
    SHM_REMAP,
    SHM_RND,
    ArgumentError,
    NotAttachedError,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


def mappings(segment: SharedMemory) -> int:
    """How often this process maps the segment."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("/SYSV" in line and line.split()[4] == str(segment.id) for line in lines)


def attached(segment: SharedMemory) -> int:
    """How often anybody maps the segment, as the kernel says."""
    return int(listed("shm", segment.id)["nattch"])


def array_of(segment: SharedMemory) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Make an array that the buffer protocol does not count."""
    buffer: Any = segment
    return np.ndarray((segment.size,), np.uint8, buffer=buffer)


def preloading(library: Path) -> dict[str, str]:
    """Return an environment in which a library stands before the C library, behind a sanitizer."""
    before = os.environ.get("LD_PRELOAD")
    return {**os.environ, "LD_PRELOAD": f"{before}:{library}" if before else str(library)}


def address_space() -> int:
    """How many pages of addresses this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[0])


# --------------------------------------------------------------------------------- views


@pytest.mark.parametrize(
    "view",
    [
        memoryview,
        lambda s: memoryview(s)[2:4],
        lambda s: s.view(8, 8, "i"),
        lambda s: np.frombuffer(s, np.int32),
        lambda s: np.asarray(memoryview(s)),
    ],
)
def test_detach_is_refused_while_a_view_lives(
    segment: SharedMemory, view: Callable[[SharedMemory], object]
) -> None:
    kept = view(segment)
    for call in (segment.detach, segment.attach, lambda: segment.__init__(segment.key)):  # type: ignore[misc]
        with pytest.raises(BufferError, match="release them first"):
            call()
    assert (segment.attached, attached(segment), mappings(segment)) == (True, 1, 1)
    segment.write(b"still there")
    assert segment.read(5) == b"still"
    del kept
    gc.collect()
    segment.detach()
    assert attached(segment) == 0


def test_a_view_keeps_the_attachment_of_a_handle_that_is_dropped(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key)
    view = memoryview(other)
    del other
    gc.collect()
    segment.write(b"x")
    assert (view[0], attached(segment)) == (ord("x"), 2)
    view.release()
    del view
    gc.collect()
    assert attached(segment) == 1


def test_a_view_of_a_read_only_attachment_is_read_only(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key, mode=0o400)
    view = memoryview(other)
    assert view.readonly
    assert not array_of(other).flags.writeable
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises(BufferError):
        segment.read_into(other)


# ---------------------------------------------------------------------------------- zeros


def test_an_array_that_outlives_detach_reads_zeros(segment: SharedMemory) -> None:
    array = array_of(segment)
    segment.write(b"\xff" * segment.size)
    assert array.min() == 255
    segment.detach()
    assert (array.max(), attached(segment), mappings(segment)) == (0, 0, 0)
    others = [mmap.mmap(-1, PAGE_SIZE) for _ in range(200)]
    for other in others:
        other.write(b"\xee" * PAGE_SIZE)
    assert array.max() == 0
    array[:] = 7
    assert array.min() == 7
    segment.attach()
    assert segment.read(1) == b"\xff"
    assert array.min() == 7


def test_an_array_that_outlives_its_handle_and_its_segment_reads_zeros() -> None:
    segment = SharedMemory(None, IPC_CREX, size=3 * PAGE_SIZE + 1, init_character=b"z")
    array = array_of(segment)
    segment.detach()
    segment.remove()
    del segment
    gc.collect()
    assert array.max() == 0
    assert array.size == 3 * PAGE_SIZE + 1


def test_an_array_reads_zeros_after_another_attachment_has_taken_over(
    segment: SharedMemory,
) -> None:
    segment.write(b"one")
    array = array_of(segment)
    segment.attach()
    assert (array.max(), segment.read(3), attached(segment)) == (0, b"one", 1)


def test_the_zeros_go_with_the_handle(segment: SharedMemory) -> None:
    big = SharedMemory(None, IPC_CREX, size=1 << 30, init_character=None)
    before = address_space()
    for _ in range(3):
        handle = SharedMemory.from_id(big.id)
        memoryview(handle).release()
        handle.detach()
        del handle
    gc.collect()
    big.remove()
    big.detach()
    assert address_space() <= before


@pytest.mark.parametrize("again", ["None", "place", "attached", "init", "read-only"])
def test_attaching_again_and_again_uses_no_more_address_space(key: int, again: str) -> None:
    """Five hundred rounds of so much each would be more than a process has."""
    flags = IPC_CREX | sysv_ipc.SHM_NORESERVE
    size = 1 << 40 if sys.maxsize > 2**32 else 1 << 25
    memory = SharedMemory(key, flags, size=size, init_character=None)
    place, most = None, 0
    before = address_space()
    for _ in range(500):
        memory.view(0, 10).release()
        if again == "attached":
            memory.attach()
        else:
            memory.detach()
            most = max(most, address_space())
            if again == "init":
                memory.__init__(key)  # type: ignore[misc]
            elif again == "read-only":
                memory.attach(flags=random.choice([0, SHM_RDONLY]))
            else:
                memory.attach(place)
                place = memory.address if again == "place" else None
    assert (attached(memory), mappings(memory)) == (1, 1)
    assert max(most, address_space()) <= before + 5 * size // PAGE_SIZE
    memory.remove()
    memory.detach()


def test_an_array_of_any_former_attachment_may_be_read_and_written(segment: SharedMemory) -> None:
    arrays = []
    for number in range(20):
        segment.attach(flags=SHM_RDONLY if number % 3 == 2 else 0)
        arrays.append(array_of(segment))
        if number % 2:
            segment.detach()
    segment.attach()
    for array in arrays:
        assert array.max() in (0, 1)
        if array.flags.writeable:
            array[:] = 1
    segment.attach(flags=SHM_RDONLY)
    for array in arrays:
        if array.flags.writeable:
            array[:] = 0


def test_the_place_of_zeros_is_not_given_to_another_segment(segment: SharedMemory) -> None:
    other = SharedMemory(None, IPC_CREX)
    handle = SharedMemory(segment.key)
    arrays = []
    for _ in range(6):
        arrays.append(array_of(handle))
        handle.detach()
        handle.attach()
    handle.detach()
    for _ in range(3):
        handle.__init__(other.key)  # type: ignore[misc]
        handle.write(b"another")
        assert {array.max() for array in arrays} == {0}
        handle.detach()
    other.remove()
    other.detach()


# ----------------------------------------------------------------------------- attaching


def test_an_address_that_no_pointer_holds_is_refused(segment: SharedMemory) -> None:
    """Its low bits are another address, or none, which lets the kernel choose."""
    for address in (1 << 8 * struct.calcsize("P"), -PAGE_SIZE):
        with pytest.raises(ArgumentError, match="address must be from 0 to"):
            sysv_ipc.attach(segment.id, address)


def test_attaching_again_replaces_and_leaks_nothing(segment: SharedMemory) -> None:
    for _ in range(1000):
        segment.attach()
        memoryview(segment).release()
    assert (attached(segment), mappings(segment)) == (1, 1)


def test_init_again_releases_the_first_attachment(segment: SharedMemory) -> None:
    other = SharedMemory(None, IPC_CREX)
    handle = SharedMemory(segment.key)
    handle.__init__(other.key)  # type: ignore[misc]
    assert (attached(segment), attached(other), handle) == (1, 2, other)
    with pytest.raises(sysv_ipc.ExistentialError):
        handle.__init__(other.key + 1)  # type: ignore[misc, operator]
    assert (attached(other), handle.attached, handle) == (2, True, other)
    handle.detach()
    other.remove()
    other.detach()


def test_a_handle_that_is_dropped_detaches(segment: SharedMemory) -> None:
    for _ in range(100):
        SharedMemory(segment.key).read(1)
    gc.collect()
    assert (attached(segment), mappings(segment)) == (1, 1)


def test_a_handle_whose_address_was_read_stays_attached(segment: SharedMemory) -> None:
    def child() -> tuple[int, int]:
        before = attached(segment)
        other = SharedMemory(segment.key)
        address = other.address
        del other
        gc.collect()
        maps = Path("/proc/self/maps").read_text().splitlines()
        return attached(segment) - before, sum(line.startswith(f"{address:x}-") for line in maps)

    assert in_child(child) == (1, 1)
    assert attached(segment) == 1


def test_reading_the_address_and_detaching_leaves_nothing(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key)
    assert other.address != 0
    other.detach()
    assert (other.address, attached(segment)) == (0, 1)
    other.attach()
    del other
    gc.collect()
    assert attached(segment) == 1


def free_address() -> int:
    """A page-aligned place where nothing is mapped."""
    with mmap.mmap(-1, 64 * PAGE_SIZE) as region:
        return int(np.ndarray((1,), np.uint8, buffer=region).ctypes.data)


def test_attach_at_an_address(segment: SharedMemory) -> None:
    segment.detach()
    address = free_address()
    segment.attach(address)
    assert segment.address == address
    segment.detach()
    segment.attach(address + 17, SHM_RND)
    assert segment.address == address


@pytest.mark.parametrize("address", [0, None])
def test_address_zero_lets_the_kernel_choose(segment: SharedMemory, address: int | None) -> None:
    segment.attach(address)
    assert segment.address != 0


def test_an_address_that_is_not_aligned_is_refused(segment: SharedMemory) -> None:
    with pytest.raises(ArgumentError, match=r"^\[Errno 22\] Invalid argument") as caught:
        segment.attach(free_address() + 1)
    assert "multiple of PAGE_SIZE" in caught.value.__notes__[0]
    assert (segment.attached, attached(segment)) == (True, 1)


def test_an_address_that_is_taken_is_refused(segment: SharedMemory) -> None:
    other = SharedMemory(segment.key)
    with pytest.raises(ArgumentError):
        other.attach(segment.address)
    assert (other.attached, attached(segment)) == (True, 2)


@pytest.mark.parametrize("address", [-1, 2**64, "0", 1.5, b""])
def test_addresses_that_are_none_are_refused(segment: SharedMemory, address: object) -> None:
    with pytest.raises((ArgumentError, TypeError), match="address"):
        segment.attach(address)  # type: ignore[arg-type]
    assert attached(segment) == 1


def test_remap_takes_only_the_handles_own_place(segment: SharedMemory) -> None:
    segment.write(b"kept")
    segment.attach(segment.address, SHM_REMAP)
    assert (segment.read(4), attached(segment)) == (b"kept", 1)
    segment.attach(segment.address, SHM_REMAP | SHM_RDONLY)
    assert (segment.readonly, attached(segment)) == (True, 1)
    other = SharedMemory(segment.key)
    for address in (None, other.address, free_address(), id(segment) // PAGE_SIZE * PAGE_SIZE):
        with pytest.raises(ArgumentError, match="SHM_REMAP"):
            segment.attach(address, SHM_REMAP)
    other.detach()
    assert attached(segment) == 1


def test_a_place_that_an_array_may_write_to_is_not_taken_for_reading(
    segment: SharedMemory,
) -> None:
    arrays = []
    for _ in range(5):
        segment.attach(flags=0)
        arrays.append(array_of(segment))
        segment.attach(segment.address, SHM_REMAP | SHM_RDONLY)
        segment.detach()
    segment.attach(flags=SHM_RDONLY)
    for array in arrays:
        array[:] = 0


def test_an_array_that_becomes_writable_later_never_crashes(run_python: Run) -> None:
    """NumPy asks the handle's present attachment, the array points at a former one."""
    code = """
import random, sys, numpy as np, sysv_ipc as s
memory = s.SharedMemory(s.IPC_PRIVATE, size=4096, init_character=None)
memory.remove()
choose = random.Random(int(sys.argv[1]))
arrays = []
for _ in range(2000):
    act = choose.randrange(6)
    flags = choose.choice([0, s.SHM_RDONLY])
    if act == 0:
        memory.attach(flags=flags)
    elif act == 1 and memory.attached:
        memory.attach(memory.address, flags | s.SHM_REMAP)
    elif act == 2 and memory.attached:
        # Another handle holds the segment, which is marked for removal.
        with s.SharedMemory.from_id(memory.id):
            memory.detach()
            memory.attach(flags=flags)
    elif act == 3 and memory.attached and len(arrays) < 200:
        arrays.append(np.ndarray(4, "u1", buffer=memory))
    for array in choose.sample(arrays, min(len(arrays), 20)):
        try:
            array.flags.writeable = True
        except ValueError:
            pass
        if array.flags.writeable:
            array[:] = 1
        assert array.max() <= 1
print("alive")
"""
    for seed in range(5):
        done = run_python(code, seed)
        assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_a_ghost_is_not_given_to_a_segment_that_gets_its_id(run_python: Run) -> None:
    """kernel.shm_next_id makes quick what takes two million segments otherwise."""
    code = """
import numpy as np, sysv_ipc as s
def segment(number=None):
    if number is not None:
        with open("/proc/sys/kernel/shm_next_id", "w") as file:
            file.write(str(number))
    return s.SharedMemory(s.IPC_PRIVATE, size=4096)
memory = segment()
memory.write(b"mine")
array = np.ndarray(4, "u1", buffer=memory)
memory.detach(); memory.attach()
memoryview(memory).release()
memory.detach()
memory.remove()
other = segment(memory.id)
assert other.id == memory.id
other.write(b"FOREIGN"); other.detach(); other.attach()
refused = 0
for flags in (0, s.SHM_RDONLY):
    try:
        memory.attach(flags=flags)
        memoryview(memory).release()
    except s.ExistentialError:
        refused += 1
array[:] = 33
print(bytes(other.read(7)), array.max())
other.remove()
"""
    assert run_python(code).stdout == "b'FOREIGN' 33\n"


@pytest.mark.parametrize("kilobytes", [64, 2048, 32768, 1048576])
def test_no_neighbour_is_mapped_over_whatever_size_huge_pages_have(
    kilobytes: int, tmp_path: Path
) -> None:
    """A C library stands in, which takes a range for one of huge pages as the kernel does."""
    source = tmp_path / "huge.c"
    source.write_text(
        r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>

/* Refuse to cut a huge page; tell what is mapped over the segment. */
void *
mmap64(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "mmap64");
    }
    const char *page = getenv("HUGE_BYTES");
    if (page != NULL && (flags & MAP_FIXED) && (flags & MAP_NORESERVE)) {
        if (size % strtoull(page, NULL, 0) != 0) {
            errno = EINVAL;
            return MAP_FAILED;
        }
        fprintf(stderr, "%zu\n", size);
        size = 4096;
    }
    return real(address, size, protection, flags, file, offset);
}
"""
    )
    library = tmp_path / "huge.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    code = """
import os, sysv_ipc
memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=5000)
memory.remove()
memoryview(memory).release()
memory.detach()
os._exit(0)
"""
    environment = preloading(library) | {"HUGE_BYTES": str(kilobytes * 1024)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.stderr == f"{kilobytes * 1024}\n"


HOLES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

/* As the kernel does when it has promised all memory (vm.overcommit_memory=2):
 * take away what is there, and fail then. */
static int
fails(void)
{
    const char *left = getenv("HOLES");
    return left != NULL && *left != 0;
}

void *
mmap64(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "mmap64");
    }
    if ((flags & MAP_FIXED) && (flags & MAP_NORESERVE) && fails()) {
        munmap(address, size);
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return real(address, size, protection, flags, file, offset);
}

void *
shmat(int id, const void *address, int flags)
{
    static void *(*real)(int, const void *, int);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "shmat");
    }
    if ((flags & SHM_REMAP) && fails()) {
        munmap((void *)address, 4096);
        errno = ENOMEM;
        return (void *)-1;
    }
    return real(id, address, flags);
}
"""


@pytest.mark.parametrize("act", ["detach", "attach", "attach over a ghost", "remap"])
def test_a_hole_is_never_taken_for_an_attachment(tmp_path: Path, act: str) -> None:
    """Not where the kernel has detached before it failed; what points there reads zeros."""
    source = tmp_path / "holes.c"
    source.write_text(HOLES)
    library = tmp_path / "holes.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    code = """
import ctypes, os, sys, numpy as np, sysv_ipc as s
act = sys.argv[1]
other = s.SharedMemory(None, s.IPC_CREX)
memory = s.SharedMemory(other.key)
array = np.ndarray(4, "u1", buffer=memory)
if act == "attach over a ghost":
    for _ in range(2):
        memory.detach(); memory.attach(); memoryview(memory).release()
    memory.detach()
ctypes.CDLL(None).setenv(b"HOLES", b"1", 1)
try:
    if act == "detach":
        memory.detach()
    elif act == "remap":
        memory.attach(memory.address, s.SHM_REMAP)
    else:
        memory.attach()
    print("done")
except s.OutOfMemoryError:
    print("no memory")
ctypes.CDLL(None).unsetenv(b"HOLES")
# Whatever it says of itself is true, and nothing that points there crashes.
if memory.attached:
    memory.write(b"true")
    assert other.read(4) == b"true"
    memory.detach()
bytes(array)
memory.attach()
memory.write(b"again")
assert other.read(5) == b"again"
print("alive")
other.remove()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, act],
        capture_output=True,
        text=True,
        env=preloading(library),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("alive\n")


# ------------------------------------------------------------------------------- failures

FAILING = """
import sys, sysv_ipc
from pathlib import Path
from typing import Any
handle = sysv_ipc.SharedMemory(int(sys.argv[1]))
if sys.argv[2] == "exported":
    memoryview(handle).release()
def nattch():
    return handle.number_attached
def maps():
    return sum("/SYSV" in line for line in Path("/proc/self/maps").read_text().splitlines())
try:
    exec(sys.argv[3])
except sysv_ipc.Error as error:
    print(error.errno, handle.attached, maps(), nattch(), handle.read(2))
else:
    print("nothing failed")
handle.detach()
print(maps(), handle.attached)
"""


@pytest.mark.parametrize(
    ("injection", "exported", "call"),
    [
        ("shmdt:error=EPERM:when=1", "", "handle.detach()"),
        ("shmdt:error=EPERM:when=1", "", "handle.attach()"),
        ("shmat:error=EPERM:when=2", "", "handle.attach()"),
        ("shmat:error=EPERM:when=2", "exported", "handle.attach()"),
        ("shmctl:error=EPERM:when=2", "", "handle.attach()"),
        ("shmctl:error=EPERM:when=2", "", "handle.__init__(int(sys.argv[1]))"),
        ("shmdt:error=EPERM:when=1", "", "handle.__init__(int(sys.argv[1]))"),
    ],
)
def test_what_fails_leaves_the_attachment_as_it_was(
    segment: SharedMemory, injection: str, exported: str, call: str
) -> None:
    segment.write(b"ok")
    segment.detach()
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={injection}"]
    arguments = [sys.executable, "-c", FAILING, str(segment.key), exported, call]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1 True 1 1 b'ok'\n0 False\n", done.stderr


# ----------------------------------------------------------------------- threads and fork


def test_threads_may_detach_and_attach_while_others_use_the_segment(
    segment: SharedMemory,
) -> None:
    """Every outcome is a value or one of the two errors that say why not."""
    stop = time.monotonic() + 1.5
    errors: list[BaseException] = []
    counts = dict.fromkeys(range(6), 0)
    big = SharedMemory(None, IPC_CREX, size=1 << 20, init_character=b"a")
    uses: list[Callable[[], object]] = [
        lambda: big.read(),
        lambda: big.write(b"b" * (1 << 18)),
        lambda: big.read_into(bytearray(1 << 20)),
        lambda: memoryview(big)[5:9].tobytes(),
        lambda: big[7] == 0 or big[3:5],
        lambda: big.attach() if random.random() < 0.5 else big.detach(),
    ]

    def work(number: int) -> None:
        while time.monotonic() < stop:
            try:
                uses[number]()
                counts[number] += 1
            except (NotAttachedError, BufferError):
                pass
            except BaseException as error:
                errors.append(error)
                return
            time.sleep(random.random() * 0.001)

    threads = [threading.Thread(target=work, args=(number,)) for number in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert min(counts.values()) > 0
    big.attach()
    assert attached(big) == 1
    big.remove()
    big.detach()


def test_a_forked_child_shares_the_attachment_and_detaches_its_own(segment: SharedMemory) -> None:
    def child() -> int:
        segment.write(b"from the child")
        segment.detach()
        return attached(segment)

    assert in_child(child) == 1
    assert segment.read(14) == b"from the child"


def test_cycles_through_attributes_and_views_are_collected(segment: SharedMemory) -> None:
    class Segment(SharedMemory):
        my_view: memoryview
        me: object

    handle = Segment(segment.key)
    handle.my_view, handle.me = memoryview(handle), handle
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None
    assert attached(segment) == 1


def test_read_write_and_size_make_no_system_call() -> None:
    code = """
import os, sysv_ipc
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1 << 20)
buffer = bytearray(100)
data = b"x" * 200
def use():
    segment.read(100)
    segment.read(10, 5)
    segment.write(data)
    segment.write(data, offset=7)
    segment.read_into(buffer)
    segment.size
    len(segment)
    segment[5]
use()
os.write(2, b"begin")
use()
os.write(2, b"end")
segment.remove()
"""
    assert system_calls(code) == []


def test_a_new_segment_without_init_character_costs_no_memory() -> None:
    segment = SharedMemory(None, IPC_CREX, size=512 << 20, init_character=None)
    assert int(listed("shm", segment.id)["rss"]) == 0
    assert segment.read(8, offset=(512 << 20) - 8) == bytes(8)
    assert int(listed("shm", segment.id)["rss"]) < 1 << 20
    segment.remove()
    segment.detach()


def runs_beside(call: Callable[[], object]) -> bool:
    """Whether another thread runs in the middle half of a call, as only a released GIL lets it."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    call()
    end = time.perf_counter()
    stop.set()
    thread.join()
    quarter = (end - start) / 4
    return any(start + quarter < when < end - quarter for when in ticks)


def test_filling_lets_other_threads_run(key: int) -> None:
    made: list[SharedMemory] = []
    assert runs_beside(lambda: made.append(SharedMemory(key, IPC_CREX, size=256 << 20)))
    made[0].remove()
    made[0].detach()


@pytest.mark.parametrize("name", ["read_into", "write", "read", "slice", "assignment"])
def test_large_copies_let_other_threads_run(name: str) -> None:
    size = 128 << 20
    segment = SharedMemory(None, IPC_CREX, size=size, init_character=None)
    segment.remove()
    buffer = bytearray(size)
    calls: dict[str, Callable[[], object]] = {
        "read_into": lambda: segment.read_into(buffer),
        "write": lambda: segment.write(buffer),
        "read": segment.read,
        "slice": lambda: segment[:],
        "assignment": lambda: segment.__setitem__(slice(None), buffer),
    }
    assert runs_beside(calls[name])


def test_the_process_id_of_the_last_user_is_told(segment: SharedMemory) -> None:
    assert segment.last_pid == segment.creator_pid == os.getpid()
