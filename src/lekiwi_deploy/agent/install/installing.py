"""`lekiwi-agent install`: what makes an unpacked release the agent of this machine, and the machine a robot.

Every step looks first whether it is done, so running it again continues, repairs or upgrades. Until `current` moves, the agent that
was here before goes on unchanged; it moves in one step.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.config import AgentConfig, read_config
from lekiwi_deploy.agent.install import accounts, releases, services, systemctl
from lekiwi_deploy.agent.join import join
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.client.address import checked_address
from lekiwi_deploy.errors import BadInput, Conflict, Failed, NotAllowed, NotFound
from lekiwi_deploy.wire.encoding import encode

Say = Callable[[str], None]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `release`: the one to use (None: that of this program); `token` None: upgrade or repair; `again`: join
    although the machine is a robot; `start` False: install only."""

    release: str | None = None
    server: str | None = None
    token: str | None = None
    insecure_http: bool = False
    again: bool = False
    start: bool = True


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `before`: the release that was in use; `linked` None: nobody waited for it."""

    robot: str
    server: str
    release: str
    before: str | None
    joined: bool
    linked: bool | None
    schema: str = "lekiwi.agent-installed/1"


def install(paths: Paths, wish: Wish, say: Say) -> Installed:
    """Do it. Raises `NotAllowed` without rights, `Failed` without systemd or when a step fails, `Conflict` when the machine is a robot
    of another server, `NotFound` when it is none and there is no token, what `join` raises, and `TimedOut` when it stays offline."""
    whole_machine = paths.root == Path("/")
    if whole_machine and os.geteuid() != 0:
        raise NotAllowed("installing services needs the rights of root", next=("sudo lekiwi-agent install …",))
    if whole_machine and not systemctl.is_running():
        raise Failed(
            "this machine was not booted with systemd, which starts the agent and its services",
            next=("lekiwi-agent join URL --token TOKEN && lekiwi-agent run   # without systemd: you start it",),
        )
    release = wish.release or releases.running(paths)
    if release is None:
        raise BadInput(
            "this agent was installed in another way: run the install.sh of your server",
            next=("curl -fsSL URL/install.sh | sudo sh",),
        )
    known = _known(paths)
    joins = _must_join(known, wish)
    os.umask(0o022)
    user = accounts.ensure_user() if whole_machine else None
    paths.make()
    for folder in (paths.lekiwi, releases.folder(paths), paths.config.parent):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # the network half goes through them
    before = releases.in_use(paths)
    if joins:
        if whole_machine:
            services.stop()  # it holds the robot's lock; its services run on
        assert wish.server is not None and wish.token is not None
        offset, most = (known.port_offset, known.max_deployments) if known is not None else (0, None)
        known = join(
            paths,
            wish.server,
            wish.token,
            port_offset=offset,  # what a person chose when it joined first
            max_deployments=most,
            insecure_http=wish.insecure_http,
            again=wish.again,
        )
        say(f"joined {known.server} as {known.robot} ({known.project}, {known.environment})")
    assert known is not None
    if user is not None:
        accounts.give_key(paths, user)
    releases.use(paths, release)
    say(f"{releases.put_on_path(paths)} is {release}" + (f", was {before}" if before not in (None, release) else ""))
    linked = None
    if whole_machine:
        services.write(paths)
        if wish.start:
            services.start()
            say(f"started; waiting for the link to {known.server}")
            linked = services.wait_until_linked(paths, known).linked
    releases.forget_others(paths, {before, release})
    return Installed(
        robot=known.robot, server=known.server, release=release, before=before, joined=joins, linked=linked
    )


def _known(paths: Paths) -> AgentConfig | None:
    try:
        return read_config(paths)
    except NotFound:
        return None


def _must_join(known: AgentConfig | None, wish: Wish) -> bool:
    if wish.token is not None and wish.server is None:
        raise BadInput("a token is for a server: say --server URL, too")
    if known is None:
        if wish.token is None:
            raise NotFound(
                "this machine is no robot yet, so the agent needs a token to make it one",
                next=("lekiwi robots add NAME --group GROUP   # prints the line to run here",),
            )
        return True
    if wish.again:
        if wish.token is None:
            raise BadInput("--again needs a token", next=(f"lekiwi robots rejoin {known.robot}",))
        return True
    if wish.server is not None and checked_address(wish.server) != known.server:
        raise Conflict(
            f"this machine is the robot {known.robot} of {known.server} already",
            next=("add --again to make it one of this server", "sudo lekiwi-agent uninstall"),
        )
    return False


def result_json(installed: Installed) -> str:
    """For `--json`."""
    return encode(installed).decode()
