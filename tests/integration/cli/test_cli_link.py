"""link, unlink, init, and git asking for the token."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from cli_said import (
    ANNA,
    TOKEN,
    Lekiwi,
    git,
    project,
)
from scripted_server import Answer, ScriptedServer

from lekiwi_deploy.wire.api import (
    ErrorBody,
)


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


def test_init_leads_editors_to_the_schema_of_the_server(lekiwi: Lekiwi, home: Path) -> None:
    assert lekiwi("init", "--api", "https://kiwi.example").code == 0
    line = Path("lekiwi.yaml").read_text().splitlines()[0]
    assert line == "# yaml-language-server: $schema=https://kiwi.example/schema/lekiwi.yaml.json"


def test_the_schema_of_the_project_file_is_printed(lekiwi: Lekiwi) -> None:
    assert json.loads(lekiwi("schema").out)["properties"]["services"]
