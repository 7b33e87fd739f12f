"""A whole world: server, robots, what they hear of each other, and the story of what happened."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from lekiwi_deploy.server.rollouts import Kind, begin
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.testing.simulation.agenda import Agenda
from lekiwi_deploy.testing.simulation.memory.database import at_once
from lekiwi_deploy.testing.simulation.memory.tables import EnvironmentRecord, RobotRecord
from lekiwi_deploy.testing.simulation.releases import BASE_FAILURES, Flaw, Release
from lekiwi_deploy.testing.simulation.robot import Robot
from lekiwi_deploy.testing.simulation.server import Server
from lekiwi_deploy.testing.simulation.uplink import PLATFORM, Uplink
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.policy import Policy

PROJECT = ProjectName("lekiwi")


@dataclass(frozen=True, slots=True)
class Member:
    """A robot and its end of the link."""

    robot: Robot
    uplink: Uplink


class World:
    """Everything from `seed`. `told(who, text)`: called with each line of the story."""

    def __init__(self, seed: str, told: Callable[[str, str], None] = lambda who, text: None) -> None:
        self.seed = seed
        self.told = told
        self.agenda = Agenda()
        self.draw = random.Random(f"{seed} world")
        self.server = Server(self.agenda, random.Random(f"{seed} server"))
        self.releases: dict[DeploymentId, Release] = {}
        self.members: dict[RobotId, Member] = {}

    # --- what there is

    def environment(self, name: str, policy: Policy) -> None:
        """An environment, or another policy for it."""
        key = (PROJECT, name)
        before = self.server.tables.environments.get(key, EnvironmentRecord())
        with self.server.database.writing() as writes:
            writes.put(writes.tables.environments, key, msgspec.structs.replace(before, policy=policy))
            writes.hints["rollout", f"{PROJECT}/{name}"] = None

    def add(
        self, name: str, environment: str, labels: dict[str, str] | None = None, *, on: bool = True, zone: str = "UTC",
        skew_s: float = 0.0,
    ) -> Member:  # fmt: skip
        """A robot that joins now. `on`: it is there; `skew_s`: its clock is so much ahead."""
        robot = Robot(
            name=RobotId(name),
            labels=dict(labels or {}),
            agenda=self.agenda,
            seed=self.seed,
            releases=self.releases,
            noted=lambda text: self.told(name, text),
            skew_s=skew_s,
            zone=zone,
        )
        uplink = Uplink(robot, self.server.dial)
        robot.told, robot.gone, robot.up = uplink.tell, uplink.agent_gone, uplink.agent_up
        robot.online = lambda: uplink.network and self.server.up
        member = self.members[robot.name] = Member(robot, uplink)
        row = RobotRecord(
            name=robot.name,
            project=PROJECT,
            environment=EnvironmentName(environment),
            labels=robot.labels,
            public_key=uplink.public_key,
            joined_at=self.agenda.now,
            platform=PLATFORM,
            last_seen_at=self.agenda.now,
        )
        with self.server.database.writing() as writes:
            writes.put(writes.tables.robots, robot.name, row)
            writes.append(writes.tables.changes, robot.name)
            writes.hints["rollout", f"{PROJECT}/{environment}"] = None
        if on:
            uplink.connect()
        else:
            uplink.network = False
        return member

    def release(
        self, version: str, flaw: Flaw = Flaw.NONE, *, share: float = 1.0, select: str = "", late_s: float = 30.0,
        base_failures: float = BASE_FAILURES,
    ) -> Release:  # fmt: skip
        """A deployment that was built now."""
        number = len(self.releases) + 1
        release = Release(
            id=DeploymentId(f"dep_{number:08d}"),
            digest=ManifestDigest(f"{number:064x}"),
            version=version,
            created_at=self.agenda.now + timedelta(microseconds=number),
            flaw=flaw,
            share=share,
            select=select,
            late_s=late_s,
            base_failures=base_failures,
        )
        self.releases[release.id] = release
        row = DeploymentRow(
            id=release.id,
            project=PROJECT,
            environment=None,
            version=version,
            created_by="anna",
            created_at=release.created_at,
            source="push",
            status="built",
            package_hash=release.digest,
        )
        with self.server.database.writing() as writes:
            writes.put(writes.tables.deployments, release.id, row)
        return release

    # --- what people do

    def roll_out(
        self, release: Release | DeploymentId, environment: str, *, kind: Kind = "deploy", by: str = "anna", reason: str = "",
        robots: tuple[RobotId, ...] | None = None, force: bool = False,
    ) -> RolloutId:  # fmt: skip
        """A rollout begins. Raises as `begin` does."""
        id = release.id if isinstance(release, Release) else release

        async def start() -> RolloutId:
            async with self.server.database.open() as store:
                return await begin(
                    store, self.server.stage, deployment_id=id, environment=EnvironmentName(environment), kind=kind, by=by,
                    reason=reason, robots=robots, force=force,
                )  # fmt: skip

        return at_once(start())

    def live(self, environment: str) -> DeploymentId | None:
        """What is live there."""
        return self.server.tables.environments[PROJECT, environment].live

    def freeze(self, environment: str, frozen: bool) -> None:
        """A push is not rolled out there, or is again."""
        key = (PROJECT, environment)
        with self.server.database.writing() as writes:
            row = writes.tables.environments[key]
            writes.put(writes.tables.environments, key, msgspec.structs.replace(row, frozen=frozen))

    def resume(self, name: RobotId) -> None:
        """A robot's pin ends: it goes to what is live in its environment, as `lekiwi robots resume` does it."""
        with self.server.database.writing() as writes:
            row = writes.tables.robots[name]
            environment = writes.tables.environments[row.project, row.environment]
            generation = row.generation + 1
            writes.robot(
                name, desired=environment.live, generation=generation, by_hand=False, pinned_by=None, pinned_at=None,
                force=False, forced_by=None, resume=True,
            )  # fmt: skip
            rollout = environment.live_rollout
            if rollout is not None and name in writes.tables.asked[rollout]:
                writes.asked(
                    rollout, name, status="assigned", generation=generation, assigned_at=self.agenda.now, outcome=None, waiting=()
                )  # fmt: skip
                writes.hints["rollout", rollout] = None
            writes.hints["desired", name] = None

    def drain(self, name: RobotId, out: bool) -> None:
        """A person takes a robot out of deployments, or puts it back."""
        now = self.agenda.now
        with self.server.database.writing() as writes:
            writes.robot(
                name,
                drained_by="anna" if out else None,
                drained_at=now if out else None,
                drained_why="" if out else None,
            )
            row = writes.tables.robots[name]
            writes.hints["rollout", f"{row.project}/{row.environment}"] = None

    def move(self, name: RobotId, environment: str) -> None:
        """A person puts a robot into another environment; both hear of it."""
        with self.server.database.writing() as writes:
            before = writes.tables.robots[name].environment
            writes.robot(name, environment=EnvironmentName(environment), by_hand=False, pinned_by=None, pinned_at=None)
            for place in (before, environment):
                writes.hints["rollout", f"{PROJECT}/{place}"] = None

    def label(self, name: RobotId, labels: dict[str, str]) -> None:
        """A robot's labels become these."""
        with self.server.database.writing() as writes:
            writes.robot(name, labels=labels)
            row = writes.tables.robots[name]
            writes.hints["rollout", f"{row.project}/{row.environment}"] = None

    # --- time

    def run(self, seconds: float) -> None:
        """Lets so much time go by."""
        self.agenda.run(self.agenda.elapsed + seconds)

    def run_until(self, true: Callable[[], bool], within_s: float, step_s: float = 60.0) -> bool:
        """Lets time go by until `true()` holds, looked at every `step_s`; False: it does not within `within_s`."""
        end = self.agenda.elapsed + within_s
        while not true():
            if self.agenda.elapsed >= end:
                return False
            self.run(step_s)
        return True

    def robots(self, environment: str) -> Iterable[Member]:
        """Those of an environment, by name."""
        for name, row in sorted(self.server.tables.robots.items()):
            if row.environment == environment:
                yield self.members[RobotId(name)]
