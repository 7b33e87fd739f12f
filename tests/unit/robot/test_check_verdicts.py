from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.health import (
    CheckState,
    Verdict,
    after_probe,
    check_key,
    next_probe_in,
    probe_timeout,
    verdict,
)
from lekiwi_deploy.wire.manifest import CommandCheck, HealthCheck, HttpCheck, ProcessCheck, TcpCheck

HTTP = HttpCheck(path="/health", interval_s=2, timeout_s=1, retries=3, within_s=10)


def after(*errors: str | None) -> CheckState:
    state = CheckState(started_at=100.0)
    for error in errors:
        state = after_probe(state, error)
    return state


def test_a_starting_service_has_its_time_however_often_it_fails() -> None:
    state = after(*["refused"] * 100)
    assert verdict(state, HTTP, 109.9) is Verdict.WAITING
    assert verdict(state, HTTP, 110.0) is Verdict.FAILING
    assert state.error == "refused"


def test_it_passes_at_its_first_success() -> None:
    assert verdict(after("refused", None), HTTP, 100.1) is Verdict.PASSING


def test_afterwards_only_failures_in_a_row_count() -> None:
    assert verdict(after(None, "500", "500", None, "500", "500"), HTTP, 200) is Verdict.PASSING
    assert verdict(after(None, "500", "500", "500"), HTTP, 200) is Verdict.FAILING
    assert verdict(after(None, "500", "500", "500", None), HTTP, 200) is Verdict.PASSING


def test_a_process_is_fine_once_it_lived_long_enough() -> None:
    check = ProcessCheck(settle_s=1.0)
    assert verdict(CheckState(100.0), check, 100.9) is Verdict.WAITING
    assert verdict(CheckState(100.0), check, 101.0) is Verdict.PASSING
    assert next_probe_in(CheckState(100.0), check, 100.25) == 0.75


def test_a_starting_service_is_asked_every_few_milliseconds() -> None:
    assert next_probe_in(after(), HTTP, 100.0) == 0.010
    assert next_probe_in(after(*["refused"] * 40), HTTP, 101.0) == 0.025
    assert next_probe_in(after(*["refused"] * 40), HTTP, 105.0) == 0.25


def test_a_command_is_not_started_every_few_milliseconds() -> None:
    assert next_probe_in(after(), CommandCheck(run=("true",)), 100.0) == 0.25


def test_a_running_service_is_asked_at_its_interval() -> None:
    assert next_probe_in(after(None), HTTP, 200.0) == 2


CHECKS = st.one_of(
    st.builds(
        HttpCheck,
        path=st.just("/"),
        interval_s=st.floats(0.1, 60),
        timeout_s=st.floats(0.1, 60),
        within_s=st.floats(0.1, 60),
    ),
    st.builds(TcpCheck, interval_s=st.floats(0.1, 60), within_s=st.floats(0.1, 60)),
    st.builds(CommandCheck, run=st.just(("true",)), interval_s=st.floats(0.1, 60), within_s=st.floats(0.1, 60)),
)


@given(CHECKS, st.lists(st.sampled_from([None, "no"]), max_size=8), st.floats(0, 200))
def test_waiting_for_a_probe_never_misses_a_deadline_and_never_spins(
    check: HealthCheck, errors: list[str | None], elapsed: float
) -> None:
    state, now = after(*errors), 100.0 + elapsed
    wait = next_probe_in(state, check, now)
    assert wait >= 0.001
    if verdict(state, check, now) is Verdict.WAITING and not isinstance(check, ProcessCheck):
        assert now + wait <= 100.0 + check.within_s + 0.0011
        assert probe_timeout(state, check, now) <= check.timeout_s


def test_the_same_check_is_recognised_after_a_switch() -> None:
    assert check_key(HttpCheck(path="/health"), 8000) == check_key(HttpCheck(path="/health", port=8000, retries=9), 1)
    assert check_key(TcpCheck(), 8000) != check_key(TcpCheck(), 8001)
    assert check_key(ProcessCheck(), None) == "process"
    assert check_key(CommandCheck(run=("check", "it")), None) == "command check it"
