"""Progress -> the lines that a push shows. PURE: (shown so far, entry) -> lines; whole lines, no cursor movement.

Output of build and test is kept back at first: a step that ends well within `QUIET_S` shows only its result. One that takes longer
shows its output as it comes, up to `LIVE_LINES`; one that fails ends with its last `TAIL_LINES`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from lekiwi_deploy.wire.progress import (
    Built,
    Closed,
    Note,
    OutputLine,
    Progress,
    RobotMoved,
    RolloutFinished,
    RolloutStarted,
    RolloutWaits,
    Step,
    StepFinished,
    StepStarted,
)
from lekiwi_deploy.wire.reasons import HOLDING_OFF, LaterStep, RolloutPaused, sentence

QUIET_S = 5.0
LIVE_LINES = 200
TAIL_LINES = 40
WIDTH = 74
"""Column at which a step's time ends."""

_CONFIRMED = ("healthy", "good")
_TITLES = {Step.EXPORT: "Export", Step.BUILD: "Build", Step.TEST: "Test", Step.PACK: "Pack"}


def plain(text: str, limit: int = 400) -> str:
    """`text` as one line that moves no cursor: control characters go, and what is past `limit` is cut."""
    kept = "".join(c if c.isprintable() else " " if c == "\t" else "" for c in text)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def arrow(title: str, text: str, seconds: float | None = None) -> str:
    """`-----> Build     python, uv                       1.9 s`."""
    line = f"-----> {title:<9} {plain(text)}"
    return line if seconds is None else f"{line:<{WIDTH}} {seconds:.1f} s"


def indented(text: str) -> str:
    """A line of detail below an arrow."""
    return f"       {plain(text)}".rstrip()


def warned(title: str, text: str) -> str:
    """` !     Pending   lekiwi-009 …`."""
    return f" !     {title:<9} {plain(text)}".rstrip() if title else f" !     {plain(text)}"


@dataclass(frozen=True, slots=True)
class Release:
    """What the Deploy line says of the deployment beside what the rollout knows: `main@8b71ff7`."""

    where: str


@dataclass(slots=True)
class Transcript:
    """What has been shown of one deployment. `lines(entry)` gives the next lines; feed it every entry once, in order."""

    release: Release
    _step_at: datetime | None = None
    _header: str = ""
    _live: bool = False
    _shown: int = 0
    _unshown: int = 0
    _held: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    _robots: dict[str, str] = field(default_factory=dict)
    _failed: bool = False
    _environment: str = "ENVIRONMENT"

    def lines(self, entry: Progress) -> list[str]:
        """The lines that `entry` adds, without line ends."""
        match entry.body:
            case StepStarted(step, text):
                self._begin(entry.at, arrow(_TITLES[step], text))
                return []
            case OutputLine(_, text):
                return self._output(entry.at, indented(text))
            case StepFinished(step, ok, text, seconds):
                return self._finish(step, ok, text, seconds)
            case Note(text, warning):
                return [warned("", text) if warning else indented(text)]
            case Built():
                return []
            case Closed(status, text):
                return self._closed(status, text)
            case RolloutStarted(deployment=deployment, version=version, environment=environment, total=total):
                self._environment = environment
                robots = "1 robot" if total == 1 else f"{total} robots"
                where = f"{self.release.where} → " if self.release.where else ""
                return [arrow("Deploy", f"{deployment}  {version}  {where}{environment}  {robots}")]
            case RobotMoved() as moved:
                return self._moved(moved)
            case RolloutWaits() as waits:
                return waiting(waits)
            case RolloutFinished() as finished:
                return final(finished, self._environment)
            case never:
                assert_never(never)

    def _begin(self, at: datetime, header: str) -> None:
        self._step_at, self._header, self._live = at, header, False
        self._shown = self._unshown = 0
        self._held.clear()

    def _output(self, at: datetime, line: str) -> list[str]:
        out: list[str] = []
        slow = self._step_at is not None and (at - self._step_at).total_seconds() > QUIET_S
        if slow and not self._live:
            self._live = True
            out = [self._header, *self._held]
            self._shown = len(self._held)
            self._held.clear()
        if self._live and self._shown < LIVE_LINES:
            self._shown += 1
            return [*out, line]
        if len(self._held) == TAIL_LINES:
            self._unshown += 1
        self._held.append(line)
        return out

    def _finish(self, step: Step, ok: bool, text: str, seconds: float) -> list[str]:
        out: list[str] = []
        if not ok or self._live:
            if self._held and not self._live:
                out.append(self._header)
            if self._unshown:
                out.append(indented(f"… {self._unshown:,} lines not shown; lekiwi logs --build has them"))
            out += self._held
        self._held.clear()
        title = _TITLES[step]
        if ok:
            return [*out, arrow(title, text, seconds)]
        self._failed = True
        return [*out, f"{warned(title, text):<{WIDTH}} {seconds:.1f} s"]

    def _closed(self, status: str, text: str) -> list[str]:
        if status == "failed":
            return [warned("Failed", text)] if text and not self._failed else []
        return [warned(status.capitalize(), text)]

    def _moved(self, moved: RobotMoved) -> list[str]:
        before = self._robots.get(moved.robot)
        self._robots[moved.robot] = moved.status
        if before in _CONFIRMED and moved.status in _CONFIRMED:
            return []
        if before == moved.status and moved.status != "failed":
            return []
        if moved.status == "pending" and any(isinstance(reason, LaterStep | RolloutPaused) for reason in moved.waiting):
            return []  # the rollout itself says what it waits for
        return robot_lines(moved)


