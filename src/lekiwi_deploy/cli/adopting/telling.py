"""What a person is shown of a machine before they say yes, and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lekiwi_deploy.cli.adopting.found import Finding, Survey
from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.cli.table import Cell

_SIGNS = {"ok": Cell("✓", "green"), "warn": Cell("!", "yellow"), "fail": Cell("✗", "red")}


def show_findings(out: Output, target: str, how: str, findings: Iterable[Finding]) -> None:
    """How the machine is."""
    out.say()
    out.say(Cell(target, "bold"), Cell(f"  as {how}", "dim"))
    for finding in findings:
        out.say("  ", _SIGNS[finding.state], f" {finding.name:<10}", finding.text)
        if finding.fix:
            out.say(" " * 14, Cell("→ ", "dim"), Cell(finding.fix, "cyan"))


def show_today(out: Output, survey: Survey) -> None:
    """What runs there now."""
    if not survey.today:
        out.say("  Nothing of yours runs there today.")
        return
    out.say("  Runs there today, and is not touched:")
    width = [max(len(row[i]) for row in survey.today) for i in (0, 1)]
    for kind, name, what in survey.today:
        out.say(Cell(f"    {kind:<{width[0]}}  ", "dim"), f"{name:<{width[1]}}  ", what)
    busy = [name for kind, name, _ in survey.today if kind == "unit"]
    if busy:
        out.say(
            Cell(
                "  What your project is to run instead, stop there first: two programs cannot hold the same motors or port.",
                "dim",
            )
        )
        out.say(Cell(f"    sudo systemctl disable --now {busy[0]}", "cyan"))


def failed(findings: Sequence[Finding]) -> str:
    """The checks that failed, in a sentence; "" when none did."""
    return "; ".join(f"{finding.name}: {finding.text}" for finding in findings if finding.state == "fail")
