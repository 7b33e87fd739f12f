from typing import Any

import pytest

from lekiwi_deploy.robot.instance_types import (
    CutConnections,
    HoldDown,
    Hooked,
    Kind,
    LeadTraffic,
    Pause,
    Resume,
    Room,
    RunHook,
    Seen,
    StartInstance,
    StartStandby,
    StopInstance,
    Strategy,
    Wanted,
    World,
    strategy,
)
from lekiwi_deploy.robot.instances import KEEP_S, changes
from lekiwi_deploy.wire.ids import InstanceId
from lekiwi_deploy.wire.link import SwitchKind
from lekiwi_deploy.wire.manifest import Handover, HookKind, Service, Warm

MB = 1_000_000
OLD, NEW = InstanceId("web-11111111"), InstanceId("web-22222222")
BOLD, BNEW = InstanceId("base-11111111"), InstanceId("base-22222222")


def web(**more: Any) -> Wanted:
    return Wanted("web", **{"instance": NEW, "strategy": Strategy.PORT, "port": 8000, **more})


def old_web(**more: Any) -> Seen:
    return Seen(OLD, "web", **{"port": 24001, "public": 8000, "ready": True, "memory": 212 * MB, **more})


def new_web(**more: Any) -> Seen:
    return Seen(NEW, "web", **{"port": 24002, "public": 8000, **more})


def base(**more: Any) -> Wanted:
    return Wanted("base", **{"instance": BNEW, "strategy": Strategy.LOCK, "hardware": "motors", **more})


def old_base(**more: Any) -> Seen:
    return Seen(BOLD, "base", **{"hardware": "motors", "owns": True, "ready": True, "memory": 212 * MB, **more})


def new_base(**more: Any) -> Seen:
    return Seen(BNEW, "base", **{"hardware": "motors", **more})


def world(**more: Any) -> World:
    held = {"targets": {8000: 24001}, "locked": frozenset({"motors"}), "room": Room(4000 * MB, 8000 * MB), "now": 100.0}
    return World(**{**held, "trial": True, "eager": True, **more})


def bench(**more: Any) -> World:
    """Where no service has a port."""
    return world(**{"targets": {}, **more})


def test_the_new_version_of_a_service_with_a_port_starts_beside_the_old_one() -> None:
    decided = changes([web()], [old_web()], world())
    assert decided.actions == (StartInstance("web", NEW),)
    assert decided.kinds == {"web": Kind(SwitchKind.BLUE_GREEN)}


def test_traffic_moves_when_it_is_ready_and_not_before() -> None:
    assert changes([web()], [old_web(), new_web()], world()).actions == ()
    decided = changes([web()], [old_web(), new_web(ready=True)], world())
    assert decided.actions == (LeadTraffic(((8000, 24002),)),)
    assert decided.serving == {}


def test_all_that_are_ready_are_led_to_at_once() -> None:
    api = Wanted("api", InstanceId("api-2"), Strategy.PORT, port=8001)
    seen = [
        old_web(),
        new_web(ready=True),
        Seen(InstanceId("api-2"), "api", port=24004, public=8001, ready=True),
    ]
    decided = changes([web(), api], seen, world())
    assert decided.actions == (LeadTraffic(((8000, 24002), (8001, 24004))),)


def test_the_old_one_drains_then_is_paused_then_stopped() -> None:
    led = {8000: 24002}

    def after(**more: Any) -> Any:
        return changes([web()], [old_web(**more), new_web(ready=True)], world(targets=led))

    draining = after(left_at=90.0, connections=3)
    assert (draining.actions, draining.wake_in_s) == ((), pytest.approx(20.0))
    assert after(left_at=90.0, connections=0).actions == (Pause(OLD),)
    assert after(left_at=60.0, connections=3).actions == (CutConnections(OLD),)  # its deadline is over
    unable = world(targets=led, cuts=False)
    late = [old_web(left_at=60.0, connections=3), new_web(ready=True)]
    assert changes([web()], late, unable).actions == (StopInstance(OLD),)
    assert after(left_at=90.0, paused=True).actions == ()
    assert after(left_at=90.0, connections=0, watchdog=True).actions == ()  # one that must feed a watchdog runs on
    assert after(left_at=90.0, connections=0, spoiled=True).actions == (StopInstance(OLD),)


def test_a_warm_one_stays_for_ten_minutes_and_the_trial() -> None:
    led, kept = {8000: 24002}, [old_web(left_at=100.0, paused=True), new_web(ready=True)]
    for now, trial, actions in (
        (100.0 + KEEP_S - 1, False, ()),
        (100.0 + KEEP_S + 1, True, ()),
        (100.0 + KEEP_S + 1, False, (StopInstance(OLD),)),
    ):
        assert changes([web()], kept, world(targets=led, now=now, trial=trial)).actions == actions


