"""All handlers of the API, one module per noun."""

from __future__ import annotations

import importlib
from typing import Any

_NOUNS = (
    "health", "server", "tokens", "projects", "environments", "groups", "uploads", "content",
    "previews", "deployments", "robots", "rollouts", "rollback", "approvals", "promote", "aliases", "diff",
    "logs", "activity", "undo", "forecast", "why", "variables", "join", "install", "agent_upgrades", "schema", "landing",
)  # fmt: skip


def _handlers() -> list[Any]:
    found: list[Any] = []
    for noun in _NOUNS:
        found.extend(importlib.import_module(f"lekiwi_deploy.server.http.{noun}").handlers)
    return found


HANDLERS = _handlers()
