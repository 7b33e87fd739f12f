"""One measured figure, beside its baseline of the same run and what we promised."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """`value` and `baseline` in `unit`; `ratio` is value / baseline. `target` in words, `met` None where it is only shown."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_is: str = ""
    target: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """None without a baseline."""
        return self.value / self.baseline if self.baseline else None


def table(figures: list[Figure]) -> str:
    """For people."""
    head = ("figure", "value", "baseline", "ratio", "target", "")
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_json(figures: list[Figure]) -> bytes:
    """For machines: a list of objects, the ratio included."""
    return msgspec.json.encode([msgspec.structs.asdict(figure) | {"ratio": figure.ratio} for figure in figures])


def _row(figure: Figure) -> tuple[str, ...]:
    baseline = "" if figure.baseline is None else f"{figure.baseline:,.4g} {figure.unit} ({figure.baseline_is})"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
    met = {True: "met", False: "MISSED", None: ""}[figure.met]
    return figure.name, f"{figure.value:,.4g} {figure.unit}", baseline, ratio, figure.target, met
