"""How one service is, from what its supervisor, its checks and the program itself say."""

from __future__ import annotations

from collections.abc import Collection

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.known import Known
from lekiwi_deploy.agent.leading import FAILED_AFTER_S, Leading
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.supervisors.supervisor import ProcessSeen, ProcessState
from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.instance_types import Hooked
from lekiwi_deploy.robot.ledger import Trial
from lekiwi_deploy.robot.trial import CheckSeen, ServiceSeen
from lekiwi_deploy.wire.link import ServiceState
from lekiwi_deploy.wire.manifest import HookKind, ProcessCheck, Service

LOAD_S = 60.0
"""So long a program may take until it waits for its hardware; a check that allows more gives it more."""
READY_S = 30.0
"""Likewise until it says READY=1."""


def due_hook(service: Service, kind: HookKind, trial: Trial | None, running: Collection[HookKind]) -> Hooked:
    """Whether a hook that belongs to deploying is to run now. When the robot goes back by itself none stands in its way."""
    if kind not in service.hooks or trial is None or trial.told or trial.instead_of is not None:
        return Hooked.NONE
    if service.name not in trial.restarted:
        return Hooked.NONE
    run = trial.hook(service.name, kind)
    if run is not None:
        return Hooked.DONE if run.failure is None else Hooked.FAILED
    return Hooked.RUNNING if kind in running else Hooked.DUE


def of_service(
    plan: Plan,
    name: str,
    process: ProcessSeen,
    known: Known,
    *,
    serving: bool,
    settled: bool,
    leading: Leading,
    welcome: Hooked,
) -> ServiceSeen:
    """For the judgement of a trial. Beside the service's own checks it has those that its kind of change-over asks for. `settled`: the
    version before has said its last words; `welcome`: its hook after the start."""
    service, now = plan.services[name], machine.boottime()
    alive = process.state is ProcessState.RUNNING and not known.stopping and not known.is_paused(process)
    checks = known.watch.seen() if known.watch is not None else {}
    longest = max((check.within_s for check in plan.checks(name) if not isinstance(check, ProcessCheck)), default=0.0)
    if known.locks and alive:
        waits, owns = process.told.waiting_for is not None, serving
        if not owns:
            late = now - process.started > max(LOAD_S, longest)
            word = "waits for" if waits else "does not say that it waits for"
            checks["lock"] = _waiting(late, f"{word} {known.hardware} after {now - process.started:.0f} s")
    elif known.by_port and alive and not serving:
        late = leading.wrong is not None and now - leading.since > FAILED_AFTER_S
        checks["traffic"] = _waiting(late, leading.wrong or "no traffic is led to it yet")
    if not settled or (known.watch is None and alive and not checks):
        checks["start"] = _waiting(False, None)
    if service.notify and not process.told.ready and alive and "lock" not in checks:
        since = max(process.started, known.woke_at or 0.0)
        checks["ready"] = _waiting(now - since > max(READY_S, longest), "did not say READY=1")
    if welcome in (Hooked.DUE, Hooked.RUNNING):
        checks["after_start"] = _waiting(False, None)
    return ServiceSeen(
        fingerprint=process.fingerprint,
        alive=alive,
        exits=max(0, process.exits - known.exits),
        exit=process.exit,
        checks=checks,
    )


def _waiting(failed: bool, error: str | None) -> CheckSeen:
    return CheckSeen(Verdict.FAILING if failed else Verdict.WAITING, error)


def state_of(process: ProcessSeen, known: Known, *, serving: bool) -> tuple[ServiceState, str | None]:
    """For a person: its state, and why it is not ready."""
    if process.state is ProcessState.STOPPING or known.stopping:
        return ServiceState.STOPPING, None
    if process.state is ProcessState.BACKING_OFF:
        return ServiceState.BACKING_OFF, process.exit
    if known.locks and not serving and process.told.waiting_for is not None:
        return ServiceState.STARTING, f"waits for {process.told.waiting_for}"
    checks = known.watch.seen() if known.watch is not None else {}
    error = next((check.error for check in checks.values() if check.error), None)
    if any(check.verdict is Verdict.FAILING for check in checks.values()):
        return ServiceState.UNHEALTHY, error
    if known.watch is None or not serving or any(check.verdict is Verdict.WAITING for check in checks.values()):
        return ServiceState.STARTING, error
    return ServiceState.READY, None
