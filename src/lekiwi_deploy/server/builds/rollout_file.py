"""An environment's `rollout`: the steps in which its robots get a deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.labels import FORMS, parse_selector
from lekiwi_deploy.server.builds.composed_forms import Several
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Schema, Span, Truth, Whole
from lekiwi_deploy.server.builds.quantities import Amount
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.policy import RolloutStep

MOST_STEPS = 20


class Labels:
    """A selector of robots by their labels."""

    def read(self, value: Value) -> str:
        text = value.text()
        try:
            parse_selector(text)
        except BadInput as error:
            raise value.wrong(error.message) from error
        return text

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"\S"}

    def words(self) -> str:
        return f"labels: {FORMS}"

    def shown(self, read: object) -> str:
        return str(read)


class _Unavailable:
    """A number of robots, in all or for each value of a label: `3`, `2 per site`."""

    _PATTERN = r"([1-9][0-9]{0,5})(?: per ([A-Za-z0-9][A-Za-z0-9._/-]{0,62}))?"

    def read(self, value: Value) -> tuple[int, str | None]:
        if value.is_number:
            return value.whole(1, 999_999), None
        match = re.fullmatch(self._PATTERN, value.scalar)
        if match is None:
            raise value.wrong(f"must be a number of robots such as 3, or 2 per site, not {value.kind}")
        return int(match[1]), match[2]

    def schema(self) -> Schema:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 999_999},
                {"type": "string", "pattern": f"^{self._PATTERN}$"},
            ]
        }

    def words(self) -> str:
        return "number of robots, `3` or `2 per LABEL`"

    def shown(self, read: object) -> str:
        return str(read)


def percentage(low: float, high: float = 100) -> Amount:
    """A share with its sign: `25%`. A bare number is taken too, in `Percent`."""
    return Amount("%", "percentage", "25%", low, high)


class Percent:
    """A percentage, with or without its sign: `25%`, `25`."""

    def __init__(self, low: float) -> None:
        self._low = low
        self._form = percentage(low)

    def read(self, value: Value) -> float:
        if value.is_number:
            return value.number(self._low, 100)
        return self._form.read(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "number", "minimum": self._low, "maximum": 100}, self._form.schema()]}

    def words(self) -> str:
        return self._form.words()

    def shown(self, read: object) -> str:
        return self._form.shown(read)


ROBOTS: Key[int | None] = Key(
    "robots", Whole(1, 1_000_000), "How many robots have been asked when it is over.", None, ""
)
PERCENT: Key[float | None] = Key(
    "percent",
    Percent(0.01),
    "What share of the environment's robots has been asked when it is over, at least one.",
    None,
    "all",
)
SELECT: Key[str | None] = Key("select", Labels(), "Only robots with these labels: canaries.", None, "any")
SUCCESS = Key("success", Percent(0), "How many of those asked must be healthy; fewer stop the rollout.", 95.0)
SOAK = Key("soak", Span(0, 30 * 86_400), "How long they must stay so before the next step.", 0.0, "`0s`")
APPROVAL = Key("approval", Truth(), "`true`: a person lets the step begin, with `lekiwi rollout approve`.", False)
UNAVAILABLE: Key[tuple[int, str | None] | None] = Key(
    "max_unavailable",
    _Unavailable(),
    "How many robots are under way at once, in all or for each value of a label.",
    None,
    "any number",
)


def _step(value: Value, given: Mapping[str, Value]) -> RolloutStep:
    if "robots" in given and "percent" in given:
        raise value.wrong("has both `robots` and `percent`: one of them")
    unavailable = UNAVAILABLE.read(given)
    return RolloutStep(
        robots=ROBOTS.read(given),
        percent=PERCENT.read(given),
        select=SELECT.read(given),
        success=SUCCESS.read(given),
        soak_s=SOAK.read(given),
        approval=APPROVAL.read(given),
        max_unavailable=unavailable[0] if unavailable else None,
        per=unavailable[1] if unavailable else None,
    )


STEP = Table(
    "`{robots: 1, soak: 2m}`",
    (ROBOTS, PERCENT, SELECT, SUCCESS, SOAK, APPROVAL, UNAVAILABLE),
    _step,
    "{percent: 25, success: 95%, soak: 10m}",
    {"not": {"required": ["robots", "percent"]}},
)
STEPS: Key[tuple[RolloutStep, ...]] = Key(
    "rollout",
    Several(STEP, "steps, see below", MOST_STEPS, repeats=True),
    "The waves in which robots get a deployment, in order. The last one reaches everybody, also when it is not written.",
    (),
    "all at once",
)
