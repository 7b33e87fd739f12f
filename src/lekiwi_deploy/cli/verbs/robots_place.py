"""`lekiwi robots move|drain|undrain`: where a robot belongs, and whether it takes part."""

from __future__ import annotations

import shlex

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.api import Robot
from lekiwi_deploy.wire.environments import MoveRobot
from lekiwi_deploy.wire.reasons import Drained, Unplaced, sentence


@click.command("move", cls=Verb)
@click.argument("name")
@click.argument("environment")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.pass_obj
def move(run: Run, name: str, environment: str, reason: str) -> None:
    """Put a robot into another environment: it leaves the rollouts of where it was, and gets what is live there, under the limits there."""
    before = run.api.robot(name)
    robot = run.api.move_robot(name, MoveRobot(environment=environment, reason=reason))
    run.out.object(robot)
    if before.environment == robot.environment and before.labels == robot.labels:
        run.out.line(f"{name} is in {robot.environment} already: nothing changed")
        return
    run.out.line(f"{name}: {before.environment} → {robot.environment}")
    changed = [f"{key}={value}" for key, value in robot.labels.items() if before.labels.get(key) != value]
    gone = [f"{key}-" for key in before.labels if key not in robot.labels]
    if changed or gone:
        run.out.say(f"   its labels: {' '.join([*changed, *gone])}")
    _follows(run, robot)
    if before.environment != robot.environment:
        run.out.say(Cell(f"   undo: lekiwi robots move {name} {before.environment}", "dim"))


def _follows(run: Run, robot: Robot) -> None:
    """What becomes of it there."""
    there = next((one for one in run.api.project(robot.project).environments if one.name == robot.environment), None)
    if robot.pin is not None:
        run.out.say(f"   it stays pinned to {robot.pin.deployment}: lekiwi robots resume {robot.name} ends that")
    elif there is None or there.live is None:
        run.out.say(f"   nothing is live in {robot.environment}: it keeps what it runs")
    elif robot.running is None or robot.running.deployment != there.live:
        run.out.say(f"   it goes over to {there.live}: lekiwi why {robot.name}")


@click.command("drain", cls=Verb)
@click.argument("name")
@click.option("--reason", default="", help="Why; shown by lekiwi why.")
@click.pass_obj
def drain(run: Run, name: str, reason: str) -> None:
    """Take a robot out of deployments: it keeps what it runs, through rollouts and rollbacks of its environment, until undrain."""
    before = run.api.robot(name)
    robot = run.api.drain_robot(name, reason)
    run.out.object(robot)
    if isinstance(before.out, Drained):
        run.out.line(f"{name} is {sentence(before.out)}; nothing changed")
        return
    running = robot.running.deployment if robot.running else None
    run.out.line(f"{name} is drained: it keeps {running or 'running nothing'}, and rollouts pass it by")
    if before.desired is not None and robot.desired is None:
        run.out.say(f"   {before.desired}, which it was about to take, is withdrawn")
    run.out.say(Cell(f"   undo: lekiwi robots undrain {name}", "dim"))


@click.command("undrain", cls=Verb)
@click.argument("name")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.pass_obj
def undrain(run: Run, name: str, reason: str) -> None:
    """Let a drained robot take part again: it goes over to what is live, under its environment's limits."""
    before = run.api.robot(name)
    robot = run.api.undrain_robot(name, reason)
    run.out.object(robot)
    if not isinstance(before.out, Drained):
        run.out.line(f"{name} is not drained: nothing changed")
        return
    run.out.line(f"{name} takes part in deployments again")
    _follows(run, robot)
    why = f" --reason {shlex.quote(before.out.why)}" if before.out.why else ""
    run.out.say(Cell(f"   undo: lekiwi robots drain {name}{why}", "dim"))


def say_place(run: Run, before: Robot, robot: Robot) -> None:
    """Where new labels put a robot."""
    if before.environment != robot.environment:
        run.out.say(f"   it moved from {before.environment} to {robot.environment}")
        _follows(run, robot)
    if isinstance(robot.out, Unplaced) and not isinstance(before.out, Unplaced):
        run.out.warn(f"{robot.name}: {sentence(robot.out)}")
