"""Facts about an object that are not fields of its record: size, state, and those in JSON."""

from typing import Any

from .objects import MSG, SEM, SHM, Kind, Record, as_dict, hexadecimal, user
from .output import brief_size, count
from .terminal import Text
from .users import Neighbours, alive, is_alive, use

#: From this part of a queue's capacity on, its state contains the percentage.
NOTABLE = 0.5


def amount(kind: Kind, record: Record) -> int:
    """Return the number to sort sizes by."""
    size: int = {
        SEM: lambda: record.nsems,
        SHM: lambda: record.size,
        MSG: lambda: record.current_bytes,
    }[kind]()
    return size


def size(kind: Kind, record: Record, *, in_full: bool) -> str:
    """Return the size as text."""
    if kind is SEM:
        return count(record.nsems, "member")
    if kind is SHM:
        return size_of_bytes(record.size, in_full=in_full)
    messages = count(record.current_messages, "message")
    return f"{messages}, {size_of_bytes(record.current_bytes, in_full=in_full)}"


def size_of_bytes(number: int, *, in_full: bool) -> str:
    """Return a number of bytes as text."""
    return count(number, "byte") if in_full else brief_size(number)


def fill(kind: Kind, record: Record) -> float | None:
    """Return the used part of a queue's capacity, from 0 to 1; None for other kinds."""
    if kind is not MSG:
        return None
    part: float = record.current_bytes / record.max_size if record.max_size else 1.0
    return min(1.0, part)


def percentage(part: float) -> str:
    """Return a part as a percentage, which is 100 only if all is used."""
    return f"{int(part * 100)} %"


def state(kind: Kind, record: Record, neighbours: Neighbours) -> Text:
    """Return the state as text, with the style of its most important word."""
    parts = _PARTICULARS[kind](record, neighbours)
    if use(kind, record, neighbours) is None:
        parts.append(Text("unused", "notice"))
    elif kind is SHM and record.creator_pid and not is_alive(record.creator_pid):
        parts.append(Text("creator ended", "notice"))
    found = {part.style for part in parts}
    style = next((one for one in ("alarm", "notice") if one in found), None)
    return Text(", ".join(parts) or "-", style)


def _semaphore_set(record: Record, _: Neighbours) -> list[Text]:
    if record.members is None:
        return [Text("unreadable")]
    words = [Text(f"value {record.members[0].value}")] if record.nsems == 1 else []
    waiting = sum(one.waiting_for_nonzero + one.waiting_for_zero for one in record.members)
    return [*words, *_waiting(waiting)]


def _segment(record: Record, _: Neighbours) -> list[Text]:
    words = [Text(f"{record.number_attached} attached")] if record.number_attached else []
    words += [Text("marked for removal", "notice")] if record.marked_for_removal else []
    words += [Text("locked")] if record.locked else []
    return words


def _queue(record: Record, neighbours: Neighbours) -> list[Text]:
    part = fill(MSG, record) or 0.0
    words = []
    if part >= 1:
        words.append(Text("full", "alarm"))
    elif part >= NOTABLE:
        words.append(Text(f"{percentage(part)} full", "alarm" if part >= 0.9 else "notice"))
    if not record.current_messages:
        words.append(Text("empty"))
    return [*words, *_waiting((neighbours.waited_for or {}).get(record.id, 0))]


def _waiting(number: int) -> list[Text]:
    return [Text(f"{number} waiting", "notice")] if number else []


_PARTICULARS = {SEM: _semaphore_set, SHM: _segment, MSG: _queue}


def as_json(kind: Kind, record: Record, neighbours: Neighbours | None = None) -> dict[str, Any]:
    """Return the fields of a record with details, and the facts that programs ask for."""
    return as_dict(kind, record) | {
        "key_hex": hexadecimal(record.key),
        "mode_octal": f"{record.mode:03o}",
        "owner": user(record.uid),
        "alive": alive(kind, record),
        "fill": fill(kind, record),
        "unused": use(kind, record, neighbours or Neighbours()) is None,
    }
