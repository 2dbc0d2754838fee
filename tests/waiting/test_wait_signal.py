"""The signal that ends waits: it disturbs nobody, and nobody disturbs it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from helpers import run_in_thread, wait_until
from sleeping import blocked_in_system_call

import sysv_ipc
from sysv_ipc import ArgumentError, BusyError, MessageQueue

Run = Callable[..., subprocess.CompletedProcess[str]]

NO_MESSAGE = """
def wait(seconds=0.02):
    try:
        queue.receive(timeout=seconds)
    except sysv_ipc.BusyError:
        return True
"""
START = f"""
import os, select, signal, socket, subprocess, sys, threading, time, warnings
import sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
{NO_MESSAGE}
"""


@pytest.fixture(autouse=True)
def same_signal_afterwards() -> Iterator[None]:
    before = sysv_ipc.set_wait_signal(None)
    sysv_ipc.set_wait_signal(before)
    yield
    sysv_ipc.set_wait_signal(before)


def test_no_signal_is_taken_before_the_first_wait(run_python: Run) -> None:
    code = (
        START
        + """
def caught():
    line = [line for line in open("/proc/self/status") if line.startswith("SigCgt")][0]
    return int(line.split()[1], 16)
before = caught()
queue.send("x"); queue.receive(); queue.try_receive()
print(caught() == before)
wait()
print(bin(caught() ^ before).count("1"), (caught() ^ before).bit_length())
queue.remove()
"""
    )
    same, used = run_python(code).stdout.splitlines()
    assert same == "True"
    assert used == f"1 {signal.SIGRTMAX - 1}"


def test_no_thread_is_started_by_a_wait(run_python: Run) -> None:
    code = (
        START
        + """
wait()
print(os.listdir("/proc/self/task") == [str(os.getpid())])
queue.remove()
"""
    )
    assert run_python(code).stdout == "True\n"


@pytest.mark.parametrize("number", [signal.SIGRTMIN + 3, signal.SIGUSR2, signal.SIGURG])
def test_another_signal_can_be_chosen(queue: MessageQueue, number: int) -> None:
    before = sysv_ipc.set_wait_signal(number)
    assert before is not None
    with pytest.raises(BusyError):
        queue.receive(timeout=0.01)
    assert sysv_ipc.set_wait_signal(before) == number


def test_none_is_polling_and_comes_back(queue: MessageQueue) -> None:
    before = sysv_ipc.set_wait_signal(None)
    with pytest.raises(BusyError):
        queue.receive(timeout=0.01)
    assert sysv_ipc.set_wait_signal(before) is None


@pytest.mark.parametrize(
    "number", [0, -1, 65, 2**31, signal.SIGKILL, signal.SIGSEGV, signal.SIGCHLD]
)
def test_what_is_no_such_signal_is_refused(number: int) -> None:
    with pytest.raises(ArgumentError, match="signal"):
        sysv_ipc.set_wait_signal(number)


@pytest.mark.parametrize("value", ["USR1", 10.5, [], b"1"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="signal number must be an integer"):
        sysv_ipc.set_wait_signal(value)  # type: ignore[arg-type]


def test_a_signal_that_the_program_uses_is_refused() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with pytest.raises(ArgumentError, match="the program uses signal"):
            sysv_ipc.set_wait_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_the_program_takes_later_is_said_and_waits_poll(run_python: Run) -> None:
    code = (
        START
        + """
wait()
heard = []
signal.signal(signal.SIGRTMAX - 1, lambda *_: heard.append(1))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    print(wait(), wait())
print(len(told), told[0].category.__name__,
      "signal 63, used by sysv_ipc to interrupt blocking calls, now" in str(told[0].message))
print(heard, sysv_ipc.set_wait_signal(None))
with warnings.catch_warnings():
    warnings.simplefilter("error")
    wait()
queue.remove()
"""
    )
    assert run_python(code).stdout.splitlines() == ["True True", "1 RuntimeWarning True", "[] None"]


def test_a_warning_that_raises_ends_the_wait_before_it_begins(run_python: Run) -> None:
    code = (
        START
        + """
wait()
queue.send("stays")
signal.signal(signal.SIGRTMAX - 1, lambda *_: None)
warnings.simplefilter("error")
try:
    queue.receive(type=5, timeout=0.1)
except RuntimeWarning:
    print("raised", queue.current_messages)
queue.remove()
"""
    )
    assert run_python(code).stdout == "raised 1\n"


def test_a_programs_own_handlers_and_wakeup_descriptor_hear_nothing(run_python: Run) -> None:
    code = (
        START
        + """
