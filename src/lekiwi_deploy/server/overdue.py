"""Telling people of robots that hold a deployment off for longer than their environment allows: once for each, when it is so."""

from __future__ import annotations

import logging
from datetime import datetime

from lekiwi_deploy.fleet.rollout import Plan
from lekiwi_deploy.server.conducting_store import ConductingStore
from lekiwi_deploy.server.store.conducting import OpenRollout
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.progress import Note
from lekiwi_deploy.wire.reasons import sentence

SERVER = "lekiwi"
"""Who did what nobody asked for."""
_log = logging.getLogger("lekiwi.conductor")


async def escalate(store: ConductingStore, rollout: OpenRollout, decided: Plan, now: datetime) -> None:
    """Notes every robot that `decided` finds overdue: in the history, in the server's log, and for those who follow the rollout. That
    the reason is recorded with the robot, by whoever wrote `decided`, makes `status`, `list` and `why` show it, and this happen once."""
    for robot in decided.overdue:
        one = decided.standings[robot]
        why = [sentence(reason) for reason in one.waiting]
        since = one.deferring_since.isoformat() if one.deferring_since is not None else None
        where = f"project/{rollout.project}/{rollout.environment}/{robot}"
        detail = {"deployment": rollout.deployment, "rollout": rollout.id, "since": since, "why": why}
        await store.audit(SERVER, "robot.overdue", where, detail)
        text = f"{robot} holds {rollout.deployment} off: {'; '.join(why)}"
        _log.warning("%s", text)
        if rollout.status == RolloutStatus.ROLLING:
            await store.tell(rollout.id, [Note(f"{text}. See: lekiwi why {robot}", warning=True)], now)
