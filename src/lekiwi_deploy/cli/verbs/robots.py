"""`lekiwi robots …`"""

from __future__ import annotations

import shlex
import sys

import click
import msgspec

from lekiwi_deploy.cli.agents import agent_shown, agent_story
from lekiwi_deploy.cli.flags import Verb, VerbGroup, because
from lekiwi_deploy.cli.robot_state import has_labels, state
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, ahead, plural
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs.adopt import adopt
from lekiwi_deploy.cli.verbs.robot_events import events
from lekiwi_deploy.cli.verbs.robots_place import drain, move, say_place, undrain
from lekiwi_deploy.cli.verbs.robots_reach import exec_, reboot, ssh
from lekiwi_deploy.cli.verbs.upgrade import upgrade
from lekiwi_deploy.errors import BadInput, LekiwiError
from lekiwi_deploy.wire.api import NewRobot, Robot, RobotJoin
from lekiwi_deploy.wire.reasons import sentence
from lekiwi_deploy.wire.switch_words import in_words

COLUMNS = (
    Column("ROBOT"),
    Column("STATE"),
    Column("RUNS"),
    Column("ENV", 2),
    Column("SEEN", 1),
    Column("LABELS", 3),
    Column("PLATFORM", 4),
    Column("AGENT", 5),
)


robots = VerbGroup(
    "robots",
    help="The robots of the project: adopt, add, list, show, events, tag, move, drain, undrain, rm, resume, rejoin, ssh, exec, reboot, upgrade.",
)
for _command in (events, adopt, upgrade, move, drain, undrain, ssh, exec_, reboot):
    robots.add_command(_command)


@robots.command("list", cls=Verb, uses=("environment", "project", "tags"))
@click.option("--group", metavar="GROUP", help="Only robots of this group.")
@click.pass_obj
def list_(run: Run, group: str | None) -> None:
    """Robots and how they are; with --env, --group or --tag only those."""
    tags = run.tags()
    found = run.api.robots(project=run.project, environment=run.flags.environment)
    members = frozenset(run.api.group(run.project, group).robots) if group is not None else None
    kept = (robot for robot in found.robots if has_labels(robot, tags) and (members is None or robot.name in members))
    shown = msgspec.structs.replace(found, robots=tuple(kept))
    run.out.object(shown)
    if not shown.robots:
        run.out.say("No robots match." if found.robots or run.flags.environment else "No robots yet.")
        run.out.say(Cell("   → lekiwi robots add NAME --group production", "dim"))
        return
    run.out.table(
        COLUMNS,
        [
            (
                robot.name,
                state(robot).word,
                robot.running.deployment if robot.running else "",
                robot.environment,
                "online" if robot.online else ago(robot.last_seen_at, run.now()),
                _labels(robot),
                robot.platform.short if robot.platform else "",
                agent_shown(robot, shown),
            )
            for robot in shown.robots
        ],
    )


@robots.command("add", cls=Verb, uses=("environment", "project", "tags"))
@because
@click.argument("name")
@click.option("--group", metavar="GROUP", help="Its environment, or the group of exactly one.")
@click.pass_obj
def add(run: Run, name: str, group: str | None) -> None:
    """Add a robot and print the one line to run on it. The line works once, for 15 minutes; --tag sets labels."""
    group = group or run.environment
    if group is None:
        raise BadInput(f"which group does {name} belong to?", next=(f"lekiwi robots add {name} --group production",))
    _print_join(run, run.api.add_robot(run.project, NewRobot(name=name, group=group, labels=run.tags())))


@robots.command("rejoin", cls=Verb)
@because
@click.argument("name")
@click.pass_obj
def rejoin(run: Run, name: str) -> None:
    """Print another join line for a robot: the first one was not used in time, or the machine was replaced."""
    _print_join(run, run.api.new_join_token(name))


@robots.command("show", cls=Verb)
@click.argument("name")
@click.pass_obj
def show(run: Run, name: str) -> None:
    """One robot: what it runs, its services, what it waits for."""
    robot = run.api.robot(name)
    now = run.now()
    run.out.object(robot)
    how = state(robot)
    running = robot.running
    run.out.fields(
        [
            ("robot", Cell(robot.name, "bold")),
            ("state", how.word),
            ("why", how.why),
            ("environment", f"{robot.environment} of {robot.project}"),
            ("placed", robot.placed),
            ("out", Cell(sentence(robot.out), "yellow") if robot.out is not None else ""),
            ("runs", f"{running.deployment}, since {ago(running.since, now)}" if running else "nothing"),
            ("wanted", robot.desired if robot.desired and (not running or running.deployment != robot.desired) else ""),
            ("link", "online" if robot.online else f"offline, last seen {ago(robot.last_seen_at, now)}"),
            ("platform", robot.platform.key if robot.platform else ""),
            ("host", robot.hostname or ""),
            ("agent", agent_story(robot)),
            ("switched", in_words(robot.outcome.switches) if robot.outcome else ""),
            ("labels", _labels(robot)),
            ("retained", plural(robot.retained, "deployment") if robot.retained else ""),
        ]
    )
    if robot.services:
        run.out.line()
        run.out.table(
            (
                Column("SERVICE"),
                Column("STATE"),
                Column("SINCE", 1),
                Column("PID", 3),
                Column("RESTARTS", 2),
                Column("DETAIL"),
            ),
            [
                (
                    service.name,
                    Cell(
                        service.state.value.replace("_", " "), "green" if service.state.value == "ready" else "yellow"
                    ),
                    ago(service.since, now) if service.since else "",
                    str(service.pid or ""),
                    str(service.restarts or ""),
                    service.detail or (f"standby: {service.standby}" if service.standby else ""),
                )
                for service in robot.services
            ],
        )
    if robot.outcome is not None and robot.outcome.log and not how.fine:
        run.out.line()
        for line in robot.outcome.log:
            run.out.line(Cell("│ ", "dim"), Cell(line, "dim"))


