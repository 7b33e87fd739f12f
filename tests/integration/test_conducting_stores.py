"""The store of the simulation is held to what PostgreSQL does: any sequence of a conductor's acts gives the same answers in both."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from conducting_pair import DEPLOYMENTS, ENVIRONMENTS, PROJECT, ROBOTS, Pair
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Phase_
from hypothesis import strategies as st

from lekiwi_deploy.fleet.course import Course, Pause
from lekiwi_deploy.server.conducting_store import ConductingStore
from lekiwi_deploy.server.store.activations import Ran
from lekiwi_deploy.server.store.conducting import Change, Deferring
from lekiwi_deploy.server.store.database import Database
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.ids import RobotId, RolloutId
from lekiwi_deploy.wire.link import Outcome, Phase, Report, Result, Running
from lekiwi_deploy.wire.progress import Note, RobotMoved
from lekiwi_deploy.wire.reasons import Asked, Busy, Offline

pytestmark = pytest.mark.engine

numbers = st.integers(min_value=0, max_value=11)
acts = st.sampled_from(
    [
        "insert", "insert", "robot", "settle", "assign", "assign", "unassign", "record", "record", "defer", "course", "counts", "finish", "live",
        "open", "close", "ran", "count", "quarantine", "lift", "tell", "audit", "deployment", "report", "report", "lost", "move", "labels",
        "pin", "drain", "comes", "cloned",
    ]
)  # fmt: skip
steps = st.lists(st.tuples(acts, numbers, numbers, st.integers(0, 9)), min_size=1, max_size=14)


@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase_.explicit, Phase_.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(sequence=steps)
def test_both_stores_answer_the_same(database_url: str, sequence: list[tuple[str, int, int, int]]) -> None:
    asyncio.run(_both_do(database_url, sequence))


def test_what_a_failed_transaction_wrote_is_gone_in_both(database_url: str) -> None:
    """A whole rollout, with every act twice: first in a transaction that fails."""
    names = [
        "insert",
        "settle",
        "assign",
        "record",
        "live",
        "open",
        "tell",
        "quarantine",
        "count",
        "finish",
        "unassign",
    ]
    asyncio.run(_both_do(database_url, [(name, 0, 0, undone) for name in names for undone in (0, 9)]))


async def _both_do(url: str, sequence: list[tuple[str, int, int, int]]) -> None:
    database = Database(url)
    await database.open()
    try:
        pair = Pair(database)
        await pair.begin()
        await pair.compare([])
        rollouts: list[str] = []
        for name, one, other, chance in sequence:
            await _act(pair, rollouts, name, one, other, undone=chance == 0)
        await pair.compare(rollouts)
        for name in ("insert", "settle", "assign", "record", "live"):
            await _act(pair, rollouts, name, 1, 2, undone=False)
        await pair.compare(rollouts)
    finally:
        await database.close()


async def _act(pair: Pair, rollouts: list[str], name: str, one: int, other: int, *, undone: bool) -> None:
    robot = ROBOTS[one % len(ROBOTS)]
    now = pair.now()
    match name:
        case "report":
            await pair.reports(robot, _report(one, other))
        case "lost":
            await pair.is_lost(robot)
        case "move":
            await pair.robot(robot, environment=ENVIRONMENTS[other % 2])
        case "labels":
            await pair.robot(robot, labels={"hw": f"v{other}"})
        case "pin":
            await pair.robot(robot, by_hand=True, pinned_by="anna", pinned_at=now, desired=DEPLOYMENTS[other % 4])
        case "drain":
            await pair.robot(robot, drained_by="anna", drained_at=now, drained_why="arm off")
        case "cloned":
            await pair.robot(robot, cloned_at=now)
        case "comes":
            await pair.robot_comes(robot)
        case "insert":
            id = f"rol_0000000{len(rollouts)}"
            row = _rollout(id, one, other, pair)
            key = f"key {id}" if other % 2 else None
            keep = [name for name in ROBOTS[other % 4 :] if name in pair.memory.tables.robots] if one % 3 == 0 else []

            async def insert(store: ConductingStore) -> object:
                await store.insert_rollout(row, key)
                await store.keep_robots(id, keep)
                only = None if row.kind != "robot" else [robot]
                return await store.add_robots(id, PROJECT, row.environment, only)

            await pair.both(insert, undone=undone)
            if not undone:
                rollouts.append(id)
        case _ if rollouts:
            await _on_rollout(pair, rollouts[one % len(rollouts)], name, one, other, undone=undone)
        case _:
            pass


async def _on_rollout(pair: Pair, id: str, name: str, one: int, other: int, *, undone: bool) -> None:
    now = pair.now()
    row = pair.memory.tables.rollouts[id]
    asked = sorted(pair.memory.tables.asked[id])
    some = [robot for number, robot in enumerate(asked) if (number + other) % 2 == 0]
    there = [robot for robot in ROBOTS if robot in pair.memory.tables.robots]
    place: dict[str, Any] = {"project": PROJECT, "environment": row.environment}

    async def do(store: ConductingStore) -> object:
        match name:
            case "robot":
                return await store.add_robots(id, PROJECT, row.environment, [ROBOTS[other % 5]])
            case "settle":
                only = None if other % 2 else ROBOTS[: other % 5]
                return set(await store.settle(id, **place, only=only))
            case "assign":
                by = "anna" if other % 3 == 0 else None
                forced = "ben" if other % 4 == 0 else None
                await store.assign(
                    id,
                    some,
                    row.deployment,
                    by_hand=by,
                    forced_by=forced,
                    step=other % 3,
                    anytime=other % 2 == 0,
                    now=now,
                )
            case "unassign":
                await store.unassign(**place, deployment=row.deployment)
            case "record":
                await store.record(id, [_change(robot, one, other, now) for robot in some], now)
            case "defer":
                await store.defer(
                    [Deferring(robot=robot, since=now if other % 2 else None) for robot in there], lock=some
                )
            case "course":
                await store.set_course(
                    id, Course(at=other, paused=Pause("anna", now, "why") if other % 2 else None, told="2 soak")
                )
            case "counts":
                await store.set_counts(id, total=one, live=other, pending=1, failed=2)
            case "finish":
                await store.finish(id, ("done", "partial", "rolled_back", "superseded")[other % 4], now)
            case "live":
                nothing = other % 4 == 3
                await store.set_live(
                    PROJECT, row.environment, None if nothing else row.deployment, None if nothing else id
                )
            case "open":
                await store.open_activation(PROJECT, row.environment, row.deployment, id, now, one)
            case "close":
                await store.close_activation(PROJECT, row.environment, now)
            case "ran":
                ran = [Ran(robot=robot, status="good", outcome=_outcome(other, now)) for robot in some]
                await store.ran(row.deployment, ran, now)
            case "count":
                await store.count_activation(id, good=one, healthy=other, total=other + 1)
            case "quarantine":
                await store.put_quarantine(row, f"it failed on {other}", now)
            case "lift":
                await store.lift_quarantine(PROJECT, row.environment, row.deployment, "anna", now)
            case "tell":
                bodies = [Note("it is so"), RobotMoved(robot=ROBOTS[0], status="good", waiting=(Offline(now),))]
                await store.tell(id, bodies[: other % 3], now, close=other % 2 == 1)
            case "audit":
                await store.audit("anna", "rollout.pause", f"project/{PROJECT}", {"why": other, "robots": ["a"]})
            case "deployment":
                await store.set_deployment_rollout(row.deployment, RolloutId(id))
        return None

    await pair.both(do, undone=undone)


def _rollout(id: str, one: int, other: int, pair: Pair) -> RolloutRow:
    return RolloutRow(
        id=RolloutId(id),
        project=PROJECT,
        environment=ENVIRONMENTS[other % 2],
        deployment=DEPLOYMENTS[one % 4],
        kind=("deploy", "rollback", "robot")[one % 3],
        status="rolling",
        by_whom="anna",
        reason="because",
        force=other % 2 == 0,
        created_at=pair.clock,
        finished_at=None,
        previous=DEPLOYMENTS[other % 4] if other % 3 else None,
        total=0,
        live=0,
        pending=0,
        failed=0,
        course=Course(in_flight=other + 1),
    )


def _change(robot: RobotId, one: int, other: int, now: Any) -> Change:
    return Change(
        robot=robot,
        status=("pending", "assigned", "good", "rolled_back")[other % 4],
        outcome=_outcome(other, now) if one % 2 else None,
        waiting=(Asked(now), Busy(owner="teleop", why="driven", since=now, until=None, id="h1"))[: other % 3],
        confirmed=other % 4 == 2,
        look_at=now + timedelta(minutes=5) if one % 3 == 0 else None,
    )


def _outcome(number: int, now: Any) -> Outcome:
    deployment = DEPLOYMENTS[number % 4]
    return Outcome(
        deployment=deployment, digest=_digest(number), generation=number, result=Result.GOOD, at=now, switch_ms=12.5, log=("a", "b")
    )  # fmt: skip


def _digest(number: int) -> Any:
    return f"{number % 4:064x}"


def _report(one: int, other: int) -> Report:
    at = Pair.clock
    running = Running(
        deployment=DEPLOYMENTS[one % 4], digest=_digest(one), healthy=other % 2 == 0, good=other % 3 == 0, since=at
    )
    return Report(
        number=one + 1,
        epoch=1,
        generation=other,
        phase=Phase.IDLE,
        running=running if other % 5 else None,
        waiting=(Offline(at),) if other % 4 == 0 else (),
        quarantined=(DEPLOYMENTS[other % 4],) if one % 4 == 0 else (),
    )
