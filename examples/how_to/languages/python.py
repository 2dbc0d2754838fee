"""Share a lock, a segment and a queue with programs in C, Perl, PHP and Ruby.

Each program acquires the lock, adds 1 to a number in the segment, sends a message with its own
type, and releases the lock.
"""

import struct
import subprocess
import tempfile
from pathlib import Path

from sysv_ipc import IPC_CREX, MessageQueue, SemaphoreSet, SharedMemory, key_from_name

FOLDER = Path(__file__).parent
KEY = key_from_name("example/languages")
#: The members of a set that PHP's sem_get() can open: the lock, the number of users, PHP's own.
PHP_SET = [1, 1, 0]
#: long count, then char text[56]: "@" and not "=", because a C long has 8 bytes on this machine.
RECORD = struct.Struct("@l56s")


def commands(folder: str) -> dict[str, list[str]]:
    program = f"{folder}/peer"
    subprocess.run(["cc", "-o", program, FOLDER / "peer.c"], check=True)
    return {
        "C": [program],
        "Perl": ["perl", str(FOLDER / "peer.pl")],
        "PHP": ["php", str(FOLDER / "peer.php")],
        "Ruby": ["ruby", str(FOLDER / "peer.rb")],
    }


def main() -> None:
    semaphores = SemaphoreSet(KEY, len(PHP_SET), IPC_CREX, initial_values=PHP_SET)
    memory = SharedMemory(KEY, IPC_CREX, size=RECORD.size, init_character=b"\0")
    queue = MessageQueue(KEY, IPC_CREX)
    lock = semaphores[0]
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number, (language, command) in enumerate(commands(folder).items(), 1):
                subprocess.run([*command, str(KEY), str(number)], check=True)
                message, type = queue.receive(block=False)
                with lock:
                    count, text = RECORD.unpack(memory.read())
                print(type, language, message, count, text.rstrip(b"\0"))
        print("values:", semaphores.values)
    finally:
        queue.remove()
        memory.remove()
        memory.detach()
        semaphores.remove()


if __name__ == "__main__":
    main()
