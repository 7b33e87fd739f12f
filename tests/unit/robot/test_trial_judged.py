from typing import Any

import msgspec

from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.ledger import Attempt, HookRun, Trial
from lekiwi_deploy.robot.trial import Bad, CheckSeen, Good, Healthy, Relapsed, ServiceSeen, Waiting, failing, judge
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import TrialPolicy
from lekiwi_deploy.wire.manifest import HookKind

DEPLOYMENT = DeploymentId("dep_AAAAAAAA")
TRIAL = Trial(deployment=DEPLOYMENT, generation=1, boot="boot", policy=TrialPolicy(trial_s=10), judged=("web",))
ATTEMPT = Attempt(deployment=DeploymentId("dep_BBBBBBBB"), generation=1, why="it crashed")
PASSES, WAITS = CheckSeen(Verdict.PASSING), CheckSeen(Verdict.WAITING)
FAILS = CheckSeen(Verdict.FAILING, "http :80/ answered 500")


def service(check: CheckSeen = PASSES, **more: Any) -> ServiceSeen:
    return ServiceSeen(**{"fingerprint": "f", "alive": True, "checks": {"http :80/": check}, **more})


def down(exits: int) -> ServiceSeen:
    return ServiceSeen("f", alive=False, exits=exits, exit="exited with code 1")


def verdict(
    web: ServiceSeen, trial: Trial = TRIAL, *, now: float = 0.0, boot: str = "boot", **others: ServiceSeen
) -> Any:
    return judge(trial, {"web": web, **others}, boot=boot, now=now)


def having(**changes: Any) -> Trial:
    policy = {name: changes.pop(name) for name in ("checks", "roll_back", "starts", "trial_s") if name in changes}
    return msgspec.structs.replace(TRIAL, policy=msgspec.structs.replace(TRIAL.policy, **policy), **changes)


HEALTHY = {"healthy_since": 100.0, "told": True}


def test_it_is_healthy_once_the_changed_services_pass_their_checks() -> None:
    assert verdict(service(WAITS)) == Waiting(("web",))
    assert verdict(service(PASSES)) == Healthy()


def test_a_service_that_is_not_started_yet_is_waited_for() -> None:
    assert judge(TRIAL, {}, boot="boot", now=0) == Waiting(())


def test_a_hook_that_failed_before_or_after_the_start_fails_it() -> None:
    for kind in (HookKind.PREPARE, HookKind.AFTER_START):
        failed = having(hooks=(HookRun(service="web", kind=kind, failure="web: no calibration"),))
        assert verdict(service(), failed) == Bad("web: no calibration", "web", keep=False)


def test_a_hook_before_the_start_that_failed_keeps_nothing_running_and_one_after_it_does_as_the_policy_says() -> None:
    before = HookRun(service="web", kind=HookKind.PREPARE, failure="no")
    after = HookRun(service="web", kind=HookKind.AFTER_START, failure="no")
    assert verdict(service(), having(hooks=(before,), roll_back=False)) == Bad("no", "web", keep=False)
    assert verdict(service(), having(hooks=(after,), roll_back=False)) == Bad("no", "web", keep=True)
    assert verdict(service(), having(hooks=(before,), instead_of=ATTEMPT)) == Bad(
        "no", "web", keep=False, returning=True
    )


def test_hooks_that_did_what_they_should_and_failures_around_the_old_version_do_not_matter() -> None:
    runs = (
        HookRun(service="web", kind=HookKind.PREPARE),
        HookRun(service="web", kind=HookKind.BEFORE_STOP, failure="no"),
    )
    assert verdict(service(), having(hooks=runs)) == Healthy()


def test_it_is_good_after_being_healthy_for_the_whole_time() -> None:
    assert verdict(service(), having(**HEALTHY), now=104) == Waiting(good_in_s=6.0)
    assert verdict(service(), having(**HEALTHY), now=110) == Good()


def test_a_failed_check_is_the_reason() -> None:
    assert verdict(service(FAILS)) == Bad("web: http :80/ answered 500", "web", keep=False)


def test_a_service_that_exits_has_as_many_starts_as_the_policy_says() -> None:
    assert verdict(down(2)) == Waiting(("web",))
    assert verdict(down(3)) == Bad("web: exited with code 1, 3 times", "web", keep=False)
    assert verdict(down(1), having(starts=1)) == Bad("web: exited with code 1", "web", keep=False)


def test_services_that_did_not_change_cannot_fail_it() -> None:
    assert verdict(service(), base=service(FAILS)) == Healthy()


def test_strict_looks_at_every_service_after_the_switch() -> None:
    strict = having(checks="strict", **HEALTHY)
    assert verdict(service(), strict, now=105, base=service(FAILS)) == Bad(
        "base: http :80/ answered 500", "base", keep=False
    )


def test_minimal_asks_only_for_life_once_it_was_healthy() -> None:
    assert verdict(service(FAILS), having(checks="minimal", **HEALTHY), now=105) == Waiting(good_in_s=5.0)
    assert isinstance(verdict(service(FAILS), having(checks="normal", **HEALTHY), now=105), Bad)


def test_a_short_absence_starts_the_time_over() -> None:
    assert verdict(down(1), having(**HEALTHY), now=105) == Relapsed()
    assert verdict(service(), having(told=True), now=106) == Healthy()


def test_a_check_that_failed_before_cannot_cause_a_rollback() -> None:
    trial = having(baseline=(("web", "http :80/"),))
    judged = verdict(service(FAILS), trial)
    assert isinstance(judged, Bad)
    assert judged.keep
    assert "as before" in judged.why


def test_a_new_fault_beside_an_old_one_still_counts() -> None:
    trial = having(judged=("base", "web"), baseline=(("web", "http :80/"),))
    judged = verdict(service(FAILS), trial, base=down(3))
    assert judged == Bad("base: exited with code 1, 3 times", "base", keep=False)


def test_an_excused_check_does_not_end_it_before_the_others_are_decided() -> None:
    trial = having(judged=("base", "web"), baseline=(("web", "http :80/"),))
    assert isinstance(verdict(service(FAILS), trial, base=service(WAITS)), Waiting)


def test_without_rolling_back_it_is_kept() -> None:
    assert verdict(service(FAILS), having(roll_back=False)) == Bad("web: http :80/ answered 500", "web", keep=True)


def test_what_was_gone_back_to_and_fails_is_told_apart() -> None:
    found = verdict(service(FAILS), having(instead_of=ATTEMPT, roll_back=False))
    assert found == Bad("web: http :80/ answered 500", "web", keep=False, returning=True)


def test_at_most_three_boots_without_becoming_good() -> None:
    assert isinstance(verdict(service(), having(starts=3), boot="other"), Waiting)
    tried = msgspec.structs.replace(TRIAL, starts=3)
    assert verdict(service(), tried, boot="other") == Bad("started 3 times without becoming good", None, keep=False)


def test_the_baseline_is_what_fails_now() -> None:
    seen = {"a": service(FAILS), "b": service(), "c": down(2), "d": service(WAITS)}
    assert failing(seen) == (("a", "http :80/"), ("c", "process"))
