"""Forms made of others: lists, alternatives, commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lekiwi_deploy.server.builds.forms import Form, Schema
from lekiwi_deploy.server.builds.spec import shell
from lekiwi_deploy.server.builds.strict_yaml import Value

T = TypeVar("T")


@dataclass(frozen=True)
class Several(Generic[T]):
    """A list with at least one entry and at most `most`, none of them twice unless `repeats`."""

    entry: Form[T]
    said: str
    most: int = 100
    repeats: bool = False

    def read(self, value: Value) -> tuple[T, ...]:
        items = value.items()
        if not items:
            raise value.wrong("must not be an empty list")
        if len(items) > self.most:
            raise value.wrong(f"has {len(items)} entries, {self.most} are allowed")
        found: list[T] = []
        for item in items:
            one = self.entry.read(item)
            if one in found and not self.repeats:
                raise item.wrong(f"{self.entry.shown(one)} is there twice")
            found.append(one)
        return tuple(found)

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "minItems": 1, "maxItems": self.most, "items": self.entry.schema()}
        return schema if self.repeats else {**schema, "uniqueItems": True}

    def words(self) -> str:
        return f"list of {self.said}"

    def shown(self, read: object) -> str:
        return "[" + ", ".join(self.entry.shown(one) for one in read) + "]" if isinstance(read, Iterable) else ""


@dataclass(frozen=True)
class Either(Generic[T]):
    """One form or another; `is_first` tells by the look of it which is meant."""

    first: Form[T]
    second: Form[T]
    is_first: Callable[[Value], bool]

    def read(self, value: Value) -> T:
        return self.first.read(value) if self.is_first(value) else self.second.read(value)

    def schema(self) -> Schema:
        return {"anyOf": [self.first.schema(), self.second.schema()]}

    def words(self) -> str:
        return f"{self.first.words()}, or {self.second.words()}"

    def shown(self, read: object) -> str:
        return self.second.shown(read)


@dataclass(frozen=True)
class Command:
    """A program: an argument list, or a text for /bin/sh."""

    def read(self, value: Value) -> tuple[str, ...]:
        return value.texts() if value.is_list else shell(value.text())

    def schema(self) -> Schema:
        word: Schema = {"type": "string", "pattern": r"\S"}
        return {"anyOf": [word, {"type": "array", "minItems": 1, "items": word}]}

    def words(self) -> str:
        return "command: an argument list, or a text for `/bin/sh`"

    def shown(self, read: object) -> str:
        return " ".join(map(str, read)) if isinstance(read, tuple) else str(read)
