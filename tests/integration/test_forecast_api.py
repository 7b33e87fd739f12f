"""What would happen, over HTTP: who moves, who does not and why, what is sent, what would keep all of it; and that nothing does happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from fleet_world import FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit
from lekiwi_deploy.server.store.database import jsonb
from lekiwi_deploy.wire.forecast import Forecast
from lekiwi_deploy.wire.reasons import AwaitsApproval, Drained, Frozen

pytestmark = pytest.mark.engine
WEB = "/api/projects/web"


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        for number in range(3):
            await made.robot(f"kiwi-{number}")
        yield made


async def ask(world: FleetWorld, method: str, path: str, body: object = None) -> Any:
    status, _, answer = await world.owner.ask(method, path, body)
    assert status < 300, answer
    return answer


async def foretold(world: FleetWorld, **asked: object) -> Forecast:
    return msgspec.convert(await ask(world, "POST", f"{WEB}/forecast", asked), Forecast)


async def test_a_dry_run_of_a_rollback_says_who_moves_and_changes_nothing(world: FleetWorld) -> None:
    one, two = await world.release(), await world.release()
    answer = await ask(world, "POST", f"{WEB}/rollback", {"dry_run": True})
    plan = msgspec.convert(answer["forecast"], Forecast)
    assert (plan.deployment, plan.moves, plan.there, answer["rollout"]) == (one, 3, 0, None)
    assert [(robot.robot, robot.moves, robot.running) for robot in plan.robots] == [
        (f"kiwi-{n}", True, two) for n in range(3)
    ]
    assert plan.gates == ()
    assert (await world.environment()).live == two
    same = await foretold(world, deployment=two)
    assert (same.moves, same.there) == (0, 3)


async def test_one_robot_would_move_alone(world: FleetWorld) -> None:
    await world.release(), await world.release()
    answer = await ask(world, "POST", f"{WEB}/rollback", {"dry_run": True, "robot": "kiwi-1"})
    assert [one["robot"] for one in answer["forecast"]["robots"]] == ["kiwi-1"]


async def test_steps_drained_robots_and_what_would_keep_all_of_it_are_told(world: FleetWorld) -> None:
    await world.release()
    policy = {"set": {"rollout": "[{robots: 1, soak: 2m}]", "auto_deploy": "false"}}
    await ask(world, "PUT", f"{WEB}/environments/production/policy", policy)
    await ask(world, "POST", "/api/robots/kiwi-2/drain", {"reason": "new arm"})
    await ask(world, "POST", f"{WEB}/environments/production/freeze", {"reason": "demo"})
    plan = await foretold(world, pushed=True)
    assert [type(gate.reason) for gate in plan.gates] == [Frozen, AwaitsApproval]
    assert [(step.number, step.robots) for step in plan.steps] == [(1, 1), (2, 1)]
    first, second = (step.not_before for step in plan.steps)
    assert first is not None and second is not None and second - first == timedelta(minutes=2)
    assert sorted(robot.step for robot in plan.robots) == [0, 1, 2]
    (drained,) = [robot for robot in plan.robots if not robot.moves]
    assert isinstance(drained.reasons[0].reason, Drained)
    assert plan.bytes is None
    assert (await foretold(world)).gates == ()


async def test_ten_thousand_changes_are_paged_and_exported(world: FleetWorld) -> None:
    async with world.context.database.transaction() as tx:
        await audit.record(tx, "anna", "environment.freeze", "project/web/production", {})
        await tx.execute(
            "INSERT INTO audit (actor, action, target, detail) SELECT 'anna', 'robot.label', 'project/web/production/kiwi-1', %s "
            "FROM generate_series(1, 10000)",
            (jsonb({"labels": {"hw": "v2"}}),),
        )
    page = await ask(world, "GET", f"{WEB}/activity?limit=1000")
    assert len(page) == 1000
    older = await ask(world, "GET", f"{WEB}/activity?limit=1000&cursor={page[-1]['seq']}")
    assert older[0]["seq"] == page[-1]["seq"] - 1
    [freeze] = await ask(world, "GET", f"{WEB}/activity?type=environment.freeze")
    headers = {"authorization": f"Bearer {world.owner.token}", "accept": "application/x-ndjson"}
    answer = await world.owner.http.get(f"{WEB}/activity", headers=headers)
    lines = [msgspec.json.decode(line) for line in answer.content.splitlines() if line]
    assert len(lines) > 10_000
    assert [one["seq"] for one in lines] == sorted({one["seq"] for one in lines})
    assert freeze["seq"] in {one["seq"] for one in lines}
