"""What the machine starts at boot by itself, without the agent: something proven, if there is anything."""

from __future__ import annotations

from lekiwi_deploy.robot.ledger import Ledger
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId


def boots(ledger: Ledger, back: DeploymentId | None) -> DeploymentId | None:
    """The newest good one. What is on trial is started by the agent, which counts; only a robot that has gone back to the one good
    deployment that it has starts that one, rather than nothing. `back`: where it would go back to."""
    live = ledger.live if ledger.live is not None and ledger.slots[ledger.live].state is SlotState.GOOD else None
    if live is not None and ledger.trial is None:
        return live
    return back if back is not None and ledger.slots[back].state is SlotState.GOOD else live
