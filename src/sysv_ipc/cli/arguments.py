"""The command line's grammar: commands, options and the conversion of their values."""

import argparse
import contextlib
import math
import pwd
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import sysv_ipc

from . import change, listing, queues, segments, show
from .objects import KINDS, Kind, Name
from .output import PROGRAM, printable, tell

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

OBJECT_HELP = "a key (0x1234 or 4660) or an id (id:7)"


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    #: True if options may come between arguments.  argparse wants them before or after all of them.
    in_any_order = False

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments that this parser knows; the main parser calls it for a command."""
        if not self.in_any_order:
            return super().parse_known_args(args, namespace)
        # In CPython before 3.13 this calls the method again, for options, then for arguments.
        self.in_any_order = False
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.in_any_order = True

    def error(self, message: str) -> NoReturn:
        """Report the message and exit with status 2."""
        with contextlib.suppress(OSError):
            tell(printable(f"{self.prog}: {message}; see {self.prog} --help") + "\n")
        self.exit(2)

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Write the help and raise OSError if that fails; argparse ignores that."""
        stream = sys.stderr if file is None else file
        if stream is not None:
            stream.write(message)


def number(text: str) -> int:
    """Convert a number, decimal or 0x hexadecimal."""
    if not re.fullmatch(r"-?(\d+|0[xX][0-9a-fA-F]+)", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number (decimal or 0x hexadecimal)")
    return int(text, 16 if "x" in text.lower() else 10)


def natural(text: str) -> int:
    """Convert a number that is not negative."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def positive(text: str) -> int:
    """Convert a number that is at least 1."""
    value = number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def long(text: str) -> int:
    """Convert a number that fits into C's long."""
    value = number(text)
    if not -(2**63) <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} does not fit into 64 bits")
    return value


def size(text: str) -> int:
    """Convert a number of bytes, which may end in K, M, G or T for powers of 1024."""
    factor = 1
    if text[-1:] in "KMGT" and text[:-1]:
        factor = 1024 ** (1 + "KMGT".index(text[-1]))
        text = text[:-1]
    value = natural(text) * factor
    if value >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is larger than any object can be")
    return value


def key(text: str) -> int:
    """Convert the key of an existing object, signed or unsigned."""
    return _key(text, "name the object by its id, such as id:7")


def listed_key(text: str) -> int:
    """Convert a key for a filter."""
    return _key(text, "--id 7 lists the object with id 7")


def new_key(text: str) -> int:
    """Convert the key of a new object."""
    return _key(text, "without --key the object gets an unused key")


def _key(text: str, instead_of_0: str) -> int:
    value = number(text)
    if not -(2**31) <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not a key: keys have 32 bits")
    if value == 0:
        raise argparse.ArgumentTypeError(
            f"{text} is IPC_PRIVATE, which identifies no object: {instead_of_0}"
        )
    return value - 2**32 if value >= 2**31 else value


def identifier(text: str) -> int:
    """Convert an id."""
    value = natural(text)
    if value >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not an id: ids have 31 bits")
    return value


def object_name(text: str) -> Name:
    """Convert a key, or id:N, to the name of an object."""
    if text.startswith("id:"):
        return Name("id", identifier(text.removeprefix("id:")))
    return Name("key", key(text))


def mode(text: str) -> int:
    """Convert permission bits, in octal as for chmod(1)."""
    if not re.fullmatch(r"(0o?)?[0-7]{1,3}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a mode: give octal digits, such as 600")
    return int(text.removeprefix("0o"), 8)


