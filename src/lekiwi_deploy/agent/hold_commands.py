"""`lekiwi-agent hold`, `holds`, `release` and `why`: saying "not now" on the robot, and what holds a switch back. Needs no network."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import BadInput, Conflict, Failed, NotFound

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?\Z")
_UNITS = {"s": 1, None: 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Terminal:
    """What the program gives to a command. `out` is data on stdout, `say` anything else on stderr, `who` names the person."""

    paths: Callable[[argparse.Namespace], Paths]
    out: Callable[[str], None]
    say: Callable[[str], None]
    who: Callable[[], str]


def add_parsers(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """The commands' lines."""
    hold = commands.add_parser(
        "hold",
        parents=parents,
        help='say "not now": no deployment is switched to meanwhile',
        description="Downloads go on; only switching to another deployment waits, and says for whom. A service that fails is still "
        "replaced, and `lekiwi-agent rollback` works all the same. With a COMMAND the hold lasts exactly as long as that lives, "
        "however it ends; it needs no running agent.",
    )
    hold.add_argument("--reason", metavar="TEXT", help="why, for those who wait: teleop, calibration, …")
    hold.add_argument(
        "--for",
        dest="span",
        metavar="SPAN",
        help="how long: 90s, 20m, 2h (at most 24h, unless agent.json says otherwise)",
    )
    hold.add_argument("--owner", metavar="NAME", help="who holds it (default: you)")
    hold.add_argument("--renew", metavar="ID", help="make this hold last for SPAN from now on")
    hold.add_argument("program", nargs="*", metavar="-- COMMAND", help="run it, and hold as long as it lives")
    commands.add_parser("holds", parents=parents, help='who says "not now", and until when')
    release = commands.add_parser("release", parents=parents, help="end a hold")
    release.add_argument("id", nargs="?", metavar="ID", help="as `lekiwi-agent holds` shows it")
    release.add_argument("--all", action="store_true", help="all that you may end")
    commands.add_parser("why", parents=parents, help="what holds the wanted deployment back, and what would clear it")


def hold(options: argparse.Namespace, terminal: Terminal) -> int:
    """`lekiwi-agent hold`"""
    from lekiwi_deploy.agent.ask import ask_desk
    from lekiwi_deploy.wire.holds import HoldPlease, Lease, RenewPlease

    paths = terminal.paths(options)
    if options.program:
        if options.span or options.renew:
            raise BadInput("a hold with a COMMAND lasts as long as that lives: --for and --renew do not go with it")
        _run_holding(paths, options.program, _reason(options), options.owner or terminal.who())
    if options.span is None:
        raise BadInput("say for how long (--for 20m), or give a command that it is to last for (-- COMMAND)")
    for_s = span_s(options.span)
    if options.renew:
        lease = ask_desk(paths, RenewPlease(id=options.renew, for_s=for_s), Lease)
    else:
        asked = HoldPlease(reason=_reason(options), for_s=for_s, owner=options.owner or terminal.who())
        lease = ask_desk(paths, asked, Lease)
    if lease.switching:
        terminal.say("a switch is under way just now, which this does not stop")
    if options.json:
        terminal.out(_json(lease))
        return 0
    held = lease.hold
    until = f"until {_clock(held.until)}" if held.until is not None else "until it is released"
    terminal.out(f"{held.id}: held by {held.owner} {until}: {held.reason}")
    terminal.say(f"end it: lekiwi-agent release {held.id}")
    return 0


def holds(options: argparse.Namespace, terminal: Terminal) -> int:
    """`lekiwi-agent holds`"""
    from lekiwi_deploy.agent.ask import ask_desk
    from lekiwi_deploy.wire.holds import Holds, HoldsPlease

    found = ask_desk(terminal.paths(options), HoldsPlease(), Holds)
    if options.json:
        terminal.out(_json(found))
    elif not found.holds:
        terminal.say("no holds: a deployment may be switched to at any time")
    else:
        lines = [("ID", "OWNER", "SINCE", "UNTIL", "REASON")]
        lines += [
            (
                one.id,
                one.owner,
                _clock(one.since),
                _clock(one.until) if one.until else _as_long_as(one.kind),
                one.reason,
            )
            for one in found.holds
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(4)]
        for line in lines:
            terminal.out("  ".join([f"{line[i]:<{widths[i]}}" for i in range(4)] + [line[4]]))
    return 0


