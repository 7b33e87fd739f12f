"""Who is lent which robot, when leases end, and what a robot comes home to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lekiwi_deploy.fleet.previews import (
    Ended,
    Lendable,
    Lent,
    Settled,
    WayHome,
    Wish,
    lends,
    preview_policy,
    settle,
    terms,
    way_home,
)
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId
from lekiwi_deploy.wire.policy import Policy, Preview, RolloutStep, Undo

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
POOL = EnvironmentName("preview-robots")
NOTHING = frozenset[EnvironmentName]()


def robot(name: str, unfit: str = "", *, healthy: bool | None = True, pool: str = POOL, idle: bool = True) -> Lendable:
    return Lendable(RobotId(name), EnvironmentName(pool), unfit, healthy, idle)


def wish(name: str, waits: int | None = 0, until: float | None = None, *, wants: int = 1, pool: str = POOL) -> Wish:
    """`waits`: since so many minutes; `until`: so many hours from now."""
    return Wish(
        EnvironmentName(name),
        EnvironmentName(pool),
        wants,
        4 * HOUR,
        NOW - timedelta(minutes=waits) if waits is not None else None,
        NOW + until * HOUR if until is not None else None,
    )


def lent(robot: str, to: str, id: int = 1, place: str | None = None) -> Lent:
    return Lent(id, RobotId(robot), EnvironmentName(to), EnvironmentName(place or to))


def given_to(settled: Settled) -> dict[str, str]:
    return {grant.robot: grant.environment for grant in settled.grants}


def test_a_free_robot_is_lent_at_once_for_as_long_as_its_pool_says() -> None:
    settled = settle([robot("kiwi-1")], [], [wish("pr-1")], NOTHING, NOW)
    (grant,) = settled.grants
    assert (grant.robot, grant.home, grant.until) == ("kiwi-1", POOL, NOW + 4 * HOUR)
    assert settled.wishes[EnvironmentName("pr-1")].since is None
    assert not settled.queue
    assert settled.due == NOW + 4 * HOUR


def test_healthy_and_idle_robots_are_lent_first() -> None:
    robots = [robot("a", healthy=False), robot("b", healthy=None), robot("c", idle=False), robot("d")]
    assert given_to(settle(robots, [], [wish("pr-1", wants=2)], NOTHING, NOW)) == {"d": "pr-1", "b": "pr-1"}


def test_who_came_first_is_served_first_and_the_others_know_their_place() -> None:
    wishes = [wish("pr-1", 1), wish("pr-2", 3), wish("pr-3", 2), wish("pr-9", None, 2)]
    settled = settle([robot("a")], [lent("z", "pr-9")], wishes, NOTHING, NOW)
    assert given_to(settled) == {"a": "pr-2"}
    places = {name: (place.ahead, place.free_at) for name, place in settled.queue.items()}
    assert places == {"pr-3": (0, NOW + 2 * HOUR), "pr-1": (1, NOW + 2 * HOUR)}


def test_a_pool_serves_its_own_previews_only() -> None:
    settled = settle([robot("a", pool="other")], [], [wish("pr-1")], NOTHING, NOW)
    assert not settled.grants
    assert settled.queue[EnvironmentName("pr-1")].why == "preview-robots has no robots"


def test_a_preview_that_waits_is_told_what_keeps_robots_from_it() -> None:
    robots = [robot("a", "offline"), robot("b", "offline"), robot("c", "drained")]
    settled = settle(robots, [], [wish("pr-1")], NOTHING, NOW)
    assert settled.queue[EnvironmentName("pr-1")].why == "c is drained, a, b are offline"


def test_nothing_is_lent_out_of_a_frozen_pool_nor_to_a_frozen_preview() -> None:
    assert not settle([robot("a")], [], [wish("pr-1")], frozenset({POOL}), NOW).grants
    wishes = [wish("pr-1", 2), wish("pr-2", 1)]
    settled = settle([robot("a")], [], wishes, frozenset({EnvironmentName("pr-1")}), NOW)
    assert given_to(settled) == {"a": "pr-2"}
    assert settled.queue[EnvironmentName("pr-1")].why == "pr-1 is frozen"


def test_a_lease_ends_with_the_time_of_its_preview_and_the_preview_does_not_queue_again() -> None:
    settled = settle([], [lent("a", "pr-1")], [wish("pr-1", None, 0)], NOTHING, NOW)
    assert [(end.lease.robot, end.why) for end in settled.ends] == [("a", Ended.TIME)]
    after = settled.wishes[EnvironmentName("pr-1")]
    assert (after.since, after.until) == (None, None)


def test_a_lease_whose_robot_a_person_moved_is_over_and_another_robot_is_wanted() -> None:
    settled = settle([robot("b")], [lent("a", "pr-1", place="staging")], [wish("pr-1", None, 2)], NOTHING, NOW)
    assert [end.why for end in settled.ends] == [Ended.MOVED]
    (grant,) = settled.grants
    assert (grant.robot, grant.until) == ("b", NOW + 2 * HOUR)


def test_a_preview_whose_robot_is_gone_wants_another_for_the_rest_of_its_time() -> None:
    settled = settle([], [], [wish("pr-1", None, 2)], NOTHING, NOW)
    after = settled.wishes[EnvironmentName("pr-1")]
    assert (after.since, after.until) == (NOW, NOW + 2 * HOUR)


def test_a_preview_that_wants_several_takes_what_there_is_and_waits_for_the_rest() -> None:
    settled = settle([robot("a")], [], [wish("pr-1", 2, wants=2), wish("pr-2", 1)], NOTHING, NOW)
    assert given_to(settled) == {"a": "pr-1"}
    assert [settled.queue[EnvironmentName(name)].ahead for name in ("pr-1", "pr-2")] == [0, 1]
    later = settle([robot("b")], [lent("a", "pr-1")], settled.wishes.values(), NOTHING, NOW + HOUR)
    assert given_to(later) == {"b": "pr-1"}
    assert later.grants[0].until == NOW + 4 * HOUR  # one time for all of its robots


D1, D2 = DeploymentId("dep_aaaaaaaa"), DeploymentId("dep_bbbbbbbb")


def test_a_robot_comes_home_to_what_is_live_there_else_to_what_it_ran_before() -> None:
    assert way_home(live=D2, rolling=False, before=D1, bad=frozenset()) == WayHome(D2, follows=True)
    assert way_home(live=None, rolling=False, before=D1, bad=frozenset()) == WayHome(D1, follows=False)
    assert way_home(live=None, rolling=False, before=None, bad=frozenset()) == WayHome(None, follows=False)


def test_while_something_new_is_still_coming_gradually_it_gets_what_it_ran_before() -> None:
    assert way_home(live=D2, rolling=True, before=D1, bad=frozenset()) == WayHome(D1, follows=False)
    assert way_home(live=D2, rolling=True, before=D2, bad=frozenset()) == WayHome(D2, follows=True)


@given(
    st.sampled_from([None, D1, D2]), st.booleans(), st.sampled_from([None, D1, D2]), st.sets(st.sampled_from([D1, D2]))
)
def test_what_failed_is_never_given_again(
    live: DeploymentId | None, rolling: bool, before: DeploymentId | None, bad: set[DeploymentId]
) -> None:
    assert way_home(live=live, rolling=rolling, before=before, bad=frozenset(bad)).deployment not in bad


def test_environments_lend_when_they_say_so_or_are_called_so() -> None:
    assert lends("preview-robots", None)
    assert lends("previews", Policy())
    assert lends("lab", Policy(preview=Preview(robots=2)))
    assert not lends("staging", Policy())


def test_a_preview_is_judged_as_its_pool_but_for_what_is_about_many_robots() -> None:
    assert preview_policy(None).undo is Undo.NOTHING
    pool = Policy(health_checks="strict", groups=("lab",), steps=(RolloutStep(robots=1),), preview=Preview(lease_s=60))
    assert preview_policy(pool) == Policy(health_checks="strict")
    assert (terms(pool).lease_s, terms(None)) == (60, Preview())


class Lending(RuleBasedStateMachine):
    """Pushes, robots that come, go and break, freezes and time: what is decided is carried out, and looked at each time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.homes = {f"kiwi-{number}": "" for number in range(4)}  # robot -> why it cannot be lent
        self.leases: dict[str, Lent] = {}  # by robot
        self.wishes: dict[EnvironmentName, Wish] = {}
        self.frozen: set[EnvironmentName] = set()
        self.count = 0
        self.last: Settled | None = None

    def look(self) -> Settled:
        free = [robot(name, why) for name, why in self.homes.items() if name not in self.leases]
        return settle(free, self.leases.values(), self.wishes.values(), frozenset(self.frozen), self.now)

    def carry_out(self) -> None:
        settled = self.look()
        waits = [one.since for name, one in settled.wishes.items() if one.since is not None and name not in self.frozen]
        for grant in settled.grants:
            came = self.wishes[grant.environment].since or self.now
            assert all(came <= since for since in waits), "first come, first served"
        for end in settled.ends:
            del self.leases[end.lease.robot]
        for grant in settled.grants:
            assert grant.robot not in self.leases, "never two leases of a robot"
            assert not self.homes[grant.robot], "only what is free is lent"
            assert not {grant.environment, grant.home} & self.frozen, "nothing is lent while frozen"
            self.count += 1
            self.leases[grant.robot] = Lent(self.count, grant.robot, grant.environment, grant.environment)
        self.wishes = dict(settled.wishes)
        self.last = settled

    @rule(number=st.integers(0, 4), wants=st.integers(1, 2))
    def push(self, number: int, wants: int) -> None:
        name = EnvironmentName(f"pr-{number}")
        one = self.wishes.get(name) or wish(name, None, wants=wants)
        has = sum(lease.environment == name for lease in self.leases.values())
        running = one.until is not None and one.until > self.now
        self.now += timedelta(seconds=1)
        self.wishes[name] = replace(
            one,
            until=self.now + one.lease if running else one.until,
            since=None if running and has >= one.wants else one.since or self.now,
        )
        self.carry_out()

    @rule(number=st.integers(0, 3), why=st.sampled_from(["", "offline", "drained"]))
    def robot_becomes(self, number: int, why: str) -> None:
        self.homes[f"kiwi-{number}"] = why
        self.carry_out()

    @rule(minutes=st.integers(1, 400))
    def time_goes_by(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.carry_out()
        self.carry_out()  # who came home may be lent to the next

    @rule(number=st.integers(0, 4))
    def removed(self, number: int) -> None:
        self.wishes.pop(EnvironmentName(f"pr-{number}"), None)
        self.carry_out()

    @rule(name=st.sampled_from([POOL, EnvironmentName("pr-1")]))
    def freeze_or_thaw(self, name: EnvironmentName) -> None:
        self.frozen ^= {name}
        self.carry_out()

    @precondition(lambda self: self.leases)
    @rule()
    def moved_by_hand(self) -> None:
        name = next(iter(self.leases))
        self.leases[name] = replace(self.leases[name], place=EnvironmentName("staging"))
        self.homes[name] = "offline"
        self.carry_out()

    @invariant()
    def no_lease_outlives_its_preview(self) -> None:
        for lease in self.leases.values():
            until = self.wishes[lease.environment].until
            assert until is not None
            assert self.now < until <= self.now + 4 * HOUR

    @invariant()
    def nobody_has_more_than_it_wants(self) -> None:
        for name, one in self.wishes.items():
            assert sum(lease.environment == name for lease in self.leases.values()) <= one.wants

    @invariant()
    def everybody_in_the_queue_knows_its_place(self) -> None:
        if self.last is not None:
            queued = {name for name, one in self.last.wishes.items() if one.since is not None}
            assert set(self.last.queue) == queued

    @invariant()
    def deciding_twice_decides_nothing_new(self) -> None:
        if self.last is not None and not self.last.ends:
            again = self.look()
            assert (again.ends, again.grants) == ((), ())

    def teardown(self) -> None:
        """Every lease ends."""
        self.now += 5 * HOUR
        self.carry_out()
        assert not set(self.leases) & {end.lease.robot for end in (self.last.ends if self.last else ())}
        self.wishes = {name: replace(one, since=None) for name, one in self.wishes.items()}
        self.now += 5 * HOUR
        self.carry_out()
        assert not self.leases


Lending.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLending = Lending.TestCase
