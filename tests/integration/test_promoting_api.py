"""What was built before goes live elsewhere: promote, labels, redeploy; what differs; and stopping it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from fleet_world import WEB
from served_app import Asker, make_token
from shipping_world import PRODUCTION, STAGING, ShippingWorld, shipping_world

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import rollouts, uploads
from lekiwi_deploy.wire.api import Deployment, Deployments, DeploymentStatus, Role, RolloutStatus
from lekiwi_deploy.wire.changes import Alias, Canceled, Changed, Differences
from lekiwi_deploy.wire.ids import DeploymentId, UploadId
from lekiwi_deploy.wire.policy import Approvals, Policy, RolloutStep

pytestmark = pytest.mark.engine


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[ShippingWorld]:
    secret, _ = await make_token(context, Role.DEPLOYER, "anna")
    async with shipping_world(context, owner, api_url, {"anna": Asker(owner.http, secret)}) as made:
        yield made


async def cancel(world: ShippingWorld, id: str, **more: object) -> Canceled:
    return msgspec.convert(await world.post(f"/api/deployments/{id}/cancel", more), Canceled)


async def running(world: ShippingWorld) -> dict[str, DeploymentId | None]:
    return {robot.name: robot.running.deployment if robot.running else None for robot in world.fleet.robots}


# -- promote


async def test_a_promote_brings_the_same_bytes_and_says_what_differs(world: ShippingWorld) -> None:
    old = await world.release("one")
    new = await world.release("two", environment=STAGING)
    moved = await world.promote("staging", reason="demo day")
    assert (moved.deployment.id, moved.environment, moved.changed) == (new, "production", True)
    assert moved.rollout is not None
    assert (await world.fleet.finished(moved.rollout)).status == RolloutStatus.DONE
    assert await world.live() == new
    assert set((await running(world)).values()) == {new}
    differ = moved.differences
    assert (differ.a.id if differ.a else None, differ.same_bytes, differ.restarts) == (old, False, ("web",))
    assert [one.name for one in differ.files] == ["web.sh"]
    assert (await world.row(new)).package_hash == moved.deployment.digest  # nothing was built
    (newest, *_) = (await world.owner.ask("GET", "/api/projects/web/activity?limit=5"))[2]
    assert (newest["action"], newest["reason"]) == ("environment.promote", "demo day")
    assert moved.undo == f"lekiwi undo {newest['seq']}"


async def test_a_promote_can_be_taken_back_by_its_number(world: ShippingWorld) -> None:
    old = await world.release("one")
    await world.release("two", environment=STAGING)
    moved = await world.promote("staging")
    await world.fleet.finished(moved.rollout)  # type: ignore[arg-type]
    await world.post("/api/projects/web/undo", {"change": int(moved.undo.split()[-1])})
    assert await world.live() == old


async def test_showing_and_foretelling_change_nothing(world: ShippingWorld) -> None:
    old = await world.release("one")
    new = await world.release("two", environment=STAGING)
    shown = await world.promote("staging", show=True)
    assert (shown.deployment.id, shown.rollout, shown.forecast, shown.changed) == (new, None, None, True)
    told = await world.promote("staging", dry_run=True)
    assert told.forecast is not None
    assert (told.rollout, told.forecast.moves, told.forecast.deployment) == (None, 2, new)
    assert await world.live() == old


async def test_what_is_live_there_already_is_left_alone(world: ShippingWorld) -> None:
    id = await world.release("one", environment=STAGING)
    await world.promote("staging")
    again = await world.promote(id)
    assert (again.changed, again.rollout, again.undo) == (False, None, "")


async def test_the_same_deployment_can_be_promoted_again_after_another(world: ShippingWorld) -> None:
    one = await world.release("one", environment=STAGING)
    first = await world.promote("staging")
    await world.fleet.finished(first.rollout)  # type: ignore[arg-type]
    await world.release("two")
    again = await world.promote(one)
    assert again.rollout is not None
    assert again.rollout != first.rollout
    assert (await world.fleet.finished(again.rollout)).status == RolloutStatus.DONE
    assert await world.live() == one


async def test_a_promote_ends_the_freeze_that_a_rollback_left(world: ShippingWorld) -> None:
    one, _ = await world.release("one"), await world.release("two")
    await world.release("three", environment=STAGING)
    await world.post("/api/projects/web/rollback", {"to": one, "environment": "production"})
    assert (await world.fleet.environment(PRODUCTION)).freeze is not None
    moved = await world.promote("staging")
    assert moved.thawed
    assert (await world.fleet.environment(PRODUCTION)).freeze is None


async def test_the_targets_steps_hold(world: ShippingWorld) -> None:
    await world.release("one")
    new = await world.release("two", environment=STAGING)
    await world.policy(Policy(steps=(RolloutStep(robots=1), RolloutStep(approval=True))))
    moved = await world.promote("staging")
    assert moved.rollout is not None

    async def waits() -> bool:
        course = (await world.fleet.rollout(moved.rollout or "")).course
        return course is not None and course.waits == "approval"

    await world.fleet.until("the second step waits for a person", waits)
    assert [name for name, id in (await running(world)).items() if id == new and name != "try-001"].__len__() == 1


async def test_a_promote_waits_where_approvals_are_asked_for(world: ShippingWorld) -> None:
    await world.release("one", environment=STAGING)
    await world.policy(Policy(approvals=Approvals(count=1)))
    moved = await world.promote("staging", by="anna")
    assert moved.rollout is None
    assert moved.request is not None
    assert (moved.request.kind, moved.request.asked_by, moved.undo) == ("promote", "anna", "")
    assert await world.live() is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"source": "staging", "target": "nowhere"}, 404, "not_found"),
        ({"source": "staging", "target": "staging"}, 400, "bad_input"),
        ({"source": "staging", "target": "production"}, 409, "conflict"),  # nothing is live in staging
        ({"source": "dep_zzzzzzzz", "target": "production"}, 404, "not_found"),
        ({"source": "production", "target": "staging", "kind": "deploy"}, 400, "bad_input"),
    ],
)
async def test_what_cannot_be_promoted_is_refused(
    world: ShippingWorld, body: dict[str, str], status: int, code: str
) -> None:
    assert (await world.post("/api/projects/web/promote", body, status=status))["code"] == code


async def test_something_else_than_what_was_looked_at_is_not_promoted(world: ShippingWorld) -> None:
    await world.release("one", environment=STAGING)
    body = {"source": "staging", "target": "production", "digest": "f" * 64}
    assert (await world.post("/api/projects/web/promote", body, status=409))["code"] == "conflict"


async def test_a_quarantined_deployment_is_promoted_only_by_force(world: ShippingWorld) -> None:
    await world.release("one")
    bad = await world.build("two")
    for robot in world.fleet.robots:
        robot.bad.add(bad)
    await world.fleet.finished(await world.fleet.roll_out(bad))
    body = {"source": bad, "target": "production"}
    told = await world.post("/api/projects/web/promote", body, status=423)
    assert told["code"] == "blocked"
    assert (await world.promote(bad, force=True)).rollout is not None


async def test_what_was_forced_into_one_environment_is_not_forced_into_another(world: ShippingWorld) -> None:
    metadata = {"skip_offline": True, "min_success": 10.0}
    id = await world.release("one", environment=STAGING, force=True, metadata=metadata)
    async with world.context.database.transaction() as tx:
        there = await rollouts.read(tx, (await world.row(id)).rollout or "")
    assert there is not None
    assert (there.force, there.course.skip_offline, there.course.min_success) == (True, True, 10.0)
    moved = await world.promote("staging")
    async with world.context.database.transaction() as tx:
        here = await rollouts.read(tx, moved.rollout or "")
    assert here is not None
    assert (here.force, here.course.skip_offline, here.course.min_success) == (False, False, None)


async def test_what_has_nothing_for_a_robot_is_refused_with_the_way_to_build_it(world: ShippingWorld) -> None:
    id = await world.build("one", metadata={"platforms": ["linux-riscv64-glibc2.36-py3.11"]})
    told = await world.post("/api/projects/web/promote", {"source": id, "target": "production"}, status=423)
    assert told["next"] == [f"lekiwi redeploy {id} --rebuild -e production"]


# -- labels


async def test_a_label_is_understood_wherever_a_deployment_is_named(world: ShippingWorld) -> None:
    one, two = await world.release("one"), await world.release("two")
    status, _, told = await world.owner.ask("PUT", "/api/projects/web/aliases/stable", {"deployment": one})
    assert status == 200
    assert msgspec.convert(told, Alias).deployment == one
    for selector in ("stable", "alias:stable"):
        found = await world.fleet.get(f"/api/projects/web/resolve?selector={selector}&environment=production", dict)
        assert found["deployment"]["id"] == one
    await world.post("/api/projects/web/rollback", {"to": "stable", "environment": "production"})
    assert await world.live() == one
    assert (await world.fleet.detail(one)).deployment.aliases == ("stable",)
    await world.owner.ask("PUT", "/api/projects/web/aliases/stable", {"deployment": two})
    listed = (await world.owner.ask("GET", "/api/projects/web/aliases"))[2]["aliases"]
    assert [(each["name"], each["deployment"]) for each in listed] == [("stable", two)]
    status, _, _ = await world.owner.ask("DELETE", "/api/projects/web/aliases/stable")
    assert status == 200
    status, _, told = await world.owner.ask("DELETE", "/api/projects/web/aliases/stable")
    assert (status, told["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("name", "status"), [("production", 409), ("v1.2.0", 400), ("deadbeef", 400), ("yesterday", 400), ("dep_x", 400)]
)
async def test_names_that_mean_something_else_are_no_labels(world: ShippingWorld, name: str, status: int) -> None:
    id = await world.release("one")
    got, _, _ = await world.owner.ask("PUT", f"/api/projects/web/aliases/{name}", {"deployment": id})
    assert got == status


# -- redeploy


async def test_a_redeploy_is_a_new_deployment_of_the_same_content(world: ShippingWorld) -> None:
    id = await world.release("one", version="v1.0.0")
    made = msgspec.convert(
        await world.post("/api/projects/web/redeploy", {"environment": "production"}, status=202), Deployment
    )
    row = await world.row(made.id)
    assert (made.id != id, row.source, row.version, made.environment) == (True, "redeploy", "v1.0.0", "production")
    assert row.package_hash == (await world.row(id)).package_hash
    assert made.rollout is not None
    assert (await world.fleet.finished(made.rollout)).status == RolloutStatus.DONE
    assert await world.live() == made.id


async def test_a_rebuild_is_queued_with_the_same_source_and_nothing_that_was_built(world: ShippingWorld) -> None:
    id = await world.release("one")
    body = {"environment": "production", "deployment": id, "rebuild": True, "message": "again"}
    made = msgspec.convert(await world.post("/api/projects/web/redeploy", body, status=202), Deployment)
    row, before = await world.row(made.id), await world.row(id)
    assert (row.status, row.package_hash, row.commit_sha) == ("queued", None, before.commit_sha)
    assert (row.message, await world.live()) == ("again", id)


async def test_an_upload_that_is_gone_cannot_be_built_again(world: ShippingWorld) -> None:
    id = await world.release("one", upload="upl_00000001", commit_sha=None, source="upload")
    body = {"environment": "production", "deployment": id, "rebuild": True}
    told = await world.post("/api/projects/web/redeploy", body, status=409)
    assert told["next"] == ["lekiwi deploy", f"lekiwi redeploy {id}"]


async def test_what_was_uploaded_is_kept_while_it_is_live(world: ShippingWorld) -> None:
    now = world.context.now()
    async with world.context.database.transaction() as tx:
        for name in ("upl_00000001", "upl_00000002"):
            row = uploads.UploadRow(
                id=UploadId(name), project=WEB, files=(), created_by="anna", created_at=now - timedelta(days=3)
            )
            await uploads.insert(tx, row)
    await world.release("one", upload="upl_00000002", source="upload")
    id = await world.release("two", upload="upl_00000001", source="upload")
    async with world.context.database.transaction() as tx:
        assert await uploads.drop_stale(tx, now - timedelta(days=1)) == 1
        assert await uploads.read(tx, "upl_00000001") is not None
    body = {"environment": "production", "deployment": id, "rebuild": True}
    await world.post("/api/projects/web/redeploy", body, status=202)


# -- differences and lists


async def test_two_environments_are_compared(world: ShippingWorld) -> None:
    one, two = await world.release("one"), await world.release("three", environment=STAGING)
    found: Differences = await world.fleet.get("/api/projects/web/diff?a=production&b=staging", Differences)
    assert (found.a.id if found.a else None, found.b.id, found.same_bytes) == (one, two, False)
    (file,) = found.files
    assert isinstance(file, Changed)
    assert (file.before or "").startswith("3 B (")
    same: Differences = await world.fleet.get(f"/api/projects/web/diff?a=production&b={one}", Differences)
    assert (same.same_bytes, same.files, same.restarts) == (True, (), ())


async def test_a_promoted_deployment_is_listed_in_both_environments(world: ShippingWorld) -> None:
    id = await world.release("one", environment=STAGING)
    moved = await world.promote("staging")
    await world.fleet.finished(moved.rollout)  # type: ignore[arg-type]
    for name in ("production", "staging"):
        listed: Deployments = await world.fleet.get(f"/api/projects/web/deployments?environment={name}", Deployments)
        (shown,) = listed.deployments
        assert (shown.id, shown.environment, shown.active) == (id, name, True)
        assert shown.live_in == ("production", "staging")
    await world.release("two")
    listed = await world.fleet.get("/api/projects/web/deployments?environment=production", Deployments)
    assert [(one.status, one.active) for one in listed.deployments] == [
        (DeploymentStatus.LIVE, True),
        (DeploymentStatus.REPLACED, False),
    ]


# -- cancel


async def test_canceling_a_rollout_asks_nobody_else_and_leaves_who_took_it(world: ShippingWorld) -> None:
    old = await world.release("one")
    await world.policy(Policy(steps=(RolloutStep(robots=1, soak_s=600),)))
    new = await world.build("two")
    rollout = await world.fleet.roll_out(new)

    async def soaks() -> bool:
        course = (await world.fleet.rollout(rollout)).course
        return course is not None and course.waits == "soak"

    await world.fleet.until("the canary soaks", soaks)
    done = await cancel(world, new, reason="enough")
    assert (done.stopped, done.took, done.reverting) == ("rollout", 1, None)
    assert done.undo == "lekiwi rollback -e production"
    assert (await world.fleet.rollout(rollout)).status == RolloutStatus.CANCELED
    taken = [robot for robot, id in (await running(world)).items() if id == new]
    assert len(taken) == 1
    late = await world.fleet.robot()  # nobody else is asked, whoever comes
    await world.fleet.until("the newcomer is known", lambda: _known(world, late.name))
    assert (await world.fleet.rollout(rollout)).status == RolloutStatus.CANCELED
    assert [robot for robot, id in (await running(world)).items() if id == new] == taken
    async with world.context.database.transaction() as tx:
        assert await tx.row("SELECT count(*) FROM quarantines", None, int) == 0
    assert old != new


async def _known(world: ShippingWorld, name: str) -> bool:
    return (await world.fleet.seen(name)).online


async def test_canceling_with_revert_takes_it_from_those_that_have_it(world: ShippingWorld) -> None:
    old = await world.release("one")
    await world.policy(Policy(steps=(RolloutStep(robots=1, soak_s=600),)))
    new = await world.build("two")
    rollout = await world.fleet.roll_out(new)

    async def soaks() -> bool:
        course = (await world.fleet.rollout(rollout)).course
        return course is not None and course.waits == "soak"

    await world.fleet.until("the canary soaks", soaks)
    done = await cancel(world, new, revert=True)
    assert (done.stopped, done.took) == ("rollout", 1)
    assert done.reverting is not None
    assert (await world.fleet.finished(done.reverting)).status == RolloutStatus.DONE
    assert await world.live() == old
    assert new not in (await running(world)).values()


async def test_canceling_what_waits_for_approval_ends_the_wait(world: ShippingWorld) -> None:
    await world.release("one", environment=STAGING)
    await world.policy(Policy(approvals=Approvals(count=1)))
    moved = await world.promote("staging")
    assert moved.request is not None
    done = await cancel(world, moved.deployment.id)
    assert done.stopped == "request"
    assert await world.approvals() == ()


async def test_what_is_live_cannot_be_canceled_and_says_what_can_be_done(world: ShippingWorld) -> None:
    id = await world.release("one")
    told = await world.post(f"/api/deployments/{id}/cancel", {}, status=409)
    assert told["next"] == ["lekiwi rollback -e production"]


async def test_canceling_twice_changes_nothing(world: ShippingWorld) -> None:
    id = await world.build("one", status="queued")
    assert (await cancel(world, id)).stopped == "build"
    assert (await cancel(world, id)).stopped == "nothing"
    assert (await world.row(id)).status == "canceled"
