"""The programs that docs/robot-contract.md shows take part in a hand-over, as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from agent_robot import AgentRobot
from agent_server import AgentServer

from lekiwi_deploy.wire.link import SwitchKind
from lekiwi_deploy.wire.manifest import Handover, ProcessCheck, Service

TOP = Path(__file__).parents[3]
ALIVE = (ProcessCheck(settle_s=0.0),)


def blocks(language: str) -> list[str]:
    """The code of that language in the section on hardware."""
    text = (TOP / "docs/robot-contract.md").read_text()
    section = text[text.index("## Hardware that only one process may own") : text.index("## Not now")]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def files(language: str, folder: Path) -> tuple[dict[str, str | bytes], tuple[str, ...]]:
    """What a release that does it so consists of, and how it is run."""
    code = blocks(language)
    match language:
        case "python":
            return {"hardware.py": code[0], "drive.py": code[1]}, ("python3", "-u", "drive.py")
        case "cpp":
            if shutil.which("g++") is None:
                pytest.skip("no g++ on this machine")
            (folder / "drive.cpp").write_text(code[0])
            subprocess.run(
                ["g++", "-std=c++17", "-Wall", "-Werror", "-o", "drive", "drive.cpp"], cwd=folder, check=True
            )
            return {"drive": (folder / "drive").read_bytes()}, ("./drive",)
        case _:
            return {"drive.sh": code[0]}, ("sh", "drive.sh")


@pytest.mark.parametrize("language", ["python", "cpp", "sh"])
def test_a_program_of_the_contract_hands_over(
    server: AgentServer, robot: AgentRobot, tmp_path: Path, language: str
) -> None:
    release, run = files(language, tmp_path)
    base = {"name": "base", "run": run, "exclusive": "motors", "handover": Handover.LOCK, "health": ALIVE}
    robot.start()
    first = server.release(release, [Service(content="a" * 64, **base)], executables=("drive",))  # type: ignore[arg-type]
    server.want(first)
    server.healthy(first, good=True)
    second = server.release({**release, "new": "2"}, [Service(content="b" * 64, **base)], executables=("drive",))  # type: ignore[arg-type]
    server.want(second)
    report = server.healthy(second)
    assert report.outcome is not None
    (switch,) = report.outcome.switches
    assert (switch.service, switch.kind, switch.why) == ("base", SwitchKind.WARM, None)
    assert switch.gap_ms is not None and switch.gap_ms == report.outcome.gap_ms
    said = server.until(lambda: len(drove(server)) >= 3 and drove(server), "both told what they did")
    assert sorted(said) == ["driving", "driving", "standing still"]  # each version has a log of its own


def drove(server: AgentServer) -> list[str]:
    """What the programs said; a shell tells of children that were ended, too."""
    return [text for text in server.texts("base") if text != "Terminated"]


def test_the_examples_helper_is_the_one_of_the_contract() -> None:
    assert (TOP / "examples/lekiwi-robot/kiwi/common/hardware.py").read_text() == blocks("python")[0]
