"""The commands, a file for each group.  A new command is a file here and its name in GROUPS.

A group has a function add(commands), which adds its commands, their options and their examples.
"""

import argparse

import sysv_ipc

from ..output import PROGRAM
from ..parser import KIND_HELP, OBJECT_HELP, Commands, Example, Parser
from . import create, help_page, limits, ls, permissions, queues, remove, segments, show

#: The groups, in the order of the help.
GROUPS = (ls, show, limits, create, remove, permissions, queues, segments, help_page)


def parser() -> Parser:
    """Return the parser of the command line."""
    top = Parser(
        prog=PROGRAM,
        description="List, use and remove System V IPC objects.",
        epilog=f"KIND is {KIND_HELP}.  OBJECT is {OBJECT_HELP}.  Exit status: 0 success, 1 nothing"
        " matched or a part failed, 2 wrong usage.",
    )
    top.examples = [
        Example(f"{PROGRAM} ls", "list all objects of the machine"),
        Example(f"{PROGRAM} show msg name:acme/jobs", "show every fact about a queue"),
        Example(f"{PROGRAM} rm msg id:7", "remove the queue with id 7"),
    ]
    top.add_argument("-V", "--version", action="version", version=f"{PROGRAM} {sysv_ipc.VERSION}",
                     help="print the version")  # fmt: skip

    def print_help(_: argparse.Namespace) -> int:
        top.print_help()
        return 0

    top.set_defaults(run=print_help)
    commands = top.add_subparsers(metavar="COMMAND", title="commands")
    assert isinstance(commands, Commands)
    for group in GROUPS:
        group.add(commands)
    return top
