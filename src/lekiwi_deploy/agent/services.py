"""The robot's services as one: what each is to be (plan), which instances there are, how they are, and how a change of them went."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lekiwi_deploy.agent import machine, memory
from lekiwi_deploy.agent.instances import Instances, Note
from lekiwi_deploy.agent.known import Change
from lekiwi_deploy.agent.leading import Leading
from lekiwi_deploy.agent.locks import is_held
from lekiwi_deploy.agent.looking_after import look_after
from lekiwi_deploy.agent.output import Output
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.service_health import of_service, state_of
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors import choose as supervisors
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState
from lekiwi_deploy.agent.timing import Timing, boottime
from lekiwi_deploy.agent.traffic import choose as traffic
from lekiwi_deploy.agent.wanting import Wanting
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.instance_types import (
    Action,
    Changes,
    LeadTraffic,
    Room,
    RunHook,
    Strategy,
    Wanted,
    World,
)
from lekiwi_deploy.robot.instances import changes
from lekiwi_deploy.robot.ledger import Trial
from lekiwi_deploy.robot.trial import ServiceSeen
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId
from lekiwi_deploy.wire.link import ServiceReport, ServiceState, ServiceSwitch
from lekiwi_deploy.wire.manifest import HookKind

_LAST_WORDS_S = 0.5
"""So long a version that lost its hardware has to say when it let go of it."""
_ROOM_S = 0.5
_LOOK_AT_LOCK_S = 0.1
"""How often a program that says nothing is looked at, to see whether it waits for its hardware or owns it."""


class Services:
    """`plan` says what each is to be; None: none is to run. `replan` makes the live one's anew, `plan_of` that of any deployment that is here,
    `whole` says whether that one's tree is complete and not known to be damaged: from no other is a service started again.
    `hook_ran` is told (service, hook, deployment, what was wrong). `nudge` is called at every change."""

    def __init__(
        self,
        paths: Paths,
        tail: Output,
        logs: Spool,
        *,
        replan: Callable[[], Plan | None],
        plan_of: Callable[[DeploymentId], Plan],
        whole: Callable[[DeploymentId], bool],
        hook_ran: Callable[[str, HookKind, DeploymentId, str | None], None],
        nudge: Callable[[], None],
        note: Note,
        randomness: Callable[[], float],
    ) -> None:
        self.plan: Plan | None = None
        self.helpers: set[int] = set()
        """Children of the agent that are no services and have someone who waits for them."""
        self._paths = paths
        self._tail = tail
        self._replan = replan
        self._plan_of = plan_of
        self._whole = whole
        self._hook_ran = hook_ran
        self._nudge = nudge
        self._note = note
        self._randomness = randomness
        self._instances = Instances(paths, tail, logs, plan_of=plan_of, nudge=nudge, note=note)
        self._serving: Mapping[str, InstanceId] = {}
        self._last: dict[InstanceId, ProcessSeen] = {}
        self._room_seen = (-_ROOM_S, Room())
        self._wanting = Wanting(self._instances, plan_of)
        self._timing = Timing(self._instances)

    @property
    def change(self) -> Change | None:
        """The switch under way, until it is told."""
        return self._timing.change

    async def adopt(self) -> None:
        """Find what an earlier agent, or the boot, started."""
        supervisor = supervisors.choose(
            self._paths,
            relaunch=self._relaunch,
            changed=self._changed,
            note=self._note_of,
            randomness=self._randomness,
            helpers=self.helpers,
        )
        leading = Leading(lambda lost: traffic.choose(self._paths, lost=lost, helpers=self.helpers), nudge=self._nudge)
        await self._instances.open(supervisor, leading)

    def use(self, plan: Plan | None) -> None:
        """What is live changed: watch those that stay with the checks of now."""
        self.plan = plan
        seen = self._instances.seen()
        self._wanting.use()
        for process in seen.values():
            self._instances.know(process).exits = process.exits
        for instance in list(seen):
            self._changed(instance)

    def begin(self, decided: float, trial: Trial | None) -> None:
        """A switch was decided (CLOCK_BOOTTIME). `trial`: the one before it; what it lost has been changed over already."""
        self._timing.begin(decided, self._wanting.lost(self.plan, trial))

    def told(self) -> None:
        """The switch was told."""
        self._timing.change = None

    def up_at(self, name: str) -> float | None:
        """When (CLOCK_BOOTTIME) the wanted version of a service was in use. None: it is not, or it is not known."""
        return self._timing.up_at(self.plan, name)

    def switches(self, names: tuple[str, ...]) -> tuple[ServiceSwitch, ...]:
        """How these were changed over, as far as this agent saw it."""
        return self._timing.switches(self.plan, names)

    # --- deciding and doing

    def decide(self, trial: Trial | None, back: DeploymentId | None, spoiled: frozenset[DeploymentId]) -> Changes:
        """What to do about instances now. `back`: where the robot would go back to; `spoiled`: deployments that failed here."""
        plan = self.plan
        seen = self._instances.seen()
        wanted = self._wanting.wanted(plan, trial, back) if plan is not None else []
        missing = any(one.instance not in seen for one in wanted)
        standby = any(one.standby is not None and one.standby not in seen for one in wanted)
        several = len(seen) > len(wanted) or any(one.instance not in seen for one in wanted)
        views = self._instances.views(spoiled, weigh=(missing and bool(seen)) or standby)
        leading = self._instances.leading
        hardware = {one.hardware for one in wanted if one.strategy is Strategy.LOCK and one.instance not in seen}
        decided = changes(
            wanted,
            views,
            World(
                targets=leading.targets(),
                locked=frozenset(name for name in hardware if name and is_held(self._paths.locks / name)),
                room=self._room() if several or standby else Room(),
                now=machine.boottime(),
                trial=trial is not None,
                eager=trial is None or trial.told or trial.instead_of is not None,
                lost=frozenset(self._wanting.lost(plan, trial)),
                cuts=self._instances.cuts,
            ),
        )
        self._serving = decided.serving
        for view in views:
            known = self._instances.known[view.instance]
            if view.owns and known.owned_at is None:
                told = seen[view.instance].told.owns_since
                known.owned_at = boottime(told) if told is not None else machine.boottime()
                look_after(self._instances, plan, seen[view.instance], known, self._nudge)
        self._timing.kinds(decided.kinds)
        wake = decided.wake_in_s
        actions = decided.actions
        if leading.wait_s() > 0:
            actions = tuple(action for action in actions if not isinstance(action, LeadTraffic))
            wake = min(leading.wait_s(), wake if wake is not None else leading.wait_s())
        looks = [pause for one in wanted if (pause := self._look_again_in(one)) is not None]
        if looks:
            wake = min(*looks, wake if wake is not None else looks[0])
        return Changes(actions=actions, kinds=decided.kinds, serving=decided.serving, wake_in_s=wake)

    def _room(self) -> Room:
        """The machine's memory, at most `_ROOM_S` old: a switch is decided in several steps."""
        now = machine.boottime()
        if now - self._room_seen[0] > _ROOM_S:
            self._room_seen = (now, memory.room())
        return self._room_seen[1]

    async def carry_out(self, actions: tuple[Action, ...], previous: DeploymentId | None) -> None:
        """Do it, in order. `previous`: the deployment before the live one. Raises `LekiwiError`, `OSError`."""
        for action in actions:
            match action:
                case RunHook(service, hook) if self.plan is not None:
                    self._run_hook(self.plan, service, hook, previous)
                case _:
                    await self._instances.do(action, self._wanting.plans)

    def run_rollback_hooks(self, trial: Trial | None) -> bool:
        """Begin with the hooks of what failed, now that what ran before runs again. Whether any are not done yet."""
        failed, due = self._wanting.rollback_hooks(trial)
        for name in due:
            if failed is not None and (name, HookKind.ON_ROLLBACK) not in self._instances.hooks:
                self._run_hook(failed, name, HookKind.ON_ROLLBACK, trial.deployment if trial is not None else None)
        return bool(due)

    def _run_hook(self, plan: Plan, service: str, kind: HookKind, previous: DeploymentId | None) -> None:
        live = self.plan.ref.id if self.plan is not None else plan.ref.id

        async def run() -> None:
            wrong = await self._instances.run(service, kind, plan, previous)
            self._hook_ran(service, kind, live, wrong)
            self._nudge()

        self._instances.hooks.add((service, kind))
        self._instances.later(run())

    def _look_again_in(self, wanted: Wanted) -> float | None:
        """When only the kernel can say how far it is with the lock."""
        process = self._instances.seen().get(wanted.instance)
        if wanted.strategy is not Strategy.LOCK or process is None or process.state is not ProcessState.RUNNING:
            return None
        known = self._instances.know(process)
        others = (one for one in self._instances.known.values() if one is not known and one.hardware == known.hardware)
        taken = any(one.owned_at is not None and not one.stopping for one in others)
        if not taken and known.owned_at is not None and not self._timing.about_to_tell(wanted.service, process):
            return None
        return _LOOK_AT_LOCK_S if machine.boottime() - process.started < 60.0 or taken else 10 * _LOOK_AT_LOCK_S

    # --- looking

    def stale(self) -> tuple[str, ...]:
        """Services of which not the version runs that the plan wants."""
        wanted = {name: self.plan.instance(name) for name in self.plan.services} if self.plan is not None else {}
        seen = self._instances.seen()
        gone = {process.service for process in seen.values() if process.service not in wanted}
        return tuple(sorted(gone | {name for name, instance in wanted.items() if instance not in seen}))

    def fingerprints(self, trial: Trial | None = None) -> dict[str, str]:
        """Of what is in use; where nothing is, of what is being started. `trial`: what it lost counts as in use until that is settled."""
        found: dict[str, str] = {}
        targets = set(self._instances.leading.targets().values())
        for process in self._instances.seen().values():
            known = self._instances.know(process)
            if known.is_paused(process) or known.stopping:
                continue
            in_use = process.port in targets if known.by_port else not known.locks or known.owned_at is not None
            if in_use or process.service not in found:
                found[process.service] = process.fingerprint
        if self.plan is not None:
            found |= {name: self.plan.fingerprints[name] for name in self._wanting.lost(self.plan, trial)}
        return found

    def in_use(self) -> frozenset[DeploymentId]:
        """Deployments that a process runs from."""
        return frozenset(process.deployment for process in self._instances.seen().values())

    def ports(self, deployment: DeploymentId | None) -> tuple[tuple[InstanceId, int | None], ...]:
        """Where the instances of a deployment listen."""
        seen = self._instances.seen()
        return tuple(sorted((id_, one.port) for id_, one in seen.items() if one.deployment == deployment and one.port))

    def traffic(self) -> str:
        """What brings connections to services, for a person; empty: none has a port."""
        return self._instances.leading.text

    def changing(self) -> bool:
        """Whether the live deployment's processes are not all there yet."""
        return self.change is not None and bool(self.stale())

    def seen(self, trial: Trial | None = None) -> dict[str, ServiceSeen]:
        """Every service of the plan whose version is there, or was lost to the one before."""
        plan = self.plan
        if plan is None:
            return {}
        found: dict[str, ServiceSeen] = {}
        processes = self._instances.seen()
        lost = self._wanting.lost(plan, trial)
        for name in plan.services:
            instance = plan.instance(name)
            process = processes.get(instance)
            if name in lost:
                why = f"{name}: {lost[name]}; the version before took over at once"
                found[name] = ServiceSeen(plan.fingerprints[name], alive=False, lost=why)
            elif process is not None:
                known = self._instances.know(process)
                serving = self._serving.get(name) == instance
                found[name] = of_service(
                    plan,
                    name,
                    process,
                    known,
                    serving=serving,
                    settled=not self._timing.about_to_tell(name, process),
                    leading=self._instances.leading,
                    welcome=self._wanting.welcome(plan, name, trial),
                )
        return found

    def healthy(self) -> bool:
        """Whether every service of the plan is ready now, and in use."""
        seen = self.seen()
        return self.plan is not None and all(name in seen and seen[name].ready for name in self.plan.services)

    def reports(self) -> tuple[ServiceReport, ...]:
        """Every service, by name."""
        processes = self._instances.seen()
        names = {process.service for process in processes.values()}
        if self.plan is not None:
            names |= set(self.plan.services)
        return tuple(self._report(name) for name in sorted(names))

    def last_lines(self, service: str | None) -> tuple[str, ...]:
        """The newest lines that the wanted version of a service wrote."""
        if service is None or self.plan is None or service not in self.plan.services:
            return ()
        return self._tail.last_lines(self.plan.instance(service))

    def _report(self, name: str) -> ServiceReport:
        mine = self.plan.instance(name) if self.plan is not None and name in self.plan.services else None
        processes = {one: process for one, process in self._instances.seen().items() if process.service == name}
        process = processes.get(mine) if mine is not None else next(iter(processes.values()), None)
        others = [one for one in processes.values() if one is not process and one.state is ProcessState.RUNNING]
        standby = others[-1].deployment if others else None
        if process is None:
            return ServiceReport(name=name, state=ServiceState.STOPPED, deployment=None, standby=standby)
        known = self._instances.know(process)
        state, detail = state_of(process, known, serving=self._serving.get(name) == process.instance)
        return ServiceReport(
            name=name,
            state=state,
            deployment=process.deployment,
            pid=process.pid if process.state is not ProcessState.BACKING_OFF else None,
            restarts=process.exits,
            since=process.since,
            detail=detail,
            standby=standby,
        )

    # --- what the supervisor tells

    def _relaunch(self, process: ProcessSeen) -> Launch | None:
        plan = self._replan()
        if plan is not None:
            self.plan = plan
        if plan is None or process.service not in plan.services or plan.instance(process.service) != process.instance:
            if not self._whole(process.deployment):
                return None
            try:
                plan = self._plan_of(process.deployment)
            except (LekiwiError, KeyError):
                return None
        if process.service not in plan.services or plan.instance(process.service) != process.instance:
            return None
        try:
            port = None
            if plan.by_port(process.service):
                port = self._instances.private_port(process.instance, process.port)
            return self._instances.prepare(plan, process.service, port)
        except (LekiwiError, OSError) as error:
            self._note("trouble", f"{process.service} cannot be started again: {error}", None, process.service)
            return None

    def _note_of(self, kind: str, text: str, process: ProcessSeen) -> None:
        if kind == "exited":
            self._wanting.said[process.service] = process.exit or "ended"
        self._note(kind, text, process.deployment, process.service)

    def _changed(self, instance: InstanceId) -> None:
        process = self._instances.seen().get(instance)
        before = self._last.get(instance)
        if process is None:
            if before is not None:
                self._timing.ended(before, self.plan)
                del self._last[instance]
            self._instances.forget(instance)
        else:
            if before is not None and before.pid is not None and process.pid != before.pid:
                self._timing.ended(before, self.plan)
                self._instances.know(process).begin_anew()
            if process.told.released_at is not None:
                self._timing.ended(process, self.plan)
            self._last[instance] = process
            known = self._instances.know(process)
            if known.paused is not None and known.paused == process.paused:
                known.paused = None
            look_after(self._instances, self.plan, process, known, self._nudge)
        self._nudge()

    # --- boot and end

    async def keep_for_boot(self, plan: Plan | None) -> None:
        """What the machine starts at boot without the agent is this from now on. Raises `LekiwiError`, `OSError`."""
        await self._instances.keep_for_boot(plan)

    async def stop_all(self) -> None:
        """Stop everything."""
        self.plan = None
        await self._instances.stop_all()

    def reap(self) -> None:
        """Bury orphans; called at SIGCHLD."""
        supervisors.reap(self._instances.supervisor)

    async def close(self) -> None:
        """Let go of the processes without touching them."""
        await self._instances.close()
