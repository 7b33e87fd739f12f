"""The grammar of what names a deployment: `--to dep_8jK4 | v2.2.9 | commit:abc123 | 2-hours-ago | previous | @-2`.

Parsing only: text in, a tagged value out. What it means in an environment is decided in `resolution.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.durations import FORMS, When, parse_when

_HEX = re.compile(r"[0-9a-f]{1,40}\Z")
_ID = re.compile(r"dep_[0-9A-Za-z]{0,8}\Z", re.ASCII)
_BACK = re.compile(r"@-(\d{1,6})\Z", re.ASCII)
_VERSION = re.compile(r"v\d[0-9A-Za-z._+-]*\Z", re.ASCII)
_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+/-]{0,99}\Z", re.ASCII)
_LONGEST = 120
_SHORTEST_COMMIT = 4
_SHORTEST_BARE_COMMIT = 7


@dataclass(frozen=True, slots=True)
class Previous:
    """The last deployment marked good here before the current one."""


@dataclass(frozen=True, slots=True)
class IdPrefix:
    """The deployment whose id starts so; case matters."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Version:
    """The deployment of this version or tag; a leading `v` makes no difference."""

    name: str


@dataclass(frozen=True, slots=True)
class Commit:
    """The deployment of the commit that starts so, lower-case hex."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Alias:
    """The deployment that this label names."""

    name: str


@dataclass(frozen=True, slots=True)
class Back:
    """What was live `count` activations before the current one."""

    count: int


@dataclass(frozen=True, slots=True)
class Time:
    """What was live then."""

    when: When


Exact = Previous | IdPrefix | Version | Commit | Alias | Back | Time


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word and all that it may mean, in order: alias, tag, commit, time."""

    text: str
    readings: tuple[Exact, ...]


Selector = Exact | Word


_VERBS = ("list", "rm", "set")
"""Of `lekiwi alias`."""
_ALIAS = re.compile(r"[A-Za-z][0-9A-Za-z._-]{0,49}\Z", re.ASCII)


def checked_alias(name: str) -> str:
    """`name`, if it may be a label of a deployment. Raises `BadInput` for what reads as something else: an id, a version, a commit, a time."""
    if not _ALIAS.match(name) or name in _VERBS or name.endswith(".lock"):
        raise BadInput(
            f"{name[:60]!r} cannot be an alias: use 1-50 letters, digits and . _ -, starting with a letter, and not {', '.join(_VERBS)}"
        )
    selector = parse(name)
    readings = selector.readings if isinstance(selector, Word) else (selector,)
    for reading in readings:
        other = _OTHERS.get(type(reading))
        if isinstance(reading, Version) and len(readings) > 1:
            continue  # any word could be a tag
        if other is not None:
            raise BadInput(f"{name!r} cannot be an alias: as a selector it means {other}")
    return name


def parse(text: str | None) -> Selector:
    """The selector that `text` says; None is `previous`. Raises `BadInput` saying what was not understood."""
    if text is None:
        return Previous()
    word = text.strip()
    if not word or len(word) > _LONGEST or not word.isprintable():
        raise BadInput(f"{word[:40]!r} names no deployment: use an id, version, commit, time, previous or @-2")
    kind, colon, rest = word.partition(":")
    if colon and kind in ("commit", "tag", "alias"):
        return _prefixed(kind, rest)
    if word == "previous":
        return Previous()
    if word.startswith("dep_"):
        if not _ID.match(word) or word == "dep_":
            raise BadInput(f"{word!r} is no deployment id: dep_ and up to 8 letters or digits")
        return IdPrefix(word)
    if word.startswith("@"):
        found = _BACK.match(word)
        if not found or int(found[1]) == 0:
            raise BadInput(f"{word!r} is not understood: @-1 is one activation back, @-2 two")
        return Back(int(found[1]))
    if _VERSION.match(word):
        return Version(word)
    return _bare(word)


def _prefixed(kind: str, rest: str) -> Exact:
    if kind == "commit":
        prefix = rest.lower()
        if not _HEX.match(prefix) or len(prefix) < _SHORTEST_COMMIT:
            raise BadInput(f"'commit:{rest}' is no commit: give {_SHORTEST_COMMIT} to 40 hex digits")
        return Commit(prefix)
    if not _WORD.match(rest):
        raise BadInput(f"'{kind}:{rest}' names no {kind}")
    return Version(rest) if kind == "tag" else Alias(rest)


def _bare(word: str) -> Selector:
    readings: list[Exact] = []
    if _WORD.match(word):
        readings += [Alias(word), Version(word)]
    if _HEX.match(word.lower()) and len(word) >= _SHORTEST_BARE_COMMIT:
        readings.append(Commit(word.lower()))
    try:
        when = parse_when(word)
    except BadInput:
        if not readings:
            raise
        when = None
    if when is not None:
        readings.append(Time(when))
    if not readings:
        raise BadInput(f"{word!r} names no deployment: use an id, version, commit:…, previous, @-2 or a time ({FORMS})")
    return readings[0] if len(readings) == 1 else Word(word, tuple(readings))


_OTHERS = {
    Previous: "the last good deployment",
    IdPrefix: "a deployment's id",
    Version: "a version",
    Commit: "a commit",
    Back: "an activation",
    Time: "a time",
}
"""What a selector names, other than an alias."""
