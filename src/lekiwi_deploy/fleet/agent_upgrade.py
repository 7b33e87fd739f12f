"""Going over to another release of the agent: one robot first, then four times as many as are done, and nobody after the first failure. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.wire.agents import UpgradeRobotStatus as Status
from lekiwi_deploy.wire.agents import UpgradeStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentPhase, AgentState

GROWTH = 4
MOST_AT_ONCE = 50
LOST = timedelta(minutes=10)
"""A robot that was asked and has no link for so long counts as failed."""
SLOW = timedelta(minutes=30)
"""One that is linked, waits for nothing, and did not get there, too."""


@dataclass(frozen=True, slots=True)
class Member:
    """A robot of an upgrade: what is recorded (`status`, `asked_at`), and what it says. `agent` None: it never said anything of its
    agent; `last_seen_at` None: it never had a link."""

    robot: RobotId
    status: Status
    asked_at: datetime | None
    joined: bool
    online: bool
    last_seen_at: datetime | None
    agent: AgentState | None


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be recorded of a robot."""

    status: Status
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes`: anew; those that become `asked` are told, those that were and are it no longer are told to stay as they are."""

    status: UpgradeStatus
    why: str
    changes: Mapping[RobotId, Change]


def plan(attempt: int, release: str, members: Sequence[Member], now: datetime) -> Plan:
    """The next step of upgrade number `attempt` to `release`."""
    members = sorted(members, key=lambda member: member.robot)
    changes = {}
    for member in members:
        change = _moved(member, attempt, release, now)
        if change is not None:
            changes[member.robot] = change
    after = {
        member.robot: changes[member.robot].status if member.robot in changes else member.status for member in members
    }
    failed = [robot for robot, status in after.items() if status is Status.FAILED]
    if failed:
        for member in members:
            if after[member.robot] is Status.ASKED and not _began(member, attempt):
                changes[member.robot] = Change(Status.PENDING)
        under_way = any(
            status is Status.ASKED and not (robot in changes and changes[robot].status is Status.PENDING)
            for robot, status in after.items()
        )
        status = UpgradeStatus.ROLLING if under_way else UpgradeStatus.HALTED
        return Plan(status, f"it failed on {failed[0]}: nobody else is asked", changes)
    if all(status in (Status.DONE, Status.SKIPPED) for status in after.values()):
        return Plan(UpgradeStatus.DONE, "", changes)
    under_way_now = sum(status is Status.ASKED for status in after.values())
    done = sum(status is Status.DONE and robot not in _had(members, release) for robot, status in after.items())
    free = min(MOST_AT_ONCE, max(1, GROWTH * done)) - under_way_now
    for member in members:
        if free > 0 and after[member.robot] is Status.PENDING and member.online:
            changes[member.robot] = Change(Status.ASKED)
            free -= 1
    return Plan(UpgradeStatus.ROLLING, "", changes)


def _had(members: Sequence[Member], release: str) -> set[RobotId]:
    """Those that had it before anybody asked: they prove nothing."""
    return {
        member.robot
        for member in members
        if member.asked_at is None and member.agent is not None and member.agent.release == release
    }


def _moved(member: Member, attempt: int, release: str, now: datetime) -> Change | None:
    if member.status not in (Status.PENDING, Status.ASKED):
        return None
    agent = member.agent
    asked = member.status is Status.ASKED
    if not member.joined:
        return Change(Status.SKIPPED, "no machine has joined as it")
    if agent is not None and agent.release == release and agent.phase is not AgentPhase.TRIAL:
        return Change(Status.DONE, "" if asked else "it had it already")
    if member.online and not asked and (agent is None or agent.release is None):
        return Change(
            Status.SKIPPED,
            "its agent cannot replace itself: run the server's install.sh on it, or `lekiwi robots adopt` it again",
        )
    if not asked:
        return None
    if agent is not None and agent.attempt == attempt and agent.phase is AgentPhase.REFUSED:
        return Change(Status.FAILED, agent.why or "it went back")
    since = member.asked_at or now
    if not member.online and now - max(member.last_seen_at or since, since) > LOST:
        return Change(Status.FAILED, "it was not heard of for ten minutes after it was asked")
    waits = agent is not None and agent.phase is AgentPhase.WAITING
    if member.online and not waits and now - since > SLOW:
        return Change(Status.FAILED, "it did not get there within half an hour")
    return None


def _began(member: Member, attempt: int) -> bool:
    """Whether it is beyond being told to stay as it is."""
    agent = member.agent
    return agent is not None and agent.attempt == attempt and agent.phase is AgentPhase.TRIAL
