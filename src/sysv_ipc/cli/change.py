"""``create`` and ``rm``."""

import argparse
import contextlib
import errno
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import sysv_ipc

from .delivery import Held, JsonArray, require_reader
from .listing import is_wanted
from .objects import (
    MSG,
    SEM,
    SHM,
    Kind,
    Name,
    Record,
    as_dict,
    describe,
    find,
    hexadecimal,
    is_the_same,
    require_the_same,
    user,
)
from .output import PROGRAM, CommandError, failure_text, json_text, printable, report, tell
from .users import Neighbours, use

#: A record that is older, in seconds, is looked up again before its object is removed.
FRESH = 0.1


class _InUseError(Exception):
    """An object that is left alone, and why."""


def remove(options: argparse.Namespace) -> int:
    """Remove objects; 1 where one could not be, or there was none to remove."""
    chosen_by_owner = bool(options.owner or options.mine)
    if chosen_by_owner and options.objects:
        options.refuse("give OBJECTs, or --owner and --mine, not both")
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
            # What has been done is told, and the array is whole.
            with contextlib.suppress(OSError), Held() as held:
                results.close(held)
        raise
    if results is not None:
        with Held() as held:
            results.close(held)
    return status


def _remove_named(name: Name, options: argparse.Namespace, results: JsonArray | None) -> bool:
    """Remove the object of this name; False where that fails."""
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
    """Remove what the chosen users have left and nobody uses; 1 where that is nothing."""
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
                report(f"left the {describe(kind, record)}: {in_use}")
            _tell(result | {"left": str(in_use)}, results)
        except (CommandError, sysv_ipc.Error) as error:
            if isinstance(error, sysv_ipc.ExistentialError) or error.errno == errno.EINVAL:
                continue  # Somebody was faster.
            failed += 1
            _tell_failure(error, result, results)
    if failed or done or declined:
        return 1 if failed else 0
    if results is None:
        report(f"there is no {kind.noun} to remove: none that matches is unused")
    return 1


def _candidates(options: argparse.Namespace) -> Iterator[tuple[Record, str | None]]:
    """Yield what the filters match, each as it is when it is yielded, with why it is in use."""
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
            yield record, "it has just been changed" if changed else use(kind, record, neighbours)


def _asks(options: argparse.Namespace) -> bool:
    """Whether to ask before each."""
    return not options.yes and sys.stdin is not None and sys.stdin.isatty()


def _require_the_same(kind: Kind, asked: Record, now: Record) -> None:
    """Raise CommandError where the object is not the one that the user said yes to."""
    if not is_the_same(asked, now):
        raise CommandError(
            f"the {describe(kind, asked)} has been changed since the question, or its id is"
            " another's now; nothing was removed",
            f"{PROGRAM} show {kind.name} id:{asked.id} tells what it is",
            name="ExistentialError",
            errno=errno.EIDRM,
        )


def _remove(kind: Kind, record: Record, result: dict[str, Any], results: JsonArray | None) -> None:
    """Remove an object and tell it; nothing comes in between."""
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
    """Add what became of an object to the JSON array."""
    if results is not None:
        with Held() as held:
            results.add(held, result)


def _tell_failure(error: Exception, result: dict[str, Any], results: JsonArray | None) -> None:
    """Tell why an object could not be removed."""
    if results is None:
        report(error)
    _tell(result | {"error": failure_text(error)}, results)


def _confirmed(what: str) -> bool:
    """Ask on the terminal."""
    try:
        tell(printable(f"remove {what}? [y/N] "))
    except OSError as error:
        raise CommandError(
            f"nobody could be asked whether to remove the {what}: {error}", "--yes does not ask"
        ) from None
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        with contextlib.suppress(OSError):
            tell("\n")
    return answer.strip().lower() in ("y", "yes")


def create_semaphore_set(options: argparse.Namespace) -> int:
    """Create a semaphore set."""
    values = options.values
    members = options.members or len(values or [0])
    if values is not None and len(values) != members:
        raise CommandError(
            f"--values has {len(values)} numbers for {members} members",
            "give one for each member, or leave one of the two out",
        )
    return _create(
        SEM,
        lambda: sysv_ipc.SemaphoreSet(
            options.key, members, sysv_ipc.IPC_CREX, options.mode, initial_values=values
        ),
        options,
    )


def create_segment(options: argparse.Namespace) -> int:
    """Create a segment of zeros."""
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
    """Make an object and tell of it; one that nobody is told of is removed again."""
    require_reader()
    with Held() as held:
        made = make()
        try:
            record = find(kind, Name("id", made.id))
            if options.json:
                text = json_text(as_dict(kind, record))
            else:
                text = (
                    f"created {describe(kind, record)}\n"
                    f"{PROGRAM} show {kind.name} {hexadecimal(record.key)} tells all about it\n"
                )
            held.write(text.encode())
        except BaseException:
            with contextlib.suppress(sysv_ipc.Error):
                made.remove()
            raise
    return 0
