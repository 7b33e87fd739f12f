"""The `services` block of lekiwi.yaml."""

from __future__ import annotations

import re

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.health_file import read_health
from lekiwi_deploy.server.builds.spec import ServiceSpec, shell
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.ids import checked_name

KEYS = ("run", "port", "exclusive", "files", "health", "env", "stop_grace")
MAX_SERVICES = 50

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_FORBIDDEN = frozenset(
    {
        "PATH", "PORT", "HOME", "SHELL", "USER", "LOGNAME", "ENV", "BASH_ENV", "IFS", "CDPATH", "GCONV_PATH", "GLIBC_TUNABLES",
        "HOSTALIASES", "LOCPATH", "MALLOC_TRACE", "NODE_OPTIONS", "NODE_PATH", "NLSPATH", "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT",
        "RESOLV_HOST_CONF", "TMPDIR", "JAVA_TOOL_OPTIONS",
    }
)  # fmt: skip
_FORBIDDEN_STARTS = ("LD_", "DYLD_", "PYTHON", "LEKIWI_", "BASH_FUNC_")


def read_services(value: Value) -> tuple[ServiceSpec, ...]:
    """All services, by name."""
    named = value.mapping(", one per service")
    if not named:
        raise value.wrong("names no service")
    if len(named) > MAX_SERVICES:
        raise value.wrong(f"has {len(named)} services, {MAX_SERVICES} are allowed")
    services = tuple(sorted((_service(name, given) for name, given in named.items()), key=lambda each: each.name))
    ports: dict[int, str] = {}
    hardware: dict[str, str] = {}
    for service in services:
        if service.port is not None and ports.setdefault(service.port, service.name) != service.name:
            raise named[service.name].wrong(f"has port {service.port}, and so has {ports[service.port]!r}")
        if service.exclusive is not None and hardware.setdefault(service.exclusive, service.name) != service.name:
            raise named[service.name].wrong(
                f"owns {service.exclusive!r} exclusively, and so does {hardware[service.exclusive]!r}"
            )
    return services


def is_safe_variable(name: str) -> bool:
    """Whether a service may be given a variable of that name: well-formed, and not one that changes what code is loaded."""
    return bool(_VARIABLE.match(name)) and name not in _FORBIDDEN and not name.startswith(_FORBIDDEN_STARTS)


def _service(name: str, value: Value) -> ServiceSpec:
    keys = value.keys(KEYS)
    try:
        checked_name("a service", name)
    except BadInput as error:
        raise value.wrong(error.message) from error
    if "run" not in keys:
        raise value.wrong("needs `run`, for example [python3, -m, app] or 'uvicorn app:app --port $PORT'")
    run = keys["run"].texts() if keys["run"].is_list else shell(keys["run"].text())
    port = keys["port"].whole(1, 65535) if "port" in keys else None
    return ServiceSpec(
        name=name,
        run=run,
        port=port,
        exclusive=_hardware(keys["exclusive"]) if "exclusive" in keys else None,
        files=_globs(keys["files"]) if "files" in keys else (),
        health=read_health(keys["health"], port) if "health" in keys else (),
        env=_variables(keys["env"]) if "env" in keys else (),
        stop_grace_s=keys["stop_grace"].seconds(0.1, 600) if "stop_grace" in keys else 10.0,
    )


def _hardware(value: Value) -> str:
    try:
        return checked_name("hardware", value.text())
    except BadInput as error:
        raise value.wrong(error.message) from error


def _globs(value: Value) -> tuple[str, ...]:
    globs = value.texts()
    for item in value.items():
        glob = item.text()
        if glob.startswith(("/", "!", "~")) or ".." in glob.split("/") or "\\" in glob:
            raise item.wrong(f"{glob[:60]!r} must be a path or pattern inside the project, such as kiwi/base/**")
    return globs


def _variables(value: Value) -> tuple[str, ...]:
    found: list[str] = []
    for item in value.items():
        name = item.text()
        if not _VARIABLE.match(name):
            raise item.wrong(
                f"{name[:60]!r} cannot name a variable: use A-Z, a-z, 0-9 and _; values do not belong here"
            )
        if not is_safe_variable(name):
            raise item.wrong(f"{name} changes how programs are loaded or is set by the agent; it cannot be declared")
        if name in found:
            raise item.wrong(f"{name} is there twice")
        found.append(name)
    return tuple(sorted(found))
