"""One agent that has nothing to do: its memory, its processor time, its start."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figure import Figure
from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.programs import HERE
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import Robots

IDLE_S = 30.0


def measure() -> list[Figure]:
    """An agent that joined, linked and runs hello-robot, watched for `IDLE_S` seconds."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    folder.chmod(0o755)
    try:
        with LocalFleet(folder) as fleet:
            return [*_idle(fleet), *_starts()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _idle(fleet: LocalFleet) -> list[Figure]:
    fleet.server.start()
    anna = fleet.person()
    run = "#!/bin/sh\nexec sleep 100000\n"
    code = anna.repository(fleet.folder / "code", {"run": run})
    code.lekiwi("link", "hello").ok()
    robot = fleet.robot("lekiwi-001")
    robot.add_and_join(anna, "hello")
    began = time.perf_counter()
    robot.start()
    eventually("it is online", lambda: code.lekiwi("robots", "list", "--json").ok().json(Robots).robots[0].online)
    online_s = time.perf_counter() - began
    code.push("hello").ok()
    process = psutil.Process(robot.program.pid)
    time.sleep(15)  # its trial is over then
    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    time.sleep(IDLE_S)
    percent = 100 * (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began)
    rss = process.memory_info().rss / 1e6
    bare = subprocess.Popen([HERE.python, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(1)
        bare_rss = psutil.Process(bare.pid).memory_info().rss / 1e6
    finally:
        bare.kill()
        bare.wait()
    python = "bare Python"
    return [
        Figure(
            name="agent, resident, idle",
            value=rss,
            unit="MB",
            baseline=bare_rss,
            baseline_is=python,
            target="< 45 MB",
            met=rss < 45,
        ),
        Figure(name="agent, processor, idle", value=percent, unit="% of a core", target="< 0.5 %", met=percent < 0.5),
        Figure(name="agent, start → online (seen by polling the CLI)", value=1000 * online_s, unit="ms"),
    ]


def _starts() -> list[Figure]:
    bare = _median_ms([HERE.python, "-c", "pass"])
    python = "bare Python"
    rows = (
        ("lekiwi version", [HERE.lekiwi, "version"], 150),
        ("lekiwi --help", [HERE.lekiwi, "--help"], 150),
        (
            "agent, import and start",
            [
                HERE.python,
                "-c",
                "import lekiwi_deploy.agent.main, lekiwi_deploy.agent.reconcile, lekiwi_deploy.agent.link",
            ],
            500,
        ),
    )
    return [
        Figure(
            name=name,
            value=(took := _median_ms(argv)),
            unit="ms",
            baseline=bare,
            baseline_is=python,
            target=f"< {limit} ms",
            met=took < limit,
        )
        for name, argv, limit in rows
    ]


def _median_ms(argv: list[str], runs: int = 11) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
