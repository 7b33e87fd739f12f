"""Variables that the server gives: they reach the service and nothing else, go with their deployment, and are never missing in silence."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_robot import AgentRobot, body, eventually, free_port
from agent_server import AgentServer, web
from halves_robot import HalvesRobot
from nacl.signing import SigningKey

from lekiwi_deploy.wire.link import DeploymentRef, Report
from lekiwi_deploy.wire.manifest import CommandCheck, Hook, HookKind, HttpCheck, Service
from lekiwi_deploy.wire.reasons import VariablesSealed
from lekiwi_deploy.wire.sealing import seal
from lekiwi_deploy.wire.variables import SealedVariables

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=5.0),)
SERVES = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.environ.get('API_KEY')} {os.environ.get('MODE')} %s".encode())
    def log_message(self, *arguments):
        pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Tenant:
    """A robot's server that gives variables."""

    def __init__(self, server: AgentServer) -> None:
        self.server = server
        self.port = free_port()

    def release(self, text: str = "", **more: Any) -> DeploymentRef:
        service = self.service(content=text, **more)
        return self.server.release({"web.py": SERVES % text}, [service])

    def service(self, name: str = "web", port: int | None = None, **more: Any) -> Service:
        more.setdefault("env", ("API_KEY", "MODE"))
        return web(name, port=port or self.port, health=more.pop("health", QUICKLY), **more)

    def given(
        self, revision: int, key: bytes | None = None, environment: str = "production", **values: str
    ) -> SealedVariables:
        sealed = seal(values, key if key is not None else self.server.public_key)
        secrets = tuple(name for name in values if name != "MODE")
        return SealedVariables(environment=environment, revision=revision, sealed=sealed, secrets=secrets)

    def want(self, ref: DeploymentRef, given: SealedVariables | None) -> None:
        self.server.want(ref, variables=given)

    def says(self, text: str) -> None:
        eventually(f"it says {text}", lambda: body(self.port) == text)

    def refuses(self) -> Report:
        def there() -> Report | None:
            report = self.server.reports[-1] if self.server.reports else None
            found = report is not None and any(isinstance(one, VariablesSealed) for one in report.waiting)
            return report if found else None

        report: Report = self.server.until(there, "it says that it cannot open them")
        return report


@pytest.fixture
def tenant(server: AgentServer) -> Tenant:
    return Tenant(server)


@pytest.fixture
def halves(server: AgentServer, tmp_path: Path) -> Iterator[HalvesRobot]:
    robot = HalvesRobot(tmp_path / "robot", server)
    robot.join()
    yield robot
    robot.end()


