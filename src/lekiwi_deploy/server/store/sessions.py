"""Robots' links as rows: who owns a robot's session, what it was told, what it reported.

A write on behalf of a link names its session, so that one that was displaced can no longer change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text, plain_text
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import AgentWanted, Report
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.policy import Policy

_KEEP_BOOTS = 16


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a link needs to know of its robot."""

    project: ProjectName
    public_key: bytes | None
    cloned_at: datetime | None
    session: str | None
    boot_id: str | None
    previous_boots: tuple[str, ...]
    contender: str | None
    contender_at: datetime | None
    acked_events: int
    acked_logs: int
    robots: int


class DesiredRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a robot. `id` and what follows are the deployment's; None: nothing yet. `variables`: the revision that it goes with,
    in `variables_environment` (`preview`: that is, or was, one), `reads`: what its services declare (None: not looked up yet)."""

    robot: RobotId
    project: ProjectName
    labels: dict[str, str]
    session: str | None
    environment: EnvironmentName
    policy: Policy | None
    epoch: int
    generation: int
    by_hand: bool
    force: bool
    resume: bool
    anytime: bool
    id: DeploymentId | None
    package_hash: ManifestDigest | None
    manifest_size: int | None
    version: str | None
    created_at: datetime | None
    commit_sha: str | None
    branch: str | None
    author: str | None
    public_key: bytes | None
    agent_wanted: AgentWanted | None
    variables: int
    variables_environment: EnvironmentName
    preview: bool
    reads: tuple[str, ...] | None


class NewReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report to store, if `session` is still the robot's. `material`: it tells something that rollouts depend on."""

    robot: RobotId
    session: str
    report: Report
    material: bool = True


async def lock(tx: Transaction, robot: str) -> LinkRow | None:
    """What is known of a robot that says hello, locked until the transaction ends."""
    return await tx.row(
        """
        SELECT project, public_key, cloned_at, session, boot_id, previous_boots, contender, contender_at, acked_events, acked_logs,
            (SELECT count(*) FROM robots) AS robots
        FROM robots WHERE name = %s FOR NO KEY UPDATE
        """,
        (robot,),
        LinkRow,
    )


async def lock_all(tx: Transaction, robots: Iterable[str]) -> None:
    """Locks these rows until the transaction ends. Whoever writes several robots does this first: in one order, so that no two wait for
    each other."""
    await tx.execute("SELECT FROM robots WHERE name = ANY(%s) ORDER BY name FOR NO KEY UPDATE", (sorted(set(robots)),))


async def take_over(
    tx: Transaction,
    robot: RobotId,
    session: str,
    *,
    replica: str,
    boot: str,
    boot_before: str | None,
    agent: str,
    hostname: str,
    platform: Platform,
    now: datetime,
) -> None:
    """Makes `session` the robot's link. Hints `revoked`, so that a replica that holds an older one lets it go."""
    await tx.execute(
        """
        UPDATE robots SET session = %(session)s, session_replica = %(replica)s, boot_id = %(boot)s, last_seen_at = %(now)s,
            previous_boots = CASE WHEN %(before)s::text IS NULL THEN previous_boots
                ELSE (%(before)s::text || previous_boots)[1:%(keep)s] END,
            agent = %(agent)s, hostname = %(hostname)s, platform = %(platform)s::jsonb, contender = NULL, contender_at = NULL
        WHERE name = %(robot)s
        """,
        {
            "robot": robot,
            "session": session,
            "replica": replica,
            "boot": plain_text(boot),
            "before": boot_before,
            "keep": _KEEP_BOOTS,
            "agent": plain_text(agent),
            "hostname": plain_text(hostname),
            "platform": json_text(platform),
            "now": now,
        },
    )
    await tx.notify("revoked", robot)


async def raise_generation(tx: Transaction, robot: str, generation: int) -> None:
    """Numbers the robot's desired state `generation` from now on, also where a rollout remembers the number that it gave."""
    await tx.execute(
        """
        UPDATE rollout_robots rr SET generation = %s
        FROM robots r WHERE r.name = %s AND rr.robot = r.name AND rr.generation = r.generation
        """,
        (generation, robot),
    )
    await tx.execute("UPDATE robots SET generation = %s WHERE name = %s", (generation, robot))


async def mark_cloned(tx: Transaction, robot: str, now: datetime) -> None:
    """Notes that two machines use the robot's key, and ends its link. Hints `revoked`."""
    place = await tx.row(
        """
        UPDATE robots SET cloned_at = %s, session = NULL, session_replica = NULL, last_seen_at = %s
        WHERE name = %s RETURNING project || '/' || environment
        """,
        (now, now, robot),
        str,
    )
    await tx.notify("revoked", robot)
    if place is not None:
        await tx.notify("rollout", place)


async def end(tx: Transaction, sessions: Sequence[str], now: datetime) -> None:
    """These links are gone."""
    places = await tx.rows(
        """
        UPDATE robots SET session = NULL, session_replica = NULL, last_seen_at = %s
        WHERE session = ANY(%s) RETURNING project || '/' || environment
        """,
        (now, list(sessions)),
        str,
    )
    for place in set(places):
        await tx.notify("rollout", place)


