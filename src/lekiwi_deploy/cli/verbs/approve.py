"""`lekiwi approve`, `reject`, `approvals`: people say whether something goes live."""

from __future__ import annotations

import time

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, ahead
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.errors import Ambiguous, BadInput, Conflict, NotFound
from lekiwi_deploy.wire.api import Rollout
from lekiwi_deploy.wire.approvals import ApprovalRequest, ApprovalRequests, Say
from lekiwi_deploy.wire.rollouts import RolloutAct


class WaitingForPeople(ApprovalRequests, frozen=True, kw_only=True):
    """What `--json` prints of the list. `rollouts`: those whose next step waits for a person."""

    rollouts: tuple[Rollout, ...] = ()


class Said(ApprovalRequest, frozen=True, kw_only=True):
    """What `--json` prints of a word: the request, and what became of the rollout that it let go (None: none, or not waited for)."""

    status: str | None = None


@click.command("approvals", cls=Verb, uses=("environment", "project"))
@click.option("--all", "ended", is_flag=True, help="Also what was approved, rejected, or waited too long.")
@click.pass_obj
def approvals(run: Run, ended: bool) -> None:
    """What waits for people: deployments that want to go live, and rollouts whose next step does."""
    _list(run, ended=ended)


def _list(run: Run, *, ended: bool = False) -> None:
    environment = run.flags.environment
    found = run.api.approvals(run.project, environment=environment, ended=ended).requests
    steps = _steps(run, run.project, environment)
    run.out.object(WaitingForPeople(requests=found, rollouts=steps))
    if not found and not steps:
        run.out.say("Nothing waits for approval.")
        return
    now = run.now()
    rows = [
        (
            one.deployment,
            one.version,
            one.environment,
            one.kind,
            f"{one.asked_by}, {ago(one.asked_at, now)}",
            _stand(one),
            one.ended or ahead(one.expires_at, now),
        )
        for one in found
    ]
    for step in steps:
        assert step.course is not None
        where = f"step {step.course.at} of {len(step.course.steps)}"
        rows.append(
            (step.deployment, "", step.environment, where, f"{step.by}, {ago(step.created_at, now)}", "0 of 1", "")
        )
    titles = (
        ("DEPLOYMENT", 0),
        ("VERSION", 2),
        ("ENV", 0),
        ("WHAT", 3),
        ("ASKED BY", 4),
        ("APPROVED", 0),
        ("UNTIL", 1),
    )
    run.out.table([Column(title, drop) for title, drop in titles], rows)
    first = next(
        (row for row, one in zip(rows, (*found, *steps), strict=True) if getattr(one, "ended", None) is None), None
    )
    if first is not None:
        run.out.say(Cell("   → ", "dim"), Cell(f"lekiwi approve {first[0]} -e {first[2]}", "cyan"))


def _stand(one: ApprovalRequest) -> str:
    yes = [vote.by for vote in one.votes if vote.approved]
    no = [vote.by for vote in one.votes if not vote.approved]
    said = f"{len(yes)} of {one.needed}" + (f" ({', '.join(yes)})" if yes else "")
    said += f", rejected by {', '.join(no)}" if no else ""
    return said + (", not by its author" if one.not_author and one.ended is None else "")


def _steps(run: Run, project: str, environment: str | None) -> tuple[Rollout, ...]:
    rollouts = run.api.rollouts(project, environment)
    return tuple(one for one in rollouts if one.course is not None and one.course.waits == "approval")


@click.command("approve", cls=Verb, uses=("environment", "project"))
@click.argument("deployment", required=False)
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--no-wait", is_flag=True, help="Do not follow the rollout that it lets go.")
@click.option("--timeout", metavar="SPAN", help="Follow it no longer than that: 90s, 10m (0: not at all).")
@click.pass_obj
def approve(run: Run, deployment: str | None, reason: str, no_wait: bool, timeout: str | None) -> int:
    """Say yes to DEPLOYMENT (an id, version, commit or alias), which waits to go live or for its next step; alone: what waits.

    What differs from what is live is shown first, and what was shown is what is approved: its digest goes with the word. The last approval
    that is needed has it go live, which is followed.
    """
    if deployment is None:
        _list(run)
        return 0
    return _say(run, deployment, yes=True, reason=reason, no_wait=no_wait, timeout=timeout)


@click.command("reject", cls=Verb, uses=("environment", "project"))
@click.argument("deployment")
@click.option("--reason", default="", help="Why; kept with it.")
@click.pass_obj
def reject(run: Run, deployment: str, reason: str) -> int:
    """Say no to DEPLOYMENT, which waits to go live: it does not, unless somebody asks for it anew."""
    return _say(run, deployment, yes=False, reason=reason, no_wait=True, timeout=None)


def _say(run: Run, deployment: str, *, yes: bool, reason: str, no_wait: bool, timeout: str | None) -> int:
    began = time.monotonic()
    from lekiwi_deploy.cli.following import timeout_s

    limit = timeout_s(timeout)
    id, project = _named(run, deployment)
    environment = run.flags.environment
    waiting = [one for one in run.api.approvals(project, environment=environment).requests if one.deployment == id]
    if len(waiting) != 1:
        steps = [one for one in _steps(run, project, environment) if one.deployment == id]
        if not waiting and len(steps) == 1:
            return _step(run, steps[0], yes=yes, reason=reason, no_wait=no_wait, limit=limit, began=began)
        run.api.say(id, "approve" if yes else "reject", Say(environment=environment, reason=reason))  # says why not
        raise Conflict(f"{id} is not what it was a moment ago: look again", next=("lekiwi approvals",))
    request = waiting[0]
    if yes:
        _show(run, request)
    verb = "approve" if yes else "reject"
    said = run.api.say(id, verb, Say(environment=request.environment, digest=request.digest, reason=reason))
    return _told(run, said, yes=yes, no_wait=no_wait, limit=limit, began=began)


