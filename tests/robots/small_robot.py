"""A robot with systemd and the agent of this checkout, linked to a small server of the test, which runs one web service."""

from __future__ import annotations

import secrets
import sys

from agent_releases import agent_tests_folder

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import install_agent
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.wire.link import DeploymentRef, Report
from lekiwi_deploy.wire.manifest import HttpCheck

sys.path.insert(0, str(agent_tests_folder()))
from agent_robot import web_code
from agent_server import AgentServer, web

CHECKS = (HttpCheck(path="/", interval_s=0.2, within_s=10.0),)
PORT = 8000


class SmallRobot:
    """`machine` booted, joined and linked."""

    def __init__(self, machine: Machine, lan: Lan) -> None:
        self.machine = machine
        self.server = AgentServer(lan.address)
        install_agent(machine)
        machine.boot()
        with lan.entered():
            self.server.start()
        machine.run("lekiwi-agent", "join", self.server.url, "--token", "-", "--insecure-http", stdin="lkd_enr_test\n")
        machine.run("systemctl", "enable", "--now", "lekiwi-agent")
        self.server.until(lambda: self.server.linked, "linked")
        machine.run("sync")  # the installation was long ago

    def want(self, text: str, *, ballast: int = 0) -> DeploymentRef:
        """Want a release whose page says `text`, with so many bytes that nothing compresses."""
        files: dict[str, str | bytes] = {"web.py": web_code(text), "ballast": secrets.token_bytes(ballast)}
        ref = self.server.release(files, [web(port=PORT, content=text, health=CHECKS)])
        self.server.want(ref)
        return ref

    def waits_for(self, *kinds: type) -> Report:
        """Wait until the robot says that it waits for one of these."""

        def there() -> Report | None:
            report = self.server.reports[-1]
            return report if any(isinstance(reason, kinds) for reason in report.waiting) else None

        found: Report = self.server.until(there, f"it waits for {kinds}", within_s=40)
        return found

    def says(self) -> str:
        """What its page says to somebody on the robot."""
        ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/', timeout=5).read().decode())"
        return self.machine.run("python3", "-c", ask, check=False).stdout.strip()

    def agent(self) -> str:
        """Its process id."""
        return self.machine.run("systemctl", "show", "-P", "MainPID", "lekiwi-agent").stdout.strip()

    def link(self) -> str:
        """What it says of its link to the server."""
        return self.machine.run("lekiwi-agent", "status", check=False).stdout.partition("server")[2].partition("\n")[0]
