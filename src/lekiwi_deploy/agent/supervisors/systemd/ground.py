"""Looking at the machine for what a unit's text depends on."""

from __future__ import annotations

import glob
import grp
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch
from lekiwi_deploy.agent.supervisors.systemd.grants import Grants, Node, grants
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.agent.supervisors.systemd.unit import Ground
from lekiwi_deploy.errors import BadInput

_MOST_NODES = 64
_KIND = re.compile(r"\s*(\d+) (\S+)")


def look(launch: Launch, name: str, paths: Paths, places: Places) -> Ground:
    """For `launch`, when the program `name` is what it is to run. Raises `BadInput` for a program or a group that is not there."""
    return Ground(
        program=_program(name, launch),
        grants=_grants(launch),
        environments=str(places.environments),
        pipes=str(places.pipes),
        bin=str(paths.bin),
        agent=str(paths.agent),
        locks=str(places.locks),
    )


def _program(name: str, launch: Launch) -> str:
    if "/" in name:
        path = launch.folder / name
        if not os.access(path, os.X_OK) or path.is_dir():
            raise BadInput(f"{name}: {'not executable' if path.exists() else 'no such file'}")
        return str(path)
    for folder in launch.environment.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder or ".") / name
        if path.is_absolute() and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise BadInput(f"{name}: no such program")


def _grants(launch: Launch) -> Grants:
    needs = launch.needs
    if not needs.devices and not needs.groups:
        return Grants()
    groups = {entry.gr_name for entry in grp.getgrall()}
    missing = [group for group in needs.groups if group not in groups]
    if missing:
        raise BadInput(f"{launch.service} needs the group {missing[0]}, and this robot has none")
    return grants(needs.devices, needs.groups, list(_nodes(needs.devices)), groups)


def _nodes(patterns: tuple[str, ...]) -> Iterator[Node]:
    kinds: dict[tuple[str, int], str] | None = None
    for pattern in patterns:
        for path in sorted(glob.glob(pattern))[:_MOST_NODES]:  # noqa: PTH207
            try:
                status = os.stat(path)  # noqa: PTH116
            except OSError:
                continue
            if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
                continue
            sort = "char" if stat.S_ISCHR(status.st_mode) else "block"
            kinds = kinds if kinds is not None else _kinds(Path("/proc/devices").read_text())
            yield Node(pattern, path, sort, kinds.get((sort, os.major(status.st_rdev))), _group(status.st_gid))


def _kinds(text: str) -> dict[tuple[str, int], str]:
    """The text of /proc/devices: (`char` or `block`, major number) → the kernel's name."""
    found: dict[tuple[str, int], str] = {}
    sort = "char"
    for line in text.splitlines():
        if line.startswith("Block"):
            sort = "block"
        elif match := _KIND.match(line):
            found[sort, int(match[1])] = match[2]
    return found


def _group(number: int) -> str | None:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return None
