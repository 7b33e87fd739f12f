"""What runs the services here: systemd, on a robot that has the machine for itself; else plain processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lekiwi_deploy.agent.environment import family_prefix
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.process import ProcessSupervisor
from lekiwi_deploy.agent.supervisors.records import ProcessRecords
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, Supervisor
from lekiwi_deploy.wire.ids import InstanceId


def systemd_runs_services(paths: Paths) -> bool:
    """When systemd runs the machine, we are root, and the robot's root folder is `/`."""
    return paths.root == Path("/") and os.geteuid() == 0 and Path("/run/systemd/system").is_dir()


def choose(
    paths: Paths,
    *,
    relaunch: Callable[[ProcessSeen], Launch | None],
    changed: Callable[[InstanceId], None],
    note: Callable[[str, str, ProcessSeen], None],
    randomness: Callable[[], float],
    helpers: set[int],
) -> Supervisor:
    """systemd where it can (`systemd_runs_services`). `relaunch`: how to start an instance again, None: not
    at all; `changed` and `note`: see the supervisors; `helpers`: children that are no services and have someone who waits for them."""
    if systemd_runs_services(paths):
        from lekiwi_deploy.agent.supervisors.systemd.supervisor import SystemdSupervisor

        return SystemdSupervisor(paths, relaunch=relaunch, changed=changed, note=note, randomness=randomness)
    return ProcessSupervisor(
        ProcessRecords(paths.processes),
        root=paths.root,
        prefix=family_prefix(paths),
        relaunch=relaunch,
        changed=changed,
        note=note,
        randomness=randomness,
        helpers=helpers,
    )


def reap(supervisor: Supervisor) -> None:
    """Bury orphans that the kernel handed to us; systemd does that itself."""
    if isinstance(supervisor, ProcessSupervisor):
        supervisor.reap()
