"""Robots hold deployments off, since when, and who forced one over that."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.server.store.migrations import execute

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds what is recorded of it; the release before knows nothing of it and runs on."""
    execute(Path(__file__).with_suffix(".sql").read_text())
