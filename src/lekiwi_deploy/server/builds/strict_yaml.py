"""YAML read without surprises: every value knows its file, line and key, and is exactly of the type that is asked for.

No anchors, aliases, tags, merge keys, duplicate keys; no `on` that means true. Errors are `ProjectFileError`s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from lekiwi_deploy.errors import BadInput

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
MAX_NODES = 20_000

_TEXT, _INT, _FLOAT, _BOOL, _NULL, _DATE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")
)
_DURATION = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,14})\Z")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?\Z")


class ProjectFileError(BadInput):
    """A mistake in lekiwi.yaml: the message has file, line, key, and what to write instead. `file` empty: it was given by itself."""

    def __init__(self, file: str, line: int, key: str, what: str) -> None:
        at = f"{file}:{line}: " if file else ""
        where = f"{at}{key}: " if key else at
        super().__init__(where + what, details={"file": file, "line": line, "key": key})


@dataclass(frozen=True, slots=True)
class Value:
    """A node of the document. `key` is its path: `services.web.port`."""

    file: str
    key: str
    node: yaml.Node

    def wrong(self, what: str) -> ProjectFileError:
        """The error that `what` is wrong with this value."""
        return ProjectFileError(self.file, self.node.start_mark.line + 1, self.key, what)

    @property
    def is_null(self) -> bool:
        """Whether it is `null`, or nothing at all."""
        return self.node.tag == _NULL

    def mapping(self, hint: str = "") -> dict[str, Value]:
        """Key -> value, as written and in order."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"must be a mapping (key: value){hint}, not {self.kind}")
        found: dict[str, Value] = {}
        for key_node, node in self.node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                raise Value(self.file, self.key, key_node).wrong("a key must be a word")
            name = str(key_node.value)
            if name in found:
                line = found[name].node.start_mark.line + 1
                raise Value(self.file, self._below(name), key_node).wrong(f"is there twice (first in line {line})")
            found[name] = Value(self.file, self._below(name), node)
        return found

    def keys(self, known: Iterable[str], hint: str = "") -> dict[str, Value]:
        """Like `mapping`; refuses keys that are not `known`, with the nearest one."""
        names = tuple(known)
        found = self.mapping(hint)
        for name, value in found.items():
            if name not in names:
                raise unknown(value, name, names)
        return found

    def items(self) -> list[Value]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong(f"must be a list, not {self.kind}")
        return [Value(self.file, f"{self.key}[{number}]", node) for number, node in enumerate(self.node.value)]

    @property
    def is_truth(self) -> bool:
        """Whether YAML takes it for true or false."""
        return self.node.tag == _BOOL

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.node, yaml.MappingNode)

    def text(self) -> str:
        """Text that is not empty."""
        if self.node.tag != _TEXT or not isinstance(self.node, yaml.ScalarNode):
            quoted = ": write it in quotes" if isinstance(self.node, yaml.ScalarNode) and self.node.value else ""
            raise self.wrong(f"must be text, not {self.kind}{quoted}")
        value = str(self.node.value)
        if not value.strip():
            raise self.wrong("must not be empty")
        if "\0" in value:
            raise self.wrong("must not contain a NUL character")
        return value

    def texts(self) -> tuple[str, ...]:
        """A list of texts, at least one."""
        values = tuple(item.text() for item in self.items())
        if not values:
            raise self.wrong("must not be an empty list")
        return values

    def truth(self) -> bool:
        """`true` or `false`; what YAML 1.1 also takes for it (`on`, `yes`) is refused."""
        if self.node.tag == _BOOL and str(self.node.value).lower() in ("true", "false"):
            return str(self.node.value).lower() == "true"
        raise self.wrong(f"must be true or false, not {self.kind}")

    def whole(self, low: int, high: int) -> int:
        """A whole number, decimal, between `low` and `high`."""
        if self.node.tag != _INT or not _WHOLE.match(str(self.node.value)):
            raise self.wrong(f"must be a whole number, not {self.kind}")
        value = int(self.node.value)
        if not low <= value <= high:
            raise self.wrong(f"must be between {low} and {high}, not {value}")
        return value

    def number(self, low: float, high: float) -> float:
        """A number, whole or with a point, between `low` and `high`."""
        written = str(self.node.value)
        if self.node.tag not in (_INT, _FLOAT) or not _NUMBER.match(written):
            raise self.wrong(f"must be a number, not {self.kind}")
        value = float(written)
        if not low <= value <= high:
            raise self.wrong(f"must be between {low:g} and {high:g}, not {written}")
        return value

    def seconds(self, low: float, high: float) -> float:
        """A span such as `500ms`, `2s`, `10m`, `1h`, between `low` and `high` seconds."""
        written = str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else ""
        if self.node.tag in (_INT, _FLOAT):
            raise self.wrong(f"needs a unit: write {written}s, or 500ms, 2s, 10m, 1h")
        match = _DURATION.match(written)
        if self.node.tag != _TEXT or match is None:
            raise self.wrong(f"must be a time span such as 500ms, 2s, 10m or 1h, not {self.kind}")
        value = float(match[1]) * _SECONDS[match[2]]
        if not low <= value <= high:
            raise self.wrong(f"must be between {span(low)} and {span(high)}, not {written}")
        return value

    def choice(self, options: Iterable[str]) -> str:
        """One of `options`."""
        names = tuple(options)
        value = self.text()
        if value not in names:
            raise self.wrong(f"must be one of {', '.join(names)}, not {value[:60]!r}{_nearest(value, names)}")
        return value

    def _below(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    @property
    def scalar(self) -> str:
        """The text that is written; empty when it is anything but text."""
        return str(self.node.value) if isinstance(self.node, yaml.ScalarNode) and self.node.tag == _TEXT else ""

    @property
    def is_number(self) -> bool:
        """Whether it is a number."""
        return self.node.tag in (_INT, _FLOAT)

    @property
    def date(self) -> str | None:
        """The date as it is written; None: it is anything else."""
        return str(self.node.value) if self.node.tag == _DATE else None

    @property
    def kind(self) -> str:
        """What is written, for messages: `a list`, `the number 5`, …"""
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        written = str(self.node.value)[:60]
        match self.node.tag:
            case t if t == _NULL:
                return "nothing"
            case t if t in (_INT, _FLOAT):
                return f"the number {written}"
            case t if t == _BOOL:
                return f"the truth value {written!r}" if written.lower() in ("true", "false") else repr(written)
            case t if t == _TEXT:
                return repr(written)
            case _:
                return f"{written!r} (which YAML takes for a date or the like)"


def unknown(value: Value, name: str, known: Iterable[str]) -> ProjectFileError:
    """The error that `name` is no key here, with the nearest of `known`."""
    names = tuple(known)
    near = _nearest(name, names) or f"; known are {', '.join(names)}"
    line = value.node.start_mark.line + 1
    return ProjectFileError(value.file, line, value.key, f"unknown key {name[:60]!r}{near}")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def span(seconds: float) -> str:
    """`seconds` as it is written: 500ms, 2s, 10m, 1h, 2d."""
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"


def read_document(data: bytes, file: str) -> Mapping[str, Value]:
    """The top-level mapping of the YAML document in `data`; empty when there is nothing in it.

    Raises `ProjectFileError`.
    """
    if len(data) > MAX_BYTES:
        raise ProjectFileError(file, 1, "", f"the file has {len(data)} bytes, {MAX_BYTES} are allowed")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ProjectFileError(file, line, "", "the file is not UTF-8 text") from error
    try:
        _check_events(text, file)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ProjectFileError(file, line, "", "the file contains a character that YAML does not allow") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise ProjectFileError(file, mark.line + 1 if mark else 1, "", f"not valid YAML: {problem}") from error
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _NULL):
        return {}
    return Value(file, "", root).mapping()


