"""What an earlier agent, or the boot, started: found by the names of units, known by what their files say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.supervisors.supervisor import ProcessSeen, ProcessState
from lekiwi_deploy.agent.supervisors.systemd.facts import Facts
from lekiwi_deploy.agent.supervisors.systemd.files import UnitFiles
from lekiwi_deploy.agent.supervisors.systemd.manager import Manager
from lekiwi_deploy.agent.supervisors.systemd.places import PATTERN, command_of, instance_of
from lekiwi_deploy.agent.supervisors.systemd.record import Counted, UnitRecord
from lekiwi_deploy.agent.supervisors.systemd.state import Instance
from lekiwi_deploy.wire.ids import InstanceId


async def find(manager: Manager, files: UnitFiles, known: Mapping[InstanceId, str]) -> list[Instance]:
    """Instances that run, or are about to, in other units than those in `known`. Units that say nothing of themselves, commands that
    nobody waits for and second units of an instance are stopped. Raises `Declined`, `Unavailable`, `OSError`."""
    found: dict[InstanceId, Instance] = {}
    for item in await manager.list(PATTERN):
        instance = instance_of(item.name)
        if instance is None or known.get(instance) == item.name:
            continue
        facts = await manager.facts(item.name)
        if facts.over and not facts.waits:
            await manager.reset_failed(item.name)
            continue
        fragment = await manager.fragment(item.name)
        record = files.read(Path(fragment)) if fragment else None
        if record is None or record.instance != instance or instance in known:
            await manager.stop(item.name)
            continue
        other = found.get(instance)
        if other is not None:
            old = other if other.facts.started < facts.started else None
            await manager.stop(old.unit if old is not None else item.name)
            if old is None:
                continue
        found[instance] = _instance(item.name, record, facts, files.counted(instance))
    return list(found.values())


async def end_commands(manager: Manager) -> None:
    """Stop commands that an earlier agent ran: nobody asks for their result any more."""
    for item in await manager.list(PATTERN):
        if command_of(item.name) is not None:
            await manager.stop(item.name)
            await manager.reset_failed(item.name)


def clear_away(files: UnitFiles, running: Collection[str]) -> None:
    """Remove the files of units that never came to run, or ended while there was no agent. Raises `OSError`."""
    for unit in files.units().difference(running):
        files.remove(unit)


def _instance(unit: str, record: UnitRecord, facts: Facts, counted: Counted) -> Instance:
    seen = ProcessSeen(
        instance=record.instance,
        service=record.service,
        state=ProcessState.RUNNING,
        deployment=record.deployment,
        fingerprint=record.fingerprint,
        pid=None,
        started=machine.boottime(),
        since=machine.utc_now(),
        exits=counted.exits if counted.started else facts.restarts,  # nothing counted: the boot started it
        port=record.port,
    )
    found = Instance(record, seen, unit=unit, facts=facts, stopped_by_signal=counted.paused)
    found.process, found.restarts = counted.started, counted.restarts if counted.started else facts.restarts
    return found
