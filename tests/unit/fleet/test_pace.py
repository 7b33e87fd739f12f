"""The pace that somebody chooses for one deployment is never faster than its environment's policy, unless by force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput, Blocked
from lekiwi_deploy.fleet.pace import _size, check_pace, steps_at
from lekiwi_deploy.wire.pace import Pace, Strategy
from lekiwi_deploy.wire.policy import RolloutStep

POLICY = (RolloutStep(robots=2, soak_s=30), RolloutStep(percent=50, soak_s=300, success=99), RolloutStep(approval=True))


def steps(pace: Pace, policy: tuple[RolloutStep, ...] = (), robots: int = 20, *, force: bool = False) -> list[str]:
    """`2 soak 30`, `50% soak 300`, `all approval`."""
    found = []
    for step in steps_at(pace, policy, robots, force=force):
        size = f"{step.robots}" if step.robots else f"{step.percent:g}%" if step.percent else "all"
        found.append(size + (f" soak {step.soak_s:g}" if step.soak_s else "") + (" approval" if step.approval else ""))
    return found


def test_each_strategy_in_an_environment_without_steps() -> None:
    assert steps(Pace(strategy=Strategy.ALL)) == []
    assert steps(Pace(strategy=Strategy.CANARY)) == ["1 soak 60", "all"]
    assert steps(Pace(strategy=Strategy.CANARY, canary_robots=3, soak_s=5)) == ["3 soak 5", "all"]
    assert steps(Pace(strategy=Strategy.CANARY, canary_percent=10)) == ["10% soak 60", "all"]
    assert steps(Pace(strategy=Strategy.WAVES)) == ["25% soak 60", "50% soak 60", "75% soak 60", "all"]
    assert steps(Pace(strategy=Strategy.WAVES, wave_percent=40, canary_robots=1)) == [
        "1 soak 60", "40% soak 60", "80% soak 60", "all",
    ]  # fmt: skip
    assert steps(Pace(strategy=Strategy.MANUAL)) == ["1 soak 60", "all approval"]
    assert steps(Pace(strategy=Strategy.MANUAL, wave_percent=50, soak_s=0)) == ["1", "50% approval", "all approval"]


def test_the_policys_steps_stay_and_those_asked_for_come_between_them() -> None:
    canary = Pace(strategy=Strategy.CANARY, canary_robots=1, soak_s=5)
    assert steps(canary, POLICY) == ["1 soak 5", "2 soak 30", "50% soak 300", "all approval"]
    waves = Pace(strategy=Strategy.WAVES, soak_s=60)
    assert steps(waves, POLICY) == ["2 soak 30", "25% soak 60", "50% soak 300", "75% soak 60", "all approval"]


def test_a_step_of_the_same_size_takes_the_stricter_of_both_gates() -> None:
    canary = Pace(strategy=Strategy.CANARY, canary_robots=2, soak_s=90)
    assert steps(canary, POLICY)[0] == "2 soak 90"
    tiny = Pace(strategy=Strategy.MANUAL, soak_s=600)
    assert steps(tiny, (RolloutStep(robots=1, soak_s=10),)) == ["1 soak 600", "all approval"]


def test_canaries_by_label_stay_where_the_policy_has_them() -> None:
    policy = (RolloutStep(select="hw=v2", soak_s=9), RolloutStep(percent=50))
    assert steps(Pace(strategy=Strategy.CANARY, soak_s=5), policy) == ["all soak 9", "1 soak 5", "50%", "all"]


def test_everybody_at_once_is_refused_where_the_policy_is_gradual_and_force_has_it() -> None:
    with pytest.raises(Blocked, match="--force"):
        steps(Pace(strategy=Strategy.ALL), POLICY)
    assert steps(Pace(strategy=Strategy.ALL), POLICY, force=True) == []
    assert steps(Pace(strategy=Strategy.CANARY), POLICY, force=True) == ["1 soak 60", "all"]


@pytest.mark.parametrize(
    "pace",
    [
        Pace(strategy=Strategy.CANARY, canary_robots=0),
        Pace(strategy=Strategy.CANARY, canary_robots=1, canary_percent=5),
        Pace(strategy=Strategy.WAVES, wave_percent=0),
        Pace(strategy=Strategy.WAVES, wave_percent=101),
        Pace(strategy=Strategy.WAVES, soak_s=-1),
        Pace(strategy=Strategy.ALL, canary_robots=1),
    ],
)
def test_what_cannot_be_meant_is_refused(pace: Pace) -> None:
    with pytest.raises(BadInput):
        check_pace(pace)


PACES = st.builds(
    Pace,
    strategy=st.sampled_from([Strategy.CANARY, Strategy.WAVES, Strategy.MANUAL]),
    canary_robots=st.none() | st.integers(1, 30),
    wave_percent=st.none() | st.floats(5, 100),
    soak_s=st.floats(0, 1000),
)
SHARES = st.lists(st.floats(1, 100), max_size=4).map(sorted)


@given(pace=PACES, shares=SHARES, robots=st.integers(1, 200), soak=st.floats(0, 1000))
def test_nobody_is_asked_sooner_than_the_policy_has_it(
    pace: Pace, shares: list[float], robots: int, soak: float
) -> None:
    policy = tuple(RolloutStep(percent=share, soak_s=soak) for share in shares)
    found = steps_at(pace, policy, robots, force=False)
    sizes = [_size(step, robots) for step in found]
    assert sizes == sorted(sizes)
    left = list(found)
    for step in policy:  # each is there still, in order, with at least its gates
        at = next(
            number
            for number, one in enumerate(left)
            if _size(one, robots) == _size(step, robots) and one.soak_s >= step.soak_s
        )
        left = left[at + 1 :]
    assert found[-1].percent in (None, 100.0) or sizes[-1] == robots
