"""``show``: every fact about one object."""

import argparse
from typing import Any

from .objects import (
    KINDS,
    MSG,
    SEM,
    SHM,
    Kind,
    Record,
    as_dict,
    find,
    hexadecimal,
    user,
)
from .output import count, moment, print_json, print_table, printable
from .users import Trace, describe_process, process_name, traces


def show(options: argparse.Namespace) -> int:
    """Show every fact about one object."""
    kind: Kind = options.kind
    record = find(kind, options.object, detailed=True)
    if options.json:
        fields = as_dict(kind, record)
        if kind is SHM:
            fields["processes"] = [{"pid": pid, "name": process_name(pid)} for pid in record.pids]
        print_json(fields)
        return 0
    lines = [
        ("kind", kind.noun),
        ("key", f"{hexadecimal(record.key)} ({record.key})" if record.key else "none (private)"),
        ("id", record.id),
        ("owner", _owner(record.uid, record.gid)),
        ("creator", _owner(record.cuid, record.cgid)),
        ("mode", f"{record.mode:03o}"),
        ("last change", moment(record.last_change_time)),
        *_PARTICULARS[kind](record),
    ]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name + ':':<{width + 1}}  {printable(str(value))}")
    if kind is SEM and record.members is not None:
        last_processes = [describe_process(trace) for trace in traces(SEM, record)]
        print()
        print_table(
            ("member", "value", "waiting for more", "waiting for zero", "last pid"),
            [
                (i, one.value, one.waiting_for_nonzero, one.waiting_for_zero, last)
                for i, (one, last) in enumerate(zip(record.members, last_processes, strict=True))
            ],
            right=("member", "value", "waiting for more", "waiting for zero"),
        )
    if kind is SHM and record.pids:
        print()
        print_table(
            ("pid", "process"),
            [(pid, process_name(pid) or "-") for pid in record.pids],
            right=("pid",),
        )
    return 0


def _semaphore_set(record: Record) -> list[tuple[str, Any]]:
    members = count(record.nsems, "member")
    if record.members is None:
        members += ", whose values the caller may not read"
    return [("size", members), ("last operation", moment(record.last_operation_time))]


def _segment(record: Record) -> list[tuple[str, Any]]:
    attached = str(record.number_attached)
    if not record.pids_complete:
        attached += " (not all of their processes can be seen)"
    creator, last = traces(SHM, record)
    return [
        ("size", count(record.size, "byte")),
        ("in memory", "-" if record.resident is None else count(record.resident, "byte")),
        ("swapped out", "-" if record.swapped is None else count(record.swapped, "byte")),
        ("attached", attached),
        ("last attach", moment(record.last_attach_time)),
        ("last detach", moment(record.last_detach_time)),
        ("created by", describe_process(creator)),
        ("last used by", describe_process(last)),
        ("marked for removal", "yes" if record.marked_for_removal else "no"),
        ("locked", "yes" if record.locked else "no"),
    ]


def _queue(record: Record) -> list[tuple[str, Any]]:
    sender, receiver = traces(MSG, record)
    return [
        ("messages", record.current_messages),
        ("bytes", f"{record.current_bytes} of {record.max_size}"),
        ("last send", _moment_and_process(record.last_send_time, sender)),
        ("last receive", _moment_and_process(record.last_receive_time, receiver)),
    ]


_PARTICULARS = {SEM: _semaphore_set, SHM: _segment, MSG: _queue}
assert _PARTICULARS.keys() == set(KINDS.values())


def _owner(uid: int, gid: int) -> str:
    """Return a user and a group."""
    return f"{user(uid)} (uid {uid}, gid {gid})"


def _moment_and_process(seconds_since_epoch: int, trace: Trace) -> str:
    """Return when something was done, and by which process."""
    by = f" by {describe_process(trace)}" if trace.pid or trace.happened else ""
    return moment(seconds_since_epoch) + by
