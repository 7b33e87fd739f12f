"""`lekiwi` as a person or a program meets it: streams, exit codes, words. The server is scripted, everything else is real."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from scripted_server import Answer, Asked, Hangup, Lines, ScriptedServer

from lekiwi_deploy.cli.main import main
from lekiwi_deploy.wire.api import (
    Counts,
    Deployment,
    DeploymentDetail,
    Deployments,
    DeploymentStatus,
    Environment,
    ErrorBody,
    Freeze,
    Identity,
    LogEntry,
    NewDeployment,
    Project,
    Resolution,
    Robot,
    RobotJoin,
    Robots,
    Role,
    RollbackAnswer,
    RollbackRequest,
    Upload,
)
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId, UploadId
from lekiwi_deploy.wire.progress import (
    Body,
    Built,
    Closed,
    OutputLine,
    Progress,
    RobotMoved,
    RolloutFinished,
    RolloutStarted,
    Step,
    StepFinished,
    StepStarted,
)
from lekiwi_deploy.wire.reasons import Offline

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


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer().running() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home and an empty folder to work in."""
    folder = tmp_path / "kiwi"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("LEKIWI_API", "LEKIWI_TOKEN", "LEKIWI_PROFILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return tmp_path


@pytest.fixture
def lekiwi(home: Path, capfd: pytest.CaptureFixture[str]) -> Lekiwi:
    """Runs a command line in this process; nobody is logged in."""

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = main(list(arguments))
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def anna(lekiwi: Lekiwi, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Lekiwi:
    """The same, told server, token and project."""
    monkeypatch.setenv("LEKIWI_API", server.url)
    monkeypatch.setenv("LEKIWI_TOKEN", TOKEN)

    def run(*arguments: str) -> Ran:
        return lekiwi(*arguments, "-p", "kiwi")

    return run


def git(*arguments: str, folder: Path | None = None) -> str:
    ran = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def commit(message: str) -> None:
    git("add", "-A")
    git("-c", "user.name=Anna", "-c", "user.email=anna@example.org", "commit", "-q", "--allow-empty", "-m", message)


# -- logging in


def test_login_keeps_the_token_in_a_file_that_only_its_owner_reads(
    lekiwi: Lekiwi, server: ScriptedServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", "/api/whoami", ANNA)
    (home / "token").write_text(TOKEN + "\n")
    ran = lekiwi("login", server.url, "--token-file", str(home / "token"))
    assert (ran.code, ran.out) == (0, f"Logged in to {server.url} as anna (owner, the token expires in 30 days)\n")
    kept = home / "home" / ".config" / "lekiwi" / "profiles" / "default.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert TOKEN not in ran.out + ran.err
    assert lekiwi("whoami").out == f"anna (owner) at {server.url}\n"
    assert server.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"
    lekiwi("logout")
    assert not kept.exists()
    assert lekiwi("whoami").code == 3


def test_login_without_a_terminal_asks_nothing(
    lekiwi: Lekiwi, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        ran = lekiwi("login", server.url, "--json")
    assert ran.code == 2
    assert f"lekiwi login {server.url} --token-stdin < FILE" in ran.json()["next"]  # type: ignore[operator]
    assert server.asked == []


def test_a_token_is_not_sent_to_a_server_that_only_a_folder_names(
    lekiwi: Lekiwi, server: ScriptedServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "kiwi" / ".lekiwi").mkdir()
    link = {"project": "kiwi", "api": server.url}
    (home / "kiwi" / ".lekiwi" / "project.json").write_text(json.dumps(link))
    monkeypatch.setenv("LEKIWI_TOKEN", TOKEN)
    ran = lekiwi("list")
    assert ran.code == 3
    assert "not sent there" in ran.err
    assert server.asked == []


def test_a_token_in_a_url_is_refused_and_not_repeated(lekiwi: Lekiwi) -> None:
    ran = lekiwi("login", f"https://{TOKEN}@deploy.example.org", "--token-stdin")
    assert ran.code == 2
    assert TOKEN not in ran.out + ran.err


# -- the contract of streams and exit codes


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("bad_input", 400, 2), ("unauthenticated", 401, 3), ("not_allowed", 403, 3), ("not_found", 404, 4),
        ("ambiguous", 409, 4), ("conflict", 409, 9), ("blocked", 423, 8), ("failed", 422, 1),
    ],
)  # fmt: skip
def test_each_kind_of_error_has_its_exit_code_in_text_and_in_json(
    anna: Lekiwi, server: ScriptedServer, code: str, status: int, exit_code: int
) -> None:
    body = ErrorBody(code=code, message="it is so", next=("lekiwi list",), details={"candidates": ["dep_1", "dep_2"]})
    server.on("POST", "/api/projects/kiwi/rollback", Answer(body, status))
    text = anna("rollback")
    assert (text.code, text.out) == (exit_code, "")
    assert "Error: it is so" in text.err
    assert "→ lekiwi list" in text.err
    as_json = anna("rollback", "--json")
    assert (as_json.code, as_json.err) == (exit_code, "")
    assert msgspec.json.decode(as_json.out, type=ErrorBody) == body


@pytest.mark.parametrize("arguments", [["--json", "list"], ["list", "--json"]])
def test_flags_stand_before_or_after_the_verb(anna: Lekiwi, server: ScriptedServer, arguments: list[str]) -> None:
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=()))
    ran = anna(*arguments)
    assert ran.code == 0
    assert ran.json()["schema"] == "lekiwi.deployments/1"