@robots.command("tag", cls=Verb)
@because
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="K=V|K-…")
@click.pass_obj
def tag(run: Run, name: str, labels: tuple[str, ...]) -> None:
    """Set labels of a robot; `K-` removes one."""
    wanted: dict[str, str | None] = {}
    for text in labels:
        key, equals, value = text.partition("=")
        if equals and key:
            wanted[key] = value
        elif text.endswith("-") and len(text) > 1:
            wanted[text[:-1]] = None
        else:
            raise BadInput(f"{text[:60]!r}: give NAME=VALUE to set a label, NAME- to remove one")
    before = run.api.robot(name)
    robot = run.api.label_robot(name, wanted)
    run.out.object(robot)
    run.out.line(f"{robot.name}  {_labels(robot) or 'no labels'}")
    say_place(run, before, robot)
    back = [f"{key}={before.labels[key]}" if key in before.labels else f"{key}-" for key in wanted]
    if before.labels != robot.labels:
        run.out.say(Cell(f"   undo: lekiwi robots tag {name} {shlex.join(back)}", "dim"))


@robots.command("resume", cls=Verb)
@because
@click.argument("name")
@click.option("--force", is_flag=True, help="Also over a quarantine, holds and unmet conditions; this is audited.")
@click.pass_obj
def resume(run: Run, name: str, force: bool) -> None:
    """End a pin: the robot goes on to what its environment wants. With --force, now, whatever holds it back."""
    robot = run.api.resume_robot(name, force=force)
    run.out.object(robot)
    run.out.line(f"{robot.name} goes on to {robot.desired or 'what its environment wants'}")


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What `robots rm --json` prints."""

    robot: str
    schema: str = "lekiwi.robot-removed/1"


@robots.command("rm", cls=Verb)
@because
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(run: Run, name: str, yes: bool) -> None:
    """Remove a robot: its key is refused from now on. What it runs goes on running."""
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput(
                f"removing {name} is for good, and there is no terminal to confirm it on",
                next=(f"lekiwi robots rm {name} --yes",),
                details={"reason": "no_terminal"},
            )
        click.confirm(f"Remove {name}? It will have to be joined again", abort=True, err=True)
    run.api.remove_robot(name)
    run.out.object(Removed(robot=name))
    run.out.line(f"{name} is removed; what it runs goes on running, and nothing new reaches it")


def _print_join(run: Run, join: RobotJoin) -> None:
    run.out.object(join)
    run.out.line(join.command)
    if run.out.json or run.out.quiet:
        return
    if join.environment:
        labels = " ".join(f"{name}={value}" for name, value in sorted(join.labels.items()))
        run.out.say(f"   {join.robot} is in {join.environment}" + (f", with {labels}" if labels else ""))
    lasts = f"works once and expires {ahead(join.expires_at, run.now())}"
    try:
        release = run.api.agent_release()
    except LekiwiError as error:
        run.out.detail(f"the server gives robots no agent: {error.message}")
        run.out.say(Cell(f"   Run that line on {join.robot}. It {lasts}.", "dim"))
        return
    run.out.say(Cell(f"   Run that on {join.robot} if it has the agent; if not, this installs it, too:", "dim"))
    run.out.say(_install_line(run, join, release.lock))
    run.out.say(Cell(f"   The token {lasts}. Or from here, over SSH:", "dim"))
    run.out.say(f"lekiwi robots adopt pi@ADDRESS --name {join.robot}")


def _install_line(run: Run, join: RobotJoin, lock: str) -> str:
    url = join.url or run.target.api
    insecure = " --insecure-http" if url.startswith("http://") and run.target.insecure_http else ""
    return f"curl -fsSL {url}/install.sh | sudo sh -s -- --token {join.token} --sha256 {lock}{insecure}"


def _labels(robot: Robot) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(robot.labels.items()))
