"""``help``: the help page of a command."""

import argparse

from ..parser import Commands, Parser


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "help",
        show_help,
        "show the help of a command",
        description="Show the help of a command, or that of the program.",
        examples=[
            ("sysv-ipc help ls", "the options and columns of ls"),
            ("sysv-ipc help create shm", "the options for a new segment"),
        ],
    )
    command.add_argument("words", nargs="*", metavar="COMMAND", help="a command, such as ls")


def show_help(options: argparse.Namespace) -> int:
    """Print the help of the command that the words name."""
    from . import parser

    _find(parser(), options.words).print_help()
    return 0


def _find(parser: Parser, words: list[str]) -> Parser:
    """Return the parser of a command, or exit with status 2 if there is none."""
    for action in parser._get_positional_actions():
        if words and isinstance(action, Commands):
            try:
                parser._check_value(action, words[0])
            except argparse.ArgumentError as error:
                parser.error(str(error))
            name = action.aliases.get(words[0], words[0])
            return _find(action.choices[name], words[1:])
    if words:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    return parser
