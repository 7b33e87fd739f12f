"""The running server: context, loops and HTTP in one event loop, ended in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import uvicorn
import uvloop

from lekiwi_deploy.server import agent_upgrades, conductor, packer, previews, sweeper
from lekiwi_deploy.server.agent_bundle.shelf import AgentBundles
from lekiwi_deploy.server.auth import Authenticator, new_token, token_digest
from lekiwi_deploy.server.builds import builder
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.open_store import open_store
from lekiwi_deploy.server.engines.postgres import EmbeddedPostgres, write_private
from lekiwi_deploy.server.git import reconciler
from lekiwi_deploy.server.http.app import build_app
from lekiwi_deploy.server.http.protocol import BoundedHttp
from lekiwi_deploy.server.loops import relay_hints, supervised
from lekiwi_deploy.server.nudges import Nudges
from lekiwi_deploy.server.packs import PackShelf
from lekiwi_deploy.server.store import audit, installation, partitions, replicas, tokens
from lekiwi_deploy.server.store.database import Database, Transaction
from lekiwi_deploy.server.systemd import notify_systemd
from lekiwi_deploy.server.variables.giving import Vault
from lekiwi_deploy.server.variables.opening import open_key, settle_file
from lekiwi_deploy.wire.api import Role, TokenInfo
from lekiwi_deploy.wire.ids import base62
from lekiwi_deploy.wire.link import MAX_FRAME

_log = logging.getLogger("lekiwi")

LOOPS: dict[str, Callable[[Context], Awaitable[None]]] = {
    "builder": builder.run,
    "ref reconciler": reconciler.run,
    "conductor": conductor.run,
    "previews": previews.run,
    "sweeper": sweeper.run,
    "packer": packer.run,
    "agent upgrades": agent_upgrades.run,
}
GOODBYE_S = 0.3
"""How long links have to say goodbye before their connections are closed."""
GRACE_S = 5
"""How long requests under way may take to end."""
OWNER_TOKEN = "owner-token"
OWNER_TOKEN_LASTS = timedelta(days=365)

Started = Callable[[Config, bool], None]


def serve_until_stopped(
    config: Config, database_url: str, engine: EmbeddedPostgres | None, listener: socket.socket, started: Started
) -> None:
    """Serves until SIGTERM or SIGINT. `started(config, first)` is called once requests are answered; `first`: an owner's token was made."""
    gc.set_threshold(50_000, 20, 1000)  # the default's full collections stall 10,000 links for 0.2 s
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, database_url, engine, listener, started))