async def contend(tx: Transaction, robot: str, boot: str, now: datetime) -> None:
    """Notes that a machine with this boot id greeted beside a live link. Hints `revoked`, so that the link is asked to come back."""
    await tx.execute(
        """
        UPDATE robots SET contender = %s, contender_at = %s,
            previous_boots = CASE WHEN contender IS NULL THEN previous_boots ELSE (contender || previous_boots)[1:%s] END
        WHERE name = %s
        """,
        (plain_text(boot), now, _KEEP_BOOTS, robot),
    )
    await tx.notify("revoked", robot)


class Owner(msgspec.Struct, frozen=True):
    """Whose link a robot's is: its session (None: it has none), and whether another machine contends for it."""

    name: RobotId
    session: str | None
    contended: bool


async def owners(tx: Transaction, robots: Sequence[str]) -> dict[RobotId, Owner]:
    """The owners of those of these robots that (still) exist."""
    found = await tx.rows(
        "SELECT name, session, contender IS NOT NULL AS contended FROM robots WHERE name = ANY(%s)",
        (list(robots),),
        Owner,
    )
    return {row.name: row for row in found}


async def desired(tx: Transaction, robots: Sequence[str]) -> list[DesiredRow]:
    """What is wanted of these robots."""
    return await tx.rows(
        """
        SELECT r.name AS robot, r.project, r.labels, r.session, r.environment, e.policy, (SELECT epoch FROM server) AS epoch, r.generation, r.by_hand,
            r.force, r.resume, r.anytime, d.id, d.package_hash, d.manifest_size, d.version, d.created_at, d.commit_sha, d.branch, d.author,
            r.public_key, r.agent_wanted, given.variables, given.environment AS variables_environment, m.variables AS reads,
            p.environment IS NOT NULL OR v.name IS NULL AS preview
        FROM robots r JOIN environments e ON (e.project, e.name) = (r.project, r.environment)
        LEFT JOIN deployments d ON d.id = r.desired
        LEFT JOIN manifests m ON m.digest = d.package_hash
        LEFT JOIN releases l ON (l.project, l.environment, l.deployment) = (r.project, r.environment, r.desired)
        CROSS JOIN LATERAL (SELECT
            CASE WHEN r.variables_deployment = r.desired THEN r.variables ELSE COALESCE(l.variables, 0) END AS variables,
            CASE WHEN r.variables_deployment = r.desired THEN r.variables_environment ELSE r.environment END AS environment) given
        LEFT JOIN environments v ON (v.project, v.name) = (r.project, given.environment)
        LEFT JOIN previews p ON (p.project, p.environment) = (r.project, given.environment)
        WHERE r.name = ANY(%s)
        """,
        (list(robots),),
        DesiredRow,
    )


async def store_reports(tx: Transaction, reports: Sequence[NewReport], now: datetime) -> set[str]:
    """Stores reports whose session is still the robot's; returns the robots whose was not. Hints `rollout` of the environments of
    material ones."""

    class Kept(msgspec.Struct, frozen=True):
        name: str
        place: str

    kept = await tx.rows(
        """
        UPDATE robots r SET report = new.report, reported_at = %(now)s, last_seen_at = %(now)s,
            running = new.report #>> '{running,deployment}', running_digest = new.report #>> '{running,digest}',
            healthy = (new.report #>> '{running,healthy}')::boolean, observed_generation = (new.report ->> 'generation')::bigint,
            waiting_since = CASE WHEN jsonb_array_length(COALESCE(new.report -> 'waiting', '[]')) = 0 THEN '{}'::jsonb ELSE (
                SELECT jsonb_object_agg(key, COALESCE(r.waiting_since -> key, to_jsonb(%(now)s::timestamptz)))
                FROM (SELECT concat_ws(' ', reason ->> 'reason', NULLIF(reason ->> 'id', '')) AS key
                      FROM jsonb_array_elements(new.report -> 'waiting') AS reason) AS reasons) END
        FROM jsonb_to_recordset(%(reports)s::jsonb) AS new(robot text, session text, report jsonb)
        WHERE r.name = new.robot AND r.session = new.session RETURNING r.name, r.project || '/' || r.environment AS place
        """,
        {"reports": json_text(reports), "now": now},
        Kept,
    )
    material = {str(report.robot) for report in reports if report.material}
    for place in {row.place for row in kept if row.name in material}:
        await tx.notify("rollout", place)
    return {str(report.robot) for report in reports} - {row.name for row in kept}


async def may_have(tx: Transaction, robot: str, digest: str) -> bool:
    """Whether the manifest is of a deployment that this robot is or was to run, or that is live in its environment."""
    found = await tx.row(
        """
        SELECT 1 FROM robots r JOIN deployments d ON d.project = r.project AND d.package_hash = %(digest)s
        WHERE r.name = %(robot)s AND (
            d.id = r.desired
            OR d.id IN (SELECT live FROM environments e WHERE (e.project, e.name) = (r.project, r.environment))
            OR EXISTS (SELECT FROM rollout_robots rr JOIN rollouts o ON o.id = rr.rollout
                       WHERE rr.robot = r.name AND o.deployment = d.id))
        LIMIT 1
        """,
        {"robot": robot, "digest": digest},
        int,
    )
    return found is not None
