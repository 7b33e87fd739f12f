"""A robot's end of the link: greets, tells what changed, hears what is wanted, and comes back when the link is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from nacl.signing import SigningKey

from lekiwi_deploy.robot.backoff import reconnect_delay
from lekiwi_deploy.testing.simulation.agenda import Agenda, Appointment
from lekiwi_deploy.testing.simulation.connection import Connection
from lekiwi_deploy.testing.simulation.robot import Robot
from lekiwi_deploy.wire.assertion import Claims, sign
from lekiwi_deploy.wire.link import Challenge, Desired, FromServer, Goodbye, Hello, Phase, Refused, Report, Welcome
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.protocol import PROTOCOL

PLATFORM = Platform("linux", "aarch64", "glibc", "2.36", "3.11")
REPORT_EVERY_S = 300.0
NOTICES_S = 20.0
"""How long it takes at most to see that nothing comes any more."""


class Uplink:
    """Of one robot. `dial`: opens a socket to the server; None: it cannot be reached."""

    def __init__(self, robot: Robot, dial: Callable[[Uplink], Connection | None]) -> None:
        self.robot = robot
        self.network = True
        self._dial = dial
        self._agenda: Agenda = robot.agenda
        self._draw = robot.random
        self._key = hashlib.sha256(f"{robot.seed} {robot.name}".encode()).digest()
        self._connection: Connection | None = None
        self._attempt = 0
        self._retry: Appointment | None = None
        self._next: Appointment | None = None
        self._cap_s = 60.0
        self._greeted_with: Report | None = None
        self.linked = False

    @property
    def public_key(self) -> bytes:
        """What the server knows it by."""
        return bytes(SigningKey(self._key).verify_key)

    def connect(self) -> None:
        """Tries to link."""
        self._retry = None
        if not self.robot.alive or self._connection is not None:
            return
        self._connection = self._dial(self) if self.network else None
        if self._connection is None:
            self._later()

    def tell(self, report: Report) -> None:
        """Something changed on the robot."""
        if self.linked and self._connection is not None:
            self._connection.to_server(report)
            self._again_in_a_while()

    def hear(self, message: FromServer) -> None:
        """Something arrived from the server."""
        if self._connection is None or not self.robot.alive:
            return
        match message:
            case Challenge():
                self._greet(message)
            case Welcome():
                self.linked, self._attempt, self._cap_s = True, 0, message.reconnect_max_s
                self.robot.takes(message.desired)
                if msgspec.structs.replace(self.robot.report(), number=0) != self._greeted_with:
                    self.tell(self.robot.report())  # something changed since it said hello
                self._again_in_a_while()
            case Desired():
                self.robot.takes(message)
            case Goodbye(after_s=after_s):
                self.lost(after_s)
            case Refused():
                self.lost()
            case _:
                pass

    def _greet(self, challenge: Challenge) -> None:
        assert self._connection is not None
        claims = Claims(iss=self.robot.name, aud=challenge.server, nonce=challenge.nonce, boot=self.robot.machine.boot)
        hello = Hello(
            protocol=PROTOCOL,
            token=sign(claims, self._key),
            agent="0.1-simulated",
            hostname=self.robot.name,
            platform=PLATFORM,
            report=self.robot.report(),
            last={},
        )
        self._greeted_with = msgspec.structs.replace(hello.report, number=0)
        self._connection.to_server(hello)

    def lost(self, back_in_s: float | None = None) -> None:
        """The link ended: it is tried again, after `back_in_s` or the usual delay."""
        if self._connection is not None and self._connection.whole:
            self._connection.cut()
            self._connection.gone(0.05)
        self._connection, self.linked = None, False
        if self._next is not None:
            self._next.cancel()
        self._later(back_in_s)

    def _later(self, after_s: float | None = None) -> None:
        if self._retry is not None or not self.robot.alive:
            return
        delay = (
            after_s if after_s is not None else reconnect_delay(self._attempt, self._draw.random(), cap_s=self._cap_s)
        )
        self._attempt += 1
        self._retry = self._agenda.after(delay, self.connect)

    def cut(self) -> None:
        """The network is gone; the robot sees that after a while."""
        self.network = False
        connection = self._connection
        if connection is not None:
            connection.cut()
            connection.gone(self._draw.uniform(0.0, NOTICES_S))
            self._agenda.after(self._draw.uniform(0.0, NOTICES_S), lambda: self.sees_end(connection))
        elif self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def sees_end(self, connection: Connection) -> None:
        """It notices that this connection is at its end."""
        if self._connection is connection:
            self.lost()

    def restored(self) -> None:
        """The network is back; a robot that knows that its link is lost tries at once or soon."""
        self.network = True
        if self._connection is None and self._retry is None:
            self._attempt = min(self._attempt, 5)
            self._later()

    def agent_gone(self, power: bool) -> None:
        """The agent is gone, or (`power`) the whole machine, which the server sees only after a while."""
        connection = self._connection
        if connection is not None and connection.whole:
            connection.cut()
            connection.gone(self._draw.uniform(10.0, 30.0) if power else 0.05)
        self._connection, self.linked = None, False
        for appointment in (self._retry, self._next):
            if appointment is not None:
                appointment.cancel()
        self._retry = None

    def agent_up(self) -> None:
        """The agent runs again."""
        self._attempt = 0
        self.connect()

    def _again_in_a_while(self) -> None:
        if self._next is not None:
            self._next.cancel()
        report = self.robot.last
        restless = report is None or bool(report.waiting) or report.phase is not Phase.IDLE
        self._next = None
        if restless:  # a robot at rest would repeat itself: that no one needs
            self._next = self._agenda.after(REPORT_EVERY_S * self._draw.uniform(0.8, 1.2), self._repeat)

    def _repeat(self) -> None:
        if self.linked and self.robot.alive:
            self.tell(self.robot.report())
