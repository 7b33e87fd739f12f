"""`lekiwi-agent uninstall`: the machine as it was before it became a robot."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.config import read_config
from lekiwi_deploy.agent.install import accounts, releases, systemctl
from lekiwi_deploy.agent.install.lock_ssh import SETTINGS
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.ruleset import TABLE
from lekiwi_deploy.errors import LekiwiError, NotAllowed

_STATE = ("var/lib/lekiwi", "var/lib/private/lekiwi")
_OURS = (
    "etc/lekiwi",
    "opt/lekiwi",
    "run/lekiwi",
    "var/cache/lekiwi",
    "var/lib/lekiwi-agent",
    "var/log/lekiwi",
    "var/log/private/lekiwi",
)
_GENERATORS = "etc/systemd/system-generators"
_UNIT_FOLDERS = ("etc/systemd/system", _GENERATORS, "run/systemd/system")


class Uninstalled(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone, and what stays (paths, with the reason)."""

    robot: str | None
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    schema: str = "lekiwi.agent-uninstalled/1"


def belongings(paths: Paths, *, keep_state: bool) -> list[Path]:
    """Everything of ours that is on this machine, without what is kept."""
    found = [paths.root / name for name in (*_OURS, *(() if keep_state else _STATE))]
    found += [path for folder in _UNIT_FOLDERS for path in _units(paths.root / folder)]
    program = paths.root / "usr/local/bin" / releases.PROGRAM
    if program.is_symlink() and "opt/lekiwi/agent/" in str(program.readlink()):
        found.append(program)
    return [path for path in found if path.exists() or path.is_symlink()]


def kept(paths: Paths, *, keep_state: bool) -> list[str]:
    """What stays, and why."""
    stays = [
        f"{paths.root / name}: what its services learnt (--keep-state)"
        for name in _STATE
        if keep_state and (paths.root / name).exists()
    ]
    if (paths.root / SETTINGS).exists():
        stays.append(
            f"{paths.root / SETTINGS}: no passwords over SSH; undo: rm {paths.root / SETTINGS} && systemctl reload ssh"
        )
    return stays


def uninstall(paths: Paths, *, keep_state: bool, say: Callable[[str], None]) -> Uninstalled:
    """Stop everything and remove it. Running it again after an interruption finishes it. Raises `NotAllowed`, `Failed`."""
    whole_machine = paths.root == Path("/")
    if whole_machine and os.geteuid() != 0:
        raise NotAllowed("removing services needs the rights of root", next=("sudo lekiwi-agent uninstall",))
    robot = None
    with contextlib.suppress(LekiwiError):
        robot = str(read_config(paths).robot)
    removed = [str(path) for path in belongings(paths, keep_state=keep_state)]
    if whole_machine:
        _stop_everything(paths, say)
        _remove_table()
    units = [
        path
        for path in belongings(paths, keep_state=keep_state)
        if path.parent.name.endswith(("system", "system-generators", ".wants"))
    ]
    for path in (*units, *belongings(paths, keep_state=keep_state)):
        _remove(path)
    for folder in _UNIT_FOLDERS:
        with contextlib.suppress(OSError):
            (paths.root / folder / "lekiwi.target.wants").rmdir()
    with contextlib.suppress(OSError):  # made by us, where nobody else has a generator
        (paths.root / _GENERATORS).rmdir()
    if whole_machine:
        systemctl.call("daemon-reload")
        systemctl.call("reset-failed", check=False)
        if accounts.remove_user():
            removed.append("the user lekiwi-agent")
    return Uninstalled(robot=robot, removed=tuple(removed), kept=tuple(kept(paths, keep_state=keep_state)))


def _units(folder: Path) -> Iterator[Path]:
    """Units of ours, what enables them, and what adds to them."""
    yield from folder.glob("lekiwi[.-]*")
    yield from folder.glob("*.wants/lekiwi[.-]*")


def _stop_everything(paths: Paths, say: Callable[[str], None]) -> None:
    listed = systemctl.call("list-units", "--all", "--plain", "--no-legend", "lekiwi.*", "lekiwi-*", check=False)
    units = [line.split()[0] for line in listed.splitlines() if line.strip()]
    if not units:
        return
    groups = [systemctl.properties(unit, "ControlGroup").get("ControlGroup", "") for unit in units]
    say(f"stopping {', '.join(units)}")
    agents = [unit for unit in units if unit.startswith("lekiwi-agent")]  # first: it would start the others again
    for batch in (agents, units):
        if batch:
            systemctl.call("stop", *batch)
    for group in groups:
        _kill_left(group)
    enabled = {
        path.name for folder in _UNIT_FOLDERS for path in (paths.root / folder).glob("lekiwi[.-]*") if path.is_file()
    }
    if enabled:
        systemctl.call("disable", "--quiet", *sorted(enabled), check=False)


def _kill_left(group: str) -> None:
    """Processes that outlived their unit (`KillMode=process`)."""
    if not group.strip("/"):
        return
    for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
        for procs in Path(top + group).glob("**/cgroup.procs"):
            with contextlib.suppress(OSError):
                for pid in procs.read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)


def _remove_table() -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if nft is not None:  # the table need not be there
        subprocess.run([nft, "delete", "table", *TABLE.split()], capture_output=True, check=False)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.is_dir():
        return
    if os.path.ismount(path):
        for inner in path.iterdir():
            _remove(inner)
        return
    shutil.rmtree(path)
