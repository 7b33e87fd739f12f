"""Which deployments stay on the robot, and which stay laid out as trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.wire.ids import DeploymentId


@dataclass(frozen=True, slots=True)
class Retention:
    """`prune`: files to remove, oldest first; `tear_down`: trees to remove while the deployment stays retained."""

    prune: tuple[DeploymentId, ...]
    tear_down: tuple[DeploymentId, ...]


def retention(
    staged: Mapping[DeploymentId, int],
    laid_out: frozenset[DeploymentId],
    *,
    keep: int,
    live: DeploymentId | None,
    fallback: DeploymentId | None,
    needed: frozenset[DeploymentId],
) -> Retention:
    """`staged`: every deployment with files here, with the order in which it came (larger is newer). `keep`: how many to retain
    at most. `needed`: those that a process runs from or that the journal names; they, `live` and `fallback` always stay."""
    safe = needed | ({live} if live is not None else set()) | ({fallback} if fallback is not None else set())
    newest = sorted(staged, key=lambda id_: (staged[id_], id_), reverse=True)
    room = max(0, keep - sum(1 for id_ in newest if id_ in safe))
    spare = [id_ for id_ in newest if id_ not in safe]
    return Retention(
        prune=tuple(reversed(spare[room:])),
        tear_down=tuple(sorted(id_ for id_ in laid_out if id_ not in safe)),
    )
