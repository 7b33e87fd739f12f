"""The agent's care for itself, in the root half: observe, ask `robot/agent_update.py`, do it. The last step is done by the guard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.config import read_update_key
from lekiwi_deploy.agent.install import releases
from lekiwi_deploy.agent.net.network import Content
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.self_update import bundle, helper, own_units
from lekiwi_deploy.agent.self_update.places import Outcome, Places, Trial
from lekiwi_deploy.agent.self_update.units import GUARD
from lekiwi_deploy.errors import LekiwiError, Unavailable
from lekiwi_deploy.robot.agent_update import Fetch, GoOver, Refusal, Rest, Seen, Step, Unpack, next_step
from lekiwi_deploy.robot.backoff import fetch_delay
from lekiwi_deploy.robot.holds import busy
from lekiwi_deploy.wire.agent_proof import is_proved
from lekiwi_deploy.wire.link import AgentPhase, AgentState, AgentWanted

_TRIAL_LOOK_S = 1.0
_WAITING_LOOK_S = 5.0
_UNPACK_S = 900.0
_CHECK_S = 120.0
_GUARD_S = 120.0
"""For the guard to end this process."""


class Updater:
    """Runs until cancelled. `content`: where archives come from; `linked`: whether the link stands."""

    def __init__(self, robot: Robot, content: Content, *, linked: Callable[[], bool]) -> None:
        self._robot = robot
        self._content = content
        self._linked = linked
        self._places = Places(robot.paths)
        whole = robot.paths.root == Path("/") and os.geteuid() == 0 and Path("/run/systemd/system").is_dir()
        self.release = releases.running(robot.paths)
        self._running = self.release if whole else None
        self._key = read_update_key(robot.paths)
        self._wanted: AgentWanted | None = None
        self._nudged = asyncio.Event()
        self._failures = 0
        self._blocked = ("", 0.0)
        self._fetched: Path | None = None
        self._checked: str | None = None
        self._said = ""

    def want(self, wanted: AgentWanted | None) -> None:
        """What the server wants now."""
        if wanted != self._wanted:
            if wanted is None or self._wanted is None or wanted.attempt != self._wanted.attempt:
                self._blocked, self._failures = ("", 0.0), 0
            self._wanted = wanted
            self._nudged.set()

    async def run(self) -> None:
        """Nothing that goes wrong with a release or the disk ends it."""
        with contextlib.suppress(OSError):
            self._settle()
        while True:
            self._nudged.clear()
            wait_s: float | None = _WAITING_LOOK_S
            try:
                self._tell_outcome()
                step = next_step(self._wanted, self._seen())
                self._show(step)
                if not isinstance(step, Rest):
                    await self._do(step)
                    continue
                if self._places.on_trial:
                    wait_s = _TRIAL_LOOK_S
                elif not step.why or step.refused:
                    wait_s = None
            except (OSError, LekiwiError) as error:
                self._block(error.message if isinstance(error, LekiwiError) else str(error))
            except Exception as error:  # of ours: it must neither be silent nor end this loop
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "caring for the agent", "exception": error}
                )
                self._block(f"a defect of the agent: {error}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._nudged.wait()

    def _seen(self) -> Seen:
        robot, book = self._robot, self._places.book()
        why, until = self._blocked
        wanted = self._wanted
        self._fetched = bundle.there(robot.paths.downloads, wanted) if wanted is not None else None
        return Seen(
            running=self._running,
            on_trial=self._places.on_trial,
            refused={name: Refusal(one.why, one.attempt) for name, one in book.refused.items()},
            newest_attempt=book.newest,
            proved=wanted is not None and self._key is not None and is_proved(self._key, robot.config.robot, wanted),
            held=tuple(map(busy, robot.consent.holds())),
            busy=self._busy(),
            blocked=why if machine.boottime() < until else "",
            fetched=self._fetched is not None,
            checked=wanted is not None and self._checked == wanted.release,
        )

    def _busy(self) -> str:
        robot = self._robot
        if robot.switching:
            return "a deployment is being switched to"
        if robot.ledger.trial is not None:
            return f"{robot.ledger.live} is on trial"
        if robot.fetches.deployment is not None:
            return f"{robot.fetches.deployment} is being fetched"
        return ""

    async def _do(self, step: Step) -> None:
        wanted = self._wanted
        assert wanted is not None and self._running is not None
        match step:
            case Fetch():
                await self._fetch(wanted)
            case Unpack():
                await self._unpack(wanted)
            case GoOver():
                await self._go_over(wanted, self._running)

    async def _fetch(self, wanted: AgentWanted) -> None:
        stop = threading.Event()
        try:
            await asyncio.to_thread(bundle.fetch, self._content, self._robot.paths.downloads, wanted, stop)
        finally:
            stop.set()
        self._robot.history.note("agent_fetched", f"release {wanted.release} of the agent is here, {wanted.size} bytes")

    async def _unpack(self, wanted: AgentWanted) -> None:
        robot = self._robot
        assert self._fetched is not None
        unpack = (sys.executable, "-I", "-m", "lekiwi_deploy.agent.self_update.unpack_bundle", str(self._fetched), "/")
        good, text = await self._run(unpack, _UNPACK_S)
        name = text.rpartition("\n")[2]
        if not good or name != wanted.release:
            raise Unavailable(f"release {wanted.release} cannot be unpacked: {name or 'it says nothing'}")
        check = (str(self._places.program(wanted.release)), "self-check", "--root", str(robot.paths.root))
        good, text = await self._run(check, _CHECK_S)
        said = text.rpartition("\n")[2]
        if not good or f"release {wanted.release}," not in said:
            self._refuse(wanted, f"it does not work on this robot: {said[:300] or 'it says nothing'}")
            return
        self._checked = wanted.release

    async def _go_over(self, wanted: AgentWanted, running: str) -> None:
        robot = self._robot
        trial = Trial(
            old=running, new=wanted.release, attempt=wanted.attempt, linked=self._linked(), at=machine.utc_now()
        )
        robot.history.note("agent_updating", f"agent updating {running} → {wanted.release}")
        robot.history.flush()
        self._places.begin(trial)
        good, text = await self._run(("systemctl", "start", "--no-block", GUARD), 30.0)
        if good:
            self._show(Rest("the release that runs is being watched"))
            await asyncio.sleep(_GUARD_S)
            text = "the guard did not begin"
        if self._places.current == running:
            self._places.forget_trial()
            raise Unavailable(f"going over to {wanted.release} failed: {text}")

    async def _run(self, argv: tuple[str, ...], within_s: float) -> tuple[bool, str]:
        robot = self._robot
        return await helper.run(argv, folder=robot.paths.agent, helpers=robot.services.helpers, within_s=within_s)

    def _refuse(self, wanted: AgentWanted, why: str) -> None:
        """It failed before it was ever started."""
        assert self._running is not None
        outcome = Outcome(old=self._running, new=wanted.release, stayed=False, why=why, at=machine.utc_now())
        self._places.end(outcome, wanted.attempt)

    def _block(self, why: str) -> None:
        self._failures += 1
        self._blocked = (why, machine.boottime() + fetch_delay(self._failures, self._robot.randomness()))
        self._robot.history.note("trouble", f"the agent could not be updated: {why}")

    def _settle(self) -> None:
        """What happened before this agent began: `before-start` went back, or a trial ended."""
        places, trial = self._places, self._places.last_trial()
        why = places.went_back()
        if why is not None and trial is not None and trial.old == self.release:
            now = machine.utc_now()
            places.end(Outcome(old=trial.old, new=trial.new, stayed=False, why=why, at=now), trial.attempt)
        if self._running is not None and not places.on_trial:
            self._tidy()

    def _tell_outcome(self) -> None:
        outcome = self._places.outcome()
        if outcome is None or self._places.on_trial:
            return
        history = self._robot.history
        if outcome.stayed:
            history.note("agent_updated", f"agent updated {outcome.old} → {outcome.new}: {outcome.why}")
        else:
            history.note("agent_went_back", f"agent went back {outcome.new} → {outcome.old}: {outcome.why}")
        history.flush()
        self._places.told()
        self._tidy()

    def _tidy(self) -> None:
        """Keep this release and the one to go back to; the units are those of this release, from their next start on."""
        paths = self._robot.paths
        back = None
        with contextlib.suppress(OSError):
            back = str((self._places.folder / "previous").readlink())
        releases.forget_others(paths, {back} if back not in self._places.book().refused else set())
        bundle.forget(paths.downloads)
        self._checked = None
        if own_units.write(paths):
            self._robot.history.note(
                "agent_units", "the units of the agent were renewed; they count from their next start"
            )
            task = asyncio.ensure_future(self._run(("systemctl", "daemon-reload"), 30.0))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _show(self, step: Step) -> None:
        wanted = self._wanted
        on_trial = self._places.on_trial
        phase = AgentPhase.FETCHING
        why = ""
        if isinstance(step, Rest):
            why = step.why
            phase = AgentPhase.REFUSED if step.refused else AgentPhase.WAITING if why else AgentPhase.IDLE
        if on_trial or isinstance(step, GoOver):
            phase = AgentPhase.TRIAL
        state = AgentState(
            release=self._running,
            phase=phase,
            wanted=wanted.release if wanted is not None else None,
            attempt=wanted.attempt if wanted is not None else 0,
            why=why,
        )
        if state != self._robot.agent_state:
            self._robot.agent_state = state
            self._robot.report_due.set()
