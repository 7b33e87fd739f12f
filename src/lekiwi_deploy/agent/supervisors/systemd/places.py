"""Names and places: unit of an instance, user of a service, and which folder holds what."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.wire.ids import InstanceId

TARGET = "lekiwi.target"
SLICE = "lekiwi.slice"
BOOT = "lekiwi-boot.service"
VARIABLES = "lekiwi-variables.service"
TRAFFIC = "lekiwi-traffic.service"
SEALED = "sealed"
"""Folder in a boot set."""
PATTERN = "lekiwi-*.*.service"
"""Matches the units of all instances, and of commands."""

_UNIT = re.compile(r"lekiwi-([a-z0-9][a-z0-9._-]*-[0-9a-f]{8})\.[0-9a-f]{8}\.service\Z")
_COMMAND = re.compile(r"lekiwi-([a-z0-9][a-z0-9._-]*-[0-9a-f]{8})\.run-[0-9a-f]{8}\.service\Z")
_USER = re.compile(r"[a-z0-9][a-z0-9_-]{0,23}\Z")


def unit_of(instance: InstanceId, *content: str) -> str:
    """The name of its unit: another one for other content (its text, its variables), so that systemd never has an old version of it
    loaded and never needs to read its files again."""
    return f"lekiwi-{instance}.{_digest(content)}.service"


def command_unit(instance: InstanceId, *content: str) -> str:
    """The name of the unit that runs one command as the instance would."""
    return f"lekiwi-{instance}.run-{_digest(content)}.service"


def instance_of(unit: str) -> InstanceId | None:
    """Whose unit that is; None: no instance's."""
    match = _UNIT.match(unit)
    return InstanceId(match[1]) if match else None


def command_of(unit: str) -> InstanceId | None:
    """The instance like which the unit runs a command; None: it is no such unit."""
    match = _COMMAND.match(unit)
    return InstanceId(match[1]) if match else None


def _digest(content: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(content).encode()).hexdigest()[:8]


def user_of(service: str) -> str:
    """The user that all instances of the service run as: at most 31 characters, of those that a user's name may have."""
    if _USER.match(service):
        return f"lekiwi-{service}"
    plain = re.sub(r"[^a-z0-9_-]", "-", service)[:15]
    return f"lekiwi-{plain}-{hashlib.sha256(service.encode()).hexdigest()[:8]}"


def object_path(unit: str) -> str:
    """Where systemd keeps the unit on the bus: all but letters and digits are written as `_` and two hex digits."""
    name = "".join(
        c if c.isascii() and (c.isalpha() or (c.isdigit() and at > 0)) else "".join(f"_{b:02x}" for b in c.encode())
        for at, c in enumerate(unit)
    )
    return f"/org/freedesktop/systemd1/unit/{name}"


@dataclass(frozen=True)
class Places:
    """`root` is `/`, unless a test looks at what is written."""

    root: Path = Path("/")

    @property
    def units(self) -> Path:
        """Units that the agent starts; gone after a reboot."""
        return self.root / "run/systemd/system"

    @property
    def boot_units(self) -> Path:
        """Units that the boot starts; others may be in there, too."""
        return self.root / "etc/systemd/system"

    @property
    def environments(self) -> Path:
        """One file of variables for each unit, for root alone."""
        return self.root / "run/lekiwi/env"

    @property
    def records(self) -> Path:
        """What a new agent cannot read out of a unit: how often an instance exited."""
        return self.root / "run/lekiwi/instances"

    @property
    def pipes(self) -> Path:
        """What commands write comes through here."""
        return self.root / "run/lekiwi/pipes"

    @property
    def locks(self) -> Path:
        """Lock files of exclusive hardware; a service sees those that it needs, nobody else any."""
        return self.root / "run/lekiwi/locks"

    @property
    def boot(self) -> Path:
        """What boots: `sets/<number>/` and `current`, a link to one of them."""
        return self.root / "etc/lekiwi/boot"

    @property
    def boot_current(self) -> Path:
        """The set that the next boot starts."""
        return self.boot / "current"

    @property
    def boot_sealed(self) -> Path:
        """In that set, variables that are opened at boot."""
        return self.boot_current / SEALED

    def environment(self, unit: str) -> Path:
        """The variables of one unit."""
        return self.environments / unit
