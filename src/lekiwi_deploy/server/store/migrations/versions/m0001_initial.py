"""The schema of the first release."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.server.store.migrations import execute

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes everything."""
    execute(Path(__file__).with_suffix(".sql").read_text())
