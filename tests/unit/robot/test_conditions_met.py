"""What must hold on a robot before it switches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.conditions import FUTURE, SKEW, Readings, steady, unmet
from lekiwi_deploy.wire.manifest import Conditions
from lekiwi_deploy.wire.reasons import (
    Busy,
    ClockWrong,
    LowBattery,
    LowDisk,
    LowMemory,
    Overloaded,
    PowerTrouble,
    Reason,
    TooHot,
    key,
    sentence,
)

MADE = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
AGENT = datetime(2026, 6, 1, tzinfo=UTC)
ALL = Conditions(disk_free=100, memory_free=100, battery=30.0, temperature=80.0, load=2.0, power_good=True, clock=True)
BAD = Readings(
    disk_free=1, memory_free=1, battery=5.0, temperature=99.0, load=9.0, power=("under-voltage",),
    clock=datetime(1970, 1, 1, tzinfo=UTC),
)  # fmt: skip


def reasons(asked: Conditions, seen: Readings) -> tuple[Reason, ...]:
    return unmet(asked, seen, made=MADE, agent_made=AGENT)


def test_every_unmet_condition_is_told_in_the_order_of_the_conditions() -> None:
    kinds = [LowDisk, LowMemory, LowBattery, TooHot, Overloaded, PowerTrouble, ClockWrong]
    assert [type(reason) for reason in reasons(ALL, BAD)] == kinds


def test_what_cannot_be_read_holds() -> None:
    assert reasons(ALL, Readings()) == ()


def test_what_is_not_asked_for_is_not_looked_at() -> None:
    assert reasons(Conditions(disk_free=None, clock=False), BAD) == ()


def test_without_a_word_in_the_manifest_the_clock_is_looked_at() -> None:
    assert [type(reason) for reason in reasons(Conditions(), BAD)] == [ClockWrong]


@pytest.mark.parametrize(
    "clock",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2100, 1, 1, tzinfo=UTC),
        MADE - timedelta(hours=1),
        AGENT - timedelta(days=1),
    ],
)
def test_a_clock_that_cannot_be_right_is_told(clock: datetime) -> None:
    assert len(reasons(Conditions(), Readings(clock=clock))) == 1


@pytest.mark.parametrize(
    "clock", [MADE, MADE - timedelta(minutes=9), MADE + timedelta(days=3 * 365), MADE + timedelta(days=3650)]
)
def test_a_robot_that_lay_in_a_store_for_years_with_a_right_clock_is_not_held_back(clock: datetime) -> None:
    assert reasons(Conditions(), Readings(clock=clock)) == ()


def test_an_old_release_does_not_make_a_clock_before_the_agent_was_made_right() -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    (reason,) = unmet(Conditions(), Readings(clock=old + timedelta(days=1)), made=old, agent_made=AGENT)
    assert "agent was made after that" in sentence(reason)


@given(st.timedeltas(timedelta(days=-20_000), timedelta(days=60_000)))
def test_a_clock_is_wrong_exactly_outside_of_what_can_be(off: timedelta) -> None:
    clock = MADE + off
    wrong = bool(reasons(Conditions(), Readings(clock=clock)))
    assert wrong != (MADE - SKEW <= clock <= MADE + FUTURE)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_disk_is_low_exactly_below_what_is_asked_for(needed: int, free: int) -> None:
    found = reasons(Conditions(disk_free=needed, clock=False), Readings(disk_free=free))
    assert found == ((LowDisk(needed, free),) if free < needed else ())


def test_a_figure_that_moves_a_little_is_not_told_again() -> None:
    before = (LowDisk(100_000_000, 50_000_000), LowBattery(30, 18.0), TooHot(80, 85), ClockWrong(MADE, "why"))
    now: tuple[Reason, ...] = (
        LowDisk(100_000_000, 51_000_000),
        LowBattery(30, 18.4),
        TooHot(80, 86.5),
        ClockWrong(MADE + timedelta(minutes=5), "why"),
    )
    assert steady(before, now) == before


def test_a_hold_is_told_again_when_it_was_renewed_and_not_when_clocks_drift() -> None:
    before = Busy("anna", "teleop", MADE, MADE + timedelta(minutes=20), "h1")
    drifted = Busy("anna", "teleop", MADE, MADE + timedelta(minutes=20, seconds=1), "h1")
    renewed = Busy("anna", "teleop", MADE, MADE + timedelta(minutes=30), "h1")
    assert steady([before], (drifted,)) == (before,)
    assert steady([before], (renewed,)) == (renewed,)


def test_a_figure_that_moves_much_is_told() -> None:
    before = (LowDisk(100, 50), LowBattery(30, 18, charging=False), Overloaded(2, 3))
    now: tuple[Reason, ...] = (LowDisk(100, 80), LowBattery(30, 18, charging=True), Overloaded(2, 4))
    assert steady(before, now) == now


@given(st.permutations([LowDisk(100, 50), LowMemory(100, 50), Overloaded(2, 3)]))
def test_reasons_keep_their_own_order_whatever_was_told_before(before: list[Reason]) -> None:
    now: tuple[Reason, ...] = (LowDisk(100, 51), LowMemory(100, 51), Overloaded(2, 3.05))
    assert [key(reason) for reason in steady(before, now)] == [key(reason) for reason in now]
