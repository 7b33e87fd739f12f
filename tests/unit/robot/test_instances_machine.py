"""Versions of three services driven by the real decisions through any sequence of wishes, crashes and agent restarts."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lekiwi_deploy.robot.instance_types import (
    Changes,
    CutConnections,
    HoldDown,
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
)
from lekiwi_deploy.robot.instances import changes
from lekiwi_deploy.wire.ids import InstanceId

VERSIONS = range(1, 5)
MB = 1_000_000


@dataclass
class Process:
    """`lock`: it takes the lock of its hardware before using it; else it uses it from its start."""

    service: str
    version: int
    lock: bool
    port: int | None
    public: int | None
    hardware: str | None
    started: float
    alive: bool = True
    stopping: bool = False
    paused: bool = False
    ready: bool = False
    waiting: bool = False
    held: bool = False
    connections: int = 0
    left_at: float | None = None
    resumed_at: float | None = None

    @property
    def instance(self) -> InstanceId:
        return InstanceId(f"{self.service}-{self.version}")


class Robot(RuleBasedStateMachine):
    """`web` has a port, `base` the motors, `job` nothing. A kernel gives the lock to whoever waits longest."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.processes: dict[InstanceId, Process] = {}
        self.targets: dict[int, int] = {}
        self.owner: InstanceId | None = None
        self.queue: list[InstanceId] = []
        self.version = dict.fromkeys(("web", "base", "job"), 1)
        self.locking = dict.fromkeys(VERSIONS, True)
        self.before: int | None = None
        self.trial = False
        self.eager = True
        self.available = 8000 * MB
        self.ports = 24000
        self.lost: set[str] = set()

    # --- the world

    def wanted(self) -> list[Wanted]:
        base = self.version["base"]
        standby = None
        if self.trial and self.eager and self.before is not None and self.before != base and self.locking[self.before]:
            standby = InstanceId(f"base-{self.before}") if self.locking[base] else None
        lock = Strategy.LOCK if self.locking[base] else Strategy.STOP
        named = {name: InstanceId(f"{name}-{version}") for name, version in self.version.items()}
        return [
            Wanted("web", named["web"], Strategy.PORT, port=8000, fresh=self.trial),
            Wanted("base", named["base"], lock, hardware="motors", standby=standby, fresh=self.trial),
            Wanted("job", named["job"], Strategy.STOP, fresh=self.trial),
        ]

    def seen(self) -> list[Seen]:
        return [
            Seen(
                one.instance,
                one.service,
                alive=one.alive and not one.stopping,
                stopping=one.stopping,
                paused=one.paused,
                started=one.started,
                ready=one.ready,
                port=one.port,
                public=one.public,
                hardware=one.hardware,
                waiting=one.waiting,
                owns=self.owner == one.instance and one.lock,
                held=one.held,
                memory=100 * MB,
                connections=one.connections,
                left_at=one.left_at,
                resumed_at=one.resumed_at,
            )
            for one in self.processes.values()
        ]

    def world(self) -> World:
        self.see_losses()
        return World(
            targets=dict(self.targets),
            locked=frozenset({"motors"} if self.owner is not None else ()),
            room=Room(self.available, 8000 * MB),
            now=self.now,
            trial=self.trial,
            eager=self.eager,
            lost=frozenset(self.lost),
        )

    def see_losses(self) -> None:
        """As the agent: on trial, healthy before, gone, and the one before is there."""
        wanted = self.wanted()[1]
        standby = self.processes.get(wanted.standby) if wanted.standby is not None else None
        mine = self.processes.get(wanted.instance)
        if standby is not None and (self.owner == standby.instance or mine is None):
            self.lost.add("base")

    def decide(self) -> Changes:
        return changes(self.wanted(), self.seen(), self.world())

    def users(self) -> set[InstanceId]:
        """Who uses the motors."""
        found = {one.instance for one in self.processes.values() if one.hardware and one.alive and not one.lock}
        return found | ({self.owner} if self.owner is not None else set())

    def let_go(self, instance: InstanceId) -> None:
        if self.owner == instance:
            self.owner = None
        if instance in self.queue:
            self.queue.remove(instance)
        self.grant()

    def grant(self) -> None:
        if self.owner is None and self.queue:
            self.owner = self.queue.pop(0)
            self.processes[self.owner].waiting = False

    def load(self, one: Process) -> None:
        """It has imported everything."""
        if one.lock and one.hardware and self.owner != one.instance and one.instance not in self.queue:
            one.waiting = True
            self.queue.append(one.instance)
            self.grant()

    # --- what is carried out

    def spawn(self, service: str, instance: InstanceId) -> None:
        assert instance not in self.processes, "started twice"
        version = int(instance.rpartition("-")[2])
        self.ports += 1
        port = self.ports if service == "web" else None
        hardware = "motors" if service == "base" else None
        one = Process(
            service,
            version,
            self.locking[version],
            port,
            8000 if service == "web" else None,
            hardware,
            self.now,
        )
        self.processes[instance] = one

    def do(self, action: object) -> None:
        match action:
            case StartInstance(service, instance):
                self.spawn(service, instance)
            case StartStandby(service, instance):
                assert self.locking[int(instance.rpartition("-")[2])]
                self.spawn(service, instance)
            case LeadTraffic(targets):
                new = dict(targets)
                for public, private in new.items():
                    if self.targets.get(public) != private:
                        (one,) = [one for one in self.processes.values() if one.port == private]
                        assert one.ready and one.alive and not one.paused and not one.stopping, "led to nobody"
                for private in set(self.targets.values()) - set(new.values()):
                    for one in self.processes.values():
                        if one.port == private:
                            one.left_at = self.now
                for one in self.processes.values():
                    if one.port in new.values():
                        one.left_at = one.resumed_at = None
                self.targets = new
            case StopInstance(instance):
                one = self.processes[instance]
                cold = self.available < 8000 * MB  # no room for a second copy
                assert one.port not in self.targets.values() or not one.alive or cold, "stopped under traffic"
                if one.alive:
                    one.stopping, one.paused = True, False
                else:
                    self.vanish(instance)
            case CutConnections(instance):
                self.processes[instance].connections = 0
            case HoldDown(instance, held):
                self.processes[instance].held = held
            case Pause(instance):
                one = self.processes[instance]
                assert one.port not in self.targets.values(), "paused under traffic"
                one.paused, one.ready = True, False
            case Resume(instance):
                one = self.processes[instance]
                one.paused, one.ready, one.resumed_at = False, False, self.now
            case RunHook():
                raise AssertionError("there are no hooks here")

    def vanish(self, instance: InstanceId) -> None:
        del self.processes[instance]
        self.let_go(instance)

    # --- what happens

    @initialize(locking=st.sets(st.sampled_from(VERSIONS)))
    def some_know_the_lock(self, locking: set[int]) -> None:
        self.locking = {version: version in locking for version in VERSIONS}

    @rule(version=st.sampled_from(VERSIONS), turns=st.integers(1, 12))
    def a_deployment_arrives(self, version: int, turns: int) -> None:
        """The usual case in one go, so that examples get far."""
        if self.lost:
            return
        self.another_is_wanted(version, only_web=False)
        for turn in range(turns):
            self.agent_works(1)
            if turn % 3 == 2:
                self.what_stops_is_gone()
            for one in self.processes.values():
                if one.alive and not one.paused and not one.stopping:
                    self.load(one)
                    one.ready = not one.waiting
            self.it_becomes_healthy()

    @rule(count=st.integers(1, 4))
    def agent_works(self, count: int) -> None:
        for _ in range(count):
            for action in self.decide().actions:
                self.do(action)

    @rule()
    def agent_dies_after_one_action(self) -> None:
        for action in self.decide().actions[:1]:
            self.do(action)
        for one in self.processes.values():
            one.resumed_at = None
            one.left_at = self.now if one.port not in self.targets.values() else None

    @rule(version=st.sampled_from(VERSIONS), only_web=st.booleans())
    def another_is_wanted(self, version: int, only_web: bool) -> None:
        if self.lost:
            return
        self.before = self.version["base"]
        for name in ("web",) if only_web else ("web", "base", "job"):
            self.version[name] = version
        self.trial, self.eager = True, False

    @rule()
    def it_becomes_healthy(self) -> None:
        if all(wanted.instance in self.decide().serving.values() for wanted in self.wanted()):
            self.eager = True

    @rule()
    def the_trial_ends(self) -> None:
        if self.eager and not self.lost:
            self.trial = False

    @rule()
    def it_fails(self) -> None:
        if self.trial and self.before is not None:
            self.version = dict.fromkeys(self.version, self.before)
            self.before, self.eager, self.trial = None, True, True
            self.lost.clear()

    @rule(data=st.data())
    def a_process_loads(self, data: st.DataObject) -> None:
        running = sorted(name for name, one in self.processes.items() if one.alive and not one.paused)
        if running:
            one = self.processes[data.draw(st.sampled_from(running))]
            self.load(one)
            one.ready = not one.stopping and (not one.waiting)

    @rule(data=st.data())
    def a_process_dies(self, data: st.DataObject) -> None:
        if self.processes:
            instance = data.draw(st.sampled_from(sorted(self.processes)))
            one = self.processes[instance]
            if one.held or one.stopping:
                self.vanish(instance)
                return
            one.alive = one.ready = one.paused = one.waiting = False
            self.let_go(instance)

    @rule()
    def the_supervisor_starts_what_died(self) -> None:
        for one in self.processes.values():
            if not one.alive and not one.stopping:
                if one.held:
                    continue
                one.alive, one.started = True, self.now

    @rule(count=st.integers(0, 3))
    def connections_come_and_go(self, count: int) -> None:
        for one in self.processes.values():
            one.connections = count

    @rule()
    def what_stops_is_gone(self) -> None:
        for instance in [name for name, one in self.processes.items() if one.stopping]:
            self.vanish(instance)

    @rule(seconds=st.floats(0.1, 700.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(megabytes=st.sampled_from([100, 300, 8000]))
    def memory_is(self, megabytes: int) -> None:
        self.available = megabytes * MB

    # --- what always holds

    @invariant()
    def the_motors_have_one_user(self) -> None:
        assert len(self.users()) <= 1, self.users()

    @invariant()
    def it_settles(self) -> None:
        """Left alone, with time passing, the wanted versions serve, and nothing else is there in the end."""
        if self.lost:
            return
        copy = Robot()
        copy.__dict__.update({k: v for k, v in self.__dict__.items() if k in vars(copy)})
        copy.processes = {name: Process(**vars(one)) for name, one in self.processes.items()}
        copy.targets, copy.queue, copy.lost = dict(self.targets), list(self.queue), set()
        copy.available = 8000 * MB
        for turn in range(80):
            for action in copy.decide().actions:
                copy.do(action)
            copy.what_stops_is_gone()
            copy.the_supervisor_starts_what_died()
            for one in copy.processes.values():
                one.connections = 0
                if one.alive and not one.paused:
                    copy.load(one)
                    one.ready = not one.waiting
            copy.now += 1.0
            if copy.lost:
                copy.it_fails()
            if turn == 30:
                copy.it_becomes_healthy()
                assert copy.eager, copy.decide()
            if turn == 45:
                copy.trial = False
                copy.now += 700.0
        decided = copy.decide()
        assert decided.actions == (), decided
        wanted = {one.service: one.instance for one in copy.wanted()}
        assert decided.serving == wanted
        assert set(copy.processes) == set(wanted.values())
        (web,) = [one for one in copy.processes.values() if one.service == "web"]
        assert copy.targets == {8000: web.port}


Robot.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestRobot = Robot.TestCase
