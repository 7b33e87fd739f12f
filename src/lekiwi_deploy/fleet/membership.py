"""Which environment each robot belongs to, by its labels.

An environment that chooses its robots (`groups`, `select`) has all that fit; any other has those that a person put there. A robot that fits
several stays where it is if it fits there, else goes to the first by name. One that fits none any more stays where it was, unplaced: it keeps
what it runs and is given nothing. A leased robot is its preview's until the lease ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lekiwi_deploy.fleet.labels import Selector, Term, parse_selector
from lekiwi_deploy.wire.ids import EnvironmentName, RobotId


@dataclass(frozen=True, slots=True)
class Chooser:
    """An environment as far as membership looks at it."""

    name: EnvironmentName
    groups: tuple[str, ...] = ()
    select: str | None = None

    @property
    def chooses(self) -> bool:
        """Whether labels decide which robots it has."""
        return bool(self.groups) or self.select is not None

    @property
    def wanted(self) -> str:
        """What it asks for, in words: `group staging-robots, or site=lab`."""
        parts = [f"group {name}" for name in self.groups]
        if self.select is not None:
            parts.append(self.select.strip() or "every robot")
        return ", or ".join(parts)


@dataclass(frozen=True, slots=True)
class Placed:
    """A robot and where it is. `leased`: a preview has it for a time; `unplaced`: as recorded, what its environment asks for."""

    id: RobotId
    environment: EnvironmentName
    labels: Mapping[str, str] = field(default_factory=dict)
    leased: bool = False
    unplaced: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to change: `moves` to another environment; `unplaced`: what is recorded anew of robots, None: it has a place again."""

    moves: Mapping[RobotId, EnvironmentName]
    unplaced: Mapping[RobotId, str | None]


class Choice:
    """What environments ask for, read once for many robots."""

    def __init__(self, environments: Iterable[Chooser], groups: Mapping[str, str]) -> None:
        """`groups`: selectors of those that are defined, by name. Raises `BadInput` for a selector that cannot be read."""
        self.choosers = {one.name: one for one in sorted(environments, key=lambda one: one.name)}
        self._selectors = {
            one.name: tuple(selector_of(name, groups) for name in one.groups)
            + ((parse_selector(one.select),) if one.select is not None else ())
            for one in self.choosers.values()
        }

    def fitting(self, labels: Mapping[str, str]) -> tuple[EnvironmentName, ...]:
        """Environments that choose a robot with these labels, by name."""
        return tuple(name for name, asked in self._selectors.items() if any(one.fits(labels) for one in asked))

    def place(self, robot: Placed) -> EnvironmentName | None:
        """Where it belongs; None: nowhere, so it stays where it is."""
        if robot.leased:
            return robot.environment
        fits = self.fitting(robot.labels)
        if robot.environment in fits or (not fits and not self._chooses(robot.environment)):
            return robot.environment
        return fits[0] if fits else None

    def settle(self, robots: Iterable[Placed]) -> Settlement:
        """What is to change so that every robot is where it belongs."""
        moves: dict[RobotId, EnvironmentName] = {}
        unplaced: dict[RobotId, str | None] = {}
        for robot in robots:
            place = self.place(robot)
            lacking = self.choosers[robot.environment].wanted if place is None else None
            if place is not None and place != robot.environment:
                moves[robot.id] = place
            if lacking != robot.unplaced:
                unplaced[robot.id] = lacking
        return Settlement(moves, unplaced)

    def _chooses(self, environment: EnvironmentName) -> bool:
        chooser = self.choosers.get(environment)
        return chooser is not None and chooser.chooses


def selector_of(group: str, groups: Mapping[str, str]) -> Selector:
    """What a group's name means: a group that nobody defined is the robots with `group=<name>`."""
    if group in groups:
        return parse_selector(groups[group])
    return Selector((Term("group", frozenset({group})),))


def labels_for(selector: Selector) -> dict[str, str]:
    """The labels that a robot needs at least to fit, as far as the selector says them: of `key=value` and `key in (value)`."""
    return {
        term.key: next(iter(term.values))
        for term in selector.terms
        if term.values is not None and not term.negated and len(term.values) == 1
    }
