"""`lekiwi rollout …`: look at a rollout that is under way, and steer it."""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb, VerbGroup
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, ahead, span
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs import listing
from lekiwi_deploy.errors import Ambiguous, NotFound
from lekiwi_deploy.wire.api import Rollout
from lekiwi_deploy.wire.policy import RolloutStep
from lekiwi_deploy.wire.rollouts import RolloutAct, RolloutCourse


class OpenRollouts(msgspec.Struct, frozen=True, kw_only=True):
    """What `rollout status --json` prints."""

    rollouts: tuple[Rollout, ...]
    schema: str = "lekiwi.rollouts/1"


rollout = VerbGroup(
    "rollout", help="Look at a rollout that is under way, and steer it: pause, resume, approve, skip, complete, abort."
)

_WAITS = {
    "robots": "waits for the robots that were asked",
    "soak": "soaks",
    "approval": "waits for a person: lekiwi rollout approve",
    "nobody": "waits for a robot that is there",
    "room": "as many are under way as may be",
    "paused": "is paused",
}


@rollout.command("list", cls=Verb, uses=("environment", "project"), hidden=True)
@click.pass_obj
def list_(run: Run) -> None:
    """What is under way."""
    _status(run, None)


@rollout.command("status", cls=Verb, uses=("environment", "project"))
@click.argument("which", metavar="[ROLLOUT]", required=False)
@click.pass_obj
def status(run: Run, which: str | None) -> None:
    """What is under way, step by step; or one rollout (rol_…, or a deployment's id)."""
    _status(run, which)


def _status(run: Run, which: str | None) -> None:
    found = (_named(run, which),) if which else tuple(run.api.rollouts(run.project, run.flags.environment))
    run.out.object(OpenRollouts(rollouts=found))
    if not found:
        run.out.say("No rollout is under way.")
    for number, one in enumerate(found):
        if number:
            run.out.line()
        _show(run, one)


def _show(run: Run, one: Rollout) -> None:
    now = run.now()
    course = one.course
    took = span(((one.finished_at or now) - one.created_at).total_seconds())
    paused = ""
    if course is not None and course.paused_by is not None:
        paused = f"by {course.paused_by}, {ago(course.paused_at, now)}" + (
            f": {course.paused_why}" if course.paused_why else ""
        )
    run.out.fields(
        [
            ("rollout", Cell(f"{one.id} of {one.deployment} to {one.environment}", "bold")),
            ("status", f"{one.status.value.replace('_', ' ')}, {took}, by {one.by}"),
            ("robots", listing.robots(one.counts) or "none"),
            ("paused", paused),
            ("stopped", course.stopped or "" if course is not None else ""),
        ]
    )
    if course is None or len(course.steps) < 2:
        return
    run.out.line()
    rows = [
        (_mark(course, number), f"{number}", said(step), _state(run, course, number))
        for number, step in enumerate(course.steps, 1)
    ]
    run.out.table((Column(""), Column("STEP"), Column("WHO"), Column("STATE")), rows)


def _mark(course: RolloutCourse, number: int) -> Cell:
    if number < course.at:
        return Cell("✓", "green")
    if number > course.at or course.stopped:
        return Cell("✗" if course.stopped and number == course.at else " ", "red")
    return Cell("→", "cyan")


def _state(run: Run, course: RolloutCourse, number: int) -> str:
    if number < course.at:
        return "done"
    if number > course.at:
        return ""
    if course.stopped:
        return course.stopped
    text = _WAITS.get(course.waits or "", "under way")
    return f"{text}, {ahead(course.until, run.now())} left" if course.until is not None else text


def said(step: RolloutStep) -> str:
    """`25 %, then 10m soak`: one step in words."""
    who = f"{step.robots} robot{'s' if step.robots != 1 else ''}" if step.robots is not None else "everybody"
    if step.percent is not None:
        who = f"{step.percent:g} %"
    parts = [who + (f" of {step.select}" if step.select else "")]
    if step.approval:
        parts.insert(0, "after approval")
    if step.max_unavailable is not None:
        parts.append(f"{step.max_unavailable} at once" + (f" per {step.per}" if step.per else ""))
    if step.soak_s:
        parts.append(f"then {span(step.soak_s)} soak")
    return ", ".join(parts)


def _named(run: Run, which: str) -> Rollout:
    if which.startswith("rol_"):
        return run.api.rollout(which)
    detail = run.api.deployment(which)
    if detail.rollout is None:
        raise NotFound(f"{detail.deployment.id} was never rolled out", next=(f"lekiwi inspect {detail.deployment.id}",))
    return detail.rollout


def _meant(run: Run, which: str | None, verb: str) -> Rollout:
    """The rollout to steer: the one named, else the only one that is under way."""
    if which is not None:
        return _named(run, which)
    found = run.api.rollouts(run.project, run.flags.environment)
    if not found:
        raise NotFound("no rollout is under way", next=("lekiwi status",))
    if len(found) > 1:
        raise Ambiguous(
            "several rollouts are under way: say which",
            next=tuple(f"lekiwi rollout {verb} {one.id}   # {one.environment}" for one in found[:5]),
        )
    return found[0]


def _steering(verb: str, help: str, done: str, undo: str) -> None:
    @rollout.command(verb, cls=Verb, uses=("environment", "project"), help=help)
    @click.argument("which", metavar="[ROLLOUT]", required=False)
    @click.option("--reason", default="", help="Why, for the history.")
    @click.pass_obj
    def act(run: Run, which: str | None, reason: str) -> None:
        meant = _meant(run, which, verb)
        after = run.api.steer_rollout(meant.id, verb, RolloutAct(reason=reason))
        run.out.object(after)
        run.out.line(f"{after.id} of {after.deployment} to {after.environment} {done}")
        if undo:
            run.out.say(f"   undo: lekiwi rollout {undo} {after.id}")


_steering("pause", "Ask nobody else until `resume`; robots under way go on.", "is paused", "resume")
_steering("resume", "Let a paused rollout go on.", "goes on", "pause")
_steering("approve", "Let the step begin that waits for a person.", "may begin its next step", "pause")
_steering(
    "skip", "Go on to the next step without waiting for this one's gate or soak.", "goes on to its next step", "pause"
)
_steering("complete", "Ask everybody now, without further steps.", "asks everybody now", "abort")


@rollout.command("abort", cls=Verb, uses=("environment", "project"))
@click.argument("which", metavar="[ROLLOUT]", required=False)
@click.option("--reason", default="", help="Why, for the history.")
@click.option("--keep", is_flag=True, help="Leave robots that took it as they are.")
@click.pass_obj
def abort(run: Run, which: str | None, reason: str, keep: bool) -> None:
    """End a rollout: nobody else is asked, and robots that took it go back to what ran before."""
    meant = _meant(run, which, "abort")
    after = run.api.steer_rollout(meant.id, "abort", RolloutAct(reason=reason, keep=keep))
    run.out.object(after)
    back = "" if keep or after.previous is None else f"; robots that took it go back to {after.previous}"
    run.out.line(f"{after.id} of {after.deployment} to {after.environment} is over{back}")
    run.out.say(f"   undo: lekiwi rollback -e {after.environment} --to={after.deployment}")
