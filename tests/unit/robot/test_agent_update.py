"""What a robot does about its own agent."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.agent_update import (
    BEGINS_S,
    LINKS_S,
    RETURNS_S,
    SILENT_S,
    STARTS,
    STAYS_S,
    WITHOUT_LINK_S,
    Fetch,
    GoBack,
    GoOver,
    Refusal,
    Rest,
    Seen,
    Stay,
    Step,
    Unpack,
    Wait,
    Watched,
    judge,
    next_step,
    unsound,
)
from lekiwi_deploy.wire.agent_proof import is_proved, proof, update_key
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentWanted
from lekiwi_deploy.wire.reasons import Busy

OLD, NEW = "0.1.0-aaaaaaaa", "0.2.0-bbbbbbbb"
WANTED = AgentWanted(
    release=NEW, digest="ab" * 32, size=10_000_000, path="/agent/linux-x86_64-glibc2.36-py3.11/bundle", attempt=3
)
TELEOP = Busy(owner="anna", why="teleop", since=datetime(2026, 1, 1, tzinfo=UTC), until=None)


def step(wanted: AgentWanted | None = WANTED, **changes: object) -> Step:
    seen = {"running": OLD, "on_trial": False, "refused": {}, "newest_attempt": 0, "proved": True, **changes}
    return next_step(wanted, Seen(**seen))  # type: ignore[arg-type]


def test_it_is_fetched_then_unpacked_and_tried_then_gone_over_to() -> None:
    assert step() == Fetch()
    assert step(fetched=True) == Unpack()
    assert step(fetched=True, checked=True) == GoOver()


def test_what_runs_is_not_fetched_again() -> None:
    assert step(running=NEW) == Rest()
    assert step(None) == Rest()


def test_the_robots_work_comes_first_but_it_is_made_ready_meanwhile() -> None:
    assert step(held=(TELEOP,)) == Fetch()
    assert step(held=(TELEOP,), fetched=True) == Unpack()
    waiting = step(held=(TELEOP,), fetched=True, checked=True)
    assert isinstance(waiting, Rest) and "anna" in waiting.why and not waiting.refused
    assert step(busy="dep_1 is on trial", fetched=True, checked=True) == Rest("dep_1 is on trial")


def test_while_a_release_is_watched_nothing_else_begins() -> None:
    assert isinstance(step(on_trial=True, fetched=True, checked=True), Rest)


def test_what_failed_here_is_not_tried_again_unless_a_person_says_so() -> None:
    refused = {NEW: Refusal("it did not answer", 3)}
    assert step(refused=refused) == Rest("it did not answer", refused=True)
    later = msgspec.structs.replace(WANTED, attempt=4)
    assert isinstance(step(later, refused=refused), Rest)
    assert step(msgspec.structs.replace(later, again=True), refused=refused) == Fetch()
    assert isinstance(step(msgspec.structs.replace(WANTED, again=True), refused=refused), Rest)


def test_nothing_is_installed_that_the_server_did_not_prove_to_want() -> None:
    found = step(proved=False)
    assert isinstance(found, Rest) and found.refused


def test_an_older_wish_is_not_taken_for_a_new_one() -> None:
    found = step(newest_attempt=4)
    assert isinstance(found, Rest) and found.refused
    assert step(newest_attempt=3) == Fetch()


def test_an_agent_that_was_installed_by_hand_says_that_it_cannot() -> None:
    found = step(running=None)
    assert isinstance(found, Rest) and found.refused and "cannot replace itself" in found.why


@pytest.mark.parametrize(
    "change",
    [
        {"release": "../../etc"},
        {"release": ""},
        {"release": "a/b"},
        {"release": "current\n"},
        {"release": "a..b"},
        {"digest": "xyz"},
        {"size": 0},
        {"size": 10**12},
        {"path": "/content/x"},
        {"path": "/agent/../../etc/passwd"},
        {"path": "http://evil/agent/x/bundle"},
        {"path": "/agent/x y/bundle"},
        {"attempt": -1},
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object]) -> None:
    wanted = msgspec.structs.replace(WANTED, **change)
    assert unsound(wanted) is not None
    assert isinstance(step(wanted), Rest)


def test_a_proof_is_for_one_robot_and_every_word_of_it() -> None:
    robot = RobotId("kiwi-1")
    key = update_key(b"server's secret", robot, b"k" * 32)
    proved = msgspec.structs.replace(WANTED, proof=proof(key, robot, WANTED))
    assert is_proved(key, robot, proved)
    assert not is_proved(key, RobotId("kiwi-2"), proved)
    assert not is_proved(update_key(b"another", robot, b"k" * 32), robot, proved)
    for change in (
        {"release": OLD},
        {"digest": "cd" * 32},
        {"size": 1},
        {"attempt": 4},
        {"again": True},
        {"proof": ""},
    ):
        assert not is_proved(key, robot, msgspec.structs.replace(proved, **change))


def watched(since: float, **changes: object) -> Watched:
    seen: dict[str, object] = {
        "since": since,
        "answered_for": None,
        "silent_for": since,
        "starts": 1,
        "linked": False,
        "linked_before": True,
        **changes,
    }
    return Watched(**seen)  # type: ignore[arg-type]


def test_one_that_never_answers_goes_within_half_a_minute() -> None:
    assert judge(watched(BEGINS_S - 1)) == Wait()
    assert isinstance(judge(watched(BEGINS_S)), GoBack)


def test_one_that_falls_silent_goes() -> None:
    assert judge(watched(40, silent_for=SILENT_S - 1)) == Wait()
    assert isinstance(judge(watched(40, silent_for=SILENT_S)), GoBack)


def test_one_that_dies_again_and_again_goes() -> None:
    assert isinstance(judge(watched(5, starts=STARTS + 1)), GoBack)


def test_one_that_answers_and_links_stays_after_a_while() -> None:
    fine = {"answered_for": 20.0, "silent_for": 0.0, "linked": True}
    assert judge(watched(30, **fine)) == Wait()
    assert isinstance(judge(watched(STAYS_S + 5, **{**fine, "answered_for": STAYS_S})), Stay)


def test_one_that_does_not_link_goes_only_if_the_server_can_be_reached() -> None:
    mute = {"answered_for": LINKS_S, "silent_for": 0.0}
    assert judge(watched(1, answered_for=1.0, silent_for=0.0)) == Wait()
    assert judge(watched(LINKS_S - 1, **mute, reachable=True)) == Wait(try_server=True)
    assert judge(watched(LINKS_S, **mute)) == Wait(try_server=True)
    assert isinstance(judge(watched(LINKS_S + 1, **mute, reachable=True)), GoBack)
    assert judge(watched(LINKS_S + 1, **mute, reachable=False)) == Wait(try_server=True)


def test_after_a_network_came_back_the_link_has_time_to_do_so_too() -> None:
    mute = {"answered_for": 100.0, "silent_for": 0.0, "reachable": True}
    assert judge(watched(200, **mute, returned_for=0.0)) == Wait(try_server=True)
    assert judge(watched(200, **mute, returned_for=RETURNS_S - 1)) == Wait(try_server=True)
    assert isinstance(judge(watched(200, **mute, returned_for=RETURNS_S)), GoBack)
    assert isinstance(judge(watched(WITHOUT_LINK_S, **mute, returned_for=1.0)), Stay)


def test_a_robot_without_a_network_keeps_it_in_the_end() -> None:
    assert isinstance(judge(watched(WITHOUT_LINK_S, answered_for=500.0, silent_for=0.0, reachable=False)), Stay)
    never = watched(STAYS_S, answered_for=STAYS_S, silent_for=0.0, linked_before=False)
    assert isinstance(judge(never), Stay)


@given(
    st.floats(0, 2000),
    st.one_of(st.none(), st.floats(0, 2000)),
    st.floats(0, 2000),
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
def test_every_trial_ends(
    since: float,
    answered: float | None,
    silent: float,
    starts: int,
    linked: bool,
    before: bool,
    reachable: bool | None,
) -> None:
    answered = min(answered, since) if answered is not None else None
    seen = Watched(since, answered, min(silent, since) if answered is None else 0.0, starts, linked, before, reachable)
    verdict = judge(seen)
    if isinstance(verdict, Wait):
        settled = since >= WITHOUT_LINK_S and (answered is None or answered >= STAYS_S) and reachable is not None
        assert not settled or seen.silent_for < max(SILENT_S, BEGINS_S)
