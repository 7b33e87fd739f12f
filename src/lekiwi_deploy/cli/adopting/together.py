"""Several machines at once: each is looked at in turn, since a person may be asked; then all are installed side by side."""

from __future__ import annotations

import getpass
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import click

from lekiwi_deploy.cli.adopting import adoption
from lekiwi_deploy.cli.adopting.adoption import Plan
from lekiwi_deploy.cli.adopting.found import Survey, findings
from lekiwi_deploy.cli.adopting.rights import Rights, find_rights
from lekiwi_deploy.cli.adopting.ssh import ADDRESS, Route, Ssh, logs_in_with_key, somebody_is_there
from lekiwi_deploy.cli.adopting.telling import failed, show_findings, show_today
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import size, span
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.errors import BadInput, Failed, LekiwiError, TimedOut

AT_ONCE = 8
ONLINE_WITHIN_S = 20.0


@dataclass(frozen=True)
class Wish:
    """The command line. `url`: how robots reach the server, whose lasting id is `server_id`; `sudo_password`: for all."""

    group: str
    name: str | None
    url: str
    server_id: str
    insecure_http: bool
    again: bool
    dry_run: bool
    yes: bool
    lock: bool
    sudo_password: str | None


@dataclass
class Candidate:
    """A machine that is spoken to, and how far it got. `seconds`: of the installation; `locked`: passwords over SSH are off."""

    route: Route
    ssh: Ssh | None = None
    rights: Rights | None = None
    survey: Survey | None = None
    plan: Plan | None = None
    error: LekiwiError | None = None
    seconds: float | None = None
    locked: bool | None = None

    @property
    def target(self) -> str:
        return self.route.target

    @property
    def host(self) -> str:
        return self.route.target.rpartition("@")[2]


def adopt_all(run: Run, routes: Sequence[Route], wish: Wish) -> list[Candidate]:
    """Do it; a machine that fails has its `error`, and does not stop the others. Raises `Abort` when a person says no, and `BadInput`
    when nobody can be asked."""
    candidates = [Candidate(route) for route in routes]
    many = len(candidates) > 1
    run.api.project(run.project)  # before anybody is asked for a password
    with ExitStack() as stack:
        for candidate in candidates:
            _guarded(run, candidate, partial(_look, run, candidate, wish, stack), many=many)
        _refuse_twins(run, candidates)
        ready = [candidate for candidate in candidates if candidate.error is None]
        if not ready or wish.dry_run:
            return candidates
        _confirm(run, ready, wish)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            under_way = [
                pool.submit(_guarded, run, candidate, partial(_install, run, candidate, wish, many=many), many=many)
                for candidate in ready
            ]
        for one in under_way:
            one.result()  # a defect of ours is not to pass unseen
        for candidate in ready:
            if candidate.error is None:
                _guarded(run, candidate, partial(_lock, run, candidate, wish), many=many)
    return candidates


def ask_password(prompt: str) -> str | None:
    """From the terminal; without one, None."""
    return getpass.getpass(prompt) if sys.stdin.isatty() else None


def _guarded(run: Run, candidate: Candidate, step: Callable[[], None], *, many: bool) -> None:
    try:
        step()
    except LekiwiError as error:
        candidate.error = error
    except OSError as error:
        candidate.error = Failed(f"{error.filename or 'this machine'}: {error.strerror or error}")
    if candidate.error is not None and many:
        run.out.say(
            "  ", Cell("✗ ", "red"), Cell(f"{candidate.target}: ", "bold"), candidate.error.message.splitlines()[0]
        )


def _look(run: Run, candidate: Candidate, wish: Wish, stack: ExitStack) -> None:
    run.out.detail(f"ssh {candidate.target}")
    ssh = stack.enter_context(Ssh(candidate.route, asks=somebody_is_there()))
    candidate.ssh = ssh

    def ask(user: str, again: bool) -> str | None:
        if wish.sudo_password is not None:
            return None if again else wish.sudo_password
        return ask_password(f"{'Sorry, try again. ' if again else ''}sudo password of {user} on {candidate.host}: ")

    candidate.rights = find_rights(ssh, ask)
    candidate.survey = adoption.survey(ssh, candidate.rights, wish.url)
    seen = list(findings(candidate.survey, url=wish.url, server_id=wish.server_id, now=time.time()))
    show_findings(run.out, candidate.target, candidate.rights.how, seen)
    show_today(run.out, candidate.survey)
    if wrong := failed(seen):
        fixes = tuple(finding.fix for finding in seen if finding.state == "fail" and finding.fix)
        raise Failed(wrong, next=fixes)
    candidate.plan = adoption.plan(
        candidate.survey, run.api, server_id=wish.server_id, url=wish.url, name=wish.name, again=wish.again
    )


