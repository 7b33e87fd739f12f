"""Which robots an environment has (`groups`, `select`), what groups are (`groups` at the top), and which branch goes where (`branches`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lekiwi_deploy.server.builds.composed_forms import Either, Several
from lekiwi_deploy.server.builds.form_tables import Key
from lekiwi_deploy.server.builds.forms import NAME, Name, Schema, named
from lekiwi_deploy.server.builds.rollout_file import Labels
from lekiwi_deploy.server.builds.strict_yaml import Value

MOST_GROUPS = 100
MOST_BRANCHES = 100
_GROUP = Name("a group")
_LABELS = Labels()
_PATTERN = r"(?!refs/)[^\0]{1,100}"
_NEVER = r"[\u0000-\u0020~^:?\[\\\u007f]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock$"


class _OneGroup:
    """A single group, for the list of them."""

    def read(self, value: Value) -> tuple[str, ...]:
        return (_GROUP.read(value),)

    def schema(self) -> Schema:
        return _GROUP.schema()

    def words(self) -> str:
        return "name of a group"

    def shown(self, read: object) -> str:
        return str(read)


class Selectors:
    """`NAME: "site=lab"`, for each group."""

    def read(self, value: Value) -> dict[str, str]:
        found = value.mapping(', for example {lab-robots: "site=lab"}')
        if len(found) > MOST_GROUPS:
            raise value.wrong(f"has {len(found)} groups, {MOST_GROUPS} are allowed")
        return {named("a group", one, name): _LABELS.read(one) for name, one in found.items()}

    def schema(self) -> Schema:
        return {"type": "object", "propertyNames": {"pattern": NAME}, "additionalProperties": _LABELS.schema()}

    def words(self) -> str:
        return "`{NAME: labels}`"

    def shown(self, read: object) -> str:
        return "{}"


class Branches:
    """`PATTERN: TARGET`, in order; `*` stands for any text."""

    def read(self, value: Value) -> tuple[tuple[str, str], ...]:
        found = value.mapping(", for example {main: production}")
        if len(found) > MOST_BRANCHES:
            raise value.wrong(f"has {len(found)} patterns, {MOST_BRANCHES} are allowed")
        for pattern, one in found.items():
            if not re.fullmatch(_PATTERN, pattern) or re.search(_NEVER, pattern):
                raise one.wrong(f"{pattern[:60]!r} cannot be a branch's name, nor a pattern of such names")
        return tuple((pattern, named("an environment or group", one, one.text())) for pattern, one in found.items())

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{_PATTERN})$", "not": {"pattern": _NEVER}},
            "additionalProperties": {"type": "string", "pattern": NAME},
        }

    def words(self) -> str:
        return "`{BRANCH: NAME}`"

    def shown(self, read: object) -> str:
        return "{" + ", ".join(f"{one}: {other}" for one, other in read) + "}" if isinstance(read, Iterable) else ""


GROUPS: Key[tuple[str, ...]] = Key(
    "groups",
    Either(_OneGroup(), Several(_GROUP, "names of groups"), lambda value: not value.is_list),
    "Its robots are those of any of these groups. A group that nobody defined is the robots with the label `group=NAME`.",
    (),
    "those that people put there, see `select`",
)
SELECT: Key[str | None] = Key(
    "select",
    _LABELS,
    "Its robots are those with these labels (beside those of its `groups`).",
    None,
    "those of its `groups`, else those that people put there",
)
NAMED_GROUPS: Key[dict[str, str]] = Key(
    "groups", Selectors(), "Names for sets of robots. A robot belongs to a group as long as its labels fit.", {}, "none"
)
BRANCHES: Key[tuple[tuple[str, str], ...]] = Key(
    "branches",
    Branches(),
    "Which branch goes where: to an environment, or to the group of exactly one. The first that fits counts, after an environment's own "
    "`branch`. A pattern with `*` (any text) makes a preview for each branch that it fits, where these robots are lent: see `preview`.",
    (),
    "see [environments.md](environments.md#branches)",
)
