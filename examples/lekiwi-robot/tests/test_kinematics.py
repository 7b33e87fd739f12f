import itertools

import pytest
from kiwi.base.kinematics import MAX_RAW, to_body, to_wheels


@pytest.mark.parametrize("velocity", list(itertools.product((-0.1, 0.0, 0.07), (-0.1, 0.0, 0.05), (-40.0, 0.0, 30.0))))
def test_wheels_move_the_body_as_was_asked(velocity: tuple[float, float, float]) -> None:
    assert to_body(to_wheels(*velocity)) == pytest.approx(velocity, abs=0.15)
    assert to_body(to_wheels(*velocity))[:2] == pytest.approx(velocity[:2], abs=1e-3)


def test_turning_on_the_spot_turns_all_wheels_alike() -> None:
    assert len(set(to_wheels(0, 0, 90))) == 1


def test_too_fast_a_wish_keeps_its_direction() -> None:
    wheels = to_wheels(3.0, -1.5, 0)
    assert max(map(abs, wheels)) == MAX_RAW
    x, y, theta = to_body(wheels)
    assert y / x == pytest.approx(-0.5, abs=1e-3)
    assert theta == pytest.approx(0, abs=0.1)
