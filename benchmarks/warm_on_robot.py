"""The way back on a robot with systemd: a hundred rollbacks of a web service, to and fro between two versions that are kept warm."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.handover import WEB, WEB_YAML, percentile
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import install_agent
from lekiwi_deploy.testing.machine_needs import why_not
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.machine_relay import Relay
from lekiwi_deploy.testing.person import Person, Repository
from lekiwi_deploy.testing.ports import PortBlock
from lekiwi_deploy.testing.server import LocalServer
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import DeploymentDetail, Deployments, RobotJoin
from lekiwi_deploy.wire.link import SwitchKind


def measure(rollbacks: int = 101) -> list[Figure]:
    """None where no robot can be booted; why is said on stderr."""
    reason = why_not()
    if reason is not None:
        print(f"no rollbacks on a robot with systemd: {reason}", file=sys.stderr)
        return []
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="lekiwi-bench-")))
        folder.chmod(0o755)
        lan = Lan()
        ends.callback(lan.close)
        relay = Relay(lan)
        ends.callback(relay.close)
        ports = PortBlock()
        ends.callback(ports.release)
        server = LocalServer(folder / "server", port=ports.take(), options=("--url", relay.url))
        ends.callback(server.end)
        server.start()
        relay.target = server.port
        anna = Person(folder / "anna", server.url, server.owner_token())
        code = anna.repository(folder / "code", {"web.py": WEB, "lekiwi.yaml": WEB_YAML, "a": "0"})
        code.lekiwi("link", "warm").ok()
        robot = ends.enter_context(Machine("warm", lan=lan))
        _join(robot, anna, relay.url)
        ids = [_pushed(code, number) for number in ("1", "2")]
        return _figures([_back(code, ids[turn % 2]) for turn in range(rollbacks)])


def _join(robot: Machine, anna: Person, url: str) -> None:
    install_agent(robot)
    robot.boot()
    added = (
        anna.lekiwi("robots", "add", "lekiwi-001", "--group", "production", "-p", "warm", "--json").ok().json(RobotJoin)
    )
    robot.run("lekiwi-agent", "join", url, "--token", "-", "--insecure-http", stdin=f"{added.token}\n")
    robot.run("systemctl", "enable", "--now", "lekiwi-agent")
    eventually(
        "it is online", lambda: '"online":true' in anna.lekiwi("robots", "show", "lekiwi-001", "--json").ok().out
    )


def _pushed(code: Repository, number: str) -> str:
    code.commit(f"Version {number}", {"a": number})
    code.push("warm").ok()
    listed: Deployments = code.lekiwi("list", "--json").ok().json(Deployments)
    return listed.deployments[0].id


def _back(code: Repository, to: str) -> tuple[float, float]:
    """Milliseconds from the robot's decision to the other version serving; and from the command's start to the confirmation."""
    time.sleep(0.3)  # what traffic has left is paused by then
    ran = code.lekiwi("rollback", f"--to={to}").ok()
    detail: DeploymentDetail = code.lekiwi("inspect", to, "--json").ok().json(DeploymentDetail)
    assert detail.rollout is not None
    (robot,) = detail.rollout.robots
    outcome = robot.outcome
    assert outcome is not None and outcome.switch_ms is not None and robot.confirmed_at is not None
    assert [switch.kind for switch in outcome.switches] == [SwitchKind.BLUE_GREEN], outcome
    return outcome.switch_ms, 1000 * (robot.confirmed_at.timestamp() - ran.began_at)


def _figures(times: list[tuple[float, float]]) -> list[Figure]:
    on_robot, in_all = [first for first, _ in times], [second for _, second in times]
    p99 = percentile(on_robot, 0.99)
    start = {"unit": "ms", "baseline": 2000.0, "baseline_is": "its import"}
    name = f"systemd: {len(times)} rollbacks to a warm version"
    return [
        Figure(name=f"{name}, decided → serving: p50", value=statistics.median(on_robot), **start),  # type: ignore[arg-type]
        Figure(name=f"{name}, decided → serving: p99", value=p99, target="< 100 ms", met=p99 < 100, **start),  # type: ignore[arg-type]
        Figure(name=f"{name}, typed → confirmed: p50", value=statistics.median(in_all), unit="ms"),
        Figure(name=f"{name}, typed → confirmed: p99", value=percentile(in_all, 0.99), unit="ms"),
    ]


if __name__ == "__main__":
    from benchmarks.figure import table

    print(table(measure()))
