"""The `services` block of lekiwi.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from lekiwi_deploy.server.builds.composed_forms import Command, Several
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Member, Name, Schema, Span, Text, Truth, Whole, named
from lekiwi_deploy.server.builds.health_file import HEALTH, check_ports
from lekiwi_deploy.server.builds.hooks_file import HOOKS
from lekiwi_deploy.server.builds.needs_file import NEEDS
from lekiwi_deploy.server.builds.spec import ServiceSpec
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.manifest import Handover, Needs, Warm
from lekiwi_deploy.wire.variables import NAME, NEVER

MAX_SERVICES = 50

_VARIABLE = Text(
    "name of a variable",
    pattern=NAME,
    wrong="cannot name a variable: use A-Z, a-z, 0-9 and _; values do not belong here",
    never=NEVER,
    forbidden="changes how programs are loaded or is set by the agent; it cannot be declared",
)
_GLOB = Text(
    "path or pattern",
    pattern=r"(?![/!~])(?!(?:.*/)?\.\.(?:/|$))[^\\\0]*\S[^\\\0]*",
    wrong="must be a path or pattern inside the project, such as kiwi/base/**",
)

RUN = Key("run", Command(), "The program. An argument list is started as it is; a text is given to `/bin/sh`.")
PORT: Key[int | None] = Key(
    "port",
    Whole(1, 65535),
    "The port that it is reached on. It must listen on `$PORT`, which is another one; the switch to a new version fails no request.",
    None,
    "no port",
)
EXCLUSIVE: Key[str | None] = Key(
    "exclusive",
    Name("hardware"),
    "Hardware that only one process may own, by a name of your choice. No two versions, and no two services, have it at once.",
    None,
    "nothing",
)
HANDOVER = Key(
    "handover",
    Member(Handover),
    "How `exclusive` hardware changes hands. `stop`: the old version ends, then the new one starts. `lock`: the new one starts beside it and "
    "waits for the lock in `$LEKIWI_LOCK` (see robot-contract.md), so that it is ready when the old one lets go.",
    Handover.STOP,
)
WARM = Key(
    "warm",
    Member(Warm),
    "Whether a second version may be in memory beside the one that serves, for `port` and for `handover: lock`. `auto`: when the robot has "
    "the memory.",
    Warm.AUTO,
)
DRAIN = Key(
    "drain",
    Span(0, 86_400),
    "For `port`: how long established connections to the old version may go on after a switch.",
    30.0,
)
FILES = Key(
    "files",
    Several(_GLOB, "paths or patterns", most=1000),
    "What it is made of; it is restarted when that changes.",
    (),
    "all that no other service claims",
)
HEALTH_KEY = Key(
    "health", HEALTH, "Checks that must pass before the new version counts as healthy.", (), "`[{process: true}]`"
)
ENV = Key(
    "env",
    Several(_VARIABLE, "names"),
    "Variables that it may read, by name; values come from `lekiwi env`, or from the robot's own `/etc/lekiwi/robot.env`.",
    (),
    "none",
)
STOP_GRACE = Key("stop_grace", Span(0.1, 600), "From SIGTERM to SIGKILL.", 10.0)
NOTIFY = Key(
    "notify",
    Truth(),
    "`true`: it says when it is ready (`READY=1` to `$NOTIFY_SOCKET`, see sd_notify(3)), and is not ready before.",
    False,
)
WATCHDOG: Key[float | None] = Key(
    "watchdog",
    Span(0.1, 3600),
    "It says `WATCHDOG=1` at least as often, or it is killed and started again. Implies `notify: true`.",
    None,
    "off",
)
NEEDS_KEY = Key(
    "needs", NEEDS, "What it is allowed beyond the default sandbox, and what it may use.", Needs(), "nothing"
)
HOOKS_KEY = Key("hooks", HOOKS, "Commands that run around a switch.", {}, "none")

_RULES: Schema = {
    "dependentRequired": {"drain": ["port"]},
    "dependentSchemas": {
        "watchdog": {"properties": {"notify": {"const": True}}},
        "warm": {"anyOf": [{"required": ["port"]}, {"required": ["handover"], "properties": {"handover": {"const": "lock"}}}]},
        "handover": {"anyOf": [{"required": ["exclusive"]}, {"properties": {"handover": {"const": "stop"}}}]},
        "port": {"properties": {"needs": {"properties": {"network": {"const": True}}}}},
    },
}  # fmt: skip


def _build(value: Value, given: Mapping[str, Value], name: str = "") -> ServiceSpec:
    port, exclusive, handover, health = (
        PORT.read(given),
        EXCLUSIVE.read(given),
        HANDOVER.read(given),
        HEALTH_KEY.read(given),
    )
    watchdog, needs = WATCHDOG.read(given), NEEDS_KEY.read(given)
    if port is None and health:
        check_ports(given["health"], health)
    if handover is Handover.LOCK and exclusive is None:
        raise given["handover"].wrong("needs `exclusive`: the hardware whose lock it is")
    if "drain" in given and port is None:
        raise given["drain"].wrong("needs `port`: only then has it connections to drain")
    if "warm" in given and port is None and handover is not Handover.LOCK:
        raise given["warm"].wrong(
            "needs `port` or `handover: lock`: otherwise the old version stops before the new one starts"
        )
    if watchdog is not None and "notify" in given and not NOTIFY.read(given):
        raise given["notify"].wrong("must be true: `watchdog` needs it")
    if port is not None and not needs.network:
        raise given["needs"].mapping()["network"].wrong("must be true: the service has a `port`")
    return ServiceSpec(
        name=name,
        run=RUN.read(given),
        port=port,
        exclusive=exclusive,
        files=FILES.read(given),
        health=health,
        env=tuple(sorted(ENV.read(given))),
        stop_grace_s=STOP_GRACE.read(given),
        handover=handover,
        warm=WARM.read(given),
        drain_s=DRAIN.read(given),
        notify=NOTIFY.read(given) or watchdog is not None,
        watchdog_s=watchdog,
        needs=needs,
        hooks=HOOKS_KEY.read(given),
    )


SERVICE = Table(
    "service",
    (
        RUN, PORT, EXCLUSIVE, HANDOVER, WARM, DRAIN, FILES, ENV, HEALTH_KEY, STOP_GRACE, NOTIFY, WATCHDOG, NEEDS_KEY, HOOKS_KEY,
    ),
    _build,
    "[python3, -m, app] or 'uvicorn app:app --port $PORT'",
    _RULES,
)  # fmt: skip


@dataclass(frozen=True)
class Services:
    """Every service by its name."""

    def read(self, value: Value) -> tuple[ServiceSpec, ...]:
        found = value.mapping(", one per service")
        if not found:
            raise value.wrong("names no service")
        if len(found) > MAX_SERVICES:
            raise value.wrong(f"has {len(found)} services, {MAX_SERVICES} are allowed")
        services = tuple(_service(name, found[name]) for name in sorted(found))
        _check_shared(found, services)
        return services

    def schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX_SERVICES,
            "propertyNames": Name("a service").schema(),
            "additionalProperties": SERVICE.schema(),
        }

    def words(self) -> str:
        return "mapping: a service for each name, see below"

    def shown(self, read: object) -> str:
        return "{}"


def _service(name: str, value: Value) -> ServiceSpec:
    given = SERVICE.given(value)
    named("a service", value, name)
    return partial(_build, name=name)(value, given)


def _check_shared(found: Mapping[str, Value], services: tuple[ServiceSpec, ...]) -> None:
    ports: dict[int, str] = {}
    hardware: dict[str, str] = {}
    for service in services:
        if service.port is not None and ports.setdefault(service.port, service.name) != service.name:
            raise found[service.name].wrong(f"has port {service.port}, and so has {ports[service.port]!r}")
        if service.exclusive is not None and hardware.setdefault(service.exclusive, service.name) != service.name:
            raise found[service.name].wrong(
                f"owns {service.exclusive!r} exclusively, and so does {hardware[service.exclusive]!r}"
            )


def is_safe_variable(name: str) -> bool:
    """Whether a service may be given a variable of that name: well-formed, and not one that changes what code is loaded."""
    return bool(re.fullmatch(_VARIABLE.pattern, name)) and not re.search(_VARIABLE.never, name)
