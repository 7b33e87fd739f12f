"""A server and its robots, ended together whatever happens."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.person import Person
from lekiwi_deploy.testing.ports import PortBlock
from lekiwi_deploy.testing.programs import HERE, Installation
from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.testing.server import LocalServer


class LocalFleet:
    """Everything lives below `folder`: `server/`, `robots/<name>/`, `people/<name>/`.

    `lan`: the server and the people are in the server's side of that network, where machines reach them.
    """

    def __init__(
        self, folder: Path, *, options: tuple[str, ...] = (), at: Installation = HERE, lan: Lan | None = None
    ) -> None:
        self.folder = folder
        self.server = LocalServer(folder / "server", options=options, at=at, lan=lan)
        self.robots: list[LocalRobot] = []
        self.ports = PortBlock()
        self._at = at
        self._lan = lan

    def __enter__(self) -> LocalFleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def person(self, name: str = "anna", token: str | None = None) -> Person:
        """Somebody with that token (None: the owner's)."""
        return Person(
            self.folder / "people" / name,
            self.server.url,
            self.server.owner_token() if token is None else token,
            at=self._at,
            lan=self._lan,
        )

    def robot(self, name: str, *, port_offset: int = 0) -> LocalRobot:
        """One more robot; it is not joined or started yet."""
        robot = LocalRobot(name, self.folder / "robots" / name, port_offset=port_offset, at=self._at)
        self.robots.append(robot)
        return robot

    def end(self) -> None:
        """Agents first, so that none waits for a server that has gone."""
        with contextlib.ExitStack() as everything:
            everything.callback(self.ports.release)
            everything.callback(self.server.end)
            for robot in self.robots:
                everything.callback(robot.end)
