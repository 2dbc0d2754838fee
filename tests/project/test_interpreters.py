"""Several interpreters in one process, and several copies of the module in one interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import FLAT_MEMORY, FREE_THREADED

Run = Callable[..., subprocess.CompletedProcess[str]]

#: Creates each interpreter; the module's name depends on the version.  Before 3.12 they share
#: one GIL, since then each has its own.
SUBINTERPRETERS = """
import sys, threading
try:
    from concurrent import interpreters
except ImportError:
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters

def run(code):
    if sys.version_info >= (3, 14):
        interpreter = interpreters.create()
        try:
            interpreter.exec(code)
        finally:
            interpreter.close()
        return
    options = ["isolated"] if sys.version_info >= (3, 13) else []
    interpreter = interpreters.create(*options)
    failure = interpreters.run_string(interpreter, code)
    interpreters.destroy(interpreter)
    if failure is not None:
        raise RuntimeError(str(failure))

def in_threads(functions):
    failures = []
    def call(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=call, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
"""

#: The code of each interpreter, which uses the objects of the main interpreter, and its own.
USE = """
import sysv_ipc
from sysv_ipc import IPC_CREX, BusyError, ExistentialError, MessageQueue, Semaphore, SharedMemory

semaphore, members = Semaphore.from_id(SEMAPHORE), sysv_ipc.SemaphoreSet.from_id(SEMAPHORE)
segment, queue = SharedMemory.from_id(SEGMENT), MessageQueue.from_id(QUEUE)
with semaphore:
    view = memoryview(segment)
    view[0] = (view[0] + 1) % 256
    counter = int.from_bytes(segment.read(4, 8), "little") + 1
    segment.write(counter.to_bytes(4, "little"), 8)
members.op([(0, -1), (0, 1)])
try:
    semaphore.acquire(0, 1000)
except BusyError as error:
    assert error.id == semaphore.id
else:
    raise AssertionError("a thousand permits")
try:
    Semaphore(semaphore.key, IPC_CREX)
except ExistentialError as error:
    assert error.__notes__ and error.key == semaphore.key
else:
    raise AssertionError("created again")
try:
    MessageQueue.from_id(QUEUE).receive(type=9, timeout=1e-4)
except BusyError:
    pass
else:
    raise AssertionError("a message of type 9")
assert semaphore.info() in sysv_ipc.semaphores() and segment.info().size == segment.size
mine = Semaphore(None, IPC_CREX, initial_value=7)
queue.send(str(mine.id), type=2)
del view
"""

MAIN = """
import sysv_ipc
semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, init_character=b"\\0")
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
use = sys.argv[1]
for name, handle in ("SEMAPHORE", semaphore), ("SEGMENT", segment), ("QUEUE", queue):
    use = use.replace(name, str(handle.id))

def take():
    theirs = sysv_ipc.Semaphore.from_id(int(queue.receive(type=2)[0]))
    assert theirs.value == 7
    theirs.remove()

def used():
    return int.from_bytes(segment.read(4, 8), "little")

def end():
    assert semaphore.value == 1
    assert segment.number_attached == 1
    assert queue.current_messages == 0
    for handle in semaphore, segment, queue:
        handle.remove()
"""


def run_beside(code: str, *arguments: str, **environment: str) -> None:
    """Run code in a new process, which may make more interpreters."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SUBINTERPRETERS + code, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---------------------------------------------------------------------------- interpreters


def test_interpreters_exchange_objects_by_id() -> None:
    code = """
run(use)
take()
assert used() == 1
theirs = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
run(f"import sysv_ipc; sysv_ipc.MessageQueue.from_id({theirs.id}).send('from there', type=3)")
assert theirs.receive() == (b"from there", 3)
run(f"import sysv_ipc; sysv_ipc.remove_message_queue({theirs.id})")
assert theirs.removed
end()
"""
    run_beside(MAIN + code, USE)


def test_interpreters_work_at_the_same_time() -> None:
    code = """
def several():
    for _ in range(5):
        run(use)
        take()
in_threads([several] * 4)
assert used() == 20
end()
"""
    run_beside(MAIN + code, USE)


def test_interpreters_wait_for_each_other() -> None:
    """Each of the two interpreters waits until the other has released the semaphore."""
    code = """
player = '''
import sysv_ipc
one, other = (sysv_ipc.Semaphore.from_id(ID, index) for index in (MINE, 1 - MINE))
for _ in range(200):
    one.acquire(60)
    other.release()
'''
table = sysv_ipc.SemaphoreSet(None, 2, sysv_ipc.IPC_CREX, initial_values=[1, 0])
player = player.replace("ID", str(table.id))
in_threads([lambda index=index: run(player.replace("MINE", str(index))) for index in (0, 1)])
assert table.values == (1, 0)
table.remove()
end()
"""
    run_beside(MAIN + code, USE)


