from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from lekiwi_deploy.cli.verbs.preview import said
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.previews import Lease, PreviewView

NOW = datetime(2026, 8, 21, 12, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=4)
LEASE = Lease(robot=RobotId("kiwi-1"), home=EnvironmentName("preview-robots"), since=NOW, until=UNTIL)
OVER = PreviewView(
    environment=EnvironmentName("pr-1"),
    project=ProjectName("arm"),
    branch="pr-1",
    pool=EnvironmentName("preview-robots"),
    wants=1,
    leases=(),
    live=None,
    opened_at=NOW,
    opened_by="anna",
)


def clock(at: datetime) -> str:
    local = at.astimezone()
    same_day = local.date() == NOW.astimezone().date()
    return local.strftime("%H:%M" if same_day else "%d %b %H:%M")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "over: it has no robots"),
        ({"leases": (LEASE,), "until": UNTIL}, f"until {clock(UNTIL)} (in 4 hours)"),
        ({"waits_since": NOW, "ahead": 0}, "waits for a robot: first in the queue"),
        (
            {"waits_since": NOW, "ahead": 2, "free_at": UNTIL, "why": "kiwi-2 is offline"},
            f"waits for a robot: 2 before it, one is free {clock(UNTIL)} at the latest; kiwi-2 is offline",
        ),
        (
            {"leases": (LEASE,), "until": UNTIL, "waits_since": NOW, "ahead": 0, "wants": 3},
            f"until {clock(UNTIL)} (in 4 hours); waits for 2 more robots: first in the queue",
        ),
    ],
)
def test_a_preview_says_how_long_it_has_robots_or_where_it_queues(changes: dict[str, object], text: str) -> None:
    assert said(msgspec.structs.replace(OVER, **changes), NOW) == text
