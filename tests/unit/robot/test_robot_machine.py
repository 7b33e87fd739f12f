"""A robot driven by the real decisions through any sequence of wishes, failures, crashes between any two writes, power cuts and disk faults."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lekiwi_deploy.robot.ledger import named
from lekiwi_deploy.robot.settling import settling
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.wanted import target
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName
from lekiwi_deploy.wire.link import Desired, TrialPolicy
from single_robot import IDS, Crash, SingleRobot, Way, ref, reread

KEEP = 3
DEPLOYMENTS = IDS[:6]
LASTING = (Way.FINE, Way.EXITS, Way.FAILS, Way.SLOW)
"""Ways that a proven deployment may turn to; one that takes the machine down for ever after its trial is nobody's to end."""


class RobotMachine(RuleBasedStateMachine):
    """See `SingleRobot`, which also refuses to start what is quarantined or not all there."""

    def __init__(self) -> None:
        super().__init__()
        self.robot = SingleRobot(keep=KEEP)
        self.damaged: set[DeploymentId] = set()

    # --- what happens to it

    @initialize(ways=st.dictionaries(st.sampled_from(DEPLOYMENTS), st.sampled_from(Way)))
    def deployments_have_their_ways(self, ways: dict[DeploymentId, Way]) -> None:
        self.robot.ways = ways

    @rule(count=st.integers(1, 6))
    def agent_works(self, count: int) -> None:
        for _ in range(count):
            self.turn()

    @rule(parts=st.integers(1, 4))
    def agent_is_killed_between_two_writes(self, parts: int) -> None:
        self.turn(Crash(parts))
        self.robot.connects()

    @rule(parts=st.integers(1, 4), keeps_unsynced=st.booleans())
    def power_is_cut_between_two_writes(self, parts: int, keeps_unsynced: bool) -> None:
        self.turn(Crash(parts))
        self.robot.reboots(keeps_unsynced=keeps_unsynced)

    @rule(keeps_unsynced=st.booleans())
    def power_is_cut(self, keeps_unsynced: bool) -> None:
        self.robot.reboots(keeps_unsynced=keeps_unsynced)

    @rule()
    def link_comes_back(self) -> None:
        self.robot.connects()

    @rule()
    def server_is_told(self) -> None:
        self.robot.reports()

    @rule(
        deployment=st.sampled_from(DEPLOYMENTS),
        older=st.integers(0, 2),
        force=st.booleans(),
        by_hand=st.booleans(),
        roll_back=st.sampled_from([True, True, False]),
        checks=st.sampled_from(["minimal", "normal", "strict"]),
    )
    def server_wants(
        self, deployment: DeploymentId, older: int, force: bool, by_hand: bool, roll_back: bool, checks: str
    ) -> None:
        robot = self.robot
        desired = Desired(
            epoch=1, generation=max(0, robot.generation + 1 - older), environment=EnvironmentName("production"),
            deployment=ref(deployment), policy=TrialPolicy(trial_s=5.0, roll_back=roll_back, checks=checks), by_hand=by_hand, force=force,
        )  # fmt: skip
        if robot.takes(desired) and desired.generation > robot.generation:
            robot.generation, robot.sent = desired.generation, desired

    @rule(deployment=st.sampled_from(DEPLOYMENTS))
    def a_deployment_arrives(self, deployment: DeploymentId) -> None:
        """The usual case in one go, so that examples get far."""
        self.robot.resumes()
        self.robot.wants(deployment, policy=TrialPolicy(trial_s=5.0))
        self.robot.works(until=8.0)
        self.damaged -= self.robot.laid_out

    @precondition(lambda self: self.here())
    @rule(data=st.data())
    def person_pins(self, data: st.DataObject) -> None:
        self.robot.pins(data.draw(st.sampled_from(self.here())))

    @rule()
    def person_resumes(self) -> None:
        self.robot.resumes()

    @precondition(lambda self: self.robot.fetching is not None)
    @rule(works=st.booleans())
    def download_ends(self, works: bool) -> None:
        assert self.robot.fetching is not None
        self.robot.unobtainable = set() if works else {self.robot.fetching}
        self.robot.download_ends()
        self.robot.unobtainable = set()
        self.damaged -= self.robot.laid_out

    @rule(deployment=st.sampled_from(DEPLOYMENTS), way=st.sampled_from(LASTING))
    def it_turns(self, deployment: DeploymentId, way: Way) -> None:
        self.robot.ways[deployment] = way

    @rule(seconds=st.floats(0.1, 10.0))
    def time_passes(self, seconds: float) -> None:
        self.robot.passes(seconds)

    @rule()
    def service_dies(self) -> None:
        self.robot.process = None

    @rule(deployment=st.sampled_from(DEPLOYMENTS), tree_only=st.booleans())
    def disk_loses(self, deployment: DeploymentId, tree_only: bool) -> None:
        self.robot.loses(deployment, tree_only=tree_only)
        self.damaged.add(deployment)

    # --- what always holds

    @invariant()
    def nothing_quarantined_is_live(self) -> None:
        for ledger in (self.robot.ledger, self.robot.written):
            if ledger.live is not None:
                assert ledger.slots[ledger.live].state is not SlotState.QUARANTINED

    @invariant()
    def a_robot_that_has_something_proven_runs_something(self) -> None:
        ledger = self.robot.ledger
        if ledger.live is None:
            proven = [id_ for id_, slot in ledger.slots.items() if slot.state is SlotState.GOOD]
            assert not (set(proven) & self.robot.present - self.damaged)

    @invariant()
    def current_names_something_complete(self) -> None:
        for named_ in {self.robot.current, self.robot.synced} - {None}:
            assert named_ in self.robot.laid_out | self.damaged

    @invariant()
    def a_generation_that_was_reported_never_goes_backwards(self) -> None:
        written = self.robot.written
        assert (written.epoch, written.generation) >= self.robot.reported

    @invariant()
    def the_ledger_survives_the_disk(self) -> None:
        assert reread(self.robot.ledger) == self.robot.ledger

    @invariant()
    def a_trial_is_of_what_is_live_and_has_few_starts(self) -> None:
        trial = self.robot.ledger.trial
        if trial is not None:
            assert trial.deployment == self.robot.ledger.live
            assert trial.starts <= 3

    @invariant()
    def it_settles_when_left_alone(self) -> None:
        """Once disturbances end, the robot runs what is wanted, or, if that is quarantined, what it can."""
        robot = self.robot.copy()
        robot.connects()
        robot.blocked.clear()  # after a while it tries again
        for _ in range(400):
            next_ = robot.turn()
            if robot.fetching is not None:
                robot.download_ends()
            elif not next_.steps:
                if robot.ledger.trial is None:
                    break
                robot.passes(1.0)
        else:
            raise AssertionError(f"does not settle: {next_}\n{robot.told()}")
        wanted, live = target(robot.ledger), robot.ledger.live
        if settling(robot.ledger.changes, wanted) is not None:
            assert live is not None, robot.told()
        elif wanted is not None and robot.state(wanted) is not SlotState.QUARANTINED:
            assert live == wanted, robot.told()
        if live is not None:
            assert robot.process == live == robot.current, robot.told()
            assert live in robot.laid_out
        self.machine_starts_what_is_proven(robot)
        retained = [id_ for id_, slot in robot.ledger.slots.items() if slot.staged]
        assert len(retained) <= KEEP + len(named(robot.ledger)) + 2
        assert len(robot.laid_out) <= 2 + len(named(robot.ledger)) + 1

    def machine_starts_what_is_proven(self, robot: SingleRobot) -> None:
        """At boot and without the agent: once all is quiet, the newest good one there is."""
        proven = [
            id_ for id_, slot in robot.ledger.slots.items() if slot.state is SlotState.GOOD and id_ in robot.laid_out
        ]
        if robot.ledger.live in proven:
            assert robot.kept == robot.ledger.live, robot.told()
        assert (robot.kept is not None) == bool(proven), robot.told()
        assert robot.kept is None or robot.kept in proven, robot.told()

    # --- helpers of the rules

    def turn(self, crash: Crash | None = None) -> None:
        self.robot.turn(crash)
        self.damaged -= self.robot.laid_out

    def here(self) -> list[DeploymentId]:
        """What a person may pin it to."""
        slots = self.robot.ledger.slots.items()
        return sorted(
            id_ for id_, slot in slots if slot.state is not SlotState.QUARANTINED and id_ in self.robot.present
        )


RobotMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestRobot = RobotMachine.TestCase
