"""`.env` files, read strictly and written so that the same is read again.

A line is empty, a comment (`#` first), or `NAME=value`, `export ` before it allowed. A value is plain (taken as it stands; no quotes, no `\\`, no
` #`), 'quoted' (taken as it stands) or "quoted" (with \\n, \\t, \\r, \\", \\$ and \\\\). Quoted ones may go on over several lines. Nothing is
expanded: `$HOME` is five letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.variables import checked_value, checked_variable

HEADER = "# Written by `lekiwi env pull`"
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_WRITE_ONLY = re.compile(r"# ([A-Za-z_][A-Za-z0-9_]*) is a secret:")
_ESCAPES: Mapping[str, str] = MappingProxyType(
    {"n": "\n", "t": "\t", "r": "\r", '"': '"', "$": "$", "\\": "\\", "`": "`"}
)


@dataclass(frozen=True)
class Dotenv:
    """`values` in the order of the file. `write_only`: names that `lekiwi env pull` put there as a comment."""

    values: Mapping[str, str]
    write_only: frozenset[str] = frozenset()


def read_dotenv(text: str, file: str) -> Dotenv:
    """Raises `BadInput` with `file` and the number of the line, and nothing of a value."""
    values: dict[str, str] = {}
    write_only: set[str] = set()
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            if found := _WRITE_ONLY.match(line):
                write_only.add(found[1])
            continue
        start = _NAME.match(line)
        if start is None:
            raise BadInput(f"{file}, line {number}: expected NAME=value, a comment, or nothing")
        name = start[1]
        if name in values:
            raise BadInput(f"{file}, line {number}: {name} is set a second time")
        try:
            checked_variable(name)
            value, more = _value(name, line[start.end() :], lines[at:])
            values[name] = checked_value(name, value)
        except BadInput as error:
            raise BadInput(f"{file}, line {number}: {error.message}") from None
        at += more
    return Dotenv(values, frozenset(write_only - values.keys()))


def _value(name: str, rest: str, following: list[str]) -> tuple[str, int]:
    """The value that begins with `rest`, and how many of the following lines belong to it."""
    quote = rest[:1]
    if quote not in ("'", '"'):
        plain = rest.rstrip()
        if wrong := re.search(r"['\"\\`]|\s#", plain):
            raise BadInput(f"the value of {name} has {wrong[0].strip()!r} in it: put it in 'quotes'")
        return plain, 0
    text, more = rest[1:], 0
    while True:
        end = _end(text, quote)
        if end is not None:
            break
        if more == len(following):
            raise BadInput(f"the value of {name} is never closed: a {quote} is missing")
        text += "\n" + following[more]
        more += 1
    after = text[end + 1 :].strip()
    if after and not after.startswith("#"):
        raise BadInput(
            f'after the value of {name} there is more: put a {quote} that belongs to it as \\{quote} into "quotes"'
        )
    return (_unescaped(name, text[:end]) if quote == '"' else text[:end]), more


def _end(text: str, quote: str) -> int | None:
    at = 0
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 2
            continue
        if text[at] == quote:
            return at
        at += 1
    return None


def _unescaped(name: str, text: str) -> str:
    def one(found: re.Match[str]) -> str:
        letter = found[1]
        if letter not in _ESCAPES:
            raise BadInput(
                f"the value of {name} has \\{letter} in it: \\n \\t \\r \\\" \\$ \\\\ are known; or put it in 'quotes'"
            )
        return _ESCAPES[letter]

    return re.sub(r"\\(.)", one, text, flags=re.DOTALL)


def line_for(name: str, value: str) -> str:
    """`NAME=value`, quoted where it has to be."""
    if _PLAIN.match(value):
        return f"{name}={value}"
    if "'" not in value and "\n" not in value:
        return f"{name}='{value}'"
    escaped = re.sub(r'([\\"$`])', r"\\\1", value).replace("\n", "\\n").replace("\r", "\\r")
    return f'{name}="{escaped}"'


def write_only_line(name: str, about: str) -> str:
    """The comment that stands for a value that nobody can read."""
    return f"# {name} is a secret: it can be set, not read ({about})"


def file_text(head: str, lines: Iterable[str]) -> str:
    """A whole file. `head`: what it is, in a line."""
    return "\n".join([f"{HEADER}: {head}", *lines]) + "\n"
