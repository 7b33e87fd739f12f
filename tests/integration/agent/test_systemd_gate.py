"""Every unit that is ever written passes systemd's own judgement, which needs no systemd that runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lekiwi_deploy.agent.supervisors.supervisor import Launch, instance_id
from lekiwi_deploy.agent.supervisors.systemd.fixed_units import FIXED_PROGRAMS, FIXED_UNITS
from lekiwi_deploy.agent.supervisors.systemd.grants import Grants
from lekiwi_deploy.agent.supervisors.systemd.unit import Ground, Unit, command_unit, service_unit
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.manifest import Needs

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (package systemd)"
    ),
]
SAFE = 2.0
"""Above it a service is not well protected (a service without any walls: 9.6)."""
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "default": ({}, SAFE),
    "lock, notify and watchdog": ({"lock": Path("/run/lekiwi/locks/motors"), "notify": True, "watchdog_s": 2.0}, SAFE),
    "devices": ({"needs": Needs(devices=("/dev/ttyACM*",))}, SAFE),
    "groups": ({"needs": Needs(groups=("dialout",))}, SAFE),
    "realtime": ({"needs": Needs(realtime=99)}, SAFE),
    "home": ({"needs": Needs(home=True)}, SAFE),
    "writable": ({"needs": Needs(writable=("/srv/maps", "/media/usb stick"))}, SAFE),
    "limits": ({"needs": Needs(cpus=(0,), memory_max=10**9, cpu_percent=50, tasks_max=64)}, SAFE),
    "no network": ({"needs": Needs(network=False)}, 1.0),
    "nice": ({"needs": Needs(capabilities=("CAP_SYS_NICE",))}, SAFE),
    "port below 1024": ({"needs": Needs(capabilities=("CAP_NET_BIND_SERVICE",))}, 2.2),
    "clock": ({"needs": Needs(capabilities=("CAP_SYS_TIME",))}, 2.2),
    "raw sockets": ({"needs": Needs(capabilities=("CAP_NET_RAW", "CAP_NET_ADMIN"))}, 2.4),
    "all at once": (
        {
            "needs": Needs(
                devices=("/dev/ttyACM*",), groups=("video",), realtime=50, home=True, capabilities=("CAP_NET_RAW", "CAP_SYS_NICE")
            )
        },
        3.0,
    ),
}  # fmt: skip


def units(more: dict[str, Any]) -> list[Unit]:
    slot = Path("/opt/lekiwi/deployments/dep_a1B2c3D4")
    launch = Launch(
        instance=instance_id("web", "0" * 64),
        service="web",
        run=("/bin/sh", "-c", "exec %n $HOME; 'x' \"y\" \\z"),
        folder=slot / "code",
        slot=slot,
        state=Path("/var/lib/lekiwi/state/web"),
        environment={"A": "1"},
        deployment=DeploymentId("dep_a1B2c3D4"),
        fingerprint="0" * 64,
        log=Path("/var/log/lekiwi/web.log"),
        family="",
        grace_s=10.0,
        **more,
    )
    granted = Grants(("char-ttyACM",), ("dialout",)) if launch.needs.devices else Grants((), launch.needs.groups)
    ground = Ground(
        program="/bin/sh",
        grants=granted,
        environments="/run/lekiwi/env",
        pipes="/run/lekiwi/pipes",
        bin="/var/lib/lekiwi-agent/bin",
        agent="/var/lib/lekiwi-agent",
        locks="/run/lekiwi/locks",
    )
    return [service_unit(launch, ground), command_unit(launch, ground, ("/bin/sh", "-c", "true"), 3.0)]


def analyze(*arguments: str) -> str:
    """What systemd-analyze says; empty: it has no objection."""
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 and not done.stderr else (done.stdout[-3000:] + done.stderr)


@pytest.mark.parametrize("case", CASES)
def test_a_services_unit_is_understood_and_safe(case: str, tmp_path: Path) -> None:
    more, limit = CASES[case]
    for unit in units(more):
        path = tmp_path / unit.name
        path.write_text(unit.text)
        assert analyze("verify", "--man=no", str(path)) == ""
        threshold = f"--threshold={round(limit * 10)}"
        assert analyze("security", "--offline=true", "--no-pager", threshold, str(path)) == ""


def test_the_gate_is_not_always_open(tmp_path: Path) -> None:
    path = tmp_path / "bare.service"
    path.write_text("[Service]\nExecStart=/bin/true\n")
    assert analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(path)) != ""
    path.write_text("[Service]\nExecStart=/bin/true\nNoSuchSetting=yes\n")
    assert analyze("verify", "--man=no", str(path)) != ""


def test_the_fixed_units_are_understood(tmp_path: Path) -> None:
    for name, text in FIXED_UNITS.items():
        for program in ("/usr/sbin/nft", "/usr/local/bin/lekiwi-agent", *(f"/{path}" for path in FIXED_PROGRAMS)):
            text = text.replace(program, "/bin/true")
        (tmp_path / name).write_text(text)
    for name in FIXED_UNITS:
        assert analyze("verify", "--man=no", str(tmp_path / name)) == ""
