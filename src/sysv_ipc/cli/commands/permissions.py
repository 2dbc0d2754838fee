"""``chmod`` and ``chown``: who may use objects."""

import argparse
from collections.abc import Callable
from typing import Any

import sysv_ipc

from ..facts import as_json
from ..objects import SHM, Kind, Name, Record, find, require_the_same
from ..output import CommandError, print_json, report
from ..parser import KIND_HELP, OBJECT_HELP, Commands, Parser, add_json
from ..values import kind, mode_change, object_name, owner_and_group

#: Changes an object through a handle; the record is that of the object before.
Change = Callable[[Any, Record], None]


def add(commands: Commands) -> None:
    """Add the commands."""
    chmod = commands.add(
        "chmod",
        change_mode,
        "change the permissions of objects",
        description="Change the permission bits of objects.  MODE is as for chmod(1): octal, or"
        " letters such as u=rw,g+r.",
        examples=[
            ("sysv-ipc chmod 660 shm 0x1234", "let the group read and write"),
            ("sysv-ipc chmod g+r,o-w sem 0x1234", "change single bits"),
        ],
    )
    chmod.add_argument("mode", type=mode_change, metavar="MODE", help="the permissions")
    _add_objects(chmod)

    chown = commands.add(
        "chown",
        change_owner,
        "change the owner of objects",
        description="Change the owner of objects, the group, or both.  The creator stays.",
        examples=[
            ("sysv-ipc chown www-data msg 0x1234", "give a queue to another user"),
            ("sysv-ipc chown :staff shm 0x1234", "change the group only"),
        ],
    )
    chown.add_argument("owner", type=owner_and_group, metavar="USER[:GROUP]",
                       help="names or numbers; :GROUP for the group only")  # fmt: skip
    _add_objects(chown)


def _add_objects(command: Parser) -> None:
    command.add_argument("kind", type=kind, metavar="KIND", help=KIND_HELP)
    command.add_argument("objects", nargs="+", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
    add_json(command)


def change_mode(options: argparse.Namespace) -> int:
    """Change permission bits.  Return 1 if that fails for an object."""

    def change(handle: Any, record: Record) -> None:
        # The owner may change an object that it may not read.
        handle.mode = options.mode(record.mode)

    return _change_all(options, change)


def change_owner(options: argparse.Namespace) -> int:
    """Change owner and group.  Return 1 if that fails for an object."""
    uid, gid = options.owner

    def change(handle: Any, _: Record) -> None:
        # An owner who gives an object away may not change it any more.
        if gid is not None:
            handle.gid = gid
        if uid is not None:
            handle.uid = uid

    return _change_all(options, change)


def _change_all(options: argparse.Namespace, change: Change) -> int:
    """Change each object; print the changed records as JSON, or nothing."""
    of: Kind = options.kind
    changed, failed = [], False
    for name in dict.fromkeys(options.objects):
        try:
            record = find(of, name)
            handle = _open(of, record.id)
            require_the_same(of, record, "while it was opened")
            change(handle, record)
            if options.json:
                changed.append(as_json(of, find(of, Name("id", record.id), detailed=True)))
        except (CommandError, sysv_ipc.Error) as error:
            failed = True
            report(error, as_json=options.json)
    if options.json:
        print_json(changed)
    return 1 if failed else 0


def _open(kind: Kind, id: int) -> Any:
    """Return a handle of an object; changing a segment does not need permission to write to it."""
    if kind is SHM:
        return sysv_ipc.attach(id, None, sysv_ipc.SHM_RDONLY)
    return kind.type.from_id(id)
