"""The agent's releases below /opt/lekiwi/agent, and what is written down about going over from one to another.

`current` names the one that runs, `previous` the one to go back to. While a release is on trial there is `unconfirmed`, which
`before-start` (see `units.py`) reads, too; it is written last when a trial begins and removed first once its end is written down.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.install import releases
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.content.durable import sync_path, write_durably
from lekiwi_deploy.wire.encoding import encode

_REMEMBERED = 20
"""Releases that failed here."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Going over from release `old` to `new`. `linked`: the old one was."""

    old: str
    new: str
    attempt: int
    linked: bool
    at: datetime


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A release failed here, in that attempt."""

    why: str
    attempt: int


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of attempts. `newest`: the number of the newest one that was begun."""

    newest: int = 0
    refused: dict[str, Refused] = {}
    schema: int = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial ended; kept until it was told."""

    old: str
    new: str
    stayed: bool
    why: str
    at: datetime


class Places:
    """Below `paths.agents`. Writing raises `OSError`."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.folder = paths.agents
        self._book = self.folder / "attempts.json"
        self._trial = self.folder / "trial.json"
        self._unconfirmed = self.folder / "unconfirmed"
        self._went_back = self.folder / "went-back"
        self._outcome = self.folder / "outcome.json"

    @property
    def current(self) -> str | None:
        """The release that starts next."""
        return releases.in_use(self.paths)

    def program(self, release: str) -> Path:
        """Its command."""
        return self.folder / release / "bin/lekiwi-agent"

    @property
    def on_trial(self) -> bool:
        """Whether a release is to be watched, from when that is decided until it may stay or went."""
        return self._unconfirmed.exists()

    def trial(self) -> Trial | None:
        """What is tried; None: nothing."""
        if not self.on_trial:
            return None
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._trial.read_bytes(), type=Trial)
        return None

    def starts(self) -> int:
        """How often the release on trial was started."""
        try:
            return int(self._unconfirmed.read_text().split()[2])
        except (OSError, ValueError, IndexError):
            return 0

    def went_back(self) -> str | None:
        """Why `before-start` went back by itself; None: it did not."""
        try:
            return self._went_back.read_text().strip()
        except OSError:
            return None

    def book(self) -> Book:
        """What is remembered; a damaged book is as good as none."""
        try:
            return msgspec.json.decode(self._book.read_bytes(), type=Book)
        except (OSError, msgspec.MsgspecError):
            return Book()

    def begin(self, trial: Trial) -> None:
        """`trial.new` is to be gone over to; durable on return."""
        book = self.book()
        self._write(self._book, msgspec.structs.replace(book, newest=max(book.newest, trial.attempt)))
        self._write(self._trial, trial)
        self._point("previous", trial.old)
        self._went_back.unlink(missing_ok=True)
        write_durably(self._unconfirmed, f"{trial.old} {trial.new} 0\n".encode())

    def go(self, release: str) -> None:
        """It starts next."""
        self._point("current", release)

    def go_back(self, trial: Trial, why: str) -> None:
        """The release before starts next, and whoever finds this half done knows why."""
        write_durably(self._went_back, f"{why}\n".encode())
        self.go(trial.old)

    def end(self, outcome: Outcome, attempt: int) -> None:
        """The trial is over. Doing it again changes nothing."""
        if not outcome.stayed:
            self._point("current", outcome.old)
            book = self.book()
            refused = {**book.refused, outcome.new: Refused(why=outcome.why, attempt=attempt)}
            refused = dict(sorted(refused.items(), key=lambda one: one[1].attempt)[-_REMEMBERED:])
            self._write(self._book, msgspec.structs.replace(book, refused=refused))
        self._write(self._outcome, outcome)
        self.forget_trial()

    def forget_trial(self) -> None:
        """Nothing is watched any more."""
        for path in (self._unconfirmed, self._went_back, self._trial):
            path.unlink(missing_ok=True)
        sync_path(self.folder)

    def outcome(self) -> Outcome | None:
        """How the last trial ended, if nobody was told as yet."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._outcome.read_bytes(), type=Outcome)
        return None

    def told(self) -> None:
        """Everybody knows."""
        self._outcome.unlink(missing_ok=True)

    def last_trial(self) -> Trial | None:
        """The one that `before-start` ended, which removes `unconfirmed` only."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._trial.read_bytes(), type=Trial)
        return None

    def _point(self, name: str, release: str) -> None:
        link = self.folder / name
        with contextlib.suppress(OSError):
            if str(link.readlink()) == release:
                return
        new = self.folder / f".{name}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(release)
        new.replace(link)
        sync_path(self.folder)

    def _write(self, path: Path, value: object) -> None:
        write_durably(path, msgspec.json.format(encode(value)) + b"\n")