import faulthandler
faulthandler.enable()
faulthandler.register(signal.SIGUSR1)
reader, writer = socket.socketpair()
writer.setblocking(False); reader.setblocking(False)
signal.set_wakeup_fd(writer.fileno())
heard = []
for number in (signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM):
    signal.signal(number, lambda *_: heard.append(1))
results = [wait(0.001) for _ in range(100)]
try:
    print(reader.recv(10))
except BlockingIOError:
    print("nothing", heard, all(results))
queue.remove()
"""
    )
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("nothing [] True\n", "")


def test_a_program_with_handlers_for_all_realtime_signals_is_left_alone(run_python: Run) -> None:
    """As some event loops have: there is none left for waits, which poll, and nothing is said."""
    code = (
        START
        + """
warnings.simplefilter("error")
heard = []
numbers = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
for number in numbers:
    signal.signal(number, lambda number, _: heard.append(number))
print(all(wait(0.002) for _ in range(20)), heard)
thread = threading.Thread(target=lambda: heard.append(queue.receive()))
thread.start()
queue.send("comes")
thread.join()
os.kill(os.getpid(), signal.SIGRTMAX - 1)
print(heard, sysv_ipc.set_wait_signal(None))
queue.remove()
"""
    )
    done = run_python(code)
    assert done.stdout.splitlines() == ["True []", "[(b'comes', 1), 63] None"]
    assert done.stderr == ""


def test_a_thread_that_waits_for_all_signals_hears_only_its_own(run_python: Run) -> None:
    """The usual way of daemons: all signals blocked, and one thread in sigwait(3)."""
    code = (
        START
        + """
everything = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
heard = []
def listen():
    while (number := signal.sigwait(everything)) != signal.SIGTERM:
        heard.append(number)
listener = threading.Thread(target=listen); listener.start()
def work():
    for _ in range(100): wait(0.0005)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
work()
for thread in threads: thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGTERM)
listener.join()
print(heard == [signal.SIGUSR1], signal.pthread_sigmask(signal.SIG_BLOCK, []) == everything)
queue.remove()
"""
    )
    assert run_python(code).stdout == "True True\n"


@pytest.mark.parametrize("ender", ["time", "cancel"])
def test_no_signal_is_left_pending_where_all_are_blocked(run_python: Run, ender: str) -> None:
    """It would come out of the next sigwait(3) of this thread, which means others by it."""
    code = (
        START
        + f"""
# One that is named is unblocked for the time of the call.
sysv_ipc.set_wait_signal(signal.SIGRTMIN + 4)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
left = []; done = threading.Event()
def work():
    for _ in range(5000):
        try:
            queue.receive(timeout=0.0001 if {ender!r} == "time" else None)
        except sysv_ipc.Error:
            pass
        left.extend(signal.sigpending())
        while signal.sigpending():
            signal.sigwait(signal.sigpending())
    done.set()
thread = threading.Thread(target=work); thread.start()
while not done.is_set():
    queue.cancel() if {ender!r} == "cancel" else time.sleep(0.01)
thread.join()
print(len(left))
queue.remove()
"""
    )
    assert run_python(code).stdout == "0\n"


def test_slow_calls_of_other_threads_are_not_interrupted(queue: MessageQueue) -> None:
    """A child that cannot retry: cat(1) and a thread in read(2) through C."""
    code = (
        START
        + """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
reader, writer = os.pipe()
outcome = []
def read():
    buffer = ctypes.create_string_buffer(1)
    outcome.append((libc.read(reader, buffer, 1), ctypes.get_errno()))
thread = threading.Thread(target=read); thread.start()
for _ in range(200):
    wait(0.0005)
print(outcome)
os.write(writer, b"x"); thread.join()
print(outcome)
queue.remove()
"""
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n[(1, 0)]\n"


def test_other_calls_of_the_waiting_thread_are_restarted(run_python: Run) -> None:
    """A signal that is left over after a wait finds SA_RESTART."""
    code = (
        START
        + """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
wait()
reader, writer = os.pipe()
me = threading.get_native_id()
def disturb():
    for _ in range(20):
        time.sleep(0.002)
        libc.tgkill(os.getpid(), me, signal.SIGRTMAX - 1)
    os.write(writer, b"x")
thread = threading.Thread(target=disturb); thread.start()
buffer = ctypes.create_string_buffer(1)
print(libc.read(reader, buffer, 1), ctypes.get_errno())
thread.join()
queue.remove()
"""
    )
    assert run_python(code).stdout == "1 0\n"


def test_exec_in_the_middle_of_a_wait_works(run_python: Run) -> None:
    code = (
        START
        + """
