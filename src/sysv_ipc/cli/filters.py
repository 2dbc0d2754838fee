"""The options that select objects by owner, key or id, and their effect."""

import argparse
import os

from .objects import Record
from .parser import Parser
from .values import identifier, listed_key, owner


def add_filters(command: Parser) -> None:
    """Add the options."""
    command.add_argument("--mine", action="store_true", help="only the caller's objects")
    command.add_argument("--owner", action="append", default=[], type=owner, metavar="USER",
                         help="only this user's objects")  # fmt: skip
    command.add_argument("--key", action="append", default=[], type=listed_key,
                         help="only this key, such as 0x1234 or name:acme/jobs")  # fmt: skip
    command.add_argument("--id", action="append", default=[], type=identifier,
                         help="only this id")  # fmt: skip


def is_filtered(options: argparse.Namespace) -> bool:
    """Return True if the options select objects."""
    kinds = [*options.kinds, *options.kind]
    return bool(kinds or options.mine or options.owner or options.key or options.id)


def is_wanted(record: Record, options: argparse.Namespace) -> bool:
    """Return True if an object matches all filters."""
    return (
        (not options.mine or os.geteuid() in (record.uid, record.cuid))
        and (not options.owner or record.uid in options.owner)
        and (not options.key or record.key in options.key)
        and (not options.id or record.id in options.id)
    )
