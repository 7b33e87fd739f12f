"""What a rollout has come to, from how many of its robots stand where."""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.wire.api import RolloutStatus


@dataclass(frozen=True, slots=True)
class Verdict:
    """`live`, `failed`, `pending` (offline, pinned: they hold nothing up) and `under_way` add up to `total` robots;
    `skipped`: how many of those that are pending were left out from the start."""

    status: RolloutStatus
    live: int
    pending: int
    failed: int
    under_way: int
    total: int
    skipped: int = 0


def judge(
    *,
    confirmed: int,
    rolled_back: int,
    failed: int,
    barred: int,
    under_way: int,
    superseded: int,
    total: int,
    goes_on: bool = False,
    skipped: int = 0,
    short: bool = False,
    min_success: float | None = None,
) -> Verdict:
    """The verdict: rolling while an answer is still expected; then done when nothing failed, partial when some confirmed and
    some did not get it. None confirmed: rolled_back when those that tried run what they ran before, else failed.
    `barred`: robots that could not even try (quarantined there, not built for them); `superseded`: taken elsewhere meanwhile;
    `goes_on`: robots are still to be asked; `skipped`: robots that were left out from the start; `short`: nobody was there to prove a step, so the
    others were not asked; `min_success`: percent of all robots, save those left out, that must be confirmed, else it is partial."""
    blamed = rolled_back + failed + barred
    if under_way or goes_on:
        status = RolloutStatus.ROLLING
    elif superseded and superseded == total:
        status = RolloutStatus.SUPERSEDED
    elif not blamed:
        wanted = total - skipped
        missed = min_success is not None and confirmed * 100 < min_success * wanted
        status = RolloutStatus.PARTIAL if short or missed else RolloutStatus.DONE
    elif confirmed:
        status = RolloutStatus.PARTIAL
    elif rolled_back and not failed:
        status = RolloutStatus.ROLLED_BACK
    else:
        status = RolloutStatus.FAILED
    pending = total - confirmed - blamed - under_way
    return Verdict(status, confirmed, pending, blamed, under_way, total, skipped)
