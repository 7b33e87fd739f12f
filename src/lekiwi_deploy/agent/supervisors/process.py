"""Services as plain processes: each leads its own session, writes to its own log file, and outlives the agent.

A new agent adopts what an earlier one started (by pid, start time and boot). Ends are noticed through pidfds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.supervisors import families
from lekiwi_deploy.agent.supervisors.records import ProcessRecord, ProcessRecords, open_same, start_ticks
from lekiwi_deploy.agent.supervisors.spawn import bury, gone, signal_group, spawn
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState, instance_id
from lekiwi_deploy.robot.backoff import restart_delay

_STEADY_S = 30.0
"""A process that lived for so long starts its back-off over."""
_KILL_S = 5.0
"""How long a killed process may take to vanish before we go on without it (it hangs in the kernel)."""


@dataclass
class _Service:
    seen: ProcessSeen
    family: str
    grace_s: float
    pidfd: int = -1
    adopted: bool = False
    streak: int = 0
    retry: asyncio.TimerHandle | None = None
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ProcessSupervisor:
    """See `Supervisor`. `relaunch`: how to start a service again, None: not at all. `changed` is told the service's name,
    `note` what happened, in a word and a sentence, for the robot's history."""

    def __init__(
        self,
        records: ProcessRecords,
        *,
        relaunch: Callable[[str], Launch | None],
        changed: Callable[[str], None],
        note: Callable[[str, str, ProcessSeen], None],
        randomness: Callable[[], float],
    ) -> None:
        self._records = records
        self._relaunch = relaunch
        self._changed = changed
        self._note = note
        self._randomness = randomness
        self._services: dict[str, _Service] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.helpers: set[int] = set()
        """Children that are no services and have someone who waits for them."""

    def seen(self) -> Mapping[str, ProcessSeen]:
        """Every service that is not stopped."""
        return {name: service.seen for name, service in self._services.items()}

    async def adopt(self, families_prefix: str) -> None:
        """Find the processes of an earlier agent; end those that it could not write down any more."""
        boot = machine.boot_id()
        for record in self._records.read():
            pidfd = open_same(record, boot)
            if pidfd is None:
                self._records.remove(record.service)
                continue
            seen = ProcessSeen(
                instance=instance_id(record.service, record.fingerprint),
                service=record.service,
                state=ProcessState.RUNNING,
                deployment=record.deployment,
                fingerprint=record.fingerprint,
                pid=record.pid,
                started=record.started,
                since=record.since,
                exits=record.exits,
            )
            service = _Service(seen, record.family, record.grace_s, pidfd=pidfd, adopted=True)
            self._services[record.service] = service
            self._watch(service)
        sessions = {service.seen.pid for service in self._services.values() if service.seen.pid is not None}
        await _wait_all(families.kill(families.strays(families_prefix, sessions)))

    def start(self, launch: Launch) -> None:
        """Start a service that is stopped."""
        assert launch.service not in self._services, launch.service
        self._start(launch, exits=0, streak=0)

    async def stop(self, name: str, grace_s: float | None = None) -> None:
        """SIGTERM to the group, SIGKILL after `grace_s`, then to all that it left behind."""
        service = self._services.get(name)
        if service is None:
            return
        grace_s = service.grace_s if grace_s is None else grace_s
        if service.retry is not None:
            service.retry.cancel()
            service.retry = None
        service.stopping = True
        pid = service.seen.pid
        if service.pidfd >= 0 and pid is not None:
            service.seen = replace(service.seen, state=ProcessState.STOPPING)
            self._changed(name)
            signal_group(pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_s):
                    await service.ended.wait()
            except TimeoutError:
                self._note("killed", f"{name} did not stop within {grace_s:g} s and was killed", service.seen)
                signal_group(pid, signal.SIGKILL)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_KILL_S):
                        await service.ended.wait()
        await self._finish_off(service)
        if self._services.get(name) is service:
            del self._services[name]
            self._records.remove(name)
        self._changed(name)

    async def stop_all(self) -> None:
        """Stop every service, all at once."""
        await asyncio.gather(*(self.stop(name) for name in list(self._services)))

    def reap(self) -> None:
        """Bury orphans that were handed to us; called at SIGCHLD."""
        families.reap(self._known())

    def close(self) -> None:
        """Let go of the services without touching them."""
        loop = asyncio.get_running_loop()
        for service in self._services.values():
            if service.retry is not None:
                service.retry.cancel()
            if service.pidfd >= 0:
                loop.remove_reader(service.pidfd)
                os.close(service.pidfd)
                service.pidfd = -1
        self._services.clear()

    def _known(self) -> set[int]:
        pids = {service.seen.pid for service in self._services.values() if service.seen.pid is not None}
        return pids | self.helpers

    def _start(self, launch: Launch, *, exits: int, streak: int) -> None:
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
        )
        service = _Service(seen, launch.family, launch.grace_s, streak=streak)
        self._services[launch.service] = service
        try:
            pid, service.pidfd = self._spawn(launch)
        except (OSError, ValueError) as error:
            text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self._after_end(service, f"cannot be started: {launch.run[0]}: {text}")
            return
        fp("service.after_spawn")
        service.seen = replace(seen, pid=pid)
        self._write(service)
        self._watch(service)
        self._changed(launch.service)

    def _spawn(self, launch: Launch) -> tuple[int, int]:
        try:
            output = os.open(launch.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:  # a full disk must not keep a service from starting
            output = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            self._note(
                "log_lost",
                f"the output of {launch.service} cannot be kept: {error.strerror}",
                self._services[launch.service].seen,
            )
        try:
            return spawn(launch.run, folder=launch.folder, environment=launch.environment, output=output)
        finally:
            os.close(output)

    def _write(self, service: _Service) -> None:
        seen = service.seen
        assert seen.pid is not None
        record = ProcessRecord(
            service=seen.service,
            pid=seen.pid,
            ticks=start_ticks(seen.pid) or 0,
            boot=machine.boot_id(),
            started=seen.started,
            since=seen.since,
            deployment=seen.deployment,
            fingerprint=seen.fingerprint,
            family=service.family,
            grace_s=service.grace_s,
            exits=seen.exits,
        )
        try:
            self._records.write(record)
        except OSError as error:
            self._note(
                "not_recorded", f"{seen.service} would not be found by a new agent: {error.strerror}", service.seen
            )

    def _watch(self, service: _Service) -> None:
        asyncio.get_running_loop().add_reader(service.pidfd, self._on_end, service)

    def _on_end(self, service: _Service) -> None:
        assert service.seen.pid is not None
        # While the leader is a zombie its number cannot be given to anyone else: the moment to kill what it left behind.
        signal_group(service.seen.pid, signal.SIGKILL)
        how = bury(service.pidfd)
        asyncio.get_running_loop().remove_reader(service.pidfd)
        os.close(service.pidfd)
        service.pidfd = -1
        service.ended.set()
        if service.stopping:
            return
        if machine.boottime() - service.seen.started >= _STEADY_S:
            service.streak = 0
        self._after_end(service, how)

    def _after_end(self, service: _Service, how: str) -> None:
        service.streak += 1
        delay = restart_delay(service.streak, self._randomness())
        service.seen = replace(
            service.seen,
            state=ProcessState.BACKING_OFF,
            exits=service.seen.exits + 1,
            exit=how,
            since=machine.utc_now(),
        )
        service.ended.set()
        self._records.remove(service.seen.service)
        self._note("exited", f"{service.seen.service} {how}; starts again in {delay:.1f} s", service.seen)
        service.retry = asyncio.get_running_loop().call_later(delay, self._retry, service)
        self._changed(service.seen.service)

    def _retry(self, service: _Service) -> None:
        service.retry = None
        task = asyncio.get_running_loop().create_task(self._again(service))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, service: _Service) -> None:
        await self._finish_off(service)
        name = service.seen.service
        if service.stopping or self._services.get(name) is not service:
            return
        launch = self._relaunch(name)
        if launch is None:
            del self._services[name]
            self._changed(name)
            return
        same = launch.fingerprint == service.seen.fingerprint
        self._start(launch, exits=service.seen.exits if same else 0, streak=service.streak if same else 0)

    async def _finish_off(self, service: _Service) -> None:
        """End what the service started and left behind: orphans come to us, unless an earlier agent started it."""
        pid = service.seen.pid
        if pid is None:
            return
        pool: Collection[int] | None = None if service.adopted else families.children().difference(self._known())
        for _ in range(8):  # what is being killed may fork once more
            if not pool and not service.adopted:
                return
            left = families.members(pool, pid, service.family)
            if not left:
                return
            await _wait_all(families.kill(left))
            self.reap()
            pool = None if service.adopted else families.children().difference(self._known())


async def _wait_all(pidfds: list[int]) -> None:
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_S):
                for fd in pidfds:
                    await gone(fd)
    finally:
        for fd in pidfds:
            os.close(fd)
