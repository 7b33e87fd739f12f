"""How a database of any earlier release becomes one of this release."""

from __future__ import annotations


def execute(sql: str) -> None:
    """Runs plain SQL, any number of statements, within the migration that is under way."""
    from alembic import op

    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(sql)
