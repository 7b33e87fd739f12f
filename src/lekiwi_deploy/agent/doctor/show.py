"""`lekiwi-agent doctor`, as `lekiwi doctor` looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from lekiwi_deploy.agent.ask import ask
from lekiwi_deploy.agent.config import AgentConfig, read_config
from lekiwi_deploy.agent.doctor import agent_checks, deployment_checks, machine_checks
from lekiwi_deploy.agent.doctor.check import Check, fail, warn
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import LekiwiError, NotAllowed
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.local import RobotHere, StatusPlease

_SIGNS = {"ok": ("✓", "32"), "warn": ("!", "33"), "fail": ("✗", "31")}


class Doctor(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `ok`: nothing failed."""

    ok: bool
    robot: str | None
    checks: tuple[Check, ...]
    schema: str = "lekiwi.agent-doctor/1"


def doctor(paths: Paths, *, as_json: bool, out: Callable[[str], None]) -> int:
    """Look at everything, print as it is found; 0 when nothing fails, else 1."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    seen = []
    for check in all_checks(paths):
        seen.append(check)
        if as_json:
            continue
        sign, code = _SIGNS[check.state]
        shown = f"\x1b[{code}m{sign}\x1b[0m" if colour else sign
        out(f"{shown} {check.name:<12}{check.text}")
        if check.fix:
            out(" " * 14 + f"→ {check.fix}")
    good = all(check.state != "fail" for check in seen)
    if as_json:
        out(encode(Doctor(ok=good, robot=_robot(paths), checks=tuple(seen))).decode())
    return 0 if good else 1


def all_checks(paths: Paths) -> Iterator[Check]:
    """In the order in which one depends on the other."""
    yield from agent_checks.program(paths)
    config: AgentConfig | None = None
    here: RobotHere | LekiwiError
    try:
        config = read_config(paths)
        here = ask(paths, StatusPlease(), RobotHere, timeout_s=10)
    except LekiwiError as error:
        here = error
    except PermissionError:
        here = NotAllowed("the agent tells only root how it is")
    except OSError as error:
        here = LekiwiError(f"the agent cannot be asked: {error.strerror or error}")
    yield from agent_checks.halves(paths, here)
    yield agent_checks.link(config, here)
    if config is not None:
        yield from agent_checks.key(paths)
    yield machine_checks.clock(paths, config, datetime.now(UTC))
    yield from machine_checks.disk(paths)
    yield from machine_checks.systemd()
    yield machine_checks.traffic()
    try:
        yield from _deployments(paths)
    except PermissionError as error:
        yield warn("files", f"{error.filename} cannot be looked at by this user", "sudo lekiwi-agent doctor")
    except OSError as error:
        yield fail("files", f"{error.filename or paths.root}: {error.strerror}", "sudo lekiwi-agent doctor")


def _deployments(paths: Paths) -> Iterator[Check]:
    ledger, check = deployment_checks.ledger_of(paths)
    yield check
    if ledger is None:
        return
    yield from deployment_checks.slots(paths, ledger)
    yield from deployment_checks.needs(paths, ledger)
    yield from deployment_checks.variables(paths, ledger)
    boots = deployment_checks.boots(paths, ledger)
    if boots is not None:
        yield boots


def _robot(paths: Paths) -> str | None:
    try:
        return str(read_config(paths).robot)
    except LekiwiError:
        return None
