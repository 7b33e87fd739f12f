"""`lekiwi rollback`."""

from __future__ import annotations

import msgspec
from cli_said import (
    DEP,
    NOW,
    PRODUCTION,
    ROL,
    Lekiwi,
    deployment,
    finished,
    healthy,
)
from scripted_server import Lines, ScriptedServer

from lekiwi_deploy.wire.ids import RobotId, RolloutId
from lekiwi_deploy.wire.progress import (
    Progress,
)
from lekiwi_deploy.wire.rollback import Resolution, RollbackAnswer, RollbackRequest


def rollback_answer(*, changed: bool = True, rollout: RolloutId | None = ROL) -> RollbackAnswer:
    resolution = Resolution(
        selector="2-hours-ago", deployment=deployment(), activation=None, text=f"2-hours-ago -> {DEP} v2.3.0 (8b71ff7)"
    )
    return RollbackAnswer(
        resolution=resolution, environment=PRODUCTION, rollout=rollout, changed=changed, frozen=changed,
        robots=(RobotId("a"), RobotId("b")), undo="lekiwi rollback --to=dep_2hX9kL3m",
    )  # fmt: skip


def test_a_rollback_echoes_moves_freezes_and_says_how_to_undo_it(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/rollback", rollback_answer())
    stream = [Progress(ROL, n, NOW, body) for n, body in enumerate((healthy("a"), healthy("b"), finished()), start=1)]
    server.on("GET", f"/api/rollouts/{ROL}/progress", Lines(stream))
    ran = anna("rollback", "--to=2-hours-ago", "--reason", "slow")
    assert ran.code == 0
    assert ran.out.startswith("✨ Rolled back to v2.3.0 on 2/2 robots in ")
    assert f"2-hours-ago -> {DEP} v2.3.0" in ran.err
    assert "🤖 Rolling back 2 robots..." in ran.err
    assert "lekiwi unfreeze -e production" in ran.err
    assert "undo: lekiwi rollback --to=dep_2hX9kL3m" in ran.err
    asked = msgspec.json.decode(server.asked[0].body, type=RollbackRequest)
    assert (asked.to, asked.reason, asked.environment, asked.robot) == ("2-hours-ago", "slow", None, None)
    shown = anna("rollback", "--json").json()
    assert (shown["schema"], shown["status"], shown["rollout"], shown["live"]) == ("lekiwi.rollback/1", "done", ROL, 2)
    assert len(server.asked) == 4  # one question and one stream each: nothing else stands between Enter and the robots


def test_a_dry_run_only_says(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/rollback", rollback_answer(rollout=None, changed=False))
    ran = anna("rollback", "--dry-run")
    assert ran.out == "Would move production: 2 robots to dep_8jK4mN9p v2.3.0\n"
    assert anna("rollback", "--dry-run", "--json").json()["rollout"] is None
    assert "nothing to do" in anna("rollback").out


def test_the_rollback_of_a_robot_says_which(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/rollback", rollback_answer())
    ran = anna("rollback", "-r", "a", "-e", "staging", "--no-wait")
    assert ran.code == 0
    asked = msgspec.json.decode(server.asked[0].body, type=RollbackRequest)
    assert (asked.robot, asked.environment) == ("a", "staging")
