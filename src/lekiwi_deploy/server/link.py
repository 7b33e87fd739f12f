"""The robots' links of this replica, at `/link`: keeps sockets, stores what comes, sends what changed. Decides nothing (`fleet.link`).

A robot's link belongs to the session in its row. Whoever takes it over there hints `revoked`; the replica that holds an older link
looks, and lets that go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.fleet import link as decide
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.inbox import Inbox
from lekiwi_deploy.server.loops import supervised
from lekiwi_deploy.server.robot_link import Receive, RobotLink, Send
from lekiwi_deploy.server.store import sessions
from lekiwi_deploy.server.store.sessions import Owner
from lekiwi_deploy.wire.ids import RobotId

AGAIN_S = 60.0
"""How often desired states are compared with what robots say they know: the safety net below hints."""
GOODBYE_BATCH = 500
RETURN_PER_S = 100
"""So many robots are asked to come back in each second after a restart."""


class LinkEndpoint:
    """The ASGI application behind `/link`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.inbox = Inbox(context)
        self._links: dict[RobotId, RobotLink] = {}
        self._open: set[RobotLink] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        event = await receive()
        if event["type"] != "websocket.connect":
            return
        if any(name == b"origin" for name, _ in scope["headers"]):
            await send({"type": "websocket.close", "code": 4403, "reason": "the link is for robots, not for browsers"})
            return
        self._start()
        link = RobotLink(self.context, self.inbox, self.add)
        await send({"type": "websocket.accept"})
        self._open.add(link)
        try:
            if self.context.stopping.is_set():
                link.tell(decide.Draining(1.0))
            await link.serve(receive, send)
        finally:
            self._open.discard(link)
            await self._ended(link)

    def add(self, link: RobotLink) -> None:
        """`link` is its robot's from now on; an older one that is here is let go."""
        older = self._links.get(link.robot)
        self._links[link.robot] = link
        if older is not None:
            older.displaced()
        self.context.nudges.local("desired", link.robot)

    def _start(self) -> None:
        """The loops that serve all links begin with the first one."""
        if self._tasks:
            return
        for name, run in (
            ("link inbox", self.inbox.run),
            ("link desired", self._send_desired),
            ("link revoked", self._let_go),
            ("link goodbye", self._say_goodbye),
        ):
            self._tasks.append(asyncio.create_task(supervised(name, run)))

    async def _ended(self, link: RobotLink) -> None:
        if not link.welcomed:
            return
        if self._links.get(link.robot) is link:
            del self._links[link.robot]
        if self.context.stopping.is_set():
            return  # the whole replica's sessions end at once
        try:
            async with self.context.database.transaction() as tx:
                await sessions.end(tx, [link.session_id], self.context.now())
        except Unavailable:
            return  # the session is void as soon as the robot has another, or this replica is gone

    async def _send_desired(self) -> None:
        """Sends each robot what is wanted of it, whenever that changes."""
        with self.context.nudges.subscribe("desired") as hints:
            while True:
                heard = await hints.wait(AGAIN_S)
                names = self._links.keys() & heard if heard else self._links.keys()
                for chunk in _chunks(names):
                    async with self.context.database.transaction() as tx:
                        rows = await sessions.desired(tx, chunk)
                        variables = await self.context.vault.for_robots(tx, rows)
                    for row in rows:
                        link = self._links.get(row.robot)
                        if link is None:
                            continue
                        if row.session == link.session_id:
                            link.wanted(row, variables.get(row.robot), again=not heard)
                        else:
                            link.displaced()

    async def _let_go(self) -> None:
        """Closes links whose robot was removed, joined anew, found cloned, or linked elsewhere."""
        with self.context.nudges.subscribe("revoked") as hints:
            while True:
                heard = await hints.wait(AGAIN_S)
                names = self._links.keys() & heard if heard else self._links.keys()
                for chunk in _chunks(names):
                    async with self.context.database.transaction() as tx:
                        owners = await sessions.owners(tx, chunk)
                    for name in chunk:
                        link = self._links.get(name)
                        if link is not None:
                            _let_go_of(link, owners.get(name))

    async def _say_goodbye(self) -> None:
        """When the server is about to stop: asks robots to come back, spread over time."""
        await self.context.stopping.wait()
        for number, link in enumerate(list(self._open)):
            link.tell(decide.Draining(round(0.2 + number / RETURN_PER_S, 2)))
            if number % GOODBYE_BATCH == GOODBYE_BATCH - 1:
                await asyncio.sleep(0)
        await asyncio.Event().wait()


def _let_go_of(link: RobotLink, owner: Owner | None) -> None:
    if owner is None:
        link.tell(decide.Displaced("not_found", f"robot {link.robot!r} was removed", False))
    elif owner.session is None:
        link.tell(decide.Displaced("not_allowed", "this link was ended: come back to be told why", True))
    elif owner.session != link.session_id:
        link.displaced()
    elif owner.contended:
        link.tell(decide.Contended())


def _chunks(names: Iterable[RobotId], size: int = 1000) -> list[list[RobotId]]:
    listed = sorted(names)
    return [listed[start : start + size] for start in range(0, len(listed), size)]
