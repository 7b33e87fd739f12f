"""Robots are told which release of the agent to go over to."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.server.store.migrations import execute

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds what is recorded of upgrades; the release before knows nothing of it and runs on."""
    execute(Path(__file__).with_suffix(".sql").read_text())
