"""The robot's memory on disk: one small file, replaced whole, on disk before `save` returns.

A reserve file gives its room up when the disk is full, so that a robot can still write down that it goes back.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.content.durable import write_durably
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.robot.ledger import SCHEMA, Ledger
from lekiwi_deploy.wire.encoding import encode

RESERVE_BYTES = 4 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalCorrupt(Failed):
    """The journal cannot be read: damaged, or written by a newer agent."""


class Journal:
    """The file at `path`. One process at a time writes it (agent.lock)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reserve = path.with_name("reserve")

    def load(self) -> Ledger | None:
        """What was last saved; None: nothing ever was. Raises `JournalCorrupt`."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            ledger = msgspec.json.decode(data, type=Ledger)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalCorrupt(f"{self.path} is damaged: {error}") from error
        if ledger.schema > SCHEMA:
            raise JournalCorrupt(
                f"{self.path} was written by a newer agent (schema {ledger.schema}, this knows {SCHEMA})"
            )
        return ledger

    def save(self, ledger: Ledger) -> None:
        """Durable on return. Raises `OSError`; then the file holds the old content or the new."""
        data = encode(ledger)
        try:
            write_durably(self.path, data, mode=0o600)
        except OSError as error:
            if error.errno not in _FULL or not self._reserve.exists():
                raise
            fp("journal.full")
            self._reserve.unlink(missing_ok=True)
            write_durably(self.path, data, mode=0o600)

    def set_aside(self) -> Path:
        """Move a damaged journal out of the way, keeping it for a person to look at; where it is now."""
        aside = self.path.with_name("journal.json.damaged")
        fp("journal.set_aside")
        self.path.replace(aside)
        return aside

    def keep_reserve(self) -> None:
        """Make the reserve if it is not there and there is room."""
        if self._reserve.exists():
            return
        temporary = self._reserve.with_name(".tmp-reserve")
        try:
            fp("journal.reserve")
            with temporary.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            temporary.replace(self._reserve)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
