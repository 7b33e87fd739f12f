"""The files of instances that run: unit, variables, counters. They live in /run: a reboot begins without them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.supervisors.systemd.places import PATTERN, Places, command_of, instance_of
from lekiwi_deploy.agent.supervisors.systemd.record import Counted, UnitRecord, read_record
from lekiwi_deploy.agent.supervisors.systemd.unit import Unit
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import InstanceId


class UnitFiles:
    """Below `places`. Raises `OSError` where not said otherwise."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def make(self) -> None:
        """The folders, closed to everybody but root where they are nobody's business."""
        self.places.units.mkdir(parents=True, exist_ok=True)
        for folder in (self.places.environments, self.places.records, self.places.pipes, self.places.locks):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        self.places.locks.parent.chmod(0o755)

    def write(self, unit: Unit) -> None:
        """The unit and its variables. What the boot has of that name is the same, so it need not be written again. Raises `Failed` for
        one whose variables cannot be had."""
        if unit.trouble is not None:
            raise Failed(unit.trouble)
        _replace(self.places.environment(unit.name), unit.variables.encode(), 0o600)
        if not any((folder / unit.name).exists() for folder in (self.places.units, self.places.boot_units)):
            _replace(self.places.units / unit.name, unit.text.encode(), 0o644)

    def make_lock(self, path: Path) -> None:
        """A lock file, if it is not there yet. Its folder keeps out everybody who is not shown it."""
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        path.chmod(0o666)

    def read(self, fragment: Path) -> UnitRecord | None:
        """What the unit's file says of its instance; None: nothing that can be read."""
        text = _text(fragment)
        return read_record(text) if text is not None else None

    def count(self, instance: InstanceId, counted: Counted) -> None:
        """Remember it for the next agent."""
        _replace(self.places.records / instance, encode(counted), 0o644)

    def counted(self, instance: InstanceId) -> Counted:
        """As it was remembered; nothing: as of a new one."""
        try:
            return msgspec.json.decode((self.places.records / instance).read_bytes(), type=Counted)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return Counted()

    def remove(self, unit: str) -> None:
        """The unit is not wanted any more; what the boot has of it stays."""
        for path in (self.places.units / unit, self.places.environment(unit), self.places.pipes / unit):
            path.unlink(missing_ok=True)

    def remove_all(self, instance: InstanceId) -> None:
        """Nothing of the instance is left, also of its commands."""
        for unit in self.units():
            if instance in (instance_of(unit), command_of(unit)):
                self.remove(unit)
        (self.places.records / instance).unlink(missing_ok=True)

    def units(self) -> set[str]:
        """The names of all our units that were written since the boot."""
        return {path.name for path in self.places.units.glob(PATTERN) if path.is_file()}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _replace(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, data)
    finally:
        os.close(fd)
    temporary.replace(path)
