"""Groups, approvals, previews, aliases, variables; what each change was and how to take it back."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.server.store.migrations import execute

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds tables and columns with defaults: the release before runs on."""
    execute(Path(__file__).with_suffix(".sql").read_text())
