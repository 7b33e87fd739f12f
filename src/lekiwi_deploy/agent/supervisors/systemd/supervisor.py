"""Services as systemd units. systemd runs them, and goes on while there is no agent; this decides when, and counts.

What is known of an instance comes from systemd's signals; a slow timer reads everything again, in case one was missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState, Told
from lekiwi_deploy.agent.supervisors.systemd.boot import BootSets
from lekiwi_deploy.agent.supervisors.systemd.bus import ADDRESS
from lekiwi_deploy.agent.supervisors.systemd.command import Commands
from lekiwi_deploy.agent.supervisors.systemd.ending import end, hold_still, let_go_on
from lekiwi_deploy.agent.supervisors.systemd.facts import Facts, ending, updated
from lekiwi_deploy.agent.supervisors.systemd.files import UnitFiles
from lekiwi_deploy.agent.supervisors.systemd.finding import clear_away, end_commands, find
from lekiwi_deploy.agent.supervisors.systemd.ground import look
from lekiwi_deploy.agent.supervisors.systemd.manager import Manager, Properties
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.agent.supervisors.systemd.record import record_of
from lekiwi_deploy.agent.supervisors.systemd.state import Instance, came_up
from lekiwi_deploy.agent.supervisors.systemd.unit import RESTART_S, Unit, service_unit
from lekiwi_deploy.errors import LekiwiError, Unavailable
from lekiwi_deploy.robot.backoff import restart_delay
from lekiwi_deploy.wire.ids import InstanceId

_SHUTDOWN = "shutdown.target"
_STEADY_S = 30.0
"""A process that lived for so long starts its back-off over."""
_LOOK_EVERY_S = 30.0
_AGAIN_S = 0.5
"""When systemd cannot be spoken to."""


class SystemdSupervisor:
    """See `Supervisor`. `relaunch`: how to start an instance again, None: not at all. `changed` is told the instance's id, `note` what
    happened, in a word and a sentence, for the robot's history."""

    def __init__(
        self,
        paths: Paths,
        *,
        relaunch: Callable[[ProcessSeen], Launch | None],
        changed: Callable[[InstanceId], None],
        note: Callable[[str, str, ProcessSeen], None],
        randomness: Callable[[], float],
        address: str = ADDRESS,
    ) -> None:
        self._paths = paths
        self._relaunch = relaunch
        self._changed = changed
        self._note = note
        self._randomness = randomness
        self._files = UnitFiles(Places(paths.root))
        self._manager = Manager(back=self._look_again, trouble=self._trouble, address=address)
        self._commands = Commands(paths, self._files, self._manager)
        self._boot = BootSets(self._files.places)
        self._instances: dict[InstanceId, Instance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._adopted = False
        self._shutdown = False
        """The machine is being switched off: what ends now is no exit."""

    def seen(self) -> Mapping[InstanceId, ProcessSeen]:
        """Every instance that is not stopped."""
        return {id: instance.seen for id, instance in self._instances.items()}

    async def adopt(self) -> None:
        """Find what an earlier agent, or the boot, started; end what nobody could say anything of. Raises `Unavailable` without a bus."""
        self._files.make()
        await self._manager.open()
        self._manager.watch(_SHUTDOWN, self._shutting_down)
        await end_commands(self._manager)
        await self._find()
        clear_away(self._files, {known.unit for known in self._instances.values()})
        self._adopted = True
        self._spawn(self._look_now_and_then())

    def start(self, launch: Launch) -> None:
        """Start an instance that is stopped. Its pid is not known yet when this returns."""
        assert launch.instance not in self._instances, launch.instance
        self._begin(launch, exits=0, streak=0)

    async def stop(self, instance: InstanceId, grace_s: float | None = None) -> None:
        """SIGTERM to all its processes, SIGKILL after `grace_s`; returns when its control group is empty."""
        known = self._instances.get(instance)
        if known is None:
            return
        known.stopping = True
        known.cancel_retry()
        if known.alive:
            known.seen = replace(known.seen, state=ProcessState.STOPPING)
            self._changed(instance)
        async with known.turn:
            if self._instances.get(instance) is not known:
                return
            while True:
                try:
                    await self._end(known, known.record.grace_s if grace_s is None else grace_s)
                    break
                except LekiwiError as error:
                    self._trouble(f"{instance} cannot be stopped yet: {error.message}")
                    await asyncio.sleep(_AGAIN_S)
            self._forget(known)

    def hold_down(self, instance: InstanceId, held: bool = True) -> None:
        """When it exits, it is not started again; `held` false: it is, as any other."""
        known = self._instances.get(instance)
        if known is None:
            return
        known.held = held
        if held and known.seen.state is ProcessState.BACKING_OFF:
            known.cancel_retry()
            self._spawn(self._drop(known))

    def pause(self, instance: InstanceId) -> None:
        """All its processes stand still until `resume`."""
        self._spawn(self._freeze(instance, True))

    def resume(self, instance: InstanceId) -> None:
        """Let it go on."""
        self._spawn(self._freeze(instance, False))

    async def run(
        self, launch: Launch, command: tuple[str, ...], timeout_s: float
    ) -> tuple[str | None, tuple[str, ...]]:
        """See `Supervisor`."""
        return await self._commands.run(launch, command, timeout_s)

    async def keep_for_boot(self, launches: tuple[Launch, ...]) -> None:
        """Exactly these are started at boot, with the forwarded ports that `Traffic.keep_for_boot` wrote before; durable on return.
        Raises `BadInput`, `OSError`."""
        units = [self._unit(launch) for launch in launches]
        locks = [launch.lock.name for launch in launches if launch.lock is not None]
        await asyncio.to_thread(self._boot.keep, units, locks)

    async def stop_all(self) -> None:
        """Stop every instance, all at once."""
        await asyncio.gather(*(self.stop(instance) for instance in list(self._instances)))

    def close(self) -> None:
        """Let go of the instances without touching them."""
        for known in self._instances.values():
            known.cancel_retry()
        for task in self._tasks:
            task.cancel()
        self._manager.close()
        self._instances.clear()

    def _begin(self, launch: Launch, *, exits: int, streak: int) -> None:
        seen = ProcessSeen(
            instance=launch.instance,
            service=launch.service,
            state=ProcessState.RUNNING,
            deployment=launch.deployment,
            fingerprint=launch.fingerprint,
            pid=None,
            started=machine.boottime(),
            since=machine.utc_now(),
            exits=exits,
            port=launch.port,
        )
        known = Instance(record_of(launch), seen, streak=streak)
        self._instances[launch.instance] = known
        self._order(known, launch, again=False)

    def _order(self, known: Instance, launch: Launch, *, again: bool) -> None:
        """What systemd says until it has taken on the order is of the time before."""
        known.asked = True
        known.orders += 1
        self._spawn(self._launch(known, launch, again=again))

    async def _launch(self, known: Instance, launch: Launch, *, again: bool) -> None:
        async with known.turn:
            if known.stopping or self._instances.get(launch.instance) is not known:
                known.asked = False
                return
            try:
                unit = self._unit(launch)
                self._files.write(unit)
                if launch.lock is not None:
                    self._files.make_lock(launch.lock)
                await self._taken_on(known, unit.name, again)
                fp("service.after_spawn")
            except (LekiwiError, OSError) as error:
                known.asked = False
                text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
                self._ended(known, f"cannot be started: {text}")
                return
            known.asked = False
        self._count(known)

    async def _taken_on(self, known: Instance, unit: str, again: bool) -> None:
        """Until systemd has taken on the order. That it cannot be spoken to is not the service's fault."""
        while True:
            try:
                await self._into(known, unit)
                await (self._manager.restart if again else self._manager.start)(unit)
                return
            except Unavailable as error:
                self._trouble(f"{known.seen.instance} cannot be started yet: {error.message}")
                await asyncio.sleep(_AGAIN_S)
                if known.stopping:
                    return

    def _unit(self, launch: Launch) -> Unit:
        return service_unit(launch, look(launch, launch.run[0], self._paths, self._files.places))

    async def _into(self, known: Instance, unit: str) -> None:
        """From now on that is its unit."""
        old = known.unit
        if old == unit:
            return
        if old:  # it has ended in there, and may be waiting for systemd's delay
            self._manager.unwatch(old)
            await self._manager.stop(old)
            await self._manager.reset_failed(old)
            self._files.remove(old)
        known.unit, known.facts = unit, Facts()
        self._watch(known)

    def _watch(self, known: Instance) -> None:
        self._manager.watch(known.unit, lambda properties: self._news(known, properties))

    def _news(self, known: Instance, properties: Properties) -> None:
        known.facts = updated(known.facts, properties)
        if not known.asked and self._instances.get(known.seen.instance) is known:
            self._judge(known)

    def _shutting_down(self, properties: Properties) -> None:
        self._shutdown = self._shutdown or not updated(Facts(), properties).over

    def _judge(self, known: Instance) -> None:
        before, facts = known.seen, known.facts
        known.news.set()
        if facts.over:
            if not known.stopping and before.state is not ProcessState.BACKING_OFF:
                self._ended(known, ending(facts, known.record.watchdog_s))
            return
        if before.state is ProcessState.BACKING_OFF and facts.started == known.process:
            return  # it is still being cleared away
        known.cancel_retry()
        since = datetime.fromtimestamp(facts.started_wall / 1e6, UTC)
        extra = came_up(known, time.monotonic(), machine.boottime(), since)
        if extra and before.state is not ProcessState.BACKING_OFF:
            self._note("exited", f"{before.service} was started again by systemd", known.seen)
        if known.seen != before:
            if known.seen.pid != before.pid:
                self._count(known)
            self._changed(before.instance)

    def _ended(self, known: Instance, how: str) -> None:
        if self._shutdown:
            return
        seen, facts = known.seen, known.facts
        now = machine.boottime()
        ended = now - time.monotonic() + facts.ended / 1e6 if facts.ended else now
        if ended - seen.started >= _STEADY_S:
            known.streak = 0
        known.streak += 1
        delay = restart_delay(known.streak, self._randomness())
        known.seen = replace(
            seen,
            state=ProcessState.BACKING_OFF,
            exits=seen.exits + 1,
            exit=how,
            ended=ended,
            since=machine.utc_now(),
            paused=False,
        )
        self._count(known)
        if known.held:
            self._note("exited", f"{seen.service} {how}; it is not started again", known.seen)
            self._spawn(self._drop(known))
            return
        self._note("exited", f"{seen.service} {how}; starts again in {delay:.1f} s", known.seen)
        if facts.waits and delay >= RESTART_S - 1:
            self._spawn(self._quietly(self._manager.stop(known.unit)))
        known.retry = asyncio.get_running_loop().call_later(delay, self._retry, known)
        self._changed(seen.instance)

    def _retry(self, known: Instance) -> None:
        known.retry = None
        launch = self._relaunch(known.seen)
        if launch is None or launch.instance != known.seen.instance:
            self._spawn(self._drop(known))
            return
        known.record = record_of(launch)
        known.seen = replace(
            known.seen,
            state=ProcessState.RUNNING,
            deployment=launch.deployment,
            fingerprint=launch.fingerprint,
            port=launch.port,
            pid=None,
            started=machine.boottime(),
            since=machine.utc_now(),
            told=Told(),
        )
        known.process = 0
        self._changed(known.seen.instance)
        self._order(known, launch, again=True)

    async def _end(self, known: Instance, grace_s: float) -> None:
        seen = known.seen
        if await end(self._manager, known, grace_s):
            self._note("killed", f"{seen.service} did not stop within {grace_s:g} s and was killed", seen)

    async def _drop(self, known: Instance) -> None:
        """It has ended and is not started again."""
        known.stopping = True
        async with known.turn:
            if self._instances.get(known.seen.instance) is known:
                await self._quietly(self._end(known, known.record.grace_s))
                self._forget(known)

    def _forget(self, known: Instance) -> None:
        known.cancel_retry()
        if known.unit:
            self._manager.unwatch(known.unit)
        self._files.remove_all(known.seen.instance)
        del self._instances[known.seen.instance]
        self._changed(known.seen.instance)

    async def _freeze(self, instance: InstanceId, wanted: bool) -> None:
        known = self._instances.get(instance)
        if known is None:
            return
        async with known.turn:
            if known.stopping or not known.alive or self._instances.get(instance) is not known:
                return
            try:
                await (hold_still if wanted else let_go_on)(self._manager, known)
            except LekiwiError as error:
                self._trouble(f"{instance} cannot be {'paused' if wanted else 'resumed'}: {error.message}")
                return
            known.seen = replace(known.seen, paused=wanted)
            self._count(known)
            self._changed(instance)

    async def _look_again(self) -> None:
        if not self._adopted:
            return
        for known in list(self._instances.values()):
            if not known.unit or known.asked:
                continue
            orders = known.orders
            facts = await self._manager.facts(known.unit)
            if known.orders == orders and self._instances.get(known.seen.instance) is known:
                known.facts = facts
                self._judge(known)
        await self._find()

    async def _find(self) -> None:
        ours = {id: known.unit for id, known in self._instances.items()}
        for known in await find(self._manager, self._files, ours):
            if known.seen.instance in self._instances:
                continue
            self._instances[known.seen.instance] = known
            self._watch(known)
            self._judge(known)

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self._quietly(self._look_again())

    def _count(self, known: Instance) -> None:
        try:
            self._files.count(known.seen.instance, known.counted())
        except OSError as error:
            self._note(
                "not_recorded", f"a new agent would not know of {known.seen.service}: {error.strerror}", known.seen
            )

    async def _quietly(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except (LekiwiError, OSError) as error:
            self._trouble(str(error))

    def _trouble(self, text: str) -> None:
        for known in list(self._instances.values())[:1]:
            self._note("trouble", text, known.seen)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
