"""The `hooks` of a service in lekiwi.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.server.builds.composed_forms import Command, Either
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Schema, Span
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.manifest import Hook, HookKind

_RUN = Key("run", Command(), "What is run, in the service's own folder, with its variables and in its sandbox.")
_TIMEOUT = Key("timeout", Span(0.1, 3600), "How long it may take; then all of it is killed, and it has failed.", 30.0)

HOOK = Table(
    "`{run: …, timeout: …}`",
    (_RUN, _TIMEOUT),
    lambda _, given: Hook(run=_RUN.read(given), timeout_s=_TIMEOUT.read(given)),
    "{run: ./migrate, timeout: 1m}",
)


class _Bare:
    """Only the command."""

    def read(self, value: Value) -> Hook:
        return Hook(run=_RUN.form.read(value))

    def schema(self) -> Schema:
        return _RUN.form.schema()

    def words(self) -> str:
        return _RUN.form.words()

    def shown(self, read: object) -> str:
        return _RUN.form.shown(read)


_FORM = Either[Hook](HOOK, _Bare(), lambda value: value.is_mapping)
_DOCS = {
    HookKind.PREPARE: "Before the new version is started, while the old one still runs. A failure fails the trial: the old one simply runs on.",
    HookKind.BEFORE_STOP: "Before the old version is asked to stop. A failure is told and changes nothing: it is stopped all the same.",
    HookKind.AFTER_START: "Once the new version is ready; with a `port`, before it gets traffic. A failure fails the trial, so the robot goes back.",
    HookKind.ON_ROLLBACK: "Of the version that failed, once the one before runs again.",
}
_KEYS: tuple[Key[Hook | None], ...] = tuple(Key(kind.value, _FORM, doc, None, "nothing") for kind, doc in _DOCS.items())


def _build(value: Value, given: Mapping[str, Value]) -> dict[HookKind, Hook]:
    return {HookKind(key.name): hook for key in _KEYS if (hook := key.read(given)) is not None}


HOOKS = Table("mapping, see below", _KEYS, _build, "{prepare: ./migrate}")
