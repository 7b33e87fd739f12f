"""What is asked of the machine's systemd while the agent is installed, looked after or removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lekiwi_deploy.errors import Failed, TimedOut

_LONGEST_S = 90.0


def is_running() -> bool:
    """Whether this machine was booted with systemd."""
    return Path("/run/systemd/system").is_dir()


def call(*arguments: str, check: bool = True) -> str:
    """`systemctl ARGUMENTS`; what it writes. Raises `Failed` with what it complains of, unless `check` is false."""
    command = ["systemctl", "--no-pager", "--no-ask-password", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S, check=False
        )
    except FileNotFoundError:
        raise Failed("there is no systemctl on this machine: the agent is started by systemd") from None
    except subprocess.TimeoutExpired:
        raise TimedOut(f"systemctl {' '.join(arguments)} did not end within {_LONGEST_S:g} s") from None
    if check and done.returncode != 0:
        said = " ".join(line for line in done.stderr.splitlines() if not line.startswith('See "systemctl status'))
        raise Failed(f"systemctl {' '.join(arguments)}: {said.strip() or f'exit {done.returncode}'}")
    return done.stdout


def properties(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit; a unit that is not there has `LoadState=not-found`."""
    lines = call("show", "--property", ",".join(names), "--", unit, check=False).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def last_lines(unit: str, count: int = 8) -> tuple[str, ...]:
    """What a unit wrote last, for a person."""
    command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={count}", f"--unit={unit}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.splitlines())
