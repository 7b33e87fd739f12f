"""`lekiwi why`"""

from __future__ import annotations

from collections.abc import Sequence

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.reasons import between, how_long
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs.robot_events import when
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.reasons import Quarantined, in_zone, sentence
from lekiwi_deploy.wire.remedies import remedy
from lekiwi_deploy.wire.why import HeldBack, PastWait, Why, Whys

_SHOWN_EVENTS = 5
_SHOWN_PAST = 5


@click.command("why", cls=Verb, uses=("environment", "project"))
@click.argument("what", required=False, metavar="[ROBOT | dep_… | rol_…]")
@click.option("--past", metavar="WHEN", help="Of a robot: all that held it back since then: 7d, yesterday, 2026-08-21.")
@click.pass_obj
def why(run: Run, what: str | None, past: str | None) -> None:
    """Why a robot does not run what it should: every reason in order, since when, and what would clear it.

    Below it what held it back before. Of a deployment or rollout: which robots do not run it, and what held it back. Without anything:
    what holds the environment back, and every robot of it (with neither -e nor a link: of the project) that is not where it should be,
    by reason.
    """
    if what is not None and run.flags.environment:
        raise BadInput(f"{what} is in one environment: leave -e out")
    if past is not None and (what is None or what.startswith(("dep_", "rol_"))):
        raise BadInput("--past is of a robot: lekiwi why ROBOT --past 7d")
    if what is None:
        _many(run, run.api.why_project(run.project, environment=run.environment))
    elif what.startswith("dep_"):
        _many(run, run.api.why_deployment(what))
    elif what.startswith("rol_"):
        _many(run, run.api.why_rollout(what))
    else:
        utc_offset_min = run.utc_offset_min if past is not None else 0
        _one(run, run.api.why_robot(what, past=past, utc_offset_min=utc_offset_min), every=past is not None)


def _one(run: Run, found: Why, *, every: bool) -> None:
    out, now = run.out, run.now()
    out.object(found)
    out.line(Cell(found.robot, "bold"), *_headline(found))
    out.fields(
        [
            ("environment", f"{found.environment} of {found.project}"),
            ("placed", found.placed),
            ("runs", _deployment(found.running, found.running_version) or "nothing"),
            ("wanted", _deployment(found.wanted, found.wanted_version) or "nothing" if not found.there else ""),
            (
                "link",
                ""
                if found.online
                else f"offline, last seen {ago(found.last_seen_at, now)}; the rest is as it last said",
            ),
            ("overdue", Cell(f"since {ago(found.overdue_since, now)}", "red") if found.overdue_since else ""),
        ]
    )
    for number, held in enumerate(found.reasons, 1):
        shown = in_zone(held.reason, None)
        out.line(f"{number}. {sentence(shown)}", Cell(f"  {how_long(held.since, now)}".rstrip(), "dim"))
        out.line(Cell("   → ", "dim"), Cell(remedy(shown, found.robot), "cyan"))
    _past(run, found.past if every else found.past[:_SHOWN_PAST])
    if len(found.past) > _SHOWN_PAST and not every:
        out.say(Cell(f"more: lekiwi why {found.robot} --past 7d", "dim"))
    if found.events and not every:
        out.line()
        for event in found.events[:_SHOWN_EVENTS]:
            out.line(Cell(f"{when(event, now):<16} ", "dim"), f"{event.kind.replace('_', ' ')}: {event.text}")
        out.say(Cell(f"more: lekiwi robots events {found.robot}", "dim"))


def _past(run: Run, past: Sequence[PastWait], *, named: bool = False) -> None:
    """What held it back before: `14:02-14:09  outside the deployment window …`."""
    if past:
        run.out.line()
        run.out.line(Cell("before", "bold"))
    for one in past:
        shown = one.text if one.robots == 0 else sentence(in_zone(one.reason, None))
        who = ""
        if named and one.robots:
            who = f"{plural(one.robots, 'robot') if one.robots > 1 else one.names[0]} · "
        run.out.line(Cell(f"{between(one.since, one.until, run.now()):<18} ", "dim"), f"{who}{shown}")


def _headline(found: Why) -> tuple[str | Cell, ...]:
    if found.there:
        return (Cell("  runs what is wanted", "green"), ", and nothing holds it back")
    if found.reasons:
        return (Cell("  waits" if found.online else "  offline", "yellow"), f": {plural(len(found.reasons), 'reason')}")
    if found.healthy is False:
        return (Cell("  is not healthy", "red"),)
    return (Cell(f"  is at work ({found.phase.value if found.phase else 'not heard of yet'})", "cyan"),)


def _many(run: Run, found: Whys) -> None:
    out, now = run.out, run.now()
    out.object(found)
    what = found.deployment or found.environment or found.project
    if found.text:
        out.line(Cell(what, "bold"), f"  {found.text}")
    for held in found.reasons:
        shown = in_zone(held.reason, None)
        whole = not isinstance(held.reason, Quarantined)
        out.line(sentence(shown) if whole else held.text, Cell(f"  {how_long(held.since, now)}".rstrip(), "dim"))
        out.line(Cell("   → ", "dim"), Cell(remedy(shown) if whole else held.clears, "cyan"))
    if not found.robots:
        _past(run, found.past, named=True)
        return
    if not found.text:
        not_there = "is not where it should be" if len(found.robots) == 1 else "are not where they should be"
        out.line(Cell(what, "bold"), f"  {len(found.robots)} of {plural(found.total, 'robot')} {not_there}")
    rows = []
    before = ""
    for group, one in sorted(((_group(one), one) for one in found.robots), key=lambda pair: (pair[0], pair[1].robot)):
        why = "; ".join(sentence(in_zone(held.reason, None)) for held in one.reasons) or _plain(one)
        first: HeldBack | None = one.reasons[0] if one.reasons else None
        rows.append(
            (
                Cell("" if group == before else group, "yellow"),
                one.robot,
                one.running or "nothing",
                how_long(first.since, now) if first is not None else "",
                Cell("overdue", "red") if one.overdue_since else "",
                why,
            )
        )
        before = group
    titles = (("REASON", 0), ("ROBOT", 0), ("RUNS", 3), ("SINCE", 2), ("", 0), ("WHY", 0))
    out.table([Column(title, drop) for title, drop in titles], rows)
    out.say(Cell(f"what would clear it: lekiwi why {found.robots[0].robot}", "dim"))
    _past(run, found.past, named=True)


def _group(one: Why) -> str:
    if not one.reasons:
        return "not healthy" if one.healthy is False else "at work"
    return str(one.reasons[0].reason.__struct_config__.tag).replace("_", " ")


def _plain(one: Why) -> str:
    return "".join(str(part.text if isinstance(part, Cell) else part) for part in _headline(one)).strip()


def _deployment(id: str | None, version: str) -> str:
    return f"{id} {version}".strip() if id is not None else ""
