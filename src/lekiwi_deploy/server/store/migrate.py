"""Brings the database to this release's schema, at start, however many replicas start together.

Alembic runs what is missing, in one transaction under a lock, so that an interrupted migration leaves nothing behind. When nothing is
missing, which is nearly always, Alembic is not even imported.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from lekiwi_deploy.errors import Conflict, Unavailable

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 4_907_001


def newest() -> str:
    """The revision that this release's schema has: `0001`, …"""
    return max(path.name[1:5] for path in (_FOLDER / "versions").glob("m[0-9][0-9][0-9][0-9]_*.py"))


def migrate(url: str) -> bool:
    """Migrates the database at `url`; returns whether there was anything to do. Blocks: call it from a thread.

    Raises `Unavailable` when the database cannot be used, `Conflict` when it was made by a newer release.
    """
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            if _revision(connection) == newest():
                return False
            # Held by the session until the connection is closed: SQLAlchemy begins with a rollback.
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            connection.commit()
            found = _revision(connection)
            if found == newest():
                return False
            if found is not None and found > newest():
                raise Conflict(
                    f"the database has the schema {found} of a newer release; this one knows up to {newest()}: upgrade this server"
                )
            _upgrade(connection)
            return True
    except psycopg.OperationalError as error:
        raise Unavailable(f"the database cannot be used: {' '.join(str(error).split())}") from error


def _revision(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """The database's revision; None: it is empty."""
    row = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if row is None or row[0] is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _upgrade(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    # Begun here, so that Alembic commits nothing by itself: all migrations, or none.
    with engine.connect() as sql, sql.begin():
        config.attributes["connection"] = sql
        command.upgrade(config, "head")
