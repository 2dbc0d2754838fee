"""The signal that interrupts waits, while the program changes, blocks or exhausts signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from helpers import run_in_thread, wait_until
from sleeping import blocked_in_system_call
from waiting.programs import START

import sysv_ipc
from sysv_ipc import BusyError, MessageQueue

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_waiting_in_a_thread_while_the_signal_is_changed(queue: MessageQueue) -> None:
    """A wait keeps the signal that it began with."""
    ids: list[int] = []

    def wait() -> object:
        ids.append(threading.get_native_id())
        return queue.receive(timeout=0.1)

    result = run_in_thread(wait)
    wait_until(lambda: ids and blocked_in_system_call(ids[0], "msgrcv"))
    start = time.monotonic()
    sysv_ipc.set_wait_signal(signal.SIGRTMIN + 5)
    assert isinstance(result(), BusyError)
    assert time.monotonic() - start < 10


#: Changes that a program may make to the signal while a wait uses it.
DISPOSITIONS = {
    "ignored": "signal.signal(number, signal.SIG_IGN)",
    "default": "signal.signal(number, signal.SIG_DFL)",
    "handled": "signal.signal(number, lambda *_: None)",
}


@pytest.mark.parametrize("ender", ["time", "cancel"])
@pytest.mark.parametrize("call", ["queue.receive", "semaphore.acquire"])
@pytest.mark.parametrize("how", DISPOSITIONS)
def test_a_wait_ends_although_the_program_changes_all_signals_meanwhile(
    run_python: Run, how: str, call: str, ender: str
) -> None:
    code = (
        START
        + f"""
semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
from sleeping import blocked_in_system_call
before = sysv_ipc.set_wait_signal(None); sysv_ipc.set_wait_signal(before)
ended = []
def work():
    try:
        {call}(timeout={"0.5" if ender == "time" else "60"})
    except sysv_ipc.Error as error:
        ended.append(type(error).__name__)
thread = threading.Thread(target=work, daemon=True); thread.start()
while not blocked_in_system_call(thread.native_id, "msgrcv", "semop"):
    time.sleep(0.001)
for number in signal.valid_signals():
    try:
        {DISPOSITIONS[how]}
    except (OSError, ValueError):
        pass
if {ender!r} == "cancel":
    {call.split(".")[0]}.cancel()
thread.join(30)
print(ended)
warnings.simplefilter("ignore")
print(wait())
queue.remove(); semaphore.remove()
"""
    )
    done = run_python(code)
    wanted = "BusyError" if ender == "time" else "CancelledError"
    assert (done.returncode, done.stdout) == (0, f"['{wanted}']\nTrue\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGRTMAX - 1, signal.SIGRTMIN + 3])
def test_a_wait_of_the_main_thread_ends_although_another_thread_changes_the_signal(
    run_python: Run, number: int
) -> None:
    """It calls signal(2) from C, because Python allows its function only in the main thread."""
    code = (
        START
        + f"""
import ctypes
libc = ctypes.CDLL(None)
sysv_ipc.set_wait_signal({int(number)})
main = threading.get_native_id()
def change():
    from sleeping import blocked_in_system_call
    while not blocked_in_system_call(main, "msgrcv"):
        time.sleep(0.001)
    libc.signal({int(number)}, {{"default": 0, "ignored": 1}}[how])
for how in "default", "ignored":
    thread = threading.Thread(target=change); thread.start()
    print(wait(0.5))
    thread.join()
queue.remove()
"""
    )
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


@pytest.mark.parametrize("full", ["before the wait", "during the wait"])
@pytest.mark.parametrize("ender", ["cancel", "time"])
@pytest.mark.parametrize("by", ["limit", "another process"])
@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("handled", ["", "signal.SIGURG, signal.SIGWINCH,"])
def test_a_wait_ends_although_no_signal_can_be_queued(
    run_python: Run, by: str, ender: str, full: str, thread: str, handled: str
) -> None:
    """RLIMIT_SIGPENDING counts over all processes of a user."""
    code = (
        START
        + f"""
import codecs, ctypes, resource
# Modules that another user may not read are imported before setuid().
codecs.lookup("ascii")
libc = ctypes.CDLL(None)
from sleeping import blocked_in_system_call
# A user of its own, so that other tests are not affected by the limit.
queue.remove()
os.setgid(4711); os.setuid(4711)
# After a change of user, /proc/self belongs to root: prctl(2), PR_SET_DUMPABLE.
libc.prctl(4, 1, 0, 0, 0)
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
resource.setrlimit(resource.RLIMIT_SIGPENDING, (200, 200))
# Curses and Go have handlers for these.
for number in [{handled}]:
    signal.signal(number, lambda *_: None)
