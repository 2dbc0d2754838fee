"""``peek``, ``send`` and ``receive``: copy messages from standard input and to standard output."""

import argparse
import binascii
import sys
import time
from typing import Any

import sysv_ipc

from ..delivery import SLICE, Held, JsonArray, StoppedError, require_reader
from ..objects import MSG, describe, find, require_the_same
from ..output import CommandError, encoded, is_shown, print_json, visible
from ..parser import OBJECT_HELP, Commands, Parser, add_raw
from ..values import long, natural, object_name, positive, seconds

Message = tuple[bytes, int]

#: The time, in seconds, for putting a message back into a queue that is full.
GIVE_BACK_SECONDS = 10.0


def add(commands: Commands) -> None:
    """Add the commands."""
    peek_ = commands.add(
        "peek",
        peek,
        "print messages without removing them",
        description="Print messages of a queue without removing them.",
        examples=[
            ("sysv-ipc peek name:acme/jobs", "the first message"),
            ("sysv-ipc peek 0x1234 --all --json", "all messages, with their types"),
        ],
    )
    _add_queue(peek_)
    peek_.add_argument("--index", type=natural, default=0, help="index of the first message (0)")
    _add_output_of_messages(peek_)

    send_ = commands.add(
        "send",
        send,
        "send messages",
        description="Send each TEXT as a message.  Without TEXT, send standard input as one.",
        examples=[
            ("sysv-ipc send name:acme/jobs hello --type 7", "one message of type 7"),
            ("seq 100 | sysv-ipc send 0x1234 --lines", "a hundred messages"),
        ],
        in_any_order=True,
    )
    _add_queue(send_)
    send_.add_argument("texts", nargs="*", metavar="TEXT", help="a message")
    send_.add_argument("--type", type=long, default=1, help="the messages' type (1)")
    send_.add_argument("--timeout", type=seconds, metavar="SECONDS",
                       help="seconds to wait for room (no limit)")  # fmt: skip
    send_.add_argument("--count", type=positive, default=1, help="number of repetitions (1)")
    send_.add_argument("--lines", action="store_true",
                       help="send each line of standard input as a message")  # fmt: skip

    receive_ = commands.add(
        "receive",
        receive,
        "receive messages and print them",
        description="Receive messages from a queue and write them to standard output.",
        examples=[
            ("sysv-ipc receive name:acme/jobs", "wait for a message and print it"),
            ("sysv-ipc receive 0x1234 --all --lines", "empty the queue"),
            ("sysv-ipc receive id:7 --type 5 --timeout 2", "wait for type 5, two seconds"),
        ],
        aliases=("recv",),
    )
    _add_queue(receive_)
    receive_.add_argument("--type", type=long, default=0,
                          help="as in msgrcv(2): 0 any, -5 the lowest up to 5 (0)")  # fmt: skip
    receive_.add_argument("--except", action="store_true", dest="except_type",
                          help="any type except --type")  # fmt: skip
    receive_.add_argument("--timeout", type=seconds, metavar="SECONDS",
                          help="seconds to wait for each (no limit)")  # fmt: skip
    _add_output_of_messages(receive_)


def _add_queue(command: Parser) -> None:
    command.add_argument("object", type=object_name, metavar="OBJECT", help=OBJECT_HELP)


def _add_output_of_messages(command: Parser) -> None:
    amount = command.add_mutually_exclusive_group()
    amount.add_argument("--count", type=positive, default=1, help="number of messages (1)")
    amount.add_argument("--all", action="store_true", help="all messages in the queue")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--lines", action="store_true", help="print a newline after each message")
    form.add_argument("--json", action="store_true", help="print JSON: type, size, text, base64")
    add_raw(command)


def peek(options: argparse.Namespace) -> int:
    """Print messages without removing them."""
    queue, name = _open(options)
    messages: list[Message] = []
    while options.all or len(messages) < options.count:
        message = queue.peek(options.index + len(messages))
        if message is None:
            break
        messages.append(message)
    if options.json:
        print_json([_as_dict(message) for message in messages])
    else:
        for content, _ in messages:
            sys.stdout.buffer.write(_as_bytes(content, options))
        sys.stdout.flush()
    if not messages and not options.json:
        where = f" at index {options.index}" if options.index else ""
        raise CommandError(f"the {name} has no message{where}")
    return 0 if messages else 1


