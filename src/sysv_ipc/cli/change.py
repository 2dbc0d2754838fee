"""``create`` and ``rm``."""

import argparse
import sys
from typing import Any

import sysv_ipc

from .objects import MSG, SEM, SHM, Kind, Record, as_dict, describe, find, hexadecimal
from .output import PROGRAM, CommandError, failure_text, print_json, printable, report


def remove(options: argparse.Namespace) -> int:
    """Remove objects; 1 where one could not be."""
    kind: Kind = options.kind
    ask = not options.yes and sys.stdin is not None and sys.stdin.isatty()
    results: list[dict[str, Any]] = []
    failed = False
    for name in dict.fromkeys(options.objects):
        result: dict[str, Any] = {"kind": kind.name, name.what: name.number, "removed": False}
        results.append(result)
        try:
            record = find(kind, name)
            result |= {"key": record.key, "id": record.id}
            if ask and not _confirmed(describe(kind, record)):
                continue
            kind.remove(record.id)
        except (CommandError, sysv_ipc.Error) as error:
            failed = True
            result["error"] = failure_text(error)
            if not options.json:
                report(error)
            continue
        result["removed"] = True
        if not options.json:
            print(f"removed {describe(kind, record)}", flush=True)
    if options.json:
        print_json(results)
    return 1 if failed else 0


def _confirmed(what: str) -> bool:
    """Ask on the terminal."""
    print(printable(f"remove {what}? [y/N] "), end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
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
    made = sysv_ipc.SemaphoreSet(
        options.key,
        members,
        sysv_ipc.IPC_CREX,
        options.mode,
        initial_values=values,
    )
    return _created(SEM, made.id, options)


def create_segment(options: argparse.Namespace) -> int:
    """Create a segment of zeros."""
    made = sysv_ipc.SharedMemory(
        options.key, sysv_ipc.IPC_CREX, options.mode, options.size, init_character=None
    )
    return _created(SHM, made.id, options)


def create_queue(options: argparse.Namespace) -> int:
    """Create a message queue."""
    made = sysv_ipc.MessageQueue(options.key, sysv_ipc.IPC_CREX, options.mode)
    if options.max_size is not None:
        try:
            made.max_size = options.max_size
        except BaseException:
            made.remove()
            raise
    return _created(MSG, made.id, options)


def _created(kind: Kind, number: int, options: argparse.Namespace) -> int:
    """Tell what has been created."""
    record: Record = next(one for one in kind.records(False) if one.id == number)
    if options.json:
        print_json(as_dict(kind, record))
    else:
        print(f"created {describe(kind, record)}")
        print(f"{PROGRAM} show {kind.name} {hexadecimal(record.key)} tells all about it")
    return 0
