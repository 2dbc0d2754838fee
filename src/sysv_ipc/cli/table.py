"""Tables: the layout of columns in a pipe, on a terminal and in a window that is too narrow."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import terminal
from .output import printable
from .terminal import Text

GAP = "  "


class Column(NamedTuple):
    """A column of a table."""

    header: str
    #: True for numbers, which are aligned on the right.
    right: bool = False
    #: True if its texts may be shortened on a terminal that is too narrow.
    flexible: bool = False


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[object]],
    *,
    header: bool = True,
    footer: str | None = None,
    paged: bool = True,
) -> None:
    """Print a table; the footer is printed only on a terminal."""
    lines = table_lines(columns, rows, header=header)
    if footer is not None and terminal.is_terminal():
        lines += ["", terminal.styled(footer, "quiet")]
    terminal.print_lines(lines, paged=paged)


def table_lines(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], *, header: bool = True
) -> list[str]:
    """Return the lines of a table.  On a terminal they fit if flexible columns can be shortened."""
    lines = [[_cell(one) for one in row] for row in rows]
    if header:
        lines.insert(0, [Text(column.header.upper(), "heading") for column in columns])
    widths = [max(map(terminal.cells, one), default=0) for one in zip(*lines, strict=True)]
    if terminal.is_terminal():
        _shorten(columns, widths, terminal.width())
    return [_line(columns, line, widths) for line in lines]


def total_width(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> int:
    """Return the number of columns of the terminal that a whole table takes."""
    lines = [[column.header for column in columns], *[[str(one) for one in row] for row in rows]]
    widths = [max(map(terminal.cells, one)) for one in zip(*lines, strict=True)]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _cell(value: object) -> Text:
    return Text(printable(str(value)), value.style if isinstance(value, Text) else None)


def _shorten(columns: Sequence[Column], widths: list[int], room: int) -> None:
    """Shorten the widest flexible column, then the next one, until the table fits."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    least = [max(len(column.header), 4) for column in columns]
    while excess > 0:
        open_to_it = [i for i, one in enumerate(columns) if one.flexible and widths[i] > least[i]]
        if not open_to_it:
            # The terminal wraps the lines, and no column is left out.
            return
        widest = max(open_to_it, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1


def _line(columns: Sequence[Column], line: Sequence[Text], widths: Sequence[int]) -> str:
    words = []
    for column, cell, width in zip(columns, line, widths, strict=True):
        text = terminal.shortened(cell, width)
        padding = " " * (width - terminal.cells(text))
        shown = terminal.styled(text, cell.style)
        words.append(padding + shown if column.right else shown + padding)
    return GAP.join(words).rstrip()
