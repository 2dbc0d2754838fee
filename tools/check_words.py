"""Check that texts are written in plain English: look for phrases that obscure their meaning.

The texts are the prose of Markdown files, the comments and strings of Python and C files, and
scripts as a whole.  FOLDERS lists the files, RULES the phrases and what to write instead, EXEMPT
the texts that must stay because programs compare them or because they are quotations.

    check_words.py [ROOT]
"""

import fnmatch
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Files, and folders with all files in them, relative to the top of the checkout.
FOLDERS = (
    *("README.md", "CONTRIBUTING.md", "CHANGES.md", "Makefile", "meson.build", "pyproject.toml"),
    *(".ci", "benchmarks", "docs", "examples", "src", "tests", "tools"),
)
#: Patterns of files that are not checked.  This script and its test quote every phrase.
SKIPPED = (*("tools/check_words.py", "tests/*test_check_words.py"),)
#: Texts that may stay: a pattern of files, and the text as it is in the file.
EXEMPT: tuple[tuple[str, str], ...] = ()

_BE = r"(?:am|is|are|was|were|be|been|has|have|had|can|cannot|could|may|must|does|do|did|will)"
_BODY = r"(?:some|any|every|no)body"
#: The end of a clause.
_END = r"(?=[.,;:)\0]|$)"


class Rule(NamedTuple):
    """A phrase and its replacement.

    The phrase is a regular expression that begins at a word.  A space in it matches any white
    space, also between two lines.  A null character in the text separates two texts.
    """

    phrase: str
    instead: str


RULES = (
    Rule(rf"{_BODY}\b", "name the process, thread or user"),
    Rule(r"to be had\b", "available, or can be read"),
    Rule(r"(?:is|are|was|were) (?:not )?to be\b", "must be, or will be"),
    Rule(r"(?:tell|tells|told|telling) of\b", "describe, report, mention"),
    Rule(r"(?:is|are|was|were) (?:told|said)\b", "name the text that says it"),
    Rule(r"Who(?:ever|m)?\b[^.?!\0]{3,200}[.;:]", "name the thing: the process that"),
    Rule(
        rf"(?:all|and|any|as|but|by|for|from|of|others|than|those|to|{_BODY}) who(?:ever|m)?\b",
        "name the thing: the process that",
    ),
    Rule(r"What\b[^.?!\0]{3,200}\.(?!\w)", "begin with the thing that the sentence is about"),
    Rule(r"Whether\b", "Return True if"),
    Rule(
        rf"where (?:\S+ ){{1,3}}?{_BE} (?:no|not|none|nothing|there|missing|given|asked|told"
        r"|known|allowed|lacking|wrong)\b",
        "if",
    ),
    Rule(r"where (?:it|that|there|this|one|they|nothing|he|she) (?:is|are|was|were)\b", "if"),
    Rule(r"(?:also|and|but|except|not|only|or|so|it|them|None|False|0),? where\b", "if"),
    Rule(r"(?:so|that) (?:many|often)\b(?! as\b)", "give the number, or its name"),
    Rule(r"in words\b", "as text"),
    Rule(rf"(?:made|is|are|be|done|stay|stays|was|remain) so{_END}", "repeat what so stands for"),
    Rule(r"all that\b", "everything that, or name it"),
    Rule(r"besides\b", "also"),
    Rule(rf"as (?:\S+ ){{1,3}}?(?:does|do|did){_END}", "like"),
    Rule(r"for ever\b", "forever, or without limit"),
    Rule(r"(?:has|have|had|is|are) gone\b", "no longer exists, was removed, has ended"),
    Rule(r"look(?:s|ed|ing)? into\b", "read, inspect"),
    Rule(r"sisters?\b", "related functions"),
    Rule(r"strangers?\b", "another program"),
    Rule(r"anew\b", "again"),
    Rule(r"(?<!are\s)(?<!be\s)all the same\b", "nevertheless"),
    Rule(r"again and again\b", "repeatedly"),
    Rule(r"in the making\b", "during its creation"),
    Rule(r"(?:let|lets|letting) go\b", "release"),
    Rule(rf"(?:go|goes|went|going) on(?:{_END}| (?=as|after|until|waiting|when|with))", "continue"),
    Rule(r"(?<=[,;]\s)else (?!if)", "otherwise"),
    Rule(r"(?<!here\s)(?<!\sit\s)is no (?!longer|more|other|such)[a-z]", "is not a"),
    Rule(r"(?:it|that|which|this|they) (?:is|are) no (?!longer|more|other|such)[a-z]", "is not a"),
    Rule(r"of (?:ours|theirs|its own making)\b", "name the owner"),
    Rule(r"what(?:ever)? (?:there is|was there|stands)\b", "name the thing"),
    Rule(r"(?:stand|stands|stood) (?:in|for|behind|there)\b", "is in, means, follows"),
    Rule(r"in (?:its|their|our) turn\b", "then"),
    Rule(r"(?:mend|mends|mended|mending)\b", "fix, or say what to do"),
    Rule(r"in the way\b", "say what it prevents"),
    Rule(r"sees? to (?:it|that)\b", "ensure"),
    Rule(r"by what (?:it|they|is)\b", "name the thing"),
    Rule(r"by now\b", "now"),
    Rule(r"(?:come|comes|came) (?:through|out)\b(?! of)", "is raised, or is passed on"),
    Rule(r"what becomes? of\b", "name the outcome"),
    Rule(r"(?:go|goes|went) with (?:it|them|the|its)\b", "is removed with, or is freed with"),
    Rule(r"look(?:s|ed)? whether\b", "check that"),
    Rule(r"(?:a|any|the) slip\b", "a mistake"),
)


