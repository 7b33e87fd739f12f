"""The robot's instances: their processes (supervisor), the way of connections to them (traffic), their output (tail). What is to be done with
them is decided in `robot/instances.py`; this does it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, assert_never

from lekiwi_deploy.agent import machine, memory, private_ports
from lekiwi_deploy.agent.cutting import cut
from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.hooks import log_to, run_hook
from lekiwi_deploy.agent.known import Known
from lekiwi_deploy.agent.leading import Leading
from lekiwi_deploy.agent.listeners import strangers
from lekiwi_deploy.agent.locks import LockSeen, look, make_lock
from lekiwi_deploy.agent.log_files import clear_away, log_of
from lekiwi_deploy.agent.output import Output
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState, Supervisor
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.instance_types import (
    Action,
    CutConnections,
    HoldDown,
    LeadTraffic,
    Pause,
    Resume,
    RunHook,
    Seen,
    StartInstance,
    StartStandby,
    StopInstance,
)
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId
from lekiwi_deploy.wire.manifest import HookKind

Note = Callable[[str, str, DeploymentId | None, str | None], None]
"""(kind, text, deployment, service) for the robot's history."""


class Instances:
    """`plan_of` gives a deployment's plan, or raises `LekiwiError`; `nudge` is called at every change that may call for a decision."""

    def __init__(
        self,
        paths: Paths,
        tail: Output,
        logs: Spool,
        *,
        plan_of: Callable[[DeploymentId], Plan],
        nudge: Callable[[], None],
        note: Note,
    ) -> None:
        self.known: dict[InstanceId, Known] = {}
        self.hooks: set[tuple[str, HookKind]] = set()
        """Those that run now."""
        self.cuts = True
        """Whether connections can be cut here, as far as is known."""
        self.supervisor: Supervisor
        self.leading: Leading
        self._paths = paths
        self._tail = tail
        self._plan_of = plan_of
        self._nudge = nudge
        self._note = note
        self._log = log_to(logs, appended=lambda: None, trouble=lambda text: note("trouble", text, None, None))
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, supervisor: Supervisor, leading: Leading) -> None:
        """Find what an earlier agent, or the boot, started."""
        self.supervisor, self.leading = supervisor, leading
        await supervisor.adopt()
        for process in supervisor.seen().values():
            self.know(process)
        await leading.open()
        now = machine.boottime()
        for instance, known in self.known.items():
            process = supervisor.seen()[instance]
            known.exits = process.exits
            if known.by_port and process.port not in leading.targets().values():
                known.left_at, known.connections = now, 1
        self._drain()

    def seen(self) -> Mapping[InstanceId, ProcessSeen]:
        """Every instance that is not stopped."""
        return self.supervisor.seen()

    def know(self, process: ProcessSeen) -> Known:
        """What is known of it; of one that an earlier agent started, by its deployment's manifest."""
        known = self.known.get(process.instance)
        if known is None:
            service, public = None, None
            try:
                plan = self._plan_of(process.deployment)
                if process.service in plan.services:
                    service, public = plan.services[process.service], plan.port(process.service)
            except (LekiwiError, KeyError):
                pass  # it may hold anything then, and is treated so
            known = self.known[process.instance] = Known(service, public)
            path = log_of(self._paths, process.instance)
            self._follow(process.instance, process.service, process.deployment, path)
        return known

    def views(self, spoiled: Collection[DeploymentId], *, weigh: bool) -> list[Seen]:
        """All of them, for a decision. `spoiled`: deployments that failed here; `weigh`: their memory counts."""
        found: list[Seen] = []
        locks: dict[str, LockSeen] = {}
        hardware = Counter(self.know(process).hardware for process in self.seen().values())
        for process in self.seen().values():
            known = self.know(process)
            lock, alone = self._lock(known, process, locks), hardware[known.hardware] == 1
            size = memory.resident(process.pid) if weigh and process.pid is not None else 0
            found.append(
                known.view(
                    process,
                    lock=lock,
                    alone=alone,
                    spoiled=process.deployment in spoiled,
                    memory=size,
                )
            )
        return found

    def at_the_lock(self, process: ProcessSeen) -> tuple[bool, bool]:
        """Whether it waits for its hardware, and whether it owns it."""
        known = self.know(process)
        return known.at_the_lock(process, self._lock(known, process, {}))

    def _lock(self, known: Known, process: ProcessSeen, seen: dict[str, LockSeen]) -> LockSeen | None:
        told = process.told
        if not known.locks or known.hardware is None or (told.owns_since is not None and told.released_at is None):
            return None
        if known.hardware not in seen:
            seen[known.hardware] = look(self._paths.locks / known.hardware)
        return seen[known.hardware]

    async def do(self, action: Action, plans: Mapping[InstanceId, Plan]) -> None:
        """Carry it out, or begin to. `plans`: whose version each instance is that may be started."""
        match action:
            case StartInstance(service, instance) | StartStandby(service, instance):
                self._start(plans[instance], service, instance)
            case LeadTraffic(targets):
                await self._lead(dict(targets))
            case StopInstance(instance):
                known = self.known[instance]
                known.stopping = True
                self._later(self._stop(instance, known))
            case CutConnections(instance):
                self._cut(instance)
            case HoldDown(instance, held):
                self.known[instance].held = held
                self.supervisor.hold_down(instance, held)
            case Pause(instance):
                self.known[instance].paused = True
                self.supervisor.pause(instance)
            case Resume(instance):
                known = self.known[instance]
                known.paused, known.resumed_at = False, machine.boottime()
                known.woke_at = known.resumed_at
                self.supervisor.resume(instance)
            case RunHook():
                raise AssertionError("hooks are run by the services")
            case never:
                assert_never(never)

    def prepare(self, plan: Plan, service: str, port: int | None) -> Launch:
        """What has to be there before it is started."""
        launch = plan.launch(service, port)
        assert launch is not None
        known = Known(plan.services[service], plan.port(service), launch=launch)
        before = self.known.get(launch.instance)
        if before is not None:
            if before.watch is not None:
                before.watch.stop()
            known.held, known.exits = before.held, before.exits
            known.led_at, known.left_at, known.connections = before.led_at, before.left_at, before.connections
        self.known[launch.instance] = known
        if launch.port is not None and launch.port == known.public:
            known.strangers = strangers(launch.port)
        launch.state.mkdir(parents=True, exist_ok=True)
        if launch.lock is not None:
            make_lock(launch.lock)
        clear_away(self._paths.logs, service, {log_of(self._paths, instance) for instance in self.seen()})
        self._follow(launch.instance, service, launch.deployment, launch.log)
        return launch

    def private_port(self, instance: InstanceId, first: int | None = None) -> int:
        """A private port for it. `first`: the one that it had. Raises `Unavailable`."""
        taken = {process.port for one, process in self.seen().items() if one != instance}
        taken |= {port for port in self.leading.targets().values() if port != first}
        if first is not None and first not in taken and private_ports.is_free(first):
            return first
        return private_ports.choose(self._paths.root, instance, {port for port in taken if port is not None})

    async def run(self, service: str, kind: HookKind, plan: Plan, previous: DeploymentId | None) -> str | None:
        """A hook of the plan's version, to its end; what was wrong in one line."""
        hook = plan.services[service].hooks[kind]
        instance = plan.instance(service)
        process = self.seen().get(instance)
        launch = plan.launch(service, process.port if process is not None else None)
        assert launch is not None
        self.hooks.add((service, kind))
        try:
            fp("hook.before")
            wrong = await run_hook(self.supervisor, launch, hook, kind, self._note, self._log, previous=previous)
            fp("hook.after")
            return wrong
        finally:
            self.hooks.discard((service, kind))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it meanwhile."""
        self._later(work)

    def forget(self, instance: InstanceId) -> None:
        """It is gone."""
        known = self.known.pop(instance, None)
        if known is not None and known.watch is not None:
            known.watch.stop()
        self._tail.leave(instance)

    async def keep_for_boot(self, plan: Plan | None) -> None:
        """These are what the machine starts at boot without the agent, and where connections are led. Raises `LekiwiError`, `OSError`."""
        launches: list[Launch] = []
        targets: dict[int, int] = {}
        seen = self.seen()
        for name in plan.services if plan is not None else ():
            assert plan is not None
            instance = plan.instance(name)
            port = None
            if plan.by_port(name):
                process = seen.get(instance)
                port = process.port if process is not None else self.private_port(instance)
                public = plan.port(name)
                assert public is not None and port is not None
                targets[public] = port
            launch = plan.launch(name, port)
            assert launch is not None
            launches.append(launch)
        await self.leading.keep_for_boot(targets)  # first: the supervisor keeps it together with the units
        await self.supervisor.keep_for_boot(tuple(launches))

    async def stop_all(self) -> None:
        """Stop everything, and lead no traffic any more."""
        await self.supervisor.stop_all()
        await self.leading.remove()

    async def close(self) -> None:
        """Let go of everything without touching it."""
        for task in self._tasks:
            task.cancel()
        for known in self.known.values():
            if known.watch is not None:
                known.watch.stop()
        self.known.clear()
        self.supervisor.close()
        await self.leading.close()

    def _start(self, plan: Plan, service: str, instance: InstanceId) -> None:
        port = self.private_port(instance) if plan.by_port(service) else None
        launch = self.prepare(plan, service, port)
        fp("switch.before_start")
        self.supervisor.start(launch)
        fp("switch.after_start")

    async def _lead(self, targets: dict[int, int]) -> None:
        before = self.leading.targets()
        fp("switch.before_lead")
        if not await self.leading.lead(targets):
            return
        fp("switch.after_lead")
        now = machine.boottime()
        for process in self.seen().values():
            known = self.know(process)
            if process.port in targets.values():
                if known.led_at is None or known.left_at is not None:
                    known.led_at = now
                known.left_at = known.resumed_at = None
            elif process.port in before.values():
                known.left_at, known.led_at, known.connections, known.quiet = now, None, 1, 0
        self._drain()
        self._nudge()

    def _drain(self) -> None:
        if any(known.left_at is not None and known.connections for known in self.known.values()):
            self._later(self._count_connections())

    async def _count_connections(self) -> None:
        """Until nobody is connected to a version that traffic has left. Two looks, as somebody may just be on the way in."""
        pause = 0.05
        while True:
            await asyncio.sleep(pause)
            pause = min(1.0, 1.5 * pause)
            left = [
                (known, process)
                for instance, process in self.seen().items()
                if (known := self.known.get(instance)) is not None and known.left_at is not None and known.connections
            ]
            if not left:
                return
            for known, process in left:
                count = await self.leading.connections(process.port)
                known.quiet = 0 if count else known.quiet + 1
                if known.quiet >= 2:
                    known.connections = 0
                    self._nudge()
                elif count:
                    known.connections = count

    def _cut(self, instance: InstanceId) -> None:
        port = self.seen()[instance].port
        if port is not None and cut(port):
            self.known[instance].connections = 0
        else:
            self.cuts = False  # it is stopped then, which ends them, too

    async def _stop(self, instance: InstanceId, known: Known) -> None:
        try:
            await self._end(instance, known)
        except (LekiwiError, OSError) as error:
            self._note("trouble", f"{instance} is to be stopped once more: {error}", None, None)
            known.stopping = False
        self._nudge()

    async def _end(self, instance: InstanceId, known: Known) -> None:
        process = self.seen().get(instance)
        service = known.service
        if process is not None and service is not None and HookKind.BEFORE_STOP in service.hooks:
            waits = known.at_the_lock(process)[0]
            if process.state is ProcessState.RUNNING and not waits:
                if process.paused:
                    self.supervisor.resume(instance)
                try:
                    await self.run(process.service, HookKind.BEFORE_STOP, self._plan_of(process.deployment), None)
                except (LekiwiError, KeyError) as error:
                    self._note("hook_failed", f"{process.service}: {error}", process.deployment, process.service)
        fp("switch.before_stop")
        await self.supervisor.stop(instance, service.stop_grace_s if service is not None else None)
        fp("switch.after_stop")

    def _follow(self, instance: InstanceId, service: str, deployment: DeploymentId, path: Path) -> None:
        try:
            self._tail.follow(instance, service, path, deployment)
        except OSError as error:
            self._note("log_lost", f"the output of {service} is not read: {error.strerror}", None, service)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
