"""`--strategy --canary --wave --soak` of `lekiwi deploy` as a pace, and what it says of robots that are off."""

from __future__ import annotations

from lekiwi_deploy.cli.spans import parse_span
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.pace import Pace, Strategy


def pace_of(strategy: str | None, canary: str | None, wave: str | None, soak: str | None) -> Pace | None:
    """None: nothing was said. Without a strategy waves mean waves, anything else a canary. Raises `BadInput`."""
    if strategy is None and canary is None and wave is None and soak is None:
        return None
    chosen = Strategy(strategy) if strategy is not None else Strategy.WAVES if wave is not None else Strategy.CANARY
    if chosen is Strategy.ALL and (canary or wave or soak):
        raise BadInput("--strategy all asks everybody at once: it goes with neither --canary nor --wave nor --soak")
    if chosen is Strategy.CANARY and wave is not None:
        raise BadInput(
            "--wave goes with --strategy waves or manual", next=("lekiwi deploy --strategy waves --wave 25%",)
        )
    robots, percent = _canary(canary)
    return Pace(
        strategy=chosen,
        canary_robots=robots,
        canary_percent=percent,
        wave_percent=percent_of("--wave", wave) if wave is not None else None,
        soak_s=parse_span(soak) if soak is not None else Pace(strategy=chosen).soak_s,
    )


def _canary(text: str | None) -> tuple[int | None, float | None]:
    if text is None:
        return None, None
    if text.strip().endswith("%"):
        return None, percent_of("--canary", text)
    if not text.strip().isdecimal() or int(text) < 1:
        raise BadInput(f"--canary {text[:20]!r}: give a number of robots such as 2, or a share such as 10%")
    return int(text), None


def offline_of(offline: str | None, min_success: str | None, *, skip_offline: bool) -> tuple[float | None, bool | None]:
    """What robots that are off mean, as the share that must confirm and whether they are left out; None: as the environment's policy has it.
    Raises `BadInput`."""
    if skip_offline and offline not in (None, "ignore"):
        raise BadInput(f"--skip-offline leaves robots out that are off: it does not go with --offline {offline}")
    if min_success is not None and offline == "fail":
        raise BadInput("--offline fail means --min-success 100%: give one of them")
    share = (
        percent_of("--min-success", min_success) if min_success is not None else 100.0 if offline == "fail" else None
    )
    return share, True if skip_offline or offline == "ignore" else False if offline is not None else None


def percent_of(option: str, text: str) -> float:
    """`95%` or `95` as 95.0. Raises `BadInput`."""
    number = text.strip().removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise BadInput(f"{option} {text[:20]!r}: give a share such as 25%")
    return value
