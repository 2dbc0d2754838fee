"""``show``: every fact about one object."""

import argparse
from collections.abc import Callable
from typing import Any

from .. import terminal
from ..facts import as_json, fill, percentage
from ..objects import KINDS, MSG, SEM, SHM, Kind, Record, find, hexadecimal, symbolic, user
from ..output import brief_size, count, moment, print_json, printable
from ..parser import KIND_HELP, OBJECT_HELP, Commands, add_json
from ..table import Column, table_lines
from ..users import Trace, describe_process, process_name, traces
from ..values import kind, object_name


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "show",
        show,
        "show every fact about one object",
        examples=[
            ("sysv-ipc show shm 0x1234", "the segment with this key, and its processes"),
            ("sysv-ipc show sem name:acme/lock", "the set with the key of this name"),
            ("sysv-ipc show sem id:7 --json", "the set with the id 7, for a program"),
        ],
    )
    command.add_argument("kind", type=kind, metavar="KIND", help=KIND_HELP)
    command.add_argument("object", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
    command.add_argument("--bytes", action="store_true", help="show sizes in bytes only")
    add_json(command)


def show(options: argparse.Namespace) -> int:
    """Show every fact about one object."""
    of: Kind = options.kind
    record = find(of, options.object, detailed=True)
    if options.json:
        fields = as_json(of, record)
        if of is SHM:
            fields["processes"] = [{"pid": pid, "name": process_name(pid)} for pid in record.pids]
        print_json(fields)
        return 0
    in_full = options.bytes or not terminal.is_terminal()
    facts = [
        ("kind", of.noun),
        ("key", f"{hexadecimal(record.key)} ({record.key})" if record.key else "none (private)"),
        ("id", record.id),
        ("owner", _owner(record.uid, record.gid)),
        ("creator", _owner(record.cuid, record.cgid)),
        ("mode", f"{record.mode:03o} ({symbolic(record.mode)})"),
        ("last change", moment(record.last_change_time)),
        *_PARTICULARS[of](record, in_full),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name + ':':<{width + 1}}  {printable(str(value))}" for name, value in facts]
    rows = _ROWS[of](record)
    if rows:
        lines += ["", *table_lines(_COLUMNS[of], rows)]
    terminal.print_lines(lines)
    return 0


def _bytes(number: int | None, in_full: bool) -> str:
    """Return a number of bytes, on a terminal with a rounded one."""
    if number is None:
        return "-"
    exact = count(number, "byte")
    return exact if in_full or number < 1024 else f"{brief_size(number)} ({exact})"


def _semaphore_set(record: Record, _: bool) -> list[tuple[str, Any]]:
    members = count(record.nsems, "member")
    if record.members is None:
        members += ", whose values the caller may not read"
    return [("size", members), ("last operation", moment(record.last_operation_time))]


def _segment(record: Record, in_full: bool) -> list[tuple[str, Any]]:
    attached = str(record.number_attached)
    if not record.pids_complete:
        attached += " (not all of their processes can be seen)"
    creator, last = traces(SHM, record)
    return [
        ("size", _bytes(record.size, in_full)),
        ("in memory", _bytes(record.resident, in_full)),
        ("swapped out", _bytes(record.swapped, in_full)),
        ("attached", attached),
        ("last attach", moment(record.last_attach_time)),
        ("last detach", moment(record.last_detach_time)),
        ("created by", describe_process(creator)),
        ("last used by", describe_process(last)),
        ("marked for removal", "yes" if record.marked_for_removal else "no"),
        ("locked", "yes" if record.locked else "no"),
    ]


def _queue(record: Record, in_full: bool) -> list[tuple[str, Any]]:
    sender, receiver = traces(MSG, record)
    return [
        ("messages", record.current_messages),
        ("bytes", _bytes_of_queue(record, in_full)),
        ("last send", _moment_and_process(record.last_send_time, sender)),
        ("last receive", _moment_and_process(record.last_receive_time, receiver)),
    ]


_PARTICULARS = {SEM: _semaphore_set, SHM: _segment, MSG: _queue}
assert _PARTICULARS.keys() == set(KINDS.values())


def _bytes_of_queue(record: Record, in_full: bool) -> str:
    """Return the bytes in a queue and its capacity."""
    text = f"{record.current_bytes} of {record.max_size}"
    return text if in_full else f"{text} ({percentage(fill(MSG, record) or 0.0)} full)"


def _members(record: Record) -> list[tuple[object, ...]]:
    if record.members is None:
        return []
    last = [describe_process(trace) for trace in traces(SEM, record)]
    return [
        (i, one.value, one.waiting_for_nonzero, one.waiting_for_zero, process)
        for i, (one, process) in enumerate(zip(record.members, last, strict=True))
    ]


def _processes(record: Record) -> list[tuple[object, ...]]:
    return [(pid, process_name(pid) or "-") for pid in record.pids]


#: The table below the facts: for a set its members, for a segment its processes.
_ROWS: dict[Kind, Callable[[Record], list[tuple[object, ...]]]] = {
    SEM: _members,
    SHM: _processes,
    MSG: lambda _: [],
}
_COLUMNS = {
    SEM: (
        Column("member", right=True),
        Column("value", right=True),
        Column("waiting for more", right=True),
        Column("waiting for zero", right=True),
        Column("last pid", flexible=True),
    ),
    SHM: (Column("pid", right=True), Column("process", flexible=True)),
    MSG: (),
}


def _owner(uid: int, gid: int) -> str:
    """Return a user and a group."""
    return f"{user(uid)} (uid {uid}, gid {gid})"


def _moment_and_process(seconds_since_epoch: int, trace: Trace) -> str:
    """Return when something was done, and by which process."""
    by = f" by {describe_process(trace)}" if trace.pid or trace.happened else ""
    return moment(seconds_since_epoch) + by
