"""A policy written as lekiwi.yaml, and read again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.fleet.window_text import opening_text, parse_opening
from lekiwi_deploy.server.builds.policy_words import block, changed, from_text, written
from lekiwi_deploy.server.builds.project_file import read_project_file
from lekiwi_deploy.server.builds.spec import EnvironmentSpec
from lekiwi_deploy.wire.policy import Approvals, Policy, Preview, RolloutStep, Undo
from lekiwi_deploy.wire.windows import Windows

SPANS = st.integers(60, 86_400).map(float) | st.sampled_from((90.0, 3600.0, 604_800.0))
SHARES = st.integers(1, 10_000).map(lambda hundredths: hundredths / 100)
STEPS = st.builds(
    RolloutStep,
    robots=st.none() | st.integers(1, 50),
    percent=st.none(),
    select=st.none() | st.sampled_from(("hw=v2", "!spare", "site in (a, b)")),
    success=SHARES,
    soak_s=st.just(0.0) | SPANS,
    approval=st.booleans(),
    max_unavailable=st.none() | st.integers(1, 9),
    per=st.none(),
) | st.builds(RolloutStep, percent=SHARES, max_unavailable=st.just(2), per=st.just("site"))
WINDOWS = st.sampled_from(
    (
        "22:00-06:00",
        '["Mon-Fri 22:00-06:00", "Sat,Sun"]',
        '{open: ["0 22 * * 1-5 for 8h"], except: ["2026-12-24..2026-12-26", "Sat"], zone: Europe/Vienna}',
        '["Sat, Sun 08:00-12:00", "*/30 6 1,15 * 1 for 90m"]',
    )
)
POLICIES = st.builds(
    Policy,
    auto_deploy=st.booleans(),
    health_checks=st.sampled_from(("strict", "normal", "minimal")),
    undo=st.sampled_from(Undo),
    steps=st.lists(STEPS, max_size=3).map(tuple),
    max_failures=st.none() | st.integers(0, 5),
    in_flight=st.none() | st.integers(1, 5),
    defer_limit_s=SPANS,
    groups=st.sets(st.sampled_from(("lab", "field")), max_size=2).map(lambda found: tuple(sorted(found))),
    select=st.none() | st.sampled_from(("site=lab, hw!=v1", "!spare", "*", "on")),
    approvals=st.none() | st.builds(Approvals, count=st.integers(0, 10), not_author=st.booleans(), expires_s=SPANS),
    min_success=st.none() | SHARES,
    skip_offline=st.booleans(),
    pending_expires_s=SPANS,
    preview=st.none() | st.builds(Preview, robots=st.integers(1, 9), lease_s=SPANS),
)


def production(text: str) -> EnvironmentSpec:
    (found,) = read_project_file(text.encode()).environments
    return found


@given(POLICIES, st.none() | st.sampled_from(("main", "feature/x", "2026", "on")), st.none() | WINDOWS)
def test_what_is_written_is_read_back_as_the_same_policy(
    policy: Policy, branch: str | None, window: str | None
) -> None:
    spec = EnvironmentSpec("production", branch, policy)
    if window is not None:
        spec = changed(spec, {"deployment_window": window})
    again = production(block(spec))
    assert (again.branch, unnamed(again.policy)) == (branch, unnamed(spec.policy))
    assert changed(spec, {}) == spec


def unnamed(policy: Policy) -> Policy:
    """Without the words of its window, which may be others."""
    window = policy.window
    return msgspec.structs.replace(policy, window=None if window is None else msgspec.structs.replace(window, text=""))


def test_only_what_differs_from_the_defaults_is_written_and_the_rest_stands_as_comments() -> None:
    spec = production("production: {auto_deploy: false, health_checks: minimal, branch: main}")
    assert written(spec) == {"branch": "main", "auto_deploy": "false"}
    text = block(spec)
    assert "  # health_checks: minimal" in text.splitlines()
    assert any(
        line.startswith("  auto_deploy: false") and line.endswith("# default: true") for line in text.splitlines()
    )
    assert block(EnvironmentSpec("qa", None, Policy())).startswith("qa: {}\n")


def test_a_key_that_is_changed_leaves_the_others_as_they_were_written() -> None:
    spec = production('production: {deployment_window: ["Mon - Fri 22:00-06:00", "Sat, Sun"], in_flight: 2}')
    now = changed(spec, {"in_flight": "3"})
    assert (now.policy.window, now.policy.in_flight) == (spec.policy.window, 3)
    assert changed(spec, {}, ("deployment_window",)).policy.window is None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [("select", "!spare", "!spare"), ("select", "*", "*"), ("branch", "2026", "2026"), ("branch", "on", "on")],
)
def test_plain_text_needs_no_quotes_for_signs_that_yaml_takes_for_its_own(key: str, text: str, value: str) -> None:
    spec = changed(EnvironmentSpec("production", None, Policy()), {key: text})
    assert value in (spec.branch, spec.policy.select)


def test_a_mistake_is_told_with_its_place() -> None:
    with pytest.raises(BadInput, match=r"^production\.rollout\[1\]\.soak: needs a unit"):
        changed(EnvironmentSpec("production", None, Policy()), {"rollout": "[{robots: 1}, {soak: 5}]"})
    with pytest.raises(BadInput, match=r"^policy\.yaml:2: in_flight: must be between"):
        from_text("production", "auto_deploy: true\nin_flight: 0\n", "policy.yaml")
    with pytest.raises(NotFound, match="says nothing of production: it has staging"):
        from_text("production", "staging: {}\n", "lekiwi.yaml")


def part(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda two: f"{min(two)}-{max(two)}")
    return st.lists(st.one_of(st.just("*"), number, steps, span), min_size=1, max_size=3).map(",".join)


@given(part(0, 59), part(0, 23), part(1, 31), part(1, 12), part(0, 7), st.integers(1, 600))
def test_every_opening_in_crons_fields_is_written_as_one_that_is_the_same(
    minute: str, hour: str, day: str, month: str, weekday: str, length: int
) -> None:
    opening = parse_opening(f"{minute} {hour} {day} {month} {weekday} for {length}m")
    assert parse_opening(opening_text(opening)) == opening


@given(st.sampled_from(("", "Mon-Fri ", "Sat,Sun ", "Fri-Mon ")), st.integers(0, 1439), st.integers(1, 1440))
def test_every_opening_on_the_clock_is_written_as_one_that_is_the_same(days: str, first: int, last: int) -> None:
    if first == last:
        return
    opening = parse_opening(f"{days}{first // 60}:{first % 60:02}-{last // 60}:{last % 60:02}")
    assert parse_opening(opening_text(opening)) == opening


def test_a_window_whose_words_are_lost_is_written_in_others() -> None:
    window = Windows(openings=(parse_opening("Sat,Sun"),), text="")
    spec = EnvironmentSpec("production", None, Policy(window=window))
    assert written(spec) == {"deployment_window": "Sat,Sun 00:00-24:00"}
