"""How a change of services went: how each was changed over, and how long nobody served or used its hardware."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.instances import Instances
from lekiwi_deploy.agent.known import Change
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.supervisors.supervisor import ProcessSeen
from lekiwi_deploy.robot.instance_types import Kind
from lekiwi_deploy.wire.link import ServiceSwitch, SwitchKind

_LAST_WORDS_S = 0.5
"""So long a version that lost its hardware has to say when it let go of it."""


class Timing:
    """`change`: the one under way, until it is told; None: there is none."""

    def __init__(self, instances: Instances) -> None:
        self.change: Change | None = None
        self._instances = instances
        self._gone_at: dict[str, float] = {}  # when a version of a service was last in use

    def begin(self, decided: float, lost: Iterable[str]) -> None:
        """A switch was decided (CLOCK_BOOTTIME). `lost`: services that have been changed over already, as the version on trial died."""
        self.change = Change(decided)
        for name in lost:
            self.change.kinds[name] = (SwitchKind.WARM, None)
            if name in self._gone_at:
                self.change.ended[name] = self._gone_at[name]

    def kinds(self, kinds: Mapping[str, Kind]) -> None:
        """How services are being changed over; the first word counts."""
        if self.change is not None:
            for name, kind in kinds.items():
                self.change.kinds.setdefault(name, (kind.kind, kind.why))

    def ended(self, process: ProcessSeen, plan: Plan | None) -> None:
        """A process has ended, or let go of its hardware: the moment from which nobody served, or used it."""
        if process.instance in self._instances.known and self._only_waits(process):
            return
        told = process.told.released_at
        at = boottime(told) if told is not None else process.ended or machine.boottime()
        self._gone_at[process.service] = at
        wanted = plan is not None and process.service in plan.services and plan.instance(process.service)
        if self.change is not None and process.instance != wanted:
            self.change.ended[process.service] = max(at, self.change.ended.get(process.service, 0.0))

    def about_to_tell(self, name: str, mine: ProcessSeen) -> bool:
        """Whether the version before is just about to say when it let go of the hardware that `mine` owns."""
        known, change = self._instances.know(mine), self.change
        if change is None or name in change.ended or not known.locks or known.owned_at is None:
            return False
        if machine.boottime() - known.owned_at > _LAST_WORDS_S:
            return False
        return any(
            process.service == name and process.instance != mine.instance and not self._only_waits(process)
            for process in self._instances.seen().values()
        )

    def up_at(self, plan: Plan | None, name: str) -> float | None:
        """When (CLOCK_BOOTTIME) the plan's version of a service was in use. None: it is not, or it is not known."""
        if plan is None or name not in plan.services:
            return None
        instance = plan.instance(name)
        process, known = self._instances.seen().get(instance), self._instances.known.get(instance)
        if process is None or known is None or known.watch is None:
            return None
        if known.locks and known.watch.only_process:
            return known.owned_at
        ready = process.started if known.watch.only_process else known.watch.ready_at
        return max(ready, known.led_at) if known.led_at is not None and ready is not None else ready

    def switches(self, plan: Plan | None, names: tuple[str, ...]) -> tuple[ServiceSwitch, ...]:
        """How these services were changed over to the plan's versions, as far as this agent saw it."""
        change = self.change
        if change is None or plan is None:
            return ()
        found = []
        for name in names:
            if name in plan.services:
                kind, why = change.kinds.get(name, (SwitchKind.COLD, None))
                gap = 0.0 if kind is SwitchKind.BLUE_GREEN else self._gap_ms(plan, name, change)
                found.append(ServiceSwitch(service=name, kind=kind, gap_ms=gap, why=why))
        return tuple(found)

    def _gap_ms(self, plan: Plan, name: str, change: Change) -> float | None:
        ended = change.ended.get(name)
        process = self._instances.seen().get(plan.instance(name))
        if ended is None or process is None:
            return None
        known = self._instances.know(process)
        began = known.owned_at if known.locks else self.up_at(plan, name)
        return max(0.0, began - ended) * 1000 if began is not None else None

    def _only_waits(self, process: ProcessSeen) -> bool:
        """Whether it never used its hardware."""
        known = self._instances.know(process)
        return known.locks and known.owned_at is None


def boottime(monotonic: float) -> float:
    """A moment of CLOCK_MONOTONIC on the clock of deadlines."""
    return monotonic + machine.boottime() - machine.monotonic()
