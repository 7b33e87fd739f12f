"""What becomes of one robot, told from beginning to end: trials, reboots, fallbacks."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import Activate
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import Result, TrialPolicy
from lekiwi_deploy.wire.reasons import Quarantined, Settling
from single_robot import CHECK, IDS, SingleRobot, Way, short

A, B, C, D, E, F, G, H = IDS


def running(*proven: DeploymentId, **ways: Way) -> SingleRobot:
    """A robot on which these became good, one after the other; the last one runs. `ways`: of deployments that come later."""
    robot = SingleRobot(ways=by_letter(ways))
    for deployment in proven:
        robot.wants(deployment)
        robot.works()
        assert robot.state(deployment) is SlotState.GOOD, robot.told()
    return robot


def by_letter(ways: Mapping[str, Way]) -> dict[DeploymentId, Way]:
    return {each: ways[short(each)] for each in IDS if short(each) in ways}


def switched(robot: SingleRobot, deployment: DeploymentId, **ways: Way) -> None:
    """The robot goes over to `deployment`; from then on what ran before behaves in these ways, too."""
    robot.wants(deployment)
    while robot.ledger.live != deployment:
        robot.turn()
        if robot.fetching is not None:
            robot.download_ends()
    robot.ways.update(by_letter(ways))


def test_it_is_provisional_until_its_trial_is_over() -> None:
    robot = running(A)
    robot.wants(B)
    robot.works(until=5.0)
    assert (robot.process, robot.state(B)) == (B, SlotState.TRIAL)
    assert robot.ledger.outcome is not None and robot.ledger.outcome.result is Result.HEALTHY
    robot.works()
    assert robot.state(B) is SlotState.GOOD
    assert robot.ledger.outcome is not None and robot.ledger.outcome.result is Result.GOOD


def test_a_provisional_one_is_not_gone_back_to_while_there_is_a_good_one() -> None:
    robot = running(A, C=Way.EXITS)
    robot.wants(B)
    robot.works(until=5.0)
    robot.wants(C)
    robot.works()
    assert robot.process == A, robot.told()


def test_a_reboot_during_the_trial_resumes_it_from_the_start() -> None:
    robot = running(A)
    robot.wants(B)
    robot.works(until=8.0)
    robot.reboots()
    robot.works(until=8.0)
    assert robot.ledger.trial is not None and robot.ledger.trial.starts == 2
    assert (robot.process, robot.state(B)) == (B, SlotState.TRIAL), robot.told()
    robot.works()
    assert robot.state(B) is SlotState.GOOD


def test_what_failed_before_the_switch_cannot_cause_a_rollback() -> None:
    robot = running(A)
    robot.ways = {A: Way.FAILS, B: Way.FAILS}  # a broken camera, say
    robot.wants(B)
    robot.works(until=60.0)
    assert (robot.process, robot.state(B)) == (B, SlotState.HELD), robot.told()
    outcome = robot.ledger.outcome
    assert (
        outcome is not None and outcome.result is Result.FAILED and "as before this deployment" in (outcome.why or "")
    )


def test_what_only_an_unproven_one_failed_is_held_against_the_next() -> None:
    robot = running(A, B=Way.EXITS, C=Way.EXITS)
    robot.wants(B)
    robot.works(until=1.5)
    assert robot.ledger.live == B and robot.services()["web"].exits > 0
    robot.wants(C)
    robot.works()
    assert (robot.process, robot.state(C)) == (A, SlotState.QUARANTINED), robot.told()


def test_three_failed_starts_and_the_last_good_one_runs_with_no_human() -> None:
    robot = running(A, B, C=Way.EXITS)
    robot.wants(C)
    next_ = robot.works()
    assert (robot.process, robot.current, robot.state(C)) == (B, B, SlotState.QUARANTINED), robot.told()
    assert next_.waiting == (Quarantined(C, "web: exited with code 1, 3 times"),)
    outcome = robot.ledger.outcome
    assert outcome is not None and (outcome.deployment, outcome.result) == (C, Result.ROLLED_BACK)


@pytest.mark.parametrize("way", [Way.KILLS_AT_START, Way.KILLS_LATER])
def test_a_reboot_loop_ends_after_three_starts(way: Way) -> None:
    robot = running(A, B=way)
    robot.wants(B)
    robot.works()
    assert len(robot.starts[B]) == 3, robot.told()
    assert (robot.process, robot.state(B)) == (A, SlotState.QUARANTINED)
    assert robot.state(A) is SlotState.GOOD and robot.ledger.trial is None


def test_a_quarantined_one_is_never_started_again_until_a_person_forces_it() -> None:
    robot = running(A, B=Way.FAILS)
    robot.wants(B)
    robot.works()
    robot.ways = {}
    for _ in range(3):
        robot.connects()
        robot.reboots()
        robot.works()
    robot.wants(B)
    robot.works()
    assert robot.process == A and len(robot.starts[B]) == 1, robot.told()
    robot.wants(B, force=True)
    robot.works()
    assert (robot.process, robot.state(B)) == (B, SlotState.GOOD)


@pytest.mark.parametrize("way", [Way.EXITS, Way.FAILS, Way.KILLS_AT_START])
def test_when_what_it_goes_back_to_is_broken_too_the_newest_good_one_that_starts_runs(way: Way) -> None:
    robot = running(A, B, C, D=Way.FAILS)
    switched(robot, D, B=way, C=way)
    robot.works()
    assert robot.process == A, robot.told()
    assert [robot.state(each) for each in (A, B, C, D)] == [SlotState.GOOD] * 3 + [SlotState.QUARANTINED]
    outcome = robot.ledger.outcome
    assert outcome is not None and (outcome.deployment, outcome.result) == (D, Result.ROLLED_BACK)
    assert f"{C}, which ran before, did not come back" in (outcome.why or "")


def test_when_none_comes_up_the_best_one_is_tried_for_ever_and_nothing_proven_is_condemned() -> None:
    robot = running(A, B, C, D=Way.EXITS)
    switched(robot, D, A=Way.EXITS, B=Way.EXITS, C=Way.EXITS)  # the arm was unplugged
    robot.works(until=300.0)
    assert (robot.ledger.live, robot.process, robot.ledger.trial) == (C, C, None), robot.told()
    assert [robot.state(each) for each in (A, B, C)] == [SlotState.GOOD] * 3
    outcome = robot.ledger.outcome
    assert outcome is not None and (outcome.deployment, outcome.result) == (D, Result.FAILED)
    robot.reboots()
    robot.works(until=60.0)
    assert robot.process == C
    robot.ways = {}
    robot.works(until=60.0)
    assert robot.services()["web"].ready


def test_no_more_than_five_are_gone_back_to() -> None:
    robot = running(A, B, C, D, E, F, G)
    switched(robot, H, **{short(each): Way.FAILS for each in IDS})
    robot.works(until=600.0)
    assert robot.ledger.live == G, robot.told()
    gone_back_to = [line for line in robot.story if "on to" in line]
    assert len(gone_back_to) == 5 and gone_back_to[-1].endswith("on to G")


def test_power_that_fails_again_and_again_ends_with_the_best_one_running() -> None:
    robot = running(A, B, C)
    robot.wants(D)
    for _ in range(30):
        robot.works(until=6.0)
        robot.reboots()
    robot.works()
    assert robot.process == C, robot.told()
    assert [robot.state(each) for each in (A, B, C, D)] == [SlotState.GOOD] * 3 + [SlotState.QUARANTINED]


def test_a_first_deployment_that_fails_leaves_nothing_to_go_back_to() -> None:
    robot = SingleRobot(ways={A: Way.FAILS})
    robot.wants(A)
    robot.works()
    assert (robot.process, robot.ledger.live, robot.state(A)) == (None, None, SlotState.QUARANTINED)
    robot.wants(B)
    robot.works()
    assert robot.process == B


def test_what_takes_the_machine_down_is_not_started_again_while_what_ran_before_is_mended() -> None:
    robot = running(A, B=Way.KILLS_AT_START)
    robot.loses(A)
    robot.wants(B)
    robot.unobtainable = {A}
    robot.works()
    assert (robot.process, robot.ledger.live, len(robot.starts[B])) == (None, None, 3), robot.told()
    robot.unobtainable = set()
    robot.connects()
    robot.works()
    assert (robot.process, robot.state(A), robot.state(B)) == (A, SlotState.GOOD, SlotState.QUARANTINED), robot.told()
    outcome = robot.ledger.outcome
    assert outcome is not None and (outcome.deployment, outcome.result) == (B, Result.ROLLED_BACK)


def test_what_takes_the_machine_down_is_not_left_running_whatever_the_policy() -> None:
    robot = running(A, B=Way.KILLS_AT_START)
    robot.wants(B, policy=TrialPolicy(roll_back=False))
    robot.works()
    assert robot.process == A, robot.told()


def test_a_policy_without_rollback_leaves_the_failed_one_running() -> None:
    robot = running(A, B=Way.FAILS)
    robot.wants(B, policy=TrialPolicy(roll_back=False))
    robot.works(until=60.0)
    assert (robot.process, robot.state(B)) == (B, SlotState.HELD)


def test_a_robot_does_not_change_to_and_fro_for_ever() -> None:
    robot = running(A)
    robot.wants(B)
    robot.works()
    for _ in range(10):  # its disk damages what is live, and what stands in for it, by turns
        robot.loses(B)
        robot.reboots()
        robot.unobtainable = {B}
        robot.works(until=30.0)
        robot.unobtainable = set()
        robot.connects()
        robot.works(until=60.0)
    stays = robot.works(until=10.0)
    assert robot.process == A and robot.present >= {A, B}, robot.told()
    assert [type(reason) for reason in stays.waiting] == [Settling]
    assert sum(1 for line in robot.story if "B is live" in line) <= 4
    robot.wants(B)  # a person deploys it again
    robot.works()
    assert robot.process == B, robot.told()


def test_going_back_is_never_held_up_by_how_often_it_changed() -> None:
    robot = running(A)
    for _ in range(20):
        robot.wants(B, force=True)
        robot.works()
        robot.wants(A, force=True)
        robot.works()
    robot.ways = {C: Way.EXITS}
    robot.wants(C)
    robot.works()
    assert robot.process == A and robot.state(C) is SlotState.QUARANTINED


def test_the_server_may_be_gone_all_the_while() -> None:
    robot = running(A, B, C=Way.KILLS_LATER)
    switched(robot, C, B=Way.FAILS)
    robot.sent = None  # the link is down from now on
    robot.works()
    assert robot.process == A, robot.told()


def test_its_check_is_told_by_the_name_that_the_baseline_knows() -> None:
    robot = running(A)
    robot.ways = {A: Way.FAILS}
    robot.wants(B)
    robot.works(until=3.0)
    assert robot.ledger.trial is not None and robot.ledger.trial.baseline == (("web", CHECK),)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_the_robot_ends_up_running_something_that_works(seed: int) -> None:
    chance = random.Random(seed)
    robot = running(A, **{short(each): chance.choice(list(Way)) for each in IDS[1:]})
    for _ in range(30):
        match chance.randrange(6):
            case 0:
                robot.wants(chance.choice(IDS))
            case 1:
                robot.reboots()
            case 2:
                robot.agent_dies()
                robot.connects()
            case 3:
                robot.loses(chance.choice(IDS[1:]), tree_only=chance.random() < 0.5)
            case _:
                robot.works(until=chance.uniform(0.5, 40.0))
    robot.connects()
    last = robot.works(until=3600.0)
    story = f"seed {seed}\n{robot.told()}\nnext: {last}"
    assert robot.process is not None and robot.process == robot.ledger.live == robot.current, story
    assert not any(isinstance(step, Activate) for step in last.steps), story
    assert robot.way() in (Way.FINE, Way.SLOW), story
    assert robot.state(robot.process) is SlotState.GOOD, story
