"""Following a stream through lost connections: what was seen is not told twice, nothing is skipped."""

from __future__ import annotations

from collections.abc import Callable, Generator

from lekiwi_deploy.client.address import path
from lekiwi_deploy.client.transport import Query, Transport
from lekiwi_deploy.errors import LekiwiError, TimedOut, Unavailable
from lekiwi_deploy.wire.api import Audit, LogEntry
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, RolloutId
from lekiwi_deploy.wire.progress import Closed, Progress, RolloutFinished, RolloutStarted

Lost = Callable[[LekiwiError], None]
"""Told once per loss, before the first try to come back."""


def follow_progress(
    transport: Transport,
    stream: DeploymentId | RolloutId,
    *,
    after: int = 0,
    follow: bool = True,
    deadline: float | None = None,
    give_up_s: float = 300.0,
    lost: Lost | None = None,
) -> Generator[Progress, None, None]:
    """What happens to a deployment, into its rollout, or to a rollout, up to the final entry (see `wire.progress`).

    `follow` False: only what is there already. A lost connection is taken up again after the last entry seen; `Unavailable`
    when that fails for `give_up_s`. `TimedOut` at `deadline` (of the transport's monotonic clock).
    """
    source, seen = str(stream), after
    back = _Return(transport, deadline, give_up_s, lost)
    while True:
        kind = "rollouts" if source.startswith("rol_") else "deployments"
        where = path("api", kind, source, "progress")
        final = False
        try:
            for line in transport.lines(where, query={"after": seen, "follow": follow}, deadline=deadline):
                back.reset()
                if not line:
                    continue
                entry = transport.decoded_line(line, Progress, where)
                if entry.stream == source and entry.seq <= seen:
                    continue
                source, seen = entry.stream, entry.seq
                final = isinstance(entry.body, Closed | RolloutFinished)
                if isinstance(entry.body, RolloutStarted) and source.startswith("dep_"):
                    source, seen = entry.body.rollout, 0
                yield entry
                if final and follow:
                    return
            if not follow:
                return
            back.wait(Unavailable(f"{transport.address} ended the stream early"))
        except Unavailable as error:
            back.wait(error)


def follow_logs(
    transport: Transport,
    project: ProjectName | str,
    query: Query,
    *,
    follow: bool,
    cursor: str | None = None,
    give_up_s: float = 3600.0,
    lost: Lost | None = None,
) -> Generator[LogEntry, None, None]:
    """Log lines, oldest first: history, then, with `follow`, what comes, until the caller stops. `query`: the route's filters.

    Taken up again after the last line seen, as `follow_progress`.
    """
    where = path("api", "projects", project, "logs")
    back = _Return(transport, None, give_up_s, lost)
    while True:
        given = dict(query) if cursor is None else {**query, "cursor": cursor, "limit": None}
        try:
            for line in transport.lines(where, query={**given, "follow": follow}):
                back.reset()
                if line:
                    entry = transport.decoded_line(line, LogEntry, where)
                    cursor = entry.cursor
                    yield entry
            if not follow:
                return
            back.wait(Unavailable(f"{transport.address} ended the stream early"))
        except Unavailable as error:
            back.wait(error)


def follow_activity(
    transport: Transport,
    project: ProjectName | str,
    query: Query,
    *,
    follow: bool,
    give_up_s: float = 3600.0,
    lost: Lost | None = None,
) -> Generator[Audit, None, None]:
    """Changes, oldest first: all that there are (or the last `limit` of `query`), then, with `follow`, what comes, until the caller stops.

    Taken up again after the last one seen, as `follow_progress`.
    """
    where = path("api", "projects", project, "activity")
    back = _Return(transport, None, give_up_s, lost)
    cursor: int | None = None
    while True:
        given = dict(query) if cursor is None else {**query, "cursor": cursor, "limit": None}
        try:
            for line in transport.lines(where, query={**given, "follow": follow}):
                back.reset()
                if line:
                    entry = transport.decoded_line(line, Audit, where)
                    cursor = max(cursor or 0, entry.seq)
                    yield entry
            if not follow:
                return
            back.wait(Unavailable(f"{transport.address} ended the stream early"))
        except Unavailable as error:
            back.wait(error)


class _Return:
    """When to try again: at once jittered, then up to 10 s apart, until `give_up_s` went by without a line."""

    def __init__(self, transport: Transport, deadline: float | None, give_up_s: float, lost: Lost | None) -> None:
        self._transport = transport
        self._deadline = deadline
        self._give_up_s = give_up_s
        self._lost = lost
        self._attempt = 0
        self._since = 0.0

    def reset(self) -> None:
        self._attempt = 0

    def wait(self, error: Unavailable) -> None:
        now = self._transport.monotonic()
        if self._attempt == 0:
            self._since = now
            if self._lost is not None:
                self._lost(error)
        if now - self._since > self._give_up_s:
            raise error
        if self._deadline is not None and now >= self._deadline:
            raise TimedOut("waiting ended; the work goes on") from error
        self._attempt += 1
        pause = self._transport.pause_s(self._attempt)
        self._transport.pause(pause if self._deadline is None else min(pause, self._deadline - now))
