"""The robot's services: their processes (supervisor), their health (watches) and their output (tail), seen as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.environment import family_prefix
from lekiwi_deploy.agent.listeners import strangers
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.supervisors.process import ProcessSupervisor
from lekiwi_deploy.agent.supervisors.records import ProcessRecords
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState, service_of
from lekiwi_deploy.agent.tail import Tail
from lekiwi_deploy.agent.watch import Watch
from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.trial import ServiceSeen
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import ServiceReport, ServiceState

Note = Callable[[str, str, DeploymentId | None, str | None], None]
"""(kind, text, deployment, service) for the robot's history."""


class Services:
    """`plan` says what each is to be; None: none is to run. `nudge` is called at every change."""

    def __init__(
        self,
        paths: Paths,
        tail: Tail,
        *,
        replan: Callable[[], Plan | None],
        nudge: Callable[[], None],
        note: Note,
        randomness: Callable[[], float],
    ) -> None:
        self.plan: Plan | None = None
        self._paths = paths
        self._tail = tail
        self._replan = replan
        self._nudge = nudge
        self._note = note
        self._watches: dict[str, tuple[int, Watch]] = {}
        self._holds: dict[str, tuple[int | None, str | None]] = {}  # port and hardware of what was started
        self._strangers: dict[str, frozenset[int]] = {}  # who listened on its port before it was started
        self.helpers: set[int] = set()
        """Children of the agent that are no services and have someone who waits for them."""
        self._supervisor = ProcessSupervisor(
            ProcessRecords(paths.processes),
            root=paths.root,
            prefix=family_prefix(paths),
            relaunch=self._relaunch,
            changed=lambda instance: self._changed(service_of(instance)),
            note=lambda kind, text, seen: note(kind, text, seen.deployment, seen.service),
            randomness=randomness,
            helpers=self.helpers,
        )

    def _processes(self) -> dict[str, ProcessSeen]:
        return {seen.service: seen for seen in self._supervisor.seen().values()}

    async def adopt(self) -> None:
        """Find what an earlier agent started."""
        await self._supervisor.adopt()
        for seen in self._supervisor.seen().values():
            self._tail.follow(seen.service, self._paths.logs / f"{seen.service}.log", seen.deployment)

    def use(self, plan: Plan | None) -> None:
        """What is live changed: watch those that stay with the checks of now."""
        self.plan = plan
        for name in list(self._processes()):
            self._changed(name)

    def stale(self) -> tuple[str, ...]:
        """Services whose process is not what the plan says."""
        wanted = self.plan.fingerprints if self.plan is not None else {}
        running = {name: seen.fingerprint for name, seen in self._processes().items()}
        return tuple(sorted(name for name in {*wanted, *running} if wanted.get(name) != running.get(name)))

    def fingerprints(self) -> dict[str, str]:
        """Of what runs, or is started again after a delay."""
        return {name: seen.fingerprint for name, seen in self._processes().items()}

    def in_use(self) -> frozenset[DeploymentId]:
        """Deployments that a process runs from."""
        return frozenset(seen.deployment for seen in self._supervisor.seen().values())

    def seen(self) -> dict[str, ServiceSeen]:
        """Every service of the plan that runs as the plan says."""
        if self.plan is None:
            return {}
        found = {}
        for name, process in self._processes().items():
            if self.plan.fingerprints.get(name) != process.fingerprint:
                continue
            watch = self._watches.get(name)
            found[name] = ServiceSeen(
                fingerprint=process.fingerprint,
                alive=process.state is ProcessState.RUNNING,
                exits=process.exits,
                exit=process.exit,
                checks=watch[1].seen() if watch is not None else {},
            )
        return found

    def healthy(self) -> bool:
        """Whether every service of the plan is ready now."""
        seen = self.seen()
        return self.plan is not None and all(name in seen and seen[name].ready for name in self.plan.services)

    def up_at(self, name: str) -> float | None:
        """When (CLOCK_BOOTTIME) its process could serve: ready for the first time, or started when nothing is asked of it but
        to live. None: it could not yet."""
        seen, watch = self._processes().get(name), self._watches.get(name)
        if seen is None or watch is None or seen.pid is None:
            return None
        return seen.started if watch[1].only_process else watch[1].ready_at

    def reports(self) -> tuple[ServiceReport, ...]:
        """Every service, by name."""
        processes = self._processes()
        names = sorted({*processes, *(self.plan.services if self.plan is not None else ())})
        return tuple(self._report(name, processes.get(name)) for name in names)

    async def restart(self, names: tuple[str, ...], stopped: dict[str, float]) -> None:
        """Stop what runs of these and start what the plan says, all at once. A service waits for the end of its own process and
        of any of these that holds its port or hardware. `stopped` gets when (CLOCK_BOOTTIME) each that ran was told to stop."""
        plan = self.plan
        running = [name for name in names if name in self._processes()]
        for name in running:
            stopped[name] = machine.boottime()
        loop = asyncio.get_running_loop()
        stops = {name: loop.create_task(self._stop(name)) for name in running}
        starts = [self._start(plan, name, stops) for name in names if plan is not None and name in plan.services]
        await asyncio.gather(*starts, *stops.values())

    async def stop_all(self) -> None:
        """Stop everything."""
        self.plan = None
        await self._supervisor.stop_all()

    def reap(self) -> None:
        """Bury orphans; called at SIGCHLD."""
        self._supervisor.reap()

    def close(self) -> None:
        """Let go of the processes without touching them."""
        for _, watch in self._watches.values():
            watch.stop()
        self._watches.clear()
        self._supervisor.close()

    async def _stop(self, name: str) -> None:
        plan = self.plan
        known = plan.services.get(name) if plan is not None else None
        seen = self._processes().get(name)
        if seen is not None:
            await self._supervisor.stop(seen.instance, known.stop_grace_s if known is not None else None)
        self._tail.drain(name, ended=True)

    async def _start(self, plan: Plan, name: str, stops: Mapping[str, asyncio.Task[None]]) -> None:
        await asyncio.gather(
            *(stop for other, stop in stops.items() if other == name or self._clash(plan, name, other))
        )
        launch = plan.launch(name)
        assert launch is not None
        self._prepare(launch, plan)
        self._supervisor.start(launch)

    def _clash(self, plan: Plan, name: str, other: str) -> bool:
        """Whether the process of `other`, which is being stopped, may hold what `name` needs. An adopted one may hold anything."""
        wanted = plan.services[name]
        if other not in self._holds:
            return wanted.port is not None or wanted.exclusive is not None
        port, exclusive = self._holds[other]
        return (port is not None and port == wanted.port) or (exclusive is not None and exclusive == wanted.exclusive)

    def _prepare(self, launch: Launch, plan: Plan) -> None:
        service = plan.services[launch.service]
        self._holds[launch.service] = (service.port, service.exclusive)
        port = plan.port(launch.service)
        self._strangers[launch.service] = strangers(port) if port is not None else frozenset()
        (self._paths.state / launch.service).mkdir(parents=True, exist_ok=True)
        try:
            self._tail.follow(launch.service, launch.log, launch.deployment)
        except OSError as error:
            self._note(
                "log_lost", f"the output of {launch.service} is not read: {error.strerror}", None, launch.service
            )

    def _relaunch(self, seen: ProcessSeen) -> Launch | None:
        plan = self._replan()
        if plan is None:
            return None
        self.plan = plan
        launch = plan.launch(seen.service)
        if launch is None or launch.instance != seen.instance:
            return None
        self._prepare(launch, plan)
        return launch

    def _changed(self, name: str) -> None:
        seen, known = self._processes().get(name), self._watches.get(name)
        pid = seen.pid if seen is not None and seen.state is ProcessState.RUNNING else None
        plan = self.plan
        keep = known is not None and known[0] == pid and plan is not None and name in plan.services
        if not keep or (known is not None and plan is not None and known[1].checks != plan.checks(name)):
            if known is not None:
                known[1].stop()
                del self._watches[name]
            if seen is not None and pid is not None and plan is not None and name in plan.services:
                self._watches[name] = (pid, self._watch(plan, seen))
        self._nudge()

    def _watch(self, plan: Plan, seen: ProcessSeen) -> Watch:
        launch = plan.launch(seen.service)
        assert launch is not None
        return Watch(
            launch,
            plan.checks(seen.service),
            port=plan.port(seen.service),
            strangers=self._strangers.get(seen.service, frozenset()),
            offset=plan.config.port_offset,
            started=seen.started,
            changed=self._nudge,
            run_command=self._supervisor.run,
        )

    def _report(self, name: str, process: ProcessSeen | None) -> ServiceReport:
        if process is None:
            return ServiceReport(name=name, state=ServiceState.STOPPED, deployment=None)
        state, detail = self._state(name, process)
        return ServiceReport(
            name=name,
            state=state,
            deployment=process.deployment,
            pid=process.pid if process.state is not ProcessState.BACKING_OFF else None,
            restarts=process.exits,
            since=process.since,
            detail=detail,
        )

    def _state(self, name: str, process: ProcessSeen) -> tuple[ServiceState, str | None]:
        if process.state is ProcessState.STOPPING:
            return ServiceState.STOPPING, None
        if process.state is ProcessState.BACKING_OFF:
            return ServiceState.BACKING_OFF, process.exit
        watch = self._watches.get(name)
        checks = watch[1].seen() if watch is not None else {}
        if any(check.verdict is Verdict.FAILING for check in checks.values()):
            return ServiceState.UNHEALTHY, next((check.error for check in checks.values() if check.error), None)
        if watch is None or any(check.verdict is Verdict.WAITING for check in checks.values()):
            return ServiceState.STARTING, next((check.error for check in checks.values() if check.error), None)
        return ServiceState.READY, None