def robot_lines(moved: RobotMoved) -> list[str]:
    """What is said of a robot whose status changed; nothing for steps on its way."""
    match moved.status:
        case "healthy" | "good":
            switched = f"switched {moved.switch_ms / 1000:.2f} s" if moved.switch_ms is not None else "already there"
            return [indented(f"{moved.robot}  {switched}  healthy")]
        case "rolled_back" | "failed":
            after = " and runs what it ran before" if moved.status == "rolled_back" else ""
            why = f": {moved.why}" if moved.why else ""
            return [
                warned("Failed", f"{moved.robot} did not become healthy{after}{why}"),
                *(indented(f"  {line}") for line in moved.log[-10:]),
            ]
        case "held":
            return [warned("Held", f"{moved.robot}  {_reasons(moved)}")]
        case "pending" if moved.waiting:
            held_off = any(isinstance(reason, HOLDING_OFF) for reason in moved.waiting)
            hint = [indented(f"  what would clear it: lekiwi why {moved.robot}")] if held_off else []
            return [warned("Pending", f"{moved.robot}  {_reasons(moved)}"), *hint]
        case _:
            return []


def waiting(waits: RolloutWaits) -> list[str]:
    """What a gradual rollout waits for."""
    title = f"Step {waits.at}/{waits.of}"
    return [warned(title, waits.text)] if waits.for_a_person else [arrow(title, waits.text)]


def _reasons(moved: RobotMoved) -> str:
    return "; ".join(sentence(reason) for reason in moved.waiting) or moved.why or "waiting"


def final(finished: RolloutFinished, environment: str) -> list[str]:
    """The verdict. `Live` is claimed only for robots that confirmed."""
    took = f"in {finished.seconds:.1f} s"
    undo = f"     undo: {finished.undo}" if finished.undo else ""
    pending = f" ({finished.pending} pending)" if finished.pending else ""
    match finished.status:
        case "done" if finished.total == 0:
            add = f"lekiwi robots add NAME --group {environment}"
            return [f"=====> Live in {environment}, which has no robots yet: {add}"]
        case "done":
            return [f"=====> Live on {finished.live}/{finished.total} robots {took}{pending}{undo}"]
        case "partial":
            failed = (f", {finished.failed} failed" if finished.failed else "") + (
                f": {plain(finished.text)}" if finished.text else ""
            )
            return [f"=====> Live on {finished.live}/{finished.total} robots {took}{failed}{pending}{undo}"]
        case "rolled_back":
            return [
                f"=====> Rolled back: {finished.failed}/{finished.total} robots failed and run what they ran before {took}"
            ]
        case other:
            said = f": {plain(finished.text)}" if finished.text else ""
            return [f"=====> {other.replace('_', ' ').capitalize()}{said}  {took}"]
