"""What a project wants: what its lekiwi.yaml says, or what was detected. Plain values; times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lekiwi_deploy.wire.manifest import Conditions, Handover, HealthCheck, Hook, HookKind, Needs, Warm
from lekiwi_deploy.wire.policy import Policy


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A build or test command. `run`: argument list; `shown`: as the user wrote it."""

    run: tuple[str, ...]
    shown: str
    timeout_s: float

    @property
    def short(self) -> str:
        """At most 60 characters of it."""
        return self.shown if len(self.shown) <= 60 else self.shown[:59] + "…"


_NOTHING_MORE = Needs()


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service as written. `files`: globs of what it is made of; empty: everything that no other service claims. The rest is as in
    `wire.manifest.Service`."""

    name: str
    run: tuple[str, ...]
    port: int | None = None
    exclusive: str | None = None
    files: tuple[str, ...] = ()
    health: tuple[HealthCheck, ...] = ()
    env: tuple[str, ...] = ()
    stop_grace_s: float = 10.0
    handover: Handover = Handover.STOP
    warm: Warm = Warm.AUTO
    drain_s: float = 30.0
    notify: bool = False
    watchdog_s: float | None = None
    needs: Needs = field(default=_NOTHING_MORE)
    hooks: Mapping[HookKind, Hook] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """An environment as written."""

    name: str
    branch: str | None
    policy: Policy


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """The whole of lekiwi.yaml. `groups`: selectors of labels by name; `branches`: patterns and what each goes to, in order."""

    build: CommandSpec | None = None
    test: CommandSpec | None = None
    services: tuple[ServiceSpec, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)
    environments: tuple[EnvironmentSpec, ...] = field(default=())
    groups: Mapping[str, str] = field(default_factory=dict)
    branches: tuple[tuple[str, str], ...] = ()


def shell(command: str) -> tuple[str, ...]:
    """The argument list that runs `command` as a shell line."""
    return ("/bin/sh", "-c", command)
