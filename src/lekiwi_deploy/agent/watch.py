"""Watching the health checks of one process: probes when `robot/health.py` says, and tells when a verdict changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lekiwi_deploy.agent import machine, probes
from lekiwi_deploy.agent.listeners import listeners
from lekiwi_deploy.agent.supervisors.supervisor import Launch
from lekiwi_deploy.robot.health import (
    CheckState,
    Verdict,
    after_probe,
    check_key,
    next_probe_in,
    probe_timeout,
    verdict,
)
from lekiwi_deploy.robot.trial import CheckSeen
from lekiwi_deploy.wire.manifest import CommandCheck, HealthCheck, HttpCheck, ProcessCheck, TcpCheck

_LONGEST_S = 3600.0
RunCommand = Callable[[Launch, tuple[str, ...], float], Awaitable[tuple[str | None, tuple[str, ...]]]]
"""`Supervisor.run`."""


class Watch:
    """Of the process that `launch` started. Its first success must come within its time from now; a process is settled so long after
    `started` (CLOCK_BOOTTIME). `port` is where it listens, `public` where the service is reached; `strangers`: who listened on `port` before that
    process was started; `is_strangers`: whether another program listens on a port, asked of the first answer on `port`; `offset` is added to
    ports that a check names. `ready_at`: when every check passed for the first time."""

    def __init__(
        self,
        launch: Launch,
        checks: tuple[HealthCheck, ...],
        *,
        port: int | None,
        public: int | None,
        strangers: frozenset[int],
        offset: int,
        started: float,
        changed: Callable[[], None],
        run_command: RunCommand,
        is_strangers: Callable[[int], bool] | None = None,
    ) -> None:
        self.checks = checks
        self.ready_at: float | None = None
        self._launch = launch
        self._port = port
        self._public = public
        self._strangers = strangers
        self._offset = offset
        self._changed = changed
        self._run_command = run_command
        self._is_strangers = is_strangers
        # A process that has been there for long is asked for the first time now: it has its time from now on to answer.
        asked = max(started, machine.boottime())
        self._states = {
            self._key(check): CheckState(started if isinstance(check, ProcessCheck) else asked) for check in checks
        }
        self._told: dict[str, Verdict] = {}
        self._tasks = [asyncio.get_running_loop().create_task(self._run(check)) for check in checks]

    def seen(self) -> dict[str, CheckSeen]:
        """Every check, now."""
        now = machine.boottime()
        return {
            key: CheckSeen(verdict(self._states[key], check, now), self._states[key].error)
            for check in self.checks
            for key in (self._key(check),)
        }

    def passes(self) -> bool:
        """Whether every check passes now."""
        now = machine.boottime()
        return all(verdict(self._states[self._key(check)], check, now) is Verdict.PASSING for check in self.checks)

    def fails(self) -> bool:
        """Whether a check has had its time and does not pass."""
        now = machine.boottime()
        return any(verdict(self._states[self._key(check)], check, now) is Verdict.FAILING for check in self.checks)

    def stop(self) -> None:
        """Watch no more."""
        for task in self._tasks:
            task.cancel()

    @property
    def only_process(self) -> bool:
        """Whether nothing is asked of it but to live."""
        return all(isinstance(check, ProcessCheck) for check in self.checks)

    def _key(self, check: HealthCheck) -> str:
        return check_key(check, self._public)

    async def _run(self, check: HealthCheck) -> None:
        key = self._key(check)
        while True:
            state, now = self._states[key], machine.boottime()
            if isinstance(check, ProcessCheck):
                self._tell(key, verdict(state, check, now))
                wait = next_probe_in(state, check, now)
                if wait <= 0:
                    return
                await asyncio.sleep(wait)
                continue
            await asyncio.sleep(min(_LONGEST_S, next_probe_in(state, check, now)))
            error = await self._probe(check, probe_timeout(self._states[key], check, machine.boottime()))
            self._states[key] = after_probe(self._states[key], error)
            self._tell(key, verdict(self._states[key], check, machine.boottime()))

    def _tell(self, key: str, now: Verdict) -> None:
        if self._told.get(key) is now:
            return
        self._told[key] = now
        complete = len(self._told) == len(self._states)
        if self.ready_at is None and complete and set(self._told.values()) == {Verdict.PASSING}:
            self.ready_at = machine.boottime()
        self._changed()

    async def _probe(self, check: HealthCheck, timeout_s: float) -> str | None:
        match check:
            case HttpCheck(path=path):
                port = self._where(check.port)
                if port is None:
                    return "the service has no port"
                return await probes.http(port, path, timeout_s) or self._stranger(port)
            case TcpCheck():
                port = self._where(check.port)
                if port is None:
                    return "the service has no port"
                return await probes.tcp(port, timeout_s) or self._stranger(port)
            case CommandCheck(run=run):
                return (await self._run_command(self._launch, run, timeout_s))[0]
            case ProcessCheck():
                return None

    def _stranger(self, port: int) -> str | None:
        """Why an answer on the service's own port is not the service's: only those listen there who did before it was started."""
        if port == self._port and self._is_strangers is not None:
            if self._is_strangers(port):
                return f"port {port} is answered by another program, which was quicker than {self._launch.service}"
            self._is_strangers = None  # it has it now
            return None
        if port != self._port or not self._strangers or not listeners(port) <= self._strangers:
            return None
        return f"port {port} is answered by another program, which had it before {self._launch.service} was started"

    def _where(self, named: int | None) -> int | None:
        """What a check asks for on the service's public port is asked of this process."""
        where = self._port if named is None else named + self._offset
        return self._port if where == self._public else where