def compiled(phrase: str) -> re.Pattern[str]:
    """Compile a phrase; only one that begins with a capital letter distinguishes case."""
    flags = re.NOFLAG if phrase[0].isupper() else re.IGNORECASE
    return re.compile(r"\b(?:" + phrase.replace(" ", r"\s+") + ")", flags)


PHRASES = [(compiled(rule.phrase), rule) for rule in RULES]


class Problem(NamedTuple):
    """A phrase at a line of a file, and what to write instead."""

    path: str
    line: int
    text: str


# The functions below return a text of as many lines, in which null characters take the place of
# code, so that a phrase may extend over the lines of a comment but not over two comments.


def hidden(text: str) -> str:
    """Return null characters for code, with its white space."""
    return re.sub(r"\S", "\0", text)


def paragraphs(text: str) -> str:
    """Separate the texts before and after each empty line."""
    return re.sub(r"\n[ \t]*(?=\n)", "\n\0", text)


def of_markdown(text: str) -> str:
    """Return the prose of a page, with a word in place of inline code."""
    text = re.sub(r"^ *```.*?^ *```$", lambda match: hidden(match[0]), text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]+`", lambda match: "x" * len(match[0]), text)
    text = re.sub(r"\]\([^)\s]*\)", lambda match: "x" * len(match[0]), text)
    text = re.sub(r"^(#.*|\|[-| ]+\|)$", lambda match: hidden(match[0]), text, flags=re.M)
    return re.sub(r"\||^ *[-*] |^ *\d+\. ", "\0", text, flags=re.M)


def of_python(text: str) -> str:
    """Return the comments of a module, and its strings that hold a space."""
    lines = [hidden(line) for line in text.splitlines(keepends=True)]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        prose = token.string
        if token.type == tokenize.COMMENT:
            prose = re.sub(r"^#:?", lambda match: " " * len(match[0]), prose)
        elif token.type in STRINGS and " " in prose:
            prose = re.sub(r"^\w*(\"{3}|'{3}|[\"'])|(\"{3}|'{3}|[\"'])$", blank, prose)
            prose = re.sub(r"\{[^{}\n]*\}", lambda match: "x" * len(match[0]), prose)
        else:
            continue
        first, column = token.start
        for number, part in enumerate(prose.splitlines(), first - 1):
            line, start = lines[number], column if number == first - 1 else 0
            lines[number] = line[:start] + part + line[start + len(part) :]
    return "".join(lines)


#: Strings; from 3.12 on the text of an f-string is a token of its own.
STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def blank(match: re.Match[str]) -> str:
    """Return as many spaces."""
    return " " * len(match[0])


def of_c(text: str) -> str:
    """Return the comments of a C file, and its strings that hold a space."""
    string = r'"(?:\\.|[^"\\\n])*"'
    # Strings that follow each other, also in a macro of several lines, are one text.
    pattern = rf"/\*.*?\*/|//[^\n]*|{string}(?:[\s\\]*{string})*|'(?:\\.|[^'\\\n])*'"
    pieces, end = [], 0
    for match in re.finditer(pattern, text, flags=re.DOTALL):
        prose = match[0]
        if prose[0] == "/":
            prose = re.sub(r"^/[*/]|\*/$|^ \*", blank, prose, flags=re.MULTILINE)
        elif prose[0] == '"' and " " in prose:
            prose = re.sub(r'\\n|\\|"', blank, prose)
        else:
            prose = hidden(prose)
        pieces += [hidden(text[end : match.start()]), prose]
        end = match.end()
    return "".join([*pieces, hidden(text[end:])])


def of_script(text: str) -> str:
    """Return the whole text, without the characters that begin a comment."""
    return re.sub(r"^ *(#|//)", blank, text, flags=re.MULTILINE)


READERS = {
    ".md": of_markdown,
    ".py": of_python,
    ".pyi": of_python,
    ".c": of_c,
    ".h": of_c,
    ".pl": of_script,
    ".php": of_script,
    ".sh": of_script,
    ".build": of_script,
    ".toml": of_script,
    ".supp": of_script,
    "": of_script,
}


def files(root: Path) -> Iterator[Path]:
    """Yield the files to check."""
    for name in FOLDERS:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            relative = file.relative_to(root).as_posix()
            skipped = any(fnmatch.fnmatch(relative, pattern) for pattern in SKIPPED)
            if file.is_file() and file.suffix in READERS and not skipped:
                yield file


def check_file(root: Path, file: Path) -> Iterator[Problem]:
    """Yield the phrases in a file that no exempt text contains."""
    name, text = file.relative_to(root).as_posix(), file.read_text()
    prose = paragraphs(READERS[file.suffix](text))
    for pattern, exempt in EXEMPT:
        if fnmatch.fnmatch(name, pattern):
            if exempt not in text:
                yield Problem(name, 1, f"{exempt!r} is not here: remove it from EXEMPT")
            prose = prose.replace(exempt, re.sub(r"\S", "\0", exempt))
    for phrase, rule in PHRASES:
        for match in phrase.finditer(prose):
            line = prose.count("\n", 0, match.start()) + 1
            found = " ".join(match[0].split())
            yield Problem(name, line, f'"{found}": {rule.instead}')


def main() -> int:
    """Check the tree that is named, otherwise the one that contains this script."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    problems = [problem for file in files(root) for problem in check_file(root, file)]
    for path, line, text in sorted(problems):
        print(f"{path}:{line}: {text}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
