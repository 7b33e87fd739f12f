"""`lekiwi robots upgrade`"""

from __future__ import annotations

import time

import click

from lekiwi_deploy.cli.flags import Verb, because
from lekiwi_deploy.cli.following import timeout_s
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.errors import EXIT_CODE, BadInput, TimedOut, Unavailable
from lekiwi_deploy.wire.agents import AgentUpgrade, NewAgentUpgrade, UpgradeRobotStatus, UpgradeStatus, UpgradingRobot
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId

_LOOK_S = 1.0
_ENDED = (UpgradeRobotStatus.DONE, UpgradeRobotStatus.FAILED, UpgradeRobotStatus.SKIPPED)
_COLOURS = {UpgradeRobotStatus.DONE: "green", UpgradeRobotStatus.FAILED: "red", UpgradeRobotStatus.ASKED: "yellow"}


@click.command("upgrade", cls=Verb, uses=("environment", "project"))
@because
@click.argument("names", nargs=-1, metavar="NAME…")
@click.option("--group", metavar="GROUP", help="All robots of this environment.")
@click.option("--all", "everybody", is_flag=True, help="All robots of the project.")
@click.option("--version", "release", metavar="RELEASE", help="Only if the server gives this one.")
@click.option("--again", is_flag=True, help="Also where it failed before.")
@click.option("--no-wait", is_flag=True, help="Do not watch; it goes on by itself.")
@click.option("--timeout", metavar="SPAN", help="Watch no longer than this, such as 10m.")
@click.pass_obj
def upgrade(
    run: Run,
    names: tuple[str, ...],
    group: str | None,
    everybody: bool,
    release: str | None,
    again: bool,
    no_wait: bool,
    timeout: str | None,
) -> int:
    """Have robots go over to the agent that the server gives: one first, then more and more, nobody after the first failure.

    Each robot fetches it, tries it beside the one that runs, and goes back by itself within a minute when it does not work. What the
    robot runs is not touched. A robot that is busy waits. Exit code 5 when it failed somewhere, 7 at the timeout.
    """
    if sum((bool(names), group is not None, everybody)) != 1:
        raise BadInput(
            "which robots? Names, or --group, or --all",
            next=(
                "lekiwi robots upgrade NAME",
                "lekiwi robots upgrade --group production",
                "lekiwi robots upgrade --all",
            ),
        )
    asked = NewAgentUpgrade(
        robots=tuple(map(RobotId, names)),
        project=None if names else ProjectName(run.project),
        environment=EnvironmentName(group) if group is not None else None,
        release=release,
        again=again,
    )
    limit = timeout_s(timeout)
    now = run.api.upgrade_agents(asked)
    run.out.say(f"{plural(len(now.robots), 'robot')} to the agent {now.release}")
    if not no_wait:
        now = _watched(run, now, None if limit is None else time.monotonic() + limit)
    run.out.object(now)
    _print(run, now)
    if no_wait or now.status is not UpgradeStatus.ROLLING:
        return EXIT_CODE["rolled_back"] if now.status is UpgradeStatus.HALTED else 0
    raise TimedOut("it goes on", next=(f"lekiwi api GET /api/agent-upgrades/{now.id}", "lekiwi robots list"))


def _watched(run: Run, first: AgentUpgrade, deadline: float | None) -> AgentUpgrade:
    """Tell what changes until it is over, everybody that is left is offline, or the deadline."""
    now, told = first, dict[str, tuple[UpgradeRobotStatus, str]]()
    while True:
        for robot in now.robots:
            state = (robot.status, robot.why)
            if told.get(robot.robot, (UpgradeRobotStatus.PENDING, robot.why)) != state:
                run.out.say(*_line(robot))
            told[robot.robot] = state
        if now.status is not UpgradeStatus.ROLLING or _only_absent(now):
            return now
        if deadline is not None and time.monotonic() >= deadline:
            return now
        time.sleep(_LOOK_S)
        try:
            now = run.api.agent_upgrade(now.id)
        except Unavailable as error:
            run.out.detail(f"{error.message}; trying again")


def _only_absent(now: AgentUpgrade) -> bool:
    left = [robot for robot in now.robots if robot.status not in _ENDED]
    return bool(left) and all(robot.status is UpgradeRobotStatus.PENDING and not robot.online for robot in left)


def _line(robot: UpgradingRobot) -> tuple[Cell, ...]:
    colour = _COLOURS.get(robot.status, "dim")
    return (
        Cell(f"   {robot.robot}  ", "bold"),
        Cell(robot.status.value, colour),
        Cell(f"  {robot.why}" if robot.why else ""),
    )


def _print(run: Run, now: AgentUpgrade) -> None:
    run.out.table(
        (Column("ROBOT"), Column("AGENT"), Column("BEFORE", 1), Column("WHY")),
        [
            (robot.robot, Cell(robot.status.value, _COLOURS.get(robot.status, "dim")), robot.before or "", robot.why)
            for robot in now.robots
        ],
    )
    if now.why:
        run.out.say(Cell(f"   {now.status.value}: {now.why}", "yellow"))
