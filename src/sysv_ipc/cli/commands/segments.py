"""``read``, ``write`` and ``dump``: bytes of segments."""

import argparse
import codecs
import sys
from collections.abc import Iterator

import sysv_ipc

from ..objects import SHM, find, require_the_same
from ..output import CommandError, encoded, is_shown, visible
from ..parser import OBJECT_HELP, Commands, add_raw
from ..values import object_name, size

CHUNK = 1 << 20
DUMP_CHUNK = 1 << 12
BYTES_PER_LINE = 16


def add(commands: Commands) -> None:
    """Add the commands."""
    read_ = commands.add(
        "read",
        read,
        "copy bytes of a segment to standard output",
        examples=[
            ("sysv-ipc read 0x1234 > copy", "the whole segment"),
            ("sysv-ipc read 0x1234 --offset 16 --length 8", "eight bytes of it"),
        ],
    )
    dump_ = commands.add(
        "dump",
        dump,
        "show bytes of a segment in hexadecimal",
        description="Show bytes of a segment in hexadecimal, like xxd(1).",
        examples=[("sysv-ipc dump 0x1234 --length 1K", "the first 1024 bytes")],
    )
    write_ = commands.add(
        "write",
        write,
        "copy standard input into a segment",
        description="Copy TEXT or standard input into a segment: all of it, or nothing.",
        examples=[
            ("sysv-ipc write 0x1234 text", "four bytes"),
            ("sysv-ipc write 0x1234 --offset 4K < copy", "a file, from this offset on"),
        ],
        in_any_order=True,
    )
    for command in (read_, dump_, write_):
        command.add_argument("object", type=object_name, metavar="OBJECT", help=OBJECT_HELP)
        command.add_argument("--offset", type=size, default=0, help="offset of the first byte (0)")
    add_raw(read_)
    for command in (read_, dump_):
        command.add_argument("--length", type=size, help="number of bytes (up to the end)")
    write_.add_argument("text", nargs="?", metavar="TEXT", help="the text to write")


def read(options: argparse.Namespace) -> int:
    """Copy bytes of a segment to standard output."""
    if is_shown(raw=options.raw):
        # A character may begin in one piece and end in the next.
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        for _, piece in _pieces(options, CHUNK):
            sys.stdout.buffer.write(encoded(visible(decoder.decode(piece))))
        sys.stdout.buffer.write(encoded(visible(decoder.decode(b"", final=True))))
    else:
        for _, piece in _pieces(options, CHUNK):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0


def dump(options: argparse.Namespace) -> int:
    """Print bytes of a segment, in hexadecimal and as text."""
    for start, piece in _pieces(options, DUMP_CHUNK):
        for at in range(0, len(piece), BYTES_PER_LINE):
            line = piece[at : at + BYTES_PER_LINE]
            pairs = line.hex(" ", -2)
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
            print(f"{start + at:08x}: {pairs:<39}  {text}")
    return 0


def write(options: argparse.Namespace) -> int:
    """Copy text or standard input into a segment: all of it, or nothing."""
    segment = _attach(options, 0)
    room = segment.size - options.offset
    if options.text is not None:
        content = options.text.encode(errors="surrogateescape")
    elif sys.stdin is None:
        raise CommandError("standard input is closed", "give the text as an argument")
    else:
        content = _read_input(max(room, 0) + 1)
    if len(content) > room:
        raise CommandError(
            f"the text does not fit: from offset {options.offset} to the end of the segment"
            f" there are {max(room, 0)} bytes; nothing was written"
        )
    if content:
        segment.write(content, options.offset)
    return 0


def _read_input(most: int) -> bytes:
    """Read standard input, at most one byte more than fits, which shows that it is too long.

    read(most) would allocate as much memory at once, also for a short text.
    """
    content = bytearray()
    while piece := sys.stdin.buffer.read(min(CHUNK, most - len(content))):
        content += piece
    return bytes(content)


def _attach(options: argparse.Namespace, flags: int) -> sysv_ipc.SharedMemory:
    """Attach the segment that the options name."""
    record = find(SHM, options.object)
    segment = sysv_ipc.attach(record.id, None, flags)
    require_the_same(SHM, record, "while it was attached")
    return segment


def _pieces(options: argparse.Namespace, length: int) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes that the options select, in pieces, each with its offset."""
    segment = _attach(options, sysv_ipc.SHM_RDONLY)
    if options.offset >= segment.size:
        raise CommandError(
            f"offset {options.offset} is past the end of a segment of {segment.size} bytes"
        )
    end = segment.size
    if options.length is not None:
        end = min(end, options.offset + options.length)
    for start in range(options.offset, end, length):
        yield start, segment.read(min(length, end - start), start)
