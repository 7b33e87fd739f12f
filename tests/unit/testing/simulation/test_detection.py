"""A bad release is stopped early, and a good one is not stopped, in nearly every seed. `python -m benchmarks --only detection` does it in full."""

from __future__ import annotations

from lekiwi_deploy.testing.simulation.detection import course, first_two, roll_out

ROBOTS, WAVE = 2000, 250
SEEDS = 100


def test_a_release_that_fails_on_a_twentieth_is_stopped_within_the_canaries_and_one_wave() -> None:
    ended = [roll_out(seed, ROBOTS, 0.05) for seed in range(SEEDS)]
    caught = [one for one in ended if one.stopped is not None and one.asked <= first_two(ROBOTS)]
    assert len(caught) >= SEEDS - 2


def test_a_good_release_is_not_stopped() -> None:
    stopped = [one for one in (roll_out(seed, ROBOTS, 0.002) for seed in range(SEEDS)) if one.stopped is not None]
    assert len(stopped) <= 2, stopped


def test_the_course_goes_from_canaries_in_waves_to_everybody() -> None:
    steps = [step.robots for step in course(1000).steps]
    assert steps == [10, 260, 510, 760, None]
