"""A copy of the journal for the release before: a newer one may write what an older one cannot read."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.agent.journal import Journal, JournalCorrupt
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.content.durable import write_durably


def _copy(paths: Paths) -> Path:
    return paths.journal.with_name("journal.json.before-update")


def keep(paths: Paths) -> None:
    """Before another release is started. Raises `OSError`."""
    try:
        data = paths.journal.read_bytes()
    except FileNotFoundError:
        return
    write_durably(_copy(paths), data, mode=0o600)


def put_back_if_unreadable(paths: Paths) -> bool:
    """After going back, before this release is started again: whether its journal of before had to be taken, because the one that is
    there cannot be read by it. That one is kept beside it. Raises `OSError`."""
    journal = Journal(paths.journal)
    try:
        journal.load()
        return False
    except JournalCorrupt:
        copy = _copy(paths)
        if not copy.exists():
            return False
        journal.set_aside()
        write_durably(paths.journal, copy.read_bytes(), mode=0o600)
        return True


def forget(paths: Paths) -> None:
    """The newer release stays."""
    _copy(paths).unlink(missing_ok=True)
