"""Selecting robots by their labels: `hw=v2`, `site in (graz, linz), !lab, role!=spare`. Terms are joined by commas: all must hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.errors import BadInput

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"{_WORD}\Z")
_EQUALS = re.compile(rf"({_WORD})\s*(!=|==?)\s*({_WORD}|)\Z")
_IN = re.compile(rf"({_WORD})\s+(in|not\s+in|notin)\s*\(([^()]*)\)\Z")
_LONGEST = 1000
FORMS = "key=value, key!=value, key in (a, b), key not in (a, b), key, !key"


@dataclass(frozen=True, slots=True)
class Term:
    """`values` None: whether the label is there at all."""

    key: str
    values: frozenset[str] | None
    negated: bool = False

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether the robot with these labels is meant. A label that is not there equals nothing."""
        value = labels.get(self.key)
        found = value is not None if self.values is None else value is not None and value in self.values
        return found is not self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """No terms: every robot."""

    terms: tuple[Term, ...] = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether all terms hold."""
        return all(term.fits(labels) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """Raises `BadInput` with the term that cannot be read and the forms that can."""
    if len(text) > _LONGEST:
        raise BadInput(f"a selector has at most {_LONGEST} characters")
    if not text.strip() or text.strip() == "*":
        return Selector()
    return Selector(tuple(_term(part.strip()) for part in _split(text)))


def _split(text: str) -> list[str]:
    """At commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _term(text: str) -> Term:
    if match := _IN.match(text):
        key, operator, listed = match.groups()
        values = [value.strip() for value in listed.split(",")]
        if not all(_KEY.match(value) for value in values):
            raise _wrong(text)
        return Term(key, frozenset(values), negated=operator != "in")
    if match := _EQUALS.match(text):
        key, operator, value = match.groups()
        return Term(key, frozenset({value}), negated=operator == "!=")
    bare = text.removeprefix("!").strip()
    if _KEY.match(bare):
        return Term(bare, None, negated=text.startswith("!"))
    raise _wrong(text)


def _wrong(text: str) -> BadInput:
    return BadInput(f"the selector term {text[:80]!r} cannot be read: write {FORMS}")