@pytest.mark.parametrize(
    "arguments",
    [["lst"], ["list", "--limit", "0"], ["whoami", "-e", "production"], ["-r", "kiwi-1", "projects"], ["list", "--tag", "a=b"],
     ["deploy", "--timeout", "soon"], ["deploy", "--ref", "main", "--exclude", "x"], ["-C", "/nowhere", "list"]],
)  # fmt: skip
def test_a_mistake_on_the_command_line_exits_2_and_asks_nobody(
    anna: Lekiwi, server: ScriptedServer, arguments: list[str]
) -> None:
    ran = anna(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Error:" in ran.err
    assert server.asked == []


def test_an_empty_list_is_no_failure(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi/deployments", Deployments(deployments=()))
    ran = anna("list")
    assert (ran.code, ran.out) == (0, "")
    assert "No deployments of kiwi yet" in ran.err


def test_a_defect_is_told_in_one_line_and_kept_whole(anna: Lekiwi, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("lekiwi_deploy.client.api.Api.deployments", broken)
    ran = anna("list")
    assert ran.code == 1
    assert "Traceback" not in ran.err
    kept = home / "home" / ".local" / "state" / "lekiwi" / "last-crash.txt"
    assert str(kept) in ran.err
    assert "ZeroDivisionError: oops" in kept.read_text()
    assert "ZeroDivisionError" in anna("list", "-v").err


# -- list, status, robots


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
    join = RobotJoin(robot=RobotId("kiwi-1"), token="lkd_enr_x", expires_at=NOW + timedelta(minutes=15.5), command=line)
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
    server.on("PATCH", "/api/robots/kiwi-1", robot("kiwi-1", labels={"site": "lab"}))
    assert lekiwi("robots", "tag", "kiwi-1", "site=lab", "arm-").out == "kiwi-1  site=lab\n"
    assert json.loads(server.asked[0].body) == {"labels": {"site": "lab", "arm": None}}


# -- deploy


def upload_routes(server: ScriptedServer, *stream: Body) -> None:
    def new_upload(asked: Asked) -> Answer:
        missing = tuple(entry[3] for entry in json.loads(asked.body)["files"])
        return Answer(Upload(id=UploadId("upl_AAAAAAAA"), missing=missing))

    server.on("POST", "/api/projects/kiwi/uploads", new_upload)
    server.on("PUT", "/api/uploads/upl_AAAAAAAA/objects", Answer(status=204))
    server.on("POST", "/api/projects/kiwi/deployments", Answer(deployment("queued"), 202))
    server.on("GET", f"/api/deployments/{DEP}", DeploymentDetail(deployment=deployment(), rollout=None))
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(progress(*stream)))


def test_deploy_reads_like_the_product_and_gives_the_url(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("print('hello')\n")
    (home / "kiwi" / "ignored.log").write_text("x")
    (home / "kiwi" / ".gitignore").write_text("*.log\n")
    upload_routes(server, *BUILD, STARTED, healthy("lekiwi-001"), healthy("lekiwi-002"), finished())
    ran = anna("deploy", "-m", "Hello", "--meta", "ticket=7")
    assert (ran.code, ran.out) == (0, "http://server/dep_8jK4mN9p\n")
    told = [line.split(" (")[0].rstrip() for line in ran.err.splitlines()]
    assert told == [
        "🚀 Deploying kiwi...",
        "📦 Creating build... done, 2 files, 21 B",
        "🔄 Uploading... done",
        "🔨 Building... python, uv · linux-x86_64",
        "🧪 Testing... 12 passed",
        "🤖 Deploying to 2 robots...",
        "   ✅ lekiwi-001",
        "   ✅ lekiwi-002",
        told[8],
        "   dep_8jK4mN9p · undo: lekiwi rollback",
        "🌐 Dashboard: http://server/dep_8jK4mN9p",
    ]
    assert told[8].startswith("✨ Deployed successfully in 0.")
    asked = msgspec.json.decode(server.requests("POST", "/api/projects/kiwi/deployments")[0].body, type=NewDeployment)
    assert (asked.upload, asked.message, asked.meta) == ("upl_AAAAAAAA", "Hello", {"ticket": "7"})
    (listed,) = server.requests("POST", "/api/projects/kiwi/uploads")
    assert [entry[0] for entry in json.loads(listed.body)["files"]] == [".gitignore", "main.py"]


def test_deploy_json_is_one_deployment(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(server, *BUILD, STARTED, healthy("a"), healthy("b"), finished())
    ran = anna("deploy", "--json")
    assert ran.json()["schema"] == "lekiwi.deployment/1"
    assert ran.json()["status"] == "live"


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ((STARTED, finished("rolled_back", live=0, failed=2)), 5, "rolled back"),
        ((STARTED, finished("partial", live=1, failed=1)), 6, "Partly live: 1/2 robots, 1 failed"),
        ((STARTED, finished("failed", live=0, failed=2)), 1, "Failed"),
        ((STARTED, finished("superseded", live=0)), 9, "another deployment"),
        ((STARTED, finished("done", live=1, pending=1)), 0, "on 1/2 robots, 1 pending"),
        ((Closed("failed", "2 tests failed"),), 1, "2 tests failed"),
        ((Closed("canceled", "by anna"),), 1, "Canceled: by anna"),
        ((Closed("built", "production is frozen"),), 8, "Built, not live: production is frozen"),
    ],
)  # fmt: skip
def test_the_exit_code_says_how_it_ended(
    anna: Lekiwi, server: ScriptedServer, home: Path, end: tuple[Body, ...], code: int, words: str
) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(server, *BUILD, *end)
    ran = anna("deploy")
    assert ran.code == code, ran.err
    assert words in ran.err
    if code:
        assert "✨" not in ran.err


def test_a_failing_test_shows_what_it_wrote(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(
        server,
        StepStarted(Step.TEST, "pytest -q"),
        OutputLine(Step.TEST, "E  wheel 2 turns backwards\x1b[31m"),
        StepFinished(Step.TEST, False, "1 failed", 0.5),
        Closed("failed", "the test failed"),
    )
    ran = anna("deploy")
    assert ran.code == 1
    assert "│ E  wheel 2 turns backwards" in ran.err
    assert "\x1b" not in ran.err


def test_deploy_without_waiting_claims_nothing(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(server)
    ran = anna("deploy", "--no-wait")
    assert ran.code == 0
    assert "✨" not in ran.err
    assert f"lekiwi inspect {DEP} --wait" in ran.err
    assert anna("deploy", "--timeout", "0", "--json").json()["status"] == "queued"


def test_a_timeout_exits_7_and_says_how_to_go_on(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(server)
    server.on("GET", f"/api/deployments/{DEP}/progress", Lines(progress(*BUILD), hold=True))
    ran = anna("deploy", "--timeout", "0.3s")
    assert ran.code == 7
    assert f"lekiwi inspect {DEP} --wait" in ran.err
    assert "goes on" in ran.err


def test_deploy_tells_what_git_knows(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    git("init", "-q", "-b", "main")
    commit("Make it move")
    git("tag", "v1.2.0")
    upload_routes(server)
    anna("deploy", "--no-wait")
    (home / "kiwi" / "main.py").write_text("y")
    anna("deploy", "--no-wait")
    clean, dirty = [
        msgspec.json.decode(asked.body, type=NewDeployment)
        for asked in server.requests("POST", "/api/projects/kiwi/deployments")
    ]
    assert (clean.commit, clean.branch, clean.author) == (git("rev-parse", "HEAD"), "main", "Anna")
    assert (clean.message, clean.version, clean.meta) == ("Make it move", "v1.2.0", {})
    assert (dirty.version, dirty.meta) == ("v1.2.0-dirty", {"dirty": "true"})


def test_deploying_a_ref_uploads_nothing(anna: Lekiwi, server: ScriptedServer) -> None:
    upload_routes(server, Closed("built", "waits"))
    anna("deploy", "--ref", "main")
    assert server.requests("POST", "/api/projects/kiwi/uploads") == []
    (asked,) = server.requests("POST", "/api/projects/kiwi/deployments")
    assert msgspec.json.decode(asked.body, type=NewDeployment).ref == "main"


def test_an_upload_that_broke_is_asked_for_again(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(server, Closed("built", "waits"))
    server.on("PUT", "/api/uploads/upl_AAAAAAAA/objects", Hangup(), Answer(status=204))
    assert anna("deploy").code == 8
    assert len(server.requests("POST", "/api/projects/kiwi/uploads")) == 2


# -- rollback


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


# -- freeze, logs, link, doctor


def test_freeze_takes_the_only_environment_that_has_robots(anna: Lekiwi, server: ScriptedServer) -> None:
    staging = environment(name=EnvironmentName("staging"), robots=0)
    server.on("GET", "/api/projects/kiwi", project(environment(), staging))
    server.on("POST", "/api/projects/kiwi/environments/production/freeze", environment())
    assert "production of kiwi is frozen" in anna("freeze", "--reason", "fair").out
    server.on("GET", "/api/projects/kiwi", project(environment(), environment(name=EnvironmentName("staging"))))
    refused = anna("freeze")
    assert refused.code == 2
    assert "production, staging" in refused.err


def log_line(cursor: str, text: str) -> LogEntry:
    return LogEntry(
        cursor=cursor, at=NOW, robot=RobotId("kiwi-1"), service="web", deployment=DEP, stream="stderr", text=text
    )


def test_logs_are_a_line_each_and_cannot_move_the_cursor(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi/logs", Lines([log_line("c1", "one\x1b[2J"), log_line("c2", "two")]))
    ran = anna("logs", "--service=web", "-n", "5", "-r", "kiwi-1")
    assert [line.split(" ", 1)[1] for line in ran.out.splitlines()] == ["kiwi-1 web one\ufffd[2J", "kiwi-1 web two"]
    query = server.asked[0].query
    assert (query["limit"], query["service"], query["robot"], query["follow"]) == ("5", "web", "kiwi-1", "0")
    entries = [msgspec.json.decode(line, type=LogEntry) for line in anna("logs", "--json").out.splitlines()]
    assert [entry.cursor for entry in entries] == ["c1", "c2"]


def test_link_lets_git_ask_for_the_token_and_writes_it_nowhere(
    lekiwi: Lekiwi, server: ScriptedServer, home: Path
) -> None:
    server.on("GET", "/api/whoami", ANNA)
    server.on("GET", "/api/projects/kiwi", Answer(ErrorBody(code="not_found", message="no"), 404))
    server.on("POST", "/api/projects", Answer(project(), 201))
    (home / "token").write_text(TOKEN)
    lekiwi("login", server.url, "--token-file", str(home / "token"))
    git("init", "-q", "-b", "main")
    ran = lekiwi("link")
    assert ran.code == 0, ran.err
    assert git("remote", "get-url", "lekiwi") == f"{server.url}/git/kiwi.git"
    assert TOKEN not in Path(".git/config").read_text()
    assert json.loads(Path(".lekiwi/project.json").read_text())["project"] == "kiwi"
    assert git("status", "--porcelain") == ""
    asked = f"protocol=http\nhost={server.url.removeprefix('http://')}\n\n"
    filled = subprocess.run(
        ["git", "credential", "fill"], input=asked, capture_output=True, text=True, check=True, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    )  # fmt: skip
    assert f"password={TOKEN}\n" in filled.stdout
    server.on("GET", "/api/projects/kiwi", project())
    assert lekiwi("link").code == 0
    assert lekiwi("doctor").code == 1  # /api/server is not scripted
    assert lekiwi("unlink").code == 0
    assert git("remote") == ""
    assert "credential" not in Path(".git/config").read_text()
    assert not Path(".lekiwi").exists()


def test_link_leaves_somebody_elses_remote_alone(anna: Lekiwi, lekiwi: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/projects/kiwi", project())
    git("init", "-q")
    git("remote", "add", "lekiwi", "https://elsewhere.example/x.git")
    refused = lekiwi("link")
    assert refused.code == 9
    assert git("remote", "get-url", "lekiwi") == "https://elsewhere.example/x.git"
    assert lekiwi("link", "--remote", "robots").code == 0
    assert git("remote", "get-url", "robots") == f"{server.url}/git/kiwi.git"


def test_init_never_overwrites(lekiwi: Lekiwi, home: Path) -> None:
    assert lekiwi("init").code == 0
    first = Path("lekiwi.yaml").read_text()
    assert lekiwi("init").code == 9
    assert Path("lekiwi.yaml").read_text() == first


def test_completion_is_a_script_of_each_shell(lekiwi: Lekiwi) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_LEKIWI_COMPLETE" in lekiwi("completion", shell).out


def test_a_reader_that_has_enough_is_no_failure(lekiwi: Lekiwi) -> None:
    command = f"{sys.executable} -m lekiwi_deploy.cli completion bash | true"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.stderr == ""


def test_help_and_mistakes_load_neither_the_client_nor_the_wire() -> None:
    program = (
        "import sys; from lekiwi_deploy.cli.main import main; main(['--help']); main(['nonsense'])\n"
        "heavy = {'urllib3', 'msgspec', 'ssl', 'asyncio', 'rich', 'nacl', 'zstandard', 'pathspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_program_ends_with_the_code_and_all_its_words(lekiwi: Lekiwi) -> None:
    for arguments, code in ((["version"], 0), (["nonsense"], 2), (["whoami"], 3)):
        ran = subprocess.run(
            [sys.executable, "-m", "lekiwi_deploy.cli", *arguments, "--json"], capture_output=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (code, b"")
        assert json.loads(ran.stdout)["schema"].startswith("lekiwi.")