def test_memory_decides_about_a_second_copy() -> None:
    short = Room(180 * MB, 2000 * MB)
    decided = changes([web()], [old_web()], world(room=short))
    assert decided.actions == (StopInstance(OLD),)
    assert decided.kinds["web"] == Kind(
        SwitchKind.COLD, "180 MB of memory is too little for a second copy (212 MB, and 256 MB to spare)"
    )
    assert changes([web(warm=Warm.ALWAYS)], [old_web()], world(room=short)).actions == (StartInstance("web", NEW),)
    led = world(targets={8000: 24002}, room=short)
    kept = [old_web(left_at=99.0, paused=True), new_web(ready=True)]
    assert changes([web()], kept, led).actions == (StopInstance(OLD),)
    assert changes([web(warm=Warm.ALWAYS)], kept, led).actions == ()
    never = changes([web(warm=Warm.NEVER)], kept, world(targets={8000: 24002}))
    assert never.actions == (StopInstance(OLD),)


def test_what_is_kept_warm_makes_room_before_anything_is_cold() -> None:
    oldest = Seen(
        InstanceId("web-00000000"), "web", port=24000, public=8000, paused=True, left_at=50.0, memory=300 * MB
    )
    decided = changes([web()], [oldest, old_web()], world(room=Room(400 * MB, 2000 * MB)))
    assert decided.actions == (StopInstance(oldest.instance),)
    assert decided.kinds == {}


def test_going_back_to_a_warm_one_is_no_start() -> None:
    back = [web(instance=OLD)]
    seen = [old_web(ready=False, paused=True, left_at=50.0), new_web(ready=True)]
    led = {8000: 24002}
    assert changes(back, seen, world(targets=led)).actions == (Resume(OLD),)
    resumed = [old_web(ready=False, left_at=50.0, resumed_at=99.9), new_web(ready=True)]
    assert changes(back, resumed, world(targets=led)).actions == ()
    mute = [old_web(ready=False, left_at=50.0, resumed_at=97.0), new_web(ready=True)]
    assert changes(back, mute, world(targets=led)).actions == (StopInstance(OLD),)  # then it is started afresh


def test_a_version_that_never_served_is_just_stopped() -> None:
    assert changes([web(instance=OLD)], [old_web(), new_web()], world()).actions == (StopInstance(NEW),)


def test_one_that_has_its_public_port_itself_is_stopped_first() -> None:
    legacy = old_web(port=8000)
    decided = changes([web()], [legacy], world(targets={}))
    assert decided.actions == (StopInstance(OLD),)
    assert decided.kinds["web"].why == "the version before listens on port 8000 itself"


def test_a_change_of_several_disturbs_nothing_before_all_can_take_over() -> None:
    wanted = [web(fresh=True), base(fresh=True)]
    waiting = new_base(waiting=True)
    patient = world(eager=False)
    still = changes(wanted, [old_web(), new_web(started=99.0), old_base(), waiting], patient)
    assert (still.actions, still.wake_in_s) == ((), pytest.approx(9.0))
    both = changes(wanted, [old_web(), new_web(ready=True), old_base(), waiting], patient)
    assert both.actions == (LeadTraffic(((8000, 24002),)), StopInstance(BOLD))
    late = changes(wanted, [old_web(), new_web(started=80.0), old_base(), waiting], patient)
    assert late.actions == (StopInstance(BOLD),)  # nobody is waited for any longer
    back = changes(wanted, [old_web(), new_web(started=99.0), old_base(), waiting], world(eager=True))
    assert back.actions == (StopInstance(BOLD),)


def test_hooks_come_first() -> None:
    due, patient = Hooked.DUE, world(eager=False)
    prepare = changes([web(fresh=True, prepare=due)], [old_web()], patient)
    assert prepare.actions == (RunHook("web", HookKind.PREPARE),)
    for running in (Hooked.RUNNING, Hooked.FAILED):
        assert changes([web(fresh=True, prepare=running)], [old_web()], patient).actions == ()
    ready = [old_web(), new_web(ready=True)]
    greet = changes([web(fresh=True, welcome=due)], ready, patient)
    assert greet.actions == (RunHook("web", HookKind.AFTER_START),)
    done = changes([web(fresh=True, welcome=Hooked.DONE)], ready, patient)
    assert done.actions == (LeadTraffic(((8000, 24002),)),)


def test_hardware_is_asked_for_when_the_new_version_waits_for_it() -> None:
    start = changes([base()], [old_base()], bench())
    assert (start.actions, start.kinds["base"].kind) == ((StartInstance("base", BNEW),), SwitchKind.WARM)
    assert changes([base()], [old_base(), new_base()], bench()).actions == ()  # it loads
    assert changes([base()], [old_base(), new_base(waiting=True)], bench()).actions == (StopInstance(BOLD),)


