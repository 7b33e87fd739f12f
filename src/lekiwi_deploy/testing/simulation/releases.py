"""Releases and what is wrong with them: how each behaves on each robot follows from the seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lekiwi_deploy.fleet.labels import parse_selector
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef

MISSING_FOR = timedelta(hours=2)
BASE_FAILURES = 0.002
"""On so many robots even a good release fails: their hardware is not well."""


class Flaw(StrEnum):
    """What is wrong with a release."""

    NONE = "none"  # nothing, beside the base failures
    SOME = "some"  # it exits on a share of the robots
    LABEL = "label"  # it exits on robots with a label
    SLOW = "slow"  # it becomes healthy, and fails some seconds later, on a share of the robots
    LOAD = "load"  # its check fails while the robot is under load
    CRASH = "crash"  # it takes the machine down before it is ready or soon after, on a share of the robots
    EVERYWHERE = "everywhere"  # it exits, on all
    MISSING = "missing"  # its content cannot be fetched for the first two hours


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a release's only service behaves on one robot. Seconds since its process was started; None: never."""

    ready_s: float
    exits_s: float | None = None
    fails_s: float | None = None
    kills_s: float | None = None
    under_load: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """One deployment. `share`: of robots that the flaw shows on; `select`: labels of those; `late_s`: within so many seconds after it
    became healthy a slow flaw shows; `size`: bytes that a robot fetches."""

    id: DeploymentId
    digest: ManifestDigest
    version: str
    created_at: datetime
    flaw: Flaw = Flaw.NONE
    share: float = 1.0
    select: str = ""
    late_s: float = 30.0
    size: int = 2_000_000
    base_failures: float = BASE_FAILURES

    @property
    def ref(self) -> DeploymentRef:
        """As robots are told of it."""
        return DeploymentRef(
            id=self.id, digest=self.digest, manifest_size=1, version=self.version, created_at=self.created_at
        )

    def obtainable(self, now: datetime) -> bool:
        """Whether the server has all of its content."""
        return self.flaw is not Flaw.MISSING or now >= self.created_at + MISSING_FOR

    def on(self, robot: str, labels: dict[str, str], seed: str) -> Behaviour:
        """How it behaves on `robot`: always the same for one seed, whatever its labels become later."""
        draw = random.Random(f"{seed} {self.id} {robot}")
        ready_s = draw.uniform(0.5, 8.0)
        if draw.random() < self.base_failures:
            return Behaviour(ready_s, exits_s=0.2)
        hit = parse_selector(self.select).fits(labels) if self.select else draw.random() < self.share
        if not hit:
            return Behaviour(ready_s)
        match self.flaw:
            case Flaw.SOME | Flaw.LABEL | Flaw.EVERYWHERE:
                return Behaviour(ready_s, exits_s=draw.uniform(0.1, 2.0))
            case Flaw.SLOW:
                return Behaviour(ready_s, fails_s=ready_s + draw.uniform(0.1, 1.0) * self.late_s)
            case Flaw.LOAD:
                return Behaviour(ready_s, under_load=True)
            case Flaw.CRASH:  # within ten seconds: what lives for longer, the shortest trial finds good
                return Behaviour(ready_s, kills_s=min(9.0, draw.uniform(0.2, 1.0) * ready_s + draw.choice((0.0, 4.0))))
            case Flaw.NONE | Flaw.MISSING:
                return Behaviour(ready_s)
