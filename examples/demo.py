"""A C program and this script share a semaphore, a segment and a queue.

The C side, demo_producer.c, writes numbered samples into the slots of a segment and announces
each on a queue; a semaphore counts the slots that it may write.  This side takes the samples,
checks each one, removes the three objects and verifies that nothing is left.  Both sides know the
same path and compute the keys from it with ftok().
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sysv_ipc

SOURCE = Path(__file__).with_name("demo_producer.c")
SAMPLES = 1000

#: The types of the producer's messages, and of the message that marks the producer's end.
ANNOUNCE, DONE, ENDED = 1, 2, 3

#: struct sample: its number and its square.
SAMPLE = struct.Struct("=qq")

#: The producer is killed after this time, so that the demonstration cannot hang.
TIMEOUT_SECONDS = 30

Kind = type[sysv_ipc.Semaphore] | type[sysv_ipc.SharedMemory] | type[sysv_ipc.MessageQueue]
KINDS: tuple[Kind, ...] = (sysv_ipc.Semaphore, sysv_ipc.SharedMemory, sysv_ipc.MessageQueue)


class DemoError(Exception):
    """The reason for which the demonstration failed."""


class Keys(NamedTuple):
    semaphore: int
    segment: int
    queue: int

    @classmethod
    def of(cls, path: Path) -> Keys:
        return cls(*(sysv_ipc.ftok(path, ord(name), silence_warning=True) for name in "SMQ"))

    def taken(self) -> list[str]:
        """Return a description of each object that exists with one of these keys."""
        return [
            f"a {kind.__name__} with key {key:#010x}"
            for key, kind in zip(self, KINDS, strict=True)
            if sysv_ipc.exists(key, kind)
        ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = compile_producer(Path(folder))
        path = path_with_free_keys(Path(folder))
        keys = Keys.of(path)
        try:
            with running_producer(program, path) as producer:
                take_all(producer, keys)
        finally:
            left = remove_all(keys)
    if left:
        raise DemoError(f"left behind: {', '.join(left)}")
    print("removed the semaphore, the segment and the queue: nothing is left")


def compile_producer(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise DemoError("no C compiler: apt-get install gcc")
    program = folder / SOURCE.stem
    try:
        subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
    except subprocess.CalledProcessError:
        raise DemoError(f"{compiler} cannot compile {SOURCE.name}: see above") from None
    return program


def path_with_free_keys(folder: Path) -> Path:
    """Create a file whose keys are unused.  ftok() gives many files the same key."""
    for number in range(100):
        path = folder / f"key-{number}"
        path.touch()
        if not Keys.of(path).taken():
            return path
    raise DemoError("the keys of 100 files are in use: list the objects with ipcs")


@contextlib.contextmanager
def running_producer(program: Path, path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [str(program), str(path), str(SAMPLES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as producer:
        timer = threading.Timer(TIMEOUT_SECONDS, producer.kill)
        try:
            timer.start()
            yield producer
        finally:
            timer.cancel()
            producer.kill()


def take_all(producer: subprocess.Popen[str], keys: Keys) -> None:
    assert producer.stdout is not None
    greeting = producer.stdout.readline()
    if not greeting:
        raise DemoError(f"the C program created nothing and {ending(producer)}")
    print(greeting, end="")

    semaphore = sysv_ipc.Semaphore(keys.semaphore)
    queue = sysv_ipc.MessageQueue(keys.queue)
    with sysv_ipc.SharedMemory(keys.segment) as segment:
        print(
            f"Python: opened the objects with the keys {keys.semaphore:#010x}, {keys.segment:#010x}"
            f" and {keys.queue:#010x}"
        )
        watcher = threading.Thread(target=tell_end, args=(producer, queue), daemon=True)
        watcher.start()
        taken = take_samples(producer, semaphore, segment, queue)
    watcher.join()
    if producer.returncode != 0:
        raise DemoError(f"all samples were received, but the C program {ending(producer)}")
    print(f"{taken} of {SAMPLES} samples received, all of them correct")


def tell_end(producer: subprocess.Popen[str], queue: sysv_ipc.MessageQueue) -> None:
    """Send a last message when the producer has ended, so that take_samples() does not hang."""
    producer.wait()
    with contextlib.suppress(sysv_ipc.ExistentialError):
        queue.send(b"", type=ENDED)


def take_samples(
    producer: subprocess.Popen[str],
    semaphore: sysv_ipc.Semaphore,
    segment: sysv_ipc.SharedMemory,
    queue: sysv_ipc.MessageQueue,
) -> int:
    slots = segment.size // SAMPLE.size
    taken = 0
    while True:
        message, kind = queue.receive()
        if kind == ENDED:
            raise DemoError(
                f"{taken} of {SAMPLES} samples received, then the C program {ending(producer)}"
            )
        if message != b"%d" % taken:
            raise DemoError(f"sample {taken} is missing: the queue has {message!r}")
        if kind == DONE:
            break
        slot = taken % slots
        number, square = SAMPLE.unpack(segment.read(SAMPLE.size, slot * SAMPLE.size))
        if (number, square) != (taken, taken * taken):
            raise DemoError(f"slot {slot} holds {number}, {square} instead of sample {taken}")
        semaphore.release()
        if taken < 3 or taken % 250 == 0 or taken == SAMPLES - 1:
            print(f"  sample {number:3} from slot {slot}: its square is {square}")
        taken += 1
    if taken != SAMPLES:
        raise DemoError(f"{SAMPLES - taken} of {SAMPLES} samples are missing")
    return taken


def ending(producer: subprocess.Popen[str]) -> str:
    status = producer.wait()
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def remove_all(keys: Keys) -> list[str]:
    """Remove the producer's objects.  Return a description of each that still exists."""
    left = []
    for key, kind in zip(keys, KINDS, strict=True):
        with contextlib.suppress(sysv_ipc.ExistentialError):
            handle = kind(key)
            handle.remove()
            if isinstance(handle, sysv_ipc.SharedMemory):
                handle.detach()
                # A removed segment has no key, but exists while a process has it attached.
                sysv_ipc.attach(handle.id)
                left.append(f"the segment with id {handle.id}")
    return left + keys.taken()


if __name__ == "__main__":
    try:
        main()
    except DemoError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
