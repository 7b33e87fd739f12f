"""Robots as rows: who they are, what is wanted of them, what they last said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store import rollouts
from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.server.store.json_text import json_text, plain_text
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.link import Outcome, Report
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.reasons import Drained, Reason, Unplaced


class RobotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A robot. `waiting`, `status`: in the rollout that its environment follows (None: it is not in it); `live_rollout` is that.
    `last_outcome`: of its latest attempt at any deployment, as far as rollouts recorded it. `waiting_since`: when each reason of its report
    was first there, by `reasons.key`; `deferring_since`: it holds off what is wanted of it since then; `unplaced`: its labels fit no environment,
    and this is what its own asks for."""

    name: RobotId
    project: ProjectName
    environment: EnvironmentName
    labels: Mapping[str, str]
    joined_at: datetime | None
    hostname: str | None
    agent: str | None
    platform: Platform | None
    desired: DeploymentId | None
    generation: int
    by_hand: bool
    pinned_by: str | None
    pinned_at: datetime | None
    online: bool
    cloned_at: datetime | None
    last_seen_at: datetime | None
    report: Report | None
    observed_generation: int
    live: DeploymentId | None
    live_rollout: RolloutId | None
    status: str | None
    waiting: tuple[Reason, ...] | None
    waiting_since: Mapping[str, datetime]
    deferring_since: datetime | None
    last_outcome: Outcome | None
    drained_by: str | None
    drained_at: datetime | None
    drained_why: str | None
    unplaced: str | None

    @property
    def out(self) -> Drained | Unplaced | None:
        """Why it takes no part in what becomes of its environment."""
        return out_of(self.environment, self.drained_by, self.drained_at, self.drained_why, self.unplaced)


_READ = f"""
SELECT r.name, r.project, r.environment, r.labels, r.joined_at, r.hostname, r.agent, r.platform, r.desired, r.generation, r.by_hand,
    r.pinned_by, r.pinned_at, r.session IS NOT NULL AS online, r.cloned_at, r.last_seen_at, r.report, r.observed_generation,
    e.live, e.live_rollout, rr.status, {rollouts.WAITING}, r.waiting_since, r.deferring_since,
    r.drained_by, r.drained_at, r.drained_why, r.unplaced,
    (SELECT a.outcome FROM robot_activations a WHERE a.robot = r.name AND a.outcome IS NOT NULL
     ORDER BY a.deployed_at DESC, a.id DESC LIMIT 1) AS last_outcome
FROM robots r JOIN environments e ON (e.project, e.name) = (r.project, r.environment)
LEFT JOIN rollout_robots rr ON rr.rollout = e.live_rollout AND rr.robot = r.name
LEFT JOIN rollouts o ON o.id = rr.rollout
"""


async def read(tx: Transaction, name: str) -> RobotRow | None:
    """The robot of that name."""
    return await tx.row(f"{_READ} WHERE r.name = %s", (name,), RobotRow)


async def listed(tx: Transaction, project: str | None, environment: str | None) -> list[RobotRow]:
    """Robots by name; of one project, of one environment, or all."""
    return await tx.rows(
        f"""{_READ}
        WHERE (%(project)s::text IS NULL OR r.project = %(project)s)
          AND (%(environment)s::text IS NULL OR r.environment = %(environment)s)
        ORDER BY r.name
        """,
        {"project": project, "environment": environment},
        RobotRow,
    )


