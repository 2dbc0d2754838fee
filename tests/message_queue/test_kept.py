"""Messages taken but not delivered for lack of memory: the handle's next call returns them."""

from __future__ import annotations

import gc
import os
import subprocess
import sysconfig
from collections.abc import Callable
from typing import Any

import pytest
from helpers import LONG_MAX, fork, import_testcapi, in_child

from sysv_ipc import IPC_CREX, ArgumentError, BusyError, MessageQueue

Run = Callable[..., subprocess.CompletedProcess[str]]

BUFFER = bytearray(20000)
#: CPython keeps small integers, and memory for new ones of one digit: this type needs two.
TYPE = LONG_MAX

#: Each way to receive one message.  The results are not converted, because memory may be lacking.
RECEIVES: dict[str, Callable[[MessageQueue], Any]] = {
    "receive": lambda q: q.receive(False),
    "of its type": lambda q: q.receive(False, TYPE),
    "the lowest": lambda q: q.receive(False, -TYPE),
    "except": lambda q: q.receive(False, 7, except_type=True),
    "try_receive": lambda q: q.try_receive(),
    "receive_many": lambda q: q.receive_many(1, False),
    "receive_into": lambda q: q.receive_into(BUFFER, False),
    "iteration": next,
}


def without_memory(call: Callable[[MessageQueue], Any], queue: MessageQueue, *failing: int) -> Any:
    """Call the function while the allocations from number first to before number last fail."""
    capi = import_testcapi()
    try:
        capi.set_nomemory(*failing)
        return call(queue)
    except MemoryError:
        return None
    finally:
        capi.remove_mem_hooks()


@pytest.mark.parametrize("size", [0, 100, 2000, 12000])
@pytest.mark.parametrize("name", RECEIVES)
def test_no_message_is_lost_for_lack_of_memory(
    queue: MessageQueue, long_messages: None, name: str, size: int
) -> None:
    """Even if the caller may not send, or the queue is full: the message does not go back."""
    reader = MessageQueue(queue.key, max_message_size=20000)
    writer = MessageQueue(queue.key, max_message_size=20000)
    kept = 0
    for failing in [(n, n + 1) for n in range(15)] + [(n, 0) for n in range(15)]:
        # Two messages of the same size: the size of the third is guessed from them.
        for _ in range(2):
            writer.send(b"x" * size, type=TYPE)
            RECEIVES[name](reader)
        BUFFER[:] = bytes(len(BUFFER))
        writer.send(b"x" * size, type=TYPE)
        got = without_memory(RECEIVES[name], reader, *failing)
        if not got:
            kept += queue.current_messages == 0
            got = RECEIVES[name](reader)
        if name == "receive_into":
            got = (bytes(BUFFER[: got[0]]), got[1])
        assert got == ([(b"x" * size, TYPE)] if name == "receive_many" else (b"x" * size, TYPE))
        assert reader.try_receive() is None
    # At least once, the message was taken, and other handles did not see it.
    assert kept > 0


def keep(reader: MessageQueue, content: bytes, type: int) -> None:
    """Let the reader take a message and fail for lack of memory."""
    writer = MessageQueue.from_id(reader.id, max_message_size=20000)
    for first in range(30):
        writer.send(content, type=type)
        got = without_memory(RECEIVES["receive"], reader, first, 0)
        if not got and not writer.current_messages:
            return
        if not got:
            writer.receive()
    pytest.fail("no allocation fails after a message has been taken")


@pytest.fixture
def reader(queue: MessageQueue) -> MessageQueue:
    """A handle that keeps the messages (one, 301), (two, 302), (three, 303), before (four, 304)."""
    handle = MessageQueue(queue.key)
    # In reverse order, because the next call would return a message that is kept.
    for number, content in enumerate([b"one", b"two", b"three"]):
        keep_after_others(handle, content, 301 + number)
    queue.send(b"four", type=304)
    return handle


def keep_after_others(reader: MessageQueue, content: bytes, type: int) -> None:
    writer = MessageQueue.from_id(reader.id)
    for first in range(30):
        writer.send(content, type=type)
        got = without_memory(lambda q: q.receive(False, type), reader, first, 0)
        if not got and not writer.current_messages:
            return
        if not got:
            writer.receive(False, type)
    pytest.fail("no allocation fails after a message has been taken")


