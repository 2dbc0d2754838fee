"""Write the completions for bash, zsh and fish and the man page into share/, from the parsers.

shtab makes the completions.  This script adds the parts that shtab cannot know: kinds, columns,
users, and the keys and ids of the objects that exist, for which the shell calls sysv-ipc ls.

    shell_files.py [--check]
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import shtab

import sysv_ipc
from sysv_ipc.cli.commands import parser
from sysv_ipc.cli.commands.ls import FIELDS
from sysv_ipc.cli.objects import KIND_ALIASES, KINDS
from sysv_ipc.cli.output import DOCUMENTATION, PROGRAM
from sysv_ipc.cli.parser import Commands, Parser, synopsis, value_of

SHARE = Path(__file__).parents[1] / "share"
BASH = SHARE / "bash-completion/completions/sysv-ipc"
ZSH = SHARE / "zsh/site-functions/_sysv-ipc"
FISH = SHARE / "fish/vendor_completions.d/sysv-ipc.fish"
MAN = SHARE / "man/man1/sysv-ipc.1"
NOTE = "Made by tools/shell_files.py; do not edit."

#: For each destination of an argument: the function that completes it, without its prefix.
COMPLETED_BY = {
    "kind": "kinds",
    "kinds": "kinds",
    "owner": "users",
    "columns": "columns",
    "key": "keys",
}
#: The commands whose OBJECT has a kind that is not on the command line.
KIND_OF = {"peek": "msg", "send": "msg", "receive": "msg",
           "read": "shm", "dump": "shm", "write": "shm"}  # fmt: skip

NAMES_BASH = f"""\
# Print the keys and ids of the objects of a kind; without a kind only the keys.
_sysv_ipc_names() {{
  local key id
  {PROGRAM} ls $1 --no-header -o key,id 2>/dev/null | while read -r key id; do
    [ "$key" = 0x00000000 ] || echo "$key"
    [ -z "$1" ] || echo "id:$id"
  done
}}
# Print the kind among the words.
_sysv_ipc_kind() {{
  local word
  for word in "$@"; do
    case $word in
      CASES
    esac
  done
}}
"""
PREAMBLE_BASH = """\
_sysv_ipc_kinds() { compgen -W "KINDS" -- "$1"; }
_sysv_ipc_columns() {
  local before=
  [[ $1 == *,* ]] && before=${1%,*},
  compgen -P "$before" -W "COLUMNS" -- "${1##*,}"
}
_sysv_ipc_users() { compgen -u -- "$1"; }
_sysv_ipc_keys() { compgen -W "$(_sysv_ipc_names)" -- "$1"; }
_sysv_ipc_msg() { compgen -W "$(_sysv_ipc_names msg)" -- "$1"; }
_sysv_ipc_shm() { compgen -W "$(_sysv_ipc_names shm)" -- "$1"; }
_sysv_ipc_objects() {
  compgen -W "$(_sysv_ipc_names "$(_sysv_ipc_kind "${COMP_WORDS[@]:1:COMP_CWORD-1}")")" -- "$1"
}
"""
#: readline splits words at colons, but id:7 and name:acme/jobs are one word each.
WRAPPER_BASH = """
_sysv_ipc() {
  local words=() word i current=0
  for i in "${!COMP_WORDS[@]}"; do
    word=${COMP_WORDS[i]}
    if [[ $i -gt 0 && ( $word == : || ${COMP_WORDS[i-1]} == : ) && ${COMP_WORDBREAKS} == *:* ]] &&
      [[ ${COMP_WORDS[i-1]} =~ ^(:|id|name)$ ]]; then
      words[${#words[@]}-1]+=$word
    else
      words+=("$word")
    fi
    [[ $i -ne $COMP_CWORD ]] || current=$((${#words[@]} - 1))
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$current
  _shtab_sysv_ipc
  word=${COMP_WORDS[COMP_CWORD]}
  [[ $word == id:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#id:}")
  return 0
}
complete -F _sysv_ipc sysv-ipc
"""
PREAMBLE_ZSH = """\
_sysv_ipc_kinds() { compadd -- KINDS; }
_sysv_ipc_columns() { _values -s , column COLUMNS; }
_sysv_ipc_users() { _users; }
_sysv_ipc_keys() { compadd -- ${(f)"$(_sysv_ipc_names)"}; }
_sysv_ipc_msg() { compadd -- ${(f)"$(_sysv_ipc_names msg)"}; }
_sysv_ipc_shm() { compadd -- ${(f)"$(_sysv_ipc_names shm)"}; }
_sysv_ipc_objects() { compadd -- ${(f)"$(_sysv_ipc_names "$(_sysv_ipc_kind "${words[@]}")")"}; }
"""
PREAMBLE_FISH = f"""\
# Print the keys and ids of the objects of a kind; without a kind only the keys.
function _sysv_ipc_names
    {PROGRAM} ls $argv --no-header -o key,id 2>/dev/null | while read -l key id
        test $key = 0x00000000; or echo $key
        test -z "$argv"; or echo id:(string trim $id)
    end
end
function _sysv_ipc_kinds
    printf '%s\\n' KINDS
end
function _sysv_ipc_columns
    set -l before (string match -r '.*,' -- (commandline -ct))
    printf "$before%s\\n" COLUMNS
end
function _sysv_ipc_users
    __fish_complete_users
end
function _sysv_ipc_keys
    _sysv_ipc_names
end
function _sysv_ipc_msg
    _sysv_ipc_names msg
end
function _sysv_ipc_shm
    _sysv_ipc_names shm
end
function _sysv_ipc_objects
    for word in (commandline -opc)
        switch $word
            CASES
        end
    end
end
"""


def filled(preamble: str, case: str) -> str:
    """Return a preamble with the kinds, their aliases and the columns."""
    cases = []
    for name in KINDS:
        names = [name, *(alias for alias, kind in KIND_ALIASES.items() if kind == name)]
        cases.append(case.format("|".join(names), " ".join(names), name))
    indent = re.search(r"^ *(?=CASES)", preamble, re.M)
    separator = "\n" + (indent[0] if indent else "")
    return (
        preamble.replace("CASES", separator.join(cases))
        .replace("KINDS", " ".join(KINDS))
        .replace("COLUMNS", " ".join(FIELDS))
    )


def completed(top: Parser) -> Parser:
    """Return the parser, with the functions that complete its arguments."""
    for command, one in all_parsers(top):
        for action in one._actions:
            function = COMPLETED_BY.get(action.dest)
            if action.dest in ("object", "objects"):
                function = KIND_OF.get(command, "objects")
            if action.dest == "key" and command == "create":
                function = None
            if action.dest == "owner" and not action.option_strings:
                function = "users"
            if function is not None:
                name = f"_sysv_ipc_{function}"
                completer = {"bash": name, "zsh": name, "fish": f"({name})"}
                action.complete = completer  # type: ignore[attr-defined]
    return top


def all_parsers(top: Parser, command: str = "") -> Iterator[tuple[str, Parser]]:
    """Yield each parser with the name of its command."""
    yield command, top
    for action in top._get_positional_actions():
        if isinstance(action, Commands):
            for name, one in action.choices.items():
                yield from all_parsers(one, command or name)


def completions() -> dict[Path, str]:
    """Return the files for the shells."""
    top = completed(parser())
    case = "{0}) echo {2}; return ;;"
    bash = shtab.complete(top, "bash", preamble=filled(NAMES_BASH + PREAMBLE_BASH, case))
    bash = re.sub(r"^complete -o .*\n?", "", bash, flags=re.M).rstrip() + "\n" + WRAPPER_BASH
    zsh = shtab.complete(top, "zsh", preamble=filled(NAMES_BASH + PREAMBLE_ZSH, case))
    # shtab lets zsh complete only the first of several arguments.
    zsh = re.sub(r'^  "\(\*\)::?', '  "*:', zsh, flags=re.M)
    case = "case {1}\n                _sysv_ipc_names {2}\n                return"
    fish = shtab.complete(top, "fish", preamble=filled(PREAMBLE_FISH, case))
    return {BASH: noted(bash), ZSH: noted(zsh), FISH: noted(fish)}


def noted(text: str) -> str:
    """Return a script with a note instead of shtab's instructions."""
    text = re.sub(
        r"^# AUTOMATICALLY GENERATED by (\S+)\n(#.*\n)*",
        rf"# {NOTE}\n# Uses \1\n",
        text,
        flags=re.M,
    )
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


# ------------------------------------------------------------------------------ man page


def escaped(text: str) -> str:
    """Return the text for roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("...", "\\&...")
    text = re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)
    # A sentence ends at the end of a line.
    return re.sub(r"(?<=[.?])  +(?=\S)", "\n", text)


def man_page() -> str:
    """Return the man page: the help of every command."""
    top = parser()
    (commands,) = [one for one in top._actions if isinstance(one, Commands)]
    lines = [
        f'.\\" {NOTE}',
        # Without a date, which would be that of a release; the version names it.
        f'.TH SYSV\\-IPC 1 "" "sysv_ipc {sysv_ipc.VERSION}" "User Commands"',
        ".SH NAME",
        "sysv\\-ipc \\- list, use and remove System V IPC objects",
        ".SH SYNOPSIS",
    ]
    for number, one in enumerate(commands.choices.values()):
        lines += [*([".br"] if number else []), f".B {escaped(one.prog)}",
                  escaped(synopsis(one).removeprefix(one.prog).strip())]  # fmt: skip
    lines += [".SH DESCRIPTION", *paragraphs(top.description), ".PP", *paragraphs(top.epilog)]
    lines += [".SH OPTIONS", *options_of(top), ".SH COMMANDS"]
    for command, one in all_parsers(top):
        if command:
            lines += command_lines(command, one, commands)
    lines += [".SH ENVIRONMENT"]
    for name, text in ENVIRONMENT.items():
        lines += [".TP", f".B {name}", escaped(text)]
    lines += [".SH EXIT STATUS"]
    for status, text in STATUSES.items():
        lines += [".TP", f".B {status}", escaped(text)]
    lines += [".SH EXAMPLES"]
    for example in top.examples:
        lines += [".TP", f".B {escaped(example.command)}", escaped(sentence(example.purpose))]
    lines += [".SH SEE ALSO", ".BR ipcs (1),", ".BR ipcrm (1),", ".BR ipcmk (1),",
              ".BR sysvipc (7)", ".PP", escaped(DOCUMENTATION)]  # fmt: skip
    return "\n".join(lines) + "\n"


ENVIRONMENT = {
    "NO_COLOR": "If it is not empty, there are no colours.",
    "FORCE_COLOR": "If it is not empty, there are colours in a pipe too.",
    "PAGER": "The command that shows lists that do not fit on the screen (less).  If it is empty"
    " or cat, lists are printed.",
    "LESS": "Options of less(1); FRX if it is not set.",
    "TERM": "If it is dumb, there are no colours and no pager.",
}
STATUSES = {
    "0": "The command has succeeded.",
    "1": "Nothing matched, a part failed, or the time was up.",
    "2": "The usage was wrong.",
    "128+n": "Signal n has ended the command.",
}


def command_lines(command: str, one: Parser, commands: Commands) -> list[str]:
    """Return the section of a command."""
    lines = [f".SS {escaped(synopsis(one).removeprefix(PROGRAM).strip())}"]
    lines += paragraphs(one.description)
    aliases = [alias for alias, name in commands.aliases.items() if name == command]
    if aliases and one.prog == f"{PROGRAM} {command}":
        lines += [f"An alias is {escaped(', '.join(aliases))}."]
    for action in one._get_positional_actions():
        if not isinstance(action, Commands) and action.help:
            lines += [".TP", f".I {escaped(str(action.metavar))}", escaped(action.help)]
    lines += options_of(one)
    if one.glossary is not None:
        title, words = one.glossary
        lines += [".PP", f"{escaped(title)}:"]
        for word, text in words.items():
            lines += [".TP", f".I {escaped(word)}", escaped(text)]
    if one.examples:
        lines += [".PP", "Examples:"]
    for example in one.examples:
        lines += [".TP", f".B {escaped(example.command)}", escaped(sentence(example.purpose))]
    return lines


def options_of(one: Parser) -> list[str]:
    """Return the options of a parser."""
    lines = []
    for action in one._get_optional_actions():
        if action.dest != "help":
            names = ", ".join(action.option_strings)
            value = value_of(action).strip()
            shown = f".BI {quoted(names + ' ')} {quoted(value)}" if value else f".B {quoted(names)}"
            lines += [".TP", shown, escaped(sentence(action.help or ""))]
    return lines


def quoted(text: str) -> str:
    """Return the text as one argument of a macro."""
    return f'"{escaped(text)}"' if " " in text else escaped(text)


def sentence(text: str) -> str:
    """Return the text as a sentence."""
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def paragraphs(text: str | None) -> list[str]:
    """Return the lines of a text."""
    lines = escaped(text or "").split("\n")
    return [part for line in lines for part in textwrap.wrap(line, 79, break_on_hyphens=False)]


def main() -> None:
    """Write the files, or compare them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="compare and write nothing")
    check = options.parse_args().check
    made: dict[Path, str] = {**completions(), MAN: man_page()}
    different = [
        path for path, text in made.items() if not path.exists() or path.read_text() != text
    ]
    if check:
        for path in different:
            print(f"{path.relative_to(SHARE.parent)} is not what the command line says")
        if different:
            sys.exit("run tools/shell_files.py")
        return
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
