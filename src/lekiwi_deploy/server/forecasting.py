"""What a deployment would do in an environment, before anybody does it: read as the conductor reads, decided by `fleet.forecast`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from zoneinfo import ZoneInfo

from lekiwi_deploy.fleet import approval
from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.fleet.forecast import Foreseen, foresee
from lekiwi_deploy.fleet.rollout import Seen, Target
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.forecast_costs import Cost, changed_variables, costs
from lekiwi_deploy.server.looking import pin_of
from lekiwi_deploy.server.store import quarantines, robots
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.wire.api import Environment
from lekiwi_deploy.wire.forecast import Forecast, RobotForecast
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.policy import Policy, RolloutStep
from lekiwi_deploy.wire.reasons import (
    HOLDING_OFF,
    AwaitsApproval,
    Frozen,
    Quarantined,
    Reason,
    WindowClosed,
    sentence,
)
from lekiwi_deploy.wire.remedies import remedy
from lekiwi_deploy.wire.why import HeldBack
from lekiwi_deploy.wire.windows import Closed, look

NOT_BUILT = DeploymentId("dep_00000000")
_NO_DIGEST = ManifestDigest("0" * 64)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about. `row` None: it is not built yet. `way`: how it comes; `gradual`: a way back goes through the policy's steps too;
    `steps`: in place of the policy's; `robot`: only that one; `newest`: with the variables of now, though it ran there before."""

    environment: Environment
    row: DeploymentRow | None
    way: Way
    force: bool = False
    gradual: bool = False
    steps: tuple[RolloutStep, ...] | None = None
    robot: RobotId | None = None
    newest: bool = False


async def forecast(tx: Transaction, context: Context, wanted: Wanted) -> Forecast:
    """The whole plan, with what would keep it now. Changes nothing."""
    environment, row, now = wanted.environment, wanted.row, context.now()
    policy = environment.policy or Policy()
    rows = await robots.listed(tx, environment.project, environment.name)
    if wanted.robot is not None:
        rows = [one for one in rows if one.name == wanted.robot]
    differ = await changed_variables(tx, rows, row, environment, newest=wanted.newest)
    there = frozenset(one.name for one in rows if _runs(one, wanted, differ))
    foreseen = foresee(
        _target(wanted, context, policy), [_seen(one) for one in rows], now, _course(wanted, policy), there
    )
    moving = [one for one in rows if one.name in foreseen.step and one.name not in there]
    cost = await costs(tx, context, moving, row, differ)
    window = None if wanted.way is Way.ROLLBACK or wanted.force else _closed(policy, context)
    told = tuple(_robot(one, wanted, foreseen, there, cost.get(one.name), window) for one in rows)
    moves = [one for one in told if one.moves]
    sizes = [one.bytes for one in moves]
    return Forecast(
        environment=environment.name,
        deployment=row.id if row is not None else None,
        robots=told,
        steps=foreseen.steps if len(foreseen.steps) > 1 else (),
        gates=await _gates(tx, wanted, policy, context),
        bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        estimated=any(one.estimated for one in cost.values()),
        moves=len(moves),
        there=len(there),
        stuck=foreseen.stuck if moves else None,
        notes=_notes(wanted, policy, rows),
    )


def _target(wanted: Wanted, context: Context, policy: Policy) -> Target:
    row = wanted.row
    return Target(
        deployment=row.id if row is not None else NOT_BUILT,
        digest=(row.package_hash or _NO_DIGEST) if row is not None else _NO_DIGEST,
        created_at=row.created_at if row is not None else context.now(),
        kind="robot" if wanted.robot is not None else "rollback" if wanted.way is Way.ROLLBACK else "deploy",
        epoch=context.epoch,
        force=wanted.force,
        platforms=row.metadata.platforms if row is not None else (),
        rollout="",
        began=context.now(),
        skip_offline=policy.skip_offline and wanted.way is not Way.ROLLBACK and wanted.robot is None,
        limited=_course(wanted, policy).limited,
    )


def _course(wanted: Wanted, policy: Policy) -> Course:
    if wanted.robot is not None or (wanted.way is Way.ROLLBACK and not wanted.gradual):
        return Course()
    steps = policy.steps if wanted.steps is None else wanted.steps
    return Course(
        steps=steps,
        in_flight=policy.in_flight,
        max_failures=policy.max_failures,
        skip_offline=policy.skip_offline and wanted.way is not Way.ROLLBACK,
    )


def _seen(row: RobotRow) -> Seen:
    """As the conductor sees a robot that no rollout has asked yet."""
    return Seen(
        id=row.name,
        joined=row.joined_at is not None,
        online=row.online,
        last_seen_at=row.last_seen_at,
        platform=row.platform,
        cloned_at=row.cloned_at,
        pin=pin_of(row),
        generation=row.generation,
        report=row.report,
        deferring_since=row.deferring_since,
        labels=row.labels,
        out=row.out,
    )


