"""What the machine starts at boot without the agent: a whole set of units, variables, locks and forwarded ports at a time.

`sets/<number>/` holds `services.conf` (which units `lekiwi.target` wants; the target's own folder has a link to `current/services.conf`), `run/`
(what `lekiwi-boot.service` copies to /run/lekiwi before they start), `sealed/` (variables that `lekiwi-variables.service` opens), and
`traffic.nft` if ports are forwarded. `current` is a link to the set that counts: moving it is one rename, so that a boot finds all of the old
or all of the new. Units lie in /etc/systemd/system and have other names when their content is another (`places.unit_of`), so those of both
sets lie side by side. (A link in the place of the folder `lekiwi.target.wants` would be plainer, but systemd 252 does not follow it.)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.supervisors.systemd.places import PATTERN, SEALED, TARGET, Places
from lekiwi_deploy.agent.supervisors.systemd.unit import Unit
from lekiwi_deploy.wire.encoding import encode

TRAFFIC_RULES = "traffic.nft"
_SETS = "sets"
_SERVICES = "services.conf"
_TO_SERVICES = f"../../../lekiwi/boot/current/{_SERVICES}"
_MODES = {"run": 0o755}
"""Of folders in a set, as they become in /run/lekiwi; the others are for root alone."""


class BootSets:
    """Below `places.boot`."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._wants = places.boot_units / f"{TARGET}.d" / _SERVICES

    def keep(self, units: Sequence[Unit], locks: Collection[str]) -> None:
        """Exactly these units, with lock files of these names, and the forwarded ports as they are now in `boot/traffic.nft`. Durable
        on return. The same as before: nothing is written. Raises `OSError`."""
        wanted = self._wanted(units, locks)
        current = self._places.boot_current
        if not (current.is_symlink() and _content(current) == wanted and self._has(units)):
            self._places.boot_units.mkdir(parents=True, exist_ok=True)
            for unit in units:
                _write_file(self._places.boot_units / unit.name, unit.text.encode(), 0o644)
            _sync(self._places.boot_units)
            sets = self._places.boot / _SETS
            sets.mkdir(parents=True, exist_ok=True)
            self._places.boot.chmod(0o700)
            number = max((int(path.name) for path in sets.iterdir() if path.name.isdecimal()), default=0) + 1
            _write_set(sets / str(number), wanted)
            for folder in (sets, self._places.boot, self._places.boot.parent):
                _sync(folder)
            _point(current, f"{_SETS}/{number}")
        if not (self._wants.is_symlink() and str(self._wants.readlink()) == _TO_SERVICES):
            self._wants.parent.mkdir(parents=True, exist_ok=True)
            _point(self._wants, _TO_SERVICES)
            _sync(self._places.boot_units)
        self._sweep({unit.name for unit in units})

    def _has(self, units: Sequence[Unit]) -> bool:
        try:
            return all((self._places.boot_units / unit.name).read_text() == unit.text for unit in units)
        except (OSError, UnicodeDecodeError):
            return False

    def _wanted(self, units: Sequence[Unit], locks: Collection[str]) -> dict[str, bytes]:
        """Path in the set → content."""
        names = sorted(unit.name for unit in units)
        wanted = {_SERVICES: "\n".join(["[Unit]", *(f"Wants={name}" for name in names), ""]).encode()}
        for unit in units:
            if unit.sealed is None:
                wanted[f"run/env/{unit.name}"] = unit.plain.encode()
            else:
                wanted[f"{SEALED}/{unit.name}"] = encode(msgspec.structs.replace(unit.sealed, plain=unit.plain))
        for name in locks:
            wanted[f"run/locks/{name}"] = b""
        rules = self._places.boot / TRAFFIC_RULES
        if rules.exists():
            wanted[TRAFFIC_RULES] = rules.read_bytes()
        return wanted

    def _sweep(self, units: Collection[str]) -> None:
        """What does not count: older sets and their units, and what a power cut left."""
        kept = self._places.boot_current.readlink().name
        for path in (self._places.boot / _SETS).iterdir():
            if path.name != kept:
                shutil.rmtree(path, ignore_errors=True)
        for path in self._places.boot_units.glob(PATTERN):
            if path.name not in units:
                path.unlink(missing_ok=True)


def _write_set(folder: Path, wanted: Mapping[str, bytes]) -> None:
    """A new folder, durable but for its own name."""
    if folder.exists():
        shutil.rmtree(folder)
    folders = {folder, folder / "run"}
    folders.update((folder / name).parent for name in wanted)
    for made in sorted(folders):
        made.mkdir()
        made.chmod(_MODES.get(made.name, 0o700))
    for name, content in wanted.items():
        path = folder / name
        _write_file(path, content, 0o666 if path.parent.name == "locks" else 0o600)
    for made in sorted(folders, reverse=True):
        _sync(made)


def _write_file(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)


def _point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, at once and durably."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    _sync(link.parent)


def _content(folder: Path) -> dict[str, bytes] | None:
    try:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    except OSError:
        return None


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
