"""What the live deployment wants of its services, as `robot/instances.py` is asked: with the hooks that are due and the standby that a trial
is to have."""

from __future__ import annotations

from collections.abc import Callable

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.instances import Instances
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.service_health import due_hook
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.instance_types import Hooked, Strategy, Wanted, strategy
from lekiwi_deploy.robot.ledger import Trial
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId
from lekiwi_deploy.wire.manifest import HookKind

EXIT_S = 0.2
"""The kernel hands a lock on a moment before it tells of the exit of whoever had it."""


class Wanting:
    """`plan_of` gives the plan of any deployment that is here, or raises. `plans`: whose version each instance is that may be started;
    `said`: how the newest process of each service that ended did so."""

    def __init__(self, instances: Instances, plan_of: Callable[[DeploymentId], Plan]) -> None:
        self.plans: dict[InstanceId, Plan] = {}
        self.said: dict[str, str] = {}
        self._instances = instances
        self._plan_of = plan_of
        self._before: frozenset[InstanceId] = frozenset()  # there when what is live became so
        self._back: Plan | None = None

    def use(self) -> None:
        """What is live changed."""
        self._before, self._back = frozenset(self._instances.seen()), None
        self.plans.clear()

    def wanted(self, plan: Plan, trial: Trial | None, back: DeploymentId | None) -> list[Wanted]:
        """Every service of the plan. `back`: where the robot would go back to."""
        found = []
        for name, service in plan.services.items():
            instance = plan.instance(name)
            self.plans[instance] = plan
            there = instance in self._before or instance in self._instances.seen()
            found.append(
                Wanted(
                    name,
                    instance,
                    strategy(service),
                    warm=service.warm,
                    drain_s=service.drain_s,
                    port=plan.port(name),
                    hardware=service.exclusive,
                    standby=self._standby(plan, name, trial, back),
                    fresh=trial is not None and name in trial.restarted,
                    prepare=Hooked.NONE if there else self._due(plan, name, HookKind.PREPARE, trial),
                    welcome=self.welcome(plan, name, trial),
                    insist=trial is None and self._has_failed(instance),
                )
            )
        return found

    def welcome(self, plan: Plan, name: str, trial: Trial | None) -> Hooked:
        """The hook after the start, of what was started for this trial."""
        if plan.instance(name) in self._before:
            return Hooked.NONE
        return self._due(plan, name, HookKind.AFTER_START, trial)

    def lost(self, plan: Plan | None, trial: Trial | None) -> dict[str, str]:
        """Services whose version on trial is gone, or has lost its hardware, while the one before took its place: why."""
        if plan is None or trial is None or not trial.told or trial.instead_of is not None:
            return {}
        found = {}
        seen = self._instances.seen()
        for name in trial.restarted:
            if name not in plan.services or strategy(plan.services[name]) is not Strategy.LOCK:
                continue
            mine = plan.instance(name)
            for instance, process in seen.items():
                known = self._instances.know(process)
                if instance == mine or process.service != name or not known.locks or known.stopping:
                    continue
                waits, owns = self._instances.at_the_lock(process)
                if mine not in seen and (owns or waits):
                    found[name] = self.said.get(name, "ended")
                elif owns and known.owned_at is not None and machine.boottime() - known.owned_at > EXIT_S:
                    found[name] = "lost its hardware"
        return found

    def rollback_hooks(self, trial: Trial | None) -> tuple[Plan | None, tuple[str, ...]]:
        """Services of what failed whose hook is to run now that what ran before runs again, and their plan."""
        attempt = trial.instead_of if trial is not None and trial.told else None
        if trial is None or attempt is None:
            return None, ()
        try:
            failed = self._plan_of(attempt.deployment)
        except (LekiwiError, KeyError):
            return None, ()
        due = (
            name
            for name in attempt.restarted
            if name in failed.services
            and HookKind.ON_ROLLBACK in failed.services[name].hooks
            and trial.hook(name, HookKind.ON_ROLLBACK) is None
        )
        return failed, tuple(due)

    def _due(self, plan: Plan, name: str, kind: HookKind, trial: Trial | None) -> Hooked:
        running = {kind for service, kind in self._instances.hooks if service == name}
        return due_hook(plan.services[name], kind, trial, running)

    def _has_failed(self, instance: InstanceId) -> bool:
        known = self._instances.known.get(instance)
        return known is not None and known.watch is not None and known.watch.fails()

    def _standby(self, plan: Plan, name: str, trial: Trial | None, back: DeploymentId | None) -> InstanceId | None:
        """The version that is to wait behind the lock of what is on trial."""
        service = plan.services[name]
        if strategy(service) is not Strategy.LOCK or back is None or trial is None or not trial.told:
            return None
        if trial.instead_of is not None or not trial.policy.roll_back or name not in trial.restarted:
            return None
        before = self._plan_before(back)
        other = before.services.get(name) if before is not None else None
        if before is None or other is None or strategy(other) is not Strategy.LOCK:
            return None
        instance = before.instance(name)
        if other.exclusive != service.exclusive or instance == plan.instance(name):
            return None
        self.plans[instance] = before
        return instance

    def _plan_before(self, back: DeploymentId) -> Plan | None:
        if self._back is None or self._back.ref.id != back:
            try:
                self._back = self._plan_of(back)
            except (LekiwiError, KeyError):
                return None
        return self._back
