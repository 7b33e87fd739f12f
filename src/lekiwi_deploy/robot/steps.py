"""What to do next on one robot: wanted against seen, as typed steps.

Level-triggered: asked again after every batch, after every event and now and then; asking twice gives the same. The robot's own
safety comes first (the verdict of a trial, keeping up what is live), then what is wanted, then tidying up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lekiwi_deploy.robot.instance_types import Action
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.trial import Bad, Good, Healthy, Judgement, Relapsed
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.reasons import NotBuiltFor, Quarantined, Reason, Settling


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get what is missing of it, in the background."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class StopFetch:
    """Something else is wanted now."""


@dataclass(frozen=True, slots=True)
class LayOut:
    """Link its tree out of the object store."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class Activate:
    """Make it the live one, on trial."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class CountStart:
    """The machine booted during its trial: one more start."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class PointCurrent:
    """Make `current` name the live one."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class ChangeInstances:
    """Do this to the processes of services, so that they become what the live one says (see `instances.py`)."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class KeepForBoot:
    """Make this one what the machine starts at boot, before and without the agent."""

    deployment: DeploymentId | None


@dataclass(frozen=True, slots=True)
class MarkHealthy:
    """The judged services are ready."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class MarkRelapsed:
    """Not ready any more, though not failed."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class MarkGood:
    """The trial is over."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class RollBack:
    """`failed` is quarantined, `to` made live again."""

    failed: DeploymentId
    to: DeploymentId
    why: str
    service: str | None


@dataclass(frozen=True, slots=True)
class FallThrough:
    """`failed`, which was gone back to, does not come up either: `to` is made live in its place. Nothing is quarantined."""

    failed: DeploymentId
    to: DeploymentId
    why: str
    service: str | None


@dataclass(frozen=True, slots=True)
class ComeBack:
    """Nothing runs since `failed` failed, and now there is something to go back to after all."""

    failed: DeploymentId
    to: DeploymentId


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`failed` is quarantined and there is nothing to go back to: its services stop."""

    failed: DeploymentId
    why: str
    service: str | None


@dataclass(frozen=True, slots=True)
class Hold:
    """`failed` failed and is left as it is."""

    failed: DeploymentId
    why: str
    service: str | None


@dataclass(frozen=True, slots=True)
class TearDown:
    """Remove its tree; it stays retained."""

    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove its files."""

    deployment: DeploymentId


Step = (
    Fetch | StopFetch | LayOut | Activate | CountStart | PointCurrent | ChangeInstances | MarkHealthy | MarkRelapsed
    | MarkGood | RollBack | FallThrough | ComeBack | GiveUp | Hold | TearDown | Prune | KeepForBoot
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Observed:
    """The robot, now. `present`: all files here; `laid_out`: tree complete. `live`: by the ledger; `current`: what the link names.
    `lost`: what would be gone back to if its files were here. `stale`: services whose process is not the one that `live` says.
    `changes`: what is to be done to processes, `change_in_s` when time alone changes that; `boots`: what the machine is to start at boot,
    `kept_for_boot` whether it does.
    `judgement`: of the open trial, None: there is none; `boot_counted`: that trial was started in this boot. `blocked`: why a fetch is
    not tried now. `unfit`: this platform's key for those that have nothing for it."""

    slots: Mapping[DeploymentId, SlotState] = field(default_factory=dict)
    present: frozenset[DeploymentId] = frozenset()
    laid_out: frozenset[DeploymentId] = frozenset()
    live: DeploymentId | None = None
    current: DeploymentId | None = None
    fallback: DeploymentId | None = None
    lost: DeploymentId | None = None
    stale: tuple[str, ...] = ()
    changes: tuple[Action, ...] = ()
    change_in_s: float | None = None
    boots: DeploymentId | None = None
    kept_for_boot: bool = True
    judgement: Judgement | None = None
    boot_counted: bool = True
    fetching: DeploymentId | None = None
    blocked: Mapping[DeploymentId, Reason] = field(default_factory=dict)
    unfit: Mapping[DeploymentId, str] = field(default_factory=dict)
    why: Mapping[DeploymentId, str] = field(default_factory=dict)
    prune: tuple[DeploymentId, ...] = ()
    tear_down: tuple[DeploymentId, ...] = ()
    settling: Settling | None = None

    def slot(self, deployment: DeploymentId) -> SlotState:
        """Its state; absent when nothing was ever heard of it, or its files are not all here."""
        state = self.slots.get(deployment, SlotState.ABSENT)
        if state is not SlotState.QUARANTINED and deployment not in self.present:
            return SlotState.ABSENT
        return state


@dataclass(frozen=True, slots=True)
class Next:
    """`steps`: the next batch only; `waiting`: what holds the rest back, in order. Both empty: converged."""

    steps: tuple[Step, ...] = ()
    waiting: tuple[Reason, ...] = ()


