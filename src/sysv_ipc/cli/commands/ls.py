"""``ls``: list objects, once or repeatedly."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import facts, terminal
from ..filters import add_filters, is_filtered, is_wanted
from ..objects import KINDS, MSG, SEM, SHM, Kind, Record, group, hexadecimal, symbolic, user
from ..output import age, brief_size, count, moment, print_json
from ..parser import KIND_HELP, Commands, add_json, suggestion
from ..table import Column, print_table
from ..users import Neighbours, traces
from ..values import interval, kind
from ..watch import Frame, Row, watch

#: The number of pids that a terminal gets.
PIDS = 3


class Entry(NamedTuple):
    """An object of the list, and the processes of the machine at the time of the list."""

    kind: Kind
    record: Record
    neighbours: Neighbours


class Field(NamedTuple):
    """A column of the list."""

    about: str
    #: Return the text; the second argument is True if nothing may be abbreviated.
    text: Callable[[Entry, bool], str]
    right: bool = False
    flexible: bool = False
    #: The value to sort by; None if the list cannot be sorted by this column.
    order: Callable[[Entry], Any] | None = None
    #: True if --bytes determines the second argument of text() on a terminal.
    is_size: bool = False
    #: True if the text needs members, or the attached processes, which takes longer.
    detailed: bool = False


def _pids(entry: Entry, in_full: bool) -> str:
    """Return the processes that use an object or used it last; "..." for those not visible."""
    kind, record, _ = entry
    if kind is SHM:
        pids, unseen = {*record.pids}, not record.pids_complete
    else:
        last = traces(kind, record)
        pids, unseen = {one.pid for one in last} - {0}, any(one.is_foreign for one in last)
    numbers = [str(pid) for pid in sorted(pids)]
    rest = 0 if in_full else len(numbers) - PIDS
    words = numbers[:-rest] if rest > 0 else numbers
    text = ",".join([*words, *(["..."] if unseen else [])])
    return f"{text} +{rest}" if rest > 0 else text or "-"


def _messages(entry: Entry, _: bool) -> str:
    return str(entry.record.current_messages) if entry.kind is MSG else "-"


def _bytes(entry: Entry, in_full: bool) -> str:
    if entry.kind is not MSG:
        return "-"
    number = entry.record.current_bytes
    return str(number) if in_full else brief_size(number)


def _fill(entry: Entry, _: bool) -> str:
    part = facts.fill(entry.kind, entry.record)
    return "-" if part is None else facts.percentage(part)


#: The columns of -o.
FIELDS = {
    "kind": Field("sem, shm or msg", lambda one, _: one.kind.name, order=lambda one: one.kind.name),
    "key": Field(
        "the key, in hexadecimal",
        lambda one, _: hexadecimal(one.record.key),
        order=lambda one: one.record.key & 0xFFFFFFFF,
    ),
    "id": Field(
        "the id",
        lambda one, _: str(one.record.id),
        right=True,
        order=lambda one: one.record.id,
    ),
    "owner": Field(
        "the owner",
        lambda one, _: user(one.record.uid),
        flexible=True,
        order=lambda one: user(one.record.uid),
    ),
    "group": Field("the owner's group", lambda one, _: group(one.record.gid), flexible=True),
    "creator": Field("the creator", lambda one, _: user(one.record.cuid), flexible=True),
    "mode": Field(
        "the permissions, octal",
        lambda one, _: f"{one.record.mode:03o}",
        order=lambda one: one.record.mode,
    ),
    "permissions": Field("the same as letters", lambda one, _: symbolic(one.record.mode)),
    "size": Field(
        "members, bytes, or messages and bytes",
        lambda one, in_full: facts.size(one.kind, one.record, in_full=in_full),
        order=lambda one: facts.amount(one.kind, one.record),
        is_size=True,
    ),
    "messages": Field("the messages in a queue", _messages, right=True),
    "bytes": Field("the bytes of the messages in a queue", _bytes, right=True, is_size=True),
    "fill": Field("the used part of a queue's capacity, such as 97 %", _fill, right=True),
    "pids": Field("the processes that use it or used it last", _pids, flexible=True, detailed=True),
    "age": Field(
        "the time since the last change",
        lambda one, _: age(one.record.last_change_time),
        order=lambda one: -one.record.last_change_time,
    ),
    "changed": Field(
        "the time of the last change", lambda one, _: moment(one.record.last_change_time)
    ),
    "state": Field(
        "such as 98 % full, 3 waiting, unused",
        lambda one, _: facts.state(*one),
        flexible=True,
        detailed=True,
    ),
}
DEFAULT = ("kind", "key", "id", "owner", "mode", "size", "pids", "age", "state")
SORT_KEYS = {name: field.order for name, field in FIELDS.items() if field.order is not None}


def add(commands: Commands) -> None:
    """Add the command."""
    ls = commands.add(
        "ls",
        list_objects,
        "list objects",
        description="List objects.  On a terminal long lists go through the pager, columns are"
        " shortened to fit, and sizes are rounded; a pipe gets everything in full.",
        examples=[
            ("sysv-ipc ls shm --mine --sort size", "the caller's segments, the smallest first"),
            ("sysv-ipc ls --key name:acme/jobs", "the objects with the key of this name"),
            ("sysv-ipc ls -o key,owner,state", "three columns"),
            ("sysv-ipc ls --watch 1", "repeat it each second, and mark changes"),
        ],
        aliases=("list",),
        in_any_order=True,
    )
    ls.glossary = ("COLUMNS", {name: field.about for name, field in FIELDS.items()})
    ls.add_argument("kinds", nargs="*", type=kind, metavar="KIND", help=f"{KIND_HELP} (all)")
    ls.add_argument("--kind", action="append", default=[], type=kind, help="the same as KIND")
    add_filters(ls)
    ls.add_argument("--sort", choices=SORT_KEYS, metavar="COLUMN",
                    help="sort by " + ", ".join(SORT_KEYS))  # fmt: skip
    ls.add_argument("--reverse", action="store_true", help="reverse the order")
    ls.add_argument("-o", "--columns", type=columns, default=DEFAULT, metavar="COLUMNS",
                    help="the columns, such as key,id,state (see below)")  # fmt: skip
    ls.add_argument("--bytes", action="store_true", help="show sizes in bytes, not rounded")
    ls.add_argument("--no-header", action="store_true", help="print no headers and no totals")
    ls.add_argument("--watch", nargs="?", type=interval, const=2.0, metavar="SECONDS",
                    help="repeat the list until q or Ctrl-C (2)")  # fmt: skip
    add_json(ls)


def columns(text: str) -> tuple[str, ...]:
    """Convert names of columns, separated by commas."""
    names = tuple(text.split(","))
    for name in names:
        if name not in FIELDS:
            raise argparse.ArgumentTypeError(
                f"there is no column {name!r}{suggestion(name, FIELDS)}: choose from"
                f" {', '.join(FIELDS)}"
            )
    return names


def list_objects(options: argparse.Namespace) -> int:
    """List objects.  Return 1 if there are filters and no object matches."""
    if options.watch is None:
        return _list_once(options)
    if options.json or not terminal.is_terminal() or terminal.is_dumb():
        return _repeat(options)
    return watch(lambda: _frame(options), options.watch)


def _list_once(options: argparse.Namespace) -> int:
    entries = _entries(options, detailed=options.json or _is_detailed(options.columns))
    if options.json:
        print_json([facts.as_json(*entry) for entry in entries])
    else:
        print_table(
            _columns(options.columns),
            _rows(entries, options),
            header=not options.no_header,
            footer=None if options.no_header else totals(entries),
            paged=options.watch is None,
        )
    return 1 if is_filtered(options) and not entries else 0


def _repeat(options: argparse.Namespace) -> int:
    """Print the list repeatedly, one after another."""
    while True:
        _list_once(options)
        sys.stdout.flush()
        time.sleep(options.watch)


def _frame(options: argparse.Namespace) -> Frame:
    """Return the list for watch()."""
    entries = _entries(options, detailed=_is_detailed(options.columns))
    rows = [
        Row((entry.kind.name, entry.record.id), cells)
        for entry, cells in zip(entries, _rows(entries, options), strict=True)
    ]
    restless = frozenset({"age", "changed"})
    return Frame("sysv-ipc ls", _columns(options.columns), restless, rows, totals(entries))


def _entries(options: argparse.Namespace, *, detailed: bool) -> list[Entry]:
    """Return the objects that match the filters, in order."""
    kinds = [*options.kinds, *options.kind]
    neighbours = Neighbours()
    entries = [
        Entry(one, record, neighbours)
        for one in KINDS.values()
        if not kinds or one in kinds
        for record in one.records(detailed)
        if is_wanted(record, options)
    ]
    if options.sort:
        entries.sort(key=SORT_KEYS[options.sort])
    if options.reverse:
        entries.reverse()
    return entries


def _is_detailed(names: Sequence[str]) -> bool:
    return any(FIELDS[name].detailed for name in names)


def _columns(names: Sequence[str]) -> list[Column]:
    return [Column(name, FIELDS[name].right, FIELDS[name].flexible) for name in names]


def _rows(entries: Sequence[Entry], options: argparse.Namespace) -> list[list[str]]:
    in_full = options.bytes or not terminal.is_terminal()
    whole = not terminal.is_terminal()
    fields = [FIELDS[name] for name in options.columns]
    return [
        [one.text(entry, in_full if one.is_size else whole) for one in fields] for entry in entries
    ]


def totals(entries: Sequence[Entry]) -> str:
    """Return the number of objects of each kind, with the bytes in segments and queues."""
    if not entries:
        return "no objects"
    words = []
    for one in KINDS.values():
        records = [record for of, record, _ in entries if of is one]
        if records:
            total = sum(facts.amount(one, record) for record in records)
            unit = count(total, "member") if one is SEM else brief_size(total)
            words.append(f"{count(len(records), one.noun)} ({unit})")
    return f"{count(len(entries), 'object')}: {', '.join(words)}"
