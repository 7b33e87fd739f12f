"""Running a hook of a service: in its folder, with its variables, in its sandbox. What it writes goes to the service's log, as stream `hook`.

A hook runs once in an attempt, but after a crash of the agent or of the machine it may run again, so it must be one that can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.log_lines import level_of
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors.supervisor import Launch, Supervisor
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import LogLine
from lekiwi_deploy.wire.manifest import Hook, HookKind

Note = Callable[[str, str, DeploymentId | None, str | None], None]
"""(kind, text, deployment, service) for the robot's history."""
Log = Callable[[str, DeploymentId, tuple[str, ...]], None]
"""(service, deployment, lines) for its log."""


async def run_hook(
    supervisor: Supervisor,
    launch: Launch,
    hook: Hook,
    kind: HookKind,
    note: Note,
    log: Log,
    *,
    previous: DeploymentId | None = None,
) -> str | None:
    """Run it to its end; what was wrong in one line for a person, None: it exited with 0 in time. `launch`: how the service of the
    version that the hook is of is started. `previous`: what ran before, or runs again. The hook finds LEKIWI_HOOK (its kind) and
    LEKIWI_PREVIOUS_DEPLOYMENT beside the service's variables."""
    more = {"LEKIWI_HOOK": kind.value}
    if previous is not None:
        more["LEKIWI_PREVIOUS_DEPLOYMENT"] = previous
    began = machine.boottime()
    try:
        wrong, lines = await supervisor.run(
            replace(launch, environment={**launch.environment, **more}), hook.run, hook.timeout_s
        )
    except OSError as error:
        wrong, lines = f"{' '.join(hook.run)[:80]}: {error.strerror or error}", ()
    if lines:
        log(launch.service, launch.deployment, lines)
    if wrong is None:
        took = machine.boottime() - began
        note("hook", f"{launch.service}: {kind} was run in {took:.1f} s", launch.deployment, launch.service)
        return None
    failure = f"{launch.service}: {kind} failed: {wrong}"
    note("hook_failed", failure, launch.deployment, launch.service)
    return failure


def log_to(spool: Spool, *, appended: Callable[[], None], trouble: Callable[[str], None]) -> Log:
    """What puts a hook's lines into the log `spool`. `appended` is called when there is more to send."""

    def log(service: str, deployment: DeploymentId, lines: tuple[str, ...]) -> None:
        at = machine.utc_now()
        records = [
            LogLine(at=at, service=service, deployment=deployment, stream="hook", text=text, level=level_of(text))
            for text in lines
        ]
        try:
            spool.append([msgspec.json.encode(record) for record in records])
        except OSError as error:
            trouble(f"{len(lines)} lines of a hook of {service} are lost: {error.strerror}")
            return
        appended()

    return log
