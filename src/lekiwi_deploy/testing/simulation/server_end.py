"""The server's end of one robot's link: the product's own session (`fleet/link.py`), its effects carried out on the rows in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet import link as decide
from lekiwi_deploy.fleet import link_effects as do
from lekiwi_deploy.fleet.policy import trial_policy
from lekiwi_deploy.testing.simulation.agenda import Agenda
from lekiwi_deploy.testing.simulation.memory.database import MemoryDatabase
from lekiwi_deploy.testing.simulation.memory.tables import RobotRecord, Tables, Writes
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import DeploymentRef, Desired, FromRobot, FromServer, Report
from lekiwi_deploy.wire.policy import Policy

replace = msgspec.structs.replace
SERVER_ID = "srv_simulated"


@dataclass(eq=False)
class ServerEnd:
    """`send`: to the robot; `close`: the socket; `welcomed`: called when this link is the robot's."""

    agenda: Agenda
    database: MemoryDatabase
    send: Callable[[FromServer], None]
    close: Callable[[], None]
    welcomed: Callable[[ServerEnd], None]
    session: decide.Session
    last: Report | None = None

    @property
    def robot(self) -> RobotId:
        """Whose it is."""
        assert self.session.robot is not None
        return self.session.robot

    @property
    def live(self) -> bool:
        """Whether the robot was welcomed and not refused since."""
        return self.session.stage is decide.Stage.LIVE

    def hear(self, message: FromRobot) -> None:
        """Something arrived from the robot."""
        self.tell(message)

    def tell(self, message: decide.Message) -> None:
        """Lets the session decide about it."""
        self.session, effects = decide.step(self.session, message)
        for effect in effects:
            self.carry_out(effect)

    def carry_out(self, effect: do.Effect) -> None:
        """Does what the session decided."""
        match effect:
            case do.Send(message):
                self.send(message)
            case do.Close():
                self.agenda.after(0.05, self.close)
            case do.LookUp():
                self._claim(effect)
            case do.StoreReport(report):
                before, self.last = self.last, replace(report, number=0, retained=())
                with self.database.writing() as writes:
                    material = before != self.last
                    store_report(writes, self.robot, self.session.id, report, self.agenda.now, material=material)
            case _:
                raise AssertionError(f"{effect} does not come about here")

    def _claim(self, look_up: do.LookUp) -> None:
        later: list[do.Effect] = []
        with self.database.writing() as writes:
            known = decide.Known(look_up.hello, self._facts(look_up.robot))
            self.session, effects = decide.step(self.session, known)
            for effect in effects:
                match effect:
                    case do.TakeOver():
                        self._take_over(writes, effect, look_up)
                    case do.MarkCloned(robot):
                        now = self.agenda.now
                        writes.robot(robot, cloned_at=now, session=None, last_seen_at=now)
                        writes.hints["revoked", robot] = None
                    case do.Contend(robot, boot):
                        self._contend(writes, robot, boot)
                    case _:
                        later.append(effect)
        if self.live:
            self.welcomed(self)
        for effect in later:
            self.carry_out(effect)

    def _take_over(self, writes: Writes, effect: do.TakeOver, look_up: do.LookUp) -> None:
        row, hello = writes.tables.robots[effect.robot], look_up.hello
        boots = row.previous_boots if effect.boot_before is None else (effect.boot_before, *row.previous_boots)[:16]
        writes.robot(
            effect.robot,
            session=self.session.id,
            boot_id=effect.boot,
            previous_boots=boots,
            platform=hello.platform,
            contender=None,
            contender_at=None,
            last_seen_at=self.agenda.now,
        )
        writes.hints["revoked", effect.robot] = None
        assert effect.generation is None, "a robot knows of more than was ever wanted of it"
        store_report(writes, effect.robot, self.session.id, hello.report, self.agenda.now)
        self.last = replace(hello.report, number=0, retained=())

    def _contend(self, writes: Writes, robot: RobotId, boot: str) -> None:
        row = writes.tables.robots[robot]
        boots = row.previous_boots if row.contender is None else (row.contender, *row.previous_boots)[:16]
        writes.robot(robot, contender=boot, contender_at=self.agenda.now, previous_boots=boots)
        writes.hints["revoked", robot] = None

    def _facts(self, robot: RobotId) -> decide.Facts | None:
        row = self.database.tables.robots.get(robot)
        if row is None:
            return None
        waits = (self.agenda.now - row.contender_at).total_seconds() if row.contender_at is not None else 0.0
        return decide.Facts(
            project=row.project,
            public_key=row.public_key,
            cloned=row.cloned_at is not None,
            session=row.session,
            boot=row.boot_id,
            previous_boots=row.previous_boots,
            contender=row.contender,
            contended_s=waits,
            events=0,
            logs=0,
            desired=desired_of(self.database.tables, row),
            robots=len(self.database.tables.robots),
        )


def desired_of(tables: Tables, row: RobotRecord) -> Desired:
    """What is wanted of the robot now, as the link sends it."""
    environment = tables.environments[row.project, row.environment]
    ref = None
    if row.desired is not None:
        made = tables.deployments[row.desired]
        assert made.package_hash is not None
        ref = DeploymentRef(
            id=made.id, digest=made.package_hash, manifest_size=1, version=made.version, created_at=made.created_at
        )
    return Desired(
        epoch=tables.epoch,
        generation=row.generation,
        environment=row.environment,
        deployment=ref,
        policy=trial_policy(environment.policy or Policy(), anytime=row.anytime),
        by_hand=row.by_hand,
        force=row.force,
        resume=row.resume,
        max_deployments=5,
    )


def store_report(
    writes: Writes, robot: RobotId, session: str, report: Report, now: datetime, *, material: bool = True
) -> None:
    """A robot's newest state, if the session is still the robot's. `material`: it tells something new, so that rollouts are to be looked at."""
    row = writes.tables.robots.get(robot)
    if row is None or row.session != session:
        return
    writes.robot(robot, report=report, last_seen_at=now)
    if material:
        writes.hints["rollout", f"{row.project}/{row.environment}"] = None


def end_session(writes: Writes, robot: RobotId, session: str, now: datetime) -> None:
    """This link is gone."""
    row = writes.tables.robots.get(robot)
    if row is not None and row.session == session:
        writes.robot(robot, session=None, last_seen_at=now)
        writes.hints["rollout", f"{row.project}/{row.environment}"] = None
