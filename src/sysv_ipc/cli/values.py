"""The conversion of the command line's arguments: numbers, sizes, keys, names of objects, modes."""

import argparse
import grp
import math
import pwd
import re
import shlex
from collections.abc import Callable

import sysv_ipc

from .objects import KIND_ALIASES, KINDS, Kind, Name


def number(text: str, hint: str = "") -> int:
    """Convert a number, decimal or 0x hexadecimal.  The error ends with the hint."""
    if not re.fullmatch(r"-?(\d+|0[xX][0-9a-fA-F]+)", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number (decimal or 0x hexadecimal){hint}"
        )
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
    """Convert a key, or name:NAME, which is the key that key_from_name() makes from NAME."""
    if text.startswith("name:"):
        return _key_of_name(text.removeprefix("name:"))
    value = number(text, f"; for a name, use {shlex.quote('name:' + text)}" if text else "")
    if not -(2**31) <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not a key: keys have 32 bits")
    if value == 0:
        raise argparse.ArgumentTypeError(
            f"{text} is IPC_PRIVATE, which identifies no object: {instead_of_0}"
        )
    return value - 2**32 if value >= 2**31 else value


def _key_of_name(name: str) -> int:
    if not name:
        # This is more often an empty variable of a script than a name that programs have agreed on.
        raise argparse.ArgumentTypeError("there is no name after name:")
    # Bytes that the locale cannot decode are surrogates here; they become the same bytes again.
    return sysv_ipc.key_from_name(name.encode(errors="surrogateescape"))


def identifier(text: str) -> int:
    """Convert an id."""
    value = natural(text)
    if value >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not an id: ids have 31 bits")
    return value


def object_name(text: str) -> Name:
    """Convert a key, name:NAME or id:N to the name of an object."""
    if text.startswith("id:"):
        return Name("id", identifier(text.removeprefix("id:")))
    return Name("key", key(text))


#: A change of permission bits: it gets the bits and returns others.
ModeChange = Callable[[int], int]


def mode_change(text: str) -> ModeChange:
    """Convert permission bits as for chmod(1): octal (640), or symbolic (u=rw,g+r)."""
    if re.fullmatch(r"(0o?)?[0-7]{1,3}", text, re.ASCII):
        bits = int(text.removeprefix("0o"), 8)
        return lambda _: bits
    clauses = [re.fullmatch(r"([ugoa]*)((?:[-+=][rwx]*)+)", one) for one in text.split(",")]
    if None in clauses:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a mode: give octal digits, such as 600, or letters, such as g+r"
        )
    steps = [
        (_classes(clause[1]), *step)
        for clause in clauses
        if clause is not None
        for step in re.findall(r"([-+=])([rwx]*)", clause[2])
    ]

    def change(bits: int) -> int:
        for classes, operator, letters in steps:
            chosen = sum(4 >> "rwx".index(letter) for letter in set(letters)) * 0o111 & classes
            kept = bits & ~classes if operator == "=" else bits
            bits = kept & ~chosen if operator == "-" else kept | chosen
        return bits

    return change


def _classes(letters: str) -> int:
    """Return the mask of the bits of owner (u), group (g) and others (o)."""
    if not letters or "a" in letters:
        return 0o777
    return sum({"u": 0o700, "g": 0o070, "o": 0o007}[letter] for letter in set(letters))


def mode(text: str) -> int:
    """Convert the permission bits of a new object."""
    return mode_change(text)(0o600)


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
    """Convert the name of a kind, or an alias."""
    name = KIND_ALIASES.get(text, text)
    if name not in KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a kind: choose from {', '.join(KINDS)}")
    return KINDS[name]


def owner(text: str) -> int:
    """Convert the name or number of a user to the uid."""
    return _name_or_number(text, "user", lambda name: pwd.getpwnam(name).pw_uid)


def owner_and_group(text: str) -> tuple[int | None, int | None]:
    """Convert USER, USER:GROUP or :GROUP, as for chown(1), to uid and gid."""
    user, _, group = text.partition(":")
    if not user and not group:
        raise argparse.ArgumentTypeError(f"{text!r} names neither a user nor a group")
    return owner(user) if user else None, _group(group) if group else None


def _group(text: str) -> int:
    return _name_or_number(text, "group", lambda name: grp.getgrnam(name).gr_gid)


def _name_or_number(text: str, what: str, find: Callable[[str], int]) -> int:
    try:
        return find(text)
    except KeyError:
        pass
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"there is no {what} {text!r}")
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
