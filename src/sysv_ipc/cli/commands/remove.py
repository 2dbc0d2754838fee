"""``rm``: remove objects by name, or the unused objects of a user."""

import argparse
import contextlib
import errno
import sys
import time
from collections.abc import Iterator
from typing import Any

import sysv_ipc

from .. import values
from ..delivery import Held, JsonArray, require_reader
from ..filters import is_wanted
from ..objects import Kind, Name, Record, describe, find, is_the_same, require_the_same, user
from ..output import PROGRAM, CommandError, failure_text, printable, report, tell
from ..parser import KIND_HELP, OBJECT_HELP, Commands, add_json
from ..users import Neighbours, use
from ..values import object_name, owner

#: If a record is older than this, in seconds, it is read again before its object is removed.
FRESH = 0.1


class _InUseError(Exception):
    """The reason for which an object is not removed."""


def add(commands: Commands) -> None:
    """Add the command."""
    rm = commands.add(
        "rm",
        remove,
        "remove objects",
        description="Remove the given objects, or with --owner or --mine the unused objects of a"
        " user.  On a terminal it asks before each one.",
        examples=[
            ("sysv-ipc rm sem 0x1234 id:7", "remove two sets, asking for each"),
            ("sysv-ipc rm shm --mine", "remove the caller's unused segments"),
            ("sysv-ipc rm msg --owner www-data --yes", "ask nothing"),
        ],
        aliases=("remove",),
        in_any_order=True,
    )
    rm.add_argument("kind", type=values.kind, metavar="KIND", help=KIND_HELP)
    rm.add_argument("objects", nargs="*", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
    rm.add_argument("--owner", action="append", default=[], type=owner, metavar="USER",
                    help="instead of OBJECT: this user's unused objects")  # fmt: skip
    rm.add_argument("--mine", action="store_true",
                    help="instead of OBJECT: the caller's unused objects")  # fmt: skip
    rm.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add_json(rm)
    # The filters of ls that rm does not have.
    rm.set_defaults(refuse=rm.error, key=[], id=[])


def remove(options: argparse.Namespace) -> int:
    """Remove objects.  Return 1 if one could not be removed, or none was found."""
    chosen_by_owner = bool(options.owner or options.mine)
    if chosen_by_owner and options.objects:
        options.refuse("give either OBJECTs or --owner and --mine, not both")
    if not chosen_by_owner and not options.objects:
        options.refuse("the following arguments are required: OBJECT, --owner or --mine")
    results = JsonArray() if options.json else None
    try:
        if chosen_by_owner:
            status = _remove_unused(options, results)
        else:
            names = dict.fromkeys(options.objects)
            failed = [not _remove_named(name, options, results) for name in names]
            status = 1 if any(failed) else 0
    except BaseException:
        if results is not None and results.count:
            # Finish the array, so that the removals before the error are reported.
            with contextlib.suppress(OSError), Held() as held:
                results.close(held)
        raise
    if results is not None:
        with Held() as held:
            results.close(held)
    return status


def _remove_named(name: Name, options: argparse.Namespace, results: JsonArray | None) -> bool:
    """Remove the object with this name.  Return False if that fails."""
    kind: Kind = options.kind
    result: dict[str, Any] = {"kind": kind.name, name.what: name.number, "removed": False}
    require_reader()
    try:
        record = find(kind, name)
        result |= {"key": record.key, "id": record.id}
        if _asks(options):
            if not _confirmed(describe(kind, record)):
                _tell(result, results)
                return True
            _require_the_same(kind, record, find(kind, Name("id", record.id)))
        _remove(kind, record, result, results)
    except (CommandError, sysv_ipc.Error) as error:
        _tell_failure(error, result, results)
        return False
    return True


def _remove_unused(options: argparse.Namespace, results: JsonArray | None) -> int:
    """Remove the unused objects of the chosen users.  Return 1 if there are none."""
    kind: Kind = options.kind
    done = declined = failed = 0
    for record, reason in _candidates(options):
        result = {"kind": kind.name, "key": record.key, "id": record.id, "removed": False}
        require_reader()
        try:
            if reason is not None:
                raise _InUseError(reason)
            if _asks(options):
                if not _confirmed(f"{describe(kind, record)}, of {user(record.uid)}"):
                    declined += 1
                    _tell(result, results)
                    continue
                now = find(kind, Name("id", record.id), detailed=True)
                _require_the_same(kind, record, now)
                record = now
                reason = use(kind, now, Neighbours())
                if reason is not None:
                    raise _InUseError(reason)
            _remove(kind, record, result, results)
            done += 1
        except _InUseError as in_use:
            if results is None:
                report(f"did not remove the {describe(kind, record)}: {in_use}")
            _tell(result | {"left": str(in_use)}, results)
        except (CommandError, sysv_ipc.Error) as error:
            if isinstance(error, sysv_ipc.ExistentialError) or error.errno == errno.EINVAL:
                continue  # Another process has removed it.
            failed += 1
            _tell_failure(error, result, results)
    if failed or done or declined:
        return 1 if failed else 0
    if results is None:
        report(f"no {kind.noun} that matches is unused; nothing was removed")
    return 1


def _candidates(options: argparse.Namespace) -> Iterator[tuple[Record, str | None]]:
    """Yield the record of each object that matches, read just now, and why it is in use or None."""
    kind: Kind = options.kind
    pending = {one.id: one for one in kind.records(True) if is_wanted(one, options)}
    now, neighbours, looked = pending, Neighbours(), time.monotonic()
    for number, before in pending.items():
        if time.monotonic() > looked + FRESH:
            now, neighbours = {one.id: one for one in kind.records(True)}, Neighbours()
            looked = time.monotonic()
        record = now.get(number)
        if record is not None:
            changed = not is_the_same(before, record)
            yield record, "it was just changed" if changed else use(kind, record, neighbours)


def _asks(options: argparse.Namespace) -> bool:
    """Return True if each removal must be confirmed."""
    return not options.yes and sys.stdin is not None and sys.stdin.isatty()


def _require_the_same(kind: Kind, asked: Record, now: Record) -> None:
    """Raise CommandError if the object is not the one that the user has confirmed."""
    if not is_the_same(asked, now):
        raise CommandError(
            f"the {describe(kind, asked)} was changed after the question, or its id belongs to"
            " another object now; nothing was removed",
            f"to see the object, run {PROGRAM} show {kind.name} id:{asked.id}",
            name="ExistentialError",
            errno=errno.EIDRM,
        )


def _remove(kind: Kind, record: Record, result: dict[str, Any], results: JsonArray | None) -> None:
    """Remove an object and report that; no signal ends the program in between."""
    with Held() as held:
        require_the_same(kind, record, "meanwhile")
        kind.remove(record.id)
        try:
            if results is None:
                held.write(f"removed {describe(kind, record)}\n".encode())
            else:
                results.add(held, result | {"removed": True})
        except BaseException:
            held.report(f"removed {describe(kind, record)}")
            raise


def _tell(result: dict[str, Any], results: JsonArray | None) -> None:
    """Add an object's result to the JSON array, if there is one."""
    if results is not None:
        with Held() as held:
            results.add(held, result)


def _tell_failure(error: Exception, result: dict[str, Any], results: JsonArray | None) -> None:
    """Report why an object could not be removed."""
    if results is None:
        report(error)
    _tell(result | {"error": failure_text(error)}, results)


def _confirmed(what: str) -> bool:
    """Ask on the terminal; return True if the answer is yes."""
    try:
        tell(printable(f"remove {what}? [y/N] "))
    except OSError as error:
        raise CommandError(
            f"cannot ask whether to remove the {what}: {error}",
            "to remove it without a question, give --yes",
        ) from None
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        with contextlib.suppress(OSError):
            tell("\n")
    return answer.strip().lower() in ("y", "yes")
