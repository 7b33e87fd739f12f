"""What a unit says of its instance, in a section that systemd ignores: enough for an agent that knows nothing else. Pure."""

from __future__ import annotations

import msgspec

from lekiwi_deploy.agent.supervisors.supervisor import Launch, instance_id
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId

SECTION = "[X-Lekiwi]"
_KEY = "Instance="


class UnitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint` whole; the rest as in `Launch`."""

    service: str
    fingerprint: str
    deployment: DeploymentId
    grace_s: float
    port: int | None = None
    notify: bool = False
    watchdog_s: float | None = None

    @property
    def instance(self) -> InstanceId:
        """Whose unit it is in."""
        return instance_id(self.service, self.fingerprint)


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What changes while an instance lives, of the process that began at `started` (CLOCK_MONOTONIC microseconds, as systemd says it).
    `exits` before that process; `restarts`: what systemd had counted then; `paused` by signals."""

    exits: int = 0
    restarts: int = 0
    started: int = 0
    paused: bool = False


def record_of(launch: Launch) -> UnitRecord:
    """What to write for it."""
    return UnitRecord(
        service=launch.service,
        fingerprint=launch.fingerprint,
        deployment=launch.deployment,
        grace_s=launch.grace_s,
        port=launch.port,
        notify=launch.notify,
        watchdog_s=launch.watchdog_s,
    )


def section(record: UnitRecord) -> str:
    """The lines of the section."""
    return f"{SECTION}\n{_KEY}{msgspec.json.encode(record).decode()}\n"


def read_record(text: str) -> UnitRecord | None:
    """Out of a unit's text; None: it has none, or one that cannot be read."""
    _, found, rest = text.partition(f"\n{SECTION}\n")
    first = rest.partition("\n")[0]
    if not found or not first.startswith(_KEY):
        return None
    try:
        return msgspec.json.decode(first.removeprefix(_KEY), type=UnitRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
