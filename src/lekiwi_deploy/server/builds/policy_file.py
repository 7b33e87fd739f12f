"""An environment's block of lekiwi.yaml: its branch and its policy. Only what is honoured is accepted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.approvals_file import APPROVALS, PREVIEW
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Choice, Form, Schema, Span, Text, Truth, Whole, named
from lekiwi_deploy.server.builds.membership_file import GROUPS, SELECT
from lekiwi_deploy.server.builds.rollout_file import STEPS, Percent
from lekiwi_deploy.server.builds.spec import EnvironmentSpec
from lekiwi_deploy.server.builds.strict_yaml import Value, unknown
from lekiwi_deploy.server.builds.window_file import Window
from lekiwi_deploy.wire.policy import Policy, Undo
from lekiwi_deploy.wire.windows import Windows

HEALTH_CHECKS = ("strict", "normal", "minimal")
ROLLBACK_SCOPES = ("robot", "wave", "fleet")
NOT_YET = frozenset({"notify", "preflight", "protected"})
"""Policies that the product will have; refused rather than ignored, so that nobody relies on one that does not work."""
MEANT = {
    "window": "deployment_window",
    "windows": "deployment_window", "timezone": "deployment_window: {open: …, zone: …}", "steps": "rollout", "waves": "rollout",
    "robots": "select", "labels": "select", "selector": "select", "target": "select", "group": "groups", "approval": "approvals",
    "approvers": "approvals", "require_approval": "approvals", "offline": "skip_offline", "success": "min_success", "lease": "preview",
    "wave": "rollout", "canary": "rollout", "strategy": "rollout", "soak": "rollout", "max_parallel": "in_flight", "parallel": "in_flight",
}  # fmt: skip
"""What is written elsewhere under another name, and what it is called here."""

MAX_BRANCH = 100


class _Rollback:
    """Whether, and how far, robots go back by themselves."""

    def read(self, value: Value) -> bool | str:
        try:
            return value.truth()
        except BadInput:
            if value.is_list or value.is_mapping or value.is_null:
                raise
        if value.scalar in ROLLBACK_SCOPES:
            return value.scalar
        raise value.wrong(f"must be true, false, {', '.join(ROLLBACK_SCOPES)}, not {str(value.node.value)[:60]!r}")

    def schema(self) -> Schema:
        return {"enum": [True, False, *ROLLBACK_SCOPES]}

    def words(self) -> str:
        return f"`true`, {Choice(('false', *ROLLBACK_SCOPES)).words()}"

    def shown(self, read: object) -> str:
        return str(read).lower()


_BRANCH_TEXT: Form[str | None] = Text(
    "name of a branch",
    pattern=rf"(?!refs/)[^\0]{{1,{MAX_BRANCH}}}",
    wrong="cannot be a branch's name",
    never=r"[\u0000-\u0020~^:?*\[\\\u007f]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock$",
    forbidden="cannot be a branch's name",
)

BRANCH = Key(
    "branch",
    _BRANCH_TEXT,
    "The branch that is deployed to it.",
    None,
    "`main` and `master` for `production`, else the branch of its name",
)
AUTO_DEPLOY = Key(
    "auto_deploy",
    Truth(),
    "`false`: a push is built and waits until somebody says yes: `lekiwi approve`.",
    True,
)
HEALTH = Key(
    "health_checks",
    Choice(HEALTH_CHECKS),
    "How a new version is judged after it was healthy once. `minimal`: its processes live, for 10 s; `normal`: their checks pass, for 60 s; "
    "`strict`: the checks of every service pass, for 5 min.",
    "minimal",
)
ROLLBACK: Key[bool | str] = Key(
    "rollback_on_error",
    _Rollback(),
    "Whether robots go back by themselves when a version fails on them (always from one that takes the machine down).",
    True,
)
DEFER_LIMIT = Key(
    "defer_limit",
    Span(60, 30 * 86_400),
    "The longest that robots may put a deployment off (busy, a condition that does not hold) before people are told.",
    4 * 3600.0,
)
WINDOW: Key[Windows | None] = Key(
    "deployment_window",
    Window(),
    "When robots may switch; content is fetched at any time, and going back never waits.",
    None,
    "`null`: at any time",
)
MAX_FAILURES: Key[int | None] = Key(
    "max_failures",
    Whole(0, 100_000),
    "On how many robots a version may fail before its rollout stops.",
    None,
    "2, or 2 %",
)
IN_FLIGHT: Key[int | None] = Key(
    "in_flight", Whole(1, 100_000), "How many robots are under way at once.", None, "any number"
)
MIN_SUCCESS: Key[float | None] = Key(
    "min_success",
    Percent(0),
    "How many of all robots must confirm a deployment, those that are off included; fewer, and its rollout ends as partial.",
    None,
    "robots that are off do not count",
)
SKIP_OFFLINE = Key(
    "skip_offline",
    Truth(),
    "`true`: robots that are off when a rollout begins are left out of it.",
    False,
)
PENDING_EXPIRES = Key(
    "pending_expires",
    Span(60, 365 * 86_400),
    "A robot that was off for so long since the rollout began is not waited for any more.",
    7 * 86_400.0,
)


def _policy(given: Mapping[str, Value]) -> Policy:
    return Policy(
        auto_deploy=AUTO_DEPLOY.read(given),
        health_checks=HEALTH.read(given),
        undo=_undo(ROLLBACK.read(given)),
        window=WINDOW.read(given),
        steps=STEPS.read(given),
        max_failures=MAX_FAILURES.read(given),
        in_flight=IN_FLIGHT.read(given),
        defer_limit_s=DEFER_LIMIT.read(given),
        groups=GROUPS.read(given),
        select=SELECT.read(given),
        approvals=APPROVALS.read(given),
        min_success=MIN_SUCCESS.read(given),
        skip_offline=SKIP_OFFLINE.read(given),
        pending_expires_s=PENDING_EXPIRES.read(given),
        preview=PREVIEW.read(given),
    )


def _build(value: Value, given: Mapping[str, Value], name: str = "") -> EnvironmentSpec:
    return EnvironmentSpec(name=name, branch=BRANCH.read(given), policy=_policy(given))


def _undo(written: bool | str) -> Undo:
    if isinstance(written, bool):
        return Undo.FLEET if written else Undo.NOTHING
    return Undo(written)


ENVIRONMENT = Table(
    "environment",
    (
        BRANCH, GROUPS, SELECT, AUTO_DEPLOY, APPROVALS, HEALTH, ROLLBACK, WINDOW, STEPS, MAX_FAILURES, IN_FLIGHT, MIN_SUCCESS, SKIP_OFFLINE,
        PENDING_EXPIRES, DEFER_LIMIT, PREVIEW,
    ),
    _build,
)  # fmt: skip
KEYS = ENVIRONMENT.names


def read_environment(name: str, value: Value, top_level: tuple[str, ...]) -> EnvironmentSpec:
    """The environment `name`. `top_level`: the known keys beside it, one of which may have been meant."""
    if not value.is_mapping:
        raise unknown(value, name, top_level)
    keys = value.mapping()
    meant = difflib.get_close_matches(name, top_level, n=1, cutoff=0.8)
    if meant and not any(key in KEYS for key in keys):
        raise unknown(value, name, top_level)
    if any(key not in KEYS and key not in MEANT and key not in NOT_YET for key in keys) and not any(
        key in KEYS for key in keys
    ):
        raise unknown(value, name, top_level)
    named("an environment", value, name)
    for key, given in keys.items():
        check_key(key, given)
    return _build(value, ENVIRONMENT.given(value), name)


def check_key(key: str, given: Value) -> None:
    """Raises `ProjectFileError` where `key` has another name, or is not honoured."""
    if key in NOT_YET:
        raise given.wrong("is not supported yet: leave it out")
    if key in MEANT:
        raise given.wrong(f"is not known: did you mean {MEANT[key]}?")
    if key not in KEYS:
        raise unknown(given, key, KEYS)


def build_environment(name: str, given: Mapping[str, Value]) -> EnvironmentSpec:
    """The environment that these keys make. Raises `ProjectFileError`."""
    for key, value in given.items():
        check_key(key, value)
    return EnvironmentSpec(name=name, branch=BRANCH.read(given), policy=_policy(given))
