"""`lekiwi inspect`"""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural, size, span
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs import listing
from lekiwi_deploy.wire.api import Deployment, DeploymentDetail, Rollout
from lekiwi_deploy.wire.ids import DeploymentId, RolloutId
from lekiwi_deploy.wire.progress import OutputLine, RolloutStarted
from lekiwi_deploy.wire.reasons import in_zone, sentence
from lekiwi_deploy.wire.switch_words import in_words


class Inspected(DeploymentDetail, frozen=True, kw_only=True):
    """What `--json --logs` prints. `output`: what build and test wrote."""

    output: tuple[OutputLine, ...] = ()


@click.command("inspect", cls=Verb)
@click.argument("deployment")
@click.option("--wait", is_flag=True, help="Until it is decided; the exit code is that of `lekiwi deploy`.")
@click.option("--timeout", metavar="SPAN", help="With --wait: no longer than that.")
@click.option("--robots", is_flag=True, help="How every robot fares with it.")
@click.option("--logs", is_flag=True, help="What its build and test wrote.")
@click.option("--timeline", is_flag=True, help="What happened to it, with the times.")
@click.option(
    "--diff", "other", metavar="DEP2", help="What differs from DEP2 to it (or from what is live in that environment)."
)
@click.pass_obj
def inspect(
    run: Run,
    deployment: str,
    wait: bool,
    timeout: str | None,
    robots: bool,
    logs: bool,
    timeline: bool,
    other: str | None,
) -> int:
    """One deployment (id or the beginning of one), or one rollout (rol_…): what it is and how it fares."""
    began, code = time.monotonic(), 0
    is_rollout = deployment.startswith("rol_")
    stream = RolloutId(deployment) if is_rollout else run.api.deployment(deployment).deployment.id
    if wait:
        from lekiwi_deploy.cli.following import INTERRUPTED, follow, timeout_s

        seen = run.api.rollout(deployment) if is_rollout else None
        followed = follow(
            run,
            stream,
            began=began,
            timeout=timeout_s(timeout),
            back=seen is not None and seen.kind != "deploy",
            rollout=_started(run, seen) if seen is not None else None,
            cancel=None if seen is not None else str(stream),
            began_here=False,
        )
        for line in followed.lines:
            run.out.say(*line)
        code = followed.code
        if code == INTERRUPTED:
            return code
    if timeline:
        from lekiwi_deploy.cli.timeline import show

        show(run, stream)
        return code
    if is_rollout:
        rollout = run.api.rollout(deployment)
        run.out.object(rollout)
        if not run.out.json:
            _rollout(run, rollout, robots=True)
        return code
    detail = run.api.deployment(stream)
    if other is not None:
        _differ(run, detail, other)
        return code
    written = tuple(_written(run, detail.deployment.id)) if logs else None
    run.out.object(detail if written is None else msgspec.convert({**_fields(detail), "output": written}, Inspected))
    if not run.out.json:
        _show(run, detail)
        if detail.rollout is not None:
            _rollout(run, detail.rollout, robots=robots)
        for wrote in written or ():
            run.out.line(Cell(f"{wrote.step.value:<6} ", "dim"), wrote.text)
    return code


def _differ(run: Run, detail: DeploymentDetail, other: str) -> None:
    from lekiwi_deploy.cli.differing import lines_of

    made = detail.deployment
    found = run.api.diff(made.project, other, made.id, environment=made.environment, utc_offset_min=run.utc_offset_min)
    run.out.object(found)
    for line in lines_of(found, run.now(), verbose=run.out.verbose > 0):
        run.out.line(*line)


def _started(run: Run, rollout: Rollout) -> RolloutStarted:
    version = run.api.deployment(rollout.deployment).deployment.version
    return RolloutStarted(rollout.id, rollout.deployment, version, rollout.environment, rollout.counts.total)


