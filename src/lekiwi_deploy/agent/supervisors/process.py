"""Instances as plain processes: each leads its own session, writes to its own log file, and outlives the agent.

A new agent adopts what an earlier one started (by pid, start time and boot). Ends are noticed through pidfds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.supervisors import families
from lekiwi_deploy.agent.supervisors.commands import run_command
from lekiwi_deploy.agent.supervisors.ending import KILL_S, finish_off, signal_all, wait_all
from lekiwi_deploy.agent.supervisors.notify import NotifySocket, address
from lekiwi_deploy.agent.supervisors.records import ProcessRecord, ProcessRecords, is_paused, open_same
from lekiwi_deploy.agent.supervisors.running import Running
from lekiwi_deploy.agent.supervisors.spawn import bury, signal_group, spawn
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState
from lekiwi_deploy.agent.supervisors.told import after_message
from lekiwi_deploy.robot.backoff import restart_delay
from lekiwi_deploy.wire.ids import InstanceId

_STEADY_S = 30.0
"""A process that lived for so long starts its back-off over."""
_ABORT_S = 2.0
"""How long one that missed its watchdog has for a core dump."""


class ProcessSupervisor:
    """See `Supervisor`. `root`: the robot's root folder; `prefix`: what the variable assignment begins with that every process of its
    services inherits. `relaunch`: how to start an instance again, None: not at all. `note` is told what happened, in a word and a sentence,
    for the robot's history. `helpers`: children of the agent that are no services and have someone who waits for them."""

    def __init__(
        self,
        records: ProcessRecords,
        *,
        root: Path,
        prefix: str,
        relaunch: Callable[[ProcessSeen], Launch | None],
        changed: Callable[[InstanceId], None],
        note: Callable[[str, str, ProcessSeen], None],
        randomness: Callable[[], float],
        helpers: set[int],
    ) -> None:
        self._records = records
        self._root = root
        self._prefix = prefix
        self._relaunch = relaunch
        self._changed = changed
        self._note = note
        self._randomness = randomness
        self._helpers = helpers
        self._instances: dict[InstanceId, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def seen(self) -> Mapping[InstanceId, ProcessSeen]:
        """See `Supervisor`."""
        return {instance: running.seen for instance, running in self._instances.items()}

    async def adopt(self) -> None:
        """See `Supervisor`."""
        boot = machine.boot_id()
        for record in self._records.read():
            pidfd = open_same(record, boot)
            if pidfd is None:
                self._records.remove(record.instance)
            else:
                self._adopt(record, pidfd)
        known = {running.family for running in self._instances.values()}
        await wait_all(families.kill(families.strays(self._prefix, self._pids(), known)))

    def start(self, launch: Launch) -> None:
        """See `Supervisor`."""
        assert launch.instance not in self._instances, launch.instance
        self._start(launch, exits=0, streak=0)

    async def stop(self, instance: InstanceId, grace_s: float | None = None) -> None:
        """SIGTERM to the group, SIGKILL after `grace_s`, then to all that it left behind."""
        running = self._instances.get(instance)
        if running is None:
            return
        grace_s = running.grace_s if grace_s is None else grace_s
        running.stopping = True
        if running.retry is not None:
            running.retry.cancel()
        pid = running.seen.pid
        if running.pidfd >= 0 and pid is not None:
            running.seen = replace(running.seen, state=ProcessState.STOPPING)
            self._changed(instance)
            signal_group(pid, signal.SIGTERM)
            self._let_go_on(running)
            try:
                async with asyncio.timeout(grace_s):
                    await running.ended.wait()
            except TimeoutError:
                text = f"{running.seen.service} did not stop within {grace_s:g} s and was killed"
                self._note("killed", text, running.seen)
                signal_group(pid, signal.SIGKILL)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KILL_S):
                        await running.ended.wait()
        await self._finish_off(running)
        self._forget(running)

    def hold_down(self, instance: InstanceId, held: bool = True) -> None:
        """See `Supervisor`."""
        running = self._instances.get(instance)
        if running is None or running.held == held:
            return
        running.held = held
        if running.pidfd >= 0:
            self._write(running)
        elif held and not running.stopping:
            self._later(self._bury_held(running))

    def pause(self, instance: InstanceId) -> None:
        """SIGSTOP to its group and to whatever it started beside."""
        running = self._instances.get(instance)
        if running is None or running.pidfd < 0 or running.stopping:
            return
        signal_all(running, signal.SIGSTOP, self._known())
        running.seen = replace(running.seen, paused=True)
        self._changed(instance)

    def resume(self, instance: InstanceId) -> None:
        """See `Supervisor`."""
        running = self._instances.get(instance)
        if running is not None and running.seen.paused:
            self._let_go_on(running)
            self._changed(instance)

    async def run(
        self, launch: Launch, command: tuple[str, ...], timeout_s: float
    ) -> tuple[str | None, tuple[str, ...]]:
        """See `Supervisor`. If this agent dies meanwhile, the next one ends it."""
        if launch.trouble is not None:
            return launch.trouble, ()
        name, _, mark = launch.family.partition("=")
        environment = {**launch.environment, name: f"{mark}#command"}
        launch.state.mkdir(parents=True, exist_ok=True)
        return await run_command(command, launch.folder, environment, timeout_s, self._helpers, launch.hide)

    async def keep_for_boot(self, launches: tuple[Launch, ...]) -> None:
        """Nothing: at boot there are no processes before the agent starts them."""

    async def stop_all(self) -> None:
        """See `Supervisor`."""
        await asyncio.gather(*(self.stop(instance) for instance in list(self._instances)))

    def reap(self) -> None:
        """Bury orphans that were handed to us; called at SIGCHLD."""
        families.reap(self._known())

    def close(self) -> None:
        """See `Supervisor`."""
        loop = asyncio.get_running_loop()
        for running in self._instances.values():
            running.release()
            if running.pidfd >= 0:
                loop.remove_reader(running.pidfd)
                os.close(running.pidfd)
                running.pidfd = -1
        self._instances.clear()

    # --- starting

    def _adopt(self, record: ProcessRecord, pidfd: int) -> None:
        # older agents did not write it down
        port = families.port_of(record.pid) if record.port is None else record.port
        seen = replace(record.seen(), paused=is_paused(record.pid), port=port)
        running = Running(
            seen,
            record.family,
            record.grace_s,
            notify=record.notify,
            watchdog_s=record.watchdog_s,
            pidfd=pidfd,
            adopted=True,
            held=record.held,
        )
        self._instances[record.instance] = running
        self._listen(running)
        self._watch(running)
        if record.notify and not record.told.ready and record.told.waiting_for is None:
            # It may have said that it is ready when no agent listened, and says it only once.
            self._later(self.stop(record.instance))

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
            port=launch.port,
        )
        running = Running(
            seen,
            launch.family,
            launch.grace_s,
            notify=launch.notify,
            watchdog_s=launch.watchdog_s,
            streak=streak,
            launch=launch,
        )
        self._instances[launch.instance] = running
        if launch.notify or launch.lock is not None or launch.watchdog_s is not None:
            self._listen(running)
        try:
            pid, running.pidfd = self._spawn(launch, running)
        except (OSError, ValueError) as error:
            text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self._after_end(running, f"cannot be started: {launch.run[0]}: {text}")
            return
        fp("service.after_spawn")
        running.seen = replace(seen, pid=pid)
        self._write(running)
        self._watch(running)
        self._changed(launch.instance)

    def _spawn(self, launch: Launch, running: Running) -> tuple[int, int]:
        if launch.trouble is not None:
            raise ValueError(launch.trouble)
        environment = dict(launch.environment)
        if running.socket is not None:
            environment["NOTIFY_SOCKET"] = address(self._root, launch.instance)
            if launch.watchdog_s is not None:
                environment["WATCHDOG_USEC"] = str(int(launch.watchdog_s * 1e6))
        try:
            output = os.open(launch.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:  # a full disk must not keep a service from starting
            output = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            self._note("log_lost", f"the output of {launch.service} cannot be kept: {error.strerror}", running.seen)
        try:
            return spawn(launch.run, folder=launch.folder, environment=environment, output=output)
        finally:
            os.close(output)

    def _listen(self, running: Running) -> None:
        name = address(self._root, running.seen.instance)
        try:
            running.socket = NotifySocket(name, lambda data, pid, uid: self._heard(running, data, pid, uid))
        except OSError as error:
            text = f"{running.seen.service} cannot tell how it is: its socket {name} is in use: {error.strerror}"
            self._note("trouble", text, running.seen)

    def _watch(self, running: Running) -> None:
        asyncio.get_running_loop().add_reader(running.pidfd, self._on_end, running)
        if not running.notify or running.seen.told.ready:
            running.feed(self._bark)

    def _write(self, running: Running) -> None:
        if running.seen.pid is None:
            return
        try:
            self._records.write(running.record(machine.boot_id()))
        except OSError as error:
            text = f"{running.seen.service} would not be found by a new agent: {error.strerror}"
            self._note("not_recorded", text, running.seen)

    # --- what it says

    def _heard(self, running: Running, data: bytes, pid: int, uid: int) -> None:
        seen = running.seen
        if seen.pid is None or running.pidfd < 0 or not families.may_speak(pid, uid, seen.pid, running.family):
            return
        heard = after_message(seen.told, data, machine.monotonic())
        before, running.seen = seen.told, replace(seen, told=heard.told)
        if heard.failed:
            self._abort(running, "said that it hangs")
        elif heard.alive or (heard.told.ready and not before.ready):
            running.feed(self._bark)
        if replace(heard.told, status=before.status) != before:
            self._write(running)
            self._changed(seen.instance)

    def _bark(self, running: Running) -> None:
        dog = running.dog
        if running.socket is not None:
            running.socket.read()  # we may be late ourselves: what it said meanwhile counts
        if running.dog is dog and running.pidfd >= 0 and not running.seen.paused:
            running.dog = None
            self._abort(running, f"gave no sign of life for {running.watchdog_s:g} s")

    def _abort(self, running: Running, why: str) -> None:
        pid, running.why = running.seen.pid, why
        assert pid is not None
        signal_group(pid, signal.SIGABRT)
        self._let_go_on(running)
        running.dog = asyncio.get_running_loop().call_later(_ABORT_S, signal_group, pid, signal.SIGKILL)

    # --- pausing

    def _let_go_on(self, running: Running) -> None:
        if running.seen.paused:
            signal_all(running, signal.SIGCONT, self._known())
            running.seen = replace(running.seen, paused=False)

    # --- ending

    def _on_end(self, running: Running) -> None:
        assert running.seen.pid is not None
        if running.socket is not None:
            running.socket.read()  # its last words
        # While the leader is a zombie its number cannot be given to anyone else: the moment to kill what it left behind.
        signal_group(running.seen.pid, signal.SIGKILL)
        how = bury(running.pidfd)
        asyncio.get_running_loop().remove_reader(running.pidfd)
        os.close(running.pidfd)
        running.pidfd = -1
        if running.dog is not None:
            running.dog.cancel()
            running.dog = None
        how = f"{running.why} and {how}" if running.why is not None else how
        running.ended.set()
        if running.stopping:
            running.seen = replace(running.seen, exit=how, ended=machine.boottime())
            self._changed(running.seen.instance)
            return
        if machine.boottime() - running.seen.started >= _STEADY_S:
            running.streak = 0
        self._after_end(running, how)

    def _after_end(self, running: Running, how: str) -> None:
        running.streak += 1
        running.seen = replace(
            running.seen,
            state=ProcessState.BACKING_OFF,
            exits=running.seen.exits + 1,
            exit=how,
            ended=machine.boottime(),
            since=machine.utc_now(),
            paused=False,
        )
        running.ended.set()
        self._records.remove(running.seen.instance)
        if running.held:
            self._note("exited", f"{running.seen.service} {how}; another has taken its place", running.seen)
            self._later(self._bury_held(running))
        else:
            delay = restart_delay(running.streak, self._randomness())
            self._note("exited", f"{running.seen.service} {how}; starts again in {delay:.1f} s", running.seen)
            retry = asyncio.get_running_loop().call_later(delay, lambda: self._later(self._again(running)))
            running.retry = retry
        self._changed(running.seen.instance)

    async def _again(self, running: Running) -> None:
        running.retry = None
        await self._finish_off(running)
        instance = running.seen.instance
        if running.stopping or self._instances.get(instance) is not running:
            return
        launch = self._relaunch(running.seen)
        if launch is None:
            self._forget(running)
            return
        running.release()
        self._start(launch, exits=running.seen.exits, streak=running.streak)

    async def _bury_held(self, running: Running) -> None:
        if running.retry is not None:
            running.retry.cancel()
        await self._finish_off(running)
        self._forget(running)

    async def _finish_off(self, running: Running) -> None:
        await finish_off(running, self._known, lambda: self._pids(but=running))

    def _forget(self, running: Running) -> None:
        instance = running.seen.instance
        running.release()
        if self._instances.get(instance) is running:
            del self._instances[instance]
            self._records.remove(instance)
        self._changed(instance)

    def _known(self) -> set[int]:
        return self._pids() | self._helpers

    def _pids(self, but: Running | None = None) -> set[int]:
        found = {running.seen.pid for running in self._instances.values() if running is not but}
        return {pid for pid in found if pid is not None}

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
