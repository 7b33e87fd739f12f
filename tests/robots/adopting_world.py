"""A server with robots' agents to give, a person, and machines that know nothing of it yet."""

from __future__ import annotations

import asyncio
import shutil
import stat
from pathlib import Path

from lekiwi_deploy.server.agent_bundle.bundle_platforms import bundle_platform
from lekiwi_deploy.server.agent_bundle.dependencies import Dependencies
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import locked
from lekiwi_deploy.testing.machine_needs import cache_folder
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.machine_ssh import known_hosts, make_key
from lekiwi_deploy.testing.machine_tools import call
from lekiwi_deploy.testing.person import Person, Ran
from lekiwi_deploy.testing.server import LocalServer
from lekiwi_deploy.wire.api import Robot, Robots

PROJECT = "kiwi"


def packages_for(python: str) -> Path:
    """A folder with the agent's dependencies for machines of these tests, fetched by the first test that ever asks."""
    folder = cache_folder() / "agent-packages"
    folder.mkdir(exist_ok=True)
    platform = bundle_platform(f"linux-{call('uname', '-m').strip()}-glibc2.36-py{python}")

    async def fetch() -> Path:
        found = Dependencies.of_this_server(folder)
        await found.compiled()
        await found.wheels(platform)
        return found.home

    with locked(folder.with_name("agent-packages.lock")):
        return asyncio.run(fetch())


class AdoptingWorld:
    """The server sits in `lan`, without a way to any package index. Made on construction, not started; `end` it in any case."""

    def __init__(self, folder: Path, lan: Lan) -> None:
        folder.chmod(0o711)
        self.folder = folder
        self.lan = lan
        self.server = LocalServer(folder / "server", lan=lan)
        self.key = make_key(folder / "keys")

    def start(self, packages: Path) -> None:
        """The server, which has `packages` already, and a project on it."""
        shutil.copytree(packages, self.folder / "server/cache/agent" / packages.name)
        self.server.start()
        self.anna = Person(self.folder / "anna", self.server.url, self.server.owner_token(), lan=self.lan)
        self.lekiwi("api", "POST", "/api/projects", "--data", f'{{"name":"{PROJECT}"}}').ok()

    def lekiwi(self, *arguments: str, stdin: str | None = None, within_s: float = 180.0) -> Ran:
        return self.anna.lekiwi(*arguments, "--insecure-http", stdin=stdin, within_s=within_s)

    def adopt(
        self, *machines: Machine | str, user: str = "pi", options: tuple[str, ...] = (), stdin: str | None = None
    ) -> Ran:
        """`lekiwi robots adopt …`, with the machines' host keys known and Anna's key at hand."""
        known = self.folder / "known_hosts"
        known.write_text("".join(known_hosts(machine) for machine in machines if isinstance(machine, Machine)))
        targets = [f"{user}@{one.address if isinstance(one, Machine) else one}" for one in machines]
        ssh = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]
        command = ["robots", "adopt", *targets, "-p", PROJECT, "--group", "production", *ssh, *options]
        return self.lekiwi(*command, stdin=stdin)

    def deploy(self, web: str) -> None:
        """A service with a port, on every robot."""
        folder = self.folder / "app"
        folder.mkdir(exist_ok=True)
        (folder / "web.py").write_text(web)
        (folder / "lekiwi.yaml").write_text(
            "services:\n  web: {run: python3 web.py, port: 8000, health: [{http: /}]}\n"
        )
        command = ("deploy", "-p", PROJECT, "-e", "production", "--insecure-http")
        self.anna.lekiwi(*command, folder=folder, within_s=180).ok()

    def types_password(self, password: str) -> None:
        """From now on Anna has no key, and ssh's question for a password is answered with this one."""
        helper = self.folder / "askpass"
        helper.write_text(f"#!/bin/sh\necho '{password}'\n")
        helper.chmod(stat.S_IRWXU)
        self.anna.environment |= {"SSH_ASKPASS": str(helper), "SSH_ASKPASS_REQUIRE": "force"}

    def types_nothing(self) -> None:
        """Nobody answers ssh."""
        for name in ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"):
            self.anna.environment.pop(name, None)

    def robot(self, name: str) -> Robot:
        return self.lekiwi("robots", "show", name, "--json").ok().json(Robot)

    def names(self) -> set[str]:
        listed = self.lekiwi("robots", "list", "-p", PROJECT, "--json").ok().json(Robots)
        return {str(robot.name) for robot in listed.robots}

    def end(self) -> None:
        self.server.end()


def everything_on(machine: Machine) -> dict[str, str]:
    """What a removal may not leave behind: files, users, units, and the kernel's rules."""
    places = "/etc /opt /usr/local /var/lib /var/log /var/cache /run/systemd/system /home /root /srv"
    leave_out = "-path /var/log/journal -prune -o -path /var/lib/systemd -prune -o -path '*/.ssh' -prune -o"
    files = machine.run("sh", "-c", f"find {places} {leave_out} -print | sort").stdout
    return {
        "files": "\n".join(line for line in files.splitlines() if not line.endswith(("passwd-", "group-", "shadow-"))),
        "users": machine.run("cat", "/etc/passwd", "/etc/group").stdout,
        "units": machine.run("sh", "-c", "systemctl list-unit-files --no-legend | sort").stdout,
        "loaded": machine.run("sh", "-c", "systemctl list-units --all --plain --no-legend 'lekiwi*'").stdout,
        "rules": machine.run("nft", "list", "ruleset").stdout,
    }