def release(options: argparse.Namespace, terminal: Terminal) -> int:
    """`lekiwi-agent release`"""
    from lekiwi_deploy.agent.ask import ask_desk
    from lekiwi_deploy.wire.holds import Released, ReleasePlease

    if (options.id is None) != options.all:
        raise BadInput("give the ID of a hold, or --all", next=("lekiwi-agent holds",))
    if options.id is not None and re.fullmatch(r"p\d+|lock", options.id):
        raise Conflict(f"{options.id} is a lock, which ends with the process that has it", next=("lekiwi-agent holds",))
    released = ask_desk(terminal.paths(options), ReleasePlease(id=options.id), Released)
    if options.json:
        terminal.out(_json(released))
    else:
        terminal.out(f"released {', '.join(released.ids)}" if released.ids else "nothing of yours to release")
    return 0


def why(options: argparse.Namespace, terminal: Terminal) -> int:
    """`lekiwi-agent why`"""
    from lekiwi_deploy.agent.ask import ask
    from lekiwi_deploy.wire.local import RobotHere, StatusPlease

    here = ask(terminal.paths(options), StatusPlease(), RobotHere, timeout_s=10)
    terminal.out(_json(here) if options.json else "\n".join(why_lines(here)))
    return 0


def why_lines(here: Any) -> list[str]:
    """What holds the wanted deployment back, for a person. `here`: a `RobotHere`."""
    from lekiwi_deploy.robot.holds import busy
    from lekiwi_deploy.wire.reasons import in_zone, key, sentence
    from lekiwi_deploy.wire.remedies import remedy

    running = here.report.running
    runs = running.deployment if running is not None else None
    if not here.report.waiting:
        if here.wanted is None:
            lines = [f"{here.robot} runs {runs or 'nothing'}; nothing else is wanted of it"]
        elif here.wanted == runs:
            lines = [f"{here.robot} runs {runs}, as wanted"]
        else:
            lines = [f"{here.robot} runs {runs or 'nothing'} and goes on to {here.wanted} ({here.report.phase.value})"]
    else:
        lines = [f"{here.robot} runs {runs or 'nothing'} and wants {here.wanted or 'nothing'}; it waits:"]
    for number, reason in enumerate(here.report.waiting, 1):
        since: Mapping[str, datetime] = here.since
        at = since.get(key(reason))
        here_now = in_zone(reason, None)
        lines.append(f"{number}. {sentence(here_now)}" + (f"  (since {_clock(at)})" if at is not None else ""))
        lines.append(f"   → {remedy(here_now, here.robot)}")
    told = {getattr(reason, "id", None) for reason in here.report.waiting}
    lines += [
        f"the next deployment will wait: {sentence(in_zone(busy(one), None))} ({one.id})"
        for one in here.holds
        if one.id not in told
    ]
    return lines


def span_s(text: str) -> float:
    """`20m` in seconds. Raises `BadInput`."""
    found = _SPAN.match(text.strip())
    if not found:
        raise BadInput(f"{text[:40]!r} is not a time span such as 90s, 20m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def _run_holding(paths: Paths, program: Sequence[str], reason: str, owner: str) -> NoReturn:
    """Become `program`, which has the lock from its first moment on: the kernel lets go when it has ended, however that happens."""
    from lekiwi_deploy.agent.busy_lock import OWNER, REASON

    try:
        fd = os.open(paths.busy, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        paths.run.mkdir(parents=True, exist_ok=True)
        fd = os.open(paths.busy, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(fd, fcntl.LOCK_SH)
    os.set_inheritable(fd, True)
    environment = {**os.environ, REASON: reason, OWNER: owner}
    try:
        os.execvpe(program[0], list(program), environment)
    except FileNotFoundError:
        raise NotFound(f"there is no program {program[0]!r}") from None
    except OSError as error:
        raise Failed(f"{program[0]} cannot be run: {error.strerror}") from error


def _reason(options: argparse.Namespace) -> str:
    if not options.reason or not options.reason.strip():
        raise BadInput("say why (--reason teleop): those who wait are told")
    return str(options.reason)


def _as_long_as(kind: str) -> str:
    return "its process ends" if kind == "lock" else "it disconnects"


def _clock(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone():%d %b %H:%M:%S}"


def _json(value: object) -> str:
    from lekiwi_deploy.wire.encoding import encode

    return encode(value).decode()
