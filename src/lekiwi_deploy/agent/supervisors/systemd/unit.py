"""The text of an instance's unit, of a command's unit and of their variables. Pure: what the machine has is an argument.

systemd itself starts a unit again that ended (so a service comes back while there is no agent); the agent does it sooner, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lekiwi_deploy.agent.supervisors.supervisor import Launch
from lekiwi_deploy.agent.supervisors.systemd import record
from lekiwi_deploy.agent.supervisors.systemd.grants import Grants
from lekiwi_deploy.agent.supervisors.systemd.places import SLICE, TARGET, TRAFFIC, user_of
from lekiwi_deploy.agent.supervisors.systemd.quoting import command, environment_file, line, word
from lekiwi_deploy.agent.supervisors.systemd.sandbox import Setting, sandbox
from lekiwi_deploy.errors import BadInput

RESTART_S = 5.0
"""After so long systemd starts a unit again by itself, for ever: longer than an agent that is there takes to notice."""
_STATE_ROOT = "/var/lib/"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a unit needs to know of its machine. `program`: the absolute path that `run[0]` means; `environment`: path of the file of its
    variables; `bin`, `agent`, `locks`: see `sandbox`; `pipe`: where a command's output goes, None: to the journal."""

    program: str
    grants: Grants
    environment: str
    bin: str
    agent: str
    locks: str
    pipe: str | None = None


def unit(launch: Launch, ground: Ground) -> str:
    """The unit that runs the instance. Raises `BadInput` for what could not be written down faithfully."""
    ready = "notify" if launch.notify else "exec"
    service: list[Setting] = [
        ("Type", ready),
        ("ExecStart", command((ground.program, *launch.run[1:]), f"the command of {launch.service}")),
        *_surroundings(launch, ground),
        ("NotifyAccess", "all"),
        ("TimeoutStartSec", "infinity"),  # it may wait for its hardware; the trial has a deadline of its own
        ("TimeoutStopSec", _span(launch.grace_s)),
        ("KillMode", "control-group"),
        ("Restart", "always"),
        ("RestartSec", _span(RESTART_S)),
        ("OOMPolicy", "kill"),
    ]
    if launch.watchdog_s is not None:
        service.append(("WatchdogSec", _span(launch.watchdog_s)))
    before: list[Setting] = [("StartLimitIntervalSec", "0"), ("PartOf", TARGET), ("After", TRAFFIC)]
    return (
        _text(f"LeKiwi: {launch.service}", before, [*service, *_walls(launch, ground)])
        + "\n"
        + record.section(record.record_of(launch))
    )


def command_text(launch: Launch, ground: Ground, run: Sequence[str], timeout_s: float) -> str:
    """The unit that runs one command to its end as the instance would be run. Raises `BadInput`."""
    if ground.pipe is None:
        raise BadInput("a command's output needs somewhere to go")
    service: list[Setting] = [
        ("Type", "oneshot"),
        ("ExecStart", command((ground.program, *run[1:]), f"a command of {launch.service}")),
        *_surroundings(launch, ground),
        ("StandardOutput", f"file:{line(ground.pipe, 'a pipe')}"),
        ("StandardError", "inherit"),
        ("TimeoutStartSec", _span(timeout_s)),
        ("TimeoutStopSec", _span(min(launch.grace_s, 5.0))),
        ("KillMode", "control-group"),
    ]
    return _text(f"LeKiwi: a command of {launch.service}", [], [*service, *_walls(launch, ground)])


def variables(launch: Launch) -> str:
    """The text of the file of its variables. Raises `BadInput`."""
    return environment_file({**launch.environment, "HOME": str(launch.state)})


def _surroundings(launch: Launch, ground: Ground) -> list[Setting]:
    state = str(launch.state)
    if not state.startswith(_STATE_ROOT):
        raise BadInput(f"the state of {launch.service} cannot be in {state}: systemd keeps it below {_STATE_ROOT}")
    return [
        ("Slice", SLICE),
        ("WorkingDirectory", line(str(launch.folder), "the folder")),
        ("EnvironmentFile", line(ground.environment, "the file of variables")),
        ("User", user_of(launch.service)),
        ("StateDirectory", word(state.removeprefix(_STATE_ROOT), "the state folder")),
        ("StateDirectoryMode", "0700"),
        ("SyslogIdentifier", line(launch.service, "the service's name")),
        ("LogExtraFields", word(f"LEKIWI_SERVICE={launch.service}", "the service's name")),
        ("LogExtraFields", word(f"LEKIWI_DEPLOYMENT={launch.deployment}", "the deployment")),
    ]


def _walls(launch: Launch, ground: Ground) -> tuple[Setting, ...]:
    return sandbox(launch, ground.grants, bin=ground.bin, locks=ground.locks, agent=ground.agent)


def _text(description: str, unit: Sequence[Setting], service: Sequence[Setting]) -> str:
    lines = ["[Unit]", f"Description={line(description, 'the description')}"]
    lines += [f"{name}={value}" for name, value in unit]
    lines += ["", "[Service]", *(f"{name}={value}" for name, value in service), ""]
    return "\n".join(lines)


def _span(seconds: float) -> str:
    """0 would mean for ever."""
    return f"{max(1, round(seconds * 1000))}ms"
