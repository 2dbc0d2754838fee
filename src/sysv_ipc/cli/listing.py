"""``ls`` and ``limits``."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import sysv_ipc

from .objects import KINDS, MSG, SEM, SHM, Kind, Record, as_dict, hexadecimal, user
from .output import age, count, print_json, print_table
from .users import Neighbours, traces, use

HEADERS = ("kind", "key", "id", "owner", "mode", "size", "pids", "age", "state")
BAR_WIDTH = 20


class Entry(NamedTuple):
    """An object of the list."""

    kind: Kind
    record: Record


class Particulars(NamedTuple):
    """The columns that differ between the kinds."""

    #: The size, as a number for sorting and as text.
    amount: int
    size: str
    state: list[str]


def _semaphore_set(record: Record) -> Particulars:
    size = count(record.nsems, "member")
    if record.members is None:
        return Particulars(record.nsems, size, ["unreadable"])
    waiting = sum(one.waiting_for_nonzero + one.waiting_for_zero for one in record.members)
    state = [f"{waiting} waiting"] if waiting else []
    if record.nsems == 1:
        state.insert(0, f"value {record.members[0].value}")
    return Particulars(record.nsems, size, state)


def _segment(record: Record) -> Particulars:
    state = [f"{record.number_attached} attached"] if record.number_attached else []
    state += ["marked for removal"] if record.marked_for_removal else []
    state += ["locked"] if record.locked else []
    return Particulars(record.size, count(record.size, "byte"), state)


def _queue(record: Record) -> Particulars:
    size = f"{count(record.current_messages, 'message')}, {count(record.current_bytes, 'byte')}"
    state = ["full"] if record.current_bytes >= record.max_size else []
    state += ["empty"] if not record.current_messages else []
    return Particulars(record.current_bytes, size, state)


PARTICULARS = {SEM: _semaphore_set, SHM: _segment, MSG: _queue}

#: The columns for ``--sort`` and the value that each sorts by.
SORT_KEYS: dict[str, Callable[[Entry], Any]] = {
    "kind": lambda entry: entry.kind.name,
    "key": lambda entry: entry.record.key & 0xFFFFFFFF,
    "id": lambda entry: entry.record.id,
    "owner": lambda entry: user(entry.record.uid),
    "mode": lambda entry: entry.record.mode,
    "size": lambda entry: PARTICULARS[entry.kind](entry.record).amount,
    "age": lambda entry: -entry.record.last_change_time,
}


def ls(options: argparse.Namespace) -> int:
    """List objects, once or repeatedly."""
    if options.watch is None:
        return _list_once(options)
    while True:
        if sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        _list_once(options)
        sys.stdout.flush()
        time.sleep(options.watch)


def _list_once(options: argparse.Namespace) -> int:
    """Print the list.  Return 1 if there are filters and no object matches."""
    kinds = [*options.kinds, *options.kind]
    entries = [
        Entry(kind, record)
        for kind in KINDS.values()
        if not kinds or kind in kinds
        for record in kind.records(True)
        if is_wanted(record, options)
    ]
    if options.sort:
        entries.sort(key=SORT_KEYS[options.sort])
    if options.reverse:
        entries.reverse()
    if options.json:
        print_json([as_dict(*entry) for entry in entries])
    else:
        neighbours = Neighbours()
        rows = [_row(entry, neighbours) for entry in entries]
        print_table(HEADERS, rows, right=("id",))
    filtered = kinds or options.mine or options.owner or options.key or options.id
    return 1 if filtered and not entries else 0


def is_wanted(record: Record, options: argparse.Namespace) -> bool:
    """Return True if an object matches all filters."""
    return (
        (not options.mine or os.geteuid() in (record.uid, record.cuid))
        and (not options.owner or record.uid in options.owner)
        and (not options.key or record.key in options.key)
        and (not options.id or record.id in options.id)
    )


def _row(entry: Entry, neighbours: Neighbours) -> list[str]:
    """Return the cells of an object."""
    kind, record = entry
    particulars = PARTICULARS[kind](record)
    state = particulars.state
    if use(kind, record, neighbours) is None:
        state.append("unused")
    return [
        kind.name,
        hexadecimal(record.key),
        str(record.id),
        user(record.uid),
        f"{record.mode:03o}",
        particulars.size,
        _pids(entry),
        age(record.last_change_time),
        ", ".join(state) or "-",
    ]


def _pids(entry: Entry) -> str:
    """Return the processes that use an object or used it last; "..." for those not visible."""
    kind, record = entry
    if kind is SHM:
        pids, unseen = {*record.pids}, not record.pids_complete
    else:
        last = traces(kind, record)
        pids, unseen = {one.pid for one in last} - {0}, any(one.is_foreign for one in last)
    return ",".join([*map(str, sorted(pids)), *(["..."] if unseen else [])]) or "-"


#: The rows of ``limits``: name in the man pages, sysctl, attribute, attribute of the part in use,
#: and the things that are limited.
LIMITS = (
    ("SEMMNI", "kernel.sem, 4th", "semmni", "semaphore_sets", "semaphore sets"),
    ("SEMMNS", "kernel.sem, 2nd", "semmns", "semaphores", "semaphores in all sets"),
    ("SEMMSL", "kernel.sem, 1st", "semmsl", None, "semaphores in a set"),
    ("SEMOPM", "kernel.sem, 3rd", "semopm", None, "operations at once"),
    ("SHMMNI", "kernel.shmmni", "shmmni", "segments", "segments"),
    ("SHMALL", "kernel.shmall", "shmall", "pages", "pages of all segments"),
    ("SHMMAX", "kernel.shmmax", "shmmax", None, "bytes of a segment"),
    ("MSGMNI", "kernel.msgmni", "msgmni", "queues", "message queues"),
    ("MSGMNB", "kernel.msgmnb", "msgmnb", None, "bytes of a new queue"),
    ("MSGMAX", "kernel.msgmax", "msgmax", None, "bytes of a message"),
)


def limits(options: argparse.Namespace) -> int:
    """Show every limit and the part in use."""
    now = sysv_ipc.limits()
    if options.json:
        print_json(dict(zip(type(now).__match_args__, now, strict=True)))
        return 0
    rows = []
    for name, sysctl, limit_name, use_name, what in LIMITS:
        limit = getattr(now, limit_name)
        used, bar = "-", "-"
        if use_name is not None:
            used = getattr(now, use_name)
            bar = _bar(getattr(now, use_name), limit)
        rows.append((name, what, used, limit, bar, sysctl))
    print_table(
        ("limit", "of", "used", "at most", "part", "sysctl"), rows, right=("used", "at most")
    )
    return 0


def _bar(used: int, limit: int) -> str:
    """Draw the used part of a limit, with the percentage."""
    part = min(1.0, used / limit) if limit else 1.0
    # Any use shows at least one mark; only full use shows a full bar.
    length = int(part * BAR_WIDTH) or (1 if used else 0)
    percent = f"{part:.0%}" if not used or part >= 0.01 else "<1%"
    return f"[{'#' * length:.<{BAR_WIDTH}}] {percent}"
