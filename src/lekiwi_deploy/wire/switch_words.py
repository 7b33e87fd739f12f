"""How services were changed over, in words for a person."""

from __future__ import annotations

from collections.abc import Iterable

from lekiwi_deploy.wire.link import ServiceSwitch, SwitchKind


def in_words(switches: Iterable[ServiceSwitch]) -> str:
    """`web blue-green; base warm, 12 ms; job cold, 812 ms (…)`: the times are gaps. Empty for no switches."""
    return "; ".join(_one(switch) for switch in switches)


def _one(switch: ServiceSwitch) -> str:
    why = f" ({switch.why})" if switch.why else ""
    match switch.kind:
        case SwitchKind.BLUE_GREEN:
            return f"{switch.service} blue-green"
        case SwitchKind.WARM | SwitchKind.COLD:
            gap = f", {_ms(switch.gap_ms)}" if switch.gap_ms is not None else ""
            return f"{switch.service} {switch.kind.value}{gap}{why}"


def _ms(gap_ms: float) -> str:
    return f"{gap_ms:.1f} ms" if gap_ms < 10 else f"{gap_ms:.0f} ms"