warnings.simplefilter("ignore")
def hog(number=signal.SIGRTMIN + 3):
    # Fill the user's queue of signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        while True:
            signal.pthread_kill(threading.get_ident(), number)
    except OSError:
        os.write(writer, b"full")
    os.read(stay, 1)
reader, writer = os.pipe(); stay, leave = os.pipe()
def fill():
    if {by!r} == "limit":
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
    elif os.fork() == 0:
        os.close(leave)
        hog()
        os._exit(0)
    else:
        os.read(reader, 4)
if {full!r} == "before the wait":
    fill()
ended = []
def work():
    ids.append(threading.get_native_id())
    try:
        queue.receive(timeout={"1" if ender == "time" else "60"})
    except sysv_ipc.Error as error:
        ended.append(type(error).__name__)
def end():
    while not ids or not (blocked_in_system_call(ids[0], "msgrcv")
                          or {full!r} == "before the wait"):
        time.sleep(0.001)
    if {full!r} == "during the wait":
        fill()
    while {ender!r} == "cancel" and not ended:
        queue.cancel()
        time.sleep(0.001)
ids = []
first, second = (work, end) if {thread!r} == "main" else (end, work)
other = threading.Thread(target=second); other.start()
first()
other.join()
print(ended)
os.close(leave)
queue.remove()
"""
    )
    done = run_python(code)
    wanted = "BusyError" if ender == "time" else "CancelledError"
    assert (done.returncode, done.stdout) == (0, f"['{wanted}']\n"), done.stderr


@pytest.mark.parametrize("way", ["sigwait", "signalfd"])
@pytest.mark.parametrize("blocked", ["one", "all"])
def test_a_signal_that_the_program_blocks_stays_its_own(
    run_python: Run, way: str, blocked: str
) -> None:
    """The program may wait for it with sigwait(3) or signalfd(2), which need no handler."""
    code = (
        START
        + f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
number = chosen
mask = {{number}} if {blocked!r} == "one" else signal.valid_signals() - {{signal.SIGINT}}
signal.pthread_sigmask(signal.SIG_BLOCK, mask)
bits = ctypes.c_uint64(1 << (number - 1))
descriptor = libc.signalfd(-1, ctypes.byref(bits), 0)
heard = []
def listen():
    for _ in range(20):
        if {way!r} == "sigwait":
            heard.append(signal.sigwait({{number}}))
        else:
            heard.append(int.from_bytes(os.read(descriptor, 128)[:4], sys.byteorder))
        queue.send("heard", type=2)
thread = threading.Thread(target=listen); thread.start()
for _ in range(20):
    os.kill(os.getpid(), number)
    # The main thread waits, with a timeout, until the other has received it.
    queue.receive(type=2, timeout=30)
thread.join()
print(heard == [number] * 20, sysv_ipc.set_wait_signal(None) == number)
queue.remove()
"""
    )
    assert run_python(code).stdout == "True False\n"


def test_a_thread_that_blocks_all_signals_is_interrupted_by_the_chosen_signal(
    run_python: Run,
) -> None:
    """Without a chosen signal it would poll, and never stay in a system call."""
    code = (
        START
        + """
from sleeping import blocked_in_system_call
sysv_ipc.set_wait_signal(signal.SIGRTMIN + 4)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
ended = []
def work():
    try:
        queue.receive()
    except sysv_ipc.CancelledError:
        ended.append(signal.sigpending())
thread = threading.Thread(target=work); thread.start()
while not blocked_in_system_call(thread.native_id, "msgrcv"):
    time.sleep(0.001)
queue.cancel()
thread.join()
print(ended)
queue.remove()
"""
    )
    assert run_python(code).stdout == "[set()]\n"


def test_ctrl_c_ends_a_cancel_that_cannot_reach_its_wait() -> None:
    """strace(1) suppresses every signal."""
    code = (
        START
        + """
from sleeping import blocked_in_system_call
ended = []
def work():
    # The signal of the timer, which goes to the process, must not end the wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    try:
        queue.receive()
    except sysv_ipc.Error as error:
        ended.append(type(error).__name__)
thread = threading.Thread(target=work, daemon=True); thread.start()
while not blocked_in_system_call(thread.native_id, "msgrcv"):
    time.sleep(0.001)
signal.setitimer(signal.ITIMER_REAL, 0.2)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    queue.cancel()
    print("cancelled")
except KeyboardInterrupt:
    print("interrupted")
queue.send("x")
thread.join()
print(queue.current_messages, ended)
queue.remove()
"""
    )
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "inject=tgkill:error=EAGAIN"]
    done = subprocess.run(
        [*strace, sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "interrupted\n0 []\n", done.stderr
