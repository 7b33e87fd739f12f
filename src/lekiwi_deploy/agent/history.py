"""What happened on the robot, told three times: as an event for the server's history (kept until it is acknowledged), as a line of
the agent's own log, and on stderr for whoever watches."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.log_lines import cleaned
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import Event, LogLine, Outcome, Result

_GATHER_S = 0.05
"""Events are put on disk together: nothing is told to the server before, and a switch does not wait for it."""
_WARNINGS = frozenset(
    {
        "exited",
        "killed",
        "damaged",
        "rolled_back",
        "failed",
        "trouble",
        "log_lost",
        "not_recorded",
        "refused",
        "hook_failed",
    }
)


class History:
    """`appended` is called when there is more to send; `hide` gives what may be shown of a text."""

    def __init__(
        self, events: Spool, logs: Spool, *, appended: Callable[[], None], hide: Callable[[str], str] = str
    ) -> None:
        self._hide = hide
        self._events = events
        self._logs = logs
        self._appended = appended
        self._waiting: list[bytes] = []
        self._lines: list[bytes] = []
        self._due: asyncio.TimerHandle | None = None
        self._lost = 0
        self._outcome: Outcome | None = None

    def catch_up(self, outcome: Outcome | None) -> None:
        """Tell of the ledger's newest outcome if the agent before died after writing it down and before telling."""
        if outcome is not None and self._events.mark.get("outcome") != _key(outcome):
            text = f"{outcome.deployment} was {outcome.result.value.replace('_', ' ')}" + (
                f": {outcome.why}" if outcome.why else ""
            )
            self.note("good" if outcome.result is Result.GOOD else "outcome", text, outcome.deployment, outcome=outcome)

    def note(
        self,
        kind: str,
        text: str,
        deployment: DeploymentId | None = None,
        service: str | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """`kind` is a snake_case word, `text` one line for a person."""
        at = machine.utc_now()
        text = self._hide(cleaned(" ".join(text.splitlines()).encode("utf-8", "replace")))[:4000]
        event = Event(at=at, kind=kind, text=text, deployment=deployment, service=service, outcome=outcome)
        level = "warning" if kind in _WARNINGS else "info"
        line = LogLine(at=at, service="agent", deployment=deployment, stream="agent", text=text, level=level)
        self._waiting.append(msgspec.json.encode(event))
        if outcome is not None:
            self._outcome = outcome
        self._lines.append(msgspec.json.encode(line))
        _say(f"{at:%H:%M:%S} {text}")
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHER_S, self.flush)

    def trouble(self, text: str) -> None:
        """Something that a person should know and that stops nothing."""
        self.note("trouble", text)

    def flush(self) -> None:
        """Put what was noted on disk."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        events, self._waiting = self._waiting, []
        lines, self._lines = self._lines, []
        if not events:
            return
        try:
            mark = None if self._outcome is None else msgspec.json.encode({"outcome": _key(self._outcome)})
            self._events.append(events, mark)
            self._outcome = None
            self._logs.append(lines)
        except OSError as error:
            self._lost += len(events)
            _say(f"{len(events)} events are lost: {error.strerror}")
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.trouble(f"{lost} events were lost while the disk could not be written")
        self._appended()


def _key(outcome: Outcome) -> str:
    return f"{outcome.deployment} {outcome.generation} {outcome.result}"


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # what stderr leads to may be full or closed: no reason to stop
        print(text, file=sys.stderr, flush=True)  # noqa: T201
