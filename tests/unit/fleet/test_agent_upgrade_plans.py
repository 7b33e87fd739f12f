"""Who is asked to go over to another release of the agent, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.agent_upgrade import LOST, MOST_AT_ONCE, SLOW, Change, Member, Plan, plan
from lekiwi_deploy.wire.agents import UpgradeRobotStatus as Status
from lekiwi_deploy.wire.agents import UpgradeStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentPhase, AgentState

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
OLD, NEW = "0.1.0-aaaaaaaa", "0.2.0-bbbbbbbb"
ATTEMPT = 7


def member(
    name: str,
    status: Status = Status.PENDING,
    *,
    release: str | None = OLD,
    phase: AgentPhase = AgentPhase.IDLE,
    online: bool = True,
    joined: bool = True,
    asked: timedelta | None = None,
    seen: timedelta = timedelta(0),
    why: str = "",
    attempt: int = ATTEMPT,
    silent: bool = False,
) -> Member:
    asked_at = NOW - asked if asked is not None else (NOW if status is not Status.PENDING else None)
    agent = None if silent else AgentState(release=release, phase=phase, wanted=NEW, attempt=attempt, why=why)
    return Member(RobotId(name), status, asked_at, joined, online, NOW - seen, agent)


def decide(*members: Member) -> Plan:
    return plan(ATTEMPT, NEW, members, NOW)


def asked(decided: Plan) -> list[str]:
    return sorted(robot for robot, change in decided.changes.items() if change.status is Status.ASKED)


def test_one_robot_is_asked_first() -> None:
    decided = decide(*(member(f"kiwi-{n}") for n in range(9)))
    assert asked(decided) == ["kiwi-0"]
    assert decided.status is UpgradeStatus.ROLLING


def test_nobody_else_is_asked_before_the_first_has_proved_it() -> None:
    for phase in (AgentPhase.FETCHING, AgentPhase.WAITING, AgentPhase.TRIAL):
        release = NEW if phase is AgentPhase.TRIAL else OLD
        decided = decide(member("a", Status.ASKED, phase=phase, release=release), member("b"), member("c"))
        assert decided.changes == {}


def test_then_four_times_as_many_as_are_done() -> None:
    done = member("a", Status.ASKED, release=NEW)
    decided = decide(done, *(member(f"b{n}") for n in range(9)))
    assert decided.changes[RobotId("a")] == Change(Status.DONE)
    assert asked(decided) == ["b0", "b1", "b2", "b3"]
    more = decide(
        *(member(f"a{n}", Status.DONE, release=NEW) for n in range(3)),
        member("b", Status.ASKED),
        *(member(f"c{n:02}") for n in range(20)),
    )
    assert len(asked(more)) == 11


def test_those_that_had_it_before_prove_nothing() -> None:
    decided = decide(*(member(f"a{n}", release=NEW) for n in range(5)), member("b"), member("c"))
    assert asked(decided) == ["b"]
    assert decided.changes[RobotId("a0")] == Change(Status.DONE, "it had it already")


def test_after_the_first_failure_nobody_else_is_asked() -> None:
    decided = decide(
        member("a", Status.ASKED, phase=AgentPhase.REFUSED, why="it did not answer for 30 s"),
        member("b"),
    )
    assert decided.changes == {RobotId("a"): Change(Status.FAILED, "it did not answer for 30 s")}
    assert decided.status is UpgradeStatus.HALTED
    assert "a" in decided.why


def test_after_a_failure_those_that_did_not_begin_are_told_to_stay_as_they_are() -> None:
    decided = decide(
        member("a", Status.FAILED),
        member("b", Status.ASKED, phase=AgentPhase.WAITING, why="teleop"),
        member("c", Status.ASKED, phase=AgentPhase.TRIAL, release=NEW),
    )
    assert decided.changes == {RobotId("b"): Change(Status.PENDING)}
    assert decided.status is UpgradeStatus.ROLLING  # c is past the point of no return
    last = decide(member("a", Status.FAILED), member("b"), member("c", Status.ASKED, release=NEW))
    assert last.changes == {RobotId("c"): Change(Status.DONE)}
    assert last.status is UpgradeStatus.HALTED


def test_a_refusal_of_an_earlier_attempt_is_no_failure_of_this_one() -> None:
    decided = decide(member("a", Status.ASKED, phase=AgentPhase.REFUSED, attempt=ATTEMPT - 1))
    assert decided.changes == {}


def test_a_robot_that_is_offline_is_asked_when_it_returns_and_holds_nobody_up() -> None:
    decided = decide(member("a", online=False, seen=timedelta(days=3)), member("b"))
    assert asked(decided) == ["b"]
    later = decide(member("a", online=False, seen=timedelta(days=3)), member("b", Status.DONE, release=NEW))
    assert (asked(later), later.status) == ([], UpgradeStatus.ROLLING)


def test_a_robot_that_is_not_heard_of_after_it_was_asked_has_failed() -> None:
    gone = member("a", Status.ASKED, online=False, asked=LOST * 2, seen=LOST + timedelta(seconds=1))
    assert decide(gone).changes[RobotId("a")].status is Status.FAILED
    short = member("a", Status.ASKED, online=False, asked=LOST * 2, seen=LOST / 2)
    assert decide(short).changes == {}


def test_a_robot_that_waits_for_its_operator_may_take_as_long_as_it_likes() -> None:
    waiting = member("a", Status.ASKED, phase=AgentPhase.WAITING, asked=SLOW * 9, why="teleop: held by anna")
    assert decide(waiting).changes == {}
    stuck = member("a", Status.ASKED, phase=AgentPhase.FETCHING, asked=SLOW * 2)
    assert decide(stuck).changes[RobotId("a")].status is Status.FAILED


def test_robots_that_cannot_are_skipped_with_what_to_do() -> None:
    decided = decide(
        member("a", silent=True), member("b", release=None), member("c", joined=False, silent=True, online=False)
    )
    assert {robot: change.status for robot, change in decided.changes.items()} == {
        RobotId(name): Status.SKIPPED for name in "abc"
    }
    assert "install.sh" in decided.changes[RobotId("a")].why
    assert decided.status is UpgradeStatus.DONE


members = st.lists(
    st.builds(
        lambda name, status, release, phase, online: member(
            f"r{name}", status, release=release, phase=phase, online=online
        ),
        st.integers(0, 400),
        st.sampled_from(list(Status)),
        st.sampled_from([OLD, NEW, None]),
        st.sampled_from(list(AgentPhase)),
        st.booleans(),
    ),
    max_size=120,
    unique_by=lambda one: one.robot,
)


@given(members)
def test_whatever_robots_say_the_rules_hold(fleet: list[Member]) -> None:
    decided = plan(ATTEMPT, NEW, fleet, NOW)
    after = {m.robot: decided.changes[m.robot].status if m.robot in decided.changes else m.status for m in fleet}
    newly = [robot for robot, change in decided.changes.items() if change.status is Status.ASKED]
    failed = any(status is Status.FAILED for status in after.values())
    assert not (failed and newly), "nobody is asked after a failure"
    under_way = sum(status is Status.ASKED for status in after.values())
    if newly:
        assert under_way <= MOST_AT_ONCE
        done = sum(status is Status.DONE for status in after.values())
        assert under_way <= max(1, 4 * done)
    by_name = {m.robot: m for m in fleet}
    assert all(by_name[robot].online and by_name[robot].status is Status.PENDING for robot in newly)
    ended = (Status.DONE, Status.FAILED, Status.SKIPPED)
    assert all(by_name[robot].status not in ended for robot in decided.changes), "what is over stays as it is"
    assert plan(ATTEMPT, NEW, list(reversed(fleet)), NOW) == decided
