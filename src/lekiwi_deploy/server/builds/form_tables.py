"""Mappings in lekiwi.yaml: their known keys, each with its form, default and documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lekiwi_deploy.server.builds.forms import Form, Schema
from lekiwi_deploy.server.builds.strict_yaml import Value

T = TypeVar("T")


class Required:
    """The default of a key that has none."""


REQUIRED = Required()


@dataclass(frozen=True)
class Key(Generic[T]):
    """One key. `default`: what holds without it; `without`: that in words, where the value itself says nothing. `doc`: one or two sentences."""

    name: str
    form: Form[T]
    doc: str
    default: T | Required = REQUIRED
    without: str = ""

    def read(self, given: Mapping[str, Value]) -> T:
        """What was given, else the default. A required key was looked for by `Table.given`."""
        if self.name in given:
            return self.form.read(given[self.name])
        assert not isinstance(self.default, Required)
        return self.default

    @property
    def required(self) -> bool:
        """Whether it must be there."""
        return isinstance(self.default, Required)

    def shown_default(self) -> str:
        """What holds without it, for the reference; empty: it must be there."""
        if self.required or self.without:
            return self.without
        return f"`{self.form.shown(self.default)}`"

    def schema(self) -> Schema:
        """With its documentation, for an editor."""
        doc = self.doc.replace("`", "")
        return {
            "description": doc if self.required else f"{doc} Default: {self.shown_default().replace('`', '')}.",
            **self.form.schema(),
        }


@dataclass(frozen=True)
class Table(Generic[T]):
    """A mapping with known keys. `build(value, given)` makes what it means out of what is written, and checks what no single key can
    say; `rules`: as much of that as a JSON schema can say. `hint`: an example for whoever wrote something else, or left out a required key."""

    said: str
    keys: tuple[Key[Any], ...]
    build: Callable[[Value, Mapping[str, Value]], T]
    hint: str = ""
    rules: Schema = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The known keys."""
        return tuple(key.name for key in self.keys)

    def given(self, value: Value) -> dict[str, Value]:
        """What is written, by key. Raises `ProjectFileError` for an unknown key and for a required one that is missing."""
        example = f", for example {self.hint}" if self.hint else ""
        given = value.keys(self.names, example)
        for key in self.keys:
            if key.required and key.name not in given:
                raise value.wrong(f"needs `{key.name}`{example}")
        return given

    def read(self, value: Value) -> T:
        return self.build(value, self.given(value))

    def schema(self) -> Schema:
        required = [key.name for key in self.keys if key.required]
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {key.name: key.schema() for key in self.keys},
            **({"required": required} if required else {}),
            **self.rules,
        }

    def words(self) -> str:
        return self.said

    def shown(self, read: object) -> str:
        return "{}"


@dataclass(frozen=True)
class Kinds(Generic[T]):
    """A mapping of one of several kinds, told by which kind's first key it has."""

    said: str
    tables: tuple[Table[T], ...]
    hint: str

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that tell the kinds."""
        return tuple(table.keys[0].name for table in self.tables)

    def table(self, value: Value) -> Table[T]:
        """The kind that is meant. Raises `ProjectFileError`."""
        named = value.mapping(f", for example {self.hint}")
        meant = [table for table in self.tables if table.keys[0].name in named]
        if len(meant) != 1:
            if not meant and named:
                value.keys(dict.fromkeys(name for table in self.tables for name in table.names))
            raise value.wrong(f"must have exactly one of {', '.join(self.names)}, for example {self.hint}")
        return meant[0]

    def read(self, value: Value) -> T:
        return self.table(value).read(value)

    def schema(self) -> Schema:
        return {"anyOf": [table.schema() for table in self.tables]}

    def words(self) -> str:
        return self.said

    def shown(self, read: object) -> str:
        return "{}"
