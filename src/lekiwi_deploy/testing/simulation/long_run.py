"""A fleet for days: a seed says what it is, what befalls it, and what people do to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lekiwi_deploy.fleet.window_text import parse_opening
from lekiwi_deploy.testing.simulation.invariants import Invariants
from lekiwi_deploy.testing.simulation.people import Manners, People
from lekiwi_deploy.testing.simulation.troubles import DAY, HOUR, Rates, Troubles
from lekiwi_deploy.testing.simulation.world import World
from lekiwi_deploy.wire.policy import Policy, RolloutStep, Undo
from lekiwi_deploy.wire.windows import Windows

ENVIRONMENTS = ("production", "staging", "development")
QUIET_S = 4 * DAY
"""So long after the last trouble everything must have come to rest: windows of every policy here open in it, and robots that were off are back."""


@dataclass(frozen=True)
class Figures:
    """What a run came to."""

    steps: int
    assignments: int
    events: int
    rollouts: dict[str, int]
    did: dict[str, int]
    refused: dict[str, int]


class Failed(AssertionError):
    """A run broke an invariant, or the product raised."""


def run(seed: int, robots: int, days: float, *, told: Callable[[str], None] | None = None) -> Figures:
    """Runs it; raises `Failed` with the command that reproduces it exactly. `told`: called with each line of its story."""
    world = World(str(seed))
    if told is not None:
        world.told = lambda who, text: told(f"{world.agenda.now:%d %b %H:%M:%S}  {who}: {text}")
    try:
        return _run(world, robots, days)
    except Exception as error:
        at = f"{world.agenda.now:%d %b %H:%M:%S.%f}, after {world.agenda.happened} events"
        command = f"python -m lekiwi_deploy.testing.simulation --seed {seed} --robots {robots} --days {days:g}"
        raise Failed(f"{type(error).__name__}: {error}\n({at})\nAgain, exactly: {command} --story") from error


def _run(world: World, robots: int, days: float) -> Figures:
    draw = random.Random(f"{world.seed} long run")
    for name in ENVIRONMENTS:
        world.environment(name, policy(name, draw))
    watch = Invariants(world)
    scale = max(1.0, robots / 200)
    troubles = Troubles(world, Rates(link_s=14 * HOUR * scale, busy_s=7 * HOUR * scale, load_s=6 * HOUR * scale))
    for number in range(robots):
        _join(world, troubles, draw, number, days)
    people = People(world, Manners(), ENVIRONMENTS)
    world.run(days * DAY)
    people.leave()
    troubles.end()
    end = world.agenda.elapsed + QUIET_S
    while world.agenda.elapsed < end:  # somebody is still there for what waits for a person
        people.answer()
        world.run(HOUR)
    watch.at_rest()
    count: dict[str, int] = {}
    for row in world.server.tables.rollouts.values():
        count[row.status] = count.get(row.status, 0) + 1
    return Figures(
        steps=watch.steps,
        assignments=watch.assignments,
        events=world.agenda.happened,
        rollouts=count,
        did=_kinds(people.did),
        refused=people.refused,
    )


def _kinds(did: dict[str, int]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for text, count in did.items():
        kind = text.partition(" ")[0]
        kinds[kind] = kinds.get(kind, 0) + count
    return kinds


def _join(world: World, troubles: Troubles, draw: random.Random, number: int, days: float) -> None:
    environment = draw.choices(ENVIRONMENTS, (70, 20, 10))[0]
    labels = {"hw": "v2" if draw.random() < 0.3 else "v1", "site": draw.choice("abcde")}
    wrong_clock = draw.random() < 0.05
    skew_s = draw.uniform(-90, 90) * DAY if wrong_clock else draw.gauss(0.0, 2.0)
    zone = draw.choice(("UTC", "Europe/Vienna", "Asia/Tokyo", "America/New_York"))

    def join() -> None:
        there = draw.random() > 0.03
        member = world.add(f"kiwi-{number:04}", environment, labels, on=there, zone=zone, skew_s=skew_s)
        troubles.befall(member)
        if not there:
            world.agenda.after(random.Random(f"{world.seed} {number}").uniform(1.0, days * DAY), member.uplink.restored)

    if draw.random() < 0.1:
        world.agenda.after(draw.uniform(0.0, days * DAY), join)
    else:
        join()


def policy(environment: str, draw: random.Random) -> Policy:
    """One of the policies that people have."""
    if environment == "development":
        return Policy(health_checks="minimal", undo=Undo.NOTHING)
    if environment == "staging":
        steps: tuple[RolloutStep, ...] = draw.choice(((RolloutStep(robots=1, soak_s=60.0),), ()))
        return Policy(health_checks="normal", steps=steps, undo=draw.choice((Undo.FLEET, Undo.ROBOT)))
    window = draw.choice((None, "22:00-06:00", "Mon-Fri 09:00-17:00"))
    steps = draw.choice(
        (
            (RolloutStep(percent=5.0, soak_s=600.0), RolloutStep(percent=25.0, soak_s=1200.0)),
            (
                RolloutStep(robots=1, soak_s=120.0),
                RolloutStep(percent=30.0, approval=True),
                RolloutStep(max_unavailable=2, per="site"),
            ),
            (RolloutStep(robots=2, select="hw=v2", soak_s=300.0), RolloutStep(percent=50.0, success=90.0, soak_s=60.0)),
        )
    )
    return Policy(
        health_checks=draw.choice(("normal", "strict")),
        steps=steps,
        in_flight=draw.choice((None, 5, 10)),
        window=None if window is None else Windows(openings=(parse_opening(window),), text=window),
        undo=draw.choice((Undo.FLEET, Undo.FLEET, Undo.WAVE, Undo.ROBOT)),
        min_success=draw.choice((None, None, 90.0)),
        skip_offline=draw.choice((False, False, True)),
        pending_expires_s=draw.choice((7 * DAY, 6 * HOUR)),
    )
