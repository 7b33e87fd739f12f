"""People who push, watch, and change their minds: what the API would let them do, by seeded choice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server import steering
from lekiwi_deploy.server.conducting_store import ConductingStore
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.testing.simulation.memory.database import at_once
from lekiwi_deploy.testing.simulation.releases import Flaw
from lekiwi_deploy.testing.simulation.troubles import HOUR
from lekiwi_deploy.testing.simulation.world import PROJECT, World
from lekiwi_deploy.wire.api import Identity, Role, RolloutStatus
from lekiwi_deploy.wire.ids import RobotId, RolloutId
from lekiwi_deploy.wire.rollouts import RolloutAct

ANNA = Identity(name="anna", role=Role.OWNER, token="tok_simulated", expires_at=None)
_FLAWS = (Flaw.SOME, Flaw.LABEL, Flaw.SLOW, Flaw.LOAD, Flaw.CRASH, Flaw.EVERYWHERE, Flaw.MISSING)


@dataclass(frozen=True, slots=True)
class Manners:
    """How often: a push to each environment, and any of the other acts in the whole project, in seconds; the share of releases that are bad;
    how long somebody lets a rollout wait that goes on only with them."""

    push_s: float = 12 * HOUR
    act_s: float = 5 * HOUR
    bad: float = 0.3
    answers_s: float = 1800.0
    gives_up_s: float = 10 * HOUR


class People:
    """They act until `leave`."""

    def __init__(self, world: World, manners: Manners, environments: tuple[str, ...]) -> None:
        self._world, self._manners, self._environments = world, manners, environments
        self._draw = random.Random(f"{world.seed} people")
        self._gone = False
        self.refused: dict[str, int] = {}
        self.did: dict[str, int] = {}
        for environment in environments:
            self._again(manners.push_s, lambda environment=environment: self.push(environment))  # type: ignore[misc]
            world.agenda.after(self._draw.uniform(60.0, 600.0), lambda environment=environment: self.push(environment))  # type: ignore[misc]
        self._again(manners.act_s, self._act)
        self._again(manners.answers_s, self.answer)

    def leave(self) -> None:
        """They do nothing any more."""
        self._gone = True

    def _again(self, mean_s: float, what: Callable[[], None]) -> None:
        def happens() -> None:
            if not self._gone:
                what()
                self._world.agenda.after(self._draw.expovariate(1.0 / mean_s), happens)

        self._world.agenda.after(self._draw.expovariate(1.0 / mean_s), happens)

    def _try(self, name: str, what: Callable[[], object]) -> None:
        """What the server refuses, it refuses."""
        try:
            what()
        except LekiwiError as error:
            self.refused[error.code] = self.refused.get(error.code, 0) + 1
        else:
            self.did[name] = self.did.get(name, 0) + 1
            self._world.told("anna", name)

    # --- what they do

    def push(self, environment: str) -> None:
        """A release is built, and rolled out unless the environment is frozen."""
        draw, world = self._draw, self._world
        flaw = draw.choice(_FLAWS) if draw.random() < self._manners.bad else Flaw.NONE
        select = draw.choice(("hw=v2", "site=c")) if flaw is Flaw.LABEL else ""
        version = f"v{len(world.releases) + 1}"
        release = world.release(version, flaw, share=draw.choice((0.05, 0.3, 1.0)), select=select)
        if not world.server.tables.environments[PROJECT, environment].frozen:
            self._try(f"push {version} ({flaw}) to {environment}", lambda: world.roll_out(release, environment))

    def _act(self) -> None:
        world, draw = self._world, self._draw
        environment = draw.choice(self._environments)
        act = draw.choice(
            (
                "pause",
                "skip",
                "complete",
                "abort",
                "keep",
                "back",
                "robot",
                "resume",
                "freeze",
                "force",
                "again",
                "drain",
                "move",
            )
        )
        open_ = [row for row in self._open() if row.environment == environment]
        match act:
            case "freeze":
                self._try(act, lambda: world.freeze(environment, draw.random() < 0.5))
            case "back" | "force" | "again":
                known = list(world.releases)
                if known:
                    to = draw.choice(known[-6:])
                    self._try(
                        f"{act} to {world.releases[to].version} in {environment}",
                        lambda: world.roll_out(to, environment, kind="rollback", force=act == "force"),
                    )
            case "drain":
                name = draw.choice([row.name for row in world.server.tables.robots.values()])
                self._try(act, lambda: world.drain(name, draw.random() < 0.5))
            case "move":
                name = draw.choice([row.name for row in world.server.tables.robots.values()])
                self._try(act, lambda: world.move(name, environment))
            case "robot" | "resume":
                self._one_robot(act, environment)
            case _ if open_:
                row = draw.choice(open_)
                self._try(f"{act} {row.id} in {environment}", lambda: self.steer(row.id, act))
            case _:
                pass

    def _one_robot(self, act: str, environment: str) -> None:
        world, draw = self._world, self._draw
        names = [row.name for row in world.server.tables.robots.values() if row.environment == environment]
        pinned = [name for name in names if world.server.tables.robots[name].by_hand]
        if act == "resume" and pinned:
            name = draw.choice(pinned)
            self._try("resume", lambda: world.resume(RobotId(name)))
        elif act == "robot" and names and world.releases:
            one, to = draw.choice(names), draw.choice(list(world.releases)[-6:])
            self._try("robot", lambda: world.roll_out(to, environment, kind="robot", robots=(RobotId(one),)))

    def answer(self) -> None:
        """Rollouts that wait for somebody are let go on, or given up after a while."""
        now = self._world.agenda.now
        for row in self._open():
            waits = row.course.told.rpartition(" ")[2]
            if waits == "approval":
                act = "abort" if self._draw.random() < 0.15 else "approve"
            elif row.course.paused is not None:
                act = "resume"
            elif (now - row.created_at).total_seconds() > self._manners.gives_up_s:
                act = self._draw.choice(("abort", "complete", "skip"))
            else:
                continue
            self._try(f"{act} {row.id}", lambda row=row, act=act: self.steer(row.id, act))  # type: ignore[misc]

    def _open(self) -> list[RolloutRow]:
        return [row for row in self._world.server.tables.rollouts.values() if row.status == RolloutStatus.ROLLING]

    def steer(self, id: RolloutId, act: str) -> None:
        """As `lekiwi rollout <act>` does it. Raises what the server would answer."""
        stage = self._world.server.stage

        async def steered() -> None:
            async with stage.open() as store:
                store_: ConductingStore = store
                asked = RolloutAct(reason="because")
                match act:
                    case "abort":
                        await steering.abort(store_, stage, ANNA, id, asked)
                    case "keep":
                        await steering.abort(store_, stage, ANNA, id, RolloutAct(reason="because", keep=True))
                    case "pause" | "resume" | "approve" | "skip" | "complete":
                        await steering.steer(store_, stage, ANNA, id, act, asked)
                    case _:
                        raise AssertionError(act)

        at_once(steered())
