"""A proven version that is doubted, because the machine went down too often at its start."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from lekiwi_deploy.robot.ledger import Ledger, SlotRecord, Trial
from lekiwi_deploy.robot.record import DOUBT_S, doubted, proven, started_again
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.trial import Bad, Good, Healthy, ServiceSeen, Waiting, judge
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import DeploymentRef, TrialPolicy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = DeploymentId("dep_aaaaaaaa")
REF = DeploymentRef(id=ID, digest="0" * 64, manifest_size=1, version="1", created_at=NOW)  # type: ignore[arg-type]
CRASHES = {"base": ServiceSeen(None, alive=False, exits=9, exit="exit 1")}


def ledger(state: SlotState = SlotState.GOOD, trial: Trial | None = None) -> Ledger:
    return Ledger(slots={ID: SlotRecord(ref=REF, state=state)}, live=ID, generation=7, trial=trial)


def test_it_is_on_trial_again_and_keeps_what_it_proved() -> None:
    after = doubted(ledger(), "boot-1")
    assert after.trial is not None
    assert (after.trial.deployment, after.trial.boot, after.trial.starts) == (ID, "boot-1", 1)
    assert after.slots[ID].state is SlotState.GOOD


def test_only_that_the_machine_goes_down_counts_not_what_its_services_do() -> None:
    trial = doubted(ledger(), "boot-1").trial
    assert trial is not None
    assert judge(trial, CRASHES, boot="boot-1", now=10.0) == Healthy()
    seen = msgspec.structs.replace(trial, healthy_since=10.0)
    assert judge(seen, CRASHES, boot="boot-1", now=10.0 + DOUBT_S - 1) == Waiting(good_in_s=1.0)
    assert judge(seen, CRASHES, boot="boot-1", now=10.0 + DOUBT_S) == Good()


def test_it_fails_when_the_machine_goes_down_three_more_times() -> None:
    after = doubted(ledger(), "boot-1")
    for number in (2, 3):
        assert after.trial is not None
        assert judge(after.trial, {}, boot=f"boot-{number}", now=1.0) == Waiting()
        after = started_again(after, f"boot-{number}")
    assert after.trial is not None
    found = judge(after.trial, {}, boot="boot-4", now=1.0)
    assert isinstance(found, Bad) and found.service is None and not found.keep


def test_it_is_good_again_when_it_stayed_up() -> None:
    after = proven(doubted(ledger(), "boot-1"), NOW)
    assert after.trial is None and after.slots[ID].state is SlotState.GOOD


@pytest.mark.parametrize(
    "unfit",
    [
        ledger(SlotState.HELD),
        Ledger(),
        ledger(trial=Trial(deployment=ID, generation=7, boot="boot-0", policy=TrialPolicy(), starts=2)),
    ],
    ids=["held", "nothing", "on trial"],
)
def test_what_is_not_proven_is_not_doubted(unfit: Ledger) -> None:
    assert doubted(unfit, "boot-1") is unfit
