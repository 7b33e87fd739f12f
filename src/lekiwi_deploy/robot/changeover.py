"""How one service is changed over to its wanted version: by its port, by the lock of its hardware, or by stopping the old version first."""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.robot.instance_types import (
    Action,
    HoldDown,
    Hooked,
    Kind,
    Resume,
    RunHook,
    Seen,
    StartInstance,
    StartStandby,
    StopInstance,
    Strategy,
    Wanted,
    World,
)
from lekiwi_deploy.wire.ids import InstanceId
from lekiwi_deploy.wire.link import SwitchKind
from lekiwi_deploy.wire.manifest import HookKind, Warm

PATIENCE_S = 10.0
"""So long after the start of its process a service holds up the others of its change; then they go ahead."""
ANSWER_S = 2.0
"""So long a version that was kept warm may take to answer; then it is started afresh."""


@dataclass(frozen=True, slots=True)
class Part:
    """A service's part of the whole. `calm`: actions that disturb nothing that is in use; `disturbing`: those that do. `prepared`: it can be
    changed over now, in an instant or as well as it ever can. `patience_s`: when the others need not wait for it any more. `target`:
    the private port that its traffic may be led to. `minds`: instances that it takes care of. `kind`: of the change under way."""

    wanted: Wanted
    calm: tuple[Action, ...] = ()
    disturbing: tuple[Action, ...] = ()
    prepared: bool = True
    patience_s: float | None = None
    target: int | None = None
    serving: bool = False
    minds: tuple[InstanceId, ...] = ()
    kind: Kind | None = None
    wake_in_s: float | None = None


def self_held(one: Seen) -> bool:
    """Whether it listens on its public port itself, as versions did that an agent without traffic started."""
    return one.port is not None and one.port == one.public


def advance(wanted: Wanted, mine: Seen | None, spare: list[Seen], world: World) -> Part:
    """What to do for this service. `mine`: its wanted version, if it is there; `spare`: every instance that no service wants."""
    rivals = [one for one in spare if _rival(wanted, one)]
    if mine is None:
        return _not_there(wanted, rivals, spare, world)
    return _there(wanted, mine, rivals, world)


def _rival(wanted: Wanted, one: Seen) -> bool:
    """Whether it has what the wanted one needs for itself: the same service, hardware, or port."""
    if one.service == wanted.service or (one.unknown and (wanted.port is not None or wanted.hardware is not None)):
        return True
    if wanted.hardware is not None and one.hardware == wanted.hardware:
        return True
    return (
        wanted.port is not None and one.public == wanted.port and (self_held(one) or wanted.strategy is Strategy.STOP)
    )


def _not_there(wanted: Wanted, rivals: list[Seen], spare: list[Seen], world: World) -> Part:
    old = any(one.service == wanted.service for one in rivals)
    if wanted.service in world.lost:
        return Part(wanted, prepared=False, minds=tuple(one.instance for one in rivals))
    if wanted.prepare is not Hooked.NONE and wanted.prepare is not Hooked.DONE:
        due = (RunHook(wanted.service, HookKind.PREPARE),) if wanted.prepare is Hooked.DUE else ()
        return Part(wanted, calm=due, prepared=False, minds=_minded(wanted, rivals))
    kept_warm = [one for one in spare if one.paused or (one.stopping and one.left_at is not None)]
    if kept_warm and any(_no_room(wanted, one, world) for one in rivals):
        room = tuple(StopInstance(one.instance) for one in kept_warm if not one.stopping)
        return Part(wanted, calm=room, prepared=False, minds=_minded(wanted, rivals))
    blockers = {one.instance: why for one in rivals if (why := _must_go(wanted, one, world)) is not None}
    if blockers:
        present = [one for one in rivals if one.instance in blockers]
        waiters = [one for one in present if one.waiting and not one.owns]
        asked = tuple(StopInstance(one.instance) for one in waiters or present if not one.stopping)
        why = next((why for why in blockers.values() if why), None)
        return Part(
            wanted,
            calm=asked if waiters else (),
            disturbing=() if waiters else asked,
            minds=tuple(blockers),
            kind=Kind(SwitchKind.COLD, why) if old else None,
        )
    if wanted.strategy is Strategy.STOP and wanted.port in world.targets:
        return Part(wanted, kind=Kind(SwitchKind.COLD))  # once no traffic is led away from its port any more
    beside = {Strategy.PORT: SwitchKind.BLUE_GREEN, Strategy.LOCK: SwitchKind.WARM, Strategy.STOP: SwitchKind.COLD}
    return Part(
        wanted,
        calm=(StartInstance(wanted.service, wanted.instance),),
        prepared=not old or wanted.strategy is Strategy.STOP,
        patience_s=None,
        minds=_minded(wanted, rivals),
        kind=Kind(beside[wanted.strategy] if old else SwitchKind.COLD),
    )


def _there(wanted: Wanted, mine: Seen, rivals: list[Seen], world: World) -> Part:
    minds = _minded(wanted, rivals)
    if mine.stopping or not mine.alive:
        return Part(wanted, prepared=False, minds=minds)
    if mine.paused:
        return Part(
            wanted, calm=(Resume(mine.instance),), prepared=False, minds=minds, kind=_kind_beside(wanted, rivals)
        )
    match wanted.strategy:
        case Strategy.PORT:
            return _by_port(wanted, mine, rivals, world)
        case Strategy.LOCK:
            return _by_lock(wanted, mine, rivals, world)
        case Strategy.STOP:
            gone = tuple(StopInstance(one.instance) for one in rivals if not one.stopping)
            minds = tuple(one.instance for one in rivals)
            return Part(wanted, calm=_greeting(wanted, mine), disturbing=gone, serving=True, minds=minds)


