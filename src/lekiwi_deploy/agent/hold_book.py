"""The book of leases on disk: small, replaced whole, on disk before anybody is told that a lease is held."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.content.durable import write_durably
from lekiwi_deploy.robot import holds
from lekiwi_deploy.robot.holds import Book, Moment
from lekiwi_deploy.wire.encoding import encode


def moment() -> Moment:
    """Now."""
    return Moment(machine.boot_id(), machine.boottime(), machine.utc_now())


class HoldBook:
    """The file at `path`. One process at a time writes it (agent.lock)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.book = Book()

    def load(self) -> str | None:
        """Read what an agent before wrote; leases that were tied to its connections are over. What was wrong with it, in one line: a
        damaged book is put aside, and its leases are forgotten."""
        try:
            book = msgspec.json.decode(self._path.read_bytes(), type=Book)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            aside = self._path.with_name("holds.json.damaged")
            os.replace(self._path, aside)  # noqa: PTH105
            return f"{self._path} is damaged ({error}): kept as {aside}, and the holds in it are forgotten"
        self.book = holds.live(holds.untied(book), moment())
        return None

    def keep(self, book: Book) -> None:
        """`book` is the book from now on; on disk when this returns. Raises `OSError`; then nothing has changed."""
        if book != self.book:
            write_durably(self._path, encode(book), mode=0o600)
            self.book = book
