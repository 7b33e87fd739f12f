"""How fast one deployment goes to the robots, where somebody asks for another pace than their environment's."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Strategy(StrEnum):
    """`lekiwi deploy --strategy`."""

    ALL = "all"  # everybody at once
    CANARY = "canary"  # a few first, then everybody
    WAVES = "waves"  # one share after the other
    MANUAL = "manual"  # a few first, then a person lets each share begin


class Pace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`canary_robots` or `canary_percent`: who goes first (neither: one robot, and none before waves); `wave_percent`: each share after
    that (None: a quarter of waves, else everybody); `soak_s`: how long each share stays healthy before the next begins."""

    strategy: Strategy
    canary_robots: int | None = None
    canary_percent: float | None = None
    wave_percent: float | None = None
    soak_s: float = 60.0
