"""Every reason says what it is and what would clear it, each in one line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from lekiwi_deploy.wire import reasons
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.reasons import Reason, key, sentence
from lekiwi_deploy.wire.remedies import remedy

AT = datetime(2026, 8, 21, 14, 2, 10, tzinfo=UTC)

EXAMPLES: tuple[Reason, ...] = (
    reasons.Offline(AT),
    reasons.NeverJoined(),
    reasons.Pinned("dep_2hX9kL3m", "anna", AT),
    reasons.Quarantined("dep_8jK4mN9p", "web answered 500"),
    reasons.NotBuiltFor("linux-aarch64-glibc2.36-py3.11"),
    reasons.Frozen("production", "anna", AT, "demo"),
    reasons.Halted(2),
    reasons.Asked(AT),
    reasons.Silent(AT),
    reasons.Fetching(10, 100),
    reasons.Starting(("web", "base")),
    reasons.DiskFull(5_000_000, 1_000_000),
    reasons.DiskFailing("Read-only file system"),
    reasons.Retrying("the server cannot be reached", AT),
    reasons.ClonedKey(AT),
    reasons.Busy("anna", "teleop", AT, AT, "h3"),
    reasons.LowDisk(100_000_000, 42_000_000),
    reasons.LowMemory(200_000_000, 50_000_000),
    reasons.LowBattery(30, 18.4),
    reasons.TooHot(80, 91),
    reasons.PowerTrouble("under-voltage"),
    reasons.Overloaded(2, 3.5),
    reasons.ClockWrong(AT, "before this release was made"),
    reasons.Settling("dep_8jK4mN9p", 6, AT),
    reasons.Overdue(AT, 86400),
    reasons.LaterStep(rollout="rol_2hX9kL3m", step=1, of=3, what="soak", until=AT),
    reasons.RolloutPaused(rollout="rol_2hX9kL3m", by="anna", since=AT, why="lunch"),
    reasons.WindowClosed(window="22:00-06:00", opens=AT),
    reasons.AwaitsRobot(
        environment="pr-12", pool="preview-robots", ahead=2, since=AT, free_at=AT, why="preview-robots is frozen"
    ),
    reasons.AwaitsApproval(
        deployment="dep_aaaaaaaa", environment="production", missing=1, since=AT, expires=AT, given=("anna",)
    ),
    reasons.Drained(by="anna", since=AT, why="a new arm"),
    reasons.Unplaced(environment="staging", selects="site=lab"),
    reasons.Skipped(rollout="rol_2hX9kL3m"),
    reasons.Expired(since=AT, limit_s=7 * 86400),
    reasons.VariablesSealed("dep_aaaaaaaa", "the robot's key is another one"),
)


def test_there_is_an_example_of_every_reason() -> None:
    assert {type(example) for example in EXAMPLES} == set(get_args(Reason))


@pytest.mark.parametrize("reason", EXAMPLES, ids=key)
def test_every_reason_says_in_a_line_what_it_is_and_what_would_clear_it(reason: Reason) -> None:
    for text in (sentence(reason), remedy(reason, "lekiwi-002")):
        assert text
        assert "\n" not in text
        assert "NAME" not in text
        assert "None" not in text


@pytest.mark.parametrize("reason", EXAMPLES, ids=key)
def test_every_reason_crosses_the_wire_unchanged(reason: Reason) -> None:
    assert decode(encode(reason), Reason, what="a reason") == reason


def test_whatever_force_goes_over_says_so() -> None:
    for reason in EXAMPLES:
        assert ("--force" in remedy(reason)) == isinstance(
            reason, (*reasons.HOLDING_OFF, reasons.Overdue, reasons.Quarantined)
        )


def test_a_lease_is_released_by_its_id_or_runs_out() -> None:
    assert remedy(reasons.Busy("anna", "teleop", AT, AT, "h3"), "lekiwi-002") == (
        "lekiwi-agent release h3 on lekiwi-002, or wait until 14:02:10; "
        "or go over it: lekiwi robots resume lekiwi-002 --force"
    )


def test_a_lock_ends_with_its_process() -> None:
    assert remedy(reasons.Busy("python (pid 1234)", "busy", AT, None, "p1234"), "lekiwi-002") == (
        "end process 1234 on lekiwi-002; or go over it: lekiwi robots resume lekiwi-002 --force"
    )


def test_a_charging_battery_needs_only_time() -> None:
    assert remedy(reasons.LowBattery(30, 18, charging=True)).startswith("wait until it is charged to 30 %")


def test_a_reason_keeps_its_key_while_its_figures_change() -> None:
    assert key(reasons.LowDisk(10, 5)) == key(reasons.LowDisk(10, 6)) == "low_disk"
    assert key(reasons.Busy("anna", "teleop", AT, AT, "h3")) != key(reasons.Busy("anna", "teleop", AT, AT, "h4"))


def test_overdue_names_the_limit_as_it_was_written() -> None:
    assert sentence(reasons.Overdue(AT, 86400)).endswith("held off for longer than 1d")
    assert sentence(reasons.Overdue(AT, 5400)).endswith("held off for longer than 90m")
    assert sentence(reasons.Overdue(AT, 1.5)).endswith("held off for longer than 1.5s")