threading.Thread(target=lambda: wait(60), daemon=True).start()
time.sleep(0.05)
os.execv(sys.executable, [sys.executable, "-c",
    f"import sysv_ipc; sysv_ipc.remove_message_queue({queue.id}); print('new program')"])
"""
    )
    assert run_python(code).stdout == "new program\n"


def test_idle_waiters_cost_almost_nothing(run_python: Run) -> None:
    """16 timed waiters sleep: none of them runs in the meantime."""
    code = (
        START
        + """
threads = [threading.Thread(target=wait, args=(60,)) for _ in range(16)]
for thread in threads: thread.start()
time.sleep(0.3)
def switches():
    total = 0
    for thread in threads:
        for line in open(f"/proc/self/task/{thread.native_id}/status"):
            if "ctxt_switches" in line: total += int(line.split()[1])
    return total
before = switches()
time.sleep(0.5)
print(switches() - before)
queue.cancel()
while any(thread.is_alive() for thread in threads):
    queue.cancel(); time.sleep(0.01)
queue.remove()
""".replace("except sysv_ipc.BusyError", "except sysv_ipc.Error")
    )
    assert int(run_python(code).stdout) <= 2


@pytest.mark.parametrize("way", ["signal", "polling"])
@pytest.mark.parametrize(
    "call",
    ["queue.receive()", "semaphore.acquire()", "many.op([(0, -1)])", "queue.send(b'x' * 20)"],
)
def test_ctrl_c_ends_a_wait_whenever_it_comes(run_python: Run, call: str, way: str) -> None:
    """2 000 tries for each call, each with its own moment of 0 to 50 us after the beginning."""
    code = (
        START
        + f"""
import ctypes, random
semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
many = sysv_ipc.SemaphoreSet(None, 1, sysv_ipc.IPC_CREX)
if "send" in {call!r}:
    queue.max_size = 10
if {way!r} == "polling":
    sysv_ipc.set_wait_signal(None)
go = threading.Event(); main = threading.main_thread().ident
offsets = random.Random(7); done = 0; late = 0.0
# A signal may come in the middle of anything: a barrier would not stand that.
reader, writer = os.pipe()
TRIES = 2000
def interrupt():
    for _ in range(TRIES):
        os.read(reader, 1)
        end = time.perf_counter() + offsets.random() * 50e-6
        while time.perf_counter() < end: pass
        signal.pthread_kill(main, signal.SIGINT)
thread = threading.Thread(target=interrupt); thread.start()
for _ in range(TRIES):
    try:
        try:
            start = time.perf_counter()
            os.write(writer, b"x")
            {call}
        finally:
            late = max(late, time.perf_counter() - start)
    except KeyboardInterrupt:
        done += 1
thread.join()
print(done, late < 20)
for handle in (queue, semaphore, many): handle.remove()
"""
    )
    assert run_python(code, timeout=110).stdout == "2000 True\n"


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


#: What a program may do with the signal while a wait uses it.
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
while not blocked_in_system_call(thread.native_id, "msgrcv", "semtimedop"):
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
    """signal(2) from C: Python's function is for the main thread, which waits."""
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
# What another user may not read has to be imported before.
codecs.lookup("ascii")
libc = ctypes.CDLL(None)
from sleeping import blocked_in_system_call
# A user of its own, so that no other test has this one's trouble.
queue.remove()
os.setgid(4711); os.setuid(4711)
# What changes its user keeps /proc/self to root: prctl(2), PR_SET_DUMPABLE.
libc.prctl(4, 1, 0, 0, 0)
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
resource.setrlimit(resource.RLIMIT_SIGPENDING, (200, 200))
# Curses and Go have handlers for these.
for number in [{handled}]:
    signal.signal(number, lambda *_: None)
warnings.simplefilter("ignore")
def hog(number=signal.SIGRTMIN + 3):
    # Leaves no room in the user's queue of signals.
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
    """It may wait for it by sigwait(3) or signalfd(2), for which it needs no handler."""
    code = (
        START
        + f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
number = signal.SIGRTMAX - 1
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
    # The main thread waits, with a deadline, until the other has heard it.
    queue.receive(type=2, timeout=30)
thread.join()
print(heard == [number] * 20, sysv_ipc.set_wait_signal(None) == number)
queue.remove()
"""
    )
    assert run_python(code).stdout == "True False\n"


def test_a_thread_that_blocks_all_signals_is_interrupted_by_the_one_that_was_named(
    run_python: Run,
) -> None:
    """Without a name it would poll, and be in no call for longer than a moment."""
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
    """strace(1) lets no signal through."""
    code = (
        START
        + """
from sleeping import blocked_in_system_call
ended = []
def work():
    # The timer's signal, which is the process's, is not to end the wait.
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
