"""`lekiwi activity`, `undo`, dry runs, what held robots back before, and how a rollback fares."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
from cli_said import DEP, NOW, PRODUCTION, ROL, Lekiwi, deployment, finished, healthy, project
from scripted_server import Lines, ScriptedServer

from lekiwi_deploy.wire.api import Audit, Counts, DeploymentDetail, Deployments, Environment, Rollout, RolloutStatus
from lekiwi_deploy.wire.changes import Undo, Undone
from lekiwi_deploy.wire.forecast import Forecast, RobotForecast, StepForecast
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, RobotId
from lekiwi_deploy.wire.progress import Progress
from lekiwi_deploy.wire.reasons import WindowClosed, sentence
from lekiwi_deploy.wire.rollback import Resolution, RollbackAnswer
from lekiwi_deploy.wire.why import PastWait, Why

KIWI = ProjectName("kiwi")
ACTIVITY = "/api/projects/kiwi/activity"
UNDO = "/api/projects/kiwi/undo"
OLD = DeploymentId("dep_2hX9kL3m")
PLACE = Environment(
    name=PRODUCTION, project=KIWI, branch=None, configured=False, auto_deploy=True, health_checks="minimal", rollback_on_error=True,
    live=OLD, freeze=None, robots=2, online=2, healthy=2,
)  # fmt: skip
WINDOW = WindowClosed(window="22:00-06:00", opens=NOW)


def change(seq: int, *, undo: str = "", undone_by: int | None = None) -> Audit:
    return Audit(
        seq=seq, at=NOW, actor="anna", action="environment.freeze", target="project/kiwi/production", text="froze production",
        origin="10.0.0.7 · lekiwi 0.2.0", reason="demo", undo=undo, undone_by=undone_by,
    )  # fmt: skip


def rollout(status: RolloutStatus = RolloutStatus.DONE) -> Rollout:
    return Rollout(
        id=ROL, project=KIWI, environment=PRODUCTION, deployment=DEP, kind="rollback", status=status, by="anna", reason="", created_at=NOW,
        finished_at=NOW + timedelta(seconds=0.4), previous=OLD, counts=Counts(total=2, live=2),
    )  # fmt: skip


def robot(number: int, *, moves: bool = True) -> RobotForecast:
    return RobotForecast(
        robot=RobotId(f"kiwi-{number:02}"), moves=moves, step=1 if moves else 0, running=OLD, bytes=330 if moves else 0,
        restarts=("web",) if moves else (),
    )  # fmt: skip


def test_a_change_is_a_line_with_who_what_why_and_how_to_take_it_back(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", ACTIVITY, [change(27, undo="lekiwi undo 27"), change(26, undone_by=27)])
    ran = anna("activity", "--type", "environment", "--since", "2h")
    first, second = ran.out.splitlines()
    assert first.split("  ")[0] == "27"
    assert "froze production  demo" in first and first.endswith("lekiwi undo 27")
    assert second.endswith("undone by 27")
    assert server.asked[-1].query["type"] == "environment"
    shown = anna("activity", "--json").json()
    assert (shown["schema"], shown["activity"][0]["origin"], shown["cursor"]) == (
        "lekiwi.activity-list/1",
        "10.0.0.7 · lekiwi 0.2.0",
        None,
    )
    assert "more: lekiwi activity --cursor 26" in anna("activity", "--limit", "2").err


def test_the_history_is_exported_a_line_each_and_never_over_a_file(
    anna: Lekiwi, server: ScriptedServer, home: Path
) -> None:
    server.on("GET", ACTIVITY, Lines([change(1), change(2)]))
    assert "2 changes written to all.ndjson" in anna("activity", "--export", "all.ndjson").err
    lines = Path("all.ndjson").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Audit).seq for line in lines] == [1, 2]
    assert anna("activity", "--export", "all.ndjson").code == 2
    assert len(anna("activity", "--export", "-").out.splitlines()) == 2


def test_an_undo_names_the_change_before_it_does_anything(anna: Lekiwi, server: ScriptedServer) -> None:
    meant = Undone(change=26, text="production is unfrozen", done=False, was="froze production", by="ben", at=NOW)
    server.on("POST", UNDO, meant)
    ran = anna("undo", "--dry-run")
    assert "change 26 by ben" in ran.err and "froze production" in ran.err
    assert ran.out == "Would take it back: production is unfrozen\n"
    server.on("POST", UNDO, msgspec.structs.replace(meant, done=True, redo="lekiwi undo 27"))
    ran = anna("undo", "26", "--reason", "over")
    assert (ran.code, ran.out) == (0, "↩ Taken back: production is unfrozen\n")
    assert "redo: lekiwi undo 27" in ran.err
    first, second = (msgspec.json.decode(one.body, type=Undo) for one in server.asked[-2:])
    assert (first.dry_run, second.dry_run, second.change, second.reason) == (True, False, 26, "over")


def test_an_undo_that_moves_robots_is_followed(anna: Lekiwi, server: ScriptedServer) -> None:
    done = Undone(
        change=26, text=f"production runs {DEP} again", done=True, rollout=ROL, deployment=DEP, redo="lekiwi undo 27"
    )
    server.on("POST", UNDO, done)
    server.on("GET", f"/api/rollouts/{ROL}", rollout())
    server.on("GET", f"/api/deployments/{DEP}", DeploymentDetail(deployment=deployment(), rollout=None))
    stream = [Progress(ROL, n, NOW, body) for n, body in enumerate((healthy("a"), healthy("b"), finished()), start=1)]
    server.on("GET", f"/api/rollouts/{ROL}/progress", Lines(stream))
    ran = anna("undo")
    assert ran.code == 0
    assert "Rolled back to v2.3.0 on 2/2 robots" in ran.out


def test_a_dry_run_puts_robots_that_fare_alike_together(anna: Lekiwi, server: ScriptedServer) -> None:
    plan = Forecast(
        environment=PRODUCTION, deployment=DEP, robots=(*map(robot, range(12)), robot(12, moves=False)), bytes=3960, estimated=True,
        moves=12, there=1,
        steps=(StepForecast(number=1, robots=12, text="soak 10m"), StepForecast(number=2, robots=0, text="")),
    )  # fmt: skip
    resolution = Resolution(selector="previous", deployment=deployment(), activation=None, text=f"previous -> {DEP}")
    answer = RollbackAnswer(
        resolution=resolution, environment=PRODUCTION, rollout=None, changed=True, frozen=False, robots=(), undo="", there=1, forecast=plan
    )  # fmt: skip
    server.on("POST", "/api/projects/kiwi/rollback", answer)
    out = anna("rollback", "--dry-run", "--gradual").out
    assert out.startswith(f"Would move 12 robots of production to {DEP}, at most 4.0 kB to send; 1 robot")
    assert "12 robots (kiwi-00, …)  step 1  dep_2hX9kL3m  330 B  restarts web  moves" in out
    assert "runs it already" in out.splitlines()[-1]


def test_where_to_go_back_is_asked_on_a_terminal_only(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi", project(PLACE))
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=()))
    ran = anna("rollback", "--pick", "-e", "production")
    assert ran.code == 2
    assert "lekiwi rollback -e production --to=dep_…" in ran.err


def test_how_the_last_rollback_fares(anna: Lekiwi, server: ScriptedServer) -> None:
    done = msgspec.structs.replace(
        change(26, undo="lekiwi undo 26"), action="environment.rollback", text=f"rolled production back from {DEP} to {OLD}", detail={"rollout": ROL}
    )  # fmt: skip
    server.on("GET", ACTIVITY, [done])
    server.on("GET", "/api/projects/kiwi", project(PLACE))
    server.on("GET", f"/api/rollouts/{ROL}", rollout())
    ran = anna("rollback", "status", "-e", "production")
    assert "rolled production back from" in ran.out
    assert "2 of 2 robots confirmed" in ran.out
    assert "undo: lekiwi undo 26" in ran.err


def test_what_held_a_robot_back_before_is_below_the_present(anna: Lekiwi, server: ScriptedServer) -> None:
    past = PastWait(
        reason=WINDOW, text=sentence(WINDOW), since=NOW, until=NOW + timedelta(minutes=7), names=(RobotId("kiwi-1"),)
    )
    found = Why(
        robot=RobotId("kiwi-1"), project=KIWI, environment=PRODUCTION, online=True, last_seen_at=NOW, there=True, phase=None, healthy=True,
        running=DEP, running_version="v2.3.0", wanted=DEP, wanted_version="v2.3.0", reasons=(), defer_limit_s=60.0, past=(past,),
    )  # fmt: skip
    server.on("GET", "/api/robots/kiwi-1/why", found)
    *_, title, line = anna("why", "kiwi-1").out.splitlines()
    assert title == "before"
    assert "outside the deployment window 22:00-06:00" in line
    anna("why", "kiwi-1", "--past", "7d")
    assert server.asked[-1].query["past"] == "7d"
    assert anna("why", "--past", "7d").code == 2
