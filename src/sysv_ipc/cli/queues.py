"""``peek``, ``send`` and ``receive``: messages between queues and standard input and output."""

import argparse
import binascii
import contextlib
import select
import sys
from collections.abc import Iterator
from typing import Any

import sysv_ipc

from .objects import MSG, describe, find
from .output import CommandError, print_json

Message = tuple[bytes, int]


def peek(options: argparse.Namespace) -> int:
    """Print messages and leave them."""
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
            _write(content, options)
    if not messages and not options.json:
        where = f" at index {options.index}" if options.index else ""
        raise CommandError(f"the {name} has no message{where}")
    return 0 if messages else 1


def send(options: argparse.Namespace) -> int:
    """Send what is given, or standard input."""
    queue, name = _open(options)
    messages = [text.encode(errors="surrogateescape") for text in options.texts]
    if not messages:
        if sys.stdin is None:
            raise CommandError("standard input is closed", "give the message as an argument")
        content = sys.stdin.buffer.read()
        messages = content.removesuffix(b"\n").split(b"\n") if options.lines else [content]
        if options.lines and not content:
            messages = []
    messages *= options.count
    for number, message in enumerate(messages):
        try:
            queue.send(message, True, options.type, timeout=options.timeout)
        except sysv_ipc.BusyError:
            of = f"; {number} of {len(messages)} messages have been sent" if number else ""
            raise CommandError(f"the {name} had no room within {options.timeout:g} s{of}") from None
        except sysv_ipc.Error as error:
            if number:
                error.add_note(f"{number} of {len(messages)} messages have been sent.")
            raise
    return 0


def receive(options: argparse.Namespace) -> int:
    """Take messages out and print them."""
    queue, name = _open(options)
    messages: list[Message] = []
    for message in _taken(queue, options):
        if options.json:
            messages.append(message)
            continue
        try:
            _write(message[0], options)
        except OSError:
            # Nobody has got it: back with it.
            with contextlib.suppress(sysv_ipc.Error):
                queue.send(message[0], False, message[1])
            raise
        messages.append(message)
    if options.json:
        print_json([_as_dict(message) for message in messages])
    wanted = 1 if options.all else options.count
    if len(messages) >= wanted:
        return 0
    if not options.json:
        got = f"; got {len(messages)} of {options.count}" if messages else ""
        within = "" if options.all else f" within {options.timeout:g} s"
        raise CommandError(f"the {name} had no {_sought(options)}{within}{got}")
    return 1


def _taken(queue: sysv_ipc.MessageQueue, options: argparse.Namespace) -> Iterator[Message]:
    """Take one message after the other, as many as are wanted and there in time."""
    taken = 0
    timeout = 0.0 if options.all else options.timeout
    while options.all or taken < options.count:
        if not options.json:
            _require_reader()
        try:
            message = queue.receive(
                type=options.type, timeout=timeout, except_type=options.except_type
            )
        except sysv_ipc.BusyError:
            return
        yield message
        taken += 1


def _open(options: argparse.Namespace) -> tuple[sysv_ipc.MessageQueue, str]:
    """Return the queue, for messages of any size, and what it is called."""
    record = find(MSG, options.object)
    longest = max(sysv_ipc.limits().msgmax, record.max_size, record.current_bytes, 1)
    return sysv_ipc.MessageQueue.from_id(record.id, longest), describe(MSG, record)


def _sought(options: argparse.Namespace) -> str:
    """Return which messages were wanted, in words."""
    if not options.type:
        return "message"
    if options.type < 0:
        return f"message of a type up to {-options.type}"
    return f"message of {'any type but' if options.except_type else 'type'} {options.type}"


def _require_reader() -> None:
    """Take nothing out of the queue that nobody can get any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError


def _write(content: bytes, options: argparse.Namespace) -> None:
    """Write a message to standard output, byte by byte as it is."""
    if options.lines or (sys.stdout.isatty() and not content.endswith(b"\n")):
        content += b"\n"
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _as_dict(message: Message) -> dict[str, Any]:
    """Return a message for JSON: text is None where it is none."""
    content, type = message
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    encoded = binascii.b2a_base64(content, newline=False).decode()
    return {"type": type, "size": len(content), "text": text, "base64": encoded}
