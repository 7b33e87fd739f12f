"""The client against a real socket: what is tried again, what is not, what a person is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from scripted_server import Answer, Asked, Hangup, Lines, ScriptedServer

from lekiwi_deploy.client.api import Api
from lekiwi_deploy.client.streams import follow_logs, follow_progress
from lekiwi_deploy.client.transport import Transport
from lekiwi_deploy.errors import Ambiguous, BadInput, Conflict, LekiwiError, NotAllowed, NotFound, TimedOut, Unavailable
from lekiwi_deploy.wire.api import ErrorBody, Identity, LogEntry, Project, Role
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.progress import (
    Body,
    Built,
    Closed,
    Progress,
    RobotMoved,
    RolloutFinished,
    RolloutStarted,
)

NOW = datetime(2026, 8, 21, 12, tzinfo=UTC)
ANNA = Identity(name="anna", role=Role.OWNER, token="tok_1", expires_at=None)
KIWI = Project(name=ProjectName("kiwi"), created_at=NOW, git="/git/kiwi.git")
TOKEN = "lkd_pat_secret"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer().running() as server:
        yield server


def client(server: ScriptedServer, waits: list[float] | None = None) -> Api:
    """Waits are written down rather than waited."""
    return Api(Transport(server.url, TOKEN, sleep=(waits if waits is not None else []).append, jitter=lambda: 1.0))


def told(code: str, **fields: object) -> ErrorBody:
    return ErrorBody(code=code, message="no", **fields)  # type: ignore[arg-type]


def test_the_token_travels_in_the_header_and_nowhere_else(server: ScriptedServer) -> None:
    server.on("GET", "/api/whoami", ANNA)
    assert client(server).whoami() == ANNA
    (asked,) = server.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in asked.path
    assert asked.query == {}


def test_a_lost_answer_to_a_post_is_asked_for_again_under_the_same_key(server: ScriptedServer) -> None:
    server.on("POST", "/api/projects", Hangup(), Answer(b"proxy", 502), KIWI)
    waits: list[float] = []
    assert client(server, waits).create_project("kiwi") == KIWI
    keys = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(server.asked) == 3
    assert len(keys) == 1
    assert waits == [0.3, 0.6]


def test_two_posts_have_two_keys(server: ScriptedServer) -> None:
    server.on("POST", "/api/projects", KIWI)
    api = client(server)
    api.create_project("kiwi")
    api.create_project("kiwi")
    first, second = server.asked
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_a_verdict_is_never_asked_for_again(server: ScriptedServer) -> None:
    server.on("POST", "/api/projects", Answer(told("conflict"), 409))
    with pytest.raises(Conflict):
        client(server).create_project("kiwi")
    assert len(server.asked) == 1


def test_a_server_that_says_when_to_come_back_is_obeyed(server: ScriptedServer) -> None:
    server.on("GET", "/api/whoami", Answer(told("unavailable"), 503, {"Retry-After": "7"}), ANNA)
    waits: list[float] = []
    assert client(server, waits).whoami() == ANNA
    assert waits == [7.0]


def test_a_delete_whose_answer_was_lost_has_succeeded(server: ScriptedServer) -> None:
    server.on("DELETE", "/api/robots/kiwi-1", Hangup(), Answer(told("not_found"), 404))
    client(server).remove_robot("kiwi-1")
    server.on("DELETE", "/api/robots/kiwi-1", Answer(told("not_found"), 404))
    with pytest.raises(NotFound):
        client(server).remove_robot("kiwi-1")


def test_an_error_arrives_as_the_class_that_the_server_raised(server: ScriptedServer) -> None:
    body = told("ambiguous", next=("lekiwi list",), details={"candidates": ["dep_1", "dep_2"]})
    server.on("GET", "/api/deployments/dep", Answer(body, 409))
    with pytest.raises(Ambiguous) as caught:
        client(server).deployment("dep")
    assert caught.value.next == ("lekiwi list",)
    assert caught.value.details["candidates"] == ["dep_1", "dep_2"]


def test_a_code_that_this_release_does_not_know_is_a_failure(server: ScriptedServer) -> None:
    server.on("GET", "/api/whoami", Answer(told("from_the_future"), 418))
    with pytest.raises(LekiwiError) as caught:
        client(server).whoami()
    assert caught.value.code == "failed"
    assert caught.value.details["code"] == "from_the_future"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(b"<html>", 502), Unavailable, "not running"),
        (Answer(b"", 301, {"Location": "https://other.example"}), BadInput, "https://other.example"),
        (Answer(b"<html>", 404), NotFound, "is it a LeKiwi server"),
        (Answer(b"<html>hello"), Unavailable, "cannot read"),
        (Answer(b"<html>", 418), Unavailable, "418"),
    ],
)
def test_what_is_no_lekiwi_server_is_recognised(
    server: ScriptedServer, answer: Answer, kind: type[LekiwiError], words: str
) -> None:
    server.on("GET", "/api/whoami", answer)
    with pytest.raises(kind) as caught:
        client(server).whoami()
    assert words in caught.value.message


def test_a_redirect_is_not_followed_with_the_token(server: ScriptedServer) -> None:
    server.on("GET", "/api/whoami", Answer(b"", 302, {"Location": f"{server.url}/elsewhere"}))
    with pytest.raises(BadInput):
        client(server).whoami()
    assert [asked.path for asked in server.asked] == ["/api/whoami"]


def test_nobody_at_the_address_is_told_with_what_to_check() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unavailable) as caught:
        Api(Transport(f"http://127.0.0.1:{port}", sleep=lambda seconds: None)).server()
    assert "nothing listens" in caught.value.message
    assert "lekiwi doctor" in caught.value.next


def test_https_to_a_plain_server_is_told(server: ScriptedServer) -> None:
    with pytest.raises(Unavailable) as caught:
        Api(Transport(server.url.replace("http:", "https:"), sleep=lambda seconds: None)).server()
    assert "TLS" in caught.value.message


def test_plain_http_across_a_network_needs_a_word() -> None:
    with pytest.raises(NotAllowed):
        Transport("http://192.0.2.7:8080", TOKEN)
    Transport("http://192.0.2.7:8080", TOKEN, insecure_http=True)


def entries(stream: str, *bodies: Body, first: int = 1) -> list[Progress]:
    return [Progress(stream, number, NOW, body) for number, body in enumerate(bodies, start=first)]


DEP, ROL = DeploymentId("dep_AAAAAAAA"), RolloutId("rol_BBBBBBBB")
BUILT = Built(DEP, "v1", "0" * 64, 10, 1, False)
STARTED = RolloutStarted(ROL, DEP, "v1", EnvironmentName("production"), 1)
MOVED = RobotMoved(robot=RobotId("kiwi-1"), status="healthy")
DONE = RolloutFinished(status="done", live=1, pending=0, failed=0, total=1, seconds=1.0, undo="lekiwi rollback")


def test_a_deployment_is_followed_into_its_rollout(server: ScriptedServer) -> None:
    story = [*entries(DEP, BUILT, STARTED), *entries(ROL, MOVED, DONE)]
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines([story[0], None, *story[1:]]))
    assert list(follow_progress(client(server).transport, DEP)) == story


def test_a_lost_stream_is_taken_up_after_the_last_entry(server: ScriptedServer) -> None:
    build, roll = entries(DEP, BUILT, STARTED), entries(ROL, MOVED, DONE)
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(build[:1], cut=True), Lines(build[1:], cut=True))
    server.on("GET", f"/api/rollouts/{ROL}/progress", Hangup(), Lines(roll[:1], cut=True), Lines(roll))
    lost: list[LekiwiError] = []
    seen = list(follow_progress(client(server).transport, DEP, lost=lost.append))
    assert seen == [*build, *roll]
    assert [asked.query["after"] for asked in server.asked] == ["0", "1", "0", "0", "1"]
    assert len(lost) == 3  # once for each loss, not for each try


def test_a_stream_that_ends_without_a_verdict_is_taken_up_again(server: ScriptedServer) -> None:
    story = entries(DEP, BUILT, Closed("built", "frozen"))
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(story[:1]), Lines(story[1:]))
    assert list(follow_progress(client(server).transport, DEP)) == story


def test_without_following_what_is_there_is_all(server: ScriptedServer) -> None:
    story = entries(DEP, BUILT)
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(story))
    assert list(follow_progress(client(server).transport, DEP, follow=False)) == story
    assert server.asked[0].query["follow"] == "0"


def test_following_gives_up_in_the_end(server: ScriptedServer) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    server.on("GET", f"/api/deployments/{DEP}/progress", Hangup())
    transport = Transport(server.url, TOKEN, sleep=sleep, monotonic=lambda: clock[0], jitter=lambda: 1.0)
    with pytest.raises(Unavailable):
        list(follow_progress(transport, DEP, give_up_s=60))
    assert 60 < clock[0] < 75


def test_a_verdict_in_the_middle_of_a_stream_is_raised(server: ScriptedServer) -> None:
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines([*entries(DEP, BUILT), told("not_allowed")]))
    with pytest.raises(NotAllowed):
        list(follow_progress(client(server).transport, DEP))


def test_the_deadline_ends_the_waiting_even_when_nothing_comes(server: ScriptedServer) -> None:
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(entries(DEP, BUILT), hold=True))
    transport = client(server).transport
    with pytest.raises(TimedOut):
        list(follow_progress(transport, DEP, deadline=transport.monotonic() + 0.1))


def line(cursor: str, text: str) -> LogEntry:
    return LogEntry(
        cursor=cursor, at=NOW, robot=RobotId("kiwi-1"), service="web", deployment=DEP, stream="stdout", text=text
    )


def test_logs_are_taken_up_by_cursor_and_nothing_comes_twice(server: ScriptedServer) -> None:
    server.on(
        "GET",
        "/api/projects/kiwi/logs",
        Lines([line("c1", "one"), line("c2", "two")], cut=True),
        Hangup(),
        Lines([None, line("c3", "three")], cut=True),
        Lines([], hold=True),
    )
    seen = []
    for entry in follow_logs(client(server).transport, "kiwi", {"limit": 10, "service": "web"}, follow=True):
        seen.append(entry.text)
        if len(seen) == 3:
            break
    assert seen == ["one", "two", "three"]
    first, second, third = server.asked
    assert (first.query.get("cursor"), first.query["limit"]) == (None, "10")
    assert (third.query["cursor"], third.query.get("limit")) == ("c2", None)
    assert second.query["service"] == "web"


def test_no_part_of_a_path_can_become_another(server: ScriptedServer) -> None:
    seen: list[Asked] = []
    server.on("GET", "/api/robots/..%2Ftokens%3Fx", lambda asked: seen.append(asked) or Answer(told("not_found"), 404))
    with pytest.raises(NotFound):
        client(server).robot("../tokens?x")
    assert len(seen) == 1
