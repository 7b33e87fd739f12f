"""What a scripted server says to the command line, and how a command ended."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lekiwi_deploy.wire.api import (
    Counts,
    Deployment,
    DeploymentStatus,
    Environment,
    Identity,
    Project,
    Role,
)
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.progress import (
    Body,
    Built,
    OutputLine,
    Progress,
    RobotMoved,
    RolloutFinished,
    RolloutStarted,
    Step,
    StepFinished,
    StepStarted,
)

TOKEN = "lkd_pat_secretsecretsecret"
NOW = datetime.now(UTC)
DEP, ROL = DeploymentId("dep_8jK4mN9p"), RolloutId("rol_BBBBBBBB")
PRODUCTION, KIWI = EnvironmentName("production"), ProjectName("kiwi")
ANNA = Identity(name="anna", role=Role.OWNER, token="tok_1", expires_at=NOW + timedelta(days=30, minutes=5))


def deployment(status: str = "live", **fields: object) -> Deployment:
    return Deployment(
        **{  # type: ignore[arg-type]
            "id": DEP, "project": KIWI, "environment": PRODUCTION, "version": "v2.3.0", "status": DeploymentStatus(status),
            "active": status == "live", "created_at": NOW - timedelta(hours=1), "commit": "8b71ff7" + "0" * 33,
            "author": "anna", "by": "anna", "robots": Counts(total=2, live=2), "url": "http://server/dep_8jK4mN9p",
            **fields,
        }
    )  # fmt: skip


def environment(**fields: object) -> Environment:
    return Environment(
        **{  # type: ignore[arg-type]
            "name": PRODUCTION, "project": KIWI, "branch": "main", "configured": False, "auto_deploy": True,
            "health_checks": "minimal", "rollback_on_error": True, "live": DEP, "freeze": None, "robots": 2, "online": 2,
            "healthy": 2, **fields,
        }
    )  # fmt: skip


def project(*environments: Environment) -> Project:
    return Project(name=KIWI, created_at=NOW, git="/git/kiwi.git", environments=environments)


def progress(*bodies: Body) -> list[Progress]:
    """A deployment's entries, then, after RolloutStarted, its rollout's."""
    found: list[Progress] = []
    stream, number = str(DEP), 0
    for body in bodies:
        number += 1
        found.append(Progress(stream, number, NOW + timedelta(seconds=0.1 * len(found)), body))
        if isinstance(body, RolloutStarted):
            stream, number = str(ROL), 0
    return found


STARTED = RolloutStarted(ROL, DEP, "v2.3.0", PRODUCTION, 2)
BUILD = (
    StepStarted(Step.BUILD, "python, uv · linux-x86_64"),
    OutputLine(Step.BUILD, "resolved 4 packages"),
    StepFinished(Step.BUILD, True, "python, uv · linux-x86_64", 1.9),
    StepFinished(Step.TEST, True, "12 passed", 0.8),
    Built(DEP, "v2.3.0", "0" * 64, 1000, 3, False),
)


def healthy(robot: str) -> RobotMoved:
    return RobotMoved(robot=RobotId(robot), status="healthy", running=DEP, switch_ms=310)


def finished(status: str = "done", *, live: int = 2, pending: int = 0, failed: int = 0) -> RolloutFinished:
    return RolloutFinished(
        status=status, live=live, pending=pending, failed=failed, total=2, seconds=3.4, undo="lekiwi rollback"
    )


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        (line,) = self.out.splitlines()
        value: dict[str, object] = json.loads(line)
        return value


Lekiwi = Callable[..., Ran]


def git(*arguments: str, folder: Path | None = None) -> str:
    ran = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def commit(message: str) -> None:
    git("add", "-A")
    git("-c", "user.name=Anna", "-c", "user.email=anna@example.org", "commit", "-q", "--allow-empty", "-m", message)
