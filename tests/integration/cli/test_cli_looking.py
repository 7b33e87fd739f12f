"""list, status, robots."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cli_said import (
    KIWI,
    NOW,
    PRODUCTION,
    Lekiwi,
    deployment,
    environment,
    project,
)
from scripted_server import Answer, ScriptedServer

from lekiwi_deploy.wire.api import (
    Counts,
    Deployments,
    Freeze,
    Robot,
    RobotJoin,
    Robots,
)
from lekiwi_deploy.wire.ids import DeploymentId, RobotId
from lekiwi_deploy.wire.reasons import Offline


def test_list_shows_what_the_product_shows_first(anna: Lekiwi, server: ScriptedServer) -> None:
    old = deployment(
        "rolled_back", id=DeploymentId("dep_5fG2hL7n"), version="v2.2.9", robots=Counts(total=9, live=8, pending=1)
    )
    freeze = Freeze(by="anna", at=NOW, why="rollback to v2.3.0")
    server.on(
        "GET",
        "/api/projects/kiwi/deployments",
        Deployments(deployments=(deployment(), old), environments=(environment(freeze=freeze),), cursor="abc"),
    )
    ran = anna("list")
    assert ran.out.splitlines() == [
        "dep_8jK4mN9p  v2.3.0  1 hour ago  ✅ Active  production  8b71ff7  live         2/2             anna",
        "dep_5fG2hL7n  v2.2.9  1 hour ago             production  8b71ff7  rolled back  8/9 +1 pending  anna",
    ]
    assert "production is frozen" in ran.err
    assert "lekiwi list --cursor abc" in ran.err


def test_list_shows_every_environment_unless_told(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=()))
    anna("list")
    anna("list", "-e", "staging", "--since", "2-days-ago", "--status", "live")
    first, second = server.asked
    assert "environment" not in first.query
    assert (second.query["environment"], second.query["since"], second.query["status"]) == (
        "staging",
        "2-days-ago",
        "live",
    )
    assert "utc_offset_min" in second.query


def robot(name: str, **fields: object) -> Robot:
    return Robot(
        **{  # type: ignore[arg-type]
            "name": RobotId(name), "project": KIWI, "environment": PRODUCTION, "labels": {}, "joined_at": NOW, "online": True,
            "last_seen_at": NOW, **fields,
        }
    )  # fmt: skip


def test_status_names_every_robot_that_is_not_well_and_why(anna: Lekiwi, server: ScriptedServer) -> None:
    away = robot("kiwi-2", online=False, waiting=(Offline(NOW - timedelta(hours=3)),))
    server.on("GET", "/api/projects/kiwi", project(environment(robots=2, online=1, healthy=1)))
    server.on("GET", "/api/robots", Robots(robots=(robot("kiwi-1"), away)))
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=(deployment(),)))
    ran = anna("status")
    assert ran.out.splitlines()[0] == "production  dep_8jK4mN9p  v2.3.0  1 hour ago  8b71ff7  1/2 healthy  1 offline"
    assert "kiwi-2  offline  nothing  offline since" in ran.out
    assert anna().out == ran.out
    shown = anna("status", "--json", "-r", "kiwi-1").json()
    assert [each["name"] for each in shown["robots"]] == ["kiwi-1"]  # type: ignore[attr-defined]


def test_status_tells_of_what_came_after_what_is_live(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi", project(environment()))
    server.on("GET", "/api/robots", Robots(robots=()))
    sick = deployment("rolled_back", id=DeploymentId("dep_sick0000"), version="v2.4.0", error="web: exit code 3")
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=(sick, deployment())))
    ran = anna("status")
    assert "⏪ production: dep_sick0000 v2.4.0 rolled back 1 hour ago: web: exit code 3" in ran.out
    replaced = deployment("replaced", id=DeploymentId("dep_old00000"))
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=(replaced, deployment())))
    assert "dep_old" not in anna("status").out


def test_robots_list_filters_by_label(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/robots", Robots(robots=(robot("kiwi-1", labels={"site": "lab"}), robot("kiwi-2"))))
    ran = anna("robots", "list", "--tag", "site=lab")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["kiwi-1"]
    assert len(anna("robots", "list").out.splitlines()) == 2
    assert anna("robots").out == anna("robots", "list").out


def test_robots_add_prints_exactly_the_line_to_run(anna: Lekiwi, server: ScriptedServer) -> None:
    line = "lekiwi-agent join http://server --token lkd_enr_x"
    join = RobotJoin(
        robot=RobotId("kiwi-1"), token="lkd_enr_x", expires_at=datetime.now(UTC) + timedelta(minutes=15.5), command=line
    )
    server.on("POST", "/api/projects/kiwi/robots", Answer(join, 201))
    ran = anna("robots", "add", "kiwi-1", "--group", "production", "--tag", "site=lab")
    assert ran.out == line + "\n"
    assert "expires in 15 minutes" in ran.err
    assert json.loads(server.asked[0].body) == {"name": "kiwi-1", "group": "production", "labels": {"site": "lab"}}


def test_robots_rm_never_asks_without_a_terminal(lekiwi: Lekiwi, anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("DELETE", "/api/robots/kiwi-1", Answer(status=204))
    refused = lekiwi("robots", "rm", "kiwi-1")
    assert refused.code == 2
    assert "lekiwi robots rm kiwi-1 --yes" in refused.err
    assert server.asked == []
    assert lekiwi("robots", "rm", "kiwi-1", "--yes").code == 0


def test_tags_are_set_and_removed(lekiwi: Lekiwi, anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/robots/kiwi-1", robot("kiwi-1", labels={"arm": "left"}))
    server.on("PATCH", "/api/robots/kiwi-1", robot("kiwi-1", labels={"site": "lab"}))
    assert lekiwi("robots", "tag", "kiwi-1", "site=lab", "arm-").out == "kiwi-1  site=lab\n"
    assert json.loads(server.asked[-1].body) == {"labels": {"site": "lab", "arm": None}}
