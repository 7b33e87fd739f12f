from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from lekiwi_deploy.cli.narrator import EACH_ROBOT_UP_TO, Line, Narrator
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.cli.verdict import CLOSED_EXIT, ROLLOUT_EXIT, verdict
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId
from lekiwi_deploy.wire.progress import (
    Body,
    Closed,
    Note,
    OutputLine,
    Progress,
    RobotMoved,
    RolloutFinished,
    RolloutStarted,
    Step,
    StepFinished,
    StepStarted,
)
from lekiwi_deploy.wire.reasons import Fetching, Offline

NOW = datetime(2026, 8, 21, 14, tzinfo=UTC)
DEP, ROL = DeploymentId("dep_AAAAAAAA"), RolloutId("rol_BBBBBBBB")


def text(lines: Sequence[Line]) -> list[str]:
    return ["".join(cell.text if isinstance(cell, Cell) else cell for cell in line) for line in lines]


def told(narrator: Narrator, *bodies: Body, every_s: float = 0.4) -> list[str]:
    said = []
    for number, body in enumerate(bodies):
        said += text(narrator.tell(Progress(ROL, number + 1, NOW + timedelta(seconds=number * every_s), body)))
    return said


def started(total: int = 3) -> RolloutStarted:
    return RolloutStarted(ROL, DEP, "v2", EnvironmentName("production"), total)


def moved(robot: str, status: str, **fields: object) -> RobotMoved:
    return RobotMoved(robot=RobotId(robot), status=status, **fields)  # type: ignore[arg-type]


def finished(status: str, *, live: int = 0, pending: int = 0, failed: int = 0, total: int = 3) -> RolloutFinished:
    return RolloutFinished(
        status=status, live=live, pending=pending, failed=failed, total=total, seconds=4.0, undo="lekiwi rollback"
    )


def test_each_robot_is_told_once_with_the_time_it_took() -> None:
    said = told(
        Narrator(), started(), moved("a", "fetching"), moved("a", "healthy"), moved("b", "healthy"), moved("a", "good")
    )
    assert said == ["🤖 Deploying to 3 robots...", "   ✅ a (0.8s)", "   ✅ b (1.2s)"]


def test_a_rollout_that_both_streams_tell_of_is_told_once() -> None:
    assert told(Narrator(back=True), started(), started()) == ["🤖 Rolling back 3 robots..."]


def test_a_robot_that_failed_is_told_with_its_last_lines() -> None:
    said = told(
        Narrator(), started(), moved("a", "rolled_back", why="web: exit code 3", log=("Traceback", "no motors"))
    )
    assert said[1:] == ["   ⏪ a rolled back: web: exit code 3", "      │ Traceback", "      │ no motors"]


def test_in_a_large_fleet_only_what_differs_is_told() -> None:
    crowd = [moved(f"r{number}", "healthy") for number in range(EACH_ROBOT_UP_TO + 1)]
    quiet = told(Narrator(), started(EACH_ROBOT_UP_TO + 1), *crowd, moved("x", "failed", why="no disk"))
    assert quiet == ["🤖 Deploying to 41 robots...", "   ❌ x failed: no disk"]
    assert len(told(Narrator(verbose=True), started(EACH_ROBOT_UP_TO + 1), *crowd)) == EACH_ROBOT_UP_TO + 2


def test_the_output_of_a_step_is_shown_when_it_fails() -> None:
    wrote = [OutputLine(Step.TEST, f"line {number}") for number in range(50)]
    step = StepStarted(Step.TEST, "pytest")
    assert told(Narrator(), step, *wrote, StepFinished(Step.TEST, True, "50 passed", 1.0)) == [
        "🧪 Testing... 50 passed (1.0s)"
    ]
    failed = told(Narrator(), step, *wrote, StepFinished(Step.TEST, False, "exit code 1", 1.0))
    assert failed[0] == "❌ Testing... failed (1.0s): exit code 1"
    assert failed[1:] == [f"   │ line {number}" for number in range(30, 50)]


def test_warnings_are_told() -> None:
    assert told(Narrator(), Note("no sandbox here", warning=True)) == ["⚠  no sandbox here"]


def test_what_goes_on_is_counted() -> None:
    narrator = Narrator()
    assert text(narrator.now_lines(NOW)) == ["   waiting for the server..."]
    told(narrator, StepStarted(Step.BUILD, "python, uv"), OutputLine(Step.BUILD, "Resolved"))
    assert text(narrator.now_lines(NOW + timedelta(seconds=2))) == ["🔨 Building... python, uv  2.0s", "   │ Resolved"]
    told(narrator, started(), moved("a", "healthy"), moved("b", "fetching", waiting=(Fetching(1200, 3400),)))
    told(narrator, moved("c", "pending", waiting=(Offline(None),)))
    assert text(narrator.now_lines(NOW)) == [
        "   1/3 confirmed · 1 fetching · 1 pending",
        "   · b  fetching 1.2 kB of 3.4 kB",
    ]


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (finished("done", live=3), 0, "✨ Deployed successfully in 12.4s"),
        (finished("done", live=2, pending=1), 0, "✨ Deployed successfully on 2/3 robots, 1 pending in 12.4s"),
        (finished("done", pending=3), 0, "⏳ No robot is online: 3 robots will follow when they return"),
        (finished("done", total=0), 0, "✨ production wants v2 now, but has no robots yet"),
        (finished("partial", live=2, failed=1), 6, "⚠  Partly live: 2/3 robots, 1 failed (12.4s)"),
        (finished("rolled_back", failed=3), 5, "⏪ Failed and rolled back: 3 robots went back to what ran before (12.4s)"),
        (finished("failed", failed=3), 1, "❌ Failed: 0/3 robots, 3 failed (12.4s)"),
        (finished("superseded"), 9, "⏭  Superseded"),
        (finished("canceled"), 1, "❌ Canceled"),
    ],
)  # fmt: skip
def test_success_is_claimed_only_where_robots_confirmed(end: RolloutFinished, code: int, words: str) -> None:
    narrator = Narrator()
    told(narrator, started(end.total), end)
    how = verdict(narrator, 12.4)
    assert how.code == code
    assert text(how.lines)[0].startswith(words)


def test_the_robots_that_wait_are_named_at_the_end() -> None:
    narrator = Narrator()
    told(narrator, started(1), moved("c", "pending", waiting=(Offline(None),)), finished("done", pending=1, total=1))
    assert text(verdict(narrator, None).lines)[1] == "   ⏳ c  offline; applies on return"


def test_every_end_that_a_rollout_or_deployment_can_have_has_an_exit_code() -> None:
    assert set(ROLLOUT_EXIT) == {status.value for status in RolloutStatus} - {"rolling"}
    assert set(CLOSED_EXIT) == {"failed", "canceled", "built"}
    narrator = Narrator()
    told(narrator, Closed("built", "waits for an approval"))
    assert (verdict(narrator, 1.0).code, text(verdict(narrator, 1.0).lines)) == (
        8,
        ["⏸  Built, not live: waits for an approval"],
    )
