"""Moving real commits to a robot: our packs beside rsync, git and tar.gz.

    python -m benchmarks.content_transfer ~/src/some-robotics-repository

Takes any local clone, which it only reads. A table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.content_disk import disk
from benchmarks.content_history import History
from benchmarks.content_methods import Moved, methods


def run(repo: Path, commits: int = 20, retained: int = 100) -> dict[str, Any]:
    """The last `commits` updates by every method, and the disk that `retained` deployments take.

    `methods`: by name, per update in order `wire` bytes and `ready_ms`, with `first` for an empty robot, medians and totals.
    `ratio_to_rsync`: our total bytes and median time over rsync's (absent without rsync). `disk`: see `content_disk.disk`.
    """
    with tempfile.TemporaryDirectory(prefix="lekiwi-bench-") as name:
        folder = Path(name)
        history = History(repo, folder, commits)
        ways = methods(history, folder)
        first = {way.name: way.first() for way in ways}
        moved: dict[str, list[Moved]] = {way.name: [] for way in ways}
        for number, _ in enumerate(history.steps(), 1):
            for way in ways:
                os.sync()  # nobody waits for what another one wrote
                moved[way.name].append(way.update(number))
        found = {name: _summary(first[name], updates) for name, updates in moved.items()}
        shutil.rmtree(folder)
        folder.mkdir()
        result: dict[str, Any] = {"commits": len(history.commits) - 1, "methods": found}
        if "rsync" in found:
            result["ratio_to_rsync"] = {
                key: found["lekiwi"][key] / found["rsync"][key]
                for key in ("wire_total", "wire_median", "ready_ms_median")
            }
        robot = folder / "robot"
        robot.mkdir()
        result["disk"] = disk(History(repo, folder, retained - 1), robot)
        return result


def _summary(first: Moved, updates: list[Moved]) -> dict[str, Any]:
    return {
        "first": {"wire": first.wire, "ready_ms": first.ready_ms, "server_ms": first.server_ms},
        "wire": [update.wire for update in updates],
        "ready_ms": [round(update.ready_ms, 2) for update in updates],
        "wire_median": statistics.median(update.wire for update in updates),
        "wire_total": sum(update.wire for update in updates),
        "headers_total": sum(update.headers for update in updates),
        "ready_ms_median": statistics.median(update.ready_ms for update in updates),
        "server_ms_median": statistics.median(update.server_ms for update in updates),
    }


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'':10}{'first kB':>12}{'ms':>8}{'update kB':>12}{'total kB':>12}{'ready ms':>10}{'server ms':>11}"]
    for name, found in result["methods"].items():
        lines.append(
            f"{name:10}{found['first']['wire'] / 1000:>12,.1f}{found['first']['ready_ms']:>8,.0f}{found['wire_median'] / 1000:>12,.2f}"
            f"{found['wire_total'] / 1000:>12,.1f}{found['ready_ms_median']:>10,.1f}{found['server_ms_median']:>11,.1f}"
        )
    headers = result["methods"]["lekiwi"]["headers_total"]
    lines.append(
        f"median and total of {result['commits']} updates; server ms: once for all robots; HTTP headers: {headers / 1000:.1f} kB"
    )
    kept = result["disk"]
    lines.append(
        f"{kept['deployments']} retained deployments: {kept['retained_bytes'] / 1e6:,.1f} MB, "
        f"as copies {kept['copies_bytes'] / 1e6:,.1f} MB ({kept['ratio']:.4f}); "
        f"an old one laid out again in {kept['lay_out_again_ms']:.1f} ms"
    )
    return "\n".join(lines)


def main() -> int:
    """Run it for one clone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.content_transfer", description=__doc__.splitlines()[0])
    parser.add_argument("repo", type=Path, help="a git clone; it is only read")
    parser.add_argument("--commits", type=int, default=20)
    parser.add_argument("--retained", type=int, default=100)
    wishes = parser.parse_args()
    result = run(wishes.repo, wishes.commits, wishes.retained)
    print(table(result), file=sys.stderr)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
