"""Streams, exit codes, flags, defects: what every verb owes its user."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cli_said import (
    Lekiwi,
)
from scripted_server import Answer, ScriptedServer

from lekiwi_deploy.wire.api import (
    Deployments,
    ErrorBody,
)


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
