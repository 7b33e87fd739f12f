"""Launches for tests of units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lekiwi_deploy.agent.supervisors.supervisor import Launch, instance_id
from lekiwi_deploy.agent.supervisors.systemd.grants import Grants
from lekiwi_deploy.agent.supervisors.systemd.unit import Ground
from lekiwi_deploy.wire.ids import DeploymentId

FINGERPRINT = "0123456789abcdef" * 4


def launch(service: str = "web", run: tuple[str, ...] = ("/bin/sh", "-c", "true"), **more: Any) -> Launch:
    slot = Path("/opt/lekiwi/deployments/dep_a1B2c3D4")
    state = Path("/var/lib/lekiwi/state") / service
    given: dict[str, Any] = {
        "environment": {"PATH": "/usr/bin:/bin", "LEKIWI_STATE": str(state)},
        "deployment": DeploymentId("dep_a1B2c3D4"),
        "fingerprint": FINGERPRINT,
        "grace_s": 10.0,
        **more,
    }
    return Launch(
        instance=instance_id(service, given["fingerprint"]),
        service=service,
        run=run,
        folder=slot / "code",
        slot=slot,
        state=state,
        log=Path("/var/log/lekiwi/web.log"),
        family="",
        **given,
    )


def ground(granted: Grants | None = None, program: str = "/bin/sh") -> Ground:
    return Ground(
        program=program,
        grants=granted or Grants(),
        environments="/run/lekiwi/env",
        pipes="/run/lekiwi/pipes",
        bin="/var/lib/lekiwi-agent/bin",
        agent="/var/lib/lekiwi-agent",
        locks="/run/lekiwi/locks",
    )
