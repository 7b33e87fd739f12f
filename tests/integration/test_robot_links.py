"""Robots' links on a real server: who is let in, what is stored before it is acknowledged, and how links end."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from fleet_world import FleetWorld, fleet_world
from nacl.signing import SigningKey
from served_app import Asker
from simulated_robot import PLATFORM, SimulatedRobot, join
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import events, robots
from lekiwi_deploy.wire.api import JoinRequest, LogEntry, RobotJoin
from lekiwi_deploy.wire.assertion import Claims, sign
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.link import MAX_FRAME, Challenge, Goodbye, Refused, Stream, TicketPlease, Welcome

pytestmark = pytest.mark.engine
EVENT = '{"at":"2026-08-21T14:00:00Z","kind":"started","text":"x"}'


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def challenged(robot: SimulatedRobot) -> Challenge:
    robot.socket = await connect(f"ws{robot.url.removeprefix('http')}/link", proxy=None, compression=None)
    challenge = await robot.receive()
    assert isinstance(challenge, Challenge)
    return challenge


async def test_a_token_that_is_not_signed_by_the_robots_key_is_refused(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    robot.key = bytes(SigningKey.generate())
    answer = await robot.connect()
    assert isinstance(answer, Refused)
    assert (answer.code, answer.retry) == ("unauthenticated", False)


async def test_a_token_for_another_connection_or_server_is_refused(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    old = await challenged(robot)
    await robot.close()
    for aud, nonce in ((old.server, old.nonce), ("srv_other", "")):
        fresh = await challenged(robot)
        claims = Claims(iss=robot.name, aud=aud, nonce=nonce or fresh.nonce, boot=robot.boot)
        answer = await robot.greet(fresh, token=sign(claims, robot.key))
        assert isinstance(answer, Refused)
        assert answer.code == "unauthenticated"
        await robot.close()


async def test_a_robot_that_nobody_added_is_refused(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    for name in ("nobody", "Not A Name", "x\0y"):
        robot.name = name  # type: ignore[assignment]
        answer = await robot.connect()
        assert isinstance(answer, Refused)
        assert answer.code == "unauthenticated"
        await robot.close()


async def test_another_protocol_is_refused_saying_which_side_to_upgrade(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    answer = await robot.greet(await challenged(robot), protocol=99)
    assert isinstance(answer, Refused)
    assert "upgrade the server" in answer.message


@pytest.mark.parametrize(
    "frame", ['{"type":"report"}', "not json", '{"type":"self_destruct"}', b"\x00\x01", "[" * 100_000]
)
async def test_what_is_no_message_ends_the_link_with_words(world: FleetWorld, frame: str | bytes) -> None:
    robot = await world.robot()
    await robot.send(frame)
    ended = await robot.closed()
    assert isinstance(ended, Refused)
    assert ended.code == "bad_input"


async def test_a_frame_that_is_too_long_closes_the_link(world: FleetWorld) -> None:
    robot = await world.robot()
    assert robot.socket is not None
    await robot.socket.send("x" * (MAX_FRAME + 1))
    await robot.closed()
    assert robot.socket.close_code == 1009


async def test_a_browser_is_not_let_in(world: FleetWorld) -> None:
    with pytest.raises(InvalidStatus):
        await connect(f"ws{world.url.removeprefix('http')}/link", proxy=None, origin="http://evil.example")  # type: ignore[arg-type]


async def test_the_same_machine_that_links_again_takes_its_own_link_over(world: FleetWorld) -> None:
    first = await world.robot()
    second = SimulatedRobot(first.name, first.url, first.server, first.key, first.boot)
    world.robots.append(second)
    await second.welcomed()
    ended = await first.closed()
    assert isinstance(ended, Refused)
    assert (ended.code, ended.retry) == ("conflict", True)
    assert (await world.seen(first.name)).online
    await second.happen(1, "still here")
    await second.until(lambda: second.acked.get(Stream.EVENTS) == 1)


async def test_two_machines_with_one_key_are_both_refused_and_the_robot_is_marked(world: FleetWorld) -> None:
    honest = await world.robot()
    await world.release()
    clone = SimulatedRobot(honest.name, honest.url, honest.server, honest.key)
    world.robots.append(clone)
    answer = await clone.connect()
    assert isinstance(answer, Refused)
    assert answer.retry
    assert isinstance(await honest.closed(), Goodbye)
    answer = await honest.connect()
    assert isinstance(answer, Refused)
    assert (answer.code, answer.retry) == ("not_allowed", False)
    await clone.close()
    answer = await clone.connect()
    assert isinstance(answer, Refused)
    assert answer.code == "not_allowed"
    assert clone.running is None
    seen = await world.seen(honest.name)
    assert not seen.online
    assert [msgspec.to_builtins(reason)["reason"] for reason in seen.waiting] == ["cloned_key"]


async def test_a_marked_robot_is_let_in_once_it_was_joined_again(world: FleetWorld) -> None:
    honest = await world.robot()
    clone = SimulatedRobot(honest.name, honest.url, honest.server, honest.key)
    await clone.connect()
    await honest.closed()
    await honest.connect()
    status, _, line = await world.owner.ask("POST", f"/api/robots/{honest.name}/join-token")
    assert status == 201
    again = await join(world.url, msgspec.convert(line, RobotJoin))
    world.robots.append(again)
    await again.welcomed()
    await clone.close()
    assert isinstance(await clone.connect(), Refused)
    await clone.close()


async def test_a_robot_that_rebooted_is_no_clone(world: FleetWorld) -> None:
    robot = await world.robot()
    for boot in ("boot-2", "boot-3"):
        await robot.close()
        robot.boot = boot

        async def offline() -> bool:
            return not (await world.seen(robot.name)).online

        await world.until("its link is over", offline)
        await robot.welcomed()
    assert (await world.seen(robot.name)).waiting == ()


async def test_a_robot_that_lost_power_is_let_in_after_its_dead_link_kept_silent(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    async with world.context.database.transaction() as tx:
        await tx.execute(
            "UPDATE robots SET session = 'ses_dead', session_replica = 'rep_test0000', boot_id = 'boot-1' WHERE name = %s",
            (robot.name,),
        )
    assert isinstance(await robot.connect(), Refused)
    await robot.close()
    assert isinstance(await robot.connect(), Refused)
    await robot.close()
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE robots SET contender_at = contender_at - interval '6 seconds'")
    await robot.welcomed()


async def test_a_removed_robots_link_is_closed_at_once(world: FleetWorld) -> None:
    robot = await world.robot()
    status, _, _ = await world.owner.ask("DELETE", f"/api/robots/{robot.name}")
    assert status == 204
    ended = await robot.closed()
    assert isinstance(ended, Refused)
    assert (ended.code, ended.retry) == ("not_found", False)
    answer = await robot.connect()
    assert isinstance(answer, Refused)
    assert answer.code == "unauthenticated"


async def test_events_are_stored_once_in_order_and_acknowledged(world: FleetWorld) -> None:
    robot = await world.robot()
    await robot.happen(1, "one", "two")
    await robot.until(lambda: robot.acked.get(Stream.EVENTS) == 2)
    await robot.happen(1, "one", "two", "three")
    await robot.until(lambda: robot.acked.get(Stream.EVENTS) == 3)
    await robot.happen(2, "two")
    async with world.context.database.transaction() as tx:
        stored = await events.newest(tx, robot.name, 10)
    assert [(row.seq, row.body.text) for row in stored] == [(3, "three"), (2, "two"), (1, "one")]
    await robot.close()
    assert (await robot.welcomed()).acked == {Stream.EVENTS: 3, Stream.LOGS: 0}


async def test_gaps_are_taken_and_numbers_that_fall_end_the_link(world: FleetWorld) -> None:
    robot = await world.robot()
    await robot.happen(1, "one")
    await robot.happen(5, "five")
    await robot.until(lambda: robot.acked.get(Stream.EVENTS) == 5)
    await robot.send('{"type":"events","records":[[9,%s],[8,%s]]}' % ((EVENT,) * 2))
    ended = await robot.closed()
    assert isinstance(ended, Refused)
    assert ended.retry
    assert "do not rise" in ended.message


async def test_log_lines_are_stored_with_nul_and_all_and_come_back(world: FleetWorld) -> None:
    robot = await world.robot()
    await robot.write(1, "hello", "nul \0 nul", "x" * 20_000)
    await robot.until(lambda: robot.acked.get(Stream.LOGS) == 3)
    await robot.write(10, "after a flood", dropped=6)
    await robot.until(lambda: robot.acked.get(Stream.LOGS) == 10)
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as http:
        answer = await http.get("/api/projects/web/logs", headers={"authorization": f"Bearer {world.owner.token}"})
    lines = [msgspec.json.decode(line, type=LogEntry) for line in answer.text.splitlines()]
    assert [line.text[:40] for line in lines] == [
        "hello", "nul \ufffd nul", "x" * 40, "6 lines before this were dropped on the ", "after a flood"
    ]  # fmt: skip
    assert len(lines[2].text) == 16_384


async def test_a_robots_bad_timestamps_spoil_nothing_for_others(world: FleetWorld) -> None:
    bad, good = await world.robot(), await world.robot()
    frame = '{"type":"logs","records":[[1,{"at":"9999-12-31T23:59:59-12:00","service":"w","deployment":null,"stream":"out","text":"x"}]]}'
    await asyncio.gather(bad.send(frame), good.write(1, "fine"))
    await good.until(lambda: good.acked.get(Stream.LOGS) == 1)


async def test_only_the_robots_own_content_gets_a_ticket(world: FleetWorld) -> None:
    robot = await world.robot()
    deployment = await world.release()
    digest = (await world.detail(deployment)).deployment.digest
    assert digest is not None
    await robot.send(TicketPlease(digest))
    await robot.until(lambda: digest in robot.tickets)
    other = (await world.detail(await world.build())).deployment.digest
    assert other is not None
    await robot.send(TicketPlease(other))
    ended = await robot.closed()
    assert isinstance(ended, Refused)
    assert ended.code == "not_allowed"


async def test_a_stopping_server_says_goodbye_and_when_to_come_back(world: FleetWorld) -> None:
    robots_here = [await world.robot() for _ in range(3)]
    world.context.stopping.set()
    for robot in robots_here:
        ended = await robot.closed()
        assert isinstance(ended, Goodbye)
        assert 0 <= ended.after_s < 1


async def test_a_join_token_works_once_for_a_quarter_of_an_hour(world: FleetWorld) -> None:
    _, _, body = await world.owner.ask("POST", "/api/projects/web/robots", {"name": "kiwi-x", "group": "production"})
    line = msgspec.convert(body, RobotJoin)
    assert line.command == f"lekiwi-agent join {world.url} --token {line.token}"
    assert line.token.startswith("lkd_enr_")
    await join(world.url, line)
    _, _, body = await world.owner.ask("POST", "/api/robots/kiwi-x/join-token")
    expired = msgspec.convert(body, RobotJoin)
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE join_tokens SET expires_at = now() - interval '1 second' WHERE used_at IS NULL")
    unknown = "lkd_enr_" + "A" * 32
    for token, code, word in (
        (line.token, "not_allowed", "used already"),
        (expired.token, "not_allowed", "expired"),
        (unknown + "AAAAAA", "unauthenticated", "typing mistake"),
    ):
        status, told = await _try_join(world, token)
        assert (told["code"], word in told["message"]) == (code, True), told
        assert status in (401, 403)


async def test_of_two_machines_that_use_a_join_token_at_once_one_is_refused(world: FleetWorld) -> None:
    _, _, body = await world.owner.ask("POST", "/api/projects/web/robots", {"name": "kiwi-x", "group": "production"})
    token = msgspec.convert(body, RobotJoin).token
    answers = await asyncio.gather(*(_try_join(world, token) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403]


async def test_what_is_no_key_does_not_use_the_token_up(world: FleetWorld) -> None:
    _, _, body = await world.owner.ask("POST", "/api/projects/web/robots", {"name": "kiwi-x", "group": "production"})
    token = msgspec.convert(body, RobotJoin).token
    for key in ("", "AAAA", "!" * 44):
        status, told = await _try_join(world, token, key=key)
        assert (status, told["code"]) == (400, "bad_input")
    assert (await _try_join(world, token))[0] == 200


async def test_names_that_cannot_be_are_refused(world: FleetWorld) -> None:
    wrong = ("", "Kiwi", "../x", "a" * 51, "current", "a b", "x.lock", "nul\0")
    bodies = [{"name": name, "group": "production"} for name in wrong]
    bodies += [{"name": "kiwi", "group": group} for group in (*wrong, "3d", "yesterday", "abcdef12", "v2", "previous")]
    for body in bodies:
        status, _, told = await world.owner.ask("POST", "/api/projects/web/robots", body)
        assert (status, told["code"]) == (400, "bad_input"), body


async def test_labels_are_set_and_removed(world: FleetWorld) -> None:
    await world.robot(online=False)
    await world.owner.ask("PATCH", "/api/robots/kiwi-001", {"labels": {"site": "lab", "arm": "left"}})
    _, _, told = await world.owner.ask("PATCH", "/api/robots/kiwi-001", {"labels": {"arm": None}})
    assert told["labels"] == {"site": "lab"}
    status, _, _ = await world.owner.ask("PATCH", "/api/robots/kiwi-001", {"labels": {"a b": "x"}})
    assert status == 400
    status, _, told = await world.owner.ask(
        "POST", "/api/projects/web/robots", {"name": "kiwi-001", "group": "production"}
    )
    assert (status, told["code"]) == (409, "conflict")
    async with world.context.database.transaction() as tx:
        assert await robots.read(tx, "nobody") is None


async def _try_join(world: FleetWorld, token: str, key: str | None = None) -> tuple[int, dict[str, str]]:
    public = base64.b64encode(bytes(SigningKey.generate().verify_key)).decode() if key is None else key
    request = JoinRequest(token=token, public_key=public, hostname="kiwi", agent="0.1", platform=PLATFORM)
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as http:
        answer = await http.post("/api/join", content=encode(request))
    return answer.status_code, answer.json()


async def test_a_robot_cannot_speak_before_its_hello(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    await challenged(robot)
    await robot.happen(1, "too early")
    answer = await robot.receive()
    assert isinstance(answer, Refused)
    with pytest.raises(ConnectionClosed):
        await robot.receive()


async def test_a_second_hello_ends_the_link(world: FleetWorld) -> None:
    robot = await world.robot(online=False)
    welcome = await robot.greet(await challenged(robot))
    assert isinstance(welcome, Welcome)
    answer = await robot.greet(Challenge(protocol=1, server=robot.server, nonce="x"))
    while not isinstance(answer, Refused):
        answer = await robot.receive()
    assert answer.code == "bad_input"
