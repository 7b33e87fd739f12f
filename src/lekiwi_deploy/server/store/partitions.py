"""The day partitions of `logs`: made ahead, dropped when they are too old."""

from __future__ import annotations

from datetime import date, timedelta

from lekiwi_deploy.server.store.database import Transaction

_LOCK = 4_907_002


async def make_days(tx: Transaction, first: date, days: int) -> None:
    """Makes sure that there is a partition for each of `days` days (UTC) from `first` on."""
    wanted = [first + timedelta(days=offset) for offset in range(days)]
    there = await _days(tx)
    if there.issuperset(wanted):
        return
    await tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    there = await _days(tx)
    for day in wanted:
        if day not in there:
            await tx.execute(
                f"CREATE TABLE logs_{day:%Y%m%d} PARTITION OF logs "
                f"FOR VALUES FROM ('{day} 00:00:00+00') TO ('{day + timedelta(days=1)} 00:00:00+00')"
            )


async def drop_days(tx: Transaction, before: date) -> int:
    """Drops the partitions of days before `before`; returns how many."""
    old = sorted(day for day in await _days(tx) if day < before)
    if old:
        await tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    for day in old:
        await tx.execute(f"DROP TABLE IF EXISTS logs_{day:%Y%m%d}")
    return len(old)


async def _days(tx: Transaction) -> set[date]:
    names = await tx.rows(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'logs'::regclass",
        None,
        str,
    )
    return {date.fromisoformat(name.removeprefix("logs_")) for name in names}
