"""`lekiwi login`, and where a token goes."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from cli_said import (
    ANNA,
    TOKEN,
    Lekiwi,
)
from scripted_server import ScriptedServer


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
