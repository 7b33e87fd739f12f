"""Whose health is watched: the versions that are wanted, from when they can do something, and that which serves until they take over."""

from __future__ import annotations

from collections.abc import Callable

from lekiwi_deploy.agent.instances import Instances
from lekiwi_deploy.agent.known import Known
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.supervisors.supervisor import ProcessSeen, ProcessState
from lekiwi_deploy.agent.watch import Watch
from lekiwi_deploy.agent.whose_port import is_strangers


def look_after(
    instances: Instances, plan: Plan | None, process: ProcessSeen, known: Known, nudge: Callable[[], None]
) -> None:
    """Begin or cease to watch an instance, as it is now."""
    name = process.service
    mine = plan is not None and name in plan.services and plan.instance(name) == process.instance
    runs = process.state is ProcessState.RUNNING and process.pid is not None and not known.is_paused(process)
    if known.locks and known.owned_at is None:
        runs = False  # it waits for its hardware, and can do nothing before
    keep = known.watch is not None and process.port in instances.leading.targets().values()
    checks = plan.checks(name) if plan is not None and mine else known.watch.checks if known.watch is not None else ()
    watched = (process.pid, process.port, checks, known.woke_at)
    if known.watch is not None and (not runs or not (mine or keep) or (mine and known.watched != watched)):
        known.watch.stop()
        known.watch = None
    if known.watch is None and runs and mine and plan is not None:
        launch = plan.launch(name, process.port)
        assert launch is not None
        known.watched = watched
        known.watch = Watch(
            launch,
            checks,
            port=process.port,
            public=plan.port(name),
            strangers=known.strangers,
            offset=plan.config.port_offset,
            started=max(process.started, known.woke_at or 0.0, known.owned_at or 0.0),
            changed=nudge,
            run_command=instances.supervisor.run,
            is_strangers=_checked(process.pid, launch.family) if known.by_port and known.woke_at is None else None,
        )


def _checked(pid: int | None, family: str) -> Callable[[int], bool]:
    return lambda port: pid is not None and is_strangers(port, pid, family)
