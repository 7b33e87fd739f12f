"""What services write → the log spool, out of the system's journal; nothing is lost while there is no agent.

Each entry says which deployment it is of (`LogExtraFields=` of its unit), and the spool remembers the place in the journal together with
the lines that were read up to it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.log_lines import MAX_LINE, Hide, as_it_is, cleaned, level_of
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors.systemd.places import SLICE, instance_of
from lekiwi_deploy.agent.supervisors.systemd.sd_journal import Journal, JournalError, synchronize
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import LogLine

_MARK = "journal"
_SETTLE_S = 0.05
"""After a sign of more we wait so long for more of it."""
_AT_ONCE = 500
"""Entries read before other things have their turn."""
_DRAINS = 8
"""Batches that are read without giving anything else a turn."""
_AGAIN_S = 2.0
_KEPT_LINES = 20
_SYNCHRONIZE_S = 0.025
_DROPPED = "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e"
"""journald's word that a program wrote more than it takes."""
_SUPPRESSED = re.compile(rb"Suppressed (\d+) messages from (\S+)")
_LEVELS = {b"0": "error", b"1": "error", b"2": "error", b"3": "error", b"4": "warning", b"5": "info", b"7": "debug"}
"""syslog's severities; 6 is what is written to the standard output without saying anything of it."""


@dataclass(frozen=True)
class _Followed:
    service: str
    deployment: DeploymentId
    since: int  # microseconds of the wall clock