def send(options: argparse.Namespace) -> int:
    """Send the given texts, or standard input."""
    queue, name = _open(options)
    messages = [text.encode(errors="surrogateescape") for text in options.texts]
    if not messages:
        if sys.stdin is None:
            raise CommandError("standard input is closed", "give the message as an argument")
        content = sys.stdin.buffer.read()
        messages = content.removesuffix(b"\n").split(b"\n") if options.lines else [content]
        if options.lines and not content:
            messages = []
    _require_sizes(messages)
    total = len(messages) * options.count
    # itertools.repeat() takes no count beyond sys.maxsize, which has 31 bits on some machines.
    repeated = (message for _ in range(options.count) for message in messages)
    with Held(queue) as held:
        for number, message in enumerate(repeated):
            part = f"{number} of {total} messages were sent"

            def attempt(timeout: float, message: bytes = message) -> None:
                queue.send(message, True, options.type, timeout=timeout)

            try:
                held.wait(attempt, options.timeout)
            except sysv_ipc.BusyError:
                of = f"; {part}" if number else ""
                raise CommandError(
                    f"the {name} had no room within {options.timeout:g} s{of}"
                ) from None
            except sysv_ipc.Error as error:
                if number:
                    error.add_note(f"{part}.")
                raise
            except StoppedError:
                if number:
                    held.report(part)
                raise
    return 0


def _require_sizes(messages: list[bytes]) -> None:
    """Raise CommandError if a message is too long, before the first one is sent."""
    longest = sysv_ipc.limits().msgmax
    for number, message in enumerate(messages, 1):
        if len(message) > longest:
            which = f"message {number} of {len(messages)}" if len(messages) > 1 else "the message"
            raise CommandError(
                f"{which} has {len(message)} bytes; the limit is {longest} (kernel.msgmax); nothing"
                " was sent"
            )


def receive(options: argparse.Namespace) -> int:
    """Receive messages and print them."""
    queue, name = _open(options)
    array = JsonArray() if options.json else None
    count = 0
    with Held(queue) as held:
        try:
            while options.all or count < options.count:
                try:
                    message = _take(queue, held, options)
                except sysv_ipc.BusyError:
                    break
                try:
                    if array is None:
                        held.write(_as_bytes(message[0], options))
                    else:
                        array.add(held, _as_dict(message))
                except BaseException:
                    # The output has not got the message.
                    _give_back(queue, message, held)
                    raise
                count += 1
        except (sysv_ipc.Error, StoppedError) as error:
            if array is not None and (array.count or isinstance(error, StoppedError)):
                array.close(held)
            raise
        if array is not None:
            array.close(held)
    wanted = 1 if options.all else options.count
    if count >= wanted:
        return 0
    if array is None:
        got = f"; received {count} of {options.count}" if count else ""
        within = "" if options.all else f" within {options.timeout:g} s"
        raise CommandError(f"the {name} had no {_sought(options)}{within}{got}")
    return 1


def _take(queue: sysv_ipc.MessageQueue, held: Held, options: argparse.Namespace) -> Message:
    """Receive a message; raise BusyError if none comes in time, StoppedError after a signal."""

    def attempt(timeout: float) -> Message:
        # Do not receive a message that has no reader.
        require_reader()
        return queue.receive(type=options.type, timeout=timeout, except_type=options.except_type)

    return held.wait(attempt, 0.0 if options.all else options.timeout)


def _give_back(queue: sysv_ipc.MessageQueue, message: Message, held: Held) -> None:
    """Send a received message to its queue again.  If that fails, print it to standard error."""
    content, type = message
    signals = len(held.signals)
    deadline = time.monotonic() + GIVE_BACK_SECONDS
    # Other processes may have filled the queue.
    while time.monotonic() < deadline and len(held.signals) == signals:
        try:
            queue.send(content, type=type, timeout=SLICE)
            return
        except (sysv_ipc.BusyError, sysv_ipc.CancelledError):
            continue
        except sysv_ipc.Error:
            break
    encoded = binascii.b2a_base64(content, newline=False).decode()
    held.report(
        f"a message of type {type} could neither be written nor put back into the queue; in"
        f" base64 it is {encoded or 'empty'}"
    )


def _open(options: argparse.Namespace) -> tuple[sysv_ipc.MessageQueue, str]:
    """Return a handle of the queue for messages of any size, and the queue's description."""
    record = find(MSG, options.object)
    longest = max(sysv_ipc.limits().msgmax, record.max_size, record.current_bytes, 1)
    queue = sysv_ipc.MessageQueue.from_id(record.id, longest)
    require_the_same(MSG, record, "while it was opened")
    return queue, describe(MSG, record)


def _sought(options: argparse.Namespace) -> str:
    """Return a description of the messages that the options select."""
    if not options.type:
        return "message"
    if options.type < 0:
        return f"message of a type up to {-options.type}"
    return f"message of {'any type except' if options.except_type else 'type'} {options.type}"


def _as_bytes(content: bytes, options: argparse.Namespace) -> bytes:
    """Return a message as output: unchanged, except for a terminal."""
    if is_shown(raw=options.raw):
        content = encoded(visible(content.decode(errors="backslashreplace")))
    if options.lines or (sys.stdout.isatty() and not content.endswith(b"\n")):
        content += b"\n"
    return content


def _as_dict(message: Message) -> dict[str, Any]:
    """Return a message for JSON; text is None if the message is not UTF-8."""
    content, type = message
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    encoded = binascii.b2a_base64(content, newline=False).decode()
    return {"type": type, "size": len(content), "text": text, "base64": encoded}