def found_on_disk(root: Path, text: str) -> list[str]:
    """Files below `root` with the text in them."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path.relative_to(root)) for path in files if text.encode() in path.read_bytes()]


def test_a_service_gets_what_it_declares_and_the_disk_has_none_of_it(tenant: Tenant, halves: HalvesRobot) -> None:
    halves.start()
    ref = tenant.release()
    tenant.want(ref, tenant.given(1, API_KEY="secret123", MODE="fast", OTHER="undeclared9"))
    tenant.server.healthy(ref, good=True)
    tenant.says("secret123 fast ")
    for value in ("secret123", "undeclared9"):
        assert found_on_disk(halves.root, value) == []
    kept = halves.root / f"opt/lekiwi/deployments/{ref.id}/variables.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "secret123" not in halves.output.read_text() + halves.command("status").stdout
    assert not [event for event in tenant.server.events.values() if "secret123" in repr(event)]


def test_only_an_agent_that_was_given_some_loads_what_opens_them(tenant: Tenant, halves: HalvesRobot) -> None:
    halves.start()
    assert halves.process is not None
    maps, status = (Path(f"/proc/{halves.process.pid}/{name}") for name in ("maps", "status"))
    ref = tenant.release()
    tenant.want(ref, None)
    tenant.server.healthy(ref, good=True)
    assert "_sodium" not in maps.read_text()
    before = int(status.read_text().partition("VmRSS:")[2].split()[0])
    tenant.want(ref, tenant.given(1, API_KEY="secret123"))
    tenant.says("secret123 None ")
    assert "_sodium" in maps.read_text()
    after = int(status.read_text().partition("VmRSS:")[2].split()[0])
    print(f"{before} kB without variables, {after} kB with")


def test_what_a_service_does_not_declare_it_does_not_get(tenant: Tenant, robot: AgentRobot) -> None:
    robot.start()
    ref = tenant.release(env=("MODE",))
    tenant.want(ref, tenant.given(1, API_KEY="secret123", MODE="fast"))
    tenant.server.healthy(ref)
    tenant.says("None fast ")


def test_going_back_without_the_server_brings_back_the_variables_that_went_with_it(
    tenant: Tenant, robot: AgentRobot
) -> None:
    robot.start()
    one, two = tenant.release("a"), tenant.release("b")
    tenant.want(one, tenant.given(1, API_KEY="first-secret"))
    tenant.server.healthy(one, good=True)
    tenant.want(two, tenant.given(2, API_KEY="second-secret"))
    tenant.server.healthy(two, good=True)
    tenant.says("second-secret None b")
    tenant.server.stop()
    done = robot.command("rollback")
    assert done.returncode == 0, done.stderr
    tenant.says("first-secret None a")


def test_the_first_values_of_a_revision_stay_and_a_newer_revision_restarts_only_who_reads_it(
    tenant: Tenant, robot: AgentRobot
) -> None:
    robot.start()
    other = free_port()
    services = [tenant.service("reads"), tenant.service("not", port=other, env=("MODE",))]
    ref = tenant.server.release({"web.py": SERVES % ""}, services)
    tenant.want(ref, tenant.given(1, API_KEY="first-secret", MODE="m"))
    report = tenant.server.healthy(ref, good=True)
    before = {service.name: service.pid for service in report.services}
    tenant.want(ref, tenant.given(1, API_KEY="another-secret", MODE="m"))
    number = tenant.server.desired.generation
    tenant.server.until(lambda: tenant.server.reports[-1].generation == number, "it took note")
    tenant.says("first-secret m ")
    tenant.want(ref, tenant.given(7, environment="staging", API_KEY="second-secret", MODE="m"))
    tenant.says("second-secret m ")
    after = {service.name: service.pid for service in tenant.server.healthy(ref).services}
    assert after["not"] == before["not"]
    tenant.server.until(
        lambda: any("staging, revision 7" in event.text for event in tenant.server.events.values()), "told of it"
    )
    tenant.want(ref, None)
    tenant.says("None None ")


def test_a_deployment_whose_variables_cannot_be_opened_is_not_started_until_they_can(
    tenant: Tenant, robot: AgentRobot
) -> None:
    robot.start()
    one, two = tenant.release("a"), tenant.release("b")
    tenant.want(one, tenant.given(1, API_KEY="first-secret"))
    tenant.server.healthy(one, good=True)
    foreign = SigningKey.generate().verify_key.encode()
    tenant.want(two, tenant.given(2, key=foreign, API_KEY="second-secret"))
    report = tenant.refuses()
    assert report.running is not None
    assert (report.running.deployment, report.running.healthy) == (one.id, True)
    assert "another key" in robot.command("status").stdout
    done = robot.command("rollback", "--to", two.id)
    assert done.returncode == 9
    assert "cannot be opened" in done.stderr
    tenant.says("first-secret None a")
    tenant.want(two, tenant.given(2, API_KEY="second-secret"))
    tenant.server.healthy(two, good=True)
    tenant.says("second-secret None b")


def test_what_runs_goes_on_when_its_newer_variables_or_its_old_ones_cannot_be_opened(
    tenant: Tenant, robot: AgentRobot
) -> None:
    robot.start("--leave-services")
    ref = tenant.release()
    tenant.want(ref, tenant.given(1, API_KEY="first-secret"))
    report = tenant.server.healthy(ref, good=True)
    pid = report.services[0].pid
    foreign = SigningKey.generate().verify_key.encode()
    tenant.want(ref, tenant.given(2, key=foreign, API_KEY="second-secret"))
    assert tenant.refuses().services[0].pid == pid
    robot.stop()
    tenant.server.stop()
    damage(robot, ref)
    robot.start("--leave-services")
    eventually("the agent found it", lambda: f'"pid":{pid}' in robot.command("status", "--json").stdout)
    tenant.says("first-secret None ")
    for process in robot.processes():
        os.kill(process, signal.SIGKILL)
    eventually(
        "it is not started without them",
        lambda: "cannot be opened" in str([one["detail"] for one in robot.status()["report"]["services"]]),
    )
    assert body(tenant.port) is None


def test_what_cannot_be_opened_is_not_gone_back_to_but_what_came_before_it_is(
    tenant: Tenant, robot: AgentRobot
) -> None:
    robot.start("--leave-services")
    one, two = tenant.release("a"), tenant.release("b")
    for revision, ref in ((1, one), (2, two)):
        tenant.want(ref, tenant.given(revision, API_KEY=f"secret-of-{revision}"))
        tenant.server.healthy(ref, good=True)
    assert robot.command("rollback").returncode == 0
    tenant.says("secret-of-1 None a")
    robot.stop()
    damage(robot, one)
    bad = tenant.server.release({"web.py": "raise SystemExit(3)"}, [tenant.service(content="bad")])
    tenant.want(bad, tenant.given(3, API_KEY="secret-of-3"))
    robot.start("--leave-services")
    report = tenant.server.outcome(bad, "rolled_back")
    assert report.running is not None
    assert report.running.deployment == two.id
    tenant.says("secret-of-2 None b")
    tenant.server.until(
        lambda: any(f"variables of {one.id} cannot be opened" in event.text for event in tenant.server.events.values()),
        "told",
    )


def damage(robot: AgentRobot, ref: DeploymentRef) -> None:
    """One character of what the robot keeps of its variables is another."""
    kept = robot.root / f"opt/lekiwi/deployments/{ref.id}/variables.json"
    text = kept.read_text()
    at = text.index('"sealed":"') + 40
    kept.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])


def test_the_robots_own_variables_go_before(tenant: Tenant, robot: AgentRobot) -> None:
    (robot.root / "etc/lekiwi/robot.env").write_text("API_KEY=own-value\n")
    robot.start()
    ref = tenant.release()
    tenant.want(ref, tenant.given(1, API_KEY="first-secret", MODE="fast"))
    tenant.server.healthy(ref)
    tenant.says("own-value fast ")


def test_a_new_agent_finds_what_runs_and_restarts_none_of_it(tenant: Tenant, robot: AgentRobot) -> None:
    robot.start("--leave-services")
    ref = tenant.release()
    tenant.want(ref, tenant.given(1, API_KEY="first-secret"))
    before = tenant.server.healthy(ref, good=True).services[0]
    robot.kill()
    hellos = len(tenant.server.hellos)
    robot.start("--leave-services")
    tenant.server.until(lambda: len(tenant.server.hellos) > hellos, "it is back")
    after = tenant.server.healthy(ref, good=True).services[0]
    assert (after.pid, after.restarts) == (before.pid, before.restarts)


@pytest.mark.parametrize("where", ["variables.before_write", "file.before_rename", "stage.after_journal"])
def test_killed_while_it_keeps_them_a_robot_ends_with_them(tenant: Tenant, robot: AgentRobot, where: str) -> None:
    ref = tenant.release()
    tenant.want(ref, tenant.given(1, API_KEY="first-secret"))
    robot.start(LEKIWI_FAILPOINT=where)
    robot.died()
    robot.start()
    tenant.server.healthy(ref, good=True)
    tenant.says("first-secret None ")


def test_secrets_are_hidden_in_logs_hooks_checks_and_outcomes(tenant: Tenant, robot: AgentRobot) -> None:
    robot.start()
    values = {"API_KEY": "secret123", "PEM": "-----BEGIN-----\nline-of-key\n-----END-----", "MODE": "harmless-mode"}
    talks = "import os\nprint('key', os.environ['API_KEY'], 'mode', os.environ['MODE'], flush=True)\nprint(os.environ['PEM'], flush=True)\n"
    hook = Hook(run=("sh", "-c", "echo hooked $API_KEY"))
    ref = tenant.server.release(
        {"web.py": talks + SERVES % ""},
        [tenant.service(env=("API_KEY", "MODE", "PEM"), hooks={HookKind.PREPARE: hook})],
    )
    tenant.want(ref, tenant.given(1, None, "production", **values))
    tenant.server.healthy(ref, good=True)
    lines = tenant.server.until(lambda: (found := tenant.server.texts("web")) and len(found) >= 5 and found, "logged")
    assert sorted(lines) == sorted(["hooked ••••••", "key •••••• mode harmless-mode", "••••••", "••••••", "••••••"])
    fails = "import os, sys\nprint('last words', os.environ['API_KEY'], flush=True)\nsys.exit(3)\n"
    check = CommandCheck(run=("sh", "-c", "echo $API_KEY; exit 1"), interval_s=0.1, within_s=1.0)
    for code, health in ((fails, QUICKLY), (SERVES % "", (check,))):
        bad = tenant.server.release({"web.py": code}, [tenant.service(content=str(health), health=health)])
        tenant.want(bad, tenant.given(2, API_KEY="secret123"))
        report = tenant.server.outcome(bad, "rolled_back")
        assert report.outcome is not None
        assert "••••••" in str((report.outcome.log, report.outcome.why))
    assert "secret123" not in repr((tenant.server.reports, tenant.server.events, tenant.server.logs))
    eventually("what it wrote itself is blotted out", lambda: not found_on_disk(robot.root, "secret123"))
