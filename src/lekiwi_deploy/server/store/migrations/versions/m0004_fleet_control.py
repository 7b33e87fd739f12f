"""Rollouts go in steps, and what failed in an environment is not offered there again."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.server.store.migrations import execute

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds what is recorded of it; the release before reads its policies without what is taken back, and runs on."""
    execute(Path(__file__).with_suffix(".sql").read_text())
