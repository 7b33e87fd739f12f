"""What every loop and handler is given: engines, clock, randomness and who this server is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from lekiwi_deploy.server.agent_bundle.shelf import AgentBundles
from lekiwi_deploy.server.auth import Authenticator
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.engines.objects import ObjectStore
from lekiwi_deploy.server.nudges import Nudges
from lekiwi_deploy.server.packs import PackShelf
from lekiwi_deploy.server.store.database import Database
from lekiwi_deploy.server.variables.giving import Vault


@dataclass(frozen=True, slots=True)
class Context:
    """Made once in `main`; shared by everything in the process.

    `now` gives an aware time (UTC), `random(n)` n bytes from the system. `server_id` lasts as long as the database and is the
    audience of robots' tokens; `epoch` is the database's. `replica` names this process for as long as it lives
    (`rep_` + 8 base-62 characters): use it in claims and sessions; when it is gone its claims are void. `ticket_key`: HMAC key of
    content tickets (see `server.tickets`). `hook_secret`: what git's hooks prove themselves with, new in each process. `vault`: variables
    and the key that they are sealed with.
    `stopping` is set when this process is about to stop: the link says Goodbye and closes, streams end; loops are cancelled
    a moment later.
    """

    config: Config
    database: Database
    objects: ObjectStore
    nudges: Nudges
    auth: Authenticator
    packs: PackShelf
    agent_bundles: AgentBundles
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    server_id: str
    epoch: int
    replica: str
    ticket_key: bytes
    hook_secret: str
    vault: Vault
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
