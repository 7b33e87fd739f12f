"""Answering `lekiwi-agent status`, `rollback` and `resume` on the robot, with or without a network."""

from __future__ import annotations

import asyncio
import contextlib
import os

from lekiwi_deploy import __version__
from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.report import Reporter
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.turning import alive
from lekiwi_deploy.errors import Ambiguous, Conflict, LekiwiError, NotFound
from lekiwi_deploy.robot.fallback import previous
from lekiwi_deploy.robot.ledger import SlotRecord, candidates
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.wanted import pinned, resumed, target
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import Pin
from lekiwi_deploy.wire.local import (
    AlivePlease,
    Answer,
    Ask,
    Held,
    Moved,
    NotDone,
    ResumePlease,
    RobotHere,
    RollBackPlease,
    StatusPlease,
)

_LONGEST_LINE = 64 << 10


class Control:
    """The socket at `paths.socket`. `link`: whether the link stands, and in words."""

    def __init__(self, robot: Robot, reporter: Reporter) -> None:
        self._robot = robot
        self._reporter = reporter
        self.linked = False
        self.link = "not connected yet"
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Listen. Only the agent's user and group may connect."""
        path = self._robot.paths.socket
        path.unlink(missing_ok=True)
        # A path of a socket is short (108 bytes); through the folder's descriptor any root folder will do.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.umask(0o117)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, f"/proc/self/fd/{folder}/{path.name}", limit=_LONGEST_LINE
            )
        finally:
            os.umask(before)
            os.close(folder)

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        self._robot.paths.socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                writer.write(encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # whoever asked is gone, or sent a line without end
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> Answer:
        try:
            ask: Ask = decode(line, Ask, what="the request")
            match ask:
                case StatusPlease():
                    return self._status()
                case RollBackPlease():
                    return await roll_back(self._robot, ask)
                case ResumePlease(by=by):
                    return resume(self._robot, by)
                case AlivePlease():
                    return await alive(self._robot, linked=self.linked, link=self.link)
        except LekiwiError as error:
            return NotDone(code=error.code, message=error.message, next=error.next)
        except OSError as error:
            return NotDone(code="failed", message=f"the robot's disk cannot be written: {error.strerror}")

    def _status(self) -> RobotHere:
        robot = self._robot
        records = sorted(robot.ledger.slots.values(), key=lambda record: record.ref.created_at, reverse=True)
        return RobotHere(
            robot=robot.config.robot,
            project=robot.config.project,
            environment=robot.config.environment,
            server=robot.config.server,
            agent=__version__,
            pid=os.getpid(),
            link=self.link,
            linked=self.linked,
            report=self._reporter.report(),
            deployments=tuple(_held(robot, record) for record in records),
            wanted=target(robot.ledger),
            holds=robot.consent.holds(),
            since=robot.consent.since,
            traffic=robot.services.traffic(),
        )


def _held(robot: Robot, record: SlotRecord) -> Held:
    ref = record.ref
    here = ref.id in robot.slots.present or record.state is SlotState.QUARANTINED
    return Held(
        id=ref.id,
        version=ref.version,
        created_at=ref.created_at,
        state=record.state if here else SlotState.ABSENT,
        live=ref.id == robot.ledger.live,
        commit=ref.commit,
        branch=ref.branch,
        author=ref.author,
        why=record.why,
    )


def chosen(robot: Robot, to: str | None) -> DeploymentId:
    """The deployment that `to` names among those that can run without a download. Raises `NotFound`, `Ambiguous`, `Conflict`."""
    ledger = robot.ledger
    here = {id_: slot for id_, slot in ledger.slots.items() if id_ in robot.slots.present}
    if to is None:
        back, fit = None, set(here)
        while (tried := previous(candidates(ledger, frozenset(fit)), live=ledger.live)) is not None and back is None:
            back = tried if robot.variables.trouble(tried) is None else None
            fit.discard(tried)
        if back is None:
            raise NotFound(
                "there is no earlier good deployment on this robot to go back to",
                next=("lekiwi-agent status", "lekiwi-agent rollback --to ID"),
            )
        return back
    matches = {id_ for id_ in here if id_ == to} or {
        id_
        for id_, slot in here.items()
        if slot.ref.version == to or (to.startswith("dep_") and len(to) > 4 and id_.startswith(to))
    }
    if not matches:
        raise NotFound(f"no deployment on this robot goes by {to!r}", next=("lekiwi-agent status",))
    if len(matches) > 1:
        raise Ambiguous(f"{to!r} could be any of {', '.join(sorted(matches))}", next=("lekiwi-agent status",))
    (found,) = matches
    if here[found].state is SlotState.QUARANTINED:
        raise Conflict(f"{found} failed on this robot and is not started again: {here[found].why}")
    trouble = robot.variables.trouble(found)
    if trouble is not None:
        text = f"{found} cannot be started: its variables cannot be opened on this robot: {trouble}"
        raise Conflict(text, next=("sudo lekiwi-agent doctor",))
    return found


async def roll_back(robot: Robot, ask: RollBackPlease) -> Moved:
    """Pin the robot to what was asked for, and wait until that is healthy or has failed."""
    started = machine.boottime()
    deployment = chosen(robot, ask.to)
    before = robot.ledger.live
    pin = Pin(deployment=deployment, by=ask.by, at=machine.utc_now(), why=ask.why)
    robot.remember(pinned(robot.ledger, pin))
    robot.history.note(
        "pinned", f"{ask.by} pinned this robot to {deployment}" + (f": {ask.why}" if ask.why else ""), deployment
    )
    robot.nudge()
    healthy = await _settled(robot, deployment, ask.timeout_s)
    version = robot.ledger.slots[deployment].ref.version
    if healthy is None:
        text = f"pinned to {deployment} ({version}); it is not healthy yet"
    elif healthy:
        text = f"{deployment} ({version}) runs and is healthy"
    else:
        now = robot.ledger.live
        why = robot.ledger.slots[deployment].why or "it did not become healthy"
        text = f"{deployment} ({version}) failed: {why}; " + (f"{now} runs" if now is not None else "nothing runs")
    return Moved(
        deployment=robot.ledger.live,
        before=before,
        version=version,
        changed=before != deployment,
        healthy=healthy,
        text=text,
        undo="lekiwi-agent resume",
        seconds=machine.boottime() - started,
    )


async def _settled(robot: Robot, deployment: DeploymentId, timeout_s: float) -> bool | None:
    """Whether it became healthy; None: not decided in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                turn = robot.next_turn()
                ledger = robot.ledger
                if ledger.slots[deployment].state in (SlotState.QUARANTINED, SlotState.HELD):
                    return False
                if ledger.live == deployment and not robot.services.stale():
                    trial = ledger.trial
                    if trial.told if trial is not None else robot.services.healthy():
                        return True
                await turn
    except TimeoutError:
        return None


def resume(robot: Robot, by: str) -> Moved:
    """End the pin; what the server wants is followed again."""
    pin = robot.ledger.pin
    if pin is None:
        raise Conflict("this robot is not pinned: it follows the server already")
    ledger = resumed(robot.ledger)
    robot.remember(ledger)
    robot.history.note("resumed", f"{by} ended the pin to {pin.deployment}", pin.deployment)
    robot.nudge()
    wanted = target(ledger)
    version = ledger.slots[wanted].ref.version if wanted is not None and wanted in ledger.slots else ""
    return Moved(
        deployment=wanted,
        before=ledger.live,
        version=version,
        changed=wanted != ledger.live,
        healthy=None,
        text=f"the pin ended; {wanted or 'whatever the server says next'} is wanted now",
        undo=f"lekiwi-agent rollback --to {pin.deployment}",
    )
