"""Attaching: at an address, again, read-only, in place of another segment; and its errors."""

from __future__ import annotations

import gc
import mmap
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import as_other_user, in_child
from mappings import array_of, attached, mappings, preloading

import sysv_ipc
from sysv_ipc import (
    IPC_CREX,
    PAGE_SIZE,
    SHM_RDONLY,
    SHM_REMAP,
    SHM_RND,
    ArgumentError,
    SharedMemory,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_an_address_that_does_not_fit_a_pointer_is_refused(segment: SharedMemory) -> None:
    """Its low bits are another address, or 0, which lets the kernel choose."""
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
    """Return a page-aligned address that is not mapped."""
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
def test_invalid_addresses_are_refused(segment: SharedMemory, address: object) -> None:
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


def test_a_place_with_a_writable_array_is_not_replaced_by_a_read_only_attachment(
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
    """NumPy checks the handle's present attachment, but the array points to an earlier one."""
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
    """kernel.shm_next_id sets the id, which otherwise needs two million segments."""
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
def test_no_neighbouring_mapping_is_replaced_with_huge_pages_of_any_size(
    kilobytes: int, tmp_path: Path
) -> None:
    """A preloaded C library imitates the kernel's treatment of a range of huge pages."""
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

/* Refuse to cut a huge page; report mappings over the segment. */
void *
mmap64(void *address, size_t size, int protection, int flags, int file, off64_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off64_t);
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
mmap64(void *address, size_t size, int protection, int flags, int file, off64_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off64_t);
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
    """Not even if the kernel detached before it failed; pointers to the hole read zeros."""
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
# Its attributes are correct, and pointers into it do not crash.
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


def test_remapping_keeps_the_memory_of_arrays(run_python: Run) -> None:
    code = """
import sysv_ipc as s, numpy as np
m = s.SharedMemory(None, s.IPC_CREX, size=8192, init_character=b"x")
a = np.ndarray((10,), np.uint8, buffer=m)
m.attach(m.address, s.SHM_REMAP)
print(a[0], m.readonly)
m.attach(m.address, s.SHM_REMAP | s.SHM_RDONLY)
print(m.readonly)
a[0] = 1
print(m.read(1))
try:
    m.write(b"2")
except s.ReadOnlyError:
    print("refused")
m.remove(); m.detach()
print(a[0])
"""
    assert run_python(code).stdout == "120 False\nTrue\nb'\\x01'\nrefused\n0\n"


def test_remapping_keeps_an_attachment_whose_address_was_read(run_python: Run) -> None:
    code = """
import ctypes, sysv_ipc as s
m = s.SharedMemory(None, s.IPC_CREX, init_character=b"x")
address = m.address
m.attach(address, s.SHM_REMAP)
m.remove(); del m
print(ctypes.string_at(address, 3))
"""
    assert run_python(code).stdout == "b'xxx'\n"


def test_remapping_under_a_view_is_refused(segment: SharedMemory) -> None:
    view = memoryview(segment)
    with pytest.raises(BufferError):
        segment.attach(segment.address, sysv_ipc.SHM_REMAP)
    view.release()


@pytest.mark.parametrize("address", [1, 100, 4095])
def test_an_address_that_is_rounded_to_nothing_is_refused(
    segment: SharedMemory, address: int
) -> None:
    segment.detach()
    with pytest.raises(ArgumentError, match="rounds address"):
        segment.attach(address, SHM_RND)
    assert not segment.attached
    assert segment.number_attached == 0


@pytest.mark.parametrize("how", ["attach", "from_id"])
def test_read_only_access_by_id_stays_read_only(segment: SharedMemory, how: str) -> None:
    opener: Any = sysv_ipc.attach if how == "attach" else SharedMemory.from_id
    handle = opener(segment.id, flags=SHM_RDONLY)
    assert handle.readonly
    handle.attach()
    assert handle.readonly
    handle.detach()
    with handle:
        assert handle.readonly
    copied = pickle.loads(pickle.dumps(handle))
    assert copied.readonly
    copied.detach()


def test_a_user_who_may_only_read_attaches_again(segment: SharedMemory) -> None:
    segment.mode = 0o644

    def use() -> bool:
        handle = sysv_ipc.attach(segment.id, flags=SHM_RDONLY)
        handle.detach()
        handle.attach()
        return bool(pickle.loads(pickle.dumps(handle)).readonly)

    assert as_other_user(use) is True
