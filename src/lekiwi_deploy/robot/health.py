"""One health check of one process, judged from the results of its probes. Seconds are monotonic.

Before it passed for the first time a check has `within_s` from the start of the process; afterwards `retries` failures in a
row make it fail. Until then probes come quickly, so that a switch is confirmed within milliseconds of being ready.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from lekiwi_deploy.wire.manifest import CommandCheck, HealthCheck, HttpCheck, ProcessCheck, TcpCheck

_FIRST_STEP_S = 0.010
_DENSE_STEP_S = 0.025
_DENSE_FOR_S = 2.0
_SPARSE_STEP_S = 0.25
_COMMAND_STEP_S = 0.25
"""A command costs a process: it is not run every 10 ms."""


class Verdict(StrEnum):
    """On one check, now."""

    WAITING = "waiting"  # has not passed yet, and still has time
    PASSING = "passing"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class CheckState:
    """`started_at`: when the process started. `failures`: in a row, since the last success (or the start)."""

    started_at: float
    probes: int = 0
    passed: bool = False
    failures: int = 0
    error: str | None = None


def after_probe(state: CheckState, error: str | None) -> CheckState:
    """The state after one more probe; `error` None: it passed, else what was wrong in one line."""
    if error is None:
        return replace(state, probes=state.probes + 1, passed=True, failures=0, error=None)
    return replace(state, probes=state.probes + 1, failures=state.failures + 1, error=error)


def verdict(state: CheckState, check: HealthCheck, now: float) -> Verdict:
    """What to make of it at `now`."""
    if isinstance(check, ProcessCheck):
        return Verdict.PASSING if now - state.started_at >= check.settle_s else Verdict.WAITING
    if state.passed:
        return Verdict.FAILING if state.failures >= max(1, check.retries) else Verdict.PASSING
    return Verdict.FAILING if now - state.started_at >= check.within_s else Verdict.WAITING


def next_probe_in(state: CheckState, check: HealthCheck, now: float) -> float:
    """Seconds until the next probe."""
    if isinstance(check, ProcessCheck):
        return max(0.0, state.started_at + check.settle_s - now)
    if state.passed:
        return check.interval_s
    left = check.within_s - (now - state.started_at)
    if left <= 0:
        return check.interval_s
    if isinstance(check, CommandCheck):
        step = _COMMAND_STEP_S
    elif now - state.started_at < _DENSE_FOR_S:
        step = min(_DENSE_STEP_S, _FIRST_STEP_S + 0.001 * state.probes)
    else:
        step = _SPARSE_STEP_S
    return max(0.001, min(step, check.interval_s, left))


def probe_timeout(state: CheckState, check: HealthCheck, now: float) -> float:
    """Seconds that one probe may take; the first success must come within the check's time."""
    if isinstance(check, ProcessCheck):
        return 0.0
    if state.passed:
        return check.timeout_s
    return max(0.05, min(check.timeout_s, check.within_s - (now - state.started_at)))


def check_key(check: HealthCheck, port: int | None) -> str:
    """What the check looks at, so that the same one is recognised before and after a switch; `port`: the service's own."""
    match check:
        case HttpCheck(path=path, port=own):
            return f"http :{own or port}{path}"
        case TcpCheck(port=own):
            return f"tcp :{own or port}"
        case CommandCheck(run=run):
            return f"command {' '.join(run)}"
        case ProcessCheck():
            return "process"
