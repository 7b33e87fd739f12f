"""How a robot is, in a word and a line. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.api import Robot
from lekiwi_deploy.wire.link import Phase, Result, ServiceState
from lekiwi_deploy.wire.reasons import ClonedKey, Drained, NeverJoined, Offline, Pinned, sentence


@dataclass(frozen=True)
class State:
    """`word` for a column, `why` for a person, `fine`: nothing to look at."""

    word: Cell
    why: str
    fine: bool


def state(robot: Robot) -> State:
    """What matters most first: it cannot be reached, it is held, it failed, it is at work, it is well."""
    reasons = "; ".join(sentence(reason) for reason in robot.waiting)
    kinds = {type(reason) for reason in robot.waiting}
    if ClonedKey in kinds:
        return State(Cell("refused", "red"), reasons, False)
    if robot.joined_at is None or NeverJoined in kinds:
        return State(Cell("not joined", "yellow"), reasons or sentence(NeverJoined()), False)
    if not robot.online:
        return State(
            Cell("offline", "yellow"),
            reasons if Offline in kinds else "; ".join(filter(None, [sentence(Offline(robot.last_seen_at)), reasons])),
            False,
        )
    if robot.out is not None:
        word = "drained" if isinstance(robot.out, Drained) else "unplaced"
        return State(Cell(word, "yellow"), reasons or sentence(robot.out), False)
    if robot.pin is not None:
        pinned = Pinned(robot.pin.deployment, robot.pin.by, robot.pin.at)
        why = reasons if Pinned in kinds else "; ".join(filter(None, [sentence(pinned), reasons]))
        return State(Cell("pinned", "yellow"), why, False)
    outcome = robot.outcome
    failed = (
        outcome is not None
        and outcome.deployment == robot.desired
        and (robot.running is None or robot.running.deployment != robot.desired)
    )
    if outcome is not None and failed and outcome.result in (Result.ROLLED_BACK, Result.FAILED):
        word = "rolled back" if outcome.result is Result.ROLLED_BACK else "failed"
        why = f"{outcome.deployment} failed here: {outcome.why or 'no reason given'}"
        return State(Cell(word, "red"), why, False)
    if robot.phase in (Phase.FETCHING, Phase.STAGED, Phase.SWITCHING, Phase.STARTING):
        return State(Cell(str(robot.phase.value), "cyan"), reasons, False)
    if robot.running is None:
        return State(Cell("idle", "dim"), reasons or "runs nothing yet", not reasons)
    if not robot.running.healthy:
        ill = [s for s in robot.services if s.state is not ServiceState.READY]
        why = "; ".join(f"{s.name} {s.state.value.replace('_', ' ')}{f': {s.detail}' if s.detail else ''}" for s in ill)
        return State(Cell("unhealthy", "red"), "; ".join(filter(None, [why, reasons])), False)
    if reasons or (robot.desired is not None and robot.running.deployment != robot.desired):
        return State(Cell("waiting", "yellow"), reasons or f"wants {robot.desired}", False)
    return State(Cell("good" if robot.running.good else "healthy", "green"), "", True)


def has_labels(robot: Robot, tags: dict[str, str]) -> bool:
    """Whether it carries all of `tags`."""
    return all(robot.labels.get(name) == value for name, value in tags.items())