def seconds(text: str) -> float:
    """Convert a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def interval(text: str) -> float:
    """Convert the number of seconds between two lists."""
    value = seconds(text)
    if not 0.05 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.05 and 86400 seconds")
    return value


def kind(text: str) -> Kind:
    """Convert the name of a kind."""
    if text not in KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a kind: choose from {', '.join(KINDS)}")
    return KINDS[text]


def owner(text: str) -> int:
    """Convert the name or number of a user to the uid."""
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        pass
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"there is no user {text!r}")
    return number(text)


def values(text: str) -> list[int]:
    """Convert the values of a set: numbers separated by commas."""
    numbers = [natural(word) for word in text.split(",")]
    for value in numbers:
        if value > sysv_ipc.SEMAPHORE_VALUE_MAX:
            raise argparse.ArgumentTypeError(
                f"{value} is too large: a value is at most {sysv_ipc.SEMAPHORE_VALUE_MAX}"
            )
    return numbers


def parser() -> Parser:
    """Return the parser of the command line."""
    top = Parser(
        prog=PROGRAM,
        description="List, use and remove System V IPC objects.",
        epilog="KIND is sem, shm or msg.  OBJECT is " + OBJECT_HELP + ".  Exit status: 0 success,"
        " 1 nothing matched or a part failed, 2 wrong usage.",
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {sysv_ipc.VERSION}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_listing(commands)
    _add_change(commands)
    _add_queues(commands)
    _add_segments(commands)
    return top


def _add_listing(commands: "argparse._SubParsersAction[Parser]") -> None:
    ls = commands.add_parser("ls", help="list objects", description="List objects.")
    ls.add_argument("kinds", nargs="*", type=kind, metavar="KIND", help="sem, shm or msg (all)")
    ls.add_argument("--kind", action="append", default=[], type=kind, help="the same as KIND")
    ls.add_argument("--mine", action="store_true", help="only the caller's objects")
    ls.add_argument("--owner", action="append", default=[], type=owner, metavar="USER",
                    help="only this user's objects")  # fmt: skip
    ls.add_argument("--key", action="append", default=[], type=listed_key, help="only this key")
    ls.add_argument("--id", action="append", default=[], type=identifier, help="only this id")
    ls.add_argument("--sort", choices=listing.SORT_KEYS, metavar="COLUMN",
                    help="sort by " + ", ".join(listing.SORT_KEYS))  # fmt: skip
    ls.add_argument("--reverse", action="store_true", help="reverse the order")
    ls.add_argument("--watch", nargs="?", type=interval, const=2.0, metavar="SECONDS",
                    help="repeat the list until Ctrl-C (2)")  # fmt: skip
    _add_json(ls)
    ls.in_any_order = True
    ls.set_defaults(run=listing.ls)

    limits = commands.add_parser(
        "limits",
        help="show the system's limits and the part in use",
        description="Show the system's limits and the part in use.",
    )
    _add_json(limits)
    limits.set_defaults(run=listing.limits)

    one = commands.add_parser(
        "show",
        help="show every fact about one object",
        description="Show every fact about one object.",
    )
    one.add_argument("kind", type=kind, metavar="KIND", help="sem, shm or msg")
    one.add_argument("object", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
    _add_json(one)
    one.set_defaults(run=show.show)


def _add_change(commands: "argparse._SubParsersAction[Parser]") -> None:
    rm = commands.add_parser(
        "rm",
        help="remove objects",
        description="Remove the given objects, or with --owner or --mine the unused objects of a"
        " user.  On a terminal it asks before each one.",
    )
    rm.add_argument("kind", type=kind, metavar="KIND", help="sem, shm or msg")
    rm.add_argument("objects", nargs="*", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
    rm.add_argument("--owner", action="append", default=[], type=owner, metavar="USER",
                    help="instead of OBJECT: this user's unused objects")  # fmt: skip
    rm.add_argument("--mine", action="store_true",
                    help="instead of OBJECT: the caller's unused objects")  # fmt: skip
    rm.add_argument("--yes", "-y", action="store_true", help="do not ask")
    _add_json(rm)
    rm.in_any_order = True
    # The filters of ls that rm does not have.
    rm.set_defaults(run=change.remove, refuse=rm.error, key=[], id=[])

    create = commands.add_parser(
        "create",
        help="create an object",
        description="Create a new object.  Without --key it gets an unused key.",
    )
    kinds = create.add_subparsers(metavar="KIND", required=True, title="kinds")
    sem = kinds.add_parser("sem", help="a semaphore set")
    sem.add_argument("--members", type=positive, help="number of semaphores (1)")
    sem.add_argument("--values", type=values, help="the semaphores' values, such as 1,0,5 (0)")
    sem.set_defaults(run=change.create_semaphore_set)
    shm = kinds.add_parser("shm", help="a segment")
    shm.add_argument("--size", type=size, default=sysv_ipc.PAGE_SIZE,
                     help="size in bytes, or such as 64K, 16M, 1G (one page)")  # fmt: skip
    shm.set_defaults(run=change.create_segment)
    msg = kinds.add_parser("msg", help="a message queue")
    msg.add_argument("--max-size", type=size, help="capacity in bytes (kernel.msgmnb)")
    msg.set_defaults(run=change.create_queue)
    for one in (sem, shm, msg):
        one.add_argument("--key", type=new_key, help="the key (an unused one)")
        one.add_argument("--mode", type=mode, default=0o600, help="octal permissions (600)")
        _add_json(one)


def _add_queues(commands: "argparse._SubParsersAction[Parser]") -> None:
    peek = commands.add_parser(
        "peek",
        help="print messages without removing them",
        description="Print messages of a queue without removing them.",
    )
    _add_queue(peek)
    peek.add_argument("--index", type=natural, default=0, help="index of the first message (0)")
    _add_output_of_messages(peek)
    peek.set_defaults(run=queues.peek)

    send = commands.add_parser(
        "send",
        help="send messages",
        description="Send each TEXT as a message.  Without TEXT, send standard input as one.",
    )
    _add_queue(send)
    send.add_argument("texts", nargs="*", metavar="TEXT", help="a message")
    send.add_argument("--type", type=long, default=1, help="the messages' type (1)")
    send.add_argument("--timeout", type=seconds, help="seconds to wait for room (no limit)")
    send.add_argument("--count", type=positive, default=1, help="number of repetitions (1)")
    send.add_argument("--lines", action="store_true",
                      help="send each line of standard input as a message")  # fmt: skip
    send.in_any_order = True
    send.set_defaults(run=queues.send)

    receive = commands.add_parser(
        "receive",
        help="receive messages and print them",
        description="Receive messages from a queue and write them to standard output.",
    )
    _add_queue(receive)
    receive.add_argument("--type", type=long, default=0,
                         help="as in msgrcv(2): 0 any, -5 the lowest up to 5 (0)")  # fmt: skip
    receive.add_argument("--except", action="store_true", dest="except_type",
                         help="any type except --type")  # fmt: skip
    receive.add_argument("--timeout", type=seconds, help="seconds to wait for each (no limit)")
    _add_output_of_messages(receive)
    receive.set_defaults(run=queues.receive)


def _add_queue(command: Parser) -> None:
    command.add_argument("object", type=object_name, metavar="OBJECT", help=OBJECT_HELP)


def _add_output_of_messages(command: Parser) -> None:
    amount = command.add_mutually_exclusive_group()
    amount.add_argument("--count", type=positive, default=1, help="number of messages (1)")
    amount.add_argument("--all", action="store_true", help="all messages in the queue")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--lines", action="store_true", help="print a newline after each message")
    form.add_argument("--json", action="store_true", help="print JSON: type, size, text, base64")
    _add_raw(command)


def _add_segments(commands: "argparse._SubParsersAction[Parser]") -> None:
    read = commands.add_parser(
        "read",
        help="copy bytes of a segment to standard output",
        description="Copy bytes of a segment to standard output.",
    )
    read.set_defaults(run=segments.read)
    dump = commands.add_parser(
        "dump",
        help="show bytes of a segment in hexadecimal",
        description="Show bytes of a segment in hexadecimal, like xxd(1).",
    )
    dump.set_defaults(run=segments.dump)
    write = commands.add_parser(
        "write",
        help="copy standard input into a segment",
        description="Copy TEXT or standard input into a segment: all of it, or nothing.",
    )
    write.set_defaults(run=segments.write)
    for command in (read, dump, write):
        command.add_argument("object", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
        command.add_argument("--offset", type=size, default=0, help="offset of the first byte (0)")
    _add_raw(read)
    for command in (read, dump):
        command.add_argument("--length", type=size, help="number of bytes (up to the end)")
    write.add_argument("text", nargs="?", metavar="TEXT", help="the text to write")
    write.in_any_order = True


def _add_raw(command: Parser) -> None:
    command.add_argument("--raw", action="store_true",
                         help="write control characters to a terminal as they are")  # fmt: skip


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print results and errors as JSON")
