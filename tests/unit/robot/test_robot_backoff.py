from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.backoff import fetch_delay, full_jitter, reconnect_delay, restart_delay

CHANCE = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10_000), CHANCE, st.floats(1, 600))
def test_reconnects_wait_between_nothing_and_the_servers_bound(attempt: int, chance: float, cap: float) -> None:
    assert 0 <= reconnect_delay(attempt, chance, cap_s=cap) <= cap


@given(st.integers(0, 60), CHANCE)
def test_the_bound_doubles_and_the_draw_is_uniform_below_it(attempt: int, chance: float) -> None:
    assert full_jitter(attempt, base_s=1.0, cap_s=1e30, randomness=chance) == chance * 2.0 ** min(attempt, 30)


def test_the_first_reconnect_comes_within_a_second_and_the_tenth_within_a_minute() -> None:
    assert reconnect_delay(0, 0.999) < 1
    assert 59 < reconnect_delay(9, 0.9999) < 60


def test_a_restart_never_becomes_a_busy_loop_and_never_waits_over_half_a_minute() -> None:
    assert restart_delay(1, 0.0) == 0.05
    assert restart_delay(1000, 0.999999) < 30.1
    assert fetch_delay(1, 0.0) == 0.2
    assert fetch_delay(1000, 0.999999) < 60.3