def test_an_interpreter_that_ends_does_not_affect_the_others() -> None:
    code = """
started = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
waiter = '''
import sysv_ipc
sysv_ipc.Semaphore.from_id(ID).release()
text, type = sysv_ipc.MessageQueue.from_id(QUEUE).receive(type=5, timeout=60)
assert text == b"go on"
'''.replace("ID", str(started.id)).replace("QUEUE", str(queue.id))
def others():
    started.acquire(60)
    for _ in range(5):
        run(use)
        take()
    queue.send("go on", type=5)
in_threads([lambda: run(waiter), others])
started.remove()
end()
"""
    run_beside(MAIN + code, USE)


def test_an_uncaught_error_in_an_interpreter_is_reported_outside() -> None:
    code = """
try:
    run(f"import sysv_ipc; sysv_ipc.Semaphore({semaphore.key}, sysv_ipc.IPC_CREX)")
except Exception as error:
    assert "ExistentialError: [Errno 17]" in str(error).replace("<class ", ""), error
else:
    raise AssertionError("created again")
end()
"""
    if sys.version_info < (3, 13):
        code = code.replace('"ExistentialError: [Errno 17]"', '"[Errno 17]"')
    run_beside(MAIN + code, USE)


#: CPython does not free all memory of an interpreter that ends: before 3.14 that of pymalloc, which
#: is not used here, and always interned strings.  Therefore this compares with interpreters that do
#: not import the library, and allows for a few names.  Leaked classes would be far more than that.
GROWTH = """
def grown(code, count):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * sysv_ipc.PAGE_SIZE
    def once():
        run(code)
        if code == use:
            take()
    for _ in range(10):
        once()
    before = resident()
    for _ in range(count):
        once()
    return (resident() - before) / count

bare = grown("import os, errno", 40)
ours = grown(use, 200)
assert ours - bare < 24 * 1024, (ours, bare)
end()
"""


@pytest.mark.skipif(
    FREE_THREADED,
    reason="needs CPython with the GIL: without it, 3.13 never frees the classes of an interpreter",
)
def test_200_interpreters_leak_no_memory_of_the_library() -> None:
    run_beside(MAIN + GROWTH, USE, **FLAT_MEMORY)


# -------------------------------------------------------------------- copies of the module

COPIES = """
import gc, sys

def load():
    for name in [name for name in sys.modules if name.partition(".")[0] == "sysv_ipc"]:
        del sys.modules[name]
    import sysv_ipc
    return sysv_ipc
"""


def test_copies_of_the_module_work_at_the_same_time(run_python: Run) -> None:
    code = """
first = load()
kept = first.Semaphore(None, first.IPC_CREX, initial_value=1)
for _ in range(2):
    second = load()
    assert second is not first and second.Semaphore is not first.Semaphore
    other = second.Semaphore(kept.key)
    assert other.id == kept.id and other != kept
    assert second.exists(kept.key, second.Semaphore)
    kept.acquire()
    for module, handle in ((first, kept), (second, other)):
        try:
            handle.acquire(0)
        except module.BusyError as error:
            assert error.id == kept.id
    kept.release()
    del second, other
    gc.collect()
load()
del sys.modules["sysv_ipc"], first
gc.collect()
kept.acquire()
try:
    kept.acquire(0)
except OSError as error:
    print(type(error).__name__)
kept.remove()
"""
    done = run_python(COPIES + code)
    assert (done.stdout, done.stderr) == ("BusyError\n", "")


def test_each_copy_has_classes_of_its_own(run_python: Run) -> None:
    code = """
copies = [load() for _ in range(3)]
for name in copies[0].__all__:
    if isinstance(getattr(copies[0], name), type):
        assert len({getattr(copy, name) for copy in copies}) == 3, name
handles = [copy.Semaphore(None, copy.IPC_CREX) for copy in copies]
for copy, handle in zip(copies, handles):
    others = tuple(other.Error for other in copies if other is not copy)
    try:
        handle.acquire(0)
    except others:
        raise AssertionError("caught by the class of another copy")
    except copy.BusyError:
        pass
    for other in copies:
        assert isinstance(handle, other.Semaphore) == (other is copy)
    try:
        handle == handles[0], copy.exists(1, copies[0].Semaphore)
    except TypeError as error:
        assert copy is not copies[0] and "type must be Semaphore" in str(error)
    handle.remove()
"""
    done = run_python(COPIES + code)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_older_copy_adds_notes_and_returns_its_own_records(run_python: Run) -> None:
    """A module that is imported on first use is that of the newest copy."""
    code = """
first = load()
second = load()
for module in first, second:
    gone = module.SemaphoreSet(None, 2, module.IPC_CREX)
    (record,) = module.semaphores(members=True)
    assert type(record) is module.SemaphoreInfo, record
    assert {type(member) for member in record.members} == {module.SemaphoreMemberInfo}
    segment = module.SharedMemory(None, module.IPC_CREX)
    assert {type(record) for record in module.shared_memories()} == {module.SharedMemoryInfo}
    segment.remove()
    segment.detach()
    gone.remove()
    try:
        gone.values
    except module.ExistentialError as error:
        print(*error.__notes__)
"""
    done = run_python(COPIES + code)
    notes = done.stdout.splitlines()
    assert (len(notes), done.stderr) == (2, "")
    assert notes[0] == notes[1]
    assert "The object was removed" in notes[0]