class JournalTail:
    """Of all services, as `Tail`. `appended` is called when there is more to send, `trouble` with what a person should know; `hide`: what may
    be shown."""

    def __init__(
        self, spool: Spool, *, appended: Callable[[], None], trouble: Callable[[str], None], hide: Hide = as_it_is
    ) -> None:
        self._spool = spool
        self._hide = hide
        self._broken: set[str] = set()  # units whose last line was so long that journald may have cut it in two
        self._appended = appended
        self._trouble = trouble
        self._followed: dict[str, _Followed] = {}
        self._unsaved: tuple[list[bytes], bytes] | None = None
        self._due: asyncio.TimerHandle | None = None
        self._journal: Journal | None = None
        self._failed = False
        self._open()

    def follow(self, instance: str, service: str, path: Path, deployment: DeploymentId) -> None:
        """`instance`, a version of `service`, is of `deployment` from now on. `path` is for services that write to files."""
        known = self._followed.get(instance)
        if known is None or known.deployment != deployment:
            self._followed[instance] = _Followed(service, deployment, _now())

    def leave(self, instance: str) -> None:
        """It has ended. What it wrote last comes when journald has written it."""
        self._followed.pop(instance, None)
        self._soon(_SETTLE_S)

    def drain(self, instance: str, *, ended: bool = False) -> None:
        """Read much of what is there now, of this one and of all others. `ended`: it wrote its last lines a moment ago."""
        if ended and instance in self._followed:
            synchronize(_SYNCHRONIZE_S)
        for _ in range(_DRAINS):
            if not self._read():
                return

    def last_lines(self, instance: str) -> tuple[str, ...]:
        """The newest lines that it wrote, oldest first."""
        known = self._followed.get(instance)
        if known is None:
            return ()
        synchronize(_SYNCHRONIZE_S)
        try:
            journal = Journal(f"LEKIWI_INSTANCE={instance}")
            try:
                found = journal.newest(_KEPT_LINES, known.since, "MESSAGE")
            finally:
                journal.close()
        except JournalError as error:
            return (f"… {error.message}",)
        return tuple(text for message in found for text in _texts(message, self._hide, False))[-_KEPT_LINES:]

    def close(self) -> None:
        """Read what is there and stop."""
        for _ in range(_DRAINS):
            if not self._read():
                break
        if self._due is not None:
            self._due.cancel()
        self._shut()

    def _open(self) -> None:
        try:
            self._journal = Journal(f"_SYSTEMD_SLICE={SLICE}", _DROPPED)
            place = self._spool.mark.get(_MARK)
            if isinstance(place, str):
                self._journal.go_after(place)
            else:
                self._journal.go_to_time(_now())
            asyncio.get_running_loop().add_reader(self._journal.fd, self._wake)
        except JournalError as error:
            self._lose(error)
            return
        if self._failed:
            self._trouble("the output of services is read again")
            self._failed = False
        self._soon(_SETTLE_S)

    def _shut(self) -> None:
        if self._journal is not None:
            asyncio.get_running_loop().remove_reader(self._journal.fd)
            self._journal.close()
            self._journal = None

    def _lose(self, error: JournalError) -> None:
        if not self._failed:
            self._trouble(f"the output of services is not read at the moment: {error.message}")
        self._failed = True
        self._shut()
        self._soon(_AGAIN_S)

    def _wake(self) -> None:
        assert self._journal is not None
        try:
            self._journal.process()
        except JournalError as error:
            self._lose(error)
            return
        self._soon(_SETTLE_S)

    def _soon(self, delay_s: float) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(delay_s, self._go_on)

    def _go_on(self) -> None:
        self._due = None
        if self._journal is None:
            self._open()
        elif self._read():
            self._soon(0)

    def _read(self) -> bool:
        """Some of what is there; whether there may be more."""
        if self._journal is None or (self._unsaved is not None and not self._save()):
            return False
        records: list[bytes] = []
        count = 0
        try:
            while count < _AT_ONCE and self._journal.next():
                count += 1
                records += self._take(self._journal)
            if not count:
                return False
            mark = msgspec.json.encode({_MARK: self._journal.cursor()})
        except JournalError as error:
            self._lose(error)
            return False
        self._unsaved = (records, mark)
        return self._save() and count == _AT_ONCE

    def _save(self) -> bool:
        assert self._unsaved is not None
        records, mark = self._unsaved
        try:
            self._spool.append(records, mark)
        except OSError as error:
            if not self._failed:
                self._trouble(f"log lines wait in the journal: {error.strerror}")
            self._failed = True
            self._soon(_AGAIN_S)
            return False
        self._unsaved, self._failed = None, False
        if records:
            self._appended()
        return True

    def _take(self, journal: Journal) -> list[bytes]:
        """The lines of the entry that we are at."""
        message = journal.field("MESSAGE") or b""
        unit = (journal.field("_SYSTEMD_UNIT") or b"").decode("utf-8", "replace")
        suppressed = _SUPPRESSED.match(message)
        if suppressed and journal.field("N_DROPPED") is not None:
            unit = suppressed[2].decode("utf-8", "replace")
            message = b"\xe2\x80\xa6 %b lines of output lost: it wrote too much at once" % suppressed[1]
        instance = instance_of(unit)
        if instance is None:
            return []
        known = self._followed.get(instance)
        service = (journal.field("LEKIWI_SERVICE") or b"").decode() or (known.service if known else instance[:-9])
        deployment = (journal.field("LEKIWI_DEPLOYMENT") or b"").decode() or (known.deployment if known else None)
        at = datetime.fromtimestamp(journal.microseconds() / 1e6, UTC)
        level = _LEVELS.get(journal.field("PRIORITY") or b"6")
        texts = _texts(message, self._hide, unit in self._broken)
        (self._broken.add if len(message) > MAX_LINE else self._broken.discard)(unit)
        return [
            msgspec.json.encode(
                LogLine(
                    at=at,
                    service=service,
                    deployment=DeploymentId(deployment) if deployment else None,
                    stream="out",
                    text=text,
                    level=level or level_of(text),
                )
            )
            for text in texts
        ]


def _now() -> int:
    return int(machine.utc_now().timestamp() * 1e6)


def _texts(message: bytes, hide: Hide, broken: bool) -> list[str]:
    """Its lines. `broken`: it may begin in the middle of one."""
    first, *more = message.split(b"\n")
    return [_text(first, hide, broken), *(_text(line, hide, False) for line in more)]


def _text(line: bytes, hide: Hide, broken: bool) -> str:
    over = len(line) - MAX_LINE
    text = hide(cleaned(line[:MAX_LINE].rstrip(b"\r")), broken, over > 0)
    return text + (f" … {over} bytes more" if over > 0 else "")
