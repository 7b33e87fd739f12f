"""A forecast, as people read it: who, in which order, how much, and what would hold it back now."""

from __future__ import annotations

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural, size
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.wire.forecast import Forecast, RobotForecast
from lekiwi_deploy.wire.reasons import in_zone, sentence
from lekiwi_deploy.wire.remedies import remedy


def show(run: Run, plan: Forecast) -> None:
    """On stdout, not with --json: the sum, what would keep all of it, the steps, and each robot."""
    out = run.out
    what = plan.deployment or "what is built"
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
                    f"{step.not_before.astimezone():%H:%M:%S}" if step.not_before is not None else "",
                )
                for step in plan.steps
            ],
            indent="  ",
        )
    if plan.stuck is not None:
        out.line(Cell(f"  step {plan.stuck} has nobody who is there to try it", "yellow"))
    if plan.robots:
        out.table(
            (
                Column("ROBOT"),
                Column("STEP"),
                Column("RUNS", 2),
                Column("SENDS", 3),
                Column("RESTARTS", 1),
                Column("NOW"),
            ),
            [_row(one) for one in plan.robots],
            indent="  ",
        )


def _row(one: RobotForecast) -> tuple[str, ...]:
    held = "; ".join(sentence(in_zone(reason.reason, None)) for reason in one.reasons)
    return (
        one.robot,
        str(one.step) if one.moves and one.step else "",
        one.running or "nothing",
        size(one.bytes) if one.moves and one.bytes is not None else "",
        ", ".join(one.restarts) if one.moves else "",
        held or ("moves" if one.moves else "runs it already"),
    )
