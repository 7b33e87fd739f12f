"""What the machine starts at boot without the agent: a whole set of units and their variables at a time.

`sets/<number>/` holds `units/` (as the boot brings it to systemd, see `fixed_units.py`), `env/`, and `traffic.nft` if ports are
forwarded. `current` is a link to the set that counts: moving it is one rename, so that a boot finds all of the old or all of the new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lekiwi_deploy.agent.supervisors.supervisor import InstanceId
from lekiwi_deploy.agent.supervisors.systemd.places import TARGET, Places, unit_of

TRAFFIC_RULES = "traffic.nft"
_SETS = "sets"


class BootSets:
    """Below `places.boot`."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def keep(self, texts: Mapping[InstanceId, tuple[str, str]]) -> None:
        """Instance → text of its unit, text of its variables: exactly these, together with the forwarded ports as they are now in
        `boot/traffic.nft`. Durable on return. The same as before: nothing is written. Raises `OSError`."""
        wanted = self._wanted(texts)
        current = self._places.boot_current
        if current.is_symlink() and _content(current) == wanted:
            self._sweep()
            return
        sets = self._places.boot / _SETS
        sets.mkdir(parents=True, exist_ok=True)
        self._places.boot.chmod(0o700)
        number = max((int(path.name) for path in sets.iterdir() if path.name.isdecimal()), default=0) + 1
        folder = sets / str(number)
        _write(folder, wanted)
        for path in (sets, self._places.boot, self._places.boot.parent):
            _sync(path)
        new = self._places.boot / ".current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(f"{_SETS}/{number}")
        new.replace(current)
        _sync(self._places.boot)
        self._sweep()

    def remove(self) -> None:
        """Nothing is started at boot any more. Raises `OSError`."""
        self._places.boot_current.unlink(missing_ok=True)
        shutil.rmtree(self._places.boot / _SETS, ignore_errors=True)

    def _wanted(self, texts: Mapping[InstanceId, tuple[str, str]]) -> dict[str, bytes | None]:
        """Path in the set → content; None: a link to the unit of that name one folder above."""
        wanted: dict[str, bytes | None] = {}
        for instance, (text, variables) in texts.items():
            wanted[f"units/{unit_of(instance)}"] = text.encode()
            wanted[f"units/{TARGET}.wants/{unit_of(instance)}"] = None
            wanted[f"env/{instance}"] = variables.encode()
        rules = self._places.boot / TRAFFIC_RULES
        if rules.exists():
            wanted[TRAFFIC_RULES] = rules.read_bytes()
        return wanted

    def _sweep(self) -> None:
        """Sets that do not count: older ones, and what a power cut left."""
        kept = self._places.boot_current.readlink().name
        for path in (self._places.boot / _SETS).iterdir():
            if path.name != kept:
                shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, wanted: Mapping[str, bytes | None]) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folders = {folder, folder / "units", folder / "env"}
    for made in sorted(folders):
        made.mkdir(mode=0o700)
    for name, content in wanted.items():
        path = folder / name
        if path.parent not in folders:
            path.parent.mkdir(mode=0o700)
            folders.add(path.parent)
        if content is None:
            path.symlink_to(f"../{path.name}")
            continue
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if name.startswith("env/") else 0o644
        )
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
    for made in sorted(folders, reverse=True):
        _sync(made)


def _content(folder: Path) -> dict[str, bytes | None] | None:
    found: dict[str, bytes | None] = {}
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                found[str(path.relative_to(folder))] = None
            elif path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    except OSError:
        return None
    return found


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
