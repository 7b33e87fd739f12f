"""What may be written in one place of lekiwi.yaml. A form reads it, says it as a JSON schema, and says it in words: so the parser, the
schema for editors and the reference in docs/lekiwi-yaml.md cannot differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.strict_yaml import Value, span

E = TypeVar("E", bound=StrEnum)
T_co = TypeVar("T_co", covariant=True)

Schema = dict[str, object]
"""JSON Schema, draft 2020-12."""


class Form(Protocol[T_co]):
    """What may be written in one place."""

    def read(self, value: Value) -> T_co:
        """What is written. Raises `ProjectFileError` with what to write instead."""
        ...

    def schema(self) -> Schema:
        """What a JSON schema can say of it."""
        ...

    def words(self) -> str:
        """What may be written, for the reference."""
        ...

    def shown(self, read: object) -> str:
        """Something that was read, as a person writes it."""
        ...


@dataclass(frozen=True)
class Text:
    """Text that is not empty. `pattern`: what the whole of it must match, in the dialect that Python and ECMAScript share; `wrong`: what is
    said of text that does not. `never`: a pattern that it must not match, and what is said then."""

    said: str
    pattern: str = ""
    wrong: str = ""
    never: str = ""
    forbidden: str = ""

    def read(self, value: Value) -> str:
        text = value.text()
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise value.wrong(f"{text[:60]!r} {self.wrong}")
        if self.never and re.search(self.never, text):
            raise value.wrong(f"{text[:60]!r} {self.forbidden}")
        return text

    def schema(self) -> Schema:
        schema: Schema = {"type": "string", "pattern": f"^(?:{self.pattern})$" if self.pattern else r"\S"}
        return {**schema, "not": {"pattern": self.never}} if self.never else schema

    def words(self) -> str:
        return self.said

    def shown(self, read: object) -> str:
        return str(read)


@dataclass(frozen=True)
class Name:
    """A name as projects, environments and robots have them."""

    kind: str

    def read(self, value: Value) -> str:
        return named(self.kind, value, value.text())

    def schema(self) -> Schema:
        return {"type": "string", "pattern": NAME}

    def words(self) -> str:
        return "name (a-z, 0-9, `.`, `_`, `-`)"

    def shown(self, read: object) -> str:
        return str(read)


NAME = r"^(?!(?:current|deployments|head|null|previous|all|none|con)$)(?!.*\.\.)(?!.*\.(?:git|lock)$)[a-z0-9][a-z0-9._-]{0,49}$"
"""What `wire.ids.checked_name` takes."""


def named(kind: str, value: Value, text: str) -> str:
    """`text`, if it may name something of this kind; `value` is where it is written. Raises `ProjectFileError`."""
    from lekiwi_deploy.wire.ids import checked_name

    try:
        return checked_name(kind, text)
    except BadInput as error:
        raise value.wrong(error.message) from error


@dataclass(frozen=True)
class Truth:
    """`true` or `false`. `only`: the one of them that makes sense; `wrong`: what to do instead of writing the other."""

    only: bool | None = None
    wrong: str = "leave it out instead"

    def read(self, value: Value) -> bool:
        truth = value.truth()
        if self.only is not None and truth is not self.only:
            raise value.wrong(f"must be {self.shown(self.only)}: {self.wrong}")
        return truth

    def schema(self) -> Schema:
        return {"type": "boolean"} if self.only is None else {"const": self.only}

    def words(self) -> str:
        return "`true` or `false`" if self.only is None else f"`{self.shown(self.only)}`"

    def shown(self, read: object) -> str:
        return "true" if read else "false"


@dataclass(frozen=True)
class Null:
    """Nothing, written as `null`. `wrong`: what is said of anything else."""

    wrong: str

    def read(self, value: Value) -> None:
        if not value.is_null:
            raise value.wrong(self.wrong)

    def schema(self) -> Schema:
        return {"type": "null"}

    def words(self) -> str:
        return "`null`"

    def shown(self, read: object) -> str:
        return "null"


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def read(self, value: Value) -> int:
        return value.whole(self.low, self.high)

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def words(self) -> str:
        return f"whole number, {self.low} to {self.high}"

    def shown(self, read: object) -> str:
        return str(read)


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`, whole or with a point."""

    low: float
    high: float

    def read(self, value: Value) -> float:
        return value.number(self.low, self.high)

    def schema(self) -> Schema:
        return {"type": "number", "minimum": self.low, "maximum": self.high}

    def words(self) -> str:
        return f"number, {self.low:g} to {self.high:g}"

    def shown(self, read: object) -> str:
        return str(read)


@dataclass(frozen=True)
class Span:
    """A time span with its unit, from `low` to `high` seconds."""

    low: float
    high: float

    def read(self, value: Value) -> float:
        return value.seconds(self.low, self.high)

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"^[0-9]{1,7}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d)$"}

    def words(self) -> str:
        return f"time span, `{span(self.low)}` to `{span(self.high)}`"

    def shown(self, read: object) -> str:
        return span(float(str(read)))


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    def read(self, value: Value) -> str:
        return value.choice(self.options)

    def schema(self) -> Schema:
        return {"enum": list(self.options)}

    def words(self) -> str:
        return ", ".join(f"`{option}`" for option in self.options[:-1]) + f" or `{self.options[-1]}`"

    def shown(self, read: object) -> str:
        return str(read)


@dataclass(frozen=True)
class Member(Generic[E]):
    """One of an enumeration's words."""

    of: type[E]

    def read(self, value: Value) -> E:
        return self.of(value.choice(member.value for member in self.of))

    def schema(self) -> Schema:
        return Choice(tuple(member.value for member in self.of)).schema()

    def words(self) -> str:
        return Choice(tuple(member.value for member in self.of)).words()

    def shown(self, read: object) -> str:
        return str(read)
