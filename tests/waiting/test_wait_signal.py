"""The signal that interrupts waits does not affect the rest of a program, or the reverse."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from waiting.programs import CHOSEN, START

import sysv_ipc
from sysv_ipc import ArgumentError, BusyError, MessageQueue

Run = Callable[..., subprocess.CompletedProcess[str]]


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


def test_none_means_polling_and_is_returned(queue: MessageQueue) -> None:
    before = sysv_ipc.set_wait_signal(None)
    with pytest.raises(BusyError):
        queue.receive(timeout=0.01)
    assert sysv_ipc.set_wait_signal(before) is None


@pytest.mark.parametrize(
    "number", [0, -1, 65, 2**31, signal.SIGKILL, signal.SIGSEGV, signal.SIGCHLD]
)
def test_an_invalid_signal_number_is_refused(number: int) -> None:
    with pytest.raises(ArgumentError, match="signal"):
        sysv_ipc.set_wait_signal(number)


@pytest.mark.parametrize("value", ["USR1", 10.5, [], b"1"])
def test_a_signal_that_is_not_a_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="signal number must be an integer"):
        sysv_ipc.set_wait_signal(value)  # type: ignore[arg-type]


def test_a_signal_that_the_program_uses_is_refused() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with pytest.raises(ArgumentError, match="the program uses signal"):
            sysv_ipc.set_wait_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_the_program_uses_later_causes_a_warning_and_polling(run_python: Run) -> None:
    code = (
        START
        + """
wait()
heard = []
signal.signal(chosen, lambda *_: heard.append(1))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    print(wait(), wait())
print(len(told), told[0].category.__name__,
      f"signal {chosen}, used by sysv_ipc to interrupt blocking calls, now" in str(told[0].message))
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
signal.signal(chosen, lambda *_: None)
warnings.simplefilter("error")
try:
    queue.receive(type=5, timeout=0.1)
except RuntimeWarning:
    print("raised", queue.current_messages)
queue.remove()
"""
    )
    assert run_python(code).stdout == "raised 1\n"


def test_handlers_and_wakeup_descriptor_of_a_program_are_not_called(run_python: Run) -> None:
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


def test_waits_poll_in_a_program_with_handlers_for_all_realtime_signals(run_python: Run) -> None:
    """Some event loops have such handlers: no signal is left, and waits poll without warning."""
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
os.kill(os.getpid(), chosen)
print(heard, sysv_ipc.set_wait_signal(None))
queue.remove()
"""
    )
    done = run_python(code)
    assert done.stdout.splitlines() == ["True []", f"[(b'comes', 1), {CHOSEN}] None"]
    assert done.stderr == ""


def test_a_thread_in_sigwait_for_all_signals_does_not_receive_those_of_waits(
    run_python: Run,
) -> None:
    """Daemons often do this: all signals are blocked, and one thread is in sigwait(3)."""
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
def test_no_signal_is_left_pending_if_all_are_blocked(run_python: Run, ender: str) -> None:
    """The next sigwait(3) of this thread would return it, although that expects other signals."""
    code = (
        START
        + f"""
# A signal that the program has chosen is unblocked during the call.
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
    """Programs that do not retry after EINTR: cat(1), and a thread in read(2) called from C."""
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
    """A signal that arrives late, after a wait, restarts the call because of SA_RESTART."""
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
        libc.tgkill(os.getpid(), me, chosen)
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
    """2 000 attempts for each call, each with a signal 0 to 50 us after the beginning."""
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
# A signal may arrive at any point, which a barrier does not survive.
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
