"""Deployments and logs over HTTP: making, listing, looking, cancelling, following."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from fleet_world import WEB, FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import deployments, logs, progress
from lekiwi_deploy.server.store.logs import NewLine
from lekiwi_deploy.wire.api import Deployment, Deployments, LogEntry, Role
from lekiwi_deploy.wire.ids import DeploymentId, RobotId
from lekiwi_deploy.wire.link import Stream
from lekiwi_deploy.wire.progress import Closed, Note, Progress, RolloutFinished

pytestmark = pytest.mark.engine


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def uploaded(world: FleetWorld) -> str:
    status, _, body = await world.owner.ask("POST", "/api/projects/web/uploads", {"files": []})
    assert status in (200, 201), body
    return str(body["id"])


async def test_a_deployment_is_queued_for_the_only_environment(world: FleetWorld) -> None:
    await world.robot(online=False)
    asked = {"upload": await uploaded(world), "message": "try", "meta": {"ci": "7"}}
    with world.context.nudges.subscribe("builds") as hints:
        status, _, body = await world.owner.ask("POST", "/api/projects/web/deployments", asked)
        assert body["id"] in await hints.wait(5)
    made = msgspec.convert(body, Deployment)
    assert (status, made.status, made.environment, made.by) == (202, "queued", "production", "owner")
    assert (await world.detail(made.id[:8])).meta == {"ci": "7"}
    status, _, body = await world.owner.ask("POST", f"/api/deployments/{made.id}/cancel")
    assert (status, body["status"], body["error"]) == (200, "canceled", "canceled by owner")
    assert (await world.owner.ask("POST", f"/api/deployments/{made.id}/cancel"))[0] == 200
    last = (await world.story(made.id))[-1].body
    assert last == Closed("canceled", "canceled by owner")


async def test_what_cannot_be_deployed_is_refused_before_anything_changes(world: FleetWorld) -> None:
    await world.robot(online=False)
    upload = await uploaded(world)
    for body, code in (
        ({}, "bad_input"),
        ({"upload": upload, "ref": "main"}, "bad_input"),
        ({"upload": "upl_nothere0"}, "not_found"),
        ({"ref": "--upload-pack=x"}, "bad_input"),
        ({"ref": "main", "environment": "nowhere"}, "not_found"),
        ({"ref": "main", "version": "v" * 51}, "bad_input"),
        ({"ref": "main", "version": "1 2"}, "bad_input"),
        ({"ref": "main", "commit": "HEAD"}, "bad_input"),
        ({"ref": "main", "message": "nul\0"}, "bad_input"),
        ({"ref": "main", "branch": "b" * 101}, "bad_input"),
        ({"ref": "main", "meta": {"k": "v" * 1001}}, "bad_input"),
        ({"ref": 7}, "bad_input"),
    ):
        status, _, told = await world.owner.ask("POST", "/api/projects/web/deployments", body)
        assert (status >= 400, told["code"]) == (True, code), (body, told)
    assert (await world.get("/api/projects/web/deployments", Deployments)).deployments == ()
    status, _, told = await world.owner.ask("POST", "/api/projects/nowhere/deployments", {"ref": "main"})
    assert (status, told["code"]) == (404, "not_found")


async def test_a_project_without_robots_says_how_to_add_one_and_one_with_many_environments_asks(
    world: FleetWorld,
) -> None:
    status, _, told = await world.owner.ask("POST", "/api/projects/web/deployments", {"ref": "main"})
    assert (status, told["next"]) == (400, ["lekiwi robots add NAME --group production"])
    await world.robot(online=False)
    await world.robot(group="staging", online=False)
    status, _, told = await world.owner.ask("POST", "/api/projects/web/deployments", {"ref": "main"})
    assert (status, told["next"]) == (400, ["lekiwi deploy -e production", "lekiwi deploy -e staging"])


async def test_only_deployers_make_deployments_and_viewers_look(world: FleetWorld, asking: dict[Role, Asker]) -> None:
    await world.robot(online=False)
    for method, path, body in (
        ("POST", "/api/projects/web/deployments", {"ref": "main"}),
        ("POST", "/api/projects/web/rollback", {}),
        ("POST", "/api/projects/web/robots", {"name": "x", "group": "y"}),
        ("DELETE", "/api/robots/kiwi-001", None),
        ("PATCH", "/api/robots/kiwi-001", {"labels": {}}),
        ("POST", "/api/robots/kiwi-001/resume", None),
        ("POST", "/api/robots/kiwi-001/join-token", None),
    ):
        status, _, told = await asking[Role.VIEWER].ask(method, path, body)
        assert (status, told["code"]) == (403, "not_allowed"), path
    for path in ("/api/robots", "/api/robots/kiwi-001", "/api/projects/web/deployments", "/api/projects/web/activity"):
        assert (await asking[Role.VIEWER].ask("GET", path))[0] == 200


async def test_pages_go_on_where_they_ended_and_filters_hold(world: FleetWorld) -> None:
    await world.robot()
    made = [await world.release() for _ in range(3)] + [await world.build() for _ in range(2)]
    first = await world.get("/api/projects/web/deployments?limit=2", Deployments)
    assert [one.id for one in first.deployments] == made[:2:-1]
    second = await world.get(f"/api/projects/web/deployments?limit=2&cursor={first.cursor}", Deployments)
    third = await world.get(f"/api/projects/web/deployments?limit=2&cursor={second.cursor}", Deployments)
    assert [one.id for one in (*second.deployments, *third.deployments)] == made[2::-1]
    assert third.cursor is None
    for status, wanted in (("live", made[2:3]), ("replaced", made[1::-1]), ("built,live", made[:1:-1]), ("failed", [])):
        found = await world.get(f"/api/projects/web/deployments?status={status}", Deployments)
        assert [one.id for one in found.deployments] == wanted, status
    assert (await world.get("/api/projects/web/deployments?since=1h", Deployments)).deployments != ()
    assert [one.active for one in found.deployments] == []
    for query in ("limit=0", "limit=201", "cursor=zzz", "status=odd", "since=soon"):
        assert (await world.owner.ask("GET", f"/api/projects/web/deployments?{query}"))[0] == 400, query
    assert (await world.owner.ask("GET", "/api/projects/web/deployments?environment=nowhere"))[0] == 404


async def test_an_id_may_be_shortened_until_it_is_ambiguous(world: FleetWorld) -> None:
    await world.robot(online=False)
    one, two = await world.build(), await world.build()
    assert (await world.detail(one[:6])).deployment.id == one
    status, _, told = await world.owner.ask("GET", "/api/deployments/dep_0")
    assert (status, set(told["details"]["candidates"])) == (409, {one, two})
    for wrong in ("dep_zzzzzzzz", "nothing", "dep_", "dep_%25", "%2e%2e"):
        assert (await world.owner.ask("GET", f"/api/deployments/{wrong}"))[0] == 404, wrong


async def test_a_stream_is_taken_up_again_after_any_entry(world: FleetWorld) -> None:
    await world.robot()
    deployment = await world.release()
    whole = await stream(world, f"/api/deployments/{deployment}/progress?follow=1")
    assert isinstance(whole[-1].body, RolloutFinished)
    rollout = whole[-1].stream
    alone = await stream(world, f"/api/rollouts/{rollout}/progress?follow=1")
    assert whole[1:] == alone
    for entry in alone[:-1]:
        rest = await stream(world, f"/api/rollouts/{rollout}/progress?after={entry.seq}")
        assert rest == alone[entry.seq :]
    assert await stream(world, f"/api/rollouts/{rollout}/progress?after=999") == []
    assert (await world.owner.ask("GET", "/api/rollouts/rol_zzzzzzzz/progress"))[0] == 404
    assert (await world.owner.ask("GET", f"/api/rollouts/{rollout}/progress?after=-1"))[0] == 400


async def test_following_ends_with_the_end_and_skips_an_end_that_was_none(world: FleetWorld) -> None:
    await world.robot()
    deployment = await world.build()
    async with world.context.database.transaction() as tx:
        waits = [Note("a"), Closed("built", "production is frozen")]
        await progress.append(tx, deployment, waits, world.context.now())
    told = await stream(world, f"/api/deployments/{deployment}/progress?follow=1")
    assert [entry.body for entry in told] == waits
    await world.finished(await world.roll_out(deployment))
    told = await stream(world, f"/api/deployments/{deployment}/progress?follow=1")
    assert not [entry for entry in told if isinstance(entry.body, Closed)]
    assert isinstance(told[-1].body, RolloutFinished)


async def test_progress_holds_a_nul_without_complaint(world: FleetWorld) -> None:
    deployment = await world.build()
    async with world.context.database.transaction() as tx:
        await progress.append(tx, deployment, [Note("a\0b\\u0000c"), Closed("built", "")], world.context.now())
    first, _ = await world.story(deployment)
    assert first.body == Note("a\ufffdb\\u0000c")


async def stream(world: FleetWorld, path: str) -> list[Progress]:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False, timeout=10) as http:
        answer = await http.get(path, headers={"authorization": f"Bearer {world.owner.token}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [msgspec.json.decode(line, type=Progress) for line in answer.text.splitlines() if line]


async def read_logs(world: FleetWorld, query: str = "") -> list[LogEntry]:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False, timeout=10) as http:
        path = f"/api/projects/web/logs?{query}"
        answer = await http.get(path, headers={"authorization": f"Bearer {world.owner.token}"})
    assert answer.status_code == 200, answer.text
    return [msgspec.json.decode(line, type=LogEntry) for line in answer.text.splitlines() if line]


async def store(world: FleetWorld, *texts: str, **more: Any) -> None:
    given = {
        "project": WEB,
        "robot": RobotId("kiwi-001"),
        "service": "web",
        "deployment": None,
        "stream": "out",
        **more,
    }
    at = given.pop("at", datetime.now(UTC))
    async with world.context.database.transaction() as tx:
        await logs.append(tx, [NewLine(at=at, text=text, **given) for text in texts], world.context.now())


async def test_logs_are_filtered_by_everything_that_a_line_has(world: FleetWorld) -> None:
    await world.robot(online=False)
    await world.robot("kiwi-staging", group="staging", online=False)
    deployment = await world.build()
    await store(world, "old", at=datetime.now(UTC) - timedelta(hours=3))
    await store(world, "Hello 100%", "plain")
    await store(world, "of a deployment", deployment=deployment)
    await store(world, "bad", level="error")
    await store(world, "told", level="info", service="base")
    await store(world, "compiling", robot=None, service="build", deployment=deployment)
    await store(world, "from staging", robot=RobotId("kiwi-staging"))

    async def texts(query: str) -> list[str]:
        return [line.text for line in await read_logs(world, query)]

    everything = ["old", "Hello 100%", "plain", "of a deployment", "bad", "told", "from staging"]
    assert await texts("") == everything
    assert await texts("limit=2") == everything[-2:]
    assert await texts("limit=0") == []
    assert await texts("build=1") == ["compiling"]
    assert await texts(f"build=1&deployment={deployment}") == ["compiling"]
    assert await texts(f"deployment={deployment[:7]}") == ["of a deployment"]
    assert await texts("robot=kiwi-001&service=base") == ["told"]
    assert await texts("level=error") == ["bad"]
    assert await texts("level=info") == ["bad", "told"]
    assert await texts("grep=100%25") == ["Hello 100%"]
    assert await texts("grep=hello") == ["Hello 100%"]
    assert await texts("since=1h") == everything[1:]
    assert await texts("until=2-hours-ago") == ["old"]
    assert await texts("environment=staging") == ["from staging"]
    cursor = (await read_logs(world, "limit=3"))[0].cursor
    assert await texts(f"cursor={cursor}") == everything[-2:]
    for query in ("limit=-1", "limit=10001", "cursor=x", "level=loud", "since=never"):
        assert (await world.owner.ask("GET", f"/api/projects/web/logs?{query}"))[0] == 400, query
    for query in ("robot=nobody", "environment=nowhere", "deployment=dep_zzzz"):
        assert (await world.owner.ask("GET", f"/api/projects/web/logs?{query}"))[0] == 404, query


async def test_followed_logs_have_neither_gap_nor_repeat_while_many_write(world: FleetWorld) -> None:
    robot = await world.robot()
    await store(world, *(f"before {n}" for n in range(5)))
    wanted = {f"before {n}" for n in range(5)} | {f"{w} {n}" for w in range(4) for n in range(25)} | {"over the link"}
    seen: list[LogEntry] = []

    async def read(enough: Callable[[], bool], query: str) -> None:
        headers = {"authorization": f"Bearer {world.owner.token}"}
        async with (
            httpx.AsyncClient(base_url=world.url, trust_env=False, timeout=10) as http,
            http.stream("GET", f"/api/projects/web/logs?follow=1&{query}", headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                if line:
                    seen.append(msgspec.json.decode(line, type=LogEntry))
                if enough():
                    return

    async def write(writer: int) -> None:
        for number in range(25):
            await store(world, f"{writer} {number}")

    async with asyncio.timeout(30):
        writers: list[Awaitable[None]] = [write(writer) for writer in range(4)]
        reading = asyncio.create_task(read(lambda: len(seen) >= 40, "limit=100"))
        await asyncio.gather(*writers)
        await reading
        await robot.write(1, "over the link")
        await robot.until(lambda: robot.acked.get(Stream.LOGS) == 1)
        await read(lambda: len(seen) >= len(wanted), f"cursor={seen[-1].cursor}")
    assert sorted(line.text for line in seen) == sorted(wanted)
    assert [int(line.cursor) for line in seen] == sorted({int(line.cursor) for line in seen})


async def test_a_stopping_server_ends_streams(world: FleetWorld) -> None:
    deployment = await world.build()
    following = asyncio.create_task(world.story(deployment))
    async with world.context.database.transaction() as tx:
        await progress.append(tx, deployment, [Note("one")], world.context.now())
    world.context.stopping.set()
    async with asyncio.timeout(5):
        assert len(await following) <= 1


async def test_an_unknown_deployment_is_not_found_everywhere(world: FleetWorld) -> None:
    missing = DeploymentId(f"dep_{secrets.token_hex(4)}")
    for method, path in (("GET", ""), ("GET", "/progress"), ("GET", "/manifest"), ("POST", "/cancel")):
        assert (await world.owner.ask(method, f"/api/deployments/{missing}{path}"))[0] == 404
    async with world.context.database.transaction() as tx:
        assert await deployments.read(tx, missing) is None
