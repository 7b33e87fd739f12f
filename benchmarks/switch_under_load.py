"""Switching a service that serves: thousands of requests a second and WebSockets that stay, across real switches, through the relay and
through nftables (in a network namespace of its own, as root). And what either adds to a request beside a direct connection."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.figure import Figure
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.choose import VARIABLE, choose
from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.testing.traffic_load import latencies
from lekiwi_deploy.testing.traffic_switches import start_service, stop_service, switch_under_load

DRAIN_S = 2.0
LATENCY_S = 4.0
PUBLIC, PRIVATE = 18000, (24000, 24001)
CONNECTIONS = (1, 64)


class Measured(msgspec.Struct):
    """Of one kind. Latencies in µs: connections → (direct p50, direct p99, through p50, through p99)."""

    requests: int
    seconds: float
    fresh: int
    websockets: int
    cut_at_deadline: int
    failed: list[str]
    lead_ms: float
    lead_max_ms: float
    latency: dict[int, tuple[float, float, float, float]]


def measure(switches: int = 20) -> list[Figure]:
    """Both kinds, or what runs here: nftables needs root and `nft`."""
    figures = []
    for kind in ("nftables", "relay"):
        if kind == "nftables" and (os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare")):
            print("traffic through nftables is not measured: it needs root, nft and unshare", file=sys.stderr)
            continue
        figures += _figures(kind, switches, _apart(kind, switches))
    return figures


def _figures(kind: str, switches: int, seen: Measured) -> list[Figure]:
    for wrong in seen.failed[:10]:
        print(f"{kind}: {wrong}", file=sys.stderr)
    rate = seen.requests / seen.seconds
    figures = [
        Figure(
            name=f"{switches} switches under load, {kind}: failed requests and connections cut early",
            value=len(seen.failed),
            unit=f"of {seen.requests} requests, {seen.websockets} WebSockets",
            target="0",
            met=not seen.failed,
        ),
        Figure(
            name=f"{switches} switches under load, {kind}: rate",
            value=rate,
            unit="requests/s",
            target="several thousand",
            met=rate > 2000,
        ),
        Figure(name=f"moving new connections, {kind}: median", value=seen.lead_ms, unit="ms"),
        Figure(name=f"moving new connections, {kind}: slowest", value=seen.lead_max_ms, unit="ms"),
    ]
    for connections, (direct50, direct99, p50, p99) in sorted(seen.latency.items()):
        for name, value, direct in (("p50", p50, direct50), ("p99", p99, direct99)):
            figures.append(
                Figure(
                    name=f"request through {kind}, {connections} connection{'s' * (connections > 1)}: {name}",
                    value=value,
                    unit="µs",
                    baseline=direct,
                    baseline_is="direct",
                )
            )
    return figures


def _apart(kind: str, switches: int) -> Measured:
    """In a process of its own, and for nftables in a network of its own."""
    alone = ["unshare", "--net", "--"] if kind == "nftables" else []
    command = [*alone, sys.executable, "-m", "benchmarks.switch_under_load", kind, str(switches)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Measured)


async def _measure(kind: str, switches: int) -> Measured:
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    paths = Paths(folder)
    paths.make()
    traffic = await choose(paths, lost=_lost, helpers=set(), environment={VARIABLE: kind})
    await traffic.open()
    try:
        latency = await _latency(traffic)
        began = time.monotonic()
        tally = await switch_under_load(
            traffic, "127.0.0.1", PUBLIC, PRIVATE, switches=switches, drain_s=DRAIN_S, alive=24, anew=8, sockets=50
        )
        return Measured(
            requests=tally.requests,
            seconds=time.monotonic() - began,
            fresh=tally.fresh,
            websockets=tally.websockets,
            cut_at_deadline=len(tally.cut),
            failed=tally.failed,
            lead_ms=1000 * statistics.median(tally.leads),
            lead_max_ms=1000 * max(tally.leads),
            latency=latency,
        )
    finally:
        await traffic.remove()
        shutil.rmtree(folder, ignore_errors=True)


async def _latency(traffic: Traffic) -> dict[int, tuple[float, float, float, float]]:
    service = await start_service(PRIVATE[0], "v0")
    found = {}
    try:
        await traffic.lead({PUBLIC: PRIVATE[0]})
        for connections in CONNECTIONS:
            values: list[float] = []
            for port in (PRIVATE[0], PUBLIC):
                times = await latencies(("127.0.0.1", port), connections=connections, seconds=LATENCY_S)
                values += [1e6 * times[len(times) // 2], 1e6 * times[int(len(times) * 0.99)]]
            found[connections] = (values[0], values[1], values[2], values[3])
    finally:
        await stop_service(service)
    return found


def _lost() -> None:
    raise SystemExit("what was in force was lost")


def main() -> None:
    """`python -m benchmarks.switch_under_load KIND SWITCHES`: JSON of `Measured`."""
    import uvloop

    kind, switches = sys.argv[1], int(sys.argv[2])
    if kind == "nftables":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_measure(kind, switches))))


if __name__ == "__main__":
    main()