def _runs(row: RobotRow, wanted: Wanted, differ: Mapping[DeploymentId, tuple[str, ...]]) -> bool:
    """Whether it runs the same content with the same variables, and nobody pinned it there."""
    running = row.report.running if row.report is not None else None
    if wanted.row is None or running is None or wanted.row.package_hash is None or not running.healthy:
        return False
    if row.by_hand and wanted.robot is None:
        return False
    return running.digest == wanted.row.package_hash and not differ.get(running.deployment)


def _robot(
    row: RobotRow,
    wanted: Wanted,
    foreseen: Foreseen,
    there: frozenset[RobotId],
    cost: Cost | None,
    window: WindowClosed | None,
) -> RobotForecast:
    running = row.report.running if row.report is not None else None
    step = 0 if row.name in there else foreseen.step.get(row.name, 0)
    reasons: list[Reason] = []
    if row.name not in there:
        standing = foreseen.standings.get(row.name)
        reasons = [one for one in (standing.waiting if standing is not None else ()) if _is_gate(one)]
        if step and not wanted.force and row.report is not None:
            reasons += [
                one for one in row.report.waiting if isinstance(one, HOLDING_OFF) and not isinstance(one, WindowClosed)
            ]
        if step and window is not None:
            reasons.append(window)
    return RobotForecast(
        robot=row.name,
        moves=step > 0,
        step=step,
        running=running.deployment if running is not None else None,
        bytes=cost.bytes if cost is not None else None if step else 0,
        restarts=cost.restarts if cost is not None else (),
        reasons=tuple(_held(one, row.name) for one in reasons),
    )


def _is_gate(reason: Reason) -> bool:
    """Not what only says that its turn has not come: that is the plan itself."""
    return str(reason.__struct_config__.tag) not in ("asked", "later_step")


def _held(reason: Reason, robot: str = "NAME") -> HeldBack:
    since = getattr(reason, "since", None)
    return HeldBack(reason=reason, text=sentence(reason), clears=remedy(reason, robot), since=since)


async def _gates(tx: Transaction, wanted: Wanted, policy: Policy, context: Context) -> tuple[HeldBack, ...]:
    """What would keep all of it: in the order in which it would be met."""
    environment, row = wanted.environment, wanted.row
    gates: list[Reason] = []
    if row is not None and wanted.robot is None and not wanted.force:
        held = await quarantines.holding(tx, environment.project, environment.name, row.id)
        if held is not None:
            gates.append(Quarantined(row.id, held.why))
    if environment.freeze is not None and wanted.way is Way.PUSH:
        freeze = environment.freeze
        gates.append(Frozen(environment.name, freeze.by, freeze.at, freeze.why))
    asked = approval.wanted(policy, wanted.way) if wanted.robot is None else None
    if asked is not None:
        now = context.now()
        gates.append(
            AwaitsApproval(
                deployment=row.id if row is not None else "the deployment",
                environment=environment.name,
                missing=asked.count,
                since=now,
                expires=approval.expiry(now, asked),
                not_author=asked.not_author,
            )
        )
    return tuple(_held(one) for one in gates)


def _closed(policy: Policy, context: Context) -> WindowClosed | None:
    """The window by the zone that it names; without one each robot's own clock says, which the server does not know: by UTC then."""
    if policy.window is None:
        return None
    try:
        zone = ZoneInfo(policy.window.zone) if policy.window.zone is not None else UTC
    except (KeyError, ValueError, OSError):
        return None
    state = look(policy.window, context.now(), zone)
    return WindowClosed(window=policy.window.text, opens=state.opens) if isinstance(state, Closed) else None


def _notes(wanted: Wanted, policy: Policy, rows: Sequence[RobotRow]) -> tuple[str, ...]:
    notes = []
    if wanted.row is None:
        notes.append("not built yet: which services restart, and how much is sent, is known after the build")
    if policy.window is not None and wanted.way is not Way.ROLLBACK and policy.window.zone is None and not wanted.force:
        notes.append("the window is by each robot's own clock; here it is judged as if that were UTC")
    freeze = wanted.environment.freeze
    if freeze is not None and wanted.way is Way.DEPLOY:
        notes.append(f"{wanted.environment.name} is frozen by {freeze.by}: a deployment by hand goes on all the same")
    if policy.in_flight is not None and wanted.way is not Way.ROLLBACK and len(rows) > policy.in_flight:
        notes.append(f"at most {policy.in_flight} robots at once")
    return tuple(notes)
