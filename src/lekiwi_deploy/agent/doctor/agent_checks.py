"""The agent itself: its files, its two halves, its link, its key."""

from __future__ import annotations

import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from lekiwi_deploy import __version__
from lekiwi_deploy.agent.config import AgentConfig, read_variables
from lekiwi_deploy.agent.doctor.check import Check, fail, ok, warn
from lekiwi_deploy.agent.install import releases, systemctl, unpack
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.self_update.places import Places
from lekiwi_deploy.agent.self_update.units import NET_HALF, ROOT_HALF, UNITS
from lekiwi_deploy.agent.supervisors.systemd.fixed_units import ENABLED, FIXED_PROGRAMS, FIXED_UNITS
from lekiwi_deploy.errors import LekiwiError, NotAllowed
from lekiwi_deploy.wire.local import RobotHere


def program(paths: Paths) -> Iterator[Check]:
    """Which release this is, and whether its files are as they were installed."""
    release = releases.running(paths)
    text = f"lekiwi-agent {release or __version__}, Python {platform.python_version()}"
    if release is None:
        yield ok("agent", f"{text}, installed in {sys.prefix}")
        return
    used = releases.in_use(paths)
    trial = Places(paths).trial()
    if trial is not None:
        yield warn("update", f"{trial.new} is on trial, watched by {trial.old}, and goes by itself if it is not well")
    if used != release:
        yield warn("agent", f"this is {release}, in use is {used or 'none'}", "sudo lekiwi-agent install")
        return
    wrong = unpack.damaged(releases.folder(paths) / release)
    again = "curl -fsSL SERVER/install.sh | sudo sh   # repairs it"
    yield fail("agent", wrong, again) if wrong else ok("agent", text)


def halves(paths: Paths, here: RobotHere | LekiwiError) -> Iterator[Check]:
    """The half with the rights, the half with the network."""
    if isinstance(here, NotAllowed):
        yield warn("root half", here.message, "sudo lekiwi-agent doctor")
    elif isinstance(here, LekiwiError):
        lines = systemctl.last_lines(ROOT_HALF, 1) if systemctl.is_running() else ()
        text = here.message + (f"; it said last: {lines[0]}" if lines else "")
        yield fail(
            "root half", text, f"systemctl restart {ROOT_HALF}" if systemctl.is_running() else "lekiwi-agent run"
        )
    else:
        yield ok("root half", f"process {here.pid}, version {here.agent}")
        if here.agent != __version__:
            yield warn("root half", f"runs {here.agent}, installed is {__version__}", f"systemctl restart {ROOT_HALF}")
    if systemctl.is_running() and paths.root == Path("/"):
        yield from _units(paths)


def _units(paths: Paths) -> Iterator[Check]:
    """Whether systemd has them as this release wrote them, and starts what it is to start."""
    wrong = []
    units = {f"etc/systemd/system/{unit}": text for unit, text in {**UNITS, **FIXED_UNITS}.items()}
    for name, text in {**units, **FIXED_PROGRAMS}.items():
        path = paths.root / name
        if not path.exists() or path.read_text() != text:
            wrong.append(f"{path.name} is {'not as this release has it' if path.exists() else 'missing'}")
    for unit in (ROOT_HALF, NET_HALF, *ENABLED):
        if systemctl.properties(unit, "UnitFileState").get("UnitFileState") != "enabled":
            wrong.append(f"{unit} does not start at boot")
    for unit in (NET_HALF, *ENABLED):
        seen = systemctl.properties(unit, "ActiveState", "SubState")
        if seen.get("ActiveState") != "active":
            state = f"{unit} is {seen.get('ActiveState', 'unknown')} ({seen.get('SubState', 'unknown')})"
            name = "net half" if unit == NET_HALF else "units"
            yield fail(name, state, f"systemctl restart {unit}; journalctl -u {unit}")
        elif unit == NET_HALF:
            yield ok("net half", "runs")
    if wrong:
        yield fail("units", "; ".join(wrong), "sudo lekiwi-agent install")
    else:
        yield ok("units", "all there, and started at boot")


def link(config: AgentConfig | None, here: RobotHere | LekiwiError) -> Check:
    """To the server."""
    if config is None:
        return fail("link", "this machine never joined a server", "lekiwi robots add NAME --group GROUP")
    if isinstance(here, NotAllowed):
        return warn("link", f"to {config.server}, as {config.robot}: {here.message}", "sudo lekiwi-agent doctor")
    if isinstance(here, LekiwiError):
        return fail("link", f"{config.server}: no agent runs that could be linked")
    if here.linked:
        return ok("link", f"{config.server}, as {config.robot} ({config.project}, {config.environment})")
    refused = any(word in here.link for word in ("refused", "unknown", "cloned"))
    fix = (
        f"lekiwi robots rejoin {config.robot}"
        if refused
        else "is the server up, and the network? What runs goes on meanwhile"
    )
    return fail("link", f"{config.server}: {here.link}", fix)


def key(paths: Paths) -> Iterator[Check]:
    """The robot's key may be read by its network half only; its own variables by root."""
    try:
        seen = paths.key.stat()
    except FileNotFoundError:
        yield fail("key", f"{paths.key} is missing", "lekiwi robots rejoin NAME, and run its line with --again")
        return
    except PermissionError:
        yield warn("key", f"{paths.key} cannot be looked at by this user", "sudo lekiwi-agent doctor")
        return
    if stat.S_IMODE(seen.st_mode) & 0o077:
        yield fail(
            "key",
            f"{paths.key} can be read by others",
            f"chmod 600 {paths.key}; lekiwi robots rejoin NAME if somebody may have",
        )
    else:
        yield ok("key", "readable by the agent only")
    _, wrong = read_variables(paths)
    for text in wrong:
        yield warn("variables", text, f"mend that line of {paths.variables}")
