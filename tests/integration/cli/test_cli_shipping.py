"""`lekiwi promote`, `alias`, `redeploy`, `approve`, `reject`, `cancel`, `diff`, and the pace of `deploy`."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec
import pytest
from cli_said import (
    BUILD,
    DEP,
    KIWI,
    NOW,
    PRODUCTION,
    ROL,
    STARTED,
    Lekiwi,
    deployment,
    environment,
    finished,
    healthy,
    progress,
    project,
)  # fmt: skip
from scripted_server import Answer, Lines, ScriptedServer

from lekiwi_deploy.wire.api import Counts, DeploymentDetail, ErrorBody, Rollout, RolloutStatus
from lekiwi_deploy.wire.approvals import ApprovalRequest, ApprovalRequests, Say, Vote
from lekiwi_deploy.wire.changes import (
    Alias,
    Aliases,
    Cancel,
    Canceled,
    Changed,
    CommitLine,
    Differences,
    Move,
    Moved,
    Redeploy,
    SetAlias,
)
from lekiwi_deploy.wire.forecast import Forecast, ForecastRequest, RobotForecast, StepForecast
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, RobotId
from lekiwi_deploy.wire.pace import Strategy
from lekiwi_deploy.wire.progress import Closed, Progress

DIGEST = ManifestDigest("ab" * 32)
OLD = DeploymentId("dep_2hX9kL3m")
DIFFER = Differences(
    a=deployment("replaced", id=OLD, version="v2.2.9", commit="0df1a22" + "0" * 33),
    b=deployment(digest=DIGEST),
    same_bytes=False,
    commits=(CommitLine(commit="8b71ff7" + "0" * 33, author="Anna", at=NOW, subject="Grip harder"),),
    dependencies=(Changed(name="numpy", before="1.26.0", after="2.0.0"),),
    config=(Changed(name="web.port", before=None, after="8000"),),
    variables=(Changed(name="API_KEY", before="r3", after="r7"),),
    files=(Changed(name="old.py", before="3 B (aaaaaaa)", after=None),),
    restarts=("web",),
)


def moved(**fields: object) -> Moved:
    return Moved(
        **{  # type: ignore[arg-type]
            "deployment": deployment(digest=DIGEST), "environment": PRODUCTION, "differences": DIFFER, "changed": True,
            "rollout": ROL, "undo": "lekiwi undo 7", **fields,
        }
    )  # fmt: skip


def request(**fields: object) -> ApprovalRequest:
    return ApprovalRequest(
        **{  # type: ignore[arg-type]
            "id": "apr_00000001", "project": KIWI, "environment": PRODUCTION, "deployment": DEP, "version": "v2.3.0",
            "digest": DIGEST, "kind": "deploy", "asked_by": "anna", "asked_at": NOW, "author": "Anna", "needed": 2,
            "not_author": True, "expires_at": NOW + timedelta(days=7), **fields,
        }
    )  # fmt: skip


def rollout(**fields: object) -> Rollout:
    return Rollout(
        **{  # type: ignore[arg-type]
            "id": ROL, "project": KIWI, "environment": PRODUCTION, "deployment": DEP, "kind": "deploy",
            "status": RolloutStatus.ROLLING, "by": "anna", "reason": "", "created_at": NOW, "finished_at": None,
            "previous": OLD, "counts": Counts(total=2), **fields,
        }
    )  # fmt: skip


def under_way(server: ScriptedServer) -> None:
    """Its rollout, which ends well."""
    server.on("GET", f"/api/rollouts/{ROL}", rollout())
    stream = [Progress(ROL, n, NOW, body) for n, body in enumerate((healthy("a"), healthy("b"), finished()), start=1)]
    server.on("GET", f"/api/rollouts/{ROL}/progress", Lines(stream))


def test_a_promote_shows_what_differs_moves_just_that_and_follows_it(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/promote", moved(rollout=None), moved(thawed=True))
    under_way(server)
    ran = anna("promote", "staging", "production", "--reason", "demo")
    assert ran.code == 0
    assert ran.out.startswith("✨ Deployed successfully")
    for said in (
        f"{OLD} v2.2.9 (0df1a22) → {DEP} v2.3.0 (8b71ff7)", "1 commit", "8b71ff7  Grip harder", "1.26.0 → 2.0.0",
        "+ 8000", "r3 → r7", "- 3 B (aaaaaaa)", "restarts  web", "not frozen any more", "undo: lekiwi undo 7",
    ):  # fmt: skip
        assert said in ran.err, said
    first, second = (
        msgspec.json.decode(one.body, type=Move) for one in server.requests("POST", "/api/projects/kiwi/promote")
    )
    assert (first.show, second.show) == (True, False)
    assert (second.source, second.target, second.digest, second.reason) == ("staging", "production", DIGEST, "demo")


def test_a_promote_in_json_is_one_object_with_how_it_ended(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/promote", moved(rollout=None), moved())
    under_way(server)
    shown = anna("promote", "staging", "production", "--json").json()
    assert (shown["schema"], shown["status"], shown["live"]) == ("lekiwi.moved/1", "done", 2)


def test_a_promote_that_waits_for_people_exits_with_8(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/promote", moved(rollout=None), moved(rollout=None, request=request()))
    ran = anna("promote", "staging", "production")
    assert ran.code == 8
    assert "Waits for approval to go live in production: 2 approvals, not by its author (in 7 days)" in ran.out
    assert f"lekiwi approve {DEP} -e production" in ran.out


def test_only_the_differences_are_data(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/promote", moved(rollout=None))
    ran = anna("promote", "staging", "production", "--diff")
    assert "1.26.0 → 2.0.0" in ran.out
    assert len(server.requests("POST", "/api/projects/kiwi/promote")) == 1


def test_a_dry_run_says_who_when_and_how_much(anna: Lekiwi, server: ScriptedServer) -> None:
    plan = Forecast(
        environment=PRODUCTION, deployment=DEP, moves=1, bytes=1_372,
        robots=(RobotForecast(robot=RobotId("kiwi-1"), moves=True, step=1, running=OLD, bytes=1_372, restarts=("web",)),),
        steps=(StepForecast(number=1, robots=1, text="soak 10m"),),
    )  # fmt: skip
    server.on("POST", "/api/projects/kiwi/promote", moved(rollout=None), moved(rollout=None, forecast=plan))
    ran = anna("promote", "staging", "production", "--dry-run")
    assert ran.code == 0
    assert f"Would move 1 robot of production to {DEP}, 1.4 kB to send" in ran.out
    assert "kiwi-1  step 1  dep_2hX9kL3m  1.4 kB  restarts web  moves" in ran.out
    assert "soak 10m" in ran.out


def test_a_label_is_set_moved_listed_and_removed(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi", project(environment()))
    old = Alias(name="stable", deployment=OLD, version="v2.2.9", by="anna", at=NOW)
    new = Alias(name="stable", deployment=DEP, version="v2.3.0", by="anna", at=NOW)
    server.on("GET", "/api/projects/kiwi/aliases", Aliases(aliases=()), Aliases(aliases=(old,)))
    server.on("PUT", "/api/projects/kiwi/aliases/stable", old, new)
    ran = anna("alias", "stable", OLD, "--reason", "good")
    assert ran.out == f"stable means {OLD} v2.2.9 now\n"
    assert "use it: lekiwi rollback --to=stable" in ran.err
    asked = msgspec.json.decode(server.requests("PUT", "/api/projects/kiwi/aliases/stable")[0].body, type=SetAlias)
    assert (asked.deployment, asked.reason) == (OLD, "good")
    ran = anna("alias", "stable", DEP)
    assert f"undo: lekiwi alias stable {OLD}" in ran.err
    for listing in (anna("alias", "list"), anna("alias")):
        assert re.fullmatch(f"stable  {OLD}  v2.2.9  .*  anna\n", listing.out)
    server.on("DELETE", "/api/projects/kiwi/aliases/stable", new)
    ran = anna("alias", "rm", "stable")
    assert ran.out == f"stable means nothing any more; it was {DEP} v2.3.0\n"
    assert f"undo: lekiwi alias stable {DEP}" in ran.err


def test_the_name_of_an_environment_is_promoted(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi", project(environment()))
    server.on("POST", "/api/projects/kiwi/promote", moved(rollout=None), moved())
    under_way(server)
    assert anna("alias", "production", DEP).code == 0
    asked = msgspec.json.decode(server.requests("POST", "/api/projects/kiwi/promote")[1].body, type=Move)
    assert (asked.kind, asked.source, asked.target) == ("alias", DEP, "production")


def test_approving_shows_what_differs_and_pins_the_digest(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", f"/api/deployments/{DEP}", _detail())
    server.on("GET", "/api/projects/kiwi/approvals", ApprovalRequests(requests=(request(),)))
    server.on("GET", "/api/projects/kiwi/diff", DIFFER)
    vote = Vote(by="bob", approved=True, at=NOW)
    server.on("POST", f"/api/deployments/{DEP}/approve", request(votes=(vote,)))
    ran = anna("approve", DEP, "--reason", "tried it")
    assert ran.code == 0
    assert f"✅ Approved: {DEP} v2.3.0 in production" in ran.out
    assert "1.26.0 → 2.0.0" in ran.err
    assert "bob approved; 1 more to go" in ran.err
    (said,) = server.requests("POST", f"/api/deployments/{DEP}/approve")
    assert msgspec.json.decode(said.body, type=Say) == Say(environment="production", digest=DIGEST, reason="tried it")


def test_the_last_approval_is_followed_to_the_robots(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", f"/api/deployments/{DEP}", _detail())
    server.on("GET", "/api/projects/kiwi/approvals", ApprovalRequests(requests=(request(),)))
    server.on("GET", "/api/projects/kiwi/diff", DIFFER)
    server.on("POST", f"/api/deployments/{DEP}/approve", request(ended="approved"))
    server.on("GET", "/api/projects/kiwi/rollouts", (rollout(),))
    server.on("GET", "/api/projects/kiwi", project(environment()))
    under_way(server)
    ran = anna("approve", DEP)
    assert ran.code == 0
    assert "✨ Deployed successfully" in ran.out


def test_approve_alone_and_approvals_list_what_waits(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi/approvals", ApprovalRequests(requests=(request(),)))
    server.on("GET", "/api/projects/kiwi/rollouts", ())
    for verb in ("approve", "approvals"):
        ran = anna(verb)
        assert re.fullmatch(
            f"{DEP}  v2.3.0  production  deploy  anna, .*  0 of 2, not by its author  in 7 days\n", ran.out
        )
    shown = anna("approvals", "--json").json()
    assert (shown["schema"], len(shown["requests"])) == ("lekiwi.approvals/1", 1)


def test_nothing_waiting_is_an_empty_list(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi/approvals", ApprovalRequests(requests=()))
    server.on("GET", "/api/projects/kiwi/rollouts", ())
    ran = anna("approvals")
    assert (ran.code, ran.out, "Nothing waits" in ran.err) == (0, "", True)


def test_a_rejection_says_what_it_means(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", f"/api/deployments/{DEP}", _detail())
    server.on("GET", "/api/projects/kiwi/approvals", ApprovalRequests(requests=(request(),)))
    server.on("POST", f"/api/deployments/{DEP}/reject", request(ended="rejected"))
    ran = anna("reject", DEP)
    assert (ran.code, ran.out) == (0, f"🚫 Rejected: {DEP} v2.3.0 does not go to production\n")


def test_who_may_not_approve_is_told_why(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", f"/api/deployments/{DEP}", _detail())
    server.on("GET", "/api/projects/kiwi/approvals", ApprovalRequests(requests=(request(),)))
    server.on("GET", "/api/projects/kiwi/diff", DIFFER)
    refused = ErrorBody(code="not_allowed", message="production asks for somebody else's word")
    server.on("POST", f"/api/deployments/{DEP}/approve", Answer(refused, status=403))
    ran = anna("approve", DEP)
    assert (ran.code, "somebody else's word" in ran.err) == (3, True)


def test_a_redeploy_is_followed_like_a_deployment(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", "/api/projects/kiwi/redeploy", Answer(deployment("built"), status=202))
    closed = Progress(str(DEP), 1, NOW, Closed("built", "waits for 1 approval"))
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines([closed]))
    ran = anna("redeploy", "v2.2.9", "--rebuild", "-m", "again", "-e", "production")
    assert ran.code == 8
    assert "waits for 1 approval" in ran.out
    asked = msgspec.json.decode(server.requests("POST", "/api/projects/kiwi/redeploy")[0].body, type=Redeploy)
    assert (asked.deployment, asked.rebuild, asked.message, asked.environment) == (
        "v2.2.9",
        True,
        "again",
        "production",
    )
    assert anna("redeploy", "--no-wait").out == f"{DEP}\n"


def test_cancel_says_what_it_stopped_and_how_to_take_it_back(
    lekiwi: Lekiwi, anna: Lekiwi, server: ScriptedServer
) -> None:
    stopped = _canceled(stopped="rollout", text="nobody else is asked", took=1, undo="lekiwi rollback")
    server.on("POST", f"/api/deployments/{DEP}/cancel", stopped)
    ran = lekiwi("cancel", DEP, "--reason", "enough")
    assert (ran.code, ran.out) == (0, f"{DEP} v2.3.0: its rollout is stopped\n")
    assert "nobody else is asked" in ran.err
    assert "lekiwi rollback" in ran.err
    asked = msgspec.json.decode(server.requests("POST", f"/api/deployments/{DEP}/cancel")[0].body, type=Cancel)
    assert asked == Cancel(reason="enough")
    assert lekiwi("cancel", DEP, "--json").json()["stopped"] == "rollout"


def test_cancel_with_revert_follows_the_way_back(lekiwi: Lekiwi, anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("POST", f"/api/deployments/{DEP}/cancel", _canceled(stopped="rollout", reverting=ROL))
    server.on("GET", f"/api/deployments/{DEP}", _detail())
    under_way(server)
    ran = lekiwi("cancel", DEP, "--revert")
    assert ran.code == 0
    assert "✨ Rolled back to v2.3.0 on 2/2 robots" in ran.out


def test_a_diff_is_data(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi/diff", DIFFER)
    ran = anna("diff", "production", "staging")
    assert ran.code == 0
    assert "    numpy  1.26.0 → 2.0.0" in ran.out.splitlines()
    assert server.asked[0].query["a"] == "production"
    assert anna("diff", "production", "staging", "--json").json()["schema"] == "lekiwi.diff/1"


@pytest.mark.parametrize(
    ("options", "strategy", "canary", "wave", "soak"),
    [
        (["--strategy", "canary"], Strategy.CANARY, None, None, 60),
        (["--canary", "2", "--soak", "5m"], Strategy.CANARY, 2, None, 300),
        (["--wave", "25%"], Strategy.WAVES, None, 25, 60),
        (["--strategy", "manual", "--wave", "50"], Strategy.MANUAL, None, 50, 60),
    ],
)
def test_the_pace_of_one_deployment_goes_with_it(
    anna: Lekiwi,
    server: ScriptedServer,
    options: list[str],
    strategy: str,
    canary: int | None,
    wave: float | None,
    soak: float,
) -> None:
    server.on(
        "POST",
        "/api/projects/kiwi/forecast",
        Forecast(environment=EnvironmentName("production"), deployment=None, robots=()),
    )
    assert anna("deploy", "--dry-run", *options).code == 0
    (asked,) = server.requests("POST", "/api/projects/kiwi/forecast")
    pace = msgspec.json.decode(asked.body, type=ForecastRequest).pace
    assert pace is not None
    assert (pace.strategy, pace.canary_robots, pace.wave_percent, pace.soak_s) == (strategy, canary, wave, soak)


@pytest.mark.parametrize(
    "options",
    [["--canary", "some"], ["--wave", "0%"], ["--strategy", "all", "--canary", "1"], ["--strategy", "canary", "--wave", "5%"], ["--soak", "x"]],
)  # fmt: skip
def test_a_pace_that_cannot_be_meant_is_refused_before_anything_is_asked(
    anna: Lekiwi, server: ScriptedServer, options: list[str]
) -> None:
    assert anna("deploy", *options).code == 2
    assert server.asked == []


def _canceled(**fields: object) -> Canceled:
    made = msgspec.structs.asdict(deployment("canceled"))
    return Canceled(**{**made, **fields})


def _detail() -> DeploymentDetail:
    return DeploymentDetail(deployment=deployment(digest=DIGEST), rollout=None)


def test_the_timeline_of_a_deployment_is_its_story_with_times(
    lekiwi: Lekiwi, anna: Lekiwi, server: ScriptedServer
) -> None:
    server.on("GET", f"/api/deployments/{DEP}", _detail())
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(progress(*BUILD, STARTED, healthy("a"), finished())))
    ran = lekiwi("inspect", DEP, "--timeline")
    assert ran.code == 0
    said = [line.split("  ", 1)[1].lstrip() for line in ran.out.splitlines()]
    assert any("goes to 2 robots of production (rol_BBBBBBBB)" in line for line in said)
    assert any(line.endswith("a healthy") for line in said)
    assert re.search(r"done: 2 of 2 robots", said[-1])
    shown = lekiwi("inspect", DEP, "--timeline", "--json").json()
    assert (shown["schema"], shown["entries"][-1]["body"]["kind"]) == ("lekiwi.timeline/1", "rollout_finished")