def _named(run: Run, said: str) -> tuple[str, str]:
    """The deployment's id, and its project."""
    if said.startswith("dep_"):
        made = run.api.deployment(said).deployment
        return made.id, made.project
    requests = run.api.approvals(run.project, environment=run.flags.environment).requests
    meant = {one.deployment for one in requests if said in (one.version, one.version.removeprefix("v"))}
    if len(meant) == 1:
        return meant.pop(), run.project
    if meant:
        raise Ambiguous(f"{said!r} may mean {', '.join(sorted(meant))}", details={"candidates": sorted(meant)})
    places: list[str | None] = [one.environment for one in requests] or [run.environment]
    if run.flags.environment is None and len(set(places)) > 1:
        raise BadInput(
            f"say where {said} waits: {', '.join(sorted({str(place) for place in places}))}",
            next=tuple(f"lekiwi approve {said} -e {place}" for place in sorted({str(place) for place in places})),
        )
    found = run.api.resolve(run.project, said, environment=places[0], utc_offset_min=run.utc_offset_min)
    return found.deployment.id, run.project


def _show(run: Run, request: ApprovalRequest) -> None:
    """What is about to be approved."""
    from lekiwi_deploy.cli.differing import lines_of

    out = run.out
    try:
        found = run.api.diff(request.project, request.environment, request.deployment, environment=request.environment)
    except Conflict:  # nothing is live there yet
        out.say(f"{request.deployment} {request.version} is the first in {request.environment}")
    else:
        for line in lines_of(found, run.now(), verbose=out.verbose > 0):
            out.say(*line)
    asked = f"asked by {request.asked_by}, {ago(request.asked_at, run.now())}"
    out.say(Cell(f"  {request.kind} to {request.environment}, {asked}; sha256:{request.digest[:12]}…", "dim"))


def _told(run: Run, said: ApprovalRequest, *, yes: bool, no_wait: bool, limit: float | None, began: float) -> int:
    from lekiwi_deploy.cli.live import waits, watch

    out = run.out
    result = msgspec.convert(said, Said, from_attributes=True)
    what = f"{said.deployment} {said.version}"
    if not yes:
        out.line("🚫 ", Cell("Rejected", "red"), f": {what} does not go to {said.environment}")
        out.say(Cell(f"   undo: lekiwi promote {said.deployment} {said.environment}", "dim"))
        out.object(result)
        return 0
    out.line("✅ ", Cell("Approved", "green"), f": {what} in {said.environment}")
    if said.ended is None:
        for line in waits(said, run):
            out.say(*line)
        out.object(result)
        return 0
    made = run.api.deployment(said.deployment).deployment
    under_way = [one for one in run.api.rollouts(said.project, said.environment) if one.deployment == said.deployment]
    freeze = next(
        (one.freeze for one in run.api.project(said.project).environments if one.name == said.environment), None
    )
    if not under_way:
        if freeze is not None:
            out.say(Cell("❄  ", "cyan"), f"{said.environment} is frozen by {freeze.by}: it goes live when that ends")
            out.say(Cell("   → ", "dim"), Cell(f"lekiwi unfreeze -e {said.environment}", "cyan"))
        else:
            out.say(f"   follow it: lekiwi inspect {made.id} --wait")
        out.object(result)
        return 0
    if no_wait or limit == 0:
        out.say(f"   it goes to {said.environment}; follow it: lekiwi inspect {under_way[0].id} --wait")
        out.object(result)
        return 0
    followed = watch(run, made, under_way[0].id, said.environment, began=began, timeout=limit)
    if followed.told.finished is not None and followed.told.finished.undo:
        out.say(Cell(f"   undo: {followed.told.finished.undo}", "dim"))
    status = followed.told.finished.status if followed.told.finished is not None else None
    out.object(msgspec.structs.replace(result, status=status))
    return followed.code


def _step(run: Run, one: Rollout, *, yes: bool, reason: str, no_wait: bool, limit: float | None, began: float) -> int:
    """The next step of a rollout that is under way."""
    from lekiwi_deploy.cli.live import watch

    if not yes:
        raise NotFound(
            f"{one.deployment} is on its way in {one.environment}, and its next step waits: it can be stopped",
            next=(f"lekiwi cancel {one.deployment}", f"lekiwi cancel {one.deployment} --revert"),
        )
    steered = run.api.steer_rollout(one.id, "approve", RolloutAct(reason=reason))
    at = one.course.at if one.course is not None else 0
    run.out.line("✅ ", Cell("Approved", "green"), f": step {at} of {one.deployment} in {one.environment}")
    if no_wait or limit == 0:
        run.out.say(f"   follow it: lekiwi inspect {one.id} --wait")
        run.out.object(steered)
        return 0
    made = run.api.deployment(one.deployment).deployment
    followed = watch(run, made, one.id, one.environment, began=began, timeout=limit)
    run.out.object(run.api.rollout(one.id))
    return followed.code
