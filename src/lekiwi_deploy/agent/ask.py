"""Asking the agent that runs on this robot, over its socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TypeVar

from lekiwi_deploy.agent.config import read_config
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import LekiwiError, TimedOut, Unavailable
from lekiwi_deploy.robot.holds import busy
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.holds import HoldAnswer, HoldAsk, HoldRefused
from lekiwi_deploy.wire.local import Answer, Ask, NotDone, RobotHere
from lekiwi_deploy.wire.reasons import Busy, sentence
from lekiwi_deploy.wire.switch_words import in_words

T = TypeVar("T")


class NoAgent(Unavailable):
    """No agent runs on this root."""


def ask(paths: Paths, what: Ask, kind: type[T], *, timeout_s: float) -> T:
    """The agent's answer. Raises `NoAgent`, `NotFound` when the robot never joined, `TimedOut`, or what the agent says is wrong."""
    data = _answered(paths, paths.socket, encode(what) + b"\n", timeout_s)
    answer: Answer = decode(data, Answer, what="the agent's answer")
    if isinstance(answer, NotDone):
        raise LekiwiError(answer.message, next=answer.next, code=answer.code)
    if not isinstance(answer, kind):
        raise Unavailable(f"the agent answered with {type(answer).__name__}: is it as new as this program?")
    return answer


def ask_desk(paths: Paths, what: HoldAsk, kind: type[T], *, timeout_s: float = 10.0) -> T:
    """The answer at the socket where every user may say "not now". Raises as `ask`."""
    data = _answered(paths, paths.hold_socket, encode(what) + b"\n", timeout_s)
    answer: HoldAnswer = decode(data, HoldAnswer, what="the agent's answer")
    if isinstance(answer, HoldRefused):
        raise LekiwiError(answer.message, next=answer.next, code=answer.code)
    if not isinstance(answer, kind):
        raise Unavailable(f"the agent answered with {type(answer).__name__}: is it as new as this program?")
    return answer


def _answered(paths: Paths, where: Path, request: bytes, timeout_s: float) -> bytes:
    try:
        return _exchange(paths, where, request, timeout_s)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        read_config(paths)
        root = "" if str(paths.root) == "/" else f" --root {paths.root}"
        raise NoAgent("no agent runs on this robot", next=(f"lekiwi-agent run{root}",)) from None
    except TimeoutError:
        raise TimedOut(f"the agent did not answer within {timeout_s:g} s; what it was asked for may go on") from None


def _exchange(paths: Paths, where: Path, request: bytes, timeout_s: float) -> bytes:
    # A path of a socket is short (108 bytes); through the folder's descriptor any root folder will do.
    folder = os.open(paths.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(f"/proc/self/fd/{folder}/{where.name}")
            connection.sendall(request)
            data = b""
            while not data.endswith(b"\n"):
                chunk = connection.recv(65536)
                if not chunk:
                    raise ConnectionRefusedError
                data += chunk
            return data
    finally:
        os.close(folder)


def status_text(here: RobotHere) -> str:
    """For a person."""
    report = here.report
    lines = [
        f"robot     {here.robot} ({here.project}, {here.environment})",
        f"server    {here.server}: {here.link}",
    ]
    running = report.running
    if running is None:
        lines.append("running   nothing")
    else:
        version = next((held.version for held in here.deployments if held.id == running.deployment), "")
        state = ("healthy" if running.healthy else "not healthy") + (", good" if running.good else "")
        lines.append(f"running   {running.deployment}  {version}  {state}  since {running.since:%Y-%m-%d %H:%M:%S} UTC")
    if report.pin is not None:
        why = f": {report.pin.why}" if report.pin.why else ""
        lines.append(f"pinned    to {report.pin.deployment} by {report.pin.by}{why}")
    lines += [f"waiting   {sentence(reason)}" for reason in report.waiting]
    told = {reason.id for reason in report.waiting if isinstance(reason, Busy)}
    lines += [f"hold      {sentence(busy(hold))} ({hold.id})" for hold in here.holds if hold.id not in told]
    if report.outcome is not None:
        why = f": {report.outcome.why}" if report.outcome.why else ""
        lines.append(f"outcome   {report.outcome.deployment} {report.outcome.result}{why}")
        if report.outcome.switches:
            lines.append(f"switched  {in_words(report.outcome.switches)}")
    if here.traffic:
        lines.append(f"traffic   {here.traffic}")
    if report.services:
        lines += ["", "SERVICE          STATE        PID      DEPLOYMENT    DETAIL"]
        lines += [
            f"{service.name:<16} {service.state:<12} {service.pid or '-':<8} {service.deployment or '-':<13} {service.detail or ''}".rstrip()
            for service in report.services
        ]
    if here.deployments:
        lines += ["", "  DEPLOYMENT    VERSION      STATE        CREATED"]
        lines += [
            f"{'*' if held.live else ' '} {held.id:<13} {held.version:<12} {held.state:<12} {held.created_at:%Y-%m-%d %H:%M}"
            for held in here.deployments
        ]
    return "\n".join(lines)
