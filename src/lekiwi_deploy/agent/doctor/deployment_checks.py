"""What the agent remembers and what lies on the disk, beside one another."""

from __future__ import annotations

import grp
from collections.abc import Iterator
from pathlib import Path

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.doctor.check import Check, fail, ok, warn
from lekiwi_deploy.agent.journal import Journal, JournalCorrupt
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.systemd.places import TARGET
from lekiwi_deploy.agent.variables.keeping import Given, Variables
from lekiwi_deploy.agent.variables.masking import Mask
from lekiwi_deploy.content.manifests import read_manifest
from lekiwi_deploy.content.slots import is_laid_out, verify_slot
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.ledger import Ledger
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.manifest import Manifest

_HEALS = "the agent puts it right by itself once it reaches its server"


def ledger_of(paths: Paths) -> tuple[Ledger | None, Check]:
    """What the journal says, and how it is."""
    try:
        ledger = Journal(paths.journal).load()
    except JournalCorrupt as error:
        return None, fail(
            "journal", error.message, "systemctl restart lekiwi-agent   # it starts a new one from what runs"
        )
    except PermissionError:
        return None, warn("journal", "cannot be read by this user", "sudo lekiwi-agent doctor")
    if ledger is None:
        return None, ok("journal", "empty: nothing was deployed here yet")
    known = sum(slot.state is not SlotState.ABSENT for slot in ledger.slots.values())
    return ledger, ok("journal", f"knows {known} deployment{'' if known == 1 else 's'}")


def slots(paths: Paths, ledger: Ledger) -> Iterator[Check]:
    """`current` beside the journal, and the files of what runs and of what could be gone back to."""
    try:
        named: str | None = paths.current.readlink().name
    except OSError:
        named = None
    if named != ledger.live:
        text = f"{paths.current} names {named or 'nothing'}, and the journal says that {ledger.live or 'nothing'} runs"
        yield fail("current", text, "systemctl restart lekiwi-agent")
    elif named is not None:
        yield ok("current", f"{named}, as the journal says")
    broken, looked = [], 0
    for id in sorted({ledger.live, ledger.came_from} - {None}, key=str):
        assert id is not None
        looked += 1
        broken += [f"{id}: {path}" for path in _damage(paths, id)[:3]]
    if broken:
        yield fail("slots", f"damaged: {'; '.join(broken)}", _HEALS)
    elif looked:
        yield ok("slots", "what runs and what came before it are complete")
    bad = [id for id, slot in ledger.slots.items() if slot.state is SlotState.QUARANTINED]
    if bad:
        yield warn(
            "quarantine",
            f"{', '.join(sorted(bad))} failed here and will not be started again",
            "lekiwi why, or lekiwi logs --deployment ID",
        )


def needs(paths: Paths, ledger: Ledger) -> Iterator[Check]:
    """Devices and groups that the live services ask for."""
    if ledger.live is None or (manifest := _manifest(paths, ledger.live)) is None:
        return
    groups = {group.gr_name for group in grp.getgrall()}
    wanted = [(service, device) for service in manifest.services for device in service.needs.devices]
    missing = [
        (service.name, device) for service, device in wanted if device.startswith("/dev/") and not _there(device)
    ]
    for name, device in missing:
        yield fail("devices", f"{name} needs {device}, and there is none", "is it plugged in? ls -l /dev; dmesg | tail")
    if wanted and not missing:
        yield ok("devices", f"{', '.join(sorted({device for _, device in wanted}))} there")
    for service in manifest.services:
        for group in service.needs.groups:
            if group not in groups:
                yield fail(
                    "groups", f"{service.name} needs the group {group}, and there is none", f"groupadd --system {group}"
                )


def variables(paths: Paths, ledger: Ledger) -> Iterator[Check]:
    """Whether what the server gave can be opened, of what runs and of what could be gone back to. No value is shown."""
    known = Variables(paths, Mask())
    for id in (ledger.live, ledger.came_from):
        given = known.of(id) if id is not None else Given()
        if given.trouble is not None:
            lost = "it is not started again" if id == ledger.live else "it cannot be gone back to"
            fix = f"is {paths.key} the key that it joined with? if not: lekiwi robots rejoin NAME"
            yield fail("variables", f"those of {id} cannot be opened ({given.trouble}), so {lost}", fix)
        elif given.kept is not None and id == ledger.live:
            names = ", ".join(sorted(given.values)) or "none"
            yield ok("variables", f"{given.kept.given.environment} revision {given.kept.given.revision}: {names}")


def boots(paths: Paths, ledger: Ledger) -> Check | None:
    """What systemd starts at boot beside the newest good deployment; None: nothing of ours is started by systemd."""
    units = paths.root / "etc/systemd/system"
    wants = units / f"{TARGET}.d/services.conf"
    if not wants.exists():
        return None
    names = [name for line in wants.read_text().splitlines() for name in line.partition("Wants=")[2].split()]
    good = [record for record in ledger.slots.values() if record.state is SlotState.GOOD]
    newest = max(good, key=lambda record: record.last_good, default=None)
    if newest is None:
        return warn("boot", "services start at boot although no deployment is good yet") if names else None
    wrong = [name for name in names if not _starts(units / name, newest.ref.id)]
    if wrong:
        text = f"{', '.join(wrong)} would start at boot, and is missing or not of {newest.ref.id}"
        return fail("boot", text, "systemctl restart lekiwi-agent")
    return ok("boot", f"{', '.join(names) or 'no service'} of {newest.ref.id} starts without the agent")


def _starts(unit: Path, deployment: DeploymentId) -> bool:
    try:
        return str(deployment) in unit.read_text()
    except OSError:
        return False


def _manifest(paths: Paths, id: DeploymentId) -> Manifest | None:
    try:
        return read_manifest((paths.deployments / id / "manifest.json").read_bytes())
    except (OSError, LekiwiError):
        return None


def _damage(paths: Paths, id: DeploymentId) -> list[str]:
    folder = paths.deployments / id
    manifest = _manifest(paths, id)
    if manifest is None:
        return ["its manifest is missing or damaged"]
    if not is_laid_out(folder):
        return []  # its objects are; they are checked before it is laid out
    try:
        return [entry.path for entry in verify_slot(folder, manifest, machine.platform().key)]
    except (OSError, LekiwiError) as error:
        return [str(error)]


def _there(pattern: str) -> bool:
    return any(True for _ in Path("/").glob(pattern.lstrip("/")))
