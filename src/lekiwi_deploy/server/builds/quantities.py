"""Forms for amounts that are written with their unit: `300MB`, `50%`, `75C`. PURE."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lekiwi_deploy.server.builds.forms import Schema
from lekiwi_deploy.server.builds.strict_yaml import Value, span

_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = r"(0|[1-9][0-9]{0,8})(kB|MB|GB|KiB|MiB|GiB)"
_AMOUNT = r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,2})?"


def size(count: int) -> str:
    """`count` bytes as it is written."""
    for unit in ("GB", "MB", "kB"):
        if count >= _UNITS[unit] and count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}"
    return f"{count // 1000}kB" if count else "0MB"


def span_words(seconds: float) -> str:
    """A time span as it is written: `10m`, `1.5s`, exact to the millisecond."""
    if seconds >= 1 and not float(seconds).is_integer():
        return f"{seconds:.3f}".rstrip("0") + "s"
    return span(seconds) if seconds else "0s"


def percent_words(share: float) -> str | float:
    """A percentage as it is written: `25%`; a plain number where it has more than two digits behind the point."""
    text = f"{share:.2f}".rstrip("0").rstrip(".")
    return f"{text}%" if float(text) == share else share


@dataclass(frozen=True)
class Size:
    """Bytes from `low` to `high`."""

    low: int
    high: int

    def read(self, value: Value) -> int:
        match = re.fullmatch(_SIZE, value.scalar)
        if match is None:
            raise value.wrong(f"must be a size such as 300MB, 2GB or 512MiB, not {value.kind}")
        count = int(match[1]) * _UNITS[match[2]]
        if not self.low <= count <= self.high:
            raise value.wrong(f"must be between {size(self.low)} and {size(self.high)}, not {match[0]}")
        return count

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{_SIZE}$"}

    def words(self) -> str:
        return f"size, `{size(self.low)}` to `{size(self.high)}`"

    def shown(self, read: object) -> str:
        return size(int(str(read)))


@dataclass(frozen=True)
class Amount:
    """A number with `unit` right behind it, from `low` to `high`. `said`: what it is an amount of; `example`: one of them."""

    unit: str
    said: str
    example: str
    low: float
    high: float

    def read(self, value: Value) -> float:
        match = re.fullmatch(self._pattern, value.scalar)
        if match is None:
            raise value.wrong(f"must be a {self.said} such as {self.example}, not {value.kind}")
        amount = float(value.scalar.removesuffix(self.unit))
        if not self.low <= amount <= self.high:
            raise value.wrong(f"must be between {self.shown(self.low)} and {self.shown(self.high)}, not {value.scalar}")
        return amount

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{self._pattern}$"}

    def words(self) -> str:
        return f"{self.said}, `{self.shown(self.low)}` to `{self.shown(self.high)}`"

    def shown(self, read: object) -> str:
        return f"{float(str(read)):.10g}{self.unit}"

    @property
    def _pattern(self) -> str:
        return _AMOUNT + self.unit
