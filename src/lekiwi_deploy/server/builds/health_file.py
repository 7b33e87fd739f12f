"""The `health` list of a service in lekiwi.yaml."""

from __future__ import annotations

from msgspec.structs import replace

from lekiwi_deploy.server.builds.spec import shell
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.manifest import CommandCheck, HealthCheck, HttpCheck, ProcessCheck, TcpCheck

KINDS = ("http", "tcp", "command", "process")
MAX_CHECKS = 20
_TIMES = ("interval", "timeout", "retries", "within")


def read_health(value: Value, port: int | None) -> tuple[HealthCheck, ...]:
    """The checks, in order. `port`: the service's own, which http and tcp use unless they name another."""
    items = value.items()
    if len(items) > MAX_CHECKS:
        raise value.wrong(f"has {len(items)} checks, {MAX_CHECKS} are allowed")
    return tuple(_check(item, port) for item in items)


def _check(value: Value, port: int | None) -> HealthCheck:
    named = value.mapping(", for example {http: /health}")
    kinds = [kind for kind in KINDS if kind in named]
    if len(kinds) != 1:
        if not kinds and named:
            value.keys((*KINDS, *_TIMES, "port", "settle"))
        raise value.wrong(f"must have exactly one of {', '.join(KINDS)}, for example {{http: /health}}")
    kind = kinds[0]
    allowed = {"http": (*_TIMES, "port"), "tcp": _TIMES, "command": _TIMES, "process": ("interval", "settle")}[kind]
    keys = value.keys((kind, *allowed))
    given = keys[kind]
    if kind == "process":
        if not given.truth():
            raise given.wrong("must be true: leave the check out instead")
        return ProcessCheck(
            interval_s=keys["interval"].seconds(0.1, 3600) if "interval" in keys else 1.0,
            settle_s=keys["settle"].seconds(0.1, 3600) if "settle" in keys else 1.0,
        )
    if kind == "command":
        run = given.texts() if given.is_list else shell(given.text())
        check = CommandCheck(run=run)
        return _timed(check, keys)
    if kind == "tcp":
        own = given.node.tag.endswith(":bool") and given.truth()
        tcp = TcpCheck(port=None if own else given.whole(1, 65535))
        if tcp.port is None and port is None:
            raise given.wrong("the service has no `port`: write tcp: PORT")
        return _timed(tcp, keys)
    path = given.text()
    if not path.startswith("/") or any(c.isspace() or not c.isprintable() for c in path) or path.startswith("//"):
        raise given.wrong(f"{path[:60]!r} must be a path on the service, such as /health")
    http = HttpCheck(path=path, port=keys["port"].whole(1, 65535) if "port" in keys else None)
    if http.port is None and port is None:
        raise given.wrong("the service has no `port`: give it one, or write {http: /health, port: 8000}")
    return _timed(http, keys)


def _timed(check: HttpCheck | TcpCheck | CommandCheck, keys: dict[str, Value]) -> HttpCheck | TcpCheck | CommandCheck:
    return replace(
        check,
        interval_s=keys["interval"].seconds(0.1, 3600) if "interval" in keys else check.interval_s,
        timeout_s=keys["timeout"].seconds(0.1, 600) if "timeout" in keys else check.timeout_s,
        retries=keys["retries"].whole(1, 100) if "retries" in keys else check.retries,
        within_s=keys["within"].seconds(0.5, 3600) if "within" in keys else check.within_s,
    )
