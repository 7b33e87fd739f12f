"""The download under way, of which there is at most one, and why others are not tried now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.download import Downloads, Job, NoRoom, Stopped, TicketExpired
from lekiwi_deploy.agent.net.network import Content
from lekiwi_deploy.errors import LekiwiError, Unavailable
from lekiwi_deploy.robot.backoff import fetch_delay
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.reasons import DiskFull, Fetching, Reason, Retrying


class Fetches:
    """`prepare` is awaited when everything is here. `finished(job, bytes received, error)` is called on the loop when a download
    ended, with None when it succeeded; not for one that was stopped."""

    def __init__(
        self,
        downloads: Downloads,
        *,
        prepare: Callable[[Job], Awaitable[None]],
        finished: Callable[[Job, int, Exception | None], None],
        progressed: Callable[[], None],
        randomness: Callable[[], float],
    ) -> None:
        self._downloads = downloads
        self._prepare = prepare
        self._finished = finished
        self._progressed = progressed
        self._randomness = randomness
        self._job: Job | None = None
        self._stop = threading.Event()
        self._failures: dict[DeploymentId, int] = {}
        self._blocked: dict[DeploymentId, tuple[Reason, float]] = {}
        self._received: tuple[int, int | None] = (0, None)
        self._task: asyncio.Task[None] | None = None

    def use(self, content: Content) -> None:
        """Where downloads come from."""
        self._downloads.content = content

    @property
    def deployment(self) -> DeploymentId | None:
        """What is being fetched."""
        return self._job.ref.id if self._job is not None else None

    def reason(self) -> Fetching | None:
        """How far it is."""
        if self._job is None:
            return None
        done, total = self._received
        return Fetching(done, total)

    def start(self, job: Job) -> None:
        """Begin; one under way is stopped first."""
        self.stop()
        self._job, self._stop, self._received = job, threading.Event(), (0, None)
        before = self._task
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(job, self._stop, before))
        self._task.add_done_callback(lambda task: _surface(loop, task))

    def stop(self) -> None:
        """What is under way is not wanted any more."""
        self._stop.set()
        self._job = None

    async def close(self) -> None:
        """Stop and wait for the thread, whose files are then in order."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2.0)

    def blocked(self) -> dict[DeploymentId, Reason]:
        """Why not to try these now."""
        now = machine.boottime()
        self._blocked = {id_: (reason, until) for id_, (reason, until) in self._blocked.items() if until > now}
        return {id_: reason for id_, (reason, _) in self._blocked.items()}

    def next_try_in(self) -> float | None:
        """Seconds until a block ends."""
        now = machine.boottime()
        return min((max(0.0, until - now) for _, until in self._blocked.values()), default=None)

    def block(self, deployment: DeploymentId, error: Exception) -> None:
        """It failed: do not try again for a while, longer each time."""
        failures = self._failures[deployment] = self._failures.get(deployment, 0) + 1
        delay = fetch_delay(failures, self._randomness())
        at = machine.utc_now() + timedelta(seconds=delay)
        reason: Reason = (
            DiskFull(error.needed, error.free) if isinstance(error, NoRoom) else Retrying(_words(error), at)
        )
        self._blocked[deployment] = (reason, machine.boottime() + delay)

    def unblock(self, deployment: DeploymentId | None = None) -> None:
        """Try again at once: the server is back, there is a new ticket, there is room."""
        for id_ in list(self._blocked) if deployment is None else [deployment]:
            self._blocked.pop(id_, None)

    async def _run(self, job: Job, stop: threading.Event, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int | None) -> None:
            loop.call_soon_threadsafe(self._note_progress, job, done, total)

        error: Exception | None = None
        received = 0
        try:
            received = await asyncio.to_thread(self._downloads.run, job, stop, progress)
            await self._prepare(job)
        except Stopped:
            return
        except (LekiwiError, OSError) as failure:
            error = failure
        if self._job is not job:
            return
        self._job = None
        if error is None:
            self._failures.pop(job.ref.id, None)
            self._blocked.pop(job.ref.id, None)
        self._finished(job, received, error)

    def _note_progress(self, job: Job, done: int, total: int | None) -> None:
        if self._job is job:
            self._received = (done, total)
            self._progressed()


def _surface(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    """A defect of ours must not be silent."""
    if not task.cancelled() and (error := task.exception()) is not None:
        loop.call_exception_handler({"message": "a download broke", "exception": error})


def _words(error: Exception) -> str:
    if isinstance(error, TicketExpired):
        return "waiting for the server's leave to download"
    if isinstance(error, Unavailable):
        return f"download failed: {error.message}"
    if isinstance(error, LekiwiError):
        return f"cannot be fetched: {error.message}"
    return f"disk error: {error.strerror if isinstance(error, OSError) else error}"
