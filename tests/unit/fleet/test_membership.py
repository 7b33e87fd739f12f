"""Which environment each robot belongs to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.labels import parse_selector
from lekiwi_deploy.fleet.membership import Choice, Chooser, Placed, labels_for, selector_of
from lekiwi_deploy.wire.ids import EnvironmentName, RobotId

PRODUCTION, STAGING, QA = (EnvironmentName(name) for name in ("production", "staging", "qa"))
LAB = Chooser(STAGING, select="site=lab")


def placed(environment: EnvironmentName, *, leased: bool = False, unplaced: str | None = None, **labels: str) -> Placed:
    return Placed(RobotId("kiwi-001"), environment, labels, leased, unplaced)


def test_an_environment_that_chooses_has_every_robot_that_fits_also_those_that_people_put_elsewhere() -> None:
    choice = Choice([Chooser(PRODUCTION), LAB], {})
    assert choice.settle([placed(PRODUCTION, site="lab")]).moves == {"kiwi-001": STAGING}
    assert choice.settle([placed(PRODUCTION, site="field")]).moves == {}


def test_a_group_that_nobody_defined_is_the_robots_with_its_label() -> None:
    choice = Choice([Chooser(PRODUCTION), Chooser(STAGING, ("staging-robots",))], {})
    assert choice.place(placed(PRODUCTION, group="staging-robots")) == STAGING
    defined = Choice([Chooser(PRODUCTION), Chooser(STAGING, ("staging-robots",))], {"staging-robots": "hw=v2"})
    assert defined.place(placed(PRODUCTION, group="staging-robots")) == PRODUCTION
    assert defined.place(placed(PRODUCTION, hw="v2")) == STAGING


def test_groups_and_labels_of_one_environment_add_up() -> None:
    choice = Choice([Chooser(PRODUCTION), Chooser(STAGING, ("a", "b"), "hw=v2")], {})
    assert [
        choice.place(placed(PRODUCTION, **labels)) for labels in ({"group": "b"}, {"hw": "v2"}, {"group": "c"})
    ] == [
        STAGING,
        STAGING,
        PRODUCTION,
    ]


def test_a_robot_that_fits_several_stays_where_it_is_if_it_fits_there_else_goes_to_the_first_by_name() -> None:
    choice = Choice([Chooser(PRODUCTION), LAB, Chooser(QA, select="hw=v2")], {})
    assert choice.place(placed(STAGING, site="lab", hw="v2")) == STAGING
    assert choice.place(placed(QA, site="lab", hw="v2")) == QA
    assert choice.place(placed(PRODUCTION, site="lab", hw="v2")) == QA


def test_a_robot_that_fits_nowhere_any_more_stays_and_is_given_nothing_until_it_fits_again() -> None:
    choice = Choice([Chooser(PRODUCTION), LAB], {})
    lost = choice.settle([placed(STAGING, site="field")])
    assert (lost.moves, lost.unplaced) == ({}, {"kiwi-001": "site=lab"})
    assert choice.settle([placed(STAGING, unplaced="site=lab", site="field")]).unplaced == {}
    assert choice.settle([placed(STAGING, unplaced="site=lab", site="lab")]).unplaced == {"kiwi-001": None}


def test_a_robot_that_people_put_somewhere_is_never_unplaced() -> None:
    choice = Choice([Chooser(PRODUCTION), LAB], {})
    assert choice.settle([placed(PRODUCTION, site="field", unplaced="old")]).unplaced == {"kiwi-001": None}


def test_a_leased_robot_is_never_moved() -> None:
    choice = Choice([Chooser(PRODUCTION), LAB, Chooser(EnvironmentName("pr-7"))], {})
    assert choice.settle([placed(EnvironmentName("pr-7"), leased=True, site="lab")]).moves == {}


def test_the_labels_that_put_a_robot_somewhere_are_those_that_the_selector_says() -> None:
    assert labels_for(parse_selector("site=lab, hw!=v1, !old, role in (arm), size in (s, m)")) == {
        "site": "lab",
        "role": "arm",
    }
    assert labels_for(selector_of("lab", {})) == {"group": "lab"}


WORDS = st.sampled_from(("a", "b", "c"))
LABELS = st.dictionaries(st.sampled_from(("group", "site", "hw")), WORDS, max_size=3)
TERMS = st.one_of(
    st.tuples(st.sampled_from(("site", "hw")), st.sampled_from(("=", "!=")), WORDS).map("".join),
    st.sampled_from(("site", "!hw", "hw in (a, b)", "site not in (c)")),
)
SELECTORS = st.lists(TERMS, min_size=1, max_size=2).map(", ".join)
NAMES = tuple(EnvironmentName(name) for name in ("alpha", "beta", "gamma"))


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Choice, list[Placed]]:
    choosers = [
        Chooser(name, tuple(sorted(draw(st.sets(WORDS, max_size=2)))), draw(st.none() | SELECTORS)) for name in NAMES
    ]
    groups = draw(st.dictionaries(WORDS, SELECTORS, max_size=2))
    robots = [
        Placed(
            RobotId(f"kiwi-{number:03}"),
            draw(st.sampled_from(NAMES)),
            draw(LABELS),
            draw(st.booleans()),
            draw(st.none() | st.just("something")),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    return Choice(choosers, groups), robots


def carried_out(choice: Choice, robots: list[Placed]) -> list[Placed]:
    settled = choice.settle(robots)
    return [
        Placed(
            robot.id,
            settled.moves.get(robot.id, robot.environment),
            robot.labels,
            robot.leased,
            settled.unplaced.get(robot.id, robot.unplaced),
        )
        for robot in robots
    ]


@given(fleets())
def test_settling_twice_changes_nothing(fleet: tuple[Choice, list[Placed]]) -> None:
    choice, robots = fleet
    again = choice.settle(carried_out(choice, robots))
    assert (dict(again.moves), dict(again.unplaced)) == ({}, {})


@given(fleets())
def test_afterwards_every_robot_fits_or_was_put_there_or_is_leased_or_has_no_place(
    fleet: tuple[Choice, list[Placed]],
) -> None:
    choice, robots = fleet
    for robot in carried_out(choice, robots):
        fits = choice.fitting(robot.labels)
        by_hand = not choice.choosers[robot.environment].chooses and not fits
        assert robot.leased or by_hand or robot.environment in fits or (robot.unplaced is not None and not fits)
        assert robot.unplaced is None or not (fits or by_hand or robot.leased)


@given(fleets(), st.randoms())
def test_where_a_robot_belongs_does_not_depend_on_the_others_or_their_order(
    fleet: tuple[Choice, list[Placed]], random: object
) -> None:
    choice, robots = fleet
    shuffled = list(robots)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    together = choice.settle(shuffled)
    for robot in robots:
        alone = choice.settle([robot])
        assert alone.moves.get(robot.id) == together.moves.get(robot.id)
        assert alone.unplaced.get(robot.id, "-") == together.unplaced.get(robot.id, "-")
