from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.server.git.transcript import LIVE_LINES, TAIL_LINES, Release, Transcript, plain
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId
from lekiwi_deploy.wire.progress import (
    Body,
    Built,
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
from lekiwi_deploy.wire.reasons import Offline

START = datetime(2026, 1, 1, tzinfo=UTC)
DEP = DeploymentId("dep_2hX9kL3m")


def told(*entries: tuple[float, Body] | Body, where: str = "main@8b71ff7") -> list[str]:
    """The lines of these entries; a number is the second at which one came."""
    transcript = Transcript(Release(where))
    lines: list[str] = []
    for number, entry in enumerate(entries):
        at, body = entry if isinstance(entry, tuple) else (0.0, entry)
        lines += transcript.lines(Progress(DEP, number + 1, START + timedelta(seconds=at), body))
    return lines


def output(count: int, at: float = 0.0) -> Sequence[tuple[float, Body]]:
    return [(at, OutputLine(Step.BUILD, f"line {number}")) for number in range(count)]


def test_a_quick_push_reads_as_promised() -> None:
    assert told(
        StepStarted(Step.BUILD, "python, uv · linux-x86_64"),
        StepFinished(Step.BUILD, True, "python, uv · linux-x86_64", 1.93),
        StepStarted(Step.TEST, "pytest -q"),
        OutputLine(Step.TEST, "............"),
        StepFinished(Step.TEST, True, "12 passed", 0.8),
        Built(DEP, "v0.2.0", "ab" * 32, 1, 1, False),
        RolloutStarted(RolloutId("rol_1"), DEP, "v0.2.0", EnvironmentName("production"), 15),
        RobotMoved(robot=RobotId("lekiwi-001"), status="assigned"),
        RobotMoved(robot=RobotId("lekiwi-001"), status="healthy", switch_ms=312.0),
        RolloutFinished(status="done", live=15, pending=0, failed=0, total=15, seconds=3.4, undo="lekiwi rollback"),
    ) == [
        "-----> Build     python, uv · linux-x86_64                                 1.9 s",
        "-----> Test      12 passed                                                 0.8 s",
        "-----> Deploy    dep_2hX9kL3m  v0.2.0  main@8b71ff7 → production  15 robots",
        "       lekiwi-001  switched 0.31 s  healthy",
        "=====> Live on 15/15 robots in 3.4 s     undo: lekiwi rollback",
    ]


def test_a_failing_step_ends_with_its_last_lines_and_says_so_once() -> None:
    lines = told(
        StepStarted(Step.TEST, "pytest -q"),
        OutputLine(Step.TEST, "E   assert 1 == 2"),
        StepFinished(Step.TEST, False, "pytest -q: 1 failed (exit 1)", 0.5),
        Closed("failed", "pytest -q: 1 failed (exit 1)"),
    )
    assert lines[:2] == ["-----> Test      pytest -q", "       E   assert 1 == 2"]
    assert len(lines) == 3 and lines[2].startswith(" !     Test      pytest -q: 1 failed (exit 1)")


def test_a_slow_step_shows_its_output_as_it_comes() -> None:
    lines = told(StepStarted(Step.BUILD, "plain"), *output(2), *output(1, at=6.0))
    assert lines == ["-----> Build     plain", "       line 0", "       line 1", "       line 0"]


def test_of_very_much_output_the_middle_is_counted() -> None:
    many = LIVE_LINES + TAIL_LINES + 500
    lines = told(
        StepStarted(Step.BUILD, "plain"), *output(many, at=6.0), (9.0, StepFinished(Step.BUILD, False, "exit 1", 9.0))
    )
    assert "       … 500 lines not shown; lekiwi logs --build has them" in lines
    assert len(lines) == 1 + LIVE_LINES + 1 + TAIL_LINES + 1
    assert lines[-2].endswith(f"line {many - 1}")


def test_robots_that_fail_or_wait_say_why() -> None:
    lines = told(
        RobotMoved(robot=RobotId("a"), status="rolled_back", why="web did not become healthy", log=("boom",)),
        RobotMoved(robot=RobotId("b"), status="pending", waiting=(Offline(None),)),
        RobotMoved(robot=RobotId("b"), status="pending", waiting=(Offline(None),)),
        RolloutFinished(status="partial", live=1, pending=1, failed=1, total=3, seconds=2.0, undo="lekiwi rollback"),
    )
    assert lines == [
        " !     Failed    a did not become healthy and runs what it ran before: web did not become healthy",
        "         boom",
        " !     Pending   b  offline; applies on return",
        "=====> Live on 1/3 robots in 2.0 s, 1 failed (1 pending)     undo: lekiwi rollback",
    ]


def test_an_environment_without_robots_is_told_how_to_get_one() -> None:
    lines = told(
        RolloutStarted(RolloutId("rol_1"), DEP, "v1", EnvironmentName("staging"), 0),
        RolloutFinished(status="done", live=0, pending=0, failed=0, total=0, seconds=0.0, undo=""),
    )
    assert lines[-1].endswith("lekiwi robots add NAME --group staging")


def test_success_is_not_claimed_for_a_rollback_or_a_waiting_release() -> None:
    lines = told(
        RolloutFinished(status="rolled_back", live=0, pending=0, failed=2, total=2, seconds=2.0, undo=""),
        Closed("built", "production is frozen by anna"),
    )
    assert not any("Live" in line for line in lines)


@given(st.lists(st.text(max_size=500), max_size=5))
def test_whatever_a_program_writes_every_line_stays_one_line(texts: list[str]) -> None:
    bodies: list[tuple[float, Body]] = [(0.0, StepStarted(Step.BUILD, "x"))]
    bodies += [(6.0, OutputLine(Step.BUILD, text)) for text in texts]
    bodies += [(7.0, Note(text, warning=True)) for text in texts]
    for line in told(*bodies):
        assert line.isprintable()


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert plain("a\x1b[2Jb\rc\td\u202e") == "a[2Jbc d"
    assert len(plain("x" * 1000)) == 400
