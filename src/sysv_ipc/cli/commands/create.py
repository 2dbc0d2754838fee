"""``create``: create an object."""

import argparse
import contextlib
from collections.abc import Callable
from typing import Any

import sysv_ipc

from ..delivery import Held, require_reader
from ..facts import as_json
from ..objects import KIND_ALIASES, MSG, SEM, SHM, Kind, Name, describe, find, hexadecimal
from ..output import PROGRAM, CommandError, json_text
from ..parser import Commands, Parser
from ..values import mode, new_key, positive, size, values


def add(commands: Commands) -> None:
    """Add the command."""
    create = commands.add(
        "create",
        None,
        "create an object",
        description="Create a new object.  Without --key it gets an unused key.",
        examples=[
            ("sysv-ipc create sem --values 1,0", "a set of two semaphores"),
            ("sysv-ipc create shm --size 16M --mode 660", "a segment that the group may use"),
            ("sysv-ipc create msg --key name:acme/jobs", "a queue with the key of this name"),
            ("KEY=$(sysv-ipc create msg --quiet)", "a queue, whose key a script keeps"),
        ],
    )
    kinds = create.add_subparsers(metavar="KIND", required=True, title="kinds")
    assert isinstance(kinds, Commands)
    kinds.aliases |= KIND_ALIASES
    sem = kinds.add("sem", create_semaphore_set, "a semaphore set")
    sem.add_argument("--members", type=positive, help="number of semaphores (1)")
    sem.add_argument("--values", type=values, help="the semaphores' values, such as 1,0,5 (0)")
    shm = kinds.add("shm", create_segment, "a segment")
    shm.add_argument("--size", type=size, default=sysv_ipc.PAGE_SIZE,
                     help="size in bytes, or such as 64K, 16M, 1G (one page)")  # fmt: skip
    msg = kinds.add("msg", create_queue, "a message queue")
    msg.add_argument("--max-size", type=size, help="capacity in bytes (kernel.msgmnb)")
    for one in (sem, shm, msg):
        _add_common(one)


def _add_common(command: Parser) -> None:
    command.add_argument("--key", type=new_key,
                         help="such as 0x1234 or name:acme/jobs (an unused one)")  # fmt: skip
    command.add_argument("--mode", type=mode, default=0o600,
                         help="permissions, such as 640 or g+r (600)")  # fmt: skip
    output = command.add_mutually_exclusive_group()
    output.add_argument("-q", "--quiet", action="store_true", help="print only the key")
    output.add_argument("--json", action="store_true", help="print results and errors as JSON")


def create_semaphore_set(options: argparse.Namespace) -> int:
    """Create a semaphore set."""
    values = options.values
    members = options.members or len(values or [0])
    if values is not None and len(values) != members:
        raise CommandError(
            f"--values has {len(values)} numbers for {members} members",
            "give one number for each member, or only one of --values and --members",
        )
    return _create(
        SEM,
        lambda: sysv_ipc.SemaphoreSet(
            options.key, members, sysv_ipc.IPC_CREX, options.mode, initial_values=values
        ),
        options,
    )


def create_segment(options: argparse.Namespace) -> int:
    """Create a segment filled with zeros."""
    return _create(
        SHM,
        lambda: sysv_ipc.SharedMemory(
            options.key, sysv_ipc.IPC_CREX, options.mode, options.size, init_character=None
        ),
        options,
    )


def create_queue(options: argparse.Namespace) -> int:
    """Create a message queue."""

    def make() -> sysv_ipc.MessageQueue:
        made = sysv_ipc.MessageQueue(options.key, sysv_ipc.IPC_CREX, options.mode)
        if options.max_size is not None:
            try:
                made.max_size = options.max_size
            except BaseException:
                made.remove()
                raise
        return made

    return _create(MSG, make, options)


def _create(kind: Kind, make: Callable[[], Any], options: argparse.Namespace) -> int:
    """Create an object and print it.  If it cannot be printed, remove it again."""
    require_reader()
    with Held() as held:
        made = make()
        try:
            record = find(kind, Name("id", made.id), detailed=options.json)
            if options.json:
                text = json_text(as_json(kind, record))
            elif options.quiet:
                text = f"{hexadecimal(record.key)}\n"
            else:
                text = (
                    f"created {describe(kind, record)}\n"
                    f"to see it, run {PROGRAM} show {kind.name} {hexadecimal(record.key)}\n"
                )
            held.write(text.encode())
        except BaseException:
            with contextlib.suppress(sysv_ipc.Error):
                made.remove()
            raise
    return 0
