"""The server: the conductor of the product over rows in memory, robots' links, and crashes of the whole process."""

from __future__ import annotations

import random
from collections.abc import Callable

from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.fleet import link as decide
from lekiwi_deploy.server.conducting_store import Stage
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.testing.simulation.agenda import Agenda, Appointment
from lekiwi_deploy.testing.simulation.conducting import Conducting
from lekiwi_deploy.testing.simulation.connection import Connection
from lekiwi_deploy.testing.simulation.memory.database import MemoryDatabase
from lekiwi_deploy.testing.simulation.memory.tables import Tables
from lekiwi_deploy.testing.simulation.server_end import SERVER_ID, ServerEnd, desired_of, end_session
from lekiwi_deploy.testing.simulation.uplink import Uplink
from lekiwi_deploy.wire.ids import RobotId

CONDUCTS_AFTER_S = 0.05
NOTICES_S = 30.0


class Killed(BaseException):
    """The server process ends here."""


class Server:
    """`stepped`: called after each step of the conductor that stands."""

    def __init__(self, agenda: Agenda, draw: random.Random, stepped: Callable[[], None] = lambda: None) -> None:
        self.agenda, self.draw = agenda, draw
        self.stepped = stepped
        self.database = MemoryDatabase(on_hint=self._hint, written=self._written, stands=self._stands)
        self.stage = Stage(open=self.database.open, now=lambda: agenda.now, random=draw.randbytes)
        self.up = True
        self.kills = self.refusals = 0.0
        self._conducts = False
        self._links: dict[RobotId, ServerEnd] = {}
        self._connections: list[tuple[Connection, Uplink]] = []
        self._hints: set[str] = set()
        self._due: Appointment | None = None
        self._conducting = Conducting(self.stage, agenda.now)
        self._sessions = 0

    @property
    def tables(self) -> Tables:
        """All rows."""
        return self.database.tables

    def is_hinted(self, row: RolloutRow) -> bool:
        """Whether something happened in a rollout since the conductor looked at it last."""
        return row.id in self._hints or f"{row.project}/{row.environment}" in self._hints

    # --- robots' links

    def dial(self, uplink: Uplink) -> Connection | None:
        """A robot opens a socket."""
        if not self.up:
            return None
        self._sessions += 1
        session, effects = decide.opened(f"ses_{self._sessions}", SERVER_ID, f"nonce-{self._sessions}")
        end: ServerEnd

        def hear(message: object) -> None:
            if self.up:
                end.hear(message)  # type: ignore[arg-type]

        connection = Connection(self.agenda, self.draw, uplink.hear, hear)
        self._connections.append((connection, uplink))

        def close() -> None:
            self._forget(end, connection)
            if connection.whole:
                connection.cut()
                self.agenda.after(0.05, lambda: uplink.sees_end(connection))

        end = ServerEnd(self.agenda, self.database, connection.to_robot, close, self._welcomed, session)
        connection.gone = lambda after_s: self._gone(end, connection, after_s)
        for effect in effects:
            end.carry_out(effect)
        return connection

    def _welcomed(self, end: ServerEnd) -> None:
        older = self._links.get(end.robot)
        self._links[end.robot] = end
        if older is not None:
            older.tell(decide.Displaced("conflict", "another connection of this robot took over", True))
        self.agenda.after(0.01, lambda: self._send_desired(end.robot))

    def _gone(self, end: ServerEnd, connection: Connection, after_s: float) -> None:
        """The robot's end is gone: the server sees that after a while."""
        self.agenda.after(after_s, lambda: self._forget(end, connection))

    def _forget(self, end: ServerEnd, connection: Connection) -> None:
        self._connections = [one for one in self._connections if one[0] is not connection]
        if not self.up or end.session.robot is None:
            return
        if self._links.get(end.robot) is end:
            del self._links[end.robot]
        with self.database.writing() as writes:
            end_session(writes, end.robot, end.session.id, self.agenda.now)

    def _send_desired(self, robot: RobotId) -> None:
        end, row = self._links.get(robot), self.tables.robots.get(robot)
        if end is None or row is None or not self.up:
            return
        if row.session == end.session.id:
            end.tell(decide.Wanted(desired_of(self.tables, row)))
        else:
            end.tell(decide.Displaced("conflict", "another connection of this robot took over", True))

    def _let_go(self, robot: RobotId) -> None:
        end, row = self._links.get(robot), self.tables.robots.get(robot)
        if end is None or row is None or not self.up:
            return
        if row.session is None:
            end.tell(decide.Displaced("not_allowed", "this link was ended: come back to be told why", True))
        elif row.session != end.session.id:
            end.tell(decide.Displaced("conflict", "another connection of this robot took over", True))
        elif row.contender is not None:
            end.tell(decide.Contended())

    # --- the conductor

    def _hint(self, topic: str, id: str) -> None:
        if topic == "desired":
            self.agenda.after(0.01, lambda: self._send_desired(RobotId(id)))
        elif topic == "revoked":
            self.agenda.after(0.01, lambda: self._let_go(RobotId(id)))
        elif topic == "rollout":
            self._hints.add(id)
            self._conduct_in(CONDUCTS_AFTER_S)

    def _conduct_in(self, seconds: float) -> None:
        if self._due is not None:
            if self._due.what is not None and self._due.elapsed <= self.agenda.elapsed + seconds:
                return
            self._due.cancel()
        self._due = self.agenda.after(seconds, self._conduct)

    def _conduct(self) -> None:
        self._due = None
        if not self.up:
            return
        hints, self._hints = self._hints, set()
        self._conducts = True
        try:
            again = self._conducting.step(hints)
        except Killed:
            self.crash(self.draw.uniform(1.0, 60.0))
            return
        finally:
            self._conducts = False
        self._hints |= again
        self.stepped()
        within = self._conducting.look_again_in(self.tables, self.agenda.now)
        if self._hints:
            within = CONDUCTS_AFTER_S if within is None else min(within, 2.0)
        if within is not None:
            self._conduct_in(within)

    # --- what goes wrong

    def _written(self) -> None:
        if not self._conducts:
            return
        if self.kills and self.draw.random() < self.kills:
            raise Killed
        if self.refusals and self.draw.random() < self.refusals:
            raise Unavailable("the database did not answer: simulated")

    def _stands(self) -> None:
        if self._conducts and self.kills and self.draw.random() < self.kills:
            raise Killed

    def crash(self, down_s: float) -> None:
        """The process ends, links and hints with it; another one begins after `down_s` seconds."""
        if not self.up:
            return
        self.up = False
        self._hints.clear()
        self._links.clear()
        if self._due is not None:
            self._due.cancel()
        connections, self._connections = self._connections, []
        for connection, uplink in connections:
            if connection.whole:
                connection.cut()
                self.agenda.after(self.draw.uniform(0.01, 1.0), lambda c=connection, u=uplink: u.sees_end(c))  # type: ignore[misc]
        self.agenda.after(down_s, self._begin)

    def _begin(self) -> None:
        self.up = True
        with self.database.writing() as writes:  # as the sweeper does it with sessions of a process that is gone
            for robot in list(self.tables.robots.values()):
                if robot.session is not None:
                    end_session(writes, robot.name, robot.session, robot.last_seen_at or self.agenda.now)
        self._conducting = Conducting(self.stage, self.agenda.now)
        self._conduct_in(CONDUCTS_AFTER_S)
