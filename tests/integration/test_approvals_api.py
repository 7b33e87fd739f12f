"""People let deployments go live: what is asked, whose word counts, what follows, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fleet_world import WEB
from served_app import Asker, make_token
from shipping_world import PRODUCTION, STAGING, ShippingWorld, shipping_world

from lekiwi_deploy.server.approval_ends import expire
from lekiwi_deploy.server.approving import awaits
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import approvals
from lekiwi_deploy.wire.api import DeploymentStatus, Role
from lekiwi_deploy.wire.approvals import ApprovalRequest
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.policy import Approvals, Policy
from lekiwi_deploy.wire.progress import Closed
from lekiwi_deploy.wire.reasons import AwaitsApproval

pytestmark = pytest.mark.engine

TWO = Policy(auto_deploy=False, approvals=Approvals(count=2, not_author=True))
ONE = Policy(approvals=Approvals(count=1))


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[ShippingWorld]:
    people = {}
    for name in ("anna", "bob", "carl"):
        secret, _ = await make_token(context, Role.DEPLOYER, name)
        people[name] = Asker(owner.http, secret)
    async with shipping_world(context, owner, api_url, people) as made:
        yield made


async def pushed(world: ShippingWorld, text: str = "", *, author: str = "Anna Moser") -> DeploymentId:
    """A built push of anna's that asked for approval, as the reconciler has it ask."""
    id = await world.build(text, author=author, created_by="anna")
    assert await asks(world, id) is not None
    return id


async def asks(world: ShippingWorld, id: DeploymentId) -> str | None:
    async with world.context.database.transaction() as tx:
        return await awaits(tx, world.context, await world.row(id))


def granted(said: object) -> ApprovalRequest:
    assert isinstance(said, ApprovalRequest)
    return said


async def test_a_push_waits_for_two_people_who_did_not_write_it_and_then_goes_live(world: ShippingWorld) -> None:
    await world.policy(TWO)
    id = await pushed(world)
    assert await asks(world, id) == (f"waits for 2 approvals (not by its author): lekiwi approve {id} -e production")
    (request,) = await world.approvals()  # asked once, however often it is looked at
    assert (request.deployment, request.kind, request.asked_by, request.needed) == (id, "deploy", "anna", 2)
    first = granted(await world.say("approve", id, "bob", digest=request.digest, reason="tried it"))
    assert (first.ended, [vote.by for vote in first.votes]) == (None, ["bob"])
    assert await asks(world, id) == (
        f"waits for 1 more approval (bob approved; not by its author): lekiwi approve {id} -e production"
    )
    assert await world.live() is None
    last = granted(await world.say("approve", id, "carl"))
    assert last.ended == "approved"
    assert await world.live() == id
    assert await asks(world, id) is None
    detail = await world.fleet.detail(id)
    assert detail.rollout is not None
    assert (await world.fleet.finished(detail.rollout.id)).status == "done"
    assert detail.deployment.waiting == ()


async def test_the_author_and_who_asked_are_refused_and_one_person_counts_once(world: ShippingWorld) -> None:
    await world.policy(TWO)
    id = await pushed(world, author="Carl")
    for name in ("anna", "carl"):
        told = await world.say("approve", id, name, status=403)
        assert isinstance(told, dict)
        assert told["code"] == "not_allowed"
    for _ in range(2):
        assert granted(await world.say("approve", id, "bob")).ended is None
    assert await world.live() is None


async def test_while_it_waits_everybody_is_told_so(world: ShippingWorld) -> None:
    await world.policy(TWO)
    id = await pushed(world)
    shown = (await world.fleet.detail(id)).deployment
    assert shown.status is DeploymentStatus.BUILT
    (reason,) = shown.waiting
    assert isinstance(reason, AwaitsApproval)
    assert (reason.missing, reason.not_author, reason.environment) == (2, True, "production")


async def test_a_rejection_ends_it_for_good(world: ShippingWorld) -> None:
    await world.policy(TWO)
    id = await pushed(world)
    assert granted(await world.say("reject", id, "anna", reason="wrong branch")).ended == "rejected"
    assert not (await world.row(id)).roll_out  # the reconciler looks at it no more
    assert await asks(world, id) == "it was rejected; push again"
    told = await world.say("approve", id, "bob", status=409)
    assert isinstance(told, dict)
    assert "was rejected" in told["message"]
    last = [entry.body for entry in await world.fleet.story(id)][-1]
    assert last == Closed("built", "rejected by anna: wrong branch")


async def test_another_digest_than_what_was_looked_at_is_refused(world: ShippingWorld) -> None:
    await world.policy(TWO)
    id = await pushed(world)
    told = await world.say("approve", id, "bob", digest="f" * 64, status=409)
    assert isinstance(told, dict)
    assert told["code"] == "conflict"
    assert (await world.approvals())[0].votes == ()


async def test_what_nobody_agrees_to_in_time_expires(world: ShippingWorld) -> None:
    await world.policy(Policy(auto_deploy=False, approvals=Approvals(expires_s=60)))
    id = await pushed(world)
    await expire(world.context.database, world.context.now())
    assert len(await world.approvals()) == 1
    await expire(world.context.database, world.context.now() + timedelta(seconds=61))
    assert await world.approvals() == ()
    (ended,) = await world.approvals("?all=true")
    assert ended.ended == "expired"
    assert not (await world.row(id)).roll_out
    assert await asks(world, id) == "nobody approved it in time; push again"