def test_copies_that_are_dropped_are_collected(run_python: Run) -> None:
    code = """
import weakref
dropped = []
for _ in range(20):
    module = load()
    handle = module.Semaphore(None, module.IPC_CREX)
    try:
        handle.acquire(0)
    except module.BusyError as error:
        caught = error
    handle.remove()
    try:
        handle.value
    except module.ExistentialError:
        pass
    class Own(module.SharedMemory):
        pass
    segment = Own(None, module.IPC_CREX)
    segment.note = memoryview(segment), module
    segment.remove()
    module.kept = module.SharedMemory(None, module.IPC_CREX)
    module.kept.remove()
    dropped += [weakref.ref(module.Semaphore), weakref.ref(module.Error), weakref.ref(module)]
    del handle, segment, module, caught, Own
load()
gc.collect()
print(sum(one() is not None for one in dropped))
with open("/proc/self/maps") as file:
    print(sum("/SYSV" in line for line in file))
"""
    done = run_python(COPIES + code)
    assert (done.stdout, done.stderr) == ("0\n0\n", "")


def test_reloading_keeps_handles_and_classes(run_python: Run) -> None:
    code = """
import importlib, sysv_ipc
handle = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
for _ in range(2):
    importlib.reload(sysv_ipc)
    print(isinstance(handle, sysv_ipc.Semaphore))
    try:
        handle.acquire(0)
    except sysv_ipc.BusyError:
        print("busy")
handle.remove()
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("True\nbusy\n" * 2, "")


def test_a_class_whose_module_was_freed_makes_no_handles(run_python: Run) -> None:
    """The collector clears classes in any order, and finalizers may still call them."""
    code = """
import ctypes, os, sysv_ipc
PY_TP_CLEAR = 51
slot = ctypes.pythonapi.PyType_GetSlot
slot.restype, slot.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_int]
clear = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(slot(type, PY_TP_CLEAR))
classes = [
    sysv_ipc.Semaphore, sysv_ipc.SemaphoreSet, sysv_ipc.SharedMemory, sysv_ipc.MessageQueue
]
for cls in classes:
    clear(cls)
    try:
        cls(5)
    except TypeError as error:
        print(error, flush=True)
os._exit(0)
"""
    done = run_python(code)
    assert done.stderr == ""
    assert done.stdout.count("has no associated module") == 4


EMBEDDING = r"""
#include <Python.h>
#include <pthread.h>

static void *
run(void *code)
{
    Py_Initialize();
    PyRun_SimpleString(code);
    Py_Finalize();
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    (void)argc;
    pthread_create(&thread, NULL, run, argv[1]);
    pthread_join(thread, NULL);
    return 0;
}
"""


def test_handlers_run_in_time_if_pythons_main_thread_is_not_the_first(tmp_path: Path) -> None:
    """A program in C that embeds Python in another thread; its first thread gets the signals."""
    source, program = tmp_path / "embedding.c", tmp_path / "embedding"
    source.write_text(EMBEDDING)
    names = ("LIBDIR", "LIBPL", "LIBS", "SYSLIBS", "LDVERSION")
    libdir, libpl, libs, syslibs, version = (sysconfig.get_config_var(name) for name in names)
    subprocess.run(
        [
            *("cc", "-I", sysconfig.get_path("include"), source, "-o", program),
            *("-L", libdir, "-L", libpl, f"-lpython{version}", "-Wl,-export-dynamic", "-pthread"),
            *(f"-Wl,-rpath,{libdir}", *libs.split(), *syslibs.split()),
        ],
        check=True,
    )
    code = """
import os, signal, threading, time, sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
signal.signal(signal.SIGUSR1, lambda *_: queue.cancel())
print(threading.get_native_id() != os.getpid())
for call in queue.receive, lambda: queue.send(b"x" * 20):
    queue.max_size = 10
    timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1])
    timer.start()
    try:
        call()
    except sysv_ipc.CancelledError:
        print("the handler has run")
    timer.join()
queue.remove()
"""
    path = os.pathsep.join(one for one in sys.path if one)
    done = subprocess.run(
        [program, code],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": path, "PYTHONHOME": sys.base_prefix},
    )
    assert done.stdout.splitlines() == ["True", *["the handler has run"] * 2], done.stderr
