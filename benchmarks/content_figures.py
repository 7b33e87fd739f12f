"""The figures of content that were promised, each beside its baseline."""

from __future__ import annotations

from pathlib import Path

from benchmarks.content_transfer import run
from benchmarks.figure import Figure


def measure(clone: Path, commits: int = 20, retained: int = 100) -> list[Figure]:
    """Wire bytes and time of `commits` updates beside rsync, git and tar.gz; disk of `retained` deployments beside copies."""
    result = run(clone, commits, retained)
    ours = result["methods"]["lekiwi"]
    figures = []
    for name, limit in (("rsync", 0.15), ("git", 1.0), ("tar.gz", 1.0)):
        if name in result["methods"]:
            other = result["methods"][name]["wire_total"] / 1000
            value = ours["wire_total"] / 1000
            figures.append(
                Figure(
                    name=f"bytes on the wire, {result['commits']} commits", value=value, unit="kB", baseline=other, baseline_is=name,
                    target=f"< {limit:g} of {name}", met=value < limit * other,
                )
            )  # fmt: skip
    for name, other in result["methods"].items():
        if name != "lekiwi":
            value, baseline = ours["ready_ms_median"], other["ready_ms_median"]
            figures.append(
                Figure(
                    name="update to a ready slot, median", value=value, unit="ms", baseline=baseline, baseline_is=name,
                    target="no slower" if name == "rsync" else "", met=value <= baseline if name == "rsync" else None,
                )
            )  # fmt: skip
    disk = result["disk"]
    figures.append(
        Figure(
            name=f"disk of {disk['deployments']} retained deployments", value=disk["retained_bytes"] / 1e6, unit="MB",
            baseline=disk["copies_bytes"] / 1e6, baseline_is="plain copies", target="< 0.03 of them", met=disk["ratio"] < 0.03,
        )
    )  # fmt: skip
    figures.append(Figure(name="an old deployment laid out again", value=disk["lay_out_again_ms"], unit="ms"))
    return figures
