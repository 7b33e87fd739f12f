"""How the relay process is started, wherever the agent's packages are."""

from __future__ import annotations

import sys
from pathlib import Path

import lekiwi_deploy

_PROGRAM = "from lekiwi_deploy.agent.traffic.relay_process import main; main()"


def relay_command(listening: int, path: Path) -> tuple[str, ...]:
    """`listening`: file descriptor of the socket at `path`. It needs nothing but the standard library and our own package: no site (-S),
    and no `-m`, which are half of the time that Python takes to start."""
    return sys.executable, "-s", "-S", "-P", "-c", _PROGRAM, str(listening), str(path)


def relay_environment() -> dict[str, str]:
    """All of it."""
    return {"PYTHONPATH": str(Path(lekiwi_deploy.__file__).resolve().parents[1])}
