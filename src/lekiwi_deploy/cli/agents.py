"""Which agent a robot has, in words."""

from __future__ import annotations

from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.api import Robot, Robots
from lekiwi_deploy.wire.link import AgentPhase


def behind(robot: Robot, given: Robots) -> bool:
    """Whether the server gives robots another agent than this one has."""
    release = robot.agent_state.release if robot.agent_state is not None else None
    if release is not None and given.agent is not None:
        return release != given.agent
    return robot.agent is not None and given.agent_version is not None and robot.agent != given.agent_version


def agent_shown(robot: Robot, given: Robots) -> Cell | str:
    """A cell of a table."""
    release = robot.agent_state.release if robot.agent_state is not None else None
    text = release or robot.agent or ""
    return Cell(f"{text} behind", "yellow") if behind(robot, given) else text


def agent_story(robot: Robot) -> str:
    """A line about one robot's."""
    state = robot.agent_state
    if state is None or state.release is None:
        return robot.agent or ""
    phases = {
        AgentPhase.IDLE: "",
        AgentPhase.FETCHING: f"fetching {state.wanted}",
        AgentPhase.WAITING: f"{state.wanted} waits: {state.why}",
        AgentPhase.TRIAL: "on trial, watched by the one before",
        AgentPhase.REFUSED: f"{state.wanted} is not used here: {state.why}",
    }
    more = phases[state.phase]
    return f"{state.release}; {more}" if more else state.release
