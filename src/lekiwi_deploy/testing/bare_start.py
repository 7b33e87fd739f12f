"""The baseline: what starting the same processes costs on this machine when nobody deploys anything."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.testing.http import body_of
from lekiwi_deploy.testing.ports import PortBlock
from lekiwi_deploy.testing.waiting import eventually


@dataclass(frozen=True)
class Started:
    """A running process, as it was started. Without the port that it was given."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    folder: Path


def how_started(pid: int) -> Started:
    """Command, variables and folder of a running process (Linux)."""
    proc = Path("/proc") / str(pid)
    argv = tuple((proc / "cmdline").read_bytes().decode().rstrip("\0").split("\0"))
    pairs = (line.partition("=") for line in (proc / "environ").read_bytes().decode().split("\0") if "=" in line)
    return Started(argv, {name: value for name, _, value in pairs}, (proc / "cwd").readlink())


def bare_start_ms(processes: Sequence[Started], ports: PortBlock, *, path: str, runs: int = 5) -> float:
    """Milliseconds from starting all of them at once, each on a `PORT` of its own, until every one answers `path` with 200.
    Median over `runs`."""
    return statistics.median(_once(processes, [ports.take() for _ in processes], path) for _ in range(runs))


def _once(processes: Sequence[Started], ports: Sequence[int], path: str) -> float:
    running: list[subprocess.Popen[bytes]] = []
    began = time.perf_counter()
    try:
        for started, port in zip(processes, ports, strict=True):
            environment = started.environment | {"PORT": str(port)}
            running.append(
                subprocess.Popen(started.argv, env=environment, cwd=started.folder, stdout=subprocess.DEVNULL)
            )
        waiting = set(ports)

        def all_answer() -> bool:
            waiting.difference_update([port for port in waiting if body_of(port, path) is not None])
            return not waiting

        eventually(f"all of {len(ports)} processes answer {path}", all_answer, every_s=0.005)
        return 1000 * (time.perf_counter() - began)
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()
