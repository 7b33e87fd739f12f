"""Choosing where to go back to from a list, on a terminal: age, version, health."""

from __future__ import annotations

import sys

import click

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column, lay_out
from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.wire.api import Deployment, DeploymentStatus

_LISTED = 15
_RAN = (DeploymentStatus.LIVE, DeploymentStatus.REPLACED, DeploymentStatus.PARTIAL)


def pick(run: Run, environment: str) -> str:
    """The deployment that the person chooses among those that ran in the environment. Raises `BadInput` without a terminal and `NotFound` when there
    is none to choose."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or run.out.json:
        raise BadInput(
            "--pick asks on a terminal; here say it with --to",
            next=(f"lekiwi list -e {environment}", f"lekiwi rollback -e {environment} --to=dep_…"),
        )
    found = run.api.deployments(run.project, {"environment": environment, "limit": 100}).deployments
    choices = [one for one in found if one.status in _RAN and not one.active][:_LISTED]
    if not choices:
        raise NotFound(f"nothing else ran in {environment} before", next=(f"lekiwi list -e {environment}",))
    titles = (("", 0), ("AGE", 0), ("VERSION", 0), ("ID", 0), ("HEALTH", 0), ("COMMIT", 1), ("BY", 2), ("", 1))
    columns = [Column(title, drop) for title, drop in titles]
    rows = [_row(run, number, one) for number, one in enumerate(choices, 1)]
    for line in lay_out(columns, rows, run.out.columns, header=True)[0]:
        run.out.draw(run.out.styled([Cell(cell.text + "  ", cell.style) for cell in line]) + "\n")
    number = click.prompt("Back to", type=click.IntRange(1, len(choices)), default=1, err=True)
    return choices[number - 1].id


def _row(run: Run, number: int, one: Deployment) -> tuple[str | Cell, ...]:
    counts = one.robots
    well = Cell(f"{counts.live}/{counts.total} healthy", "green" if counts.live == counts.total else "yellow")
    health = well if not counts.failed else Cell(f"{well.text}, {counts.failed} failed", "red")
    return (
        Cell(str(number), "bold"),
        ago(one.created_at, run.now()),
        one.version,
        one.id,
        health,
        (one.commit or "")[:7],
        one.by,
        (one.message or "").split("\n", 1)[0],
    )