async def test_a_newer_push_takes_the_place_of_one_that_waits(world: ShippingWorld) -> None:
    await world.policy(TWO)
    old = await pushed(world)
    new = await pushed(world)
    assert [one.deployment for one in await world.approvals()] == [new]
    assert not (await world.row(old)).roll_out
    async with world.context.database.transaction() as tx:
        last = await approvals.newest(tx, WEB, PRODUCTION, old)
    assert last is not None
    assert last.ended == "superseded"


async def test_something_newer_that_goes_live_ends_what_waits(world: ShippingWorld) -> None:
    await world.policy(TWO)
    old = await pushed(world)
    await world.fleet.roll_out(await world.build())
    assert await world.approvals() == ()
    assert not (await world.row(old)).roll_out


async def test_going_back_leaves_a_newer_push_waiting_and_freezes_it(world: ShippingWorld) -> None:
    one, _ = await world.release(), await world.release()
    await world.policy(TWO)
    waiting = await pushed(world)
    await world.post("/api/projects/web/rollback", {"to": one, "environment": "production"})
    assert [request.deployment for request in await world.approvals()] == [waiting]
    await world.say("approve", waiting, "bob")
    assert granted(await world.say("approve", waiting, "carl")).ended == "approved"
    assert await world.live() == one  # approved, but its environment is frozen
    assert await asks(world, waiting) is None  # so the reconciler lets it go when that ends


async def test_a_promote_asked_before_a_freeze_waits_for_the_end_of_it(world: ShippingWorld) -> None:
    one, _ = await world.release(), await world.release()
    ready = await world.release(environment=STAGING)
    await world.policy(ONE)
    assert (await world.promote("staging", by="anna")).request is not None
    await world.post("/api/projects/web/rollback", {"to": one, "environment": "production"})
    told = await world.say("approve", ready, "bob", status=423)
    assert isinstance(told, dict)
    assert "frozen" in told["message"]
    assert (await world.approvals())[0].votes == ()  # nothing was stored
    await world.post("/api/projects/web/environments/production/unfreeze", {})
    assert granted(await world.say("approve", ready, "bob")).ended == "approved"
    assert await world.live() == ready


async def test_a_stricter_policy_holds_for_what_waits_already(world: ShippingWorld) -> None:
    await world.policy(Policy(auto_deploy=False))
    id = await pushed(world)
    await world.policy(TWO)
    assert granted(await world.say("approve", id, "bob")).ended is None
    assert granted(await world.say("approve", id, "carl")).ended == "approved"


async def test_a_push_goes_on_when_nobody_needs_to_agree_any_more(world: ShippingWorld) -> None:
    await world.policy(Policy(auto_deploy=False))
    id = await pushed(world)
    await world.policy(Policy())
    assert await asks(world, id) is None
    assert await world.approvals() == ()


async def test_one_that_is_live_elsewhere_tells_of_its_wait_in_passing(world: ShippingWorld) -> None:
    ready = await world.release(environment=STAGING)
    await world.policy(ONE)
    await world.promote("staging", by="anna")
    bodies = [entry.body for entry in await world.fleet.story(ready)]
    assert not any(isinstance(body, Closed) for body in bodies)
    async with world.context.database.transaction() as tx:
        told = await tx.rows("SELECT body ->> 'text' FROM progress WHERE stream = %s", (ready,), str | None)  # type: ignore[arg-type]
    assert f"waits for 1 approval: lekiwi approve {ready} -e production" in told


async def test_a_viewer_may_look_but_not_speak(world: ShippingWorld, asking: dict[Role, Asker]) -> None:
    await world.policy(TWO)
    id = await pushed(world)
    status, _, told = await asking[Role.VIEWER].ask("GET", "/api/projects/web/approvals")
    assert (status, len(told["requests"])) == (200, 1)
    status, _, _ = await asking[Role.VIEWER].ask("POST", f"/api/deployments/{id}/approve", {})
    assert status == 403


async def test_what_waits_for_nobody_says_so(world: ShippingWorld) -> None:
    id = await world.build()
    told = await world.say("approve", id, "bob", status=404)
    assert isinstance(told, dict)
    assert told["next"] == ["lekiwi approvals"]


async def test_two_words_at_once_start_one_rollout(world: ShippingWorld) -> None:
    await world.policy(ONE)
    id = await pushed(world)
    path = f"/api/deployments/{id}/approve"
    answers = await asyncio.gather(*(world.people[name].ask("POST", path, {}) for name in ("bob", "carl")))
    assert sorted(status for status, _, _ in answers) == [200, 409]
    async with world.context.database.transaction() as tx:
        assert await tx.row("SELECT count(*) FROM rollouts WHERE deployment = %s", (id,), int) == 1
    assert await world.live() == id


async def test_two_replicas_that_look_at_once_ask_once(world: ShippingWorld) -> None:
    await world.policy(TWO)
    id = await world.build(created_by="anna")
    said = await asyncio.gather(asks(world, id), asks(world, id))
    assert said[0] == said[1]
    assert len(await world.approvals()) == 1
