"""Reads what a selector may mean from the database, for `fleet.resolution` to decide."""

from __future__ import annotations

from lekiwi_deploy.fleet import selectors
from lekiwi_deploy.fleet.resolution import Candidate, Candidates, Interval
from lekiwi_deploy.server.store import activations, aliases, deployments, robots
from lekiwi_deploy.server.store.activations import ActivationRow
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.ids import DeploymentId


async def read_candidates(
    tx: Transaction, project: str, environment: str, *, selector: str | None, current: DeploymentId | None
) -> Candidates:
    """All that `selector` may mean in the environment; `current`: what runs there (or on the one robot in question) now.

    Raises `BadInput` when it is no selector.
    """
    parsed = selectors.parse(selector)
    prefix, versions, commit = "", [], ""
    labels: dict[str, DeploymentId] = {}
    for reading in parsed.readings if isinstance(parsed, selectors.Word) else (parsed,):
        match reading:
            case selectors.IdPrefix(prefix):
                pass
            case selectors.Version(name):
                bare = name.removeprefix("v")
                versions = [bare, f"v{bare}"]
            case selectors.Commit(commit):
                pass
            case selectors.Alias(name):
                labelled = await aliases.read(tx, project, name)
                labels |= {name: labelled.deployment} if labelled is not None else {}
            case _:
                pass
    rows = await deployments.meant(
        tx, project, environment, id_prefix=prefix, versions=versions, commit_prefix=commit, ids=list(labels.values())
    )
    return Candidates(
        environment=environment,
        deployments={row.id: candidate(row) for row in rows},
        intervals=tuple(interval(row) for row in await activations.of_environment(tx, project, environment)),
        current=current,
        quarantined=frozenset(await robots.quarantined(tx, project, environment)),
        aliases=labels,
    )


def candidate(row: DeploymentRow) -> Candidate:
    """A deployment as far as selectors look at it."""
    built = row.status == "built"
    return Candidate(row.id, row.version, row.commit_sha, row.created_at, row.package_hash if built else None)


def interval(row: ActivationRow) -> Interval:
    """An activation as far as selectors look at it."""
    return Interval(row.deployment, row.since, row.until, row.good, row.healthy, row.total)
