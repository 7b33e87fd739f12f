"""What the ledger, and with it the server, is told of attempts."""

from datetime import UTC, datetime

import msgspec

from lekiwi_deploy.robot import record
from lekiwi_deploy.robot.ledger import Attempt, Ledger, SlotRecord
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef, Result
from lekiwi_deploy.wire.manifest import HookKind

NOW = datetime(2026, 8, 21, tzinfo=UTC)
A, B, C = (DeploymentId(f"dep_{letter * 8}") for letter in "ABC")


def known() -> Ledger:
    ledger = Ledger(generation=4)
    for number, id_ in enumerate((A, B, C)):
        ref = DeploymentRef(
            id=id_, digest=ManifestDigest(f"{number:064x}"), manifest_size=1, version=f"v{number}", created_at=NOW
        )
        ledger = msgspec.structs.replace(ledger, slots={**ledger.slots, id_: SlotRecord(ref=ref)})
        ledger = record.staged(ledger, id_, wire_bytes=number, ready_ms=5.0)
    return ledger


def live(ledger: Ledger, id_: DeploymentId, attempt: Attempt | None = None) -> Ledger:
    return record.activated(ledger, id_, boot="boot", now=NOW, restarted=("web",), judged=("web",), instead_of=attempt)


def healthy(ledger: Ledger) -> Ledger:
    return record.became_healthy(ledger, since=1.0, now=NOW, switch_ms=80.0, gap_ms=70.0)


def good(ledger: Ledger, id_: DeploymentId) -> Ledger:
    return record.proven(healthy(live(ledger, id_)), NOW)


def rolled_back(ledger: Ledger) -> Ledger:
    attempt = Attempt(deployment=B, generation=4, why="it crashed", restarted=("web",), log=("boom",))
    return live(record.condemned(live(ledger, B), "it crashed"), A, attempt)


def test_healthy_and_then_good_with_figures() -> None:
    ledger = healthy(live(known(), B))
    outcome = ledger.outcome
    assert outcome is not None
    assert (outcome.deployment, outcome.result, outcome.generation) == (B, Result.HEALTHY, 4)
    assert (outcome.switch_ms, outcome.gap_ms, outcome.ready_ms, outcome.wire_bytes) == (80.0, 70.0, 5.0, 1)
    ledger = record.proven(ledger, NOW)
    assert ledger.outcome is not None and ledger.outcome.result is Result.GOOD
    assert (ledger.slots[B].state, ledger.trial) == (SlotState.GOOD, None)


def test_a_hook_that_ran_is_remembered_for_this_attempt_only() -> None:
    ledger = record.hook_ran(live(known(), B), "web", HookKind.PREPARE, None)
    assert ledger.trial is not None and ledger.trial.hook("web", HookKind.PREPARE) is not None
    assert (
        ledger.trial.hook("web", HookKind.AFTER_START) is None and ledger.trial.hook("base", HookKind.PREPARE) is None
    )
    assert record.hook_ran(ledger, "web", HookKind.PREPARE, "again") == ledger
    again = record.started_again(ledger, "another boot")
    assert again.trial is not None and again.trial.hook("web", HookKind.PREPARE) is not None
    anew = live(live(ledger, A), B)
    assert anew.trial is not None and anew.trial.hooks == ()
    assert record.hook_ran(record.proven(healthy(anew), NOW), "web", HookKind.PREPARE, None).trial is None


def test_rolled_back_is_told_only_once_what_ran_before_runs_again() -> None:
    ledger = rolled_back(good(known(), A))
    assert ledger.outcome is not None and ledger.outcome.deployment == A
    assert (ledger.live, ledger.slots[B].state) == (A, SlotState.QUARANTINED)
    ledger = healthy(ledger)
    outcome = ledger.outcome
    assert outcome is not None
    assert (outcome.deployment, outcome.result) == (B, Result.ROLLED_BACK)
    assert (outcome.why, outcome.log) == ("it crashed", ("boom",))


def test_when_that_does_not_come_back_either_it_is_failed() -> None:
    ledger = record.held(rolled_back(good(known(), A)), "no camera", NOW, ())
    outcome = ledger.outcome
    assert outcome is not None
    assert (outcome.deployment, outcome.result) == (B, Result.FAILED)
    assert outcome.why is not None and "no camera" in outcome.why and A in outcome.why
    assert ledger.slots[A].state is SlotState.GOOD


def test_a_newer_switch_does_not_swallow_a_rollback() -> None:
    ledger = live(rolled_back(good(known(), A)), C)
    assert ledger.outcome is not None
    assert (ledger.outcome.deployment, ledger.outcome.result) == (B, Result.ROLLED_BACK)


def test_a_superseded_trial_is_neither_good_nor_bad() -> None:
    ledger = live(healthy(live(good(known(), A), B)), C)
    assert (ledger.slots[B].state, ledger.came_from) == (SlotState.STAGED, B)
    assert ledger.slots[B].last_healthy > 0


def test_giving_up_leaves_nothing_live() -> None:
    ledger = record.gave_up(live(known(), B), "it crashed", NOW, ("boom",))
    assert (ledger.live, ledger.trial) == (None, None)
    assert ledger.outcome is not None and ledger.outcome.result is Result.FAILED


def test_pruning_forgets_all_but_a_quarantine() -> None:
    ledger = record.gave_up(live(known(), B), "it crashed", NOW, ())
    ledger = record.pruned(record.pruned(ledger, B), C)
    assert set(ledger.slots) == {A, B}
    assert (ledger.slots[B].state, ledger.slots[B].why) == (SlotState.QUARANTINED, "it crashed")


def test_a_relapse_starts_the_time_over_but_tells_nothing_new() -> None:
    ledger = record.relapsed(healthy(live(known(), B)))
    assert ledger.trial is not None and ledger.trial.healthy_since is None
    again = record.became_healthy(ledger, since=9.0, now=NOW, switch_ms=1.0, gap_ms=1.0)
    assert again.outcome == ledger.outcome


def test_content_that_can_never_be_had_is_told_once() -> None:
    ledger = record.fetch_failed(known(), B, "no such manifest", NOW)
    assert ledger.outcome is not None and ledger.outcome.result is Result.FAILED
    assert record.fetch_failed(ledger, B, "again", NOW) is ledger