def next_steps(wanted: DeploymentId | None, seen: Observed, holds: tuple[Reason, ...] = ()) -> Next:
    """What to do so that the robot runs `wanted` (None: whatever it runs). `holds`: why not to switch now; no hold can forbid
    keeping up, or going back from, what is live."""
    settled = _settle(seen)
    if settled is not None:
        return Next((settled,))
    if wanted is None or wanted == seen.live:
        return Next(_at_rest(seen), _why_not_up(seen))
    if wanted in seen.unfit:
        return Next(_at_rest(seen), (NotBuiltFor(seen.unfit[wanted]),))
    match seen.slot(wanted):
        case SlotState.ABSENT:
            if wanted in seen.blocked:
                return Next(_stay_up(seen, repair=True), (seen.blocked[wanted],))
            if seen.fetching == wanted:
                return Next(_stay_up(seen))
            return Next((*_drop_fetch(seen), *_stay_up(seen), Fetch(wanted)))
        case SlotState.QUARANTINED:
            why = seen.why.get(wanted, "")
            return Next(_come_back(wanted, seen) or _at_rest(seen), (Quarantined(wanted, why),))
        case SlotState.STAGED | SlotState.TRIAL | SlotState.GOOD | SlotState.HELD:
            if wanted not in seen.laid_out:
                if wanted in seen.blocked:
                    return Next(_stay_up(seen), (seen.blocked[wanted],))
                return Next((*_stay_up(seen), LayOut(wanted)))
            if seen.settling is not None:
                return Next(_at_rest(seen), (seen.settling,))
            return Next(_stay_up(seen), holds) if holds else Next((*_drop_fetch(seen), Activate(wanted)))


def _settle(seen: Observed) -> Step | None:
    """What the verdict of the trial asks for."""
    if seen.live is None:
        return None
    match seen.judgement:
        case Bad(why, service, keep, returning):
            if keep or (returning and seen.fallback is None):
                return Hold(seen.live, why, service)
            if returning and seen.fallback is not None:
                return FallThrough(seen.live, seen.fallback, why, service)
            down = service is None  # the machine, again and again: then it is not left running
            if seen.fallback is None and seen.lost is not None and not down:
                return Hold(seen.live, f"{why}; and the files of {seen.lost}, which ran before, are damaged", service)
            if seen.fallback is None:
                return GiveUp(seen.live, why, service)
            return RollBack(seen.live, seen.fallback, why, service)
        case Healthy() | Good() if seen.current != seen.live:  # nothing is told before `current` names it
            return PointCurrent(seen.live) if seen.live in seen.laid_out else None
        case Healthy():
            return MarkHealthy(seen.live)
        case Relapsed():
            return MarkRelapsed(seen.live)
        case Good():
            return MarkGood(seen.live)
        case _:
            return None


def _come_back(failed: DeploymentId, seen: Observed) -> tuple[Step, ...]:
    """Nothing runs; what would be gone back to has come, or was mended."""
    back = seen.fallback
    if seen.live is not None or back is None or back in seen.blocked:
        return ()
    return (ComeBack(failed, back),) if back in seen.laid_out else (LayOut(back),)


def _stay_up(seen: Observed, *, repair: bool = False) -> tuple[Step, ...]:
    """What keeps the live one running. `repair`: nothing else is to be fetched, so what the live one lacks may be."""
    live = seen.live
    whole = live is None or live in seen.present or live in seen.blocked
    drop = _drop_fetch(seen, keep=(live, seen.lost if whole else None)) if repair else ()
    if live is None:
        return (*drop, ChangeInstances(seen.changes)) if seen.changes else drop
    if seen.judgement is not None and not seen.boot_counted:
        return (*drop, CountStart(live))
    if live not in seen.laid_out:
        if live in seen.blocked:
            return (*drop, *_stand_in(seen))
        if live in seen.present:
            return (*drop, LayOut(live))
        return (*drop, Fetch(live)) if repair and seen.fetching != live else drop
    steps: tuple[Step, ...] = drop
    if seen.current != live:
        steps += (PointCurrent(live),)
    if seen.changes:
        steps += (ChangeInstances(seen.changes),)
    return steps


def _stand_in(seen: Observed) -> tuple[Step, ...]:
    """The files of what is live are damaged and cannot be had now. If it does not run either, what ran before stands in for it."""
    back = seen.fallback
    if not seen.stale or back is None or back in seen.blocked:
        return ()
    return (Activate(back),) if back in seen.laid_out else (LayOut(back),)


def _at_rest(seen: Observed) -> tuple[Step, ...]:
    """Nothing new can be had, so keep up what is live, and then tidy up."""
    return _stay_up(seen, repair=True) or _tidy(seen)


def _why_not_up(seen: Observed) -> tuple[Reason, ...]:
    return (seen.blocked[seen.live],) if seen.live is not None and seen.live in seen.blocked else ()


def _drop_fetch(seen: Observed, keep: tuple[DeploymentId | None, ...] = ()) -> tuple[Step, ...]:
    return (StopFetch(),) if seen.fetching is not None and seen.fetching not in keep else ()


def _tidy(seen: Observed) -> tuple[Step, ...]:
    """What can wait until nothing else is to be done: what boots, the fallback's files and tree, and what is not needed any more."""
    if not seen.kept_for_boot and (seen.boots is None or seen.boots in seen.laid_out):
        return (KeepForBoot(seen.boots),)
    lost = seen.lost
    if lost is not None and lost not in seen.present and lost not in seen.blocked:
        return () if seen.fetching is not None else (Fetch(lost),)
    back = seen.fallback
    if back is not None and back in seen.present and back not in seen.laid_out and back not in seen.blocked:
        return (LayOut(back),)
    return (*(TearDown(id_) for id_ in seen.tear_down), *(Prune(id_) for id_ in seen.prune))