def _by_port(wanted: Wanted, mine: Seen, rivals: list[Seen], world: World) -> Part:
    if self_held(mine):
        return Part(wanted, serving=True)
    if wanted.port is not None and world.targets.get(wanted.port) == mine.port:
        return Part(wanted, serving=True, target=mine.port)
    kind = _kind_beside(wanted, rivals)
    if mine.ready or wanted.insist:
        welcome = wanted.insist or wanted.welcome in (Hooked.NONE, Hooked.DONE)
        target = mine.port if welcome else None
        return Part(wanted, calm=_greeting(wanted, mine), prepared=welcome, target=target, kind=kind)
    if mine.resumed_at is not None:
        left = mine.resumed_at + ANSWER_S - world.now
        again = (StopInstance(mine.instance),) if left <= 0 else ()
        return Part(wanted, calm=again, prepared=False, kind=kind, wake_in_s=max(0.0, left))
    patience = max(0.0, mine.started + PATIENCE_S - world.now)
    return Part(wanted, prepared=patience <= 0, patience_s=patience or None, kind=kind)


def _by_lock(wanted: Wanted, mine: Seen, rivals: list[Seen], world: World) -> Part:
    minds = tuple(one.instance for one in rivals)
    if mine.owns:
        welcome = wanted.welcome in (Hooked.NONE, Hooked.DONE)
        others = [one for one in rivals if one.instance != wanted.standby and not one.stopping]
        return Part(
            wanted,
            calm=_greeting(wanted, mine) + _standby(wanted, mine, rivals, world),
            disturbing=tuple(StopInstance(one.instance) for one in others),
            target=mine.port if ((mine.ready and welcome) or wanted.insist) and not self_held(mine) else None,
            serving=True,
            minds=minds,
        )
    if not rivals:
        return Part(wanted)  # nobody is in its way
    kind = _kind_beside(wanted, rivals)
    if not mine.waiting:
        patience = max(0.0, mine.started + PATIENCE_S - world.now)
        return Part(wanted, prepared=patience <= 0, patience_s=patience or None, minds=minds, kind=kind)
    waiters = [one for one in rivals if one.waiting and not one.owns]
    asked = tuple(StopInstance(one.instance) for one in waiters or rivals if not one.stopping)
    return Part(wanted, calm=asked if waiters else (), disturbing=() if waiters else asked, minds=minds, kind=kind)


def _standby(wanted: Wanted, mine: Seen, rivals: list[Seen], world: World) -> tuple[Action, ...]:
    """The version before waits behind the lock while the trial lasts, and the one on trial is not started again beside it."""
    there = next((one for one in rivals if one.instance == wanted.standby), None)
    if wanted.standby is not None and there is not None:
        return (HoldDown(mine.instance, True),) if there.waiting and not mine.held else ()
    if mine.held:
        return (HoldDown(mine.instance, False),)
    room = wanted.warm is Warm.ALWAYS or (wanted.warm is Warm.AUTO and world.room.ample(mine.memory))
    if wanted.standby is not None and room and not rivals:
        return (StartStandby(wanted.service, wanted.standby),)
    return ()


def _greeting(wanted: Wanted, mine: Seen) -> tuple[Action, ...]:
    due = mine.ready and wanted.welcome is Hooked.DUE
    return (RunHook(wanted.service, HookKind.AFTER_START),) if due else ()


def _minded(wanted: Wanted, rivals: list[Seen]) -> tuple[InstanceId, ...]:
    """Those that are still in use until the wanted version takes over."""
    if wanted.strategy is not Strategy.PORT:
        return tuple(one.instance for one in rivals)
    return tuple(one.instance for one in rivals if one.service != wanted.service or self_held(one))


def _kind_beside(wanted: Wanted, rivals: list[Seen]) -> Kind | None:
    if not any(one.service == wanted.service for one in rivals):
        return None
    return Kind(SwitchKind.BLUE_GREEN if wanted.strategy is Strategy.PORT else SwitchKind.WARM)


def _must_go(wanted: Wanted, one: Seen, world: World) -> str | None:
    """Whether it has to be gone before the wanted version starts: why, as a person may want to know; "" when it goes without saying;
    None: both may be there."""
    if one.unknown:
        return ""
    if wanted.port is not None and one.public == wanted.port and self_held(one):
        return (
            f"the version before listens on port {wanted.port} itself" if wanted.strategy is not Strategy.STOP else ""
        )
    match wanted.strategy:
        case Strategy.STOP:
            return "it can only be stopped and started" if wanted.warm is Warm.ALWAYS else ""
        case Strategy.PORT:
            if one.hardware is not None and wanted.hardware == one.hardware:
                return ""
            return None if one.paused else _no_room(wanted, one, world)
        case Strategy.LOCK:
            if wanted.warm is Warm.NEVER or (one.waiting and not one.owns):
                return ""
            if one.hardware != wanted.hardware:
                return f"the version before had other hardware: {one.hardware}" if one.hardware is not None else ""
            if wanted.hardware not in world.locked:
                return f"the version before does not hold the lock of {wanted.hardware}"
            return _no_room(wanted, one, world)


def _no_room(wanted: Wanted, one: Seen, world: World) -> str | None:
    if wanted.warm is Warm.ALWAYS or one.stopping or world.room.ample(one.memory):
        return None
    room = world.room
    return (
        f"{_mega(room.available)} of memory is too little for a second copy "
        f"({_mega(one.memory)}, and {_mega(room.floor)} to spare)"
    )


def _mega(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