async def _serve(
    config: Config, database_url: str, engine: EmbeddedPostgres | None, listener: socket.socket, started: Started
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=8, thread_name_prefix="lekiwi"))
    nudges = Nudges()
    replica = f"rep_{base62(secrets.token_bytes(16), 8)}"
    database = Database(database_url, replica=replica, on_hint=nudges.local)
    await database.open()
    try:
        context, first = await _prepare(config, database, nudges, replica)
        server = _Server(
            uvicorn.Config(
                build_app(context),
                http=BoundedHttp,
                ws="websockets-sansio",
                ws_max_size=MAX_FRAME,
                ws_per_message_deflate=False,
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        loops = [asyncio.create_task(supervised(name, partial(run, context))) for name, run in LOOPS.items()]
        loops.append(asyncio.create_task(supervised("hints", partial(relay_hints, database, nudges))))
        if engine is not None:
            loops.append(
                asyncio.create_task(supervised("PostgreSQL", partial(_keep_running, engine, context.stopping)))
            )
        gc.collect()
        gc.freeze()
        with _stop_signals(context, server):
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            serving.add_done_callback(lambda _: server.answering.set())
            await server.answering.wait()
            if not serving.done():
                started(config, first)
            await serving
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        async with database.transaction() as tx:
            await replicas.retire(tx, replica, context.now())
    finally:
        await database.close()


async def _prepare(config: Config, database: Database, nudges: Nudges, replica: str) -> tuple[Context, bool]:
    """The context, with everything in the database that must be there before the first request."""

    def now() -> datetime:
        return datetime.now(UTC)

    objects = await open_store(config)
    async with database.transaction() as tx:
        here = await installation.read_or_make(tx, secrets.token_bytes)
        await partitions.make_days(tx, now().date() - timedelta(days=1), 4)
        await _replace_predecessor(tx, config.data, replica, now())
    async with database.transaction() as tx:
        key = await open_key(tx, config, replica=replica, random=secrets.token_bytes, now=now())
    settle_file(config, key)
    async with database.transaction() as tx:
        await tokens.lock(tx)
        first = await tokens.usable_owners(tx, now()) == 0
        if first:
            await _make_owner_token(tx, config.data, now())
    context = Context(
        config=config,
        database=database,
        objects=objects,
        nudges=nudges,
        auth=Authenticator(database, nudges, now),
        packs=PackShelf(objects, database, config.data / "scratch", now),
        agent_bundles=AgentBundles(config.data / "cache" / "agent", now),
        now=now,
        random=secrets.token_bytes,
        server_id=here.id,
        epoch=here.epoch,
        replica=replica,
        ticket_key=here.ticket_key,
        hook_secret=secrets.token_hex(32),
        vault=Vault(key, objects),
    )
    return context, first


async def _replace_predecessor(tx: Transaction, data: Path, replica: str, now: datetime) -> None:
    """We hold DIR's lock, so the process that had it before is gone: what it held is free at once."""
    name = data / "replica"
    if name.exists():
        await replicas.retire(tx, name.read_text().strip(), now)
    write_private(name, replica)
    await replicas.announce(tx, replica, now)


async def _make_owner_token(tx: Transaction, data: Path, now: datetime) -> None:
    """A new owner's token in `DIR/owner-token`; the file first, so that no token is stored that nobody can read."""
    secret = new_token("pat", secrets.token_bytes)
    write_private(data / OWNER_TOKEN, secret)
    token = TokenInfo(
        id=f"tok_{base62(secrets.token_bytes(16), 8)}",
        name="owner",
        role=Role.OWNER,
        created_at=now,
        expires_at=now + OWNER_TOKEN_LASTS,
    )
    await tokens.insert(tx, token, token_digest(secret))
    await audit.record(tx, "server", "token.create", f"token/{token.id}", {"name": token.name, "role": token.role})


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers and with an event instead of a look every 0.1 s."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()
        self.leave = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Sets `answering` once requests are taken."""
        await super().startup(sockets)
        self.answering.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours."""
        yield

    async def main_loop(self) -> None:
        """Until `leave` is set."""
        while not self.leave.is_set():
            await self.on_tick(0)
            try:
                async with asyncio.timeout(1.0):
                    await self.leave.wait()
            except TimeoutError:
                continue


@contextmanager
def _stop_signals(context: Context, server: _Server) -> Iterator[None]:
    """The first SIGTERM or SIGINT ends the server in order, the second without waiting for requests under way."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if context.stopping.is_set():
            server.force_exit = True
            server.leave.set()
            return
        context.stopping.set()
        logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing" not in record.getMessage())
        notify_systemd("STOPPING=1")
        loop.call_later(GOODBYE_S, server.leave.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _keep_running(engine: EmbeddedPostgres, stopping: asyncio.Event) -> None:
    """Starts the embedded PostgreSQL again whenever it ends by itself."""
    loop = asyncio.get_running_loop()
    while True:
        ended = asyncio.Event()

        def watch(ended: asyncio.Event = ended) -> None:
            engine.wait()
            with suppress(RuntimeError):  # the loop is closed: we are stopping, and it was stopped for that
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=watch, daemon=True, name="postgres-watch").start()
        await ended.wait()
        if stopping.is_set():
            return
        _log.error("PostgreSQL ended by itself; starting it again")
        await asyncio.to_thread(engine.start)
