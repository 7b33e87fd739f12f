"""A forecast, as people read it: who, in which order, how much, and what would hold it back now."""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural, size
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.wire.forecast import Forecast, RobotForecast
from lekiwi_deploy.wire.reasons import in_zone, sentence
from lekiwi_deploy.wire.remedies import remedy

_NAMED = 3


def show(run: Run, plan: Forecast) -> None:
    """On stdout, not with --json: the sum, what would keep all of it, the steps, and each robot."""
    out = run.out
    what = plan.deployment or "what is built then"
    about = "at most " if plan.estimated else ""
    bytes_ = f", {about}{size(plan.bytes)} to send" if plan.bytes else ""
    there = f"; {plural(plan.there, 'robot')} run it already" if plan.there else ""
    out.line(
        Cell("Would move ", "bold"), f"{plural(plan.moves, 'robot')} of {plan.environment} to {what}{bytes_}{there}"
    )
    for gate in plan.gates:
        shown = in_zone(gate.reason, None)
        out.line(Cell(" !  ", "yellow"), sentence(shown))
        out.line(Cell("    → ", "dim"), Cell(remedy(shown), "cyan"))
    for note in plan.notes:
        out.line(Cell(f"    {note}", "dim"))
    if plan.steps:
        out.table(
            (Column("STEP"), Column("ROBOTS"), Column("WAITS FOR"), Column("NOT BEFORE", 1)),
            [
                (
                    str(step.number),
                    str(step.robots),
                    step.text,
                    _time(step.not_before, run.now()),
                )
                for step in plan.steps
            ],
            indent="  ",
        )
    if plan.stuck is not None:
        out.line(Cell(f"  step {plan.stuck} has nobody who is there to try it", "yellow"))
    if plan.robots:
        titles = (("ROBOTS", 0), ("STEP", 0), ("RUNS", 2), ("SENDS", 3), ("RESTARTS", 1), ("NOW", 0))
        groups: dict[tuple[str, ...], list[str]] = {}
        for one in sorted(plan.robots, key=lambda each: (not each.moves, each.step, each.robot)):
            groups.setdefault(_row(one, gradual=bool(plan.steps)), []).append(one.robot)
        rows = [(_names(names), *row) for row, names in groups.items()]
        out.table([Column(title, drop) for title, drop in titles], rows, indent="  ")


def _sends(count: int) -> str:
    return size(count) if count else "has it"


def _time(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    here = at.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == now.astimezone().date() else f"{here:%d %b %H:%M}"


def _names(names: list[str]) -> str:
    """Robots that fare alike: a few by name, many by their number."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{plural(len(names), 'robot')} ({names[0]}, …)"


def _row(one: RobotForecast, *, gradual: bool) -> tuple[str, ...]:
    held = "; ".join(sentence(in_zone(reason.reason, None)) for reason in one.reasons)
    return (
        f"step {one.step}" if gradual and one.moves else "",
        one.running or "nothing",
        _sends(one.bytes) if one.moves and one.bytes is not None else "",
        f"restarts {', '.join(one.restarts) or 'nothing'}" if one.moves and one.bytes is not None else "",
        held or ("moves" if one.moves else "runs it already"),
    )
