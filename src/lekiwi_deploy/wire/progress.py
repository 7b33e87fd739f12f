"""Progress of a deployment or rollout, as stored and followed: `git push`, `lekiwi deploy`, `rollback`, `inspect --wait`.

Streams are numbered from 1 without gaps. A deployment's stream (`dep_…`) tells of build and test and ends with `Closed`;
`RolloutStarted` in it names the rollout whose stream (`rol_…`) goes on. Following a deployment over HTTP chains the two.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId
from lekiwi_deploy.wire.reasons import Reason


class Step(StrEnum):
    """A step of the build, in order."""

    EXPORT = "export"
    BUILD = "build"
    TEST = "test"
    PACK = "pack"


class StepStarted(msgspec.Struct, frozen=True, tag="step_started", tag_field="kind"):
    """`text` says what is done: `python, uv · linux-x86_64`."""

    step: Step
    text: str


class OutputLine(msgspec.Struct, frozen=True, tag="output", tag_field="kind"):
    """One line that the build or test command wrote."""

    step: Step
    text: str


class StepFinished(msgspec.Struct, frozen=True, tag="step_finished", tag_field="kind"):
    """`text`: what came of it (`12 passed`, `reused, inputs unchanged`, or what failed). Not ok ends the deployment."""

    step: Step
    ok: bool
    text: str
    seconds: float


class Note(msgspec.Struct, frozen=True, tag="note", tag_field="kind"):
    """A warning or remark that a person should see (`warning`), or may (not)."""

    text: str
    warning: bool = False


class Built(msgspec.Struct, frozen=True, tag="built", tag_field="kind"):
    """The manifest stands. `reused`: the same inputs were built before."""

    deployment: DeploymentId
    version: str
    digest: str
    bytes: int
    files: int
    reused: bool


class Closed(msgspec.Struct, frozen=True, tag="closed", tag_field="kind"):
    """Nothing more will happen by itself: `status` failed, canceled, or built (waiting, frozen: `text` says for what)."""

    status: str
    text: str


class RolloutStarted(msgspec.Struct, frozen=True, tag="rollout_started", tag_field="kind"):
    """`total` robots are to run `deployment`."""

    rollout: RolloutId
    deployment: DeploymentId
    version: str
    environment: EnvironmentName
    total: int
    source: str = ""


class RobotMoved(msgspec.Struct, frozen=True, kw_only=True, tag="robot", tag_field="kind"):
    """One robot's status in the rollout changed. `status`: a `RobotStatus`. Times in milliseconds as the robot measured them."""

    robot: RobotId
    status: str
    running: DeploymentId | None = None
    switch_ms: float | None = None
    gap_ms: float | None = None
    ready_ms: float | None = None
    wire_bytes: int = 0
    why: str | None = None
    log: tuple[str, ...] = ()
    waiting: tuple[Reason, ...] = ()


class RolloutFinished(msgspec.Struct, frozen=True, kw_only=True, tag="rollout_finished", tag_field="kind"):
    """The verdict on everything that could be reached; `pending` robots (offline) go on by themselves when they return."""

    status: str
    live: int
    pending: int
    failed: int
    total: int
    seconds: float
    undo: str
    text: str = ""


class RolloutWaits(msgspec.Struct, frozen=True, kw_only=True, tag="rollout_waits", tag_field="kind"):
    """A gradual rollout came to step `at` of `of`, from 1, and waits there for `what` (`soak`, `approval`, `nobody`, `paused`), until `until`
    if that ends by itself. `text`: that in words, without the step."""

    at: int
    of: int
    what: str
    text: str
    until: datetime | None = None

    @property
    def for_a_person(self) -> bool:
        """Whether it goes on only when somebody says so."""
        return self.what in ("approval", "paused")


Body = (
    StepStarted
    | OutputLine
    | StepFinished
    | Note
    | Built
    | Closed
    | RolloutStarted
    | RobotMoved
    | RolloutWaits
    | RolloutFinished
)


class Progress(msgspec.Struct, frozen=True):
    """One entry of a stream; `seq` is the cursor to go on from."""

    stream: str
    seq: int
    at: datetime
    body: Body
