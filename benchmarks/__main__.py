"""All figures, as a table on stderr and JSON on stdout: `make bench`, `make bench ARGS="--clone ~/src/some-robotics-repository"`.

Each stands beside a baseline that was measured in the same run; compare ratios, not the milliseconds of different machines.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import agent_figures, fleet_figures, handover, switch_under_load, systemd_figures, warm_on_robot
from benchmarks.figure import Figure, as_json, table

GROUPS = ("planner", "undo", "detection", "fleet", "agent", "handover", "traffic", "systemd", "content")


def main() -> int:
    """Measure what was asked for; 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, action="append", help="only this group (repeatable)")
    parser.add_argument("--rollbacks", type=int, default=100, metavar="N")
    parser.add_argument("--switches", type=int, default=20, metavar="N", help="of a service under load")
    parser.add_argument("--pushes", type=int, default=10, metavar="N")
    parser.add_argument(
        "--clone",
        type=Path,
        metavar="DIR",
        help="a git clone whose last 20 commits are moved; without it no content figures",
    )
    parser.add_argument("--example", type=Path, default=Path("examples/lekiwi-robot"), metavar="FOLDER")
    wishes = parser.parse_args()
    groups = wishes.only or GROUPS
    figures: list[Figure] = []
    if "planner" in groups:
        from benchmarks import planner

        figures += planner.measure()
    if "undo" in groups:
        from benchmarks import fleet_undo, fleet_undo_links

        figures += fleet_undo.measure()
        figures += fleet_undo_links.measure()
    if "detection" in groups:
        from benchmarks import detection

        figures += detection.measure()
    if "agent" in groups:
        figures += agent_figures.measure()
    if "handover" in groups:
        figures += handover.measure(wishes.switches)
    if "traffic" in groups:
        figures += switch_under_load.measure(wishes.switches)
    if "systemd" in groups:
        figures += systemd_figures.measure()
        figures += warm_on_robot.measure()
    if "content" in groups and wishes.clone is not None:
        from benchmarks import content_figures

        figures += content_figures.measure(wishes.clone)
    if "fleet" in groups:
        figures += fleet_figures.measure(wishes.rollbacks, wishes.pushes, wishes.example)
    print(table(figures), file=sys.stderr)
    print(as_json(figures).decode())
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
