"""Which server processes are alive. Claims and sessions of the others are void."""

from __future__ import annotations

from datetime import datetime, timedelta

from lekiwi_deploy.server.store.database import Transaction

SILENT_AFTER = timedelta(seconds=30)
"""A replica that did not say that it is alive for so long is taken for gone."""


async def announce(tx: Transaction, replica: str, now: datetime) -> None:
    """Notes that `replica` is alive now."""
    await tx.execute(
        "INSERT INTO replicas (id, started_at, seen_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        (replica, now, now),
    )


async def silent(tx: Transaction, now: datetime) -> list[str]:
    """Replicas that are taken for gone: silent for too long, or named by a session and not known at all."""
    return await tx.rows(
        "SELECT id FROM replicas WHERE seen_at < %(limit)s UNION "
        "SELECT DISTINCT session_replica FROM robots WHERE session_replica IS NOT NULL "
        "AND session_replica NOT IN (SELECT id FROM replicas)",
        {"limit": now - SILENT_AFTER},
        str,
    )


async def retire(tx: Transaction, replica: str, now: datetime) -> int:
    """Voids what `replica` held: links of robots, claims on builds and on requests. Returns how many robots it had."""
    await tx.execute("DELETE FROM replicas WHERE id = %s", (replica,))
    robots = await tx.rows(
        "UPDATE robots SET session = NULL, session_replica = NULL, last_seen_at = %s WHERE session_replica = %s "
        "RETURNING project || '/' || environment",
        (now, replica),
        str,
    )
    builds = await tx.rows(
        "UPDATE deployments SET claim_until = %s WHERE claimed_by = %s AND status = 'building' RETURNING id",
        (now, replica),
        str,
    )
    await tx.execute("DELETE FROM idempotency WHERE claimed_by = %s AND answer IS NULL", (replica,))
    for place in set(robots):
        await tx.notify("rollout", place)
    for build in builds:
        await tx.notify("builds", build)
    return len(robots)


async def others_alive(tx: Transaction, replica: str, now: datetime) -> int:
    """How many other server processes said lately that they are alive."""
    return await tx.one(
        "SELECT count(*) FROM replicas WHERE id <> %s AND seen_at > %s", (replica, now - SILENT_AFTER), int
    )
