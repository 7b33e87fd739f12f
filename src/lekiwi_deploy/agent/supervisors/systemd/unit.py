"""The unit of an instance, the unit of a command, and their variables. Pure: what the machine has is an argument.

systemd itself starts a unit again that ended (so a service comes back while there is no agent); the agent does it sooner, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lekiwi_deploy.agent.supervisors.supervisor import Launch
from lekiwi_deploy.agent.supervisors.systemd.grants import Grants
from lekiwi_deploy.agent.supervisors.systemd.places import BOOT, SLICE, TARGET, TRAFFIC, VARIABLES, unit_of, user_of
from lekiwi_deploy.agent.supervisors.systemd.places import command_unit as command_name
from lekiwi_deploy.agent.supervisors.systemd.quoting import command, environment_file, line, word
from lekiwi_deploy.agent.supervisors.systemd.record import record_of, section
from lekiwi_deploy.agent.supervisors.systemd.sandbox import Setting, sandbox
from lekiwi_deploy.agent.supervisors.systemd.sealed_unit import SealedUnit
from lekiwi_deploy.errors import BadInput

RESTART_S = 5.0
"""After so long systemd starts a unit again by itself, for ever: longer than an agent that is there takes to notice."""
_JOB_S = 10.0
"""After so long systemd counts the order to start a unit as carried out, whether it is ready or not, and goes on with the boot."""
_COMMAND_GRACE_S = 5.0
_STATE_ROOT = "/var/lib/"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a unit needs to know of its machine. `program`: the absolute path that `run[0]` means; `environments`, `pipes`: folders with a
    file for each unit; `bin`, `agent`, `locks`: see `sandbox`."""

    program: str
    grants: Grants
    environments: str
    pipes: str
    bin: str
    agent: str
    locks: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to be written: `text` for `name`, and `variables` for the file of that name below /run. `sealed`: what the boot is to open and
    add to `plain`, the variables that may lie on the disk. `trouble`: why there is no file of variables for it now."""

    name: str
    text: str
    variables: str = field(repr=False)
    plain: str = field(default="", repr=False)
    sealed: SealedUnit | None = field(default=None, repr=False)
    trouble: str | None = None


def service_unit(launch: Launch, ground: Ground) -> Unit:
    """The unit that runs the instance. Raises `BadInput` for what could not be written down faithfully."""
    service: list[Setting] = [
        ("Type", "notify" if launch.notify else "exec"),
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
    before: list[Setting] = [
        ("StartLimitIntervalSec", "0"),
        ("JobRunningTimeoutSec", _span(_JOB_S)),
        ("PartOf", TARGET),
        ("After", f"{BOOT} {TRAFFIC} {VARIABLES}" if launch.sealed is not None else f"{BOOT} {TRAFFIC}"),
    ]
    walls = sandbox(launch, ground.grants, bin=ground.bin, locks=ground.locks, agent=ground.agent)
    text = _text(f"LeKiwi: {launch.service}", before, [*service, *walls]) + "\n" + section(record_of(launch))
    name = unit_of(launch.instance, text, _named(launch))
    plain, sealed = _sealed(launch)
    return Unit(name, text, _variables(launch), plain, sealed, launch.trouble)


def command_unit(launch: Launch, ground: Ground, run: Sequence[str], timeout_s: float) -> Unit:
    """The unit that runs one command to its end as the instance would be run. Raises `BadInput`."""
    service: list[Setting] = [
        ("Type", "oneshot"),
        ("ExecStart", command((ground.program, *run[1:]), f"a command of {launch.service}")),
        *_surroundings(launch, ground),
        ("StandardOutput", f"file:{line(ground.pipes, 'a folder')}/%n"),
        ("StandardError", "inherit"),
        ("TimeoutStartSec", _span(timeout_s)),
        ("TimeoutStopSec", _span(min(launch.grace_s, _COMMAND_GRACE_S))),
        ("KillMode", "control-group"),
    ]
    walls = sandbox(launch, ground.grants, bin=ground.bin, locks=ground.locks, agent=ground.agent)
    text = _text(f"LeKiwi: a command of {launch.service}", [], [*service, *walls])
    return Unit(command_name(launch.instance, text, _named(launch)), text, _variables(launch), trouble=launch.trouble)


def _variables(launch: Launch) -> str:
    """Of its file. A home folder is what programs keep caches in, and the state folder the only one that it can write to."""
    return environment_file({**launch.environment, "HOME": str(launch.state)})


def _named(launch: Launch) -> str:
    """What the unit's name says of them: nothing that helps to guess a value which the server gave."""
    marks = launch.sealed.marks if launch.sealed is not None else {}
    return environment_file({**launch.environment, **marks, "HOME": str(launch.state)})


def _sealed(launch: Launch) -> tuple[str, SealedUnit | None]:
    """The variables that may lie on the disk, and those that the boot opens."""
    if launch.sealed is None:
        return _variables(launch), None
    names = tuple(sorted(launch.sealed.marks))
    plain = {name: value for name, value in launch.environment.items() if name not in names}
    return environment_file({**plain, "HOME": str(launch.state)}), SealedUnit(launch.sealed.given, names)


def _surroundings(launch: Launch, ground: Ground) -> list[Setting]:
    state = str(launch.state)
    if not state.startswith(_STATE_ROOT):
        raise BadInput(f"the state of {launch.service} cannot be in {state}: systemd keeps it below {_STATE_ROOT}")
    return [
        ("Slice", SLICE),
        ("WorkingDirectory", line(str(launch.folder), "the folder")),
        ("EnvironmentFile", f"{line(ground.environments, 'a folder')}/%n"),
        ("User", user_of(launch.service)),
        ("StateDirectory", word(state.removeprefix(_STATE_ROOT), "the state folder")),
        ("StateDirectoryMode", "0700"),
        ("SyslogIdentifier", line(launch.service, "the service's name")),
        ("LogExtraFields", word(f"LEKIWI_SERVICE={launch.service}", "the service's name")),
        ("LogExtraFields", word(f"LEKIWI_INSTANCE={launch.instance}", "the instance")),
        ("LogExtraFields", word(f"LEKIWI_DEPLOYMENT={launch.deployment}", "the deployment")),
    ]


def _text(description: str, unit: Sequence[Setting], service: Sequence[Setting]) -> str:
    lines = ["[Unit]", f"Description={line(description, 'the description')}"]
    lines += [f"{name}={value}" for name, value in unit]
    lines += ["", "[Service]", *(f"{name}={value}" for name, value in service), ""]
    return "\n".join(lines)


def _span(seconds: float) -> str:
    """0 would mean for ever."""
    return f"{max(1, round(seconds * 1000))}ms"
