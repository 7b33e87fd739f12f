"""Progress → what a person is told. Pure: (told so far, entry) → lines that stay; `now_lines` is what goes on right now."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from lekiwi_deploy.cli.spans import plural, size, span
from lekiwi_deploy.cli.table import Cell
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
from lekiwi_deploy.wire.reasons import HOLDING_OFF, Fetching, sentence

Line = Sequence[str | Cell]

EACH_ROBOT_UP_TO = 40
"""In larger rollouts only robots that differ get a line each."""
_TAIL = 20
_WORDS = {
    Step.EXPORT: "📤 Reading the source...",
    Step.BUILD: "🔨 Building...",
    Step.TEST: "🧪 Testing...",
    Step.PACK: "📦 Packing...",
}
_CONFIRMED = ("healthy", "good")
_IN_FLIGHT = ("assigned", "fetching", "switching")


@dataclass(slots=True)
class Narrator:
    """Feed it every entry once, in order. `verbose`: tell the build's output and each robot of large rollouts, too;
    `parked`: it waits for a person, so nobody watches any longer."""

    back: bool = False
    verbose: bool = False
    rollout: RolloutStarted | None = None
    finished: RolloutFinished | None = None
    closed: Closed | None = None
    built: Built | None = None
    waits: RolloutWaits | None = None
    parked: bool = False
    robots: dict[str, RobotMoved] = field(default_factory=dict)
    _rollout_at: datetime | None = None
    _step: StepStarted | None = None
    _step_at: datetime | None = None
    _tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))

    def tell(self, entry: Progress) -> list[Line]:
        """The lines that `entry` adds."""
        if self._rollout_at is None and self.rollout is not None:
            self._rollout_at = entry.at
        match entry.body:
            case StepStarted() as started:
                self._step, self._step_at = started, entry.at
                self._tail.clear()
                return []
            case OutputLine(_, text):
                self._tail.append(text)
                return [(Cell(f"   │ {text}", "dim"),)] if self.verbose else []
            case StepFinished() as done:
                return self._step_done(done)
            case Note(text, warning):
                return [(Cell("⚠  ", "yellow"), text)] if warning else [(Cell(f"   {text}", "dim"),)]
            case Built() as built:
                self.built = built
                return []
            case Closed() as closed:
                self.closed = closed
                return []
            case RolloutStarted() as rollout if self.rollout is not None and rollout.rollout == self.rollout.rollout:
                return []  # both streams tell of it
            case RolloutStarted() as rollout:
                self.rollout, self._rollout_at, self._step = rollout, entry.at, None
                self.robots.clear()
                return [self.headline(rollout)] if rollout.total else []
            case RobotMoved() as moved:
                return self._moved(moved, entry.at)
            case RolloutWaits() as waits:
                self.waits = waits
                mark = "✋ " if waits.for_a_person else "⏳ "
                return [(f"   {mark} step {waits.at} of {waits.of}: ", waits.text)]
            case RolloutFinished() as finished:
                self.finished = finished
                return []
            case never:
                assert_never(never)

    def now_lines(self, now: datetime) -> list[Line]:
        """What goes on, in a line, and the robots that are at it."""
        if self.rollout is not None and self.finished is None:
            return [(Cell("   " + self._counts(), "dim"),), *self._busy()]
        if self._step is not None:
            since = (now - self._step_at).total_seconds() if self._step_at else 0.0
            what = f"{_WORDS[self._step.step]} {self._step.text}  {span(since)}"
            return [(what,), *([(Cell(f"   │ {self._tail[-1]}", "dim"),)] if self._tail else [])]
        return [(Cell("   waiting for the server...", "dim"),)]

    def waiting(self) -> list[Line]:
        """The robots that the verdict leaves pending, with their reasons."""
        pending = [moved for _, moved in sorted(self.robots.items()) if moved.status == "pending"]
        lines: list[Line] = [
            (Cell("   ⏳ ", ""), f"{moved.robot}  ", Cell(why(moved) or "pending", "dim")) for moved in pending
        ]
        if first := next((moved.robot for moved in pending if holds_off(moved)), None):
            lines.append((Cell("   → ", "dim"), Cell(f"lekiwi why {first}", "cyan")))
        return lines

    @property
    def held_off(self) -> bool:
        """Whether some robot is there and says "not now"."""
        return any(moved.status == "pending" and holds_off(moved) for moved in self.robots.values())

    def _step_done(self, done: StepFinished) -> list[Line]:
        self._step = None
        what = _WORDS[done.step]
        if done.ok:
            quiet = done.step in (Step.EXPORT, Step.PACK) and not self.verbose
            return [] if quiet else [(f"{what} {done.text or 'done'} ({span(done.seconds)})",)]
        tail = [] if self.verbose else list(self._tail)
        return [
            (Cell("❌ "), f"{what[2:].strip()} failed ({span(done.seconds)}): ", Cell(done.text, "red")),
            *((Cell(f"   │ {line}", "dim"),) for line in tail),
        ]

    def headline(self, rollout: RolloutStarted) -> Line:
        """What begins with the rollout."""
        robots = plural(rollout.total, "robot")
        if self.back:
            return (f"🤖 Rolling back {robots}...",)
        return (f"🤖 Deploying to {robots}...",)

    def _moved(self, moved: RobotMoved, at: datetime) -> list[Line]:
        before = self.robots.get(moved.robot)
        self.robots[moved.robot] = moved
        if before is not None and before.status in _CONFIRMED and moved.status in _CONFIRMED:
            return []
        if before is not None and before.status == moved.status:
            return []
        few = self.verbose or (self.rollout is not None and self.rollout.total <= EACH_ROBOT_UP_TO)
        match moved.status:
            case "healthy" | "good":
                took = (at - self._rollout_at).total_seconds() if self._rollout_at else 0.0
                return [("   ✅ ", moved.robot, Cell(f" ({span(took)})", "dim"))] if few else []
            case "rolled_back":
                return [
                    ("   ⏪ ", moved.robot, Cell(" rolled back", "yellow"), f": {moved.why or 'it failed'}"),
                    *_log(moved),
                ]
            case "failed":
                return [
                    ("   ❌ ", moved.robot, Cell(" failed", "red"), f": {moved.why or 'no reason given'}"),
                    *_log(moved),
                ]
            case "held":
                return [("   ⏸  ", moved.robot, f" held: {why(moved) or 'by hand'}")]
            case "superseded":
                return [("   ⏭  ", moved.robot, Cell(" goes on to another deployment", "dim"))] if few else []
            case _:
                return []

    def _counts(self) -> str:
        assert self.rollout is not None
        by_status = Counter(moved.status for moved in self.robots.values())
        done = sum(by_status[status] for status in _CONFIRMED)
        parts = [f"{done}/{self.rollout.total} confirmed"]
        parts += [f"{by_status[status]} {status}" for status in _IN_FLIGHT if by_status[status]]
        parts += [f"{by_status['pending']} pending"] if by_status["pending"] else []
        return " · ".join(parts)

    def _busy(self) -> list[Line]:
        busy = [moved for moved in self.robots.values() if moved.status in _IN_FLIGHT]
        lines: list[Line] = [(Cell(f"   · {moved.robot}  {why(moved) or moved.status}", "dim"),) for moved in busy[:8]]
        return [*lines, (Cell(f"   · and {len(busy) - 8} more", "dim"),)] if len(busy) > 8 else lines


def holds_off(moved: RobotMoved) -> bool:
    """Whether the robot itself holds the deployment off: somebody says "not now", or a condition is not met."""
    return any(isinstance(reason, HOLDING_OFF) for reason in moved.waiting)


def why(moved: RobotMoved) -> str:
    """Why a robot is where it is, in a line."""
    for reason in moved.waiting:
        if isinstance(reason, Fetching) and reason.total:
            return f"fetching {size(reason.done)} of {size(reason.total)}"
    return "; ".join(sentence(reason) for reason in moved.waiting) or moved.why or ""


def _log(moved: RobotMoved) -> list[Line]:
    return [(Cell(f"      │ {line}", "dim"),) for line in moved.log[-10:]]
