"""`lekiwi status`, and `lekiwi` alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.robot_state import has_labels, state
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, ahead
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs.listing import frozen
from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.wire.api import Deployment, DeploymentStatus, Environment, Robot
from lekiwi_deploy.wire.reasons import in_zone, sentence
from lekiwi_deploy.wire.remedies import remedy

_TOLD: Mapping[DeploymentStatus, tuple[str, str]] = MappingProxyType(
    {
        DeploymentStatus.QUEUED: ("🔄 ", "cyan"),
        DeploymentStatus.BUILDING: ("🔄 ", "cyan"),
        DeploymentStatus.ROLLING: ("🔄 ", "cyan"),
        DeploymentStatus.BUILT: ("⏸  ", "yellow"),
        DeploymentStatus.PARTIAL: ("⚠  ", "yellow"),
        DeploymentStatus.ROLLED_BACK: ("⏪ ", "red"),
        DeploymentStatus.FAILED: ("❌ ", "red"),
        DeploymentStatus.CANCELED: ("❌ ", "red"),
    }
)
"""What is said of an environment's newest deployment; nothing of one that is live or was replaced."""
_EVERY_S = 2.0
_REDRAW_S = 10.0  # so that ages move on


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints: environments, what is live in them, what came after that and is not live, and every robot."""

    project: str
    environments: tuple[Environment, ...]
    live: tuple[Deployment, ...]
    newer: tuple[Deployment, ...]
    robots: tuple[Robot, ...]
    schema: str = "lekiwi.status/1"


@click.command("status", cls=Verb, uses=("environment", "project", "robot", "tags"))
@click.option("--watch", is_flag=True, help="Go on: whenever something changed.")
@click.pass_obj
def status(run: Run, watch: bool) -> None:
    """What is live in which environment, and every robot that is not just running it, with the reason."""
    seen = _look(run)
    redraw = watch and run.out.redraws
    if redraw:
        run.out.clear_screen()
    _show(run, seen)
    shown_at = time.monotonic()
    while watch:
        time.sleep(_EVERY_S)
        before = seen
        try:
            seen = _look(run)
        except Unavailable as error:
            run.out.say(Cell(f"{error.message}; trying again...", "yellow"))
            continue
        if seen != before or (redraw and time.monotonic() - shown_at > _REDRAW_S):
            shown_at = time.monotonic()
            if redraw:
                run.out.clear_screen()
            _show(run, seen)


def _look(run: Run) -> Status:
    wanted, tags = run.flags.environment, run.tags()
    project = run.api.project(run.project)
    environments = tuple(e for e in project.environments if wanted in (None, e.name))
    robots = run.api.robots(project=project.name, environment=wanted).robots
    recent = {d.id: d for d in run.api.deployments(project.name, {"limit": 50}).deployments}
    live = []
    for name in dict.fromkeys(e.live for e in environments if e.live):
        live.append(recent[name] if name in recent else run.api.deployment(name).deployment)
    return Status(
        project=project.name,
        environments=environments,
        live=tuple(live),
        newer=tuple(filter(None, (_newer(environment, recent.values()) for environment in environments))),
        robots=tuple(r for r in robots if run.flags.robot in (None, r.name) and has_labels(r, tags)),
    )


def _robots(environment: Environment) -> str:
    if not environment.robots:
        return "no robots"
    if environment.live is None:
        return "1 robot" if environment.robots == 1 else f"{environment.robots} robots"
    return f"{environment.healthy}/{environment.robots} healthy"


def _lease(environment: Environment, now: datetime) -> str | Cell:
    """Of a preview how long it has its robots; of their home how many it has lent."""
    if environment.preview is not None and environment.robots:
        return Cell(f"lent {ahead(environment.until, now)}".replace("in ", "for ", 1), "dim")
    return Cell(f"{environment.lent} lent", "dim") if environment.lent else ""


def _newer(environment: Environment, recent: Iterable[Deployment]) -> Deployment | None:
    """The newest deployment of the environment, unless it is live or was before something else was put in its place."""
    newest = next((d for d in recent if d.environment == environment.name), None)
    return newest if newest is not None and newest.status in _TOLD else None


def _show(run: Run, seen: Status) -> None:
    out, now = run.out, run.now()
    out.object(seen)
    live = {deployment.id: deployment for deployment in seen.live}
    out.say(Cell(seen.project, "bold"), Cell(f"  {run.target.api}", "dim"))
    if not seen.environments:
        out.say("Nothing yet. Add a robot, then push or deploy:")
        out.say(Cell("   → ", "dim"), Cell("lekiwi robots add NAME --group production", "cyan"))
        return

    def line(environment: Environment) -> tuple[str | Cell, ...]:
        deployment = live.get(environment.live) if environment.live else None
        ill = sum(
            robot.online and robot.running is not None and not robot.running.healthy
            for robot in seen.robots
            if robot.environment == environment.name
        )
        return (
            environment.name,
            environment.live or "nothing",
            deployment.version if deployment else "",
            ago(deployment.created_at, now) if deployment else "",
            (deployment.commit or "")[:7] if deployment else "",
            _robots(environment),
            Cell(f"{environment.robots - environment.online} offline", "yellow")
            if environment.robots > environment.online
            else Cell(f"{ill} not healthy", "red")
            if ill > 0
            else _lease(environment, now),
        )

    columns = ("ENV", "LIVE", "VERSION", "AGE", "COMMIT", "ROBOTS", "")
    drops = (0, 0, 1, 2, 3, 0, 4)
    out.table(
        [Column(title, drop) for title, drop in zip(columns, drops, strict=True)], [line(e) for e in seen.environments]
    )
    for made in seen.newer:
        sign, style = _TOLD[made.status]
        what = Cell(made.status.replace("_", " "), style)
        error = f": {made.error.splitlines()[0]}" if made.error else ""
        out.line(sign, f"{made.environment}: {made.id} {made.version} ", what, f" {ago(made.created_at, now)}{error}")
        for reason in made.waiting:
            out.line(Cell("   ", "dim"), sentence(in_zone(reason, None)))
            out.line(Cell("   → ", "dim"), Cell(remedy(reason), "cyan"))
    for environment in seen.environments:
        for remark in frozen(environment, now):
            out.line(*remark)
    odd = [(robot, state(robot)) for robot in seen.robots]
    rows = [
        (robot.name, how.word, robot.running.deployment if robot.running else "nothing", how.why)
        for robot, how in odd
        if not how.fine or run.flags.robot or run.out.verbose
    ]
    if rows:
        out.line()
        out.table((Column("ROBOT"), Column("STATE"), Column("RUNS", 1), Column("WHY")), rows)
