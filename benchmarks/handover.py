"""How long a robot is still: exclusive hardware handed over warm, beside stop and start; and how quick the way back to a version that is
kept warm is. One real robot, a program that takes two seconds to import."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figure import Figure
from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.person import Repository
from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import DeploymentDetail, Deployments, Robot
from lekiwi_deploy.wire.link import Outcome, SwitchKind

HELPER = Path(__file__).parents[1] / "examples/lekiwi-robot/kiwi/common/hardware.py"
BASE = """
import signal, time
time.sleep(2)  # torch
from hardware import Hardware
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
with Hardware("motors"):
    while not stopping:
        time.sleep(0.005)
"""
WEB = """
import http.server, os, time
time.sleep(2)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
BASE_YAML = """
services:
  base: {{run: [python3, base.py], exclusive: motors, handover: lock, warm: {warm}, health: [{{process: true, settle: 100ms}}]}}
"""
WEB_YAML = """
services:
  web: {run: [python3, web.py], port: 8000, health: [{http: /}]}
"""


def measure(switches: int = 20) -> list[Figure]:
    """Each kind over so many switches."""
    warm = _alternate(switches, {"base.py": BASE, "lekiwi.yaml": BASE_YAML.format(warm="auto")}, pause_s=2.6)
    cold = _alternate(switches, {"base.py": BASE, "lekiwi.yaml": BASE_YAML.format(warm="never")})
    back = _alternate(switches, {"web.py": WEB, "lekiwi.yaml": WEB_YAML})
    gaps, stops = _gaps(warm, SwitchKind.WARM), _gaps(cold, SwitchKind.COLD)
    ways = [outcome.switch_ms for outcome, _ in back if outcome.switch_ms is not None]
    cpu = [1000 * seconds for _, seconds in back]
    return [
        _figure("hand-over gap, p50", statistics.median(gaps), statistics.median(stops), "stop and start"),
        _figure("hand-over gap, p99", percentile(gaps, 0.99), percentile(stops, 0.99), "stop and start", limit=50),
        _figure("back to a warm version, decided → serving, p50", statistics.median(ways), 2000, "its import"),
        _figure(
            "back to a warm version, decided → serving, p99", percentile(ways, 0.99), 2000, "its import", limit=100
        ),
        Figure(name="agent, processor per switch to a warm version", value=statistics.median(cpu), unit="ms"),
    ]


def _figure(name: str, value: float, baseline: float, what: str, *, limit: float | None = None) -> Figure:
    return Figure(
        name=name,
        value=value,
        unit="ms",
        baseline=baseline,
        baseline_is=what,
        target=f"< {limit:.0f} ms" if limit is not None else "",
        met=value < limit if limit is not None else None,
    )


def _gaps(seen: list[tuple[Outcome, float]], kind: SwitchKind) -> list[float]:
    switches = [switch for outcome, _ in seen for switch in outcome.switches]
    wrong = [switch for switch in switches if switch.kind is not kind]
    assert not wrong, f"{len(wrong)} of {len(switches)} were not {kind}: {wrong[:3]}"
    return [switch.gap_ms for switch in switches if switch.gap_ms is not None]


def percentile(values: list[float], share: float) -> float:
    """The value that so many are not above, of those that were measured."""
    return sorted(values)[int(share * (len(values) - 1) + 0.999)]


def _alternate(switches: int, files: dict[str, str], *, pause_s: float = 0.3) -> list[tuple[Outcome, float]]:
    """Two deployments by turns; each outcome, and the seconds of processor time that the agent took."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    folder.chmod(0o755)
    try:
        with LocalFleet(folder) as fleet:
            fleet.server.start()
            anna = fleet.person()
            code = anna.repository(fleet.folder / "code", {**files, "hardware.py": HELPER.read_text(), "a": "1"})
            code.lekiwi("link", "still").ok()
            robot = fleet.robot("lekiwi-001", port_offset=fleet.ports.take() - 8000)
            robot.add_and_join(anna, "still")
            robot.start()
            ids = [_pushed(code, number) for number in ("1", "2")]
            return [_switched(code, robot, ids[turn % 2], pause_s) for turn in range(switches)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pushed(code: Repository, number: str) -> str:
    code.commit(f"Version {number}", {"a": number, "more": number})
    code.push("still").ok()
    listed: Deployments = code.lekiwi("list", "--json").ok().json(Deployments)
    return listed.deployments[0].id


def _switched(code: Repository, robot: LocalRobot, to: str, pause_s: float) -> tuple[Outcome, float]:
    time.sleep(pause_s)  # what waits at the lock has loaded by then, and what traffic has left is paused
    process = psutil.Process(robot.program.pid)
    before = sum(process.cpu_times()[:2])
    code.lekiwi("rollback", f"--to={to}").ok()
    detail: DeploymentDetail = code.lekiwi("inspect", to, "--json").ok().json(DeploymentDetail)
    assert detail.rollout is not None

    def told() -> Outcome | None:
        seen: Robot = code.lekiwi("robots", "show", robot.name, "--json").ok().json(Robot)
        return seen.outcome if seen.outcome is not None and seen.outcome.deployment == to else None

    outcome: Outcome = eventually("the robot tells how it went", told)
    return outcome, sum(process.cpu_times()[:2]) - before


if __name__ == "__main__":
    from benchmarks.figure import table

    print(table(measure()))
