"""The `health` list of a service in lekiwi.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.server.builds.composed_forms import Command, Either, Several
from lekiwi_deploy.server.builds.form_tables import Key, Kinds, Table
from lekiwi_deploy.server.builds.forms import Form, Span, Text, Truth, Whole
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.manifest import CommandCheck, HealthCheck, HttpCheck, ProcessCheck, TcpCheck

MAX_CHECKS = 20

_PATH = Text(
    "path on the service",
    pattern=r"/(?!/)[!-~\u00a1-\ud7ff\ue000-\ufffd]*",
    wrong="must be a path on the service, such as /health",
)


class _OwnPort:
    """`true`: the service's own."""

    def read(self, value: Value) -> int | None:
        if not value.truth():
            raise value.wrong("must be true or a port: leave the check out instead")
        return None

    def schema(self) -> dict[str, object]:
        return {"const": True}

    def words(self) -> str:
        return "`true` (the service's own)"

    def shown(self, read: object) -> str:
        return "true"


_PORT: Form[int | None] = Whole(1, 65535)
_HTTP = Key("http", _PATH, "GET this path on the robot itself; a status of 2xx or 3xx passes.")
_HTTP_PORT = Key("port", _PORT, "Where, if not on the service's own port.", None, "the service's `port`")
_TCP = Key(
    "tcp",
    Either(_OwnPort(), _PORT, lambda value: value.is_truth),
    "A connection to this port of the robot itself is accepted.",
)
_COMMAND = Key(
    "command", Command(), "Exits with 0, run in the service's own folder, with its variables and in its sandbox."
)
_PROCESS = Key(
    "process",
    Truth(only=True, wrong="leave the check out instead"),
    "The process lives. Also what is checked of a service without `health`.",
)
_SETTLE = Key("settle", Span(0.1, 3600), "How long it must have lived, without a restart.", ProcessCheck().settle_s)


def _interval(default: float) -> Key[float]:
    return Key("interval", Span(0.1, 3600), "From one check to the next, once it passed.", default)


def _timeout(default: float) -> Key[float]:
    return Key("timeout", Span(0.1, 600), "How long one check may take.", default)


_RETRIES = Key("retries", Whole(1, 100), "How many failures in a row make the service unhealthy, once it passed.", 3)
_WITHIN = Key("within", Span(0.5, 3600), "How long it has to pass for the first time.", 30.0)
_TIMES = (_interval(2.0), _timeout(2.0), _RETRIES, _WITHIN)
_COMMAND_TIMES = (_interval(5.0), _timeout(5.0), _RETRIES, _WITHIN)
_PROCESS_INTERVAL = _interval(1.0)


def _http(value: Value, given: Mapping[str, Value]) -> HealthCheck:
    interval, timeout, retries, within = (key.read(given) for key in _TIMES)
    return HttpCheck(
        path=_HTTP.read(given),
        port=_HTTP_PORT.read(given),
        interval_s=interval,
        timeout_s=timeout,
        retries=int(retries),
        within_s=within,
    )


def _tcp(value: Value, given: Mapping[str, Value]) -> HealthCheck:
    interval, timeout, retries, within = (key.read(given) for key in _TIMES)
    return TcpCheck(
        port=_TCP.read(given), interval_s=interval, timeout_s=timeout, retries=int(retries), within_s=within
    )


def _command(value: Value, given: Mapping[str, Value]) -> HealthCheck:
    interval, timeout, retries, within = (key.read(given) for key in _COMMAND_TIMES)
    return CommandCheck(
        run=_COMMAND.read(given), interval_s=interval, timeout_s=timeout, retries=int(retries), within_s=within
    )


def _process(value: Value, given: Mapping[str, Value]) -> HealthCheck:
    _PROCESS.read(given)
    return ProcessCheck(interval_s=_PROCESS_INTERVAL.read(given), settle_s=_SETTLE.read(given))


CHECK: Kinds[HealthCheck] = Kinds(
    "check",
    (
        Table("http", (_HTTP, _HTTP_PORT, *_TIMES), _http),
        Table("tcp", (_TCP, *_TIMES), _tcp),
        Table("command", (_COMMAND, *_COMMAND_TIMES), _command),
        Table("process", (_PROCESS, _PROCESS_INTERVAL, _SETTLE), _process),
    ),
    "{http: /health}",
)
KINDS = CHECK.names
HEALTH = Several(CHECK, "checks, see below", most=MAX_CHECKS, repeats=True)


def check_ports(value: Value, checks: tuple[HealthCheck, ...]) -> None:
    """Refuse `checks`, written at `value`, that need the port of a service that has none. Raises `ProjectFileError`."""
    for item, check in zip(value.items(), checks, strict=True):
        if isinstance(check, TcpCheck) and check.port is None:
            raise item.mapping()["tcp"].wrong("the service has no `port`: write tcp: PORT")
        if isinstance(check, HttpCheck) and check.port is None:
            raise item.mapping()["http"].wrong(
                "the service has no `port`: give it one, or write {http: /health, port: 8000}"
            )
