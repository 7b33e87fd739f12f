"""Variables as people are shown them: values only of what is no secret, and of each whether it is live and who still runs without it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.fleet.variables import Version, Where, concerns, resolve
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import projects, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.variables import LivePlace
from lekiwi_deploy.server.targeting import environment_meant, robot_of
from lekiwi_deploy.server.variables.behind import Behind, read_behind
from lekiwi_deploy.server.variables.reach import Reach, read_reach, undeclared, wheres
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.variables import Scope, Variable, Variables

MAX_HISTORY = 500


async def listed(
    tx: Transaction,
    context: Context,
    project: ProjectName,
    *,
    environment: str | None,
    branch: str | None,
    tag: str | None,
    robot: str | None,
    resolved: bool,
) -> Variables:
    """Those of the project, or those that count for an environment, branch, selector or robot. `resolved`: only the one of each name that goes
    before the others there. Raises `NotFound`, and `BadInput` when it is not clear of which environment."""
    await projects.check_exists(tx, project)
    where: Where | None = None
    if robot is not None:
        row = await robot_of(tx, project, None, robot)
        environment = row.environment
    elif resolved:
        environment = (await environment_meant(tx, project, environment, "lekiwi env list --resolved")).name
    elif environment is not None:
        environment = (await projects.environment(tx, project, environment)).name
    reach = await read_reach(tx, context, project)
    place = reach.place(environment) if environment is not None else None
    if place is not None:
        labels = row.labels if robot is not None else None
        where = Where(
            place.environment, place.preview, branch or place.live_branch or place.newest_branch, labels, robot
        )
    revision = await variables.revision(tx, project)
    newest = await context.vault.at_revision(tx, project, revision)
    shown: Iterable[Version]
    if resolved and where is not None:
        shown = resolve(newest, where).values()
    elif where is not None and robot is not None:
        shown = [version for version in newest if concerns(version.scope, version.of, where)]
    elif place is not None:
        shown = [version for version in newest if place in reach.concerned(version.scope, version.of)]
    else:
        shown = newest
    if branch is not None and not resolved:
        shown = [
            one for one in shown if one.scope is Scope.BRANCH and concerns(one.scope, one.of, Where("", branch=branch))
        ]
    if tag is not None:
        shown = [one for one in shown if one.scope is Scope.TAG and one.of == tag]
    places = (place,) if place is not None else reach.places
    seen = await _Seen.read(tx, context, project, reach, places, newest)
    return Variables(
        variables=tuple(
            one
            for version in sorted(shown, key=_order)
            if (one := seen.view(version)) and (one.behind or not one.removed)
        ),
        revision=revision,
        live_revision=place.live_revision if place is not None else None,
        environment=environment,
    )


async def history(tx: Transaction, context: Context, project: ProjectName, name: str | None, limit: int) -> Variables:
    """All versions of the project, or of one name, newest first."""
    await projects.check_exists(tx, project)
    reach = await read_reach(tx, context, project)
    revision = await variables.revision(tx, project)
    newest = await context.vault.at_revision(tx, project, revision)
    rows = await variables.history(tx, project, name, limit + 1)
    seen = await _Seen.read(tx, context, project, reach, reach.places, newest)
    return Variables(
        variables=tuple(seen.view(version) for version in rows[:limit]), revision=revision, more=len(rows) > limit
    )


def _order(version: Version) -> tuple[str, int, str]:
    return version.name, list(Scope).index(version.scope), version.of


class _Seen:
    """What is needed to show a version."""

    def __init__(
        self, context: Context, project: ProjectName, reach: Reach, places: Sequence[LivePlace], behind: Behind
    ) -> None:
        self._context, self._project, self._reach, self._places, self._behind = context, project, reach, places, behind

    @classmethod
    async def read(
        cls,
        tx: Transaction,
        context: Context,
        project: ProjectName,
        reach: Reach,
        places: Sequence[LivePlace],
        newest: Sequence[Version],
    ) -> _Seen:
        return cls(context, project, reach, places, await read_behind(tx, context, project, reach, newest))

    def view(self, version: Version) -> Variable:
        value, lost = None, version.lost
        if not version.secret and not version.removed and not lost:
            try:
                value = self._context.vault.key.open(self._project, version)
            except Failed:
                lost = True
        names = self._behind.without(version)
        return Variable(
            name=version.name,
            scope=version.scope,
            of=version.of,
            revision=version.revision,
            secret=version.secret,
            removed=version.removed,
            by=version.by,
            at=version.at,
            value=value,
            lost=lost,
            fingerprint=version.fingerprint,
            live=self._live(version),
            behind=len(names),
            behind_robots=names[:10],
            declared=not undeclared(self._reach.concerned(version.scope, version.of), [version.name])[0],
        )

    def _live(self, version: Version) -> bool:
        """Whether everything that is live and that it concerns went live with it, or after it."""
        revisions = [
            place.live_revision
            for place in self._reach.concerned(version.scope, version.of)
            if place in self._places and place.live_revision is not None and _now(place, version)
        ]
        return bool(revisions) and all(revision >= version.revision for revision in revisions)


def _now(place: LivePlace, version: Version) -> bool:
    """Whether it concerns what is live there, not only what may come."""
    if version.scope is not Scope.BRANCH:
        return True
    return concerns(version.scope, version.of, wheres(place)[0])