def _refuse_twins(run: Run, candidates: Sequence[Candidate]) -> None:
    """Two machines with one host name."""
    names: dict[str, str] = {}
    for candidate in candidates:
        if candidate.error is None and candidate.plan is not None:
            other = names.setdefault(candidate.plan.name, candidate.target)
            if other != candidate.target:
                text = f"it calls itself {candidate.plan.name}, as {other} does"
                candidate.error = BadInput(text, next=(f"lekiwi robots adopt {candidate.target} --name NAME",))
                run.out.say("  ", Cell("✗ ", "red"), Cell(f"{candidate.target}: ", "bold"), text)


def _confirm(run: Run, ready: Sequence[Candidate], wish: Wish) -> None:
    words = [_intent(candidate, wish, run.project) for candidate in ready if candidate.plan is not None]
    if wish.yes:
        return
    run.out.say()
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(
            f"to {'; '.join(words)}: there is no terminal to confirm it on",
            next=("add --yes",),
            details={"reason": "no_terminal"},
        )
    question = "; ".join(words)
    click.confirm(question[0].upper() + question[1:] + "?", abort=True, err=True, default=False)


def _intent(candidate: Candidate, wish: Wish, project: str) -> str:
    assert candidate.plan is not None
    if not candidate.plan.join:
        return f"upgrade or repair the agent of {candidate.plan.name}"
    return f"make {candidate.target} the robot {candidate.plan.name} in {wish.group} of {project}"


def _install(run: Run, candidate: Candidate, wish: Wish, *, many: bool) -> None:
    assert candidate.ssh is not None and candidate.rights is not None
    assert candidate.survey is not None and candidate.plan is not None
    plan, began = candidate.plan, time.monotonic()
    before = f"{plan.name}: " if many else ""

    def say(text: str) -> None:
        run.out.say(Cell(f"  {before}{text}", "dim"))

    say("asking the server for the agent")
    bundle = adoption.bundle_for(run.api, candidate.survey)
    token, added = "", False
    if plan.join:
        join, added = adoption.token_for(
            run.api, run.project, plan, wish.group, {ADDRESS: candidate.target, **run.tags()}
        )
        token = join.token
    try:
        say(f"sending it ({size(len(bundle))})")
        adoption.install(
            candidate.ssh,
            candidate.rights,
            candidate.survey,
            bundle,
            plan,
            token,
            insecure_http=wish.insecure_http,
            say=say,
        )
    except LekiwiError:
        if added and run.api.robot(plan.name).joined_at is None:
            run.api.remove_robot(plan.name)  # so that the next try finds everything as this one did
        raise
    _wait_online(run, plan.name)
    candidate.seconds = time.monotonic() - began
    what = "adopted" if plan.join else "up to date"
    run.out.line(Cell("✓ ", "green"), Cell(plan.name, "bold"), f"  {what} in {span(candidate.seconds)}, online")


def _wait_online(run: Run, name: str) -> None:
    deadline = time.monotonic() + ONLINE_WITHIN_S
    pause = threading.Event()
    while not run.api.robot(name).online:
        if time.monotonic() > deadline:
            raise TimedOut(
                f"{name} says that it is linked, and the server has not seen it within {ONLINE_WITHIN_S:.0f} s",
                next=(f"lekiwi robots show {name}",),
            )
        pause.wait(0.2)


def _lock(run: Run, candidate: Candidate, wish: Wish) -> None:
    assert candidate.ssh is not None and candidate.rights is not None and candidate.survey is not None
    if candidate.survey.ssh_passwords is False:
        candidate.locked = True
        return
    if not wish.lock:
        if wish.yes or not sys.stdin.isatty() or candidate.survey.ssh_passwords is None:
            return
        if not logs_in_with_key(candidate.route):
            run.out.say(
                f"  {candidate.target} can be logged in to with a password. To end that, once a key of yours is there:"
            )
            run.out.say(Cell(f"    ssh-copy-id {candidate.target}", "cyan"))
            run.out.say(Cell(f"    ssh -t {candidate.target} sudo lekiwi-agent lock-ssh", "cyan"))
            return
        question = f"{candidate.target} can be logged in to with a password. Allow keys only from now on?"
        if not click.confirm(question, err=True, default=False):
            return
    try:
        adoption.lock_ssh(candidate.ssh, candidate.rights)
    except LekiwiError as error:
        raise type(error)(
            f"it is a robot now, but passwords over SSH are still on: {error.message}", next=error.next
        ) from error
    candidate.locked = True
    run.out.say(f"  {candidate.target}: nobody logs in with a password any more")
    run.out.say(Cell(f"    undo: ssh {candidate.target} sudo lekiwi-agent lock-ssh --undo", "dim"))