def test_kept_messages_come_in_order_and_before_queued_ones(reader: MessageQueue) -> None:
    assert [reader.receive()[0] for _ in range(4)] == [b"one", b"two", b"three", b"four"]
    with pytest.raises(BusyError):
        reader.receive(False)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"type": 302}, b"two"),
        ({"type": 304}, b"four"),
        ({"type": -400}, b"one"),
        ({"type": -302}, b"one"),
        ({"type": 301, "except_type": True}, b"two"),
    ],
)
def test_kept_messages_are_selected_by_the_rules_of_the_kernel(
    reader: MessageQueue, arguments: dict[str, Any], wanted: bytes
) -> None:
    assert reader.receive(False, **arguments)[0] == wanted
    with pytest.raises(BusyError):
        reader.receive(False, type=305)
    assert len(reader.receive_many(9, False)) == 3


def test_a_kept_message_that_is_too_long_stays(reader: MessageQueue, queue: MessageQueue) -> None:
    small = bytearray(2)
    with pytest.raises(ArgumentError, match="Argument list too long"):
        reader.receive_into(small, False)
    assert reader.receive_into(small, False, truncate=True) == (2, 301)
    assert small == b"on"
    assert reader.receive()[0] == b"two"


def test_another_handle_does_not_receive_the_kept_message(
    reader: MessageQueue, queue: MessageQueue
) -> None:
    assert queue.receive() == (b"four", 304)
    with pytest.raises(BusyError):
        queue.receive(False)


def test_a_handle_that_is_dropped_puts_the_kept_message_back(
    reader: MessageQueue, queue: MessageQueue
) -> None:
    pass_on = [reader]
    del reader
    assert queue.receive() == (b"four", 304)
    pass_on.clear()


def test_messages_of_a_dropped_handle_are_in_the_queue_again(queue: MessageQueue) -> None:
    handle = MessageQueue(queue.key)
    keep(handle, b"kept", 300)
    assert queue.current_messages == 0
    del handle
    gc.collect()
    assert queue.receive(False) == (b"kept", 300)


#: A reader takes the only message of a queue, and then has no memory for it.
TAKE_WITHOUT_MEMORY = """
for first in range(30):
    try:
        _testcapi.set_nomemory(first, 0)
        reader.receive(False)
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    if not queue.current_messages:
        break
"""


def test_a_message_that_cannot_be_put_back_is_reported(run_python: Run) -> None:
    code = """
import _testcapi, sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
reader = sysv_ipc.MessageQueue(queue.key)
queue.send(b"kept", type=300)
TAKE
queue.max_size = 3
queue.send(b"abc")
del reader
queue.remove()
"""
    import_testcapi()
    stderr = run_python(code.replace("TAKE", TAKE_WITHOUT_MEMORY)).stderr
    assert "a message of 4 bytes, which was received but not delivered, is lost" in stderr


def test_a_forked_child_does_not_receive_the_kept_messages_of_its_parent(
    queue: MessageQueue,
) -> None:
    handle = MessageQueue(queue.key)
    keep(handle, b"kept", 300)
    assert in_child(handle.try_receive) is None

    def drop() -> None:
        nonlocal handle
        del handle
        gc.collect()

    pid = fork(drop)
    os.waitpid(pid, 0)
    assert queue.current_messages == 0
    assert handle.receive(False) == (b"kept", 300)


def test_a_handle_initialised_again_does_not_return_the_kept_message(queue: MessageQueue) -> None:
    handle = MessageQueue(queue.key)
    keep(handle, b"kept", 300)
    other = MessageQueue(None, IPC_CREX)
    handle.__init__(other.key)  # type: ignore[misc]
    assert handle.try_receive() is None
    other.remove()
    handle.__init__(queue.key)  # type: ignore[misc]
    assert handle.receive(False) == (b"kept", 300)


def test_the_list_of_receive_many_is_not_reachable_while_it_waits(run_python: Run) -> None:
    code = """
import gc, threading, time, sys, sysv_ipc as s
from sleeping import blocked_in_system_call
queue = s.MessageQueue(None, s.IPC_CREX)
got = []
thread = threading.Thread(target=lambda: got.extend(queue.receive_many(5)))
thread.start()
while not blocked_in_system_call(thread.native_id, "msgrcv"):
    time.sleep(0.001)
for thing in gc.get_objects():
    if type(thing) is list and not thing and thing is not got:
        thing.clear()
queue.send(b"x")
thread.join()
lists = queue.receive_many(1, False)
print(got, gc.is_tracked(lists))
queue.remove()
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "[(b'x', 1)] True\n"), done.stderr


def test_a_message_is_kept_although_there_is_no_memory_for_a_copy(run_python: Run) -> None:
    """Senders that wait for room would fill its place in the queue at once."""
    code = """
