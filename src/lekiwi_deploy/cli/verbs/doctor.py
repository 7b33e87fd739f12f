"""`lekiwi doctor`"""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy.cli.checks import Check, all_checks
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell

_SIGNS = {"ok": Cell("✓", "green"), "warn": Cell("!", "yellow"), "fail": Cell("✗", "red")}


class Doctor(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `ok`: nothing failed."""

    ok: bool
    checks: tuple[Check, ...]
    schema: str = "lekiwi.doctor/1"


@click.command("doctor", cls=Verb)
@click.pass_obj
def doctor(run: Run) -> int:
    """Check server, token, clock, git and this folder's link; says how to mend what is not right. 1 if anything fails."""
    seen = []
    for check in all_checks(run):
        seen.append(check)
        run.out.line(_SIGNS[check.state], f" {check.name:<12}", check.text)
        if check.fix:
            run.out.line(" " * 14, Cell("→ ", "dim"), Cell(check.fix, "cyan"))
    ok = all(check.state != "fail" for check in seen)
    run.out.object(Doctor(ok=ok, checks=tuple(seen)))
    return 0 if ok else 1
