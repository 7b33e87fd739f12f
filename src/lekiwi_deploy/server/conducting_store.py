"""What the conductor needs of a store: everything that it reads and writes goes through this one protocol.

`server/store/conducted.py` implements it in PostgreSQL; the simulation has one in memory, which a contract suite holds to be the same. An object
of it is bound to one transaction: all of what was written through it stands when the transaction ends well, else nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.fleet.resolution import Candidates
from lekiwi_deploy.fleet.undoing import Inverse
from lekiwi_deploy.server.store.activations import Ran
from lekiwi_deploy.server.store.conducting import Change, Changed, Deferring, Look, OpenRollout, SeenRow
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.quarantines import Quarantine
from lekiwi_deploy.server.store.rollouts import LiveRow, RolloutRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.progress import Body


class ConductingStore(Protocol):
    """One transaction of the conductor. Methods of the same noun stand together; what each means in rows is told where the SQL is."""

    # which rollouts to look at

    async def due(self, hints: Collection[str], look: Look, now: datetime) -> list[RolloutId]:
        """Rollouts to look at, oldest first: of those that are open or followed by an environment, the ones that `hints` (ids or
        `project/environment`s) point at, and those with a robot that was to be looked at by `now`; `look`: also all open ones, or all."""

    async def claim(self, id: str) -> OpenRollout | None:
        """The rollout, for this transaction alone; None when it is over and not followed, or there is none."""

    # its robots

    async def changed(self, since: str | None) -> Changed:
        """Robots of which anything that a plan looks at was written after `since` (what an earlier answer said; None: only say where
        we are). May name too many, never too few of what is committed when it is asked."""

    async def settle(
        self, id: str, project: str, environment: str, only: Collection[str] | None = None
    ) -> Collection[str]:
        """Makes the rollout's robots those of the environment: adds those that came, drops those that went (`only`: of these names). Which
        ones were added or dropped."""

    async def seen(self, id: str, only: Collection[str] | None = None) -> list[SeenRow]:
        """Robots of the rollout; `only`: of these names, as far as they are in it."""

    async def asked_before(self, id: str, step: int) -> list[RobotId]:
        """Robots of the rollout that were asked in steps before `step`."""

    async def assign(
        self,
        id: str,
        names: Sequence[str],
        deployment: str,
        *,
        by_hand: str | None,
        forced_by: str | None,
        step: int,
        anytime: bool,
        now: datetime,
    ) -> None:
        """Makes `deployment` what these robots are to run, each under its next generation, and hints at their links."""

    async def unassign(self, project: str, environment: str, deployment: str) -> None:
        """Nothing is wanted any more of the environment's robots that `deployment` was wanted of, save those pinned there."""

    async def record(self, id: str, changes: Sequence[Change], now: datetime) -> None:
        """Notes where robots of the rollout stand."""

    async def defer(self, changes: Sequence[Deferring], lock: Collection[str] = ()) -> None:
        """Notes since when robots hold off what is wanted of them; `lock`: robots that are assigned in the same transaction."""

    # rollouts

    async def rollout(self, id: str) -> RolloutRow | None:
        """The rollout of exactly this id."""

    async def rollout_by_key(self, key: str) -> RolloutId | None:
        """The rollout that was started with this key."""

    async def open_rollouts(self, project: str, environment: str, robot: str | None = None) -> list[RolloutRow]:
        """Open rollouts of the whole environment, or, with `robot`, open ones of that robot alone."""

    async def insert_rollout(self, row: RolloutRow, key: str | None) -> None:
        """A new open rollout, without robots. `key`: makes it the only one of that key."""

    async def add_robots(self, id: str, project: str, environment: str, names: Sequence[str] | None) -> int:
        """Adds to a new rollout all robots of the environment (`names`: only those) that it does not have. How many."""

    async def keep_robots(self, id: str, names: Sequence[str]) -> None:
        """Robots that the rollout leaves as they are, whatever it brings to the others."""

    async def set_course(self, id: str, course: Course) -> None:
        """Notes where it stands."""

    async def set_counts(self, id: str, *, total: int, live: int, pending: int, failed: int) -> None:
        """Notes where its robots stand."""

    async def finish(self, id: str, status: str, now: datetime) -> None:
        """Gives it its verdict; the time stays that of the first one."""

    # environments and what was live there

    async def lock_environment(self, project: str, environment: str) -> LiveRow | None:
        """What is live in the environment, locked until the transaction ends: whoever moves its robots does this first."""

    async def set_live(self, project: str, environment: str, live: str | None, rollout: str | None) -> None:
        """What robots of the environment are to run from now on, and the rollout that sees to it."""

    async def open_activation(
        self, project: str, environment: str, deployment: str, rollout: str, now: datetime, total: int
    ) -> None:
        """`deployment` is live in the environment from `now` on; ends what was."""

    async def close_activation(self, project: str, environment: str, now: datetime) -> None:
        """Nothing is live in the environment from `now` on."""

    async def ran(self, deployment: str, ran: Sequence[Ran], now: datetime) -> None:
        """Adds to robots' histories what came of `deployment` on them."""

    async def count_activation(self, rollout: str, *, good: int, healthy: int, total: int) -> None:
        """Notes how many robots became good and healthy in the interval that the rollout opened; these never fall."""

    async def candidates(self, project: str, environment: str, current: DeploymentId | None) -> Candidates:
        """What was live in the environment, for choosing what to go back to from `current`."""

    # deployments

    async def deployment(self, id: str) -> DeploymentRow | None:
        """The deployment of exactly this id."""

    async def set_deployment_rollout(self, id: str, rollout: RolloutId) -> None:
        """Notes its newest rollout."""

    async def quarantine(self, project: str, environment: str, deployment: str) -> Quarantine | None:
        """Why the deployment may not go to the environment."""

    async def put_quarantine(self, rollout: RolloutRow, why: str, now: datetime) -> None:
        """What this rollout brings has failed in its environment."""

    async def lift_quarantine(self, project: str, environment: str, deployment: str, by: str, now: datetime) -> None:
        """A person wants it there all the same."""

    # telling

    async def tell(self, stream: str, bodies: Sequence[Body], now: datetime, close: bool = False) -> None:
        """Adds `bodies` to the progress stream `stream`; `close`: these are the last ones."""

    async def audit(
        self,
        actor: str,
        action: str,
        target: str,
        detail: Mapping[str, object],
        *,
        reason: str = "",
        undo: Inverse | None = None,
    ) -> int:
        """Notes that `actor` did `action` to `target`, why, and how to take it back. The number of the change."""

    async def hint(self, topic: str, id: str) -> None:
        """Hints at whoever waits for `topic`, once the transaction stands."""


class Surroundings(Protocol):
    """What comes from outside: the time (aware, UTC) and `n` random bytes. The server's `Context` is one."""

    @property
    def now(self) -> Callable[[], datetime]:
        """Gives the time."""

    @property
    def random(self) -> Callable[[int], bytes]:
        """Gives so many bytes."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a conductor works: `open` begins a transaction of its store, which stands when the block ends and is undone when it raises."""

    open: Callable[[], AbstractAsyncContextManager[ConductingStore]]
    now: Callable[[], datetime]
    random: Callable[[int], bytes]


def place_of(project: ProjectName | str, environment: EnvironmentName | str) -> str:
    """What hints call an environment."""
    return f"{project}/{environment}"
