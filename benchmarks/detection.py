"""How soon a bad release is stopped, and how often a good one is: thousands of rollouts with drawn outcomes, decided by the planner itself."""

from __future__ import annotations

import statistics

from benchmarks.figure import Figure
from lekiwi_deploy.testing.simulation.detection import CANARY_PERCENT, WAVE, first_two, roll_out

ROBOTS = 10_000
BROKEN, GOOD = 0.05, 0.002


def measure(seeds: int = 1000) -> list[Figure]:
    """Figures of so many rollouts of each kind."""
    within = first_two(ROBOTS)
    broken = [roll_out(seed, ROBOTS, BROKEN) for seed in range(seeds)]
    good = [roll_out(seed, ROBOTS, GOOD) for seed in range(seeds)]
    caught = 100 * sum(one.stopped is not None and one.asked <= within for one in broken) / seeds
    through = 100 * sum(one.stopped is None for one in good) / seeds
    course = f"canary {CANARY_PERCENT:g} %, waves of {WAVE} of {ROBOTS:,}"
    return [
        Figure(
            name=f"fails on {BROKEN:.0%} of robots: stopped within canary and one wave ({course}; {seeds:,} seeds)",
            value=caught,
            unit="% of seeds",
            target=">= 99 %",
            met=caught >= 99,
        ),
        Figure(
            name="robots asked before it stopped, median; baseline: the most",
            value=statistics.median(one.asked for one in broken),
            unit="robots",
            baseline=max(one.asked for one in broken),
            baseline_is="the latest of all seeds",
        ),
        Figure(
            name=f"fails on {GOOD:.1%} of robots: goes to all of them ({seeds:,} seeds)",
            value=through,
            unit="% of seeds",
            target=">= 99 %",
            met=through >= 99,
        ),
    ]
