"""What differs between revisions, environments and deployments: names and fingerprints, never values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.errors import Ambiguous, BadInput, NotFound
from lekiwi_deploy.fleet.variables import Version, Where, differences, resolve
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import deployments, projects, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.variables import LivePlace
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.server.variables.reach import Reach, read_reach
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.variables import VariableDifferences

_REVISION = re.compile(r"[0-9]{1,15}\Z")
LIVE = "live"
NOW = "now"


@dataclass(frozen=True, slots=True)
class _Side:
    """What was meant: all versions of a revision, or what `where` has then."""

    text: str
    revision: int
    where: Where | None = None


async def compared(
    tx: Transaction, context: Context, project: ProjectName, a: str, b: str, environment: str | None
) -> VariableDifferences:
    """From `a` to `b`: each a revision (`12`), an environment, a deployment, `live` (what `environment` runs with) or `now` (what it would get
    with the next deployment). Raises `NotFound`, `Ambiguous`, `BadInput`."""
    await projects.check_exists(tx, project)
    reach = await read_reach(tx, context, project)
    newest = await variables.revision(tx, project)
    sides = [await _side(tx, project, reach, newest, text, environment) for text in (a, b)]
    if any(side.where is None for side in sides) and any(side.where is not None for side in sides):
        where = next(side.where for side in sides if side.where is not None)
        sides = [
            side if side.where is not None else _Side(f"{side.text} in {where.environment}", side.revision, where)
            for side in sides
        ]
    one, other = [await _content(tx, context, project, side) for side in sides]
    changed, same = differences(one, other)
    return VariableDifferences(a=sides[0].text, b=sides[1].text, variables=changed, same=same)


async def _content(
    tx: Transaction, context: Context, project: ProjectName, side: _Side
) -> Mapping[tuple[str, ...], Version]:
    versions = await context.vault.at_revision(tx, project, side.revision)
    if side.where is None:
        return {version.key: version for version in versions if not version.removed}
    return {(name,): version for name, version in resolve(versions, side.where).items()}


async def _side(
    tx: Transaction, project: ProjectName, reach: Reach, newest: int, text: str, environment: str | None
) -> _Side:
    if _REVISION.match(text):
        if int(text) > newest:
            raise NotFound(
                f"{project} has no revision {text} of its variables, the newest is {newest}",
                next=("lekiwi env history",),
            )
        return _Side(f"revision {text}", int(text))
    if text in (LIVE, NOW) and reach.place(text) is None:
        place = await _place(tx, project, reach, environment)
        if text == NOW:
            return _Side(f"{place.environment} now, revision {newest}", newest, _where(place, place.live_branch))
        if place.live is None:
            raise NotFound(f"nothing is live in {place.environment} yet")
        revision = place.live_revision or 0
        return _Side(f"live in {place.environment}, revision {revision}", revision, _where(place, place.live_branch))
    if text.startswith("dep_"):
        return await _deployment(tx, project, reach, text, environment)
    place = await _place(tx, project, reach, text)
    branch = place.live_branch or place.newest_branch
    return _Side(f"environment {place.environment}", newest, _where(place, branch))


async def _deployment(tx: Transaction, project: ProjectName, reach: Reach, text: str, environment: str | None) -> _Side:
    found = [row for row in await deployments.by_prefix(tx, text) if row.project == project]
    if not found:
        raise NotFound(f"there is no deployment {text[:20]!r} in {project}", next=("lekiwi list",))
    if len(found) > 1:
        raise Ambiguous(
            f"{len(found)} deployments begin with {text[:20]}",
            details={"candidates": [{"id": row.id, "version": row.version} for row in found]},
        )
    (row,) = found
    bound = {
        place.environment: revision
        for place in reach.places
        if (revision := await variables.bound(tx, project, place.environment, row.id)) is not None
    }
    if environment is not None:
        bound = {name: revision for name, revision in bound.items() if name == environment}
    if len(bound) > 1 and row.environment in bound:
        bound = {row.environment: bound[row.environment]}
    if not bound:
        where = f" in {environment}" if environment else ""
        raise NotFound(f"{row.id} never went live{where}, so it goes with no variables yet")
    if len(bound) > 1:
        raise BadInput(
            f"{row.id} went live in {', '.join(bound)}: say where",
            next=tuple(f"lekiwi env diff … -e {name}" for name in bound),
        )
    ((name, revision),) = bound.items()
    place = await _place(tx, project, reach, name)
    return _Side(f"{row.id} in {name}, revision {revision}", revision, _where(place, row.branch))


async def _place(tx: Transaction, project: ProjectName, reach: Reach, environment: str | None) -> LivePlace:
    name = (await environment_meant(tx, project, environment, "lekiwi env diff")).name
    place = reach.place(name)
    assert place is not None, name
    return place


def _where(place: LivePlace, branch: str | None) -> Where:
    return Where(place.environment, place.preview, branch)
