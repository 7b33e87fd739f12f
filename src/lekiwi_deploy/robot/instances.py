"""Which processes of which versions are to be there: what is wanted, what is seen, what traffic is in force → what to do now.

Level-triggered: asked again after every event and after a restart of the agent at any point; asking twice gives the same. It never lets
two versions own exclusive hardware, and never leads traffic to an instance that is not ready. How each kind of service changes over
stands in `changeover.py`; here is what they have in common, and what becomes of versions that serve no more.

A change of several services disturbs nothing (no traffic moves, nobody is asked to stop) before all of its new processes are ready to take
over, or `PATIENCE_S` after they were started; going back waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lekiwi_deploy.robot.changeover import Part, advance, self_held
from lekiwi_deploy.robot.instance_types import (
    Action,
    Changes,
    CutConnections,
    HoldDown,
    Kind,
    LeadTraffic,
    Pause,
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
from lekiwi_deploy.wire.manifest import Warm

KEEP_S = 600.0
"""How long after a switch the version before is kept warm, at least."""
_LOOK_AGAIN_S = 30.0
"""While something is kept warm: memory may have become short."""
_ORDER = (Resume, RunHook, StartInstance, StartStandby, LeadTraffic, HoldDown, StopInstance, CutConnections, Pause)


def changes(wanted: Iterable[Wanted], seen: Iterable[Seen], world: World) -> Changes:
    """What to do now, in order."""
    services = {one.service: one for one in wanted}
    instances = {one.instance: one for one in seen}
    chosen = {one.instance for one in services.values()}
    spare = [one for one in instances.values() if one.instance not in chosen]
    parts = [advance(one, instances.get(one.instance), spare, world) for one in services.values()]
    waits = [part.patience_s for part in parts if part.wanted.fresh and not part.prepared]
    free = world.eager or all(part.prepared or not part.wanted.fresh for part in parts)
    actions: dict[Action, None] = {}
    for part in parts:
        for action in part.calm:
            actions[action] = None
        for action in part.disturbing if free else ():
            actions[action] = None
    targets = _targets(parts, world, free)
    if targets != world.targets:
        actions[LeadTraffic(tuple(sorted(targets.items())))] = None
    left, wake = _left_behind(parts, services, spare, targets, world, free)
    for action in left:
        actions.setdefault(action)
    ordered = sorted(actions, key=lambda action: _ORDER.index(type(action)))
    times = [time for time in (*waits, wake, *(part.wake_in_s for part in parts)) if time is not None]
    kinds: dict[str, Kind] = {part.wanted.service: part.kind for part in parts if part.kind is not None}
    return Changes(
        actions=tuple(ordered),
        kinds=kinds,
        serving={part.wanted.service: part.wanted.instance for part in parts if part.serving},
        wake_in_s=max(0.0, min(times)) if times else None,
    )


def _targets(parts: list[Part], world: World, free: bool) -> dict[int, int]:
    """Where each public port is to lead."""
    targets = dict(world.targets)
    for part in parts:
        if part.target is not None and part.wanted.port is not None and (free or part.wanted.port not in targets):
            targets[part.wanted.port] = part.target
    if free:
        kept = {part.wanted.port for part in parts if part.wanted.strategy is not Strategy.STOP}
        targets = {public: private for public, private in targets.items() if public in kept}
    return targets


def _left_behind(
    parts: list[Part],
    services: Mapping[str, Wanted],
    spare: list[Seen],
    targets: Mapping[int, int],
    world: World,
    free: bool,
) -> tuple[list[Action], float | None]:
    """What becomes of instances that are not wanted, and when to look again."""
    actions: list[Action] = []
    times: list[float] = []
    minded: set[InstanceId] = {instance for part in parts for instance in part.minds}
    in_use = {*targets.values(), *world.targets.values()}
    newest = {
        name: max((one.left_at for one in spare if one.service == name and one.left_at is not None), default=None)
        for name in services
    }
    for one in spare:
        if one.stopping or one.instance in minded:
            continue
        wanted = services.get(one.service)
        if wanted is None:
            if free:
                actions.append(StopInstance(one.instance))
            continue
        if wanted.strategy is not Strategy.PORT or self_held(one):
            continue  # whoever must go before the wanted one starts is its part's business
        if one.port in in_use:
            continue
        if one.left_at is None:
            actions.append(StopInstance(one.instance))  # it never served
            continue
        drained_in = one.left_at + wanted.drain_s - world.now
        if one.alive and one.connections and drained_in > 0 and not one.paused:
            times.append(drained_in)
            continue
        keep_in = one.left_at + KEEP_S - world.now
        keep = (
            one.alive
            and (one.paused or not one.connections or world.cuts)
            and not one.spoiled
            and wanted.warm is not Warm.NEVER
            and one.left_at == newest[one.service]
            and (world.trial or keep_in > 0)
            and (wanted.warm is Warm.ALWAYS or world.room.ample())
        )
        if not keep:
            actions.append(StopInstance(one.instance))
            continue
        if one.connections and not one.paused:
            actions.append(CutConnections(one.instance))
        elif not one.paused and not one.watchdog:
            actions.append(Pause(one.instance))
        times.append(min(_LOOK_AGAIN_S, keep_in) if keep_in > 0 else _LOOK_AGAIN_S)
    return actions, min(times, default=None)
