"""Coming up: read the journal, look at the disk, and make the two agree, always towards keeping what runs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.config import read_config
from lekiwi_deploy.agent.journal import Journal, JournalCorrupt
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.slots import Metadata, Slots
from lekiwi_deploy.agent.supervisors.systemd import boot_guard
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.robot import record
from lekiwi_deploy.robot.ledger import Ledger, SlotRecord, tick, with_slot
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.link import DeploymentRef


async def start(paths: Paths, *, randomness: Callable[[], float]) -> Robot:
    """The robot of this root, its running services adopted; under agent.lock. Raises `NotFound` when it never joined,
    `OSError` when the disk cannot be used at all."""
    config = read_config(paths)
    paths.make()
    journal = Journal(paths.journal)
    trouble = []
    slots = Slots(paths, machine.platform())
    found = slots.look()
    try:
        ledger = journal.load()
    except JournalCorrupt as error:
        aside = journal.set_aside()
        ledger = recovered(found, slots)
        trouble.append(f"{error.message}; it is kept as {aside}, what runs goes on, and quarantines are forgotten")
    ledger = with_found(ledger or Ledger(), found)
    robot = Robot(paths, config, machine.platform(), ledger, journal, slots, randomness=randomness)
    for text in trouble:
        robot.history.trouble(text)
    robot.history.catch_up(ledger.outcome)
    robot.consent.load()
    journal.keep_reserve()
    _doubt(robot)
    _check_slots(robot)
    robot.services.plan = robot.replan()
    await robot.services.adopt()
    robot.services.use(robot.services.plan)
    if ledger.desired is not None and ledger.desired.deployment is not None:
        robot.keep_variables(ledger.desired.deployment.id, remove=False)
    return robot


def _doubt(robot: Robot) -> None:
    """After a boot without services, because the machine went down too often at its start: what is live has to prove itself again."""
    places = Places(robot.paths.root)
    if not boot_guard.is_up(places):
        return
    ledger = record.doubted(robot.ledger, machine.boot_id())
    if ledger is not robot.ledger:
        robot.remember(ledger)
        text = f"the machine went down {boot_guard.LIMIT} times soon after its start: {ledger.live} is on trial again"
        robot.history.note("doubted", text, ledger.live)
    boot_guard.noted(places)


def recovered(found: tuple[Metadata, ...], slots: Slots) -> Ledger:
    """A ledger out of what is on the disk: what `current` names is live and was good, since it ran. Generations begin anew."""
    ledger = with_found(Ledger(), found)
    current = slots.current()
    if current is None or current not in ledger.slots:
        return ledger
    ledger = tick(ledger)
    record = msgspec.structs.replace(
        ledger.slots[current],
        state=SlotState.GOOD,
        first_live=ledger.clock,
        last_good=ledger.clock,
        last_healthy=ledger.clock,
    )
    return msgspec.structs.replace(with_slot(ledger, record), live=current, live_since=machine.utc_now())


def with_found(ledger: Ledger, found: tuple[Metadata, ...]) -> Ledger:
    """`ledger` with slots that it does not know, oldest first."""
    for metadata in found:
        known = ledger.slots.get(metadata.id)
        if known is not None and known.state is not SlotState.ABSENT:
            continue
        ledger = tick(ledger)
        ref = DeploymentRef(
            id=metadata.id,
            digest=metadata.digest,
            manifest_size=metadata.manifest_size,
            version=metadata.version,
            created_at=metadata.timestamp,
            commit=metadata.commit,
            branch=metadata.branch,
            author=metadata.author,
        )
        ledger = with_slot(ledger, SlotRecord(ref=ref, state=SlotState.STAGED, staged=ledger.clock))
    return ledger


def _check_slots(robot: Robot) -> None:
    """Sizes of what runs and of what could be gone back to."""
    for deployment in {robot.ledger.live, robot.ledger.came_from} - {None}:
        if deployment is not None and deployment in robot.slots.laid_out and not robot.slots.check(deployment):
            robot.history.note("trouble", f"the files of {deployment} are damaged and are put right", deployment)
