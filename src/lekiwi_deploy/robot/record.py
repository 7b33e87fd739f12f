"""How the ledger changes when the agent does something: one function per step, each gives the new ledger.

The agent writes the new ledger down *before* the step's effect where the effect can be repeated (activate, roll back),
and after it where it must have happened first (staged).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.robot.ledger import Attempt, HookRun, Ledger, Trial, tick, with_event, with_slot
from lekiwi_deploy.robot.settling import Change, remembered
from lekiwi_deploy.robot.slots import Failed, Kept, Proven, Pruned, SlotState, Staged, Started, Superseded
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import Outcome, Result, ServiceSwitch, TrialPolicy
from lekiwi_deploy.wire.manifest import HookKind

replace = msgspec.structs.replace
_LONGEST_WHY = 2000
DOUBT_S = 300.0
"""How long what was doubted must run, in seconds, before it is good again: what takes the machine down may take its time."""


def staged(ledger: Ledger, deployment: DeploymentId, *, wire_bytes: int, ready_ms: float | None) -> Ledger:
    """Every file of it is here and verified."""
    ledger = with_event(tick(ledger), deployment, Staged(), ledger.slots[deployment].why)
    record = ledger.slots[deployment]
    return with_slot(
        ledger,
        replace(
            record,
            staged=record.staged or ledger.clock,
            wire_bytes=record.wire_bytes + wire_bytes,
            ready_ms=ready_ms if record.ready_ms is None else record.ready_ms,
        ),
    )


def activated(
    ledger: Ledger,
    deployment: DeploymentId,
    *,
    boot: str,
    now: datetime,
    restarted: tuple[str, ...],
    judged: tuple[str, ...],
    baseline: tuple[tuple[str, str], ...] = (),
    instead_of: Attempt | None = None,
    at: float = 0.0,
) -> Ledger:
    """It becomes the live one, on trial; the one before is superseded unless its verdict is in. `at`: CLOCK_BOOTTIME seconds."""
    ledger = tick(ledger)
    before = ledger.live
    if before is not None and before != deployment and ledger.slots[before].state is not SlotState.QUARANTINED:
        ledger = with_event(ledger, before, Superseded(), ledger.slots[before].why)
    open_ = ledger.trial.instead_of if ledger.trial is not None else None
    if open_ is not None and instead_of is None:
        ledger = _told(ledger, open_, Result.ROLLED_BACK, now)
    ledger = with_event(ledger, deployment, Started())
    record = ledger.slots[deployment]
    ledger = with_slot(ledger, replace(record, first_live=record.first_live or ledger.clock))
    return replace(
        ledger,
        live=deployment,
        live_since=now,
        changes=remembered(ledger.changes, Change(deployment, before, boot, at)),
        came_from=before if before != deployment else ledger.came_from,
        trial=Trial(
            deployment=deployment,
            generation=ledger.generation,
            boot=boot,
            policy=ledger.desired.policy if ledger.desired is not None else TrialPolicy(),
            judged=judged,
            restarted=restarted,
            baseline=baseline,
            instead_of=instead_of,
        ),
    )


def started_again(ledger: Ledger, boot: str) -> Ledger:
    """A new boot before its trial was over: one more start, from scratch."""
    assert ledger.trial is not None
    trial = replace(ledger.trial, starts=ledger.trial.starts + 1, boot=boot, healthy_since=None)
    return replace(ledger, trial=trial)


def doubted(ledger: Ledger, boot: str) -> Ledger:
    """What is live, though proven, is on trial again: the machine went down too often at its start. Only that it goes down again counts, not
    what its services do. A trial that is open goes on."""
    live = ledger.live
    if live is None or ledger.trial is not None or ledger.slots[live].state is not SlotState.GOOD:
        return ledger
    policy = TrialPolicy(trial_s=DOUBT_S)
    return replace(
        tick(ledger), trial=Trial(deployment=live, generation=ledger.generation, boot=boot, policy=policy, told=True)
    )


def hook_ran(ledger: Ledger, service: str, kind: HookKind, failure: str | None) -> Ledger:
    """A hook of the open trial ran to its end; `failure`: what was wrong. Without a trial, or told before: nothing changes."""
    trial = ledger.trial
    if trial is None or trial.hook(service, kind) is not None:
        return ledger
    run = HookRun(service=service, kind=kind, failure=failure)
    return replace(ledger, trial=replace(trial, hooks=(*trial.hooks, run)))


def became_healthy(
    ledger: Ledger,
    *,
    since: float,
    now: datetime,
    switch_ms: float | None,
    gap_ms: float | None,
    switches: tuple[ServiceSwitch, ...] = (),
) -> Ledger:
    """The judged services are ready. `since`: CLOCK_BOOTTIME seconds; `switches`: how each service was changed over."""
    trial = ledger.trial
    assert trial is not None
    ledger = tick(ledger)
    record = replace(ledger.slots[trial.deployment], last_healthy=ledger.clock)
    ledger = replace(with_slot(ledger, record), trial=replace(trial, healthy_since=since, told=True))
    if trial.told:
        return ledger
    if trial.instead_of is not None:
        told = _told(ledger, trial.instead_of, Result.ROLLED_BACK, now, switch_ms=switch_ms, gap_ms=gap_ms)
    else:
        outcome = _outcome(ledger, trial, Result.HEALTHY, now, switch_ms=switch_ms, gap_ms=gap_ms)
        told = replace(ledger, outcome=outcome)
    assert told.outcome is not None
    return replace(told, outcome=replace(told.outcome, switches=switches))


def relapsed(ledger: Ledger) -> Ledger:
    """It was healthy and is not now: the trial's time starts over when it is again."""
    assert ledger.trial is not None
    return replace(ledger, trial=replace(ledger.trial, healthy_since=None))


