"""Who may do what over HTTP, and how everything that is refused is told."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest
from served_app import Asker, make_token

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.wire.api import Role

pytestmark = pytest.mark.engine


async def test_health_identity_and_schema_of_the_server_need_no_token(api_url: str, context: Context) -> None:
    async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).json()["ready"] is True
        assert (await http.get("/api/server")).json()["server"] == context.server_id
        schema = (await http.get("/api/schema")).json()
    assert schema["openapi"].startswith("3.")
    assert "/api/projects/{project}" in schema["paths"]


async def test_a_token_says_who_it_is_as_bearer_and_as_basic_password(owner: Asker) -> None:
    status, _, told = await owner.ask("GET", "/api/whoami")
    assert (status, told["name"], told["role"]) == (200, "owner", "owner")
    basic = base64.b64encode(f"x:{owner.token}".encode()).decode()
    assert (await owner.http.get("/api/whoami", headers={"authorization": f"Basic {basic}"})).json() == told


async def test_without_a_valid_token_everything_is_unauthenticated(owner: Asker) -> None:
    for header in ({}, {"authorization": "Bearer nonsense"}, {"authorization": f"Bearer {owner.token[:-1]}x"}):
        for method, path in (("GET", "/api/projects"), ("POST", "/api/projects"), ("GET", "/api/tokens")):
            answer = await owner.http.request(method, path, headers=header)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_unknown_but_well_formed_token_is_refused(owner: Asker, context: Context) -> None:
    from lekiwi_deploy.server.auth import new_token

    stranger = Asker(owner.http, new_token("pat", context.random))
    status, _, told = await stranger.ask("GET", "/api/whoami")
    assert (status, told["code"]) == (401, "unauthenticated")
    assert stranger.token not in told["message"]


async def test_each_role_may_only_do_its_own(asking: dict[Role, Asker]) -> None:
    for role, may_create, may_see_tokens in (
        (Role.VIEWER, 403, 403),
        (Role.DEPLOYER, 201, 403),
        (Role.OWNER, 201, 200),
    ):
        who = asking[role]
        assert (await who.ask("GET", "/api/projects"))[0] == 200
        assert (await who.ask("POST", "/api/projects", {"name": f"of-{role}"}))[0] == may_create
        assert (await who.ask("GET", "/api/tokens"))[0] == may_see_tokens


async def test_a_revoked_token_is_refused_from_the_next_request_on(owner: Asker, context: Context) -> None:
    secret, id = await make_token(context, Role.DEPLOYER, "ci")
    ci = Asker(owner.http, secret)
    assert (await ci.ask("GET", "/api/whoami"))[0] == 200
    assert (await owner.ask("DELETE", f"/api/tokens/{id}"))[0] == 204
    status, _, told = await ci.ask("GET", "/api/whoami")
    assert (status, told["code"]) == (401, "unauthenticated")
    assert "revoked" in told["message"]


async def test_an_expired_token_is_refused(owner: Asker, context: Context) -> None:
    secret, _ = await make_token(context, Role.OWNER, "old", days=-1)
    status, _, told = await Asker(owner.http, secret).ask("GET", "/api/whoami")
    assert status == 401
    assert "expired" in told["message"]


async def test_the_last_owner_cannot_be_revoked(owner: Asker) -> None:
    _, _, told = await owner.ask("GET", "/api/whoami")
    status, _, error = await owner.ask("DELETE", f"/api/tokens/{told['token']}")
    assert (status, error["code"]) == (409, "conflict")
    assert (await owner.ask("GET", "/api/whoami"))[0] == 200


async def test_a_new_token_works_is_shown_once_and_never_lasts_longer_than_a_year(owner: Asker) -> None:
    status, _, made = await owner.ask("POST", "/api/tokens", {"name": "ci", "role": "deployer", "days": 30})
    assert status == 201
    assert (await Asker(owner.http, made["secret"]).ask("GET", "/api/whoami"))[2]["name"] == "ci"
    _, _, listed = await owner.ask("GET", "/api/tokens")
    assert all(token["secret"] is None for token in listed)
    for wrong in ({"days": 366}, {"days": 0}, {"days": -1}, {"name": ""}, {"name": "a\nb"}, {"role": "admin"}):
        status, _, error = await owner.ask("POST", "/api/tokens", {"name": "x", **wrong})
        assert (status, error["code"]) == (400, "bad_input"), wrong


async def test_a_token_in_a_url_is_refused_with_what_to_do(owner: Asker) -> None:
    for url in (
        f"/api/projects?token={owner.token}",
        f"/api/projects/{owner.token}",
        f"/git/{owner.token}.git/info/refs",
    ):
        answer = await owner.http.get(url)
        assert answer.status_code == 400, url
        assert "URL" in answer.json()["message"]
        assert owner.token not in answer.text
    hidden = owner.token.replace("_", "%5F").replace("l", "%6c", 1)
    assert (await owner.http.get(f"/api/projects?token={hidden}")).status_code == 400


BODIES = (
    b"", b"{", b"[]", b"null", b'{"name": 5}', b'{"name": NaN}', b'\xff\xfe{"name":"x"}', b'{"nam":"web"}', b"9" * 5000,
    b'{"name":' + b"[" * 16000, b'{"name":"../x"}', b'{"name":"a\\u0000b"}', b'{"name":"Web"}', b'{"name":""}',
    b'{"name":"current"}', b'{"name":"\\ud800"}',
)  # fmt: skip
NAMES = (
    "..%2f..%2fx",
    "%00",
    "a%0ab",
    "x" * 10_000,
    "%ff",
    "'; DROP TABLE projects;--",
    "%25",
    "%E2%80%AE",
    "__proto__",
)


async def test_a_body_that_cannot_be_meant_is_bad_input(owner: Asker) -> None:
    for body in BODIES:
        status, _, told = await owner.ask("POST", "/api/projects", body)
        assert (status, told["code"]) == (400, "bad_input"), (body[:40], told)
        assert set(told) == {"code", "message", "next", "details", "schema"}


async def test_strange_names_in_a_path_are_not_found_or_bad_input(owner: Asker) -> None:
    for name in NAMES:
        status, _, told = await owner.ask("GET", f"/api/projects/{name}")
        assert status in (400, 404), (name[:40], told)
        assert told["code"] in ("bad_input", "not_found")
    assert (await owner.ask("GET", "/api/projects"))[0] == 200


async def test_unknown_paths_and_methods_are_told_in_the_same_form(owner: Asker) -> None:
    assert (await owner.ask("GET", "/api/nothing"))[2]["code"] == "not_found"
    status, _, told = await owner.ask("PUT", "/api/projects")
    assert (status, told["code"]) == (405, "bad_input")


async def test_a_body_over_the_limit_is_too_large(owner: Asker) -> None:
    status, _, told = await owner.ask("POST", "/api/projects", b'{"name":"' + b"x" * 17_000_000 + b'"}')
    assert (status, told["code"]) == (413, "too_large")


async def test_too_many_and_too_large_headers_are_refused_and_the_server_goes_on(owner: Asker, api_url: str) -> None:
    host, _, port = api_url.removeprefix("http://").partition(":")
    requests = (
        b"GET /healthz HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"nonsense\r\n\r\n",
    )
    for request in requests:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        try:
            told = await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:  # it was refused before all of it was read
            told = b"HTTP/1.1 400 "
        assert told.startswith(b"HTTP/1.1 400 "), told[:200]
        if b"\r\n\r\n" in told:
            assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "bad_input"
        writer.close()
    assert (await owner.http.get("/healthz")).status_code == 200


async def test_a_database_that_does_not_answer_is_unavailable_and_ready_says_so(owner: Asker, context: Context) -> None:
    await context.database.close()
    status, headers, told = await owner.ask("GET", "/api/projects")
    assert (status, told["code"]) == (503, "unavailable")
    assert headers["retry-after"]
    answer = await owner.http.get("/readyz")
    assert answer.status_code == 503
    assert "database" in answer.json()["not_ready"]
    assert (await owner.http.get("/healthz")).status_code == 200
