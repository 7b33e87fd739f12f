"""Having robots go over to the server's release of the agent: who may, who is told what when, and what is recorded."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from fleet_world import FleetWorld, fleet_world
from nacl.signing import SigningKey
from served_app import Asker, make_token, serving
from simulated_robot import PLATFORM, SimulatedRobot

from lekiwi_deploy import __version__
from lekiwi_deploy.server import agent_upgrades
from lekiwi_deploy.server.agent_bundle.archive import Member
from lekiwi_deploy.server.agent_bundle.dependencies import Dependencies
from lekiwi_deploy.server.agent_bundle.shelf import AgentBundles
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.app import build_app
from lekiwi_deploy.server.store import audit
from lekiwi_deploy.wire.agent_proof import is_proved, update_key
from lekiwi_deploy.wire.agents import AgentRelease, AgentUpgrade, UpgradeRobotStatus, UpgradeStatus
from lekiwi_deploy.wire.api import Robots, Role
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import EnvironmentName
from lekiwi_deploy.wire.link import AgentPhase, AgentState, AgentWanted, Desired
from lekiwi_deploy.wire.platforms import Platform

pytestmark = pytest.mark.engine
OLD = "0.0.9-aaaaaaaa"


class NoDependencies(Dependencies):
    """An agent that needs nothing: no package index is asked."""

    async def compiled(self) -> str:
        return ""

    async def wheels(self, platform: Platform) -> list[Member]:
        return []


@pytest.fixture
async def world(context: Context, tmp_path: Path) -> AsyncIterator[FleetWorld]:
    shelf = AgentBundles(tmp_path / "agents", context.now, dependencies=lambda folder: NoDependencies(folder, (), ""))
    context = dataclasses.replace(context, agent_bundles=shelf)
    async with serving(build_app(context)) as url, httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as http:
        owner = Asker(http, (await make_token(context, Role.OWNER))[0])
        async with fleet_world(context, owner, url) as made:
            loop = asyncio.create_task(agent_upgrades.run(context))
            yield made
            loop.cancel()


async def updatable(world: FleetWorld, name: str, *, release: str | None = OLD) -> SimulatedRobot:
    robot = await world.robot(name, online=False)
    robot.agent = AgentState(release=release)
    await robot.welcomed()
    return robot


async def told(robot: SimulatedRobot) -> AgentWanted:
    """Waits until it is told to go over to another agent."""
    await robot.until(lambda: robot.desired is not None and robot.desired.agent is not None)
    assert robot.desired is not None and robot.desired.agent is not None
    return robot.desired.agent


async def says(robot: SimulatedRobot, phase: AgentPhase, *, release: str = OLD, why: str = "") -> None:
    assert robot.desired is not None
    wanted = robot.desired.agent
    attempt = wanted.attempt if wanted else robot.agent.attempt if robot.agent else 0
    robot.agent = AgentState(release=release, phase=phase, attempt=attempt, why=why)
    await robot.send(robot.report())


T = TypeVar("T")


async def ask(asker: Asker, kind: type[T] | Any, method: str, path: str, body: object = None) -> T:
    status, _, answer = await asker.ask(method, path, body)
    assert status < 300, answer
    found: T = msgspec.convert(answer, kind)
    return found


async def upgrade(world: FleetWorld, *names: str, **more: Any) -> AgentUpgrade:
    body: dict[str, Any] = {"robots": list(names), **more} if names else {"project": "web", **more}
    return await ask(world.owner, AgentUpgrade, "POST", "/api/agent-upgrades", body)


async def until(world: FleetWorld, number: int, true: Any) -> AgentUpgrade:
    async with asyncio.timeout(20):
        while True:
            now = await ask(world.owner, AgentUpgrade, "GET", f"/api/agent-upgrades/{number}")
            if true(now):
                return now
            await asyncio.sleep(0.05)


def statuses(now: AgentUpgrade) -> dict[str, UpgradeRobotStatus]:
    return {robot.robot: robot.status for robot in now.robots}


async def test_one_goes_first_and_the_others_follow_when_it_stays(world: FleetWorld) -> None:
    one, two, three = [await updatable(world, name) for name in ("a1", "a2", "a3")]
    begun = await upgrade(world)
    wanted = await told(one)
    assert wanted.release == begun.release and wanted.release.startswith(f"{__version__}-")
    assert wanted.path == f"/agent/{PLATFORM.key}/bundle"
    assert two.desired is not None and two.desired.agent is None
    key = update_key(world.context.ticket_key, one.name, bytes(SigningKey(one.key).verify_key))
    assert is_proved(key, one.name, wanted)
    served = await world.owner.http.get(wanted.path)
    assert len(served.content) == wanted.size
    await says(one, AgentPhase.TRIAL, release=wanted.release)
    await says(one, AgentPhase.IDLE, release=wanted.release)
    for robot in (two, three):
        await told(robot)
        await says(robot, AgentPhase.IDLE, release=wanted.release)
    now = await until(world, begun.id, lambda now: now.status is UpgradeStatus.DONE)
    assert set(statuses(now).values()) == {UpgradeRobotStatus.DONE}
    await one.until(lambda: one.desired is not None and one.desired.agent is None)
    listed = await ask(world.owner, Robots, "GET", "/api/robots")
    assert listed.agent == wanted.release
    assert listed.robots[0].agent_state is not None and listed.robots[0].agent_state.release == wanted.release
    async with world.context.database.transaction() as tx:
        done = [(one.actor, one.action, one.target) for one in await audit.newest(tx, 100)]
    assert ("owner", "agent.upgrade", "robot/a1") in done
    assert ("server", "agent.done", "robot/a1") in done


async def test_nobody_follows_one_that_went_back(world: FleetWorld) -> None:
    one, two = [await updatable(world, name) for name in ("a1", "a2")]
    begun = await upgrade(world)
    await told(one)
    await says(one, AgentPhase.REFUSED, why="it did not answer for 30 s")
    now = await until(world, begun.id, lambda now: now.status is UpgradeStatus.HALTED)
    assert statuses(now) == {"a1": UpgradeRobotStatus.FAILED, "a2": UpgradeRobotStatus.PENDING}
    assert now.robots[0].why == "it did not answer for 30 s"
    assert two.desired is not None and two.desired.agent is None
    again = await upgrade(world, "a1", again=True)
    assert again.id > begun.id
    await one.until(
        lambda: one.desired is not None and one.desired.agent is not None and one.desired.agent.attempt == again.id
    )
    assert one.desired is not None and one.desired.agent is not None and one.desired.agent.again


async def test_a_robot_that_waits_says_for_what(world: FleetWorld) -> None:
    one = await updatable(world, "a1")
    begun = await upgrade(world, "a1")
    await told(one)
    await says(one, AgentPhase.WAITING, why="teleop: held by anna")
    now = await until(world, begun.id, lambda now: now.robots[0].why)
    assert (now.robots[0].status, now.robots[0].why) == (UpgradeRobotStatus.ASKED, "teleop: held by anna")


async def test_robots_of_the_release_before_are_not_asked_and_are_told_nothing_new(world: FleetWorld) -> None:
    old = await world.robot("a1")  # its reports know nothing of agents
    begun = await upgrade(world, "a1")
    now = await until(world, begun.id, lambda now: now.status is UpgradeStatus.DONE)
    assert statuses(now) == {"a1": UpgradeRobotStatus.SKIPPED}
    assert "install.sh" in now.robots[0].why
    assert old.desired is not None and old.desired.agent is None


async def test_it_reaches_a_robot_when_it_returns(world: FleetWorld) -> None:
    one = await updatable(world, "a1")
    await one.close()
    begun = await upgrade(world, "a1")
    await until(world, begun.id, lambda now: not now.robots[0].online and now.robots[0].why)
    await one.welcomed()
    await told(one)
    await one.close()
    welcome = await one.welcomed()
    assert welcome.desired.agent is not None, "and is in the welcome from then on"


async def test_only_what_this_server_gives_can_be_asked_for(world: FleetWorld) -> None:
    await updatable(world, "a1")
    release = await ask(world.owner, AgentRelease, "GET", "/agent")
    status, _, error = await world.owner.ask("POST", "/api/agent-upgrades", {"robots": ["a1"], "release": "9.9.9"})
    assert status == 404 and release.release in error["message"]
    for given in (release.release, __version__):
        assert (await upgrade(world, "a1", release=given)).release == release.release


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"robots": ["nobody"]}, 404),
        ({"project": "nothing"}, 404),
        ({"project": "web", "environment": "nowhere"}, 404),
        ({"robots": ["a1"], "project": "web"}, 400),
        ({"robots": "a1"}, 400),
    ],
)
async def test_bad_requests_are_refused(world: FleetWorld, body: dict[str, Any], status: int) -> None:
    await world.robot("a1", online=False)
    found, _, answer = await world.owner.ask("POST", "/api/agent-upgrades", body)
    assert found == status, answer


async def test_a_viewer_may_look_and_not_upgrade(world: FleetWorld) -> None:
    await world.robot("a1", online=False)
    viewer = Asker(world.owner.http, (await make_token(world.context, Role.VIEWER))[0])
    assert (await viewer.ask("POST", "/api/agent-upgrades", {"robots": ["a1"]}))[0] == 403
    assert (await viewer.ask("GET", "/api/agent-upgrades"))[2] == []
    assert (await viewer.ask("GET", "/api/agent-upgrades/99"))[0] == 404


async def test_a_later_upgrade_takes_a_robot_over(world: FleetWorld) -> None:
    one = await updatable(world, "a1")
    first = await upgrade(world, "a1")
    await told(one)
    second = await upgrade(world, "a1")
    now = await until(world, first.id, lambda now: now.status is UpgradeStatus.DONE)
    assert statuses(now) == {"a1": UpgradeRobotStatus.SKIPPED}
    await one.until(
        lambda: one.desired is not None and one.desired.agent is not None and one.desired.agent.attempt == second.id
    )


def test_an_older_agent_understands_a_wish_with_an_agent() -> None:
    class OldDesired(msgspec.Struct, frozen=True, kw_only=True, tag="desired", tag_field="type"):
        epoch: int
        generation: int

    wanted = AgentWanted(release=OLD, digest="ab" * 32, size=1, path="/agent/x/bundle", attempt=1)
    data = encode(Desired(epoch=1, generation=2, environment=EnvironmentName("production"), agent=wanted))
    assert msgspec.json.decode(data, type=OldDesired) == OldDesired(epoch=1, generation=2)
