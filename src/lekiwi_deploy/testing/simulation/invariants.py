"""What must hold at every step, and in the end when everything has come to rest."""

from __future__ import annotations

from collections import Counter

import msgspec

from lekiwi_deploy.fleet.course import steps_of
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.testing.simulation.memory.tables import AskedRecord, RobotRecord
from lekiwi_deploy.testing.simulation.world import PROJECT, World
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, RobotId
from lekiwi_deploy.wire.reasons import LaterStep

UNDER_WAY = {"assigned", "fetching", "switching"}
_EXPLAINED = {*UNDER_WAY, "pending", "held"}


class Broken(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Looks after each step of the conductor."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cursor = 0
        self._generations: dict[RobotId, int] = {}
        self._wanted: dict[RobotId, set[DeploymentId]] = {}
        self.steps = 0
        self.assignments = 0
        world.server.stepped = self.step

    def step(self) -> None:
        """After one step."""
        self.steps += 1
        tables = self._world.server.tables
        changed = {*tables.changes[self._cursor :]}
        self._cursor = len(tables.changes)
        for name in changed:
            self._robot(tables.robots[name])
        live = {one.live_rollout for one in tables.environments.values()}
        for row in tables.rollouts.values():
            if (row.status == RolloutStatus.ROLLING or row.id in live) and not self._world.server.is_hinted(row):
                self._rollout(row, tables.asked[row.id], row.id in live)

    def _robot(self, row: RobotRecord) -> None:
        before = self._generations.get(row.name, 0)
        if row.generation < before:
            raise Broken(f"{row.name}: generation {before} became {row.generation}")
        self._generations[row.name] = row.generation
        if row.cloned_at is not None:
            raise Broken(f"{row.name} was taken for two machines")
        wanted = self._wanted.setdefault(row.name, set())
        if row.desired is not None:
            wanted.add(row.desired)
        live = self._world.members[row.name].robot.ledger.live
        if live is not None and live not in wanted:
            raise Broken(f"{row.name} runs {live}, which nobody ever wanted there")

    def _rollout(self, row: RolloutRow, asked: dict[RobotId, AskedRecord], live: bool) -> None:
        now = self._world.agenda.now
        tables = self._world.server.tables
        new: list[RobotId] = []
        under_way: list[RobotId] = []
        for name, one in asked.items():
            unasked = one.generation is None and row.course.later is not None  # one reason for all of them
            if one.status in _EXPLAINED and not one.waiting and not unasked:
                raise Broken(f"{name} is {one.status} in {row.id}, and nothing says why")
            if one.status in UNDER_WAY and tables.robots[name].session is not None:
                under_way.append(name)
            if one.assigned_at == now and one.generation == tables.robots[name].generation:
                new.append(name)
        if live and row.kind != "robot":
            here = {one.name for one in tables.robots.values() if one.environment == row.environment}
            if here - asked.keys():
                raise Broken(f"{sorted(here - asked.keys())} are in no rollout of {row.environment}")
        if new:
            self.assignments += len(new)
            self._assigned(row, new, under_way)

    def _assigned(self, row: RolloutRow, new: list[RobotId], under_way: list[RobotId]) -> None:
        tables, course = self._world.server.tables, row.course
        robots = [tables.robots[name] for name in new]
        held = tables.quarantines.get((row.project, row.environment, row.deployment))
        for robot in robots:
            if robot.force:
                continue
            if held is not None and held.lifted_at is None and row.kind != "robot":
                raise Broken(f"{robot.name} is given {row.deployment}, which is quarantined in {row.environment}")
            if robot.report is not None and row.deployment in robot.report.quarantined:
                raise Broken(f"{robot.name} is given {row.deployment}, which failed there")
        there = [robot for robot in robots if robot.session is not None]
        if course.stopped is not None or (course.paused is not None and not row.force):
            raise Broken(f"{new} are asked by {row.id}, which is stopped or paused")
        if there and course.in_flight is not None and len(under_way) > course.in_flight:
            raise Broken(f"{len(under_way)} robots are under way in {row.id}, {course.in_flight} may be")
        step = steps_of(course.steps)[min(course.at, course.length - 1)]
        if there and step.max_unavailable is not None:
            groups = Counter(_group(tables.robots[name], step.per) for name in under_way)
            for robot in there:
                if groups[_group(robot, step.per)] > step.max_unavailable:
                    raise Broken(
                        f"more than {step.max_unavailable} of {step.per} are under way in {row.id}: {robot.name}"
                    )

    # --- in the end

    def at_rest(self) -> None:
        """Everybody is there, nobody acts, and much time has gone by."""
        world, tables = self._world, self._world.server.tables
        rolling = [row for row in tables.rollouts.values() if row.status == RolloutStatus.ROLLING]
        if rolling:
            raise Broken(f"{[row.id for row in rolling]} do not end: {self._why(rolling[0])}")
        for (_, name), environment in tables.environments.items():
            for member in world.robots(name):
                self._rests(member.robot.name, environment.live)

    def _rests(self, name: RobotId, live: DeploymentId | None) -> None:
        row, robot = self._world.server.tables.robots[name], self._world.members[name].robot
        if row.session is None or row.report is None:
            raise Broken(f"{name} is not linked in the end")
        told, knows = (msgspec.structs.replace(one, number=0) for one in (row.report, robot.report()))
        if told != knows:
            fields = [one for one in told.__struct_fields__ if getattr(told, one) != getattr(knows, one)]
            pairs = [f"{one}: {getattr(knows, one)}, told {getattr(told, one)}" for one in fields]
            raise Broken(f"{name} did not tell the server what it is: {'; '.join(pairs)}")
        runs = row.report.running.deployment if row.report.running is not None else None
        if live is None or runs == live or row.by_hand or robot.ledger.pin is not None:
            return
        rollout = self._world.server.tables.environments[PROJECT, row.environment].live_rollout
        assert rollout is not None
        stands = self._world.server.tables.asked[rollout][name]
        if stands.status in (RobotStatus.FAILED, RobotStatus.ROLLED_BACK, RobotStatus.SUPERSEDED):
            return
        later = self._world.server.tables.rollouts[rollout].course.later
        waiting = stands.waiting or ((later,) if stands.generation is None and later is not None else ())
        if not waiting or any(isinstance(reason, LaterStep) for reason in waiting):
            raise Broken(f"{name} runs {runs} and not {live} in the end, and nothing holds it: {stands}")

    def _why(self, row: RolloutRow) -> str:
        asked = self._world.server.tables.asked[row.id]
        return f"{row.course}, {Counter(str(one.status) for one in asked.values())}, " + str(
            next((f"{name}: {one}" for name, one in asked.items() if one.status in _EXPLAINED), "")
        )


def _group(robot: RobotRecord, per: str | None) -> str:
    return "" if per is None else robot.labels.get(per, "")
