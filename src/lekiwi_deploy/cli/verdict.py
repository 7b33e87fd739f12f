"""What following came to: the last lines and the exit code. Pure. Success is claimed only for robots that confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lekiwi_deploy.cli.narrator import Line, Narrator
from lekiwi_deploy.cli.spans import plural, span
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.errors import EXIT_CODE
from lekiwi_deploy.wire.progress import RolloutFinished

ROLLOUT_EXIT: Mapping[str, int] = MappingProxyType(
    {
        "done": 0,
        "partial": EXIT_CODE["partial"],
        "rolled_back": EXIT_CODE["rolled_back"],
        "failed": EXIT_CODE["failed"],
        "superseded": EXIT_CODE["conflict"],
        "canceled": EXIT_CODE["failed"],
    }
)
"""`RolloutFinished.status` → exit code."""
CLOSED_EXIT: Mapping[str, int] = MappingProxyType(
    {"failed": EXIT_CODE["failed"], "canceled": EXIT_CODE["failed"], "built": EXIT_CODE["blocked"]}
)
"""`Closed.status` → exit code. A deployment that is built and goes no further waits for somebody: blocked."""


@dataclass(frozen=True)
class Verdict:
    """`lines` to say, `code` to exit with."""

    lines: tuple[Line, ...]
    code: int


def verdict(told: Narrator, seconds: float | None) -> Verdict:
    """The end of the story. `seconds`: as the person lived it; None: as the server measured the rollout."""
    if told.finished is not None:
        took = span(told.finished.seconds if seconds is None else seconds)
        return Verdict(
            (*_finished(told, told.finished, took), *told.waiting()),
            ROLLOUT_EXIT.get(told.finished.status, 1),
        )
    if told.parked and told.waits is not None and told.rollout is not None:
        verb = "resume" if told.waits.what == "paused" else "approve"
        command = f"lekiwi rollout {verb} {told.rollout.rollout}"
        return Verdict(((Cell("   → ", "dim"), Cell(command, "cyan")),), EXIT_CODE["blocked"])
    if told.closed is not None:
        status, text = told.closed.status, told.closed.text
        line: Line
        if status == "built":
            line = ("⏸  Built, not live: ", text or "it waits")
        else:
            word = "Canceled" if status == "canceled" else "Deployment failed"
            line = (Cell("❌ "), Cell(word, "red"), f": {text}" if text else "")
        return Verdict((line,), CLOSED_EXIT.get(status, 1))
    return Verdict((), 0)


def _finished(told: Narrator, end: RolloutFinished, took: str) -> tuple[Line, ...]:
    on = f"{end.live}/{end.total} robots"
    version = told.rollout.version if told.rollout else "it"
    environment = told.rollout.environment if told.rollout else "the environment"
    pending = f", {end.pending} pending" if end.pending else ""
    failed = f", {end.failed} failed" if end.failed else ""
    match end.status:
        case "done" if end.total == 0:
            return (
                (f"✨ {environment} wants {version} now, but has no robots yet",),
                (Cell("   → ", "dim"), Cell(f"lekiwi robots add NAME --group {environment}", "cyan")),
            )
        case "done" if end.live == 0 and told.held_off:
            return (
                (
                    f"⏳ Nothing is switched yet: {plural(end.pending, 'robot')} will follow when nothing holds them back",
                ),
            )
        case "done" if end.live == 0:
            return ((f"⏳ No robot is online: {plural(end.pending, 'robot')} will follow when they return",),)
        case "done" if end.pending:
            return ((f"✨ {_done(told)} on {on}{pending} in {took}",),)
        case "done":
            return ((f"✨ {_done(told)} in {took}" if not told.back else f"✨ {_done(told)} on {on} in {took}",),)
        case "partial":
            why = f"; {end.text}" if end.text else ""
            return ((Cell("⚠  "), Cell("Partly live", "yellow"), f": {on}{failed}{pending}{why} ({took})"),)
        case "rolled_back":
            return (
                (
                    Cell("⏪ "),
                    Cell("Failed and rolled back", "red"),
                    f": {plural(end.failed, 'robot')} went back to what ran before ({took})",
                ),
            )
        case "superseded":
            return (("⏭  Superseded: another deployment took its place",),)
        case status:
            said = f": {end.text}" if end.text else f": {on}{failed}{pending}"
            return ((Cell("❌ "), Cell(status.replace("_", " ").capitalize(), "red"), f"{said} ({took})"),)


def _done(told: Narrator) -> str:
    return f"Rolled back to {told.rollout.version if told.rollout else 'it'}" if told.back else "Deployed successfully"
