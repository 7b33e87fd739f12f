"""The robot's services as one: what each is to be (plan), which instances there are, how they are, and how a change of them went."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lekiwi_deploy.agent import machine, memory
from lekiwi_deploy.agent.instances import Instances, Note
from lekiwi_deploy.agent.known import Change, Known
from lekiwi_deploy.agent.leading import Leading
from lekiwi_deploy.agent.locks import is_held
from lekiwi_deploy.agent.output import Output
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.service_health import due_hook, of_service, state_of
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors import choose as supervisors
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState
from lekiwi_deploy.agent.traffic import choose as traffic
from lekiwi_deploy.agent.watch import Watch
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.instance_types import (
    Action,
    Changes,
    Hooked,
    LeadTraffic,
    Room,
    RunHook,
    StartInstance,
    StartStandby,
    Strategy,
    Wanted,
    World,
    strategy,
)
from lekiwi_deploy.robot.instances import changes
from lekiwi_deploy.robot.ledger import Trial
from lekiwi_deploy.robot.trial import ServiceSeen
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId
from lekiwi_deploy.wire.link import ServiceReport, ServiceState, ServiceSwitch, SwitchKind
from lekiwi_deploy.wire.manifest import HookKind

_LAST_WORDS_S = 0.5
"""So long a version that lost its hardware has to say when it let go of it."""
_LOOK_AT_LOCK_S = 0.1
"""How often a program that says nothing is looked at, to see whether it waits for its hardware or owns it."""


class Services:
    """`plan` says what each is to be; None: none is to run. `replan` makes the live one's anew, `plan_of` that of any deployment that is here.
    `hook_ran` is told (service, hook, deployment, what was wrong). `nudge` is called at every change."""

    def __init__(
        self,
        paths: Paths,
        tail: Output,
        logs: Spool,
        *,
        replan: Callable[[], Plan | None],
        plan_of: Callable[[DeploymentId], Plan],
        hook_ran: Callable[[str, HookKind, DeploymentId, str | None], None],
        nudge: Callable[[], None],
        note: Note,
        randomness: Callable[[], float],
    ) -> None:
        self.plan: Plan | None = None
        self.change: Change | None = None
        self.helpers: set[int] = set()
        """Children of the agent that are no services and have someone who waits for them."""
        self._paths = paths
        self._tail = tail
        self._replan = replan
        self._plan_of = plan_of
        self._hook_ran = hook_ran
        self._nudge = nudge
        self._note = note
        self._randomness = randomness
        self._instances = Instances(paths, tail, logs, plan_of=plan_of, nudge=nudge, note=note)
        self._serving: Mapping[str, InstanceId] = {}
        self._plans: dict[InstanceId, Plan] = {}
        self._last: dict[InstanceId, ProcessSeen] = {}
        self._before: frozenset[InstanceId] = frozenset()  # there when what is live became so
        self._back: Plan | None = None
        self._gone_at: dict[str, float] = {}  # when a version of a service was last in use
        self._said: dict[str, str] = {}  # last words of instances that are gone, by service

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
        self._before, self._back = frozenset(seen), None
        for process in seen.values():
            self._instances.know(process).exits = process.exits
        for instance in list(seen):
            self._changed(instance)

    def begin(self, decided: float, trial: Trial | None) -> None:
        """A switch was decided (CLOCK_BOOTTIME). `trial`: the one before it; what it lost has been changed over already."""
        lost = self._lost(trial)
        self.change = Change(decided)
        for name in lost:
            self.change.kinds[name] = (SwitchKind.WARM, None)
            if name in self._gone_at:
                self.change.ended[name] = self._gone_at[name]

    # --- deciding and doing

    def decide(self, trial: Trial | None, back: DeploymentId | None, spoiled: frozenset[DeploymentId]) -> Changes:
        """What to do about instances now. `back`: where the robot would go back to; `spoiled`: deployments that failed here."""
        plan = self.plan
        seen = self._instances.seen()
        wanted = self._wanted(trial, back) if plan is not None else []
        missing = any(one.instance not in seen for one in wanted)
        standby = any(one.standby is not None and one.standby not in seen for one in wanted)
        several = len(seen) > len(wanted) or any(one.instance not in seen for one in wanted)
        views = self._instances.views(
            self._passes, lambda id_: id_ in spoiled, weigh=(missing and bool(seen)) or standby
        )
        leading = self._instances.leading
        hardware = {one.hardware for one in wanted if one.strategy is Strategy.LOCK and one.instance not in seen}
        decided = changes(
            wanted,
            views,
            World(
                targets=leading.targets(),
                locked=frozenset(name for name in hardware if name and is_held(self._paths.locks / name)),
                room=memory.room() if several or standby else Room(),
                now=machine.boottime(),
                trial=trial is not None,
                eager=trial is None or trial.told or trial.instead_of is not None,
                lost=frozenset(self._lost(trial)),
            ),
        )
        self._serving = decided.serving
        for view in views:
            known = self._instances.known[view.instance]
            if view.owns and known.owned_at is None:
                told = seen[view.instance].told.owns_since
                known.owned_at = _boottime(told) if told is not None else machine.boottime()
                self._look_after(view.instance, seen[view.instance], known)
        if self.change is not None:
            for name, kind in decided.kinds.items():
                self.change.kinds.setdefault(name, (kind.kind, kind.why))
        wake = decided.wake_in_s
        actions = decided.actions
        if leading.wait_s() > 0:
            actions = tuple(action for action in actions if not isinstance(action, LeadTraffic))
            wake = min(leading.wait_s(), wake if wake is not None else leading.wait_s())
        if any(self._is_mute(one) for one in wanted):
            wake = min(_LOOK_AT_LOCK_S, wake if wake is not None else _LOOK_AT_LOCK_S)
        return Changes(actions=actions, kinds=decided.kinds, serving=decided.serving, wake_in_s=wake)

    async def carry_out(self, actions: tuple[Action, ...], previous: DeploymentId | None) -> None:
        """Do it, in order. `previous`: the deployment before the live one. Raises `LekiwiError`, `OSError`."""
        for action in actions:
            match action:
                case RunHook(service, hook) if self.plan is not None:
                    self._run_hook(self.plan, service, hook, previous)
                case StartInstance(_, instance) if self.plan is not None:
                    self._plans[instance] = self.plan
                    await self._instances.do(action, self._plans)
                case StartStandby() | _:
                    await self._instances.do(action, self._plans)

    def run_rollback_hooks(self, trial: Trial | None) -> bool:
        """Begin with the ON_ROLLBACK hooks of what failed, now that what ran before runs again. Whether any are not done yet."""
        attempt = trial.instead_of if trial is not None and trial.told else None
        if trial is None or attempt is None:
            return False
        try:
            failed = self._plan_of(attempt.deployment)
        except (LekiwiError, KeyError):
            return False
        open_ = False
        for name in attempt.restarted:
            hooks = failed.services[name].hooks if name in failed.services else {}
            if HookKind.ON_ROLLBACK not in hooks or trial.hook(name, HookKind.ON_ROLLBACK) is not None:
                continue
            open_ = True
            if (name, HookKind.ON_ROLLBACK) not in self._instances.hooks:
                self._run_hook(failed, name, HookKind.ON_ROLLBACK, trial.deployment)
        return open_

    def _run_hook(self, plan: Plan, service: str, kind: HookKind, previous: DeploymentId | None) -> None:
        live = self.plan.ref.id if self.plan is not None else plan.ref.id

        async def run() -> None:
            wrong = await self._instances.run(service, kind, plan, previous)
            self._hook_ran(service, kind, live, wrong)
            self._nudge()

        self._instances.hooks.add((service, kind))
        self._instances.later(run())

    def _wanted(self, trial: Trial | None, back: DeploymentId | None) -> list[Wanted]:
        plan = self.plan
        assert plan is not None
        found = []
        for name, service in plan.services.items():
            instance = plan.instance(name)
            fresh = trial is not None and name in trial.restarted
            running = {kind for service_, kind in self._instances.hooks if service_ == name}
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
                    fresh=fresh,
                    prepare=Hooked.NONE if there else due_hook(service, HookKind.PREPARE, trial, running),
                    welcome=self._welcome(plan, name, trial),
                    insist=trial is None and self._has_failed(instance),
                )
            )
        return found

    def _welcome(self, plan: Plan, name: str, trial: Trial | None) -> Hooked:
        """The hook after the start, of what was started for this trial."""
        if plan.instance(name) in self._before:
            return Hooked.NONE
        running = {kind for service, kind in self._instances.hooks if service == name}
        return due_hook(plan.services[name], HookKind.AFTER_START, trial, running)

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
        if before is None:
            return None
        other = before.services.get(name)
        if other is None or strategy(other) is not Strategy.LOCK or other.exclusive != service.exclusive:
            return None
        instance = before.instance(name)
        if instance == plan.instance(name):
            return None
        self._plans[instance] = before
        return instance

    def _plan_before(self, back: DeploymentId) -> Plan | None:
        if self._back is None or self._back.ref.id != back:
            try:
                self._back = self._plan_of(back)
            except (LekiwiError, KeyError):
                return None
        return self._back

    def _lost(self, trial: Trial | None) -> dict[str, str]:
        """Services whose version on trial is gone, or has lost its hardware, while the one before took its place: why."""
        plan = self.plan
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
                if owns or (mine not in seen and waits):
                    found[name] = self._said.get(name, "ended") if mine not in seen else "lost its hardware"
        return found

    def _is_mute(self, wanted: Wanted) -> bool:
        """Whether only the kernel can say how far it is with the lock."""
        process = self._instances.seen().get(wanted.instance)
        if wanted.strategy is not Strategy.LOCK or process is None or process.state is not ProcessState.RUNNING:
            return False
        known = self._instances.know(process)
        return known.owned_at is None or self._is_let_go(wanted.service, process)

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
            found |= {name: self.plan.fingerprints[name] for name in self._lost(trial)}
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
        lost = self._lost(trial)
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
                    settled=not self._is_let_go(name, process),
                    leading=self._instances.leading,
                    welcome=self._welcome(plan, name, trial),
                )
        return found

    def _is_let_go(self, name: str, mine: ProcessSeen) -> bool:
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

    def _only_waits(self, process: ProcessSeen) -> bool:
        """Whether it never used its hardware."""
        known = self._instances.know(process)
        return known.locks and known.owned_at is None

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

    # --- how a change went

    def up_at(self, name: str) -> float | None:
        """When (CLOCK_BOOTTIME) the wanted version of a service was in use. None: it is not, or it is not known."""
        if self.plan is None or name not in self.plan.services:
            return None
        instance = self.plan.instance(name)
        process, known = self._instances.seen().get(instance), self._instances.known.get(instance)
        if process is None or known is None or known.watch is None:
            return None
        if known.locks and known.watch.only_process:
            return known.owned_at
        ready = process.started if known.watch.only_process else known.watch.ready_at
        return max(ready, known.led_at) if known.led_at is not None and ready is not None else ready

    def switches(self, names: tuple[str, ...]) -> tuple[ServiceSwitch, ...]:
        """How these were changed over, as far as this agent saw it."""
        if self.change is None:
            return ()
        found = []
        for name in names:
            kind, why = self.change.kinds.get(name, (SwitchKind.COLD, None))
            if self.plan is None or name not in self.plan.services:
                continue
            gap = 0.0 if kind is SwitchKind.BLUE_GREEN else self._gap_ms(name, self.change)
            found.append(ServiceSwitch(service=name, kind=kind, gap_ms=gap, why=why))
        return tuple(found)

    def _gap_ms(self, name: str, change: Change) -> float | None:
        assert self.plan is not None
        ended = change.ended.get(name)
        process = self._instances.seen().get(self.plan.instance(name))
        if ended is None or process is None:
            return None
        known = self._instances.know(process)
        began = known.owned_at if known.locks else self.up_at(name)
        return max(0.0, began - ended) * 1000 if began is not None else None

    # --- what the supervisor tells

    def _relaunch(self, process: ProcessSeen) -> Launch | None:
        plan = self._replan()
        if plan is not None:
            self.plan = plan
        if plan is None or process.service not in plan.services or plan.instance(process.service) != process.instance:
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
            self._said[process.service] = process.exit or "ended"
        self._note(kind, text, process.deployment, process.service)

    def _changed(self, instance: InstanceId) -> None:
        process = self._instances.seen().get(instance)
        before = self._last.get(instance)
        if process is None:
            if before is not None:
                self._was_last_used(before)
                del self._last[instance]
            self._instances.forget(instance)
        else:
            if before is not None and before.pid is not None and process.pid != before.pid:
                self._was_last_used(before)
            if process.told.released_at is not None:
                self._was_last_used(process)
            self._last[instance] = process
            known = self._instances.know(process)
            if known.paused is not None and known.paused == process.paused:
                known.paused = None
            self._look_after(instance, process, known)
        self._nudge()

    def _was_last_used(self, process: ProcessSeen) -> None:
        """A process has ended, or let go of its hardware: the moment from which nobody served, or used it."""
        if process.instance in self._instances.known and self._only_waits(process):
            return
        told = process.told.released_at
        at = _boottime(told) if told is not None else process.ended or machine.boottime()
        self._gone_at[process.service] = at
        change, plan = self.change, self.plan
        wanted = plan is not None and process.service in plan.services and plan.instance(process.service)
        if change is not None and process.instance != wanted:
            change.ended[process.service] = max(at, change.ended.get(process.service, 0.0))

    def _look_after(self, instance: InstanceId, process: ProcessSeen, known: Known) -> None:
        """Watch its health, if that counts."""
        plan = self.plan
        mine = plan is not None and process.service in plan.services and plan.instance(process.service) == instance
        runs = process.state is ProcessState.RUNNING and process.pid is not None and not known.is_paused(process)
        if known.locks and known.owned_at is None:
            runs = False  # it waits for its hardware, and can do nothing before
        keep = known.watch is not None and process.port in self._instances.leading.targets().values()
        checks = (
            plan.checks(process.service) if plan is not None and mine else known.watch.checks if known.watch else ()
        )
        watched = (process.pid, process.port, checks, known.resumed_at)
        if known.watch is not None and (not runs or not (mine or keep) or (mine and known.watched != watched)):
            known.watch.stop()
            known.watch = None
        if known.watch is None and runs and mine and plan is not None:
            launch = plan.launch(process.service, process.port)
            assert launch is not None
            known.watched = watched
            known.watch = Watch(
                launch,
                checks,
                port=process.port,
                public=plan.port(process.service),
                strangers=known.strangers,
                offset=plan.config.port_offset,
                started=self._counts_from(process, known),
                changed=self._nudge,
                run_command=self._instances.supervisor.run,
            )

    def _counts_from(self, process: ProcessSeen, known: Known) -> float:
        """From when its checks have their time to pass for the first time."""
        return max(process.started, known.resumed_at or 0.0, known.owned_at or 0.0)

    def _passes(self, instance: InstanceId) -> bool:
        known = self._instances.known.get(instance)
        process = self._instances.seen().get(instance)
        if known is None or known.watch is None or process is None:
            return False
        if known.service is not None and known.service.notify and not process.told.ready:
            return False
        return known.watch.passes()

    # --- boot and end

    async def keep_for_boot(self, plan: Plan | None) -> None:
        """What the machine starts at boot without the agent is this from now on. Raises `LekiwiError`, `OSError`."""
        launches: list[Launch] = []
        targets: dict[int, int] = {}
        seen = self._instances.seen()
        for name in plan.services if plan is not None else ():
            assert plan is not None
            instance = plan.instance(name)
            port = None
            if plan.by_port(name):
                process = seen.get(instance)
                port = process.port if process is not None else self._instances.private_port(instance)
                public = plan.port(name)
                assert public is not None and port is not None
                targets[public] = port
            launch = plan.launch(name, port)
            assert launch is not None
            launches.append(launch)
        await self._instances.leading.keep_for_boot(targets)  # first: the supervisor keeps it together with the units
        await self._instances.supervisor.keep_for_boot(tuple(launches))

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


def _boottime(monotonic: float) -> float:
    """The moment on the clock of deadlines."""
    return monotonic + machine.boottime() - machine.monotonic()
