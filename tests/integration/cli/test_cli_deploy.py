"""`lekiwi deploy`, from the folder to the verdict."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from cli_said import (
    BUILD,
    DEP,
    STARTED,
    Lekiwi,
    commit,
    deployment,
    finished,
    git,
    healthy,
    progress,
)
from scripted_server import Answer, Asked, Hangup, Lines, ScriptedServer

from lekiwi_deploy.wire.api import (
    DeploymentDetail,
    NewDeployment,
    Upload,
)
from lekiwi_deploy.wire.ids import UploadId
from lekiwi_deploy.wire.progress import (
    Body,
    Closed,
    OutputLine,
    Step,
    StepFinished,
    StepStarted,
)


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
        "🌐 http://server/dep_8jK4mN9p",
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


def test_ctrl_c_ends_the_following_and_not_the_work(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "main.py").write_text("x")
    upload_routes(server)
    followed = threading.Event()

    def follow(asked: Asked) -> Lines:
        followed.set()
        return Lines(progress(*BUILD), hold=True)

    server.on("GET", f"/api/deployments/{DEP}/progress", follow)
    program = [sys.executable, "-m", "lekiwi_deploy.cli", "deploy", "-p", "kiwi"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert followed.wait(30)
        assert running.stderr is not None
        told = [next(running.stderr) for _ in range(5)]  # what the stream said is here: it is being followed
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert "Testing... 12 passed" in told[-1]
    assert running.returncode == 130
    assert "the work goes on" in err
    assert f"resume: lekiwi inspect {DEP} --wait   stop it: lekiwi cancel {DEP}" in err
    assert "Traceback" not in err
    assert out == "http://server/dep_8jK4mN9p\n"
    assert server.requests("POST", f"/api/deployments/{DEP}/cancel") == []
