"""``limits``: every limit of the system, and the part in use."""

import argparse
import sys
from typing import Any, NamedTuple

import sysv_ipc

from .. import terminal
from ..output import print_json
from ..parser import Commands, add_json
from ..table import Column, print_table, total_width
from ..terminal import Text

#: The lengths of the bar in the column "part"; a terminal gets the first one for which it has room.
BAR_LENGTHS = (20, 12, 6)
#: The kernel's initial shmmax and shmall, and values above them: no segment reaches them.
UNLIMITED = 2 * sys.maxsize + 1 - (1 << 24)
COLUMNS = (
    Column("limit"),
    Column("of", flexible=True),
    Column("used", right=True),
    Column("at most", right=True),
    Column("part"),
    Column("sysctl"),
)


class Limit(NamedTuple):
    """A limit: its name in the man pages, what it limits, and the fields of sysv_ipc.limits()."""

    name: str
    sysctl: str
    field: str
    #: The field with the part in use; None if nothing is counted.
    used: str | None
    of: str


LIMITS = (
    Limit("SEMMNI", "kernel.sem, 4th", "semmni", "semaphore_sets", "semaphore sets"),
    Limit("SEMMNS", "kernel.sem, 2nd", "semmns", "semaphores", "semaphores in all sets"),
    Limit("SEMMSL", "kernel.sem, 1st", "semmsl", None, "semaphores in a set"),
    Limit("SEMOPM", "kernel.sem, 3rd", "semopm", None, "operations at once"),
    Limit("SHMMNI", "kernel.shmmni", "shmmni", "segments", "segments"),
    Limit("SHMALL", "kernel.shmall", "shmall", "pages", "pages of all segments"),
    Limit("SHMMAX", "kernel.shmmax", "shmmax", None, "bytes of a segment"),
    Limit("MSGMNI", "kernel.msgmni", "msgmni", "queues", "message queues"),
    Limit("MSGMNB", "kernel.msgmnb", "msgmnb", None, "bytes of a new queue"),
    Limit("MSGMAX", "kernel.msgmax", "msgmax", None, "bytes of a message"),
)


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "limits",
        limits,
        "show the system's limits and the part in use",
        examples=[
            ("sysv-ipc limits", "a table with a bar for each limit"),
            ("sysv-ipc limits --json", "the same for a program"),
        ],
    )
    command.add_argument("--bytes", action="store_true", help="show every number in full")
    add_json(command)


def limits(options: argparse.Namespace) -> int:
    """Show every limit and the part in use."""
    now = sysv_ipc.limits()
    if options.json:
        fields = dict(zip(type(now).__match_args__, now, strict=True))
        print_json({**fields, "limits": [_as_dict(one, now) for one in LIMITS]})
        return 0
    in_full = options.bytes or not terminal.is_terminal()
    for length in BAR_LENGTHS:
        rows = [_row(one, now, length, in_full=in_full) for one in LIMITS]
        if not terminal.is_terminal() or total_width(COLUMNS, rows) <= terminal.width():
            break
    print_table(COLUMNS, rows)
    return 0


def _as_dict(limit: Limit, now: Any) -> dict[str, Any]:
    """Return a limit for JSON; what is unlimited or not counted is None."""
    most, used = getattr(now, limit.field), None
    if limit.used is not None:
        used = getattr(now, limit.used)
    unlimited = most >= UNLIMITED
    return {
        "name": limit.name,
        "of": limit.of,
        "sysctl": limit.sysctl,
        "used": used,
        "limit": None if unlimited else most,
        "fill": None if unlimited or used is None else _part(used, most),
    }


def _row(limit: Limit, now: Any, length: int, *, in_full: bool) -> tuple[object, ...]:
    most = getattr(now, limit.field)
    used, bar = "-", Text("-")
    if limit.used is not None:
        used = getattr(now, limit.used)
        bar = _bar(getattr(now, limit.used), most, length)
    shown = "unlimited" if most >= UNLIMITED and not in_full else most
    return limit.name, limit.of, used, shown, bar, limit.sysctl


def _part(used: int, most: int) -> float:
    return min(1.0, used / most) if most else 1.0


def _bar(used: int, most: int, length: int) -> Text:
    """Draw the used part of a limit, with the percentage."""
    part = _part(used, most)
    # Any use shows at least one mark; only full use shows a full bar.
    marks = int(part * length) or (1 if used else 0)
    percent = f"{part:.0%}" if not used or part >= 0.01 else "<1%"
    style = "alarm" if part >= 0.9 else "notice" if part >= 0.7 else "good"
    return Text(f"[{'#' * marks:.<{length}}] {percent}", style)
