"""A small server and one real agent for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_robot import AgentRobot
from agent_server import AgentServer


@pytest.fixture
def server() -> Iterator[AgentServer]:
    server = AgentServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def robot(server: AgentServer, tmp_path: Path) -> Iterator[AgentRobot]:
    """Joined, not started."""
    robot = AgentRobot(tmp_path / "robot", server)
    robot.join()
    yield robot
    robot.end()
