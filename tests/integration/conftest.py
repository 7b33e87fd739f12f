"""Real engines for integration tests: one PostgreSQL for the whole run, a fresh migrated database for each test.

Tests and fixtures may be coroutines (anyio runs them on asyncio).
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from served_app import Asker, make_token, serving

from lekiwi_deploy.server.agent_bundle.shelf import AgentBundles
from lekiwi_deploy.server.auth import Authenticator
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.folder import FolderStore
from lekiwi_deploy.server.engines.postgres import EmbeddedPostgres
from lekiwi_deploy.server.http.app import build_app
from lekiwi_deploy.server.nudges import Nudges
from lekiwi_deploy.server.packs import PackShelf
from lekiwi_deploy.server.store import replicas
from lekiwi_deploy.server.store.database import Database
from lekiwi_deploy.server.store.installation import read_or_make
from lekiwi_deploy.server.store.migrate import migrate
from lekiwi_deploy.server.store.partitions import make_days
from lekiwi_deploy.server.variables.giving import Vault
from lekiwi_deploy.server.variables.opening import open_key
from lekiwi_deploy.wire.api import Role


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def _open_folder() -> Path:
    """A short path that PostgreSQL's own account may pass through (pytest's tmp_path is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-test-"))
    folder.chmod(0o711)
    return folder


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty DIR for a whole server."""
    folder = _open_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The run's PostgreSQL, with a migrated template database."""
    folder = _open_folder()
    engine = EmbeddedPostgres(folder, settings={"fsync": "off", "full_page_writes": "off", "max_connections": "100"})
    url = engine.start()
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE template_lekiwi")
        template = url.replace("/postgres?", "/template_lekiwi?")
        migrate(template)
        with psycopg.connect(template) as connection:
            connection.execute("SELECT 1")
        yield url
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh migrated database, dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_lekiwi")  # type: ignore[call-overload]
        yield postgres_url.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


@pytest.fixture
async def nudges() -> Nudges:
    return Nudges()


@pytest.fixture
async def database(database_url: str, nudges: Nudges) -> AsyncIterator[Database]:
    """The fresh database, opened; hints reach `nudges` after each commit. Log partitions exist for yesterday till tomorrow."""
    opened = Database(database_url, replica="rep_test0000", on_hint=nudges.local)
    await opened.open()
    async with opened.transaction() as tx:
        await make_days(tx, datetime.now(UTC).date() - timedelta(days=1), 3)
    yield opened
    await opened.close()


@pytest.fixture
async def context(database: Database, nudges: Nudges, tmp_path: Path) -> Context:
    """A whole context over the fresh database and a folder as object store."""
    config = Config(data=tmp_path, url="http://127.0.0.1:1", local_url="http://127.0.0.1:1")
    async with database.transaction() as tx:
        installation = await read_or_make(tx, secrets.token_bytes)
        await replicas.announce(tx, "rep_test0000", datetime.now(UTC))
        key = await open_key(tx, config, replica="rep_test0000", random=secrets.token_bytes, now=datetime.now(UTC))
    objects = FolderStore(tmp_path / "objects")

    def now() -> datetime:
        return datetime.now(UTC)

    return Context(
        config=config,
        database=database,
        objects=objects,
        nudges=nudges,
        auth=Authenticator(database, nudges, now),
        packs=PackShelf(objects, database, tmp_path / "scratch", now),
        agent_bundles=AgentBundles(tmp_path / "cache/agent", now),
        now=now,
        random=secrets.token_bytes,
        server_id=installation.id,
        epoch=installation.epoch,
        replica="rep_test0000",
        ticket_key=installation.ticket_key,
        hook_secret="secret-of-a-test",
        vault=Vault(key, objects),
    )


@pytest.fixture
async def api_url(context: Context) -> AsyncIterator[str]:
    """The whole application, served on a port of this process. No loops run; run those that a test is about."""
    async with serving(build_app(context)) as url:
        yield url


@pytest.fixture
async def asking(context: Context, api_url: str) -> AsyncIterator[dict[Role, Asker]]:
    """Someone of each role, asking the served API."""
    async with httpx.AsyncClient(base_url=api_url, timeout=20, trust_env=False) as http:
        yield {role: Asker(http, (await make_token(context, role))[0]) for role in Role}


@pytest.fixture
async def owner(asking: dict[Role, Asker]) -> Asker:
    """An owner, asking the served API."""
    return asking[Role.OWNER]
