"""`lekiwi robots ssh|exec|reboot`: the machine itself, by this machine's own `ssh`. The link to the server carries nothing of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec

from lekiwi_deploy.cli.adopting.ssh import ADDRESS, checked_target
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import parse_span, span
from lekiwi_deploy.errors import BadInput, Failed, NotFound, TimedOut, Unavailable
from lekiwi_deploy.wire.api import Robot

_BROKEN = 255
"""What `ssh` exits with when it, not the command there, failed."""
_LOOK_S = 0.5


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """What `robots exec --json` prints."""

    robot: str
    target: str
    code: int
    stdout: str
    stderr: str
    schema: str = "lekiwi.robot-exec/1"


class Rebooted(msgspec.Struct, frozen=True, kw_only=True):
    """What `robots reboot --json` prints. `seconds` None: nobody waited until it was back."""

    robot: str
    target: str
    seconds: float | None
    schema: str = "lekiwi.robot-rebooted/1"


def _routed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how to get there."""
    for option in (
        click.option("--identity", metavar="FILE", help="The key to log in with, as ssh's -i."),
        click.option("--port", type=click.IntRange(1, 65535), help="Where SSH listens there."),
        click.option("--user", metavar="USER", help="Who to log in as, where the address says nobody."),
        click.option(
            "--address", metavar="USER@HOST", help="Where it is (else its label `address`, else its host name)."
        ),
    ):
        function = option(function)
    return function


class _Way(msgspec.Struct, frozen=True):
    target: str
    arguments: tuple[str, ...]


@click.command("ssh", cls=Verb)
@click.argument("name")
@_routed
@click.pass_obj
def ssh(run: Run, name: str, address: str | None, user: str | None, port: int | None, identity: str | None) -> int:
    """Open a shell on a robot with this machine's ssh."""
    way = _way(run.api.robot(name), address, user, port, identity)
    if run.out.json:
        raise BadInput("a shell has no JSON", next=(f"lekiwi robots exec {name} --json -- uptime",))
    run.out.detail(f"ssh {way.target}")
    return _ended(name, way, _ssh(way, []))


@click.command("exec", cls=Verb, context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@_routed
@click.pass_obj
def exec_(
    run: Run,
    name: str,
    command: tuple[str, ...],
    address: str | None,
    user: str | None,
    port: int | None,
    identity: str | None,
) -> int:
    """Run a command on a robot with this machine's ssh: `lekiwi robots exec lekiwi-001 -- uptime`. Ends with the command's exit code."""
    way = _way(run.api.robot(name), address, user, port, identity)
    if not run.out.json:
        return _ended(name, way, _ssh(way, list(command)))
    done = subprocess.run([*_argv(way), *command], capture_output=True, check=False)
    _ended(name, way, done.returncode)
    run.out.object(
        Executed(
            robot=name,
            target=way.target,
            code=done.returncode,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
        )
    )
    return done.returncode


@click.command("reboot", cls=Verb)
@click.argument("name")
@_routed
@click.option("--wait/--no-wait", default=True, help="Wait until it is back and linked.")
@click.option("--timeout", default="5m", metavar="SPAN", help="How long to wait.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def reboot(
    run: Run,
    name: str,
    address: str | None,
    user: str | None,
    port: int | None,
    identity: str | None,
    wait: bool,
    timeout: str,
    yes: bool,
) -> None:
    """Reboot a robot over ssh (`sudo reboot` there, without a password), and wait until it is linked again."""
    limit_s = parse_span(timeout)
    robot = run.api.robot(name)
    way = _way(robot, address, user, port, identity)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput(
                f"rebooting {name} stops what it does, and there is no terminal to confirm it on",
                next=(f"lekiwi robots reboot {name} --yes",),
                details={"reason": "no_terminal"},
            )
        click.confirm(f"Reboot {name} ({way.target})? What it does stops", abort=True, err=True)
    started = time.monotonic()
    # `reboot` may well take the connection with it: only what comes before that counts
    done = subprocess.run(
        [*_argv(way), "sudo -n true && { sudo -n systemctl reboot || sudo -n reboot; }"],
        capture_output=True,
        check=False,
        text=True,
        errors="replace",
    )
    said = done.stderr.strip().splitlines()
    if done.returncode not in (0, _BROKEN):
        raise Failed(
            f"{name} would not reboot: {said[-1] if said else f'exit code {done.returncode}'}",
            next=(f"lekiwi robots ssh {name}",),
        )
    if done.returncode == _BROKEN and not any("closed" in line for line in said):
        raise _unreachable(name, way, said[-1] if said else "")
    seconds = _until_back(run, name, robot, started, limit_s) if wait and robot.online else None
    run.out.object(Rebooted(robot=name, target=way.target, seconds=seconds))
    if seconds is None:
        run.out.line(f"{name} was told to reboot; lekiwi robots show {name} says when it is back")
    else:
        run.out.line(f"{name} rebooted, and is linked again after {span(seconds)}")


def _until_back(run: Run, name: str, before: Robot, started: float, limit_s: float) -> float:
    """Seconds until it was away and came back."""
    away = False
    run.out.say(f"   waiting until {name} is back (Ctrl-C stops waiting only)")
    while time.monotonic() - started < limit_s:
        time.sleep(_LOOK_S)
        try:
            now = run.api.robot(name)
        except Unavailable:
            continue
        away = away or not now.online
        if away and now.online:
            return time.monotonic() - started
    gone = "did not come back" if away else "did not go away"
    raise TimedOut(f"{name} {gone} within {span(limit_s)}", next=(f"lekiwi robots show {name}",))


def _way(robot: Robot, address: str | None, user: str | None, port: int | None, identity: str | None) -> _Way:
    """How to get there. Raises `NotFound` when nobody ever said where it is."""
    place = address or robot.labels.get(ADDRESS) or robot.hostname
    if not place:
        raise NotFound(
            f"nobody said where {robot.name} is: it never joined, and has no label `{ADDRESS}`",
            next=(
                f"lekiwi robots tag {robot.name} {ADDRESS}=USER@HOST",
                f"lekiwi robots ssh {robot.name} --address USER@HOST",
            ),
        )
    target = checked_target(place if "@" in place or user is None else f"{user}@{place}")
    given = [*(["-p", str(port)] if port else []), *(["-i", identity] if identity else [])]
    return _Way(target, (*given, "-o", "ConnectTimeout=15"))


def _argv(way: _Way) -> list[str]:
    return ["ssh", *way.arguments, "--", way.target]


def _ssh(way: _Way, command: list[str]) -> int:
    try:
        return subprocess.call([*_argv(way), *command])
    except FileNotFoundError:
        raise Failed("this machine has no ssh: install an OpenSSH client") from None


def _ended(name: str, way: _Way, code: int) -> int:
    if code == _BROKEN:
        raise _unreachable(name, way, "")
    return code


def _unreachable(name: str, way: _Way, why: str) -> Unavailable:
    return Unavailable(
        f"ssh could not get to {name} as {way.target}" + (f": {why}" if why else ""),
        next=(
            f"lekiwi robots tag {name} {ADDRESS}=USER@HOST",
            f"lekiwi robots ssh {name} --address USER@HOST --identity FILE",
        ),
    )
