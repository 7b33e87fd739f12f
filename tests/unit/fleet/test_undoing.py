"""What takes a change back: each says what it does and what has to be there still."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from lekiwi_deploy.fleet.undoing import (
    AliasAgain,
    DrainAgain,
    EnvironmentAgain,
    FreezeAgain,
    Frost,
    GroupAgain,
    Inverse,
    LabelsAgain,
    LiveAgain,
    PauseAgain,
    PlaceAgain,
    PolicyAgain,
    RobotAgain,
    RobotGone,
    VariablesAgain,
    after,
    nothing_before,
    subject,
    text,
)
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId
from lekiwi_deploy.wire.policy import Policy

OLD, NEW = DeploymentId("dep_7kQ2mX4b"), DeploymentId("dep_8jK4mN9p")
PRODUCTION, KIWI = EnvironmentName("production"), RobotId("kiwi-1")
FROST = Frost("anna", datetime(2026, 11, 23, 14, 2, tzinfo=UTC), "demo")

CASES: list[tuple[Inverse, str, object]] = [
    (LiveAgain(environment=PRODUCTION, before=OLD, after=NEW), f"production runs {OLD} again instead of {NEW}", NEW),
    (
        LiveAgain(environment=PRODUCTION, before=OLD, after=NEW, frost=FROST),
        f"production runs {OLD} again instead of {NEW}, and is frozen again",
        NEW,
    ),
    (AliasAgain(name="stable", before=None, after=NEW), "the alias stable is removed", NEW),
    (AliasAgain(name="stable", before=OLD, after=None), f"the alias stable is {OLD} again", None),
    (
        VariablesAgain(
            scope="environment", of="production", names=("A", "B"), before=3, after=5, applied=(PRODUCTION,)
        ),
        "A, B of environment production are as before, at once in production",
        5,
    ),
    (VariablesAgain(scope="project", of="", names=("A",), before=3, after=5), "A of project is as before", 5),
    (
        PolicyAgain(environment=PRODUCTION, before=None, after=Policy()),
        "the policy of production is the defaults again",
        (Policy(), None),
    ),
    (
        PolicyAgain(environment=PRODUCTION, before=Policy(), after=None),
        "the policy of production is as before",
        (None, None),
    ),
    (EnvironmentAgain(environment=PRODUCTION, made=True), "the environment production is removed", True),
    (
        EnvironmentAgain(environment=PRODUCTION, made=False),
        "the environment production is made again, with its policy",
        False,
    ),
    (GroupAgain(name="lab", before=None, after="site=lab"), "the group lab is not defined any more", "site=lab"),
    (GroupAgain(name="lab", before="a=b", after=None), "the group lab is a=b again", None),
    (FreezeAgain(environment=PRODUCTION, before=None, after=FROST), "production is unfrozen", True),
    (FreezeAgain(environment=PRODUCTION, before=FROST, after=None), "production is frozen again", False),
    (
        LabelsAgain(robot=KIWI, before={"hw": "v1", "site": None}, after={"hw": "v2", "site": "lab"}),
        "robot kiwi-1 has hw=v1, no site again",
        {"hw": "v2", "site": "lab"},
    ),
    (
        PlaceAgain(robot=KIWI, before=PRODUCTION, after=EnvironmentName("staging")),
        "robot kiwi-1 is in production again",
        "staging",
    ),
    (DrainAgain(robot=KIWI, drained=True), "robot kiwi-1 takes part in deployments again", True),
    (DrainAgain(robot=KIWI, drained=False), "robot kiwi-1 is drained again", False),
    (PauseAgain(rollout=RolloutId("rol_1"), paused=True), "the rollout rol_1 goes on", True),
    (PauseAgain(rollout=RolloutId("rol_1"), paused=False), "the rollout rol_1 is paused again", False),
    (RobotAgain(robot=KIWI, before=None, after=NEW), "robot kiwi-1 follows its environment again", NEW),
    (RobotAgain(robot=KIWI, before=OLD, after=None), f"robot kiwi-1 is pinned to {OLD} again", None),
    (RobotGone(robot=KIWI), "robot kiwi-1 is forgotten", True),
]


@pytest.mark.parametrize(("inverse", "said", "left"), CASES)
def test_each_says_what_it_does_and_what_the_change_left(inverse: Inverse, said: str, left: object) -> None:
    assert (text(inverse), after(inverse)) == (said, left)
    assert subject(inverse)
    stored = msgspec.json.encode(inverse)
    assert msgspec.json.decode(stored, type=Inverse) == inverse  # type: ignore[arg-type]


def test_the_first_deployment_has_nothing_to_go_back_to() -> None:
    assert "nothing was live in production" in nothing_before(LiveAgain(environment=PRODUCTION, before=None, after=NEW))
    assert nothing_before(LiveAgain(environment=PRODUCTION, before=OLD, after=NEW)) == ""


def test_the_making_of_an_environment_and_its_policy_are_one_subject() -> None:
    made = EnvironmentAgain(environment=PRODUCTION, made=True)
    assert subject(made) == subject(PolicyAgain(environment=PRODUCTION, before=None, after=None))
    assert subject(made) != subject(FreezeAgain(environment=PRODUCTION, before=None, after=FROST))
