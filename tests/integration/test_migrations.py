"""The schema: what the migrations make is what schema.sql shows, however many servers make it at once."""

from __future__ import annotations

import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import lekiwi_deploy.server.store
from lekiwi_deploy.errors import Conflict, Unavailable
from lekiwi_deploy.server.engines.postgres_program import account, programs
from lekiwi_deploy.server.store import migrate as migrations
from lekiwi_deploy.server.store.migrate import migrate

pytestmark = pytest.mark.engine

SCHEMA = Path(lekiwi_deploy.server.store.__file__).parent / "schema.sql"


@contextmanager
def _empty_database(postgres_url: str) -> Iterator[str]:
    name = f"empty_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_url.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    with _empty_database(postgres_url) as url:
        yield url


def _dump(url: str, folder: Path) -> str:
    dump = programs(folder, account()) / "pg_dump"
    argv = [
        str(dump),
        "--schema-only",
        "--no-owner",
        "--exclude-table=alembic_version",
        "--exclude-table=logs_2*",
        "-d",
        url,
    ]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def test_schema_sql_is_what_all_migrations_make(empty_url: str, database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute(SCHEMA.read_text())
    assert _dump(empty_url, tmp_path) == _dump(database_url, tmp_path)


def test_servers_that_start_together_migrate_once(empty_url: str) -> None:
    results: list[bool | Exception] = []

    def one() -> None:
        try:
            results.append(migrate(empty_url))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["False", "False", "False", "True"]
    assert migrate(empty_url) is False


def test_a_migration_that_fails_half_way_leaves_nothing(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE audit (x int)")
    with pytest.raises(Exception, match="audit"):
        migrate(empty_url)
    with psycopg.connect(empty_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert tables == [("audit",)]
        connection.execute("DROP TABLE audit")
    assert migrate(empty_url) is True


def test_a_database_of_a_newer_release_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match="newer release"):
        migrate(database_url)


def test_a_database_that_cannot_be_reached_is_one_clear_line() -> None:
    with pytest.raises(Unavailable) as told:
        migrate("postgresql://nobody:x@127.0.0.1:1/none")
    assert "\n" not in told.value.message


def test_migrations_are_numbered_without_gaps() -> None:
    folder = Path(migrations.__file__).parent / "migrations" / "versions"
    numbers = sorted(int(path.name[1:5]) for path in folder.glob("m*.py"))
    assert numbers == list(range(1, len(numbers) + 1))
    assert migrations.newest() == f"{len(numbers):04}"
