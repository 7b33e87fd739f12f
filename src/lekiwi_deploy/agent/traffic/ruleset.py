"""Our nftables table, as text that `nft -f` loads, and what of it is in force, as `nft -j` lists it.

    table inet lekiwi    map `ports`: public port → private port; set `led`: private ports that connections are, or were, led to
      chain remote       connections from other machines: the port is translated, the address stays as it is
      chain here         likewise connections of this machine to any of its own addresses
      chain guard        a private port is not there for other machines, unless the connection came through its public port

Only the port changes: a service that listens on 127.0.0.1 stays this machine's own, and one that listens everywhere sees who calls.
Established connections keep their translation: the kernel's connection tracking looks into the map once per connection.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

TABLE = "inet lekiwi"
# Only what opens a connection: one that was there before the table, and that the kernel has not tracked yet, goes on as it is.
_OPENS = "tcp flags & (fin | syn | rst | ack) == syn"
_TRANSLATE = f"fib daddr type local {_OPENS} dnat to :tcp dport map @ports"
_CHAINS = {
    "remote": ("type nat hook prerouting priority -100", _TRANSLATE),
    "here": ("type nat hook output priority -100", _TRANSLATE),
    "guard": (
        "type filter hook input priority -10",
        'iif != "lo" tcp dport @led ct state new ct status ! dnat reject with tcp reset',
    ),
}
REMOVE = f"add table {TABLE}\ndelete table {TABLE}\n"
"""Whether it is there or not, it is not there afterwards."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What the kernel does now. `whole`: every chain of ours is there with its rule."""

    targets: Mapping[int, int]
    led: frozenset[int]
    whole: bool


def whole(targets: Mapping[int, int], led: Collection[int]) -> str:
    """The table with exactly these in it, whatever was there before; loading it is one transaction."""
    lines = [
        f"add table {TABLE}",
        f"add map {TABLE} ports {{ type inet_service : inet_service; }}",
        f"add set {TABLE} led {{ type inet_service; }}",
    ]
    for name, (base, rule) in _CHAINS.items():
        lines += [
            f"add chain {TABLE} {name} {{ {base}; policy accept; }}",
            f"flush chain {TABLE} {name}",
            f"add rule {TABLE} {name} {rule}",
        ]
    return "\n".join(lines) + "\n" + change(targets, led)


def change(targets: Mapping[int, int], led: Collection[int]) -> str:
    """Of a table that is there: exactly these from now on, in one transaction."""
    pairs = (f"{public} : {private}" for public, private in sorted(targets.items()))
    return _elements("map", "ports", pairs) + _elements("set", "led", map(str, sorted(led)))


def _elements(kind: str, name: str, elements: Iterable[str]) -> str:
    text = ", ".join(elements)
    add = f"add element {TABLE} {name} {{ {text} }}\n" if text else ""
    return f"flush {kind} {TABLE} {name}\n{add}"


class _Elements(msgspec.Struct):
    name: str
    elem: list[object] = []


class _Rule(msgspec.Struct):
    chain: str


class _Listed(msgspec.Struct):
    map: _Elements | None = None
    set: _Elements | None = None
    rule: _Rule | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Listed]


def read(listing: bytes) -> InForce:
    """Of the answer to `nft -j list table inet lekiwi`. Raises `ValueError` (as `msgspec.DecodeError`) for anything else."""
    listed = msgspec.json.decode(listing, type=_Listing).nftables
    ports = [pair for each in listed if each.map and each.map.name == "ports" for pair in each.map.elem]
    led = [port for each in listed if each.set and each.set.name == "led" for port in each.set.elem]
    return InForce(
        targets=dict(msgspec.convert(ports, list[tuple[int, int]])),
        led=frozenset(msgspec.convert(led, list[int])),
        whole={each.rule.chain for each in listed if each.rule} >= _CHAINS.keys(),
    )
