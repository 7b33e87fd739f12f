"""Previews over a real database: simulated robots on real links are lent, run the branch, and come home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from fleet_world import WEB, FleetWorld, fleet_world
from git_server import Repository
from served_app import Asker

from lekiwi_deploy.fleet.branches import Previews
from lekiwi_deploy.server import previewing, previews
from lekiwi_deploy.server.builds import builder
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git import reconciler
from lekiwi_deploy.server.git.reconciler import Waits, go_live
from lekiwi_deploy.server.git.repositories import git, repository_path
from lekiwi_deploy.server.store import audit, deployments, policies, projects, refs
from lekiwi_deploy.server.store import previews as store
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName
from lekiwi_deploy.wire.policy import Policy, RolloutStep
from lekiwi_deploy.wire.previews import PreviewView
from lekiwi_deploy.wire.progress import Note, RolloutFinished
from lekiwi_deploy.wire.reasons import AwaitsRobot
from lekiwi_deploy.wire.rollouts import RolloutAct

pytestmark = [pytest.mark.anyio, pytest.mark.engine]

POOL = EnvironmentName("preview-robots")
HOUR = timedelta(hours=1)


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


def later(context: Context, by: timedelta) -> Context:
    """The same server, so much later."""

    def now() -> datetime:
        return context.now() + by

    return replace(context, now=now)


async def push(world: FleetWorld, branch: str) -> tuple[DeploymentId, Waits | None]:
    """A built push of the branch whose ref has moved, and what became of it."""
    id = await world.build()
    async with world.context.database.transaction() as tx:
        preview = Previews(EnvironmentName(branch), branch, POOL, "")
        await previewing.prepare(tx, world.context, WEB, preview, "anna")
        await tx.execute(
            "UPDATE deployments SET environment = %s, branch = %s, ref = %s, source = 'push' WHERE id = %s",
            (branch, branch, f"refs/heads/{branch}", id),
        )
        row = await deployments.read(tx, id)
        assert row is not None
    async with world.context.database.transaction() as tx:
        return id, await go_live(tx, world.context, row)


async def preview(world: FleetWorld, name: str) -> PreviewView:
    found: PreviewView = await world.get(f"/api/projects/web/previews/{name}", PreviewView)
    return found


async def lent_to(world: FleetWorld, name: str) -> list[str]:
    return [lease.robot for lease in (await preview(world, name)).leases]


async def runs(world: FleetWorld, robot: int, deployment: DeploymentId) -> None:
    async def does() -> bool:
        running = world.robots[robot].running
        return running is not None and running.deployment == deployment

    await world.until(f"robot {robot} runs {deployment}", does)


async def home_live(world: FleetWorld) -> DeploymentId:
    """A deployment that is live in the pool and on its robots."""
    id = await world.build()
    await world.finished(await world.roll_out(id, POOL))
    return id


async def test_a_push_gets_a_free_robot_at_once_and_the_robot_comes_home_when_the_time_is_over(
    world: FleetWorld,
) -> None:
    robot = await world.robot(group=POOL)
    home = await home_live(world)
    branch, waits = await push(world, "pr-1")
    assert waits is None
    await runs(world, 0, branch)
    assert (await world.seen(robot.name)).environment == "pr-1"
    view = await preview(world, "pr-1")
    assert [(lease.robot, lease.home) for lease in view.leases] == [(robot.name, POOL)]
    assert view.live == branch
    assert view.until is not None and 3.9 * HOUR < view.until - world.context.now() <= 4 * HOUR
    await previews.look(later(world.context, 3 * HOUR))
    assert await lent_to(world, "pr-1") == [robot.name]
    await previews.look(later(world.context, 5 * HOUR))
    await runs(world, 0, home)
    seen, after = await world.seen(robot.name), await preview(world, "pr-1")
    assert (seen.environment, seen.desired) == (POOL, home)
    assert (after.leases, after.live, after.until, after.waits_since) == ((), None, None, None)
    async with world.context.database.transaction() as tx:
        told = [change.action for change in await audit.newest(tx, 20)]
    assert {"preview.open", "preview.lease", "preview.return"} <= set(told)
    assert (await world.environment(EnvironmentName("pr-1"))).live is None  # it stays listed


async def test_a_robot_that_was_drained_meanwhile_comes_home_and_keeps_what_it_runs(world: FleetWorld) -> None:
    robot = await world.robot(group=POOL)
    home = await home_live(world)
    branch, _ = await push(world, "pr-1")
    await runs(world, 0, branch)
    await world.owner.ask("POST", f"/api/robots/{robot.name}/drain", {"reason": "a new arm"})
    await previews.look(later(world.context, 5 * HOUR))
    seen = await world.seen(robot.name)
    assert (seen.environment, seen.desired) == (POOL, None)
    await world.owner.ask("POST", f"/api/robots/{robot.name}/undrain", {})
    await runs(world, 0, home)


async def test_a_robot_whose_labels_changed_meanwhile_goes_where_they_put_it(world: FleetWorld) -> None:
    robot = await world.robot(group=POOL)
    await home_live(world)
    await push(world, "pr-1")
    async with world.context.database.transaction() as tx:
        await projects.ensure_environment(tx, WEB, EnvironmentName("lab"), world.context.now())
        await policies.write(tx, WEB, "lab", None, Policy(select="site=lab"))
    status, _, body = await world.owner.ask("PATCH", f"/api/robots/{robot.name}", {"labels": {"site": "lab"}})
    assert status == 200, body
    assert (await world.seen(robot.name)).environment == "pr-1"
    await previews.look(later(world.context, 5 * HOUR))
    assert (await world.seen(robot.name)).environment == "lab"


async def test_a_rollout_that_is_under_way_when_the_lease_ends_ends_truly(world: FleetWorld) -> None:
    robot = await world.robot(group=POOL)
    robot.slow = True
    await push(world, "pr-1")
    (rollout,) = await world.get("/api/projects/web/rollouts?environment=pr-1", list[dict[str, object]])
    await previews.look(later(world.context, 5 * HOUR))
    last = (await world.story(str(rollout["id"])))[-1].body
    assert isinstance(last, RolloutFinished)
    assert last.status == RolloutStatus.CANCELED
    assert f"its time is over): {robot.name} goes back to {POOL}" in last.text


async def test_previews_queue_first_come_first_served_and_say_where_they_stand(world: FleetWorld) -> None:
    await world.robot(group=POOL)
    first, _ = await push(world, "pr-1")
    second, waits = await push(world, "pr-2")
    third, more = await push(world, "pr-3")
    assert waits is not None and more is not None
    assert isinstance(waits.robot, AwaitsRobot)
    assert (waits.robot.ahead, more.robot.ahead if more.robot else None) == (0, 1)
    assert more.text.startswith("waits for a robot of preview-robots: 1 before it; the next comes free ")
    detail = await world.detail(third)
    assert [type(reason) for reason in detail.deployment.waiting] == [AwaitsRobot]
    status, _, _ = await world.owner.ask("DELETE", "/api/projects/web/previews/pr-1?reason=merged")
    assert status == 200
    await previews.look(world.context)
    await runs(world, 0, second)
    assert await lent_to(world, "pr-2") == [world.robots[0].name]
    assert (await preview(world, "pr-3")).ahead == 0
    notes = [entry.body.text for entry in await world.story(second) if isinstance(entry.body, Note)]
    assert any(text.startswith("pr-2 has kiwi-001 of preview-robots until ") for text in notes)
    assert first != second


async def test_a_new_push_starts_the_time_anew_and_asking_again_for_the_same_one_does_not(world: FleetWorld) -> None:
    await world.robot(group=POOL)
    id, _ = await push(world, "pr-1")
    async with world.context.database.transaction() as tx:
        soon = world.context.now() + timedelta(minutes=5)
        await store.prolong(tx, WEB, "pr-1", soon)
        row = await store.read(tx, WEB, "pr-1")
        assert row is not None
        await store.put(tx, msgspec.structs.replace(row, until=soon))
        deployment = await deployments.read(tx, id)
        assert deployment is not None
    async with world.context.database.transaction() as tx:
        assert await go_live(tx, world.context, deployment) is None
    assert (await preview(world, "pr-1")).until == soon
    again, _ = await push(world, "pr-1")
    view = await preview(world, "pr-1")
    assert view.until is not None and view.until > soon + 3 * HOUR
    assert view.leases[0].until == view.until
    await runs(world, 0, again)


async def test_a_robot_comes_home_to_what_became_live_meanwhile(world: FleetWorld) -> None:
    await world.robot(group=POOL)
    await home_live(world)
    await push(world, "pr-1")
    new = await home_live(world)  # no robot is at home
    await previews.look(later(world.context, 5 * HOUR))
    await runs(world, 0, new)
    rollout = (await world.detail(new)).rollout
    assert rollout is not None

    async def counted() -> bool:
        found = await world.rollout(rollout.id)
        return [(one.robot, one.status.value) for one in found.robots] == [(world.robots[0].name, "healthy")]

    await world.until("the rollout of home counts it", counted)


async def test_a_robot_comes_home_to_what_it_ran_while_something_new_still_comes_step_by_step(
    world: FleetWorld,
) -> None:
    for _ in range(3):
        await world.robot(group=POOL)
    before = await home_live(world)
    await push(world, "pr-1")
    (lent,) = await lent_to(world, "pr-1")
    (number,) = [at for at, robot in enumerate(world.robots) if robot.name == lent]
    async with world.context.database.transaction() as tx:
        policy = Policy(steps=(RolloutStep(robots=1), RolloutStep(approval=True)))
        await policies.write(tx, WEB, POOL, None, policy)
    new = await world.build()
    rollout = await world.roll_out(new, POOL)

    async def canary() -> bool:
        return (await world.rollout(rollout)).counts.live == 1

    await world.until("the canary has it", canary)
    await previews.look(later(world.context, 5 * HOUR))
    await runs(world, number, before)
    status, _, body = await world.owner.ask("POST", f"/api/rollouts/{rollout}/complete", RolloutAct())
    assert status == 200, body
    await runs(world, number, new)


async def test_two_servers_that_look_at_once_lend_a_robot_once(world: FleetWorld) -> None:
    robot = await world.robot(group=POOL, online=False)
    await push(world, "pr-1")
    await push(world, "pr-2")
    await robot.welcomed()
    other = replace(world.context, replica="rep_other000")
    await asyncio.gather(*(previews.look(one) for one in (world.context, other) * 3))
    async with world.context.database.transaction() as tx:
        assert len(await store.leases(tx, WEB)) == 1
    assert await lent_to(world, "pr-1") == [robot.name]
    assert (await preview(world, "pr-2")).waits_since is not None


async def test_a_preview_whose_robot_was_removed_gets_another_for_the_rest_of_its_time(world: FleetWorld) -> None:
    await world.robot(group=POOL)
    id, _ = await push(world, "pr-1")
    until = (await preview(world, "pr-1")).until
    other = await world.robot(group=POOL)
    status, _, _ = await world.owner.ask("DELETE", f"/api/robots/{world.robots[0].name}")
    assert status == 204
    await previews.look(world.context)
    assert await lent_to(world, "pr-1") == [other.name]
    assert (await preview(world, "pr-1")).until == until
    await runs(world, 1, id)


async def test_nothing_is_lent_while_the_pool_is_frozen(world: FleetWorld) -> None:
    await world.robot(group=POOL)
    async with world.context.database.transaction() as tx:
        await projects.freeze(tx, WEB, POOL, "anna", world.context.now(), "demo")
    id, waits = await push(world, "pr-1")
    assert waits is not None and waits.text.endswith("preview-robots is frozen")
    async with world.context.database.transaction() as tx:
        await projects.unfreeze(tx, WEB, POOL)
    await previews.look(world.context)
    await runs(world, 0, id)


async def test_robots_that_are_off_drained_or_pinned_are_not_lent(world: FleetWorld) -> None:
    await world.robot(group=POOL, online=False)
    drained = await world.robot(group=POOL)
    status, _, body = await world.owner.ask("POST", f"/api/robots/{drained.name}/drain", {"reason": "a new arm"})
    assert status in (200, 201), body
    _, waits = await push(world, "pr-1")
    assert waits is not None
    assert waits.text.endswith("it is first in the queue; kiwi-002 is drained, kiwi-001 is offline")


async def test_a_preview_that_was_removed_while_it_waited_never_goes_live(world: FleetWorld) -> None:
    id, waits = await push(world, "pr-1")
    assert waits is not None and waits.text.endswith("preview-robots has no robots")
    await world.owner.ask("DELETE", "/api/projects/web/previews/pr-1")
    async with world.context.database.transaction() as tx:
        assert id not in [row.id for row in await refs.waiting(tx, WEB)]
        assert await store.listed(tx, WEB) == []
        assert "pr-1" not in [one.name for one in await projects.environments(tx, WEB)]
    assert (await world.detail(id)).deployment.status.value == "built"
    status, _, why = await world.owner.ask("GET", f"/api/deployments/{id}/why")
    assert status == 200, why


async def test_a_push_whose_preview_was_removed_while_it_was_built_says_so_and_holds_nothing_up(
    world: FleetWorld,
) -> None:
    await world.robot(group=POOL)
    id, _ = await push(world, "pr-1")
    again = await world.build()
    async with world.context.database.transaction() as tx:
        await tx.execute(
            "UPDATE deployments SET environment = 'pr-1', branch = 'pr-1', ref = 'refs/heads/pr-1' WHERE id = %s",
            (again,),
        )
    await world.owner.ask("DELETE", "/api/projects/web/previews/pr-1")
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE deployments SET roll_out = true WHERE id = %s", (again,))
        row = await deployments.read(tx, again)
        assert row is not None
    async with world.context.database.transaction() as tx:
        waits = await go_live(tx, world.context, row)
        assert waits is not None and waits.text == "pr-1 was removed while it was built: push again"
    async with world.context.database.transaction() as tx:
        assert await refs.waiting(tx, WEB) == []
    assert id != again


async def test_a_preview_can_be_prolonged_only_while_it_has_robots(world: FleetWorld) -> None:
    await push(world, "pr-1")
    status, _, body = await world.owner.ask("POST", "/api/projects/web/previews/pr-1/extend", {"lease_s": 7200.0})
    assert (status, body["next"]) == (409, ["lekiwi preview open pr-1"])
    await world.robot(group=POOL)
    await previews.look(world.context)
    status, _, body = await world.owner.ask("POST", "/api/projects/web/previews/pr-1/extend", {"lease_s": 36000.0})
    assert status == 200
    until = msgspec.convert(body, PreviewView).until
    assert until is not None and until - world.context.now() > 9.9 * HOUR
    status, _, _ = await world.owner.ask("POST", "/api/projects/web/previews/pr-1/extend", {"lease_s": 5.0})
    assert status == 400
    status, _, body = await world.owner.ask("GET", "/api/projects/web/previews/pr-9")
    assert status == 404 and "it has: pr-1" in body["message"]


async def test_what_is_deployed_to_a_preview_by_another_way_gets_a_robot_too(world: FleetWorld) -> None:
    await world.robot(group=POOL)
    await push(world, "pr-1")
    await previews.look(later(world.context, 5 * HOUR))
    other = await world.build()
    await world.roll_out(other, EnvironmentName("pr-1"))
    await previews.look(world.context)
    await previews.look(world.context)
    await runs(world, 0, other)


async def test_with_real_git_the_branch_makes_the_preview_and_its_end_ends_it(
    world: FleetWorld, api_url: str, tmp_path: Path
) -> None:
    loops = [asyncio.create_task(run(world.context)) for run in (builder.run, reconciler.run)]
    config = replace(world.context.config, url=api_url, local_url=api_url)
    object.__setattr__(world.context, "config", config)  # hooks ask where the server is
    try:
        robot = await world.robot(group=POOL)
        clone = Repository(tmp_path / "clone")
        address = api_url.replace("://", f"://x:{world.owner.token}@") + "/git/web.git"
        files: dict[str, str | bytes] = {
            "run*": "#!/bin/sh\nexec sleep 1000\n",
            "lekiwi.yaml": 'branches: {main: production, "pr-*": preview-robots}\npreview-robots: {preview: {lease: 2h}}\n',
        }
        await clone.commit(files)
        pushed = await clone.git("push", address, "HEAD:main", "HEAD:pr-7")
        said = "\n".join(pushed.remote)
        assert "→ pr-7, a preview on robots of preview-robots" in said
        assert f"pr-7 has {robot.name} of preview-robots until " in said
        assert "=====> Live on 1/1 robots" in said
        view = await preview(world, "pr-7")
        assert (view.lease_s, view.wants, [lease.robot for lease in view.leases]) == (7200.0, 1, [robot.name])
        status, _, body = await world.owner.ask("POST", "/api/projects/web/previews", {"branch": "main"})
        assert status == 400 and "gets no preview: it goes to production" in body["message"]
        await clone.commit({"run*": "#!/bin/sh\nexec sleep 2000\n"})
        waiting = await clone.git("push", address, "HEAD:pr-8", timeout=30)  # it does not sit there
        assert any("waits for a robot of preview-robots: it is first in the queue" in line for line in waiting.remote)
        status, _, made = await world.owner.ask(
            "POST", "/api/projects/web/deployments", {"ref": "pr-8", "environment": "pr-8"}
        )
        assert status == 202, made

        async def waits() -> bool:
            return [type(one) for one in (await world.detail(made["id"])).deployment.waiting] == [AwaitsRobot]

        await world.until("what a person deployed waits for a robot, too", waits)
        deleted = await clone.git("push", address, "--delete", "pr-7")
        assert any(
            f"the preview pr-7 is over (the branch was deleted): {robot.name} goes back to preview-robots" in line
            for line in deleted.remote
        )
        await previews.look(world.context)
        assert await lent_to(world, "pr-8") == [robot.name]
        repository = repository_path(world.context.config.data, WEB)
        await git(world.context.config.data, repository, "update-ref", "-d", "refs/heads/pr-8")  # as after a crash
        await previews.end_deleted(world.context)
        assert await lent_to(world, "pr-8") == [robot.name]  # a push may be under way
        await previews.end_deleted(later(world.context, HOUR))
        async with world.context.database.transaction() as tx:
            assert await store.listed(tx, WEB) == []
        assert (await world.seen(robot.name)).environment == POOL
    finally:
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
