"""Which environments and robots a variable is for, and what their services declare."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from lekiwi_deploy.fleet.variables import Where, concerns, selector
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.variables import LivePlace, PlacedRobot
from lekiwi_deploy.server.variables.declared import look_up_missing
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName
from lekiwi_deploy.wire.variables import Scope


@dataclass(frozen=True)
class Reach:
    """The project's environments and robots, as variables see them."""

    places: tuple[LivePlace, ...]
    robots: tuple[PlacedRobot, ...]

    @cached_property
    def _kinds(self) -> frozenset[tuple[EnvironmentName, tuple[tuple[str, str], ...]]]:
        """Environments and labels that there are together, each once however many robots have them."""
        return frozenset((robot.environment, tuple(sorted(robot.labels.items()))) for robot in self.robots)

    def concerned(self, scope: Scope, of: str) -> list[LivePlace]:
        """Environments that a variable of this scope is for, or may come to be for with the newest deployment there."""
        match scope:
            case Scope.TAG:
                names = {environment for environment, labels in self._kinds if selector(of).fits(dict(labels))}
                return [place for place in self.places if place.environment in names]
            case Scope.ROBOT:
                names = {robot.environment for robot in self.robots if robot.name == of}
                return [place for place in self.places if place.environment in names]
            case _:
                return [place for place in self.places if any(concerns(scope, of, where) for where in wheres(place))]

    def place(self, environment: str) -> LivePlace | None:
        """The environment of that name."""
        return next((place for place in self.places if place.environment == environment), None)


async def read_reach(tx: Transaction, context: Context, project: ProjectName) -> Reach:
    """What there is now; what releases declare is looked up where that was not done yet."""
    await look_up_missing(tx, context.objects, project)
    return Reach(tuple(await variables.places(tx, project)), tuple(await variables.placed(tx, project)))


def wheres(place: LivePlace) -> tuple[Where, ...]:
    """The environment with the branch of what is live there, and of what was built for it last."""
    branches = dict.fromkeys((place.live_branch, place.newest_branch))
    return tuple(Where(place.environment, place.preview, branch) for branch in branches)


def live_readers(places: Iterable[LivePlace], names: Collection[str]) -> tuple[EnvironmentName, ...]:
    """Environments in which what is live declares one of these names."""
    wanted = set(names)
    return tuple(place.environment for place in places if place.live and wanted & set(place.live_reads or ()))


def undeclared(places: Collection[LivePlace], names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of `names` that no service declares, of what is live or newest there, and which services there are. Nothing, where nothing was
    deployed yet."""
    known = [place for place in places if place.live_reads is not None or place.newest_reads is not None]
    if not known:
        return (), ()
    declared = {name for place in known for name in (*(place.live_reads or ()), *(place.newest_reads or ()))}
    services = {name for place in known for name in (*place.newest_services, *place.live_services)}
    return tuple(sorted(set(names) - declared)), tuple(sorted(services))
