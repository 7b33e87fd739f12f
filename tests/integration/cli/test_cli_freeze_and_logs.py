"""freeze, logs."""

from __future__ import annotations

import msgspec
from cli_said import (
    DEP,
    NOW,
    Lekiwi,
    environment,
    project,
)
from scripted_server import Lines, ScriptedServer

from lekiwi_deploy.wire.api import (
    LogEntry,
)
from lekiwi_deploy.wire.ids import EnvironmentName, RobotId


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
