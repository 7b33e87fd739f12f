"""The story of a deployment or rollout, entry by entry, with its times."""

from __future__ import annotations

from typing import assert_never

import msgspec

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural, size, span
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.ids import DeploymentId, RolloutId
from lekiwi_deploy.wire.progress import (
    Body,
    Built,
    Closed,
    Note,
    OutputLine,
    Progress,
    RobotMoved,
    RolloutFinished,
    RolloutStarted,
    RolloutWaits,
    StepFinished,
    StepStarted,
)
from lekiwi_deploy.wire.reasons import sentence


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """What `inspect --timeline --json` prints: all but what build and test wrote."""

    entries: tuple[Progress, ...]
    schema: str = "lekiwi.timeline/1"


def show(run: Run, stream: DeploymentId | RolloutId) -> None:
    """Each entry on a line: the time on this machine's clock face, and how long after the first one."""
    from lekiwi_deploy.client.streams import follow_progress

    found = follow_progress(run.api.transport, stream, follow=False)
    entries = tuple(entry for entry in found if not isinstance(entry.body, OutputLine))
    run.out.object(Timeline(entries=entries))
    for entry in entries:
        after = span((entry.at - entries[0].at).total_seconds())
        run.out.line(f"{entry.at.astimezone():%d %b %H:%M:%S}  ", Cell(f"+{after:<8} ", "dim"), said(entry.body))


def said(body: Body) -> str:
    """An entry in a line."""
    match body:
        case StepStarted(step, text):
            return f"{step.value} begins: {text}"
        case StepFinished(step, ok, text, seconds):
            return f"{step.value} {'done' if ok else 'failed'} in {span(seconds)}" + (f": {text}" if text else "")
        case OutputLine(_, text) | Note(text):
            return text
        case Built(bytes=count, files=files):
            return f"built: {plural(files, 'file')}, {size(count)}"
        case Closed(status, text):
            return f"{status}: {text}" if text else status
        case RolloutStarted(rollout=rollout, environment=environment, total=total):
            return f"goes to {plural(total, 'robot')} of {environment} ({rollout})"
        case RobotMoved(robot=robot, status=status, why=why, waiting=waiting):
            because = "; ".join(sentence(reason) for reason in waiting) or why or ""
            return f"{robot} {status.replace('_', ' ')}" + (f": {because}" if because else "")
        case RolloutWaits(at=at, of=of, text=text):
            return f"step {at} of {of}: {text}"
        case RolloutFinished(status=status, live=live, total=total, text=text):
            return f"{status.replace('_', ' ')}: {live} of {plural(total, 'robot')}" + (f"; {text}" if text else "")
        case never:
            assert_never(never)
