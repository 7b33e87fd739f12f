"""Which robots run without a version of a variable that they would get today: what a rotation still waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lekiwi_deploy.fleet.variables import Version, Where, resolve
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.variables import RunningRobot
from lekiwi_deploy.server.variables.reach import Reach
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.variables import Scope


@dataclass(frozen=True, slots=True)
class Behind:
    """Names of robots by the revision of the version that they run without."""

    robots: Mapping[int, tuple[str, ...]]

    def without(self, version: Version) -> tuple[str, ...]:
        """Robots that run without this version, by name."""
        return self.robots.get(version.revision, ())


async def read_behind(
    tx: Transaction, context: Context, project: ProjectName, reach: Reach, newest: Sequence[Version]
) -> Behind:
    """Of the newest versions, robots that run something older of a name that a service of theirs reads. Robots that are alike are worked out
    once."""
    last = max((version.revision for version in newest), default=0)
    own = {version.of for version in newest if version.scope is Scope.ROBOT}
    previews = {place.environment for place in reach.places if place.preview}
    removed = {version.key: version for version in newest if version.removed}
    alike: dict[tuple[object, ...], frozenset[int]] = {}
    found: dict[int, list[str]] = {}
    for robot in await variables.running(tx, project, last):
        named = robot.robot if robot.robot in own else None
        kind = (
            robot.environment,
            robot.branch,
            tuple(sorted(robot.labels.items())),
            named,
            robot.revision,
            robot.reads,
        )
        if kind not in alike:
            where = Where(robot.environment, robot.environment in previews, robot.branch, robot.labels, robot.robot)
            before = resolve(await context.vault.at_revision(tx, project, robot.revision), where)
            alike[kind] = _without(before, resolve(newest, where), removed, robot)
        for revision in alike[kind]:
            found.setdefault(revision, []).append(robot.robot)
    return Behind({revision: tuple(names) for revision, names in found.items()})


def _without(
    before: Mapping[str, Version],
    now: Mapping[str, Version],
    removed: Mapping[tuple[Scope, str, str], Version],
    robot: RunningRobot,
) -> frozenset[int]:
    """Revisions that such a robot runs without."""

    def read(name: str) -> bool:
        return robot.reads is None or name in robot.reads

    newer = {
        version.revision
        for name, version in now.items()
        if read(name) and version.revision > robot.revision and _print(before.get(name)) != version.fingerprint
    }
    gone = {
        removed[version.key].revision
        for name, version in before.items()
        if read(name) and name not in now and version.key in removed
    }
    return frozenset(newer | gone)


def _print(version: Version | None) -> str | None:
    return version.fingerprint if version is not None else None