def proven(ledger: Ledger, now: datetime) -> Ledger:
    """Its trial is over."""
    trial = ledger.trial
    assert trial is not None
    ledger = with_event(tick(ledger), trial.deployment, Proven())
    ledger = with_slot(ledger, replace(ledger.slots[trial.deployment], last_good=ledger.clock))
    told = ledger.outcome
    if told is not None and told.deployment == trial.deployment:
        ledger = replace(ledger, outcome=replace(told, result=Result.GOOD, at=now))
    return replace(ledger, trial=None)


def condemned(ledger: Ledger, why: str) -> Ledger:
    """The live one failed its trial: never started again here. Where to go next is `activated` or `gave_up`."""
    assert ledger.live is not None
    return with_event(ledger, ledger.live, Failed(), why)


def fell_through(ledger: Ledger, why: str) -> tuple[Ledger, Attempt]:
    """What was gone back to did not come up either. It is not to blame, having run before; the next one is `activated` with the attempt
    that is given."""
    trial = ledger.trial
    assert trial is not None and trial.instead_of is not None
    first = trial.instead_of
    tried = first.tried if trial.deployment in first.tried else (*first.tried, trial.deployment)
    also = f"{first.why}; and {trial.deployment}, which ran before, did not come back: {why}"
    return with_event(ledger, trial.deployment, Kept(), why), replace(first, why=also[:_LONGEST_WHY], tried=tried)


def gave_up(ledger: Ledger, why: str, now: datetime, log: tuple[str, ...]) -> Ledger:
    """It failed and there is nothing to go back to: nothing runs."""
    trial = ledger.trial
    assert trial is not None
    ledger = condemned(ledger, why)
    outcome = _outcome(ledger, trial, Result.FAILED, now, why=why, log=log)
    return replace(ledger, live=None, live_since=None, trial=None, outcome=outcome)


def held(ledger: Ledger, why: str, now: datetime, log: tuple[str, ...]) -> Ledger:
    """It failed its trial and runs on."""
    trial = ledger.trial
    assert trial is not None
    ledger = with_event(ledger, trial.deployment, Kept(), why)
    if trial.instead_of is not None:
        also = f"{trial.instead_of.why}; and {trial.deployment}, which ran before, did not come back healthy: {why}"
        ledger = _told(ledger, replace(trial.instead_of, why=also), Result.FAILED, now)
    else:
        ledger = replace(ledger, outcome=_outcome(ledger, trial, Result.FAILED, now, why=why, log=log))
    return replace(ledger, trial=None)


def pruned(ledger: Ledger, deployment: DeploymentId) -> Ledger:
    """Its files are gone; a quarantine stays, anything else is forgotten."""
    ledger = with_event(ledger, deployment, Pruned(), ledger.slots[deployment].why)
    record = replace(ledger.slots[deployment], staged=0)
    if record.state is SlotState.QUARANTINED:
        return with_slot(ledger, record)
    return replace(ledger, slots={id_: slot for id_, slot in ledger.slots.items() if id_ != deployment})


def _outcome(
    ledger: Ledger,
    of: Trial | Attempt,
    result: Result,
    now: datetime,
    *,
    switch_ms: float | None = None,
    gap_ms: float | None = None,
    why: str | None = None,
    log: tuple[str, ...] = (),
) -> Outcome:
    record = ledger.slots[of.deployment]
    return Outcome(
        deployment=of.deployment,
        digest=record.ref.digest,
        generation=of.generation,
        result=result,
        at=now,
        switch_ms=switch_ms,
        gap_ms=gap_ms,
        ready_ms=record.ready_ms,
        wire_bytes=record.wire_bytes,
        restarted=of.restarted,
        why=why,
        log=log,
    )


def _told(
    ledger: Ledger,
    attempt: Attempt,
    result: Result,
    now: datetime,
    *,
    switch_ms: float | None = None,
    gap_ms: float | None = None,
) -> Ledger:
    outcome = _outcome(
        ledger, attempt, result, now, switch_ms=switch_ms, gap_ms=gap_ms, why=attempt.why, log=attempt.log
    )
    return replace(ledger, outcome=outcome)


def fetch_failed(ledger: Ledger, deployment: DeploymentId, why: str, now: datetime) -> Ledger:
    """Its content can never be laid out here, as far as the server's answer tells: an outcome, though nothing was started."""
    known = ledger.outcome
    if known is not None and known.deployment == deployment and known.generation == ledger.generation:
        return ledger
    return _told(ledger, Attempt(deployment=deployment, generation=ledger.generation, why=why), Result.FAILED, now)