async def insert(
    tx: Transaction, name: str, project: str, environment: str, labels: Mapping[str, str], now: datetime
) -> bool:
    """A new robot that no machine has joined as yet; False: there is one of that name already."""
    made = await tx.execute(
        """
        INSERT INTO robots (name, project, environment, labels, created_at) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (name, project, environment, jsonb(dict(labels)), now),
    )
    await tx.notify("rollout", f"{project}/{environment}")
    return made.rowcount == 1


async def delete(tx: Transaction, name: str) -> bool:
    """Forgets a robot with its history; its link is closed at once. False: there was none."""
    place = await tx.row(
        "DELETE FROM robots WHERE name = %s RETURNING project || '/' || environment",
        (name,),
        str,
    )
    if place is None:
        return False
    await tx.notify("revoked", name)
    await tx.notify("rollout", place)
    return True


async def set_labels(tx: Transaction, name: str, labels: Mapping[str, str | None]) -> None:
    """Sets labels; None removes one."""
    await tx.execute(
        "UPDATE robots SET labels = jsonb_strip_nulls(labels || %s::jsonb) WHERE name = %s", (json_text(labels), name)
    )


def out_of(
    environment: str, by: str | None, at: datetime | None, why: str | None, unplaced: str | None
) -> Drained | Unplaced | None:
    """Why a robot takes no part in what becomes of its environment: a person drained it, or its labels fit none."""
    if at is not None:
        return Drained(by=by or "", since=at, why=why or "")
    return Unplaced(environment=environment, selects=unplaced) if unplaced is not None else None


async def drain(tx: Transaction, name: str, by: str, at: datetime, why: str) -> None:
    """Takes the robot out of deployments; again, it says anew why. Hints `rollout`."""
    await _drain(tx, name, by, at, why)


async def undrain(tx: Transaction, name: str) -> None:
    """Lets the robot take part again. Hints `rollout`."""
    await _drain(tx, name, None, None, None)


async def _drain(tx: Transaction, name: str, by: str | None, at: datetime | None, why: str | None) -> None:
    place = await tx.row(
        """
        UPDATE robots SET drained_by = %s, drained_at = %s, drained_why = %s WHERE name = %s RETURNING project || '/' || environment
        """,
        (by, at, why, name),
        str,
    )
    if place is not None:
        await tx.notify("rollout", place)


async def resume(tx: Transaction, name: str, desired: str | None, forced_by: str | None) -> None:
    """Ends the robot's pin: `desired` is wanted of it, under a new generation; over whatever would hold it back if somebody (`forced_by`)
    wants that. Hints `desired`."""
    await tx.execute(
        """
        UPDATE robots SET desired = %(desired)s, generation = generation + 1, by_hand = false, pinned_by = NULL, pinned_at = NULL,
            force = %(forced)s::text IS NOT NULL, forced_by = %(forced)s, resume = true
        WHERE name = %(name)s
        """,
        {"desired": desired, "forced": forced_by, "name": name},
    )
    await tx.notify("desired", name)


async def join(
    tx: Transaction,
    name: str,
    *,
    public_key: bytes,
    hostname: str,
    agent: str,
    platform: Platform,
    now: datetime,
) -> RobotRow | None:
    """Makes the machine with `public_key` the robot `name`, from now on the only one: a link of an earlier machine is closed, a mark
    of a cloned key goes. Its spools count from 1 again. None: the robot was removed meanwhile."""
    await tx.execute(
        """
        UPDATE robots SET public_key = %(key)s, hostname = %(hostname)s, agent = %(agent)s, platform = %(platform)s::jsonb,
            joined_at = %(now)s, session = NULL, session_replica = NULL, boot_id = NULL, previous_boots = '{}',
            contender = NULL, contender_at = NULL, cloned_at = NULL, agent_wanted = NULL,
            acked_events = 0, acked_logs = 0, report = NULL, running = NULL, running_digest = NULL, healthy = NULL,
            observed_generation = 0, waiting_since = '{}', last_seen_at = %(now)s
        WHERE name = %(name)s
        """,
        {
            "name": name,
            "key": public_key,
            "hostname": plain_text(hostname),
            "agent": plain_text(agent),
            "platform": json_text(platform),
            "now": now,
        },
    )
    await tx.execute("DELETE FROM robot_events WHERE robot = %s", (name,))
    row = await read(tx, name)
    if row is None:
        return None
    if row.live_rollout is not None and row.status is not None:
        await tx.execute(
            """
            UPDATE rollout_robots SET status = 'pending', generation = NULL, assigned_at = NULL, confirmed_at = NULL, outcome = NULL,
                waiting = '[]'
            WHERE rollout = %s AND robot = %s
            """,
            (row.live_rollout, name),
        )
    await tx.notify("revoked", name)
    await tx.notify("rollout", f"{row.project}/{row.environment}")
    return row


async def quarantined(tx: Transaction, project: str, environment: str) -> list[DeploymentId]:
    """Deployments that some robot of the environment has quarantined."""
    return await tx.rows(
        """
        SELECT DISTINCT jsonb_array_elements_text(report -> 'quarantined') FROM robots
        WHERE project = %s AND environment = %s AND report IS NOT NULL
        """,
        (project, environment),
        DeploymentId,
    )


async def environments_with_robots(tx: Transaction, project: str) -> list[EnvironmentName]:
    """Environments of the project that have a robot, by name."""
    return await tx.rows(
        "SELECT DISTINCT environment FROM robots WHERE project = %s ORDER BY environment", (project,), EnvironmentName
    )


async def platforms(tx: Transaction, names: Sequence[str]) -> dict[RobotId, Platform]:
    """The platforms of those of these robots that joined."""

    class Row(msgspec.Struct, frozen=True):
        name: RobotId
        platform: Platform

    rows = await tx.rows(
        "SELECT name, platform FROM robots WHERE name = ANY(%s) AND platform IS NOT NULL", (list(names),), Row
    )
    return {row.name: row.platform for row in rows}