@pytest.mark.parametrize(
    ("wanted", "old", "locked", "why"),
    [
        (base(), old_base(), frozenset(), "the version before does not hold the lock of motors"),
        (base(), old_base(hardware="arm"), frozenset({"arm"}), "the version before had other hardware: arm"),
        (base(warm=Warm.NEVER), old_base(), frozenset({"motors"}), ""),
        (base(strategy=Strategy.STOP), old_base(), frozenset({"motors"}), ""),
        (
            base(strategy=Strategy.STOP, warm=Warm.ALWAYS),
            old_base(),
            frozenset({"motors"}),
            "it can only be stopped and started",
        ),
    ],
)
def test_otherwise_the_old_one_is_stopped_first(wanted: Wanted, old: Seen, locked: frozenset[str], why: str) -> None:
    decided = changes([wanted], [old], bench(locked=locked))
    assert decided.actions == (StopInstance(BOLD),)
    assert decided.kinds["base"] == Kind(SwitchKind.COLD, why or None)
    gone = changes([wanted], [Seen(BOLD, "base", alive=False, stopping=True, hardware="motors")], bench(locked=locked))
    assert gone.actions == ()  # not before it is wholly gone


def test_the_version_before_waits_behind_the_lock_while_the_trial_lasts() -> None:
    on_trial = base(standby=BOLD)
    owns = new_base(owns=True, ready=True)
    assert changes([on_trial], [owns], bench()).actions == (StartStandby("base", BOLD),)
    loading = old_base(owns=False, ready=False)
    assert changes([on_trial], [owns, loading], bench()).actions == ()
    waits = old_base(owns=False, ready=False, waiting=True)
    assert changes([on_trial], [owns, waits], bench()).actions == (HoldDown(BNEW, True),)
    held = new_base(owns=True, ready=True, held=True)
    assert changes([on_trial], [held, waits], bench()).actions == ()
    over = bench(trial=False)
    assert changes([base()], [held, waits], over).actions == (HoldDown(BNEW, False), StopInstance(BOLD))
    assert changes([on_trial], [owns], bench(room=Room(100 * MB, 2000 * MB))).actions == ()


def test_going_back_with_a_standby_is_one_stop() -> None:
    waits = old_base(owns=False, ready=False, waiting=True)
    decided = changes([base(instance=BOLD)], [new_base(owns=True, ready=True), waits], bench())
    assert decided.actions == (StopInstance(BNEW),)
    assert decided.kinds["base"].kind is SwitchKind.WARM


def test_what_was_lost_is_not_started_again() -> None:
    took_over = old_base(waiting=False)
    decided = changes([base(standby=BOLD)], [took_over], bench(lost=frozenset({"base"})))
    assert decided.actions == ()


def test_a_standby_in_the_way_of_a_third_version_goes_first() -> None:
    third = base(instance=InstanceId("base-33333333"))
    waits = old_base(owns=False, ready=False, waiting=True)
    decided = changes([third], [new_base(owns=True, ready=True), waits], bench(eager=False))
    assert decided.actions == (StopInstance(BOLD),)


def test_another_service_with_the_same_hardware_or_port_goes_first() -> None:
    driver = Wanted("driver", InstanceId("driver-1"), Strategy.STOP, hardware="motors")
    assert changes([driver], [old_base()], bench()).actions == (StopInstance(BOLD),)
    site = Wanted("site", InstanceId("site-1"), Strategy.STOP, port=8000)
    legacy = old_web(port=8000)
    assert changes([site], [legacy], bench()).actions == (StopInstance(OLD),)


def test_a_service_that_is_no_more_is_stopped_and_nobody_led_to_it() -> None:
    assert changes([], [old_web()], world()).actions == (LeadTraffic(()), StopInstance(OLD))


def test_nothing_known_of_it_means_it_may_hold_anything() -> None:
    stranger = Seen(InstanceId("thing-1"), "thing", unknown=True)
    assert changes([base()], [stranger], bench(locked=frozenset())).actions == (StopInstance(stranger.instance),)


def test_how_a_service_is_changed_over_stands_in_its_description() -> None:
    def kind(**more: Any) -> Strategy:
        return strategy(Service(name="x", run=("x",), content="0", **more))

    assert kind() is Strategy.STOP
    assert kind(port=1) is Strategy.PORT
    assert kind(port=1, exclusive="motors") is Strategy.STOP
    assert kind(port=1, exclusive="motors", handover=Handover.LOCK) is Strategy.LOCK