import os, resource, signal, sysv_ipc as s
M = 1 << 20
before = {}
for name in "msgmax", "msgmnb":
    with open("/proc/sys/kernel/" + name) as file:
        before[name] = file.read()
    with open("/proc/sys/kernel/" + name, "w") as file:
        file.write(str(16 * M))
queue = s.MessageQueue(None, s.IPC_CREX, max_message_size=16 * M)
queue.send(b"A" * 12 * M)
pid = os.fork()
if pid == 0:
    queue.send(b"B" * 12 * M)
    os._exit(0)
from sleeping import blocked_process
while not blocked_process(pid, "msgsnd"):
    pass
size = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + 20 * M, -1))
got = []
try:
    got.append(queue.receive()[0][:1])
except MemoryError:
    print("no memory")
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
os.waitpid(pid, 0)
print(*got, *[queue.receive(timeout=5)[0][:1] for _ in range(2 - len(got))])
queue.remove()
for name in before:
    with open("/proc/sys/kernel/" + name, "w") as file:
        file.write(before[name])
"""
    done = run_python(code)
    # Without the GIL, the interpreter reserves enough addresses at its start.
    enough = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert done.stdout == ("" if enough else "no memory\n") + "b'A' b'B'\n", done.stderr


@pytest.mark.parametrize("why", ["may not send", "elsewhere", "full"])
def test_a_message_that_cannot_go_back_is_reported_and_goes_to_no_other_queue(
    run_python: Run, why: str
) -> None:
    code = """
import ctypes, os, sys, _testcapi, namespace, sysv_ipc as s
queue = s.MessageQueue(None, s.IPC_CREX, 0o604)
reader = s.MessageQueue(queue.key)
queue.send(b"precious" * 100, type=300)
TAKE
left = 0
if sys.argv[1] == "may not send":
    os.seteuid(65534); del reader; os.seteuid(0)
elif sys.argv[1] == "elsewhere":
    ipc = os.open("/proc/self/ns/ipc", os.O_RDONLY)
    namespace.enter()
    other = s.MessageQueue(queue.key, s.IPC_CREX)
    del reader
    left = other.current_messages
    ctypes.CDLL(None).setns(ipc, 0)
else:
    queue.max_size = 10
    queue.send(b"0123456789")
    del reader
    left = queue.current_messages - 1
print(left)
queue.remove()
"""
    import_testcapi()
    done = run_python(code.replace("TAKE", TAKE_WITHOUT_MEMORY), why)
    assert done.stdout == "0\n"
    assert "a message of 800 bytes" in done.stderr
    assert "is lost" in done.stderr


def test_a_queue_during_its_deallocation_is_not_reachable(run_python: Run) -> None:
    """The report of a lost message runs code of the program."""
    code = """
import sys, gc, sysv_ipc as s, _testcapi
class Queue(s.MessageQueue):
    pass
other = s.MessageQueue(None, s.IPC_CREX)
for kind in Queue, s.MessageQueue:
    queue = kind(other.key)
    queue.send(b"precious" * 100)
    try:
        _testcapi.set_nomemory(0, 8)
        queue.receive(False)
    except (MemoryError, s.Error):
        pass
    finally:
        _testcapi.remove_mem_hooks()
    while other.try_send(b"x" * 800):
        pass
    seen = []
    sys.unraisablehook = lambda u: seen.append(
        [one for one in gc.get_objects() if isinstance(one, s.MessageQueue) and one is not other])
    del queue
    print(seen)
    while other.try_receive():
        pass
other.remove()
"""
    import_testcapi()
    done = run_python(code, env={**os.environ, "PYTHONMALLOC": "debug"})
    assert (done.returncode, done.stdout) == (0, "[[]]\n[[]]\n"), done.stderr


@pytest.mark.parametrize(
    "stop", [(n, n + 1) for n in range(1, 25)] + [(n, 0) for n in range(1, 25)]
)
def test_receive_many_loses_nothing_if_memory_is_lacking(
    queue: MessageQueue, stop: tuple[int, int]
) -> None:
    capi = import_testcapi()
    for number in range(5):
        queue.send(str(number) * 100, type=300 + number)
    got: list[tuple[bytes, int]] = []
    # Looking up an attribute can take memory too.
    set_nomemory, remove_mem_hooks = capi.set_nomemory, capi.remove_mem_hooks
    try:
        set_nomemory(*stop)
        got = queue.receive_many(5, False)
    except MemoryError:
        pass
    finally:
        remove_mem_hooks()
    left = queue.receive_many(9, False)
    assert sorted(type for _, type in got + left) == [300, 301, 302, 303, 304]
