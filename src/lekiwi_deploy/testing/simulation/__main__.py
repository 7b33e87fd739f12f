"""`python -m lekiwi_deploy.testing.simulation`: runs fleets in virtual time; the same seed gives the same run, to the last message."""

from __future__ import annotations

import argparse
import sys
import time

from lekiwi_deploy.testing.simulation.long_run import Failed, Figures, run


def main(argv: list[str] | None = None) -> int:
    """1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m lekiwi_deploy.testing.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="so many seeds from there on")
    parser.add_argument("--robots", type=int, default=100, metavar="N")
    parser.add_argument("--days", type=float, default=7.0, metavar="N", help="of virtual time")
    parser.add_argument("--story", action="store_true", help="every line of what happened, on stdout")
    wishes = parser.parse_args(argv)
    if wishes.robots < 1 or wishes.days <= 0 or wishes.seeds < 1:
        parser.error("robots, days and seeds must be above 0")
    failed: list[int] = []
    for seed in range(wishes.seed, wishes.seed + wishes.seeds):
        began = time.perf_counter()
        try:
            figures = run(seed, wishes.robots, wishes.days, told=_print if wishes.story else None)
        except Failed as error:
            failed.append(seed)
            sys.stderr.write(f"seed {seed} FAILED: {error}\n")
        else:
            sys.stderr.write(f"seed {seed}: {_said(figures)}; {time.perf_counter() - began:.1f} s\n")
    if failed:
        sys.stderr.write(f"{len(failed)} of {wishes.seeds} seeds failed: {failed}\n")
    return 1 if failed else 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _said(figures: Figures) -> str:
    ends = ", ".join(f"{count} {status}" for status, count in sorted(figures.rollouts.items()))
    return (
        f"{sum(figures.rollouts.values())} rollouts ({ends}), {figures.assignments} assignments, {figures.steps} steps of the conductor, "
        f"{figures.events} events"
    )


if __name__ == "__main__":
    sys.exit(main())
