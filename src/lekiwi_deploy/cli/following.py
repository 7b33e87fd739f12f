"""Watching a deployment or rollout until it is decided: the loop around `narrator` and `verdict`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.cli.narrator import Line, Narrator
from lekiwi_deploy.cli.region import Lines, Region, spin
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import parse_span, span
from lekiwi_deploy.cli.verdict import verdict
from lekiwi_deploy.client.streams import follow_progress
from lekiwi_deploy.errors import LekiwiError, TimedOut
from lekiwi_deploy.wire.ids import DeploymentId, RolloutId
from lekiwi_deploy.wire.progress import Progress, RolloutStarted, RolloutWaits

INTERRUPTED = 130


@dataclass(frozen=True)
class Followed:
    """How it ended: exit code, what was seen, and the lines that say so."""

    code: int
    told: Narrator
    lines: tuple[Line, ...] = ()


def timeout_s(text: str | None) -> float | None:
    """`--timeout`: seconds, None to wait as long as it takes. Raises `BadInput`."""
    return None if text is None else parse_span(text)


def follow(
    run: Run,
    stream: DeploymentId | RolloutId,
    *,
    began: float,
    timeout: float | None,
    back: bool = False,
    rollout: RolloutStarted | None = None,
    cancel: str | None = None,
    began_here: bool = True,
) -> Followed:
    """Tells what happens up to the verdict, and what that is.

    `began`: when the person pressed Enter, on the transport's monotonic clock; with `began_here` False somebody else did, and
    the server's own times are told. `cancel`: the deployment to name when they may want to stop it. Ctrl-C ends the
    following only: exit code 130; at the timeout `TimedOut`. The work goes on in both cases.
    """
    transport = run.api.transport
    told = Narrator(back=back, verbose=run.out.verbose > 0, rollout=rollout)
    resume = f"lekiwi inspect {cancel or stream} --wait"
    deadline = None if timeout is None else began + timeout
    first_now = run.now()
    lag = timedelta(0)

    def render(seconds: float) -> Lines:
        now: datetime = first_now + timedelta(seconds=seconds) - lag
        head, *rest = told.now_lines(now)
        return [(*head, f"  {spin(seconds)}"), *rest]

    try:
        if rollout is not None and rollout.total:
            run.out.say(*told.headline(rollout))
        with Region(run.out, render) as region:

            def lost(error: LekiwiError) -> None:
                region.say(f"   {error.message}; trying again...")

            entries = follow_progress(transport, stream, deadline=deadline, lost=lost)
            with closing(entries):
                for entry in entries:
                    lag = run.now() - entry.at  # clocks differ: time on the screen is the server's
                    for line in told.tell(entry):
                        region.say(*line)
                    if isinstance(entry.body, RolloutWaits) and _parked(run, entry):
                        told.parked = True
                        break
    except KeyboardInterrupt:
        stop = "" if told.rollout else f"   stop it: lekiwi cancel {cancel}" if cancel else ""
        run.out.say("Stopped following; the work goes on.")
        run.out.say(f"   resume: {resume}{stop}")
        return Followed(INTERRUPTED, told)
    except TimedOut as error:
        waited = span(transport.monotonic() - began)
        raise TimedOut(
            f"not decided after {waited}; the work goes on", next=(resume,), details={"waited_s": timeout}
        ) from error
    end = verdict(told, transport.monotonic() - began if began_here else None)
    return Followed(end.code, told, end.lines)


def _parked(run: Run, entry: Progress) -> bool:
    """Whether the rollout waits for a person, still (an older entry of its story may tell of what is over)."""
    if not isinstance(entry.body, RolloutWaits) or not entry.body.for_a_person:
        return False
    course = run.api.rollout(entry.stream).course
    return course is not None and course.at == entry.body.at and course.waits == entry.body.what