def _show(run: Run, detail: DeploymentDetail) -> None:
    made = detail.deployment
    status = Cell(made.status.replace("_", " "), "green" if made.active else "")
    run.out.fields(
        [
            ("deployment", Cell(made.id, "bold")),
            ("version", made.version),
            ("status", Cell(status.text + (", active" if made.active else ""), status.style)),
            ("error", Cell(made.error or "", "red")),
            *(("waits", Cell(sentence(in_zone(reason, None)), "yellow")) for reason in made.waiting),
            ("live in", ", ".join(made.live_in) if len(made.live_in) > 1 else ""),
            ("aliases", ", ".join(made.aliases)),
            ("project", made.project + (f", {made.environment}" if made.environment else "")),
            ("source", _source(made)),
            ("message", (made.message or "").split("\n")[0]),
            ("made", f"{ago(made.created_at, run.now())} by {made.by}"),
            ("stack", made.stack or ""),
            ("content", f"{plural(made.files, 'file')}, {size(made.bytes)}" if made.files else ""),
            ("build", span(made.build_s) if made.build_s is not None else ""),
            ("test", f"{made.tests or 'done'} ({span(made.test_s)})" if made.test_s is not None else ""),
            ("services", ", ".join(detail.services)),
            ("platforms", ", ".join(detail.platforms)),
            ("digest", f"sha256:{made.digest}" if made.digest else ""),
            *(("meta", f"{name}={value}") for name, value in sorted(detail.meta.items())),
            ("url", made.url),
        ]
    )


def _source(made: Deployment) -> str:
    where = (
        f"{made.branch}@{made.commit[:7]}" if made.branch and made.commit else made.commit or made.branch or "a folder"
    )
    where += ", deployed again" if made.source == "redeploy" else ""
    return where + (f" by {made.author}" if made.author else "")


def _rollout(run: Run, rollout: Rollout, *, robots: bool) -> None:
    took = span((rollout.finished_at - rollout.created_at).total_seconds()) if rollout.finished_at else "under way"
    counts = listing.robots(rollout.counts) or "no robots"
    run.out.fields(
        [
            (
                "rollout",
                f"{rollout.id} ({rollout.kind}) to {rollout.environment}: {rollout.status.value.replace('_', ' ')}",
            ),
            ("robots", f"{counts}, {took}"),
            ("reason", rollout.reason),
            ("before", rollout.previous or ""),
        ]
    )
    if not robots or not rollout.robots:
        return
    run.out.line()
    rows = []
    for robot in rollout.robots:
        outcome = robot.outcome
        took = span((robot.confirmed_at - rollout.created_at).total_seconds()) if robot.confirmed_at else ""
        switch = f"{outcome.switch_ms:.0f} ms" if outcome and outcome.switch_ms is not None else ""
        gap = f"{outcome.gap_ms:.0f} ms" if outcome and outcome.gap_ms is not None else ""
        how = in_words(outcome.switches) if outcome else ""
        fetched = size(outcome.wire_bytes) if outcome and outcome.wire_bytes else ""
        why = "; ".join(sentence(reason) for reason in robot.waiting) or (
            outcome.why if outcome and outcome.why else ""
        )
        rows.append((robot.robot, robot.status.value.replace("_", " "), took, switch, gap, how, fetched, why))
    titles = (
        ("ROBOT", 0),
        ("STATUS", 0),
        ("CONFIRMED", 1),
        ("SWITCH", 2),
        ("GAP", 3),
        ("HOW", 5),
        ("FETCHED", 4),
        ("WHY", 0),
    )
    run.out.table([Column(title, drop) for title, drop in titles], rows)


def _written(run: Run, deployment: DeploymentId) -> Iterator[OutputLine]:
    from lekiwi_deploy.client.streams import follow_progress

    for entry in follow_progress(run.api.transport, deployment, follow=False):
        if isinstance(entry.body, OutputLine):
            yield entry.body


def _fields(detail: DeploymentDetail) -> dict[str, object]:
    return {name: getattr(detail, name) for name in detail.__struct_fields__}
