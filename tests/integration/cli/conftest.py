"""Somebody at a command line, in a home of their own, with a server that answers as the test says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_said import (
    TOKEN,
    Lekiwi,
    Ran,
)
from scripted_server import ScriptedServer

from lekiwi_deploy.cli.main import main


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
