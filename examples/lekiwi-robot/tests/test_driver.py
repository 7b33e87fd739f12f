import json

import pytest
from kiwi.base.driver import WATCHDOG_S, Driver
from kiwi.base.motors import SimulatedMotors
from kiwi.common.messages import BadCommand, read_command


def test_commands_turn_wheels_and_move_the_arm() -> None:
    motors = SimulatedMotors()
    driver = Driver(motors, now=0.0)
    driver.obey(read_command(b'{"x.vel": 0.1, "arm_gripper.pos": 30}'), now=0.0)
    assert not driver.tick(0.1)
    seen = json.loads(driver.observation())
    assert seen["x.vel"] == pytest.approx(0.1, abs=1e-3)
    assert 0 < seen["arm_gripper.pos"] < 30
    assert driver.busy(0.1)


def test_the_wheels_stop_when_commands_cease_and_the_arm_stays() -> None:
    motors = SimulatedMotors()
    driver = Driver(motors, now=0.0)
    driver.obey(read_command(b'{"x.vel": 0.2, "arm_elbow_flex.pos": -40}'), now=0.0)
    assert not driver.tick(WATCHDOG_S - 0.01)
    assert any(motors.wheels)
    assert driver.tick(WATCHDOG_S)
    assert motors.wheels == (0, 0, 0)
    assert motors.positions["elbow_flex"] == -40
    assert not driver.tick(WATCHDOG_S + 1)
    assert not driver.busy(WATCHDOG_S + 1)


def test_joints_end_at_their_limits() -> None:
    motors = SimulatedMotors()
    motors.move_arm({"gripper": -50, "wrist_roll": 900})
    motors.advance(10)
    assert (motors.positions["gripper"], motors.positions["wrist_roll"]) == (0, 100)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"x.vel": "fast"}', b'{"x.vel": NaN}', b'{"y.vel": true}', b'{"z.vel": 1}', b"\xff"]
)
def test_what_is_no_command_is_refused(data: bytes) -> None:
    with pytest.raises(BadCommand):
        read_command(data)
