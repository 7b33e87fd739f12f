from datetime import UTC, datetime

import pytest

from lekiwi_deploy.cli.robot_state import has_labels, state
from lekiwi_deploy.wire.api import Robot
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import Outcome, Phase, Pin, Result, Running, ServiceReport, ServiceState
from lekiwi_deploy.wire.reasons import ClonedKey, DiskFull, NeverJoined, Offline, Pinned

NOW = datetime(2026, 8, 21, 14, tzinfo=UTC)
ONE, TWO = DeploymentId("dep_11111111"), DeploymentId("dep_22222222")
DIGEST = ManifestDigest("0" * 64)


def robot(**fields: object) -> Robot:
    return Robot(
        **{  # type: ignore[arg-type]
            "name": RobotId("kiwi"), "project": ProjectName("p"), "environment": EnvironmentName("production"), "labels": {},
            "joined_at": NOW, "online": True, "last_seen_at": NOW, "desired": ONE, "running": runs(ONE), **fields,
        }
    )  # fmt: skip


def runs(deployment: DeploymentId, *, healthy: bool = True, good: bool = True) -> Running:
    return Running(deployment=deployment, digest=DIGEST, healthy=healthy, good=good, since=NOW)


def failed(result: Result) -> Outcome:
    return Outcome(deployment=TWO, digest=DIGEST, generation=2, result=result, at=NOW, why="web: exit code 3")


ILL = ServiceReport(name="web", state=ServiceState.BACKING_OFF, deployment=ONE, detail="exit code 3")
PIN = Pin(deployment=ONE, by="anna", at=NOW)


@pytest.mark.parametrize(
    ("fields", "word", "why"),
    [
        ({}, "good", ""),
        ({"running": runs(ONE, good=False)}, "healthy", ""),
        ({"joined_at": None, "online": False}, "not joined", "join line"),
        ({"waiting": (NeverJoined(),), "online": False}, "not joined", "join line"),
        ({"online": False}, "offline", "applies on return"),
        ({"online": False, "waiting": (Offline(NOW),)}, "offline", "offline since 21 Aug 14:00"),
        ({"waiting": (ClonedKey(NOW),), "online": False}, "refused", "two machines use this robot's key"),
        ({"pin": PIN}, "pinned", "pinned to dep_11111111 by anna"),
        ({"pin": PIN, "waiting": (Pinned(ONE, "anna", NOW),)}, "pinned", "pinned to dep_11111111 by anna"),
        ({"desired": TWO, "outcome": failed(Result.ROLLED_BACK)}, "rolled back", "dep_22222222 failed here: web: exit code 3"),
        ({"desired": TWO, "outcome": failed(Result.FAILED), "running": None}, "failed", "web: exit code 3"),
        ({"desired": TWO, "phase": Phase.FETCHING}, "fetching", ""),
        ({"desired": TWO, "phase": Phase.WAITING, "waiting": (DiskFull(10, 5),)}, "waiting", "disk full"),
        ({"desired": TWO}, "waiting", "wants dep_22222222"),
        ({"running": None, "desired": None}, "idle", "runs nothing yet"),
        ({"running": runs(ONE, healthy=False), "services": (ILL,)}, "unhealthy", "web backing off: exit code 3"),
    ],
)  # fmt: skip
def test_what_matters_most_about_a_robot_comes_first(fields: dict[str, object], word: str, why: str) -> None:
    how = state(robot(**fields))
    assert how.word.text == word
    assert why in how.why
    assert how.why.count("pinned") <= 1
    assert how.fine == (word in ("good", "healthy", "idle") and not fields.get("waiting"))


def test_labels_must_all_fit() -> None:
    one = robot(labels={"site": "lab", "arm": "left"})
    assert has_labels(one, {})
    assert has_labels(one, {"site": "lab", "arm": "left"})
    assert not has_labels(one, {"site": "lab", "arm": "right"})
    assert not has_labels(one, {"leg": ""})
