"""An environment's block of lekiwi.yaml: its branch and its policy. Only what is honoured is accepted."""

from __future__ import annotations

import difflib
import re

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.spec import EnvironmentSpec, Json
from lekiwi_deploy.server.builds.strict_yaml import Value, unknown
from lekiwi_deploy.wire.ids import checked_name

KEYS = ("branch", "auto_deploy", "health_checks", "rollback_on_error", "deployment_window")
HEALTH_CHECKS = ("strict", "normal", "minimal")
ROLLBACK_SCOPES = ("robot", "wave", "fleet")
NOT_YET = frozenset(
    {
        "approvals", "approval", "approvers", "canary", "window", "timezone", "groups", "max_failures", "max_parallel", "min_success",
        "notify", "offline", "order", "preflight", "protected", "require_approval", "robots", "soak", "steps", "strategy", "variables",
        "wave", "waves",
    }
)  # fmt: skip
"""Policies that the product will have; refused rather than ignored, so that nobody relies on one that does not work."""

_BAD_BRANCH = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock$")
MAX_BRANCH = 100


def read_environment(name: str, value: Value, top_level: tuple[str, ...]) -> EnvironmentSpec:
    """The environment `name`. `top_level`: the known keys beside it, one of which may have been meant."""
    if not value.is_mapping:
        raise unknown(value, name, top_level)
    keys = value.mapping()
    meant = difflib.get_close_matches(name, top_level, n=1, cutoff=0.8)
    if meant and not any(key in KEYS for key in keys):
        raise unknown(value, name, top_level)
    if any(key not in KEYS and key not in NOT_YET for key in keys) and not any(key in KEYS for key in keys):
        raise unknown(value, name, top_level)
    try:
        checked_name("an environment", name)
    except BadInput as error:
        raise value.wrong(error.message) from error
    policy: dict[str, Json] = {}
    branch: str | None = None
    for key, given in keys.items():
        match key:
            case "branch":
                branch = _branch(given)
            case "auto_deploy":
                policy[key] = given.truth()
            case "health_checks":
                policy[key] = given.choice(HEALTH_CHECKS)
            case "rollback_on_error":
                policy[key] = _rollback(given)
            case "deployment_window":
                if not given.is_null:
                    raise given.wrong("deployment windows are not supported yet: write null, or leave it out")
                policy[key] = None
            case _ if key in NOT_YET:
                raise given.wrong("is not supported yet: leave it out")
            case _:
                raise unknown(given, key, KEYS)
    return EnvironmentSpec(name=name, branch=branch, policy=policy)


def _branch(value: Value) -> str:
    branch = value.text()
    if _BAD_BRANCH.search(branch) or len(branch) > MAX_BRANCH or branch.startswith("refs/"):
        raise value.wrong(f"{branch[:60]!r} cannot be a branch's name")
    return branch


def _rollback(value: Value) -> bool | str:
    try:
        return value.truth()
    except BadInput:
        if value.is_list or value.is_mapping or value.is_null:
            raise
    if str(value.node.value) in ROLLBACK_SCOPES:
        return str(value.node.value)
    raise value.wrong(f"must be true, false, {', '.join(ROLLBACK_SCOPES)}, not {str(value.node.value)[:60]!r}")
