"""The trial of the live deployment: what its services' checks mean for it.

How much counts after it was healthy once depends on the policy: `minimal`: that the judged processes live; `normal`: that
their checks pass, too; `strict`: that the checks of *every* service pass. A (service, check) that failed before the switch is the
baseline: it cannot cause a rollback, only an honest "failed, left running".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.ledger import Trial
from lekiwi_deploy.wire.manifest import HookKind

PROCESS = "process"
"""The check that every service has: its process lives."""


@dataclass(frozen=True, slots=True)
class CheckSeen:
    """`error`: why it does not pass, one line."""

    verdict: Verdict
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """`fingerprint` of the process that runs, or is to be started again after a delay; None: none is. `exits`: in a row, since it
    was started for this fingerprint. `checks` by key, see `health.check_key`. `lost`: why it is gone, while the version before, which waited
    for its hardware, has taken its place."""

    fingerprint: str | None
    alive: bool
    exits: int = 0
    exit: str | None = None
    checks: Mapping[str, CheckSeen] = field(default_factory=dict)
    lost: str | None = None

    @property
    def ready(self) -> bool:
        """Alive, and every check passes."""
        return self.alive and all(check.verdict is Verdict.PASSING for check in self.checks.values())


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not decided. `good_in_s`: when it would be proven, if nothing happens."""

    services: tuple[str, ...] = ()
    good_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Healthy:
    """The judged services became ready."""


@dataclass(frozen=True, slots=True)
class Relapsed:
    """Was healthy, is not, has not failed."""


@dataclass(frozen=True, slots=True)
class Good:
    """Stayed healthy for the policy's time."""


@dataclass(frozen=True, slots=True)
class Bad:
    """It failed. `keep`: it is left running all the same. `service`: whose last output lines tell more. `returning`: it is what the robot
    went back to, and did not come up either."""

    why: str
    service: str | None
    keep: bool
    returning: bool = False


Judgement = Waiting | Healthy | Relapsed | Good | Bad


def baseline(trial: Trial | None, services: Mapping[str, ServiceSeen]) -> tuple[tuple[str, str], ...]:
    """What fails now, and therefore cannot be held against what is made live next. What runs on trial and never was healthy is no measure:
    then it is what failed before that one."""
    return failing(services) if trial is None or trial.told else trial.baseline


def failing(services: Mapping[str, ServiceSeen], names: frozenset[str] | None = None) -> tuple[tuple[str, str], ...]:
    """(service, check) pairs that do not pass now and are not just starting: the baseline of a switch."""
    found = []
    for name, seen in sorted(services.items()):
        if names is not None and name not in names:
            continue
        if not seen.alive and seen.exits:
            found.append((name, PROCESS))
        found += [(name, key) for key, check in sorted(seen.checks.items()) if check.verdict is Verdict.FAILING]
    return tuple(dict.fromkeys(found))


def _faults(trial: Trial, name: str, seen: ServiceSeen | None, *, probes: bool) -> list[tuple[str, str]]:
    """(check, why) of what makes the deployment fail, in one service."""
    if seen is None:
        return []
    faults = []
    if seen.exits >= max(1, trial.policy.starts):
        times = f", {seen.exits} times" if seen.exits > 1 else ""
        faults.append((PROCESS, f"{name}: {seen.exit or 'exited'}{times}"))
    if probes:
        faults += [
            (key, f"{name}: {check.error or key + ' failed'}")
            for key, check in sorted(seen.checks.items())
            if check.verdict is Verdict.FAILING and key != PROCESS
        ]
    return faults


def judge(trial: Trial, services: Mapping[str, ServiceSeen], *, boot: str, now: float) -> Judgement:
    """The verdict on the live deployment. `services`: every one of its services; `now`: CLOCK_BOOTTIME seconds; `boot`: its id."""
    policy = trial.policy
    returning = trial.instead_of is not None
    unkept = not policy.roll_back and not returning
    if trial.boot != boot:
        if trial.starts >= max(1, policy.starts):
            # Whatever the policy: what takes the machine down again and again cannot be left running, for nobody could reach it.
            return Bad(f"started {trial.starts} times without becoming good", None, False, returning)
        return Waiting(trial.judged)
    for run in trial.hooks:
        if run.failure is not None and run.kind is HookKind.PREPARE:
            return Bad(run.failure, run.service, False, returning)  # its process was never started: nothing to keep
        if run.failure is not None and run.kind is HookKind.AFTER_START:
            return Bad(run.failure, run.service, unkept, returning)
    was_healthy = trial.told
    looked_at = (
        services
        if was_healthy and policy.checks == "strict"
        else {name: services[name] for name in trial.judged if name in services}
    )
    probes = not was_healthy or policy.checks != "minimal"
    excused: list[tuple[str, str]] = []
    for name, seen in sorted(looked_at.items()):
        if seen.lost is not None:
            return Bad(seen.lost, name, unkept, returning)
        for key, why in _faults(trial, name, seen, probes=probes):
            if (name, key) in trial.baseline:
                excused.append((name, why))
            else:
                return Bad(why, name, unkept, returning)
    late = tuple(
        name
        for name, seen in sorted(looked_at.items())
        if not (seen.ready if probes else seen.alive) and name not in {service for service, _ in excused}
    )
    if excused and not late:
        service, why = excused[0]
        return Bad(f"{why} (as before this deployment, so it was left running)", service, keep=True)
    if late or set(trial.judged) - set(services):
        return Relapsed() if trial.healthy_since is not None else Waiting(late)
    if trial.healthy_since is None:
        return Healthy()
    left = trial.healthy_since + policy.trial_s - now
    return Good() if left <= 0 else Waiting(good_in_s=left)
