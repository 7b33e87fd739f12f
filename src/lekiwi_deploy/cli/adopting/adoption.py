"""One machine on its way to be a robot: looked at, installed, linked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import msgspec

from lekiwi_deploy.cli.adopting.found import Survey, platform_of, python_of
from lekiwi_deploy.cli.adopting.rights import Rights
from lekiwi_deploy.cli.adopting.ssh import Ssh, logs_in_with_key
from lekiwi_deploy.client.api import Api
from lekiwi_deploy.errors import Conflict, Failed, LekiwiError, NotFound
from lekiwi_deploy.wire.api import NewRobot, Robot, RobotJoin

INSTALL_S = 900.0
_AGENT = "/usr/local/bin/lekiwi-agent"
_NO_PYTHON = "command -v python3 >/dev/null || exit 127; "
_INSTALL = (
    "set -eu; umask 077; folder=$(mktemp -d /var/tmp/lekiwi.XXXXXX); trap 'rm -rf \"$folder\"' EXIT; "
    'IFS= read -r token; cat >"$folder/bundle"; printf "%s\\n" "$token" | "$0" -I "$folder/bundle" "$@"'
)
"""The token is the first line of what comes in, so that it is on no command line; the bundle is the rest."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to become of a machine. `join`: it gets a new identity, `again` although it has one; else it is upgraded or repaired."""

    name: str
    url: str
    join: bool
    again: bool


def survey(ssh: Ssh, rights: Rights, url: str) -> Survey:
    """Look at the machine; nothing there is changed. Raises `Failed` when it has no Python, or answers something else."""
    script = files("lekiwi_deploy.cli.adopting").joinpath("survey.py").read_bytes()
    done = rights.run(ssh, ("sh", "-c", f'{_NO_PYTHON}exec python3 -I - "$0"', url), stdin=script)
    if done.code == 127:
        raise Failed(
            "it has no Python, and the agent needs 3.11 or newer",
            next=("sudo apt install python3 python3-venv   # on it",),
        )
    try:
        return msgspec.json.decode(done.out.splitlines()[-1] if done.out else b"", type=Survey)
    except msgspec.MsgspecError:
        what = (done.err or done.text).strip()[-300:] or f"exit {done.code}"
        raise Failed(f"it could not be looked at: {what}") from None


def plan(found: Survey, api: Api, *, server_id: str, url: str, name: str | None, again: bool) -> Plan:
    """What to do with it. Raises `Conflict` when it is a robot already that it should not be, or the name is another machine's."""
    before = found.robot
    if before is not None and not again:
        if before.server_id != server_id:
            raise Conflict(
                f"it is the robot {before.name} of {before.server} already",
                next=("add --again to make it one of this server", "sudo lekiwi-agent uninstall   # on it"),
            )
        if name not in (None, before.name):
            raise Conflict(
                f"it is the robot {before.name} of this server already", next=(f"add --again to make it {name}",)
            )
        known = _known(api, before.name)
        return Plan(before.name, before.server, join=known is None, again=known is None)
    wanted = name or (before.name if before is not None and before.server_id == server_id else name_of(found.hostname))
    known = _known(api, wanted)
    if known is not None and known.joined_at is not None and not again:
        raise Conflict(
            f"there is a robot {wanted} already, and it is another machine",
            next=("say --name NAME for this one", f"add --again if this machine takes the place of {wanted}"),
        )
    return Plan(wanted, url, join=True, again=before is not None)


def name_of(hostname: str) -> str:
    """A robot's name out of a host's name. PURE."""
    return re.sub(r"[^a-z0-9-]+", "-", hostname.split(".")[0].lower()).strip("-")[:40] or "robot"


def token_for(api: Api, project: str, planned: Plan, group: str, labels: dict[str, str]) -> tuple[RobotJoin, bool]:
    """A fresh token for the robot, and whether the robot was added for it."""
    if _known(api, planned.name) is not None:
        return api.new_join_token(planned.name), False
    return api.add_robot(project, NewRobot(name=planned.name, group=group, labels=labels)), True


def install(
    ssh: Ssh, rights: Rights, found: Survey, bundle: bytes, planned: Plan, token: str, *, insecure_http: bool, say: Say
) -> None:
    """Send the bundle, install, join, and wait until the robot says that it is linked. Raises `Failed` with what went wrong there."""
    python = python_of(found)
    assert python is not None
    options = [
        "--server",
        planned.url,
        *(["--token", "-"] if token else []),
        *(["--again"] if planned.again and token else []),
    ]
    options += ["--insecure-http"] if insecure_http else []
    command = ("sh", "-c", _INSTALL, python[0], *options)
    said: list[str] = []

    def listen(line: str) -> None:
        said.append(line)
        if not line.startswith(("error:", "next:", "  ", "      ")):
            say(line)

    done = rights.run(ssh, command, stdin=token.encode() + b"\n" + bundle, on_line=listen, timeout_s=INSTALL_S)
    if done.code != 0:
        wrong = next((i for i, line in enumerate(said) if line.startswith("error:")), None)
        if wrong is None:
            raise Failed(f"the installation ended with {done.code}: {' '.join(said[-3:]) or 'it said nothing'}")
        details = [line for line in said[wrong + 1 :] if line.startswith("  ")]
        raise Failed(
            "\n".join([said[wrong].removeprefix("error: "), *details]),
            next=(f"ssh {ssh.route.target} sudo lekiwi-agent doctor",),
        )


def bundle_for(api: Api, found: Survey) -> bytes:
    """What installs the agent there. Raises what the server says: there is none for that platform, or it cannot be fetched."""
    platform = platform_of(found)
    assert platform is not None
    return api.agent_archive(platform.key)


def lock_ssh(ssh: Ssh, rights: Rights) -> None:
    """No more passwords. Raises `Conflict` when we ourselves could not come back with a key; what the agent there says else."""
    if not logs_in_with_key(ssh.route):
        raise Conflict(
            f"{ssh.route.target} lets you in with a password only: without one you would be locked out",
            next=(f"ssh-copy-id {ssh.route.target}", f"ssh {ssh.route.target} sudo lekiwi-agent lock-ssh"),
        )
    done = rights.run(ssh, (_AGENT, "lock-ssh", "--user", rights.user))
    if done.code != 0:
        raise Failed(done.err.removeprefix("error: ").strip() or f"exit {done.code}")
    if not logs_in_with_key(ssh.route):
        undone = rights.run(ssh, (_AGENT, "lock-ssh", "--undo"))
        raise Failed(
            "with passwords off, your key was not taken any more, so they are on again"
            if undone.code == 0
            else f"your key is not taken any more, and undoing it failed: {undone.err.strip()}",
            next=(f"ssh {shlex.quote(ssh.route.target)} sudo lekiwi-agent lock-ssh --undo",),
        )


def _known(api: Api, name: str) -> Robot | None:
    try:
        return api.robot(name)
    except NotFound:
        return None
    except LekiwiError as error:
        if error.code == "not_found":
            return None
        raise
