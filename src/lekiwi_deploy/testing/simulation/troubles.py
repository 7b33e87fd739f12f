"""What befalls robots and the server: lost links, power cuts, crashes, somebody who is busy, load, days without power, other labels."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lekiwi_deploy.testing.simulation.world import Member, World

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Rates:
    """Mean times between two of a kind for one robot (for `server_s`: of the server), in seconds."""

    link_s: float = 14 * HOUR
    power_s: float = 3 * DAY
    agent_s: float = 4 * DAY
    busy_s: float = 7 * HOUR
    load_s: float = 6 * HOUR
    away_s: float = 25 * DAY
    label_s: float = 40 * DAY
    server_s: float = 2 * DAY
    kills: float = 0.0002
    refusals: float = 0.0005


class Troubles:
    """Until `end`, each robot has its own, drawn from the seed and its name."""

    def __init__(self, world: World, rates: Rates) -> None:
        self._world, self._rates = world, rates
        self._over = False
        world.server.kills, world.server.refusals = rates.kills, rates.refusals
        self._again(
            world.server.draw, rates.server_s, lambda: world.server.crash(world.server.draw.uniform(2.0, 300.0))
        )

    def befall(self, member: Member) -> None:
        """From now on."""
        robot, rates = member.robot, self._rates
        draw = random.Random(f"{self._world.seed} troubles {robot.name}")
        self._again(draw, rates.link_s, lambda: self._lose_link(member, draw))
        self._again(
            draw, rates.power_s, lambda: robot.power_cut(draw.choice((20.0, 60.0, 900.0)) * draw.uniform(0.5, 2.0))
        )
        self._again(draw, rates.agent_s, robot.agent_killed)
        self._again(draw, rates.busy_s, lambda: robot.holding.take("teleop", "being driven", draw.uniform(60.0, HOUR)))
        self._again(draw, rates.load_s, lambda: self._load(member, draw))
        self._again(draw, rates.away_s, lambda: robot.power_cut(draw.uniform(0.5, 3.0) * DAY))
        self._again(draw, rates.label_s, lambda: self._relabel(member, draw))

    def end(self) -> None:
        """Nothing goes wrong any more, and everybody comes back."""
        self._over = True
        self._world.server.kills = self._world.server.refusals = 0.0
        for member in self._world.members.values():
            member.uplink.restored()

    def _again(self, draw: random.Random, mean_s: float, what: Callable[[], None]) -> None:
        def happens() -> None:
            if not self._over:
                what()
                self._world.agenda.after(draw.expovariate(1.0 / mean_s), happens)

        self._world.agenda.after(draw.expovariate(1.0 / mean_s), happens)

    def _lose_link(self, member: Member, draw: random.Random) -> None:
        if not member.uplink.network:
            return
        for_s = min(draw.lognormvariate(3.0, 1.8), 8 * HOUR)
        member.uplink.cut()
        self._world.agenda.after(for_s, member.uplink.restored)

    def _load(self, member: Member, draw: random.Random) -> None:
        member.robot.load(True)
        self._world.agenda.after(draw.uniform(30.0, 1200.0), lambda: member.robot.load(False))

    def _relabel(self, member: Member, draw: random.Random) -> None:
        labels = {**member.robot.labels, "site": draw.choice("abcde")}
        self._world.label(member.robot.name, labels)
