from datetime import UTC, datetime
from typing import Any

from lekiwi_deploy.robot.instance_types import StopInstance
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import (
    Activate,
    ChangeInstances,
    CountStart,
    Fetch,
    GiveUp,
    Hold,
    LayOut,
    MarkGood,
    MarkHealthy,
    Next,
    Observed,
    PointCurrent,
    Prune,
    RollBack,
    StopFetch,
    TearDown,
    next_steps,
)
from lekiwi_deploy.robot.trial import Bad, Good, Healthy, Waiting
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId
from lekiwi_deploy.wire.reasons import DiskFull, NotBuiltFor, Pinned, Quarantined

A, B, C = (DeploymentId(f"dep_{letter * 8}") for letter in "ABC")
HERE = {"present": frozenset({A, B}), "laid_out": frozenset({A, B})}
BAD = Bad("web: it crashed", "web", keep=False)

STOP = (StopInstance(InstanceId("web-1")),)


def seen(**more: Any) -> Observed:
    """A robot that runs A well and has B."""
    slots = {A: SlotState.GOOD, B: SlotState.STAGED}
    return Observed(**{"slots": slots, "live": A, "current": A, **HERE, **more})


def test_nothing_is_done_when_everything_is_as_wanted() -> None:
    assert next_steps(A, seen()) == Next()
    assert next_steps(None, seen()) == Next()


def test_what_is_not_here_is_fetched_once() -> None:
    assert next_steps(C, seen()) == Next((Fetch(C),))
    assert next_steps(C, seen(fetching=C)) == Next()


def test_a_newer_target_replaces_a_download() -> None:
    assert next_steps(C, seen(fetching=B)) == Next((StopFetch(), Fetch(C)))
    assert next_steps(A, seen(fetching=B)) == Next((StopFetch(),))


def test_what_is_here_is_laid_out_and_then_switched_to() -> None:
    assert next_steps(B, seen(laid_out=frozenset({A}))) == Next((LayOut(B),))
    assert next_steps(B, seen()) == Next((Activate(B),))


def test_a_hold_forbids_the_switch_and_nothing_else() -> None:
    hold = Pinned("x", "anna", datetime(2026, 1, 1, tzinfo=UTC))
    assert next_steps(B, seen(), (hold,)) == Next((), (hold,))
    assert next_steps(B, seen(judgement=BAD, fallback=B), (hold,)).steps == (RollBack(A, B, "web: it crashed", "web"),)


def test_a_failed_trial_goes_back() -> None:
    assert next_steps(A, seen(judgement=BAD, fallback=B)) == Next((RollBack(A, B, "web: it crashed", "web"),))


def test_a_failed_trial_comes_before_a_newer_target() -> None:
    assert next_steps(C, seen(judgement=BAD, fallback=B)).steps == (RollBack(A, B, "web: it crashed", "web"),)


def test_with_nowhere_to_go_back_to_it_gives_up() -> None:
    assert next_steps(A, seen(judgement=BAD)).steps == (GiveUp(A, "web: it crashed", "web"),)


def test_with_a_damaged_fallback_it_keeps_what_runs() -> None:
    (step,) = next_steps(A, seen(judgement=BAD, lost=B)).steps
    assert isinstance(step, Hold)
    assert "damaged" in step.why


def test_what_is_to_be_kept_is_held() -> None:
    kept = Bad("web: it crashed", "web", keep=True)
    assert next_steps(A, seen(judgement=kept, fallback=B)).steps == (Hold(A, "web: it crashed", "web"),)


def test_verdicts_are_written_down() -> None:
    assert next_steps(A, seen(judgement=Healthy())).steps == (MarkHealthy(A),)
    assert next_steps(A, seen(judgement=Good())).steps == (MarkGood(A),)


def test_a_quarantined_target_is_left_alone_with_its_reason() -> None:
    quarantined = seen(slots={A: SlotState.GOOD, B: SlotState.QUARANTINED}, why={B: "it crashed"})
    assert next_steps(B, quarantined) == Next((), (Quarantined(B, "it crashed"),))
    assert next_steps(B, seen(slots={B: SlotState.QUARANTINED}, live=A, stale=("web",), changes=STOP)).steps == (
        ChangeInstances(STOP),
    )


def test_a_download_that_cannot_be_tried_now_says_why() -> None:
    full = DiskFull(10, 5)
    assert next_steps(C, seen(blocked={C: full})) == Next((), (full,))


def test_what_was_not_built_for_this_machine_is_not_started() -> None:
    assert next_steps(B, seen(unfit={B: "linux-riscv64"})) == Next((), (NotBuiltFor("linux-riscv64"),))


def test_after_a_crash_the_link_and_the_services_follow_the_ledger() -> None:
    assert next_steps(A, seen(current=B, stale=("web",), changes=STOP)).steps == (
        PointCurrent(A),
        ChangeInstances(STOP),
    )


def test_a_boot_during_the_trial_counts_before_anything_starts() -> None:
    counted = seen(judgement=Waiting(), boot_counted=False, stale=("web",), changes=STOP)
    assert next_steps(A, counted).steps == (CountStart(A),)


def test_services_do_not_start_out_of_a_damaged_slot() -> None:
    assert next_steps(A, seen(laid_out=frozenset({B}), stale=("web",), changes=STOP)).steps == (LayOut(A),)
    assert next_steps(A, seen(present=frozenset({B}), laid_out=frozenset({B}), stale=("web",), changes=STOP)).steps == (
        Fetch(A),
    )


def test_with_nothing_live_leftover_services_stop() -> None:
    assert next_steps(None, seen(live=None, stale=("web",), changes=STOP)).steps == (ChangeInstances(STOP),)


def test_tidying_waits_until_there_is_nothing_else() -> None:
    untidy = seen(fallback=B, laid_out=frozenset({A}), prune=(C,), tear_down=(C,))
    assert next_steps(A, untidy).steps == (LayOut(B),)
    tidy = seen(fallback=B, prune=(C,), tear_down=(C,))
    assert next_steps(A, tidy).steps == (TearDown(C), Prune(C))
    assert next_steps(B, tidy).steps == (Activate(B),)
