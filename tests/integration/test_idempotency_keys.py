"""A POST with an Idempotency-Key takes effect once, however often and from wherever it is sent."""

from __future__ import annotations

import asyncio

import pytest
from served_app import Asker, make_token

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import idempotency, replicas
from lekiwi_deploy.wire.api import Role

pytestmark = pytest.mark.engine


async def test_the_same_request_again_gets_the_same_answer_and_changes_nothing(owner: Asker) -> None:
    first = await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k1")
    again = await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k1")
    assert first[0] == again[0] == 201
    assert first[2] == again[2]
    assert again[1]["idempotent-replayed"] == "true"
    assert (await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k2"))[0] == 409


async def test_another_request_under_the_same_key_is_a_conflict(owner: Asker) -> None:
    await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k1")
    for path, body in (
        ("/api/projects", {"name": "arm"}),
        ("/api/projects?x=1", {"name": "web"}),
        ("/api/tokens", {"name": "web"}),
    ):
        status, _, told = await owner.ask("POST", path, body, idempotency_key="k1")
        assert (status, told["code"]) == (409, "conflict")


async def test_another_persons_key_is_another_key(asking: dict[Role, Asker]) -> None:
    assert (await asking[Role.OWNER].ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k"))[0] == 201
    assert (await asking[Role.DEPLOYER].ask("POST", "/api/projects", {"name": "arm"}, idempotency_key="k"))[0] == 201


async def test_many_at_once_take_effect_once(owner: Asker) -> None:
    answers = await asyncio.gather(
        *(owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k") for _ in range(10))
    )
    assert {status for status, _, _ in answers} == {201}
    assert sum("idempotent-replayed" not in headers for _, headers, _ in answers) == 1


async def test_a_refused_request_may_be_made_again_under_its_key(owner: Asker) -> None:
    assert (await owner.ask("POST", "/api/projects/web/environments/production/freeze", {}, idempotency_key="k"))[
        0
    ] == 404
    assert (await owner.ask("POST", "/api/projects", {"name": "web"}))[0] == 201
    status, _, told = await owner.ask(
        "POST", "/api/projects/web/environments/production/freeze", {}, idempotency_key="k"
    )
    assert (status, told["code"]) == (404, "not_found")
    assert "environment" in told["message"]


async def test_a_request_that_a_dead_server_left_half_done_is_taken_up_at_once(owner: Asker, context: Context) -> None:
    await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k1")
    async with context.database.transaction() as tx:
        await replicas.announce(tx, "rep_dead", context.now())
        await tx.execute("UPDATE idempotency SET answer = NULL, claimed_by = 'rep_dead'")
        await tx.execute("DELETE FROM projects")
    async with context.database.transaction() as tx:
        await replicas.retire(tx, "rep_dead", context.now())
    status, headers, _ = await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k1")
    assert status == 201
    assert "idempotent-replayed" not in headers


async def test_a_secret_in_an_answer_is_given_again_but_not_readable_in_the_database(
    owner: Asker, context: Context
) -> None:
    _, _, made = await owner.ask("POST", "/api/tokens", {"name": "ci"}, idempotency_key="k")
    _, _, again = await owner.ask("POST", "/api/tokens", {"name": "ci"}, idempotency_key="k")
    assert made["secret"] == again["secret"]
    async with context.database.transaction() as tx:
        kept = await tx.rows("SELECT answer FROM idempotency", None, bytes)
        keys = await tx.rows("SELECT key FROM idempotency", None, str)
    assert len(kept) == 1
    assert made["secret"].encode() not in kept[0]
    assert "k" not in keys


async def test_a_key_that_is_none_is_refused_and_a_revoked_token_gets_no_kept_answer(
    owner: Asker, context: Context
) -> None:
    for key in ("", "x" * 201, "a b", "\x7f"):
        assert (await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key=key))[0] == 400
    secret, id = await make_token(context, Role.DEPLOYER)
    other = Asker(owner.http, secret)
    assert (await other.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k"))[0] == 201
    await owner.ask("DELETE", f"/api/tokens/{id}")
    assert (await other.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k"))[0] == 401


async def test_old_answers_are_forgotten(owner: Asker, context: Context) -> None:
    await owner.ask("POST", "/api/projects", {"name": "web"}, idempotency_key="k")
    async with context.database.transaction() as tx:
        assert await idempotency.drop_old(tx, context.now()) == 0
        assert await idempotency.drop_old(tx, context.now() + idempotency.KEPT + idempotency.KEPT) == 1


async def test_a_stranger_cannot_make_the_server_hold_a_large_body(owner: Asker) -> None:
    answer = await owner.http.post("/api/join", content=b"x" * 200_000, headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