def read_value(text: str, key: str, *, plain: bool = False) -> Value:
    """One value, written on its own. `key`: its path. `plain`: it is text, unless it is null, quoted, a list or a mapping: signs that YAML
    takes for its own need no quotes.

    Raises `ProjectFileError` without a file.
    """
    mark = yaml.Mark("", 0, 0, 0, "", 0)
    if len(text) > MAX_BYTES:
        raise ProjectFileError("", 1, key, f"has {len(text)} characters, {MAX_BYTES} are allowed")
    try:
        _check_events(text, "")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (ProjectFileError, yaml.YAMLError) as error:
        if not plain:
            why = error.message if isinstance(error, ProjectFileError) else f"{text[:60]!r} is not valid YAML"
            raise ProjectFileError("", 1, key, why) from error
        root = yaml.ScalarNode(_TEXT, text, mark, mark)
    if root is None:
        root = yaml.ScalarNode(_NULL, "", mark, mark)
    if plain and isinstance(root, yaml.ScalarNode) and root.style is None and root.tag != _NULL:
        root = yaml.ScalarNode(_TEXT, text.strip(), mark, mark)
    return Value("", key, root)


def _check_events(text: str, file: str) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ProjectFileError(file, line, "", "anchors and aliases (& and *) are not supported: write it out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ProjectFileError(file, line, "", f"the tag {tag[:60]} is not supported: remove it")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or number > MAX_NODES:
            raise ProjectFileError(file, line, "", "the file is nested too deeply or has too many entries")
