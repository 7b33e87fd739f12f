"""Tells how a build goes: progress for those who follow it, output also to the logs. What is told is stored before it returns."""

from __future__ import annotations

from collections.abc import Sequence

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import builds, progress
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName
from lekiwi_deploy.wire.progress import Body, Note, OutputLine, Step, StepFinished, StepStarted


class Report:
    """The progress stream of one deployment that is being built."""

    def __init__(self, context: Context, id: DeploymentId, project: ProjectName) -> None:
        self._context = context
        self._id = id
        self._project = project

    async def started(self, step: Step, text: str) -> None:
        """A step begins."""
        await self.tell(StepStarted(step, text))

    async def output(self, step: Step, lines: Sequence[str]) -> None:
        """Lines that the step's command wrote."""
        now = self._context.now()
        async with self._context.database.transaction() as tx:
            await progress.append(tx, self._id, [OutputLine(step, line) for line in lines], now)
            await builds.store_output(tx, self._project, self._id, step, lines, now)

    async def finished(self, step: Step, ok: bool, text: str, seconds: float) -> None:
        """A step ended."""
        await self.tell(StepFinished(step, ok, text, round(seconds, 3)))

    async def note(self, text: str, *, warning: bool = False) -> None:
        """Something that a person should know."""
        await self.tell(Note(text, warning))

    async def tell(self, *bodies: Body) -> None:
        """Entries as they are."""
        async with self._context.database.transaction() as tx:
            await progress.append(tx, self._id, bodies, self._context.now())
