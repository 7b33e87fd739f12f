"""What holds a deployment or an environment back as a whole, and that approvals are part of its past."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fleet_world import PRODUCTION, FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.server.approving import go_live
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import deployments
from lekiwi_deploy.server.store.approvals import Options
from lekiwi_deploy.wire.reasons import AwaitsApproval, Frozen, LaterStep, Quarantined, RolloutPaused
from lekiwi_deploy.wire.why import Whys

pytestmark = pytest.mark.engine
WEB = "/api/projects/web"


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        await made.robot("kiwi-1")
        yield made


async def ask(world: FleetWorld, method: str, path: str, body: object = None) -> Any:
    status, _, answer = await world.owner.ask(method, path, body)
    assert status < 300, answer
    return answer


async def why(world: FleetWorld, path: str) -> Whys:
    found: Whys = await world.get(path, Whys)
    return found


async def test_an_approval_holds_a_deployment_and_is_past_once_it_is_given(world: FleetWorld) -> None:
    await world.release()
    await ask(world, "PUT", f"{WEB}/environments/production/policy", {"set": {"approvals": "1"}})
    two = await world.build()
    async with world.context.database.transaction() as tx:
        row = await deployments.read(tx, two)
        assert row is not None
        came = await go_live(tx, world.context, row, PRODUCTION, Way.DEPLOY, by="ben", options=Options())
    assert came.request is not None
    deployment = f"/api/deployments/{two}/why"
    for path in (deployment, f"{WEB}/why?environment=production"):
        (held,) = (await why(world, path)).reasons
        assert isinstance(held.reason, AwaitsApproval)
        assert held.clears.startswith(f"lekiwi approve {two}")
        assert held.since is not None
    await ask(world, "POST", f"/api/deployments/{two}/approve", {"reason": "looks good"})
    told = await why(world, deployment)
    assert not any(isinstance(held.reason, AwaitsApproval) for held in told.reasons)
    assert told.past[0].text == "waited for approval in production: approved by owner"


async def test_a_freeze_a_pause_and_a_step_hold_the_environment(world: FleetWorld) -> None:
    await world.robot("kiwi-2")
    await world.release()
    await ask(
        world, "PUT", f"{WEB}/environments/production/policy", {"set": {"rollout": "[{robots: 1}, {approval: true}]"}}
    )
    rollout = await world.roll_out(await world.build())

    async def waits() -> bool:
        found = (await why(world, f"/api/rollouts/{rollout}/why")).reasons
        return [type(held.reason) for held in found] == [LaterStep]

    await world.until("the second step waits for a person", waits)
    await ask(world, "POST", f"{WEB}/environments/production/freeze", {"reason": "demo"})
    await ask(world, "POST", f"/api/rollouts/{rollout}/pause", {"reason": "lunch"})
    found = await why(world, f"{WEB}/why?environment=production")
    assert [type(held.reason) for held in found.reasons] == [Frozen, RolloutPaused]


async def test_what_is_quarantined_says_so_as_long_as_nothing_newer_is_live(world: FleetWorld) -> None:
    await world.release()
    two = await world.build()
    async with world.context.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO quarantines (project, environment, deployment, why, at) "
            "VALUES ('web', 'production', %s, 'it failed on 3 of 4 robots', now())",
            (two,),
        )
    (held,) = (await why(world, f"{WEB}/why?environment=production")).reasons
    assert isinstance(held.reason, Quarantined)
    assert held.text == f"{two} failed here and is not offered again: it failed on 3 of 4 robots"
    await world.release()
    assert (await why(world, f"{WEB}/why?environment=production")).reasons == ()
