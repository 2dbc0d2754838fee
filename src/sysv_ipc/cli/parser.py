"""The parser of the command line: one-line errors with suggestions, help pages, aliases.

The help of the terminal, the man page and the completions are made from the same parsers, which
carry their examples.  The layout of the help does not depend on the version of argparse.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .output import DOCUMENTATION, printable, tell

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

KIND_HELP = "sem, shm or msg"
OBJECT_HELP = "a key (0x1234 or 4660), a name (name:acme/jobs) or an id (id:7)"
#: The help ends with this line.
MORE = f"documentation: {DOCUMENTATION}"


class Example(NamedTuple):
    """A command, and what it does."""

    command: str
    purpose: str


class Parser(argparse.ArgumentParser):
    """A parser of a command, or of the whole command line."""

    #: True if options may come between arguments.  argparse wants them before or after all of them.
    in_any_order = False
    #: The examples of the help and of the man page.
    examples: Sequence[Example] = ()
    #: Words of the command and their meanings, under the title of the list.
    glossary: tuple[str, Mapping[str, str]] | None = None
    _is_parsing = False

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Make a parser, without the colours of CPython 3.14."""
        keywords["formatter_class"] = Formatter
        super().__init__(*arguments, **keywords)
        self.color = False
        self._positionals.title = "arguments"
        self.register("action", "parsers", Commands)

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments; the main parser calls it for a command.

        The parser that does not know an argument reports it, so that the error names its help.
        """
        if self._is_parsing:
            # In CPython before 3.13 the parsing in any order calls the method again.
            return super().parse_known_args(args, namespace)
        self._is_parsing = True
        try:
            if self.in_any_order:
                found, unknown = self.parse_known_intermixed_args(args, namespace)
            else:
                found, unknown = super().parse_known_args(args, namespace)
        finally:
            self._is_parsing = False
        if unknown:
            options = [one.partition("=")[0] for one in unknown if one.startswith("--")]
            similar = [suggestion(one, self._option_string_actions) for one in options]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(similar)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Report the message and exit with status 2."""
        with contextlib.suppress(OSError):
            tell(printable(f"{self.prog}: {message}; see {self.prog} --help") + "\n")
        self.exit(2)

    def format_help(self) -> str:
        """Return the help page."""
        self.usage = synopsis(self)
        try:
            parts = [super().format_help().rstrip("\n")]
        finally:
            self.usage = None
        if self.glossary is not None:
            parts.append(_two_columns(*self.glossary))
        if self.examples:
            parts.append(_two_columns("examples", dict(self.examples)))
        return "\n\n".join([*parts, MORE]) + "\n"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise ArgumentError for a word that is not one of the choices."""
        if action.choices is None or value in action.choices:
            return
        names = [str(one) for one in action.choices]
        if not isinstance(action, Commands):
            hint = suggestion(value, names)
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r} (choose from {', '.join(names)}){hint}"
            )
        if value in action.aliases:
            return
        if action.metavar == "KIND":
            text = f"{value!r} is not a kind: choose from {', '.join(names)}"
        else:
            hint = suggestion(value, [*names, *action.aliases])
            text = f"there is no command {value!r}{hint}"
        raise argparse.ArgumentError(None, text)

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Write the help and raise OSError if that fails; argparse ignores that."""
        stream = sys.stderr if file is None else file
        if stream is not None:
            stream.write(message)


def _two_columns(title: str, entries: Mapping[str, str]) -> str:
    width = max(map(len, entries))
    return "\n".join([f"{title}:", *(f"  {one:<{width}}  {text}" for one, text in entries.items())])


class Formatter(argparse.HelpFormatter):
    """The layout of a help page."""

    def __init__(self, prog: str, *arguments: Any, **keywords: Any) -> None:
        """Make a formatter with a column of options that has room for most of them."""
        keywords.setdefault("max_help_position", 26)
        super().__init__(prog, *arguments, **keywords)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument; the list of commands is not indented below its name."""
        actions = action._get_subactions() if isinstance(action, Commands) else [action]
        for one in actions:
            super().add_argument(one)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        # CPython before 3.13 repeats the metavariable: -o COLUMNS, --columns COLUMNS.
        if not action.option_strings:
            return super()._format_action_invocation(action)
        return ", ".join(action.option_strings) + value_of(action)


def value_of(action: argparse.Action) -> str:
    """Return the value of an option, as it follows the name: " KEY", " [SECONDS]" or ""."""
    if action.nargs == 0:
        return ""
    default = action.dest.upper().replace("_", "-")
    name = action.metavar if isinstance(action.metavar, str) else default
    return f" [{name}]" if action.nargs == "?" else f" {name}"


def number_of_values(action: argparse.Action) -> str:
    """Return nargs, or "" for one; also while the parsing in any order has changed it."""
    number = action.nargs
    if number == argparse.SUPPRESS:
        number = getattr(action, "save_nargs", None)
    return "" if number is None else str(number)


def synopsis(parser: argparse.ArgumentParser) -> str:
    """Return the command, its options and arguments in one line."""
    forms = {"": "{}", "?": "[{}]", "*": "[{}]...", "+": "{}..."}
    words = [parser.prog, "[OPTION]..."]
    for action in parser._get_positional_actions():
        if isinstance(action, Commands):
            form = "{} ..." if action.required else "[{} ...]"
        else:
            form = forms[number_of_values(action)]
        words.append(form.format(action.metavar or action.dest.upper()))
    return " ".join(words)


class Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """The commands of a program, or the kinds of a command, with aliases."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Make an empty list."""
        super().__init__(*arguments, **keywords)
        #: Each alias and the name that it means.
        self.aliases: dict[str, str] = {}

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], int] | None,
        help: str,
        *,
        description: str | None = None,
        examples: Iterable[tuple[str, str]] = (),
        aliases: Iterable[str] = (),
        in_any_order: bool = False,
    ) -> Parser:
        """Add a command and return its parser; without a description the help describes it."""
        sentence = help[0].upper() + help[1:] + "."
        made: Parser = self.add_parser(name, help=help, description=description or sentence)
        made.examples = [Example(*one) for one in examples]
        made.in_any_order = in_any_order
        self.aliases |= dict.fromkeys(aliases, name)
        if run is not None:
            made.set_defaults(run=run)
        return made

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse a command."""
        name, *rest = values
        super().__call__(parser, namespace, [self.aliases.get(name, name), *rest], option_string)


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return a question with the name that is most similar to a word, or "" if none is."""
    # Imported here, because only errors need it.
    import difflib

    found = difflib.get_close_matches(word, list(names), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def add_json(command: argparse.ArgumentParser) -> None:
    """Add the option for JSON."""
    command.add_argument("--json", action="store_true", help="print results and errors as JSON")


def add_raw(command: argparse.ArgumentParser) -> None:
    """Add the option for output that a terminal obeys."""
    command.add_argument("--raw", action="store_true",
                         help="write control characters to a terminal as they are")  # fmt: skip
