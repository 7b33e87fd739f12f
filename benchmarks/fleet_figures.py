"""15 real robots: a push until all are healthy, and rollbacks to and fro."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.story import HEADING, Story, last_confirmed

ROBOTS = 15


def measure(rollbacks: int, pushes: int, example: Path) -> list[Figure]:
    """Figures of a fleet that is started for this and ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    folder.chmod(0o755)
    try:
        with LocalFleet(folder) as fleet:
            return _measure(Story(fleet, example, robots=ROBOTS), rollbacks, pushes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(story: Story, rollbacks: int, pushes: int) -> list[Figure]:
    story.start()
    detail, _ = story.push(HEADING)
    spans, sizes, heading = [], [], HEADING
    for number in range(pushes):
        before, heading, earlier = heading, f'HEADING = "LeKiwi {number}"', detail
        story.change_page(before, heading)
        detail, _ = story.push(heading)
        assert detail.rollout is not None
        spans.append(1000 * (last_confirmed(detail) - detail.rollout.created_at.timestamp()))
        sizes.append(sum(robot.outcome.wire_bytes for robot in detail.rollout.robots if robot.outcome))
    turns = (earlier.deployment, detail.deployment)
    back = sorted(story.roll_back(turns[turn % 2]) for turn in range(rollbacks))
    bare = story.bare_start()
    push_ms, p50, p99 = (
        statistics.median(spans),
        statistics.median(back),
        back[min(len(back) - 1, int(0.99 * len(back)))],
    )
    start = "bare start"
    return [
        Figure(
            name=f"push → {ROBOTS} robots healthy, without build and test (median of {pushes})",
            value=push_ms,
            unit="ms",
            baseline=bare,
            baseline_is=start,
            target="< 2,000 ms",
            met=push_ms < 2000,
        ),
        Figure(
            name=f"rollback, Enter → last of {ROBOTS} robots, p50 of {rollbacks}",
            value=p50,
            unit="ms",
            baseline=bare,
            baseline_is=start,
            target="< 1,000 ms, < bare + 300 ms",
            met=p50 < 1000 and p50 - bare < 300,
        ),
        Figure(
            name=f"rollback, Enter → last of {ROBOTS} robots, p99 of {rollbacks}",
            value=p99,
            unit="ms",
            baseline=bare,
            baseline_is=start,
            target="< 1,000 ms",
            met=p99 < 1000,
        ),
        Figure(name="bytes received by all robots for one changed line", value=statistics.median(sizes), unit="B"),
    ]
