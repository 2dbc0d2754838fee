"""Share a queue with the users of one group.

"create GROUP" creates the queue, "send TEXT" and "receive" use it, and "remove" removes it.
"""

import grp
import sys

from sysv_ipc import IPC_CREX, MessageQueue, key_from_name

KEY = key_from_name("example/other-users")


def create(group: str) -> MessageQueue:
    queue = MessageQueue(KEY, IPC_CREX, mode=0o600)  # for this user only, until it has its group
    queue.gid = grp.getgrnam(group).gr_gid
    queue.mode = 0o660
    return queue


def main(command: str, argument: str = "") -> None:
    if command == "create":
        create(argument)
    elif command == "send":
        MessageQueue(KEY).send(argument)
    elif command == "receive":
        print(MessageQueue(KEY).receive(timeout=10)[0].decode())
    elif command == "remove":
        MessageQueue(KEY).remove()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["help"]))
