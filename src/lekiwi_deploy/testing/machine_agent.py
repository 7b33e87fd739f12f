"""The agent of this checkout on a machine, without adoption: a wheel and what it needs, installed once, mounted read-only.

For tests that are about what the agent does; those about how it gets there use `lekiwi robots adopt`.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import locked
from lekiwi_deploy.testing.machine_needs import cache_folder
from lekiwi_deploy.testing.machine_tools import call
from lekiwi_deploy.testing.programs import HERE

PLACE = "/opt/lekiwi-agent"
"""Where the installation is mounted in a machine."""
_KEPT = 4
"""Builds that stay in the cache."""
_CHECKOUT = Path(__file__).resolve().parents[3]
_PROGRAM = f'#!/bin/sh\nPYTHONPATH={PLACE} exec python3 -m lekiwi_deploy.agent "$@"\n'
_UNIT = """\
[Unit]
Description=LeKiwi Deploy agent
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/local/bin/lekiwi-agent run --leave-services
Restart=always
RestartSec=100ms
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def install_agent(machine: Machine, *, service: bool = True) -> None:
    """Put `lekiwi-agent` on a machine that is not booted yet; `service`: with a unit that runs it, which starts at boot once
    the robot has joined (`systemctl enable --now lekiwi-agent` after that). Raises `MachineFailed`."""
    assert not machine.running, "install the agent before the machine is booted"
    installed = built_for(machine)
    machine.binds.append(f"--bind-ro={installed}:{PLACE}")
    machine.write("/usr/local/bin/lekiwi-agent", _PROGRAM, mode=0o755)
    if service:
        machine.write("/etc/systemd/system/lekiwi-agent.service", _UNIT)


def built_for(machine: Machine) -> Path:
    """A folder with this checkout and its dependencies for the machine's own Python; built when the checkout changed."""
    python = call("chroot", machine.root, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    folder = cache_folder() / f"agent-{python}-{_key_of_checkout()}"
    with locked(cache_folder() / "agent.lock"):
        if not folder.exists():
            unfinished = cache_folder() / "agent.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _build(unfinished, python)
            for old in sorted(cache_folder().glob("agent-*/"), key=lambda path: path.stat().st_mtime)[: -_KEPT + 1]:
                shutil.rmtree(old)
            unfinished.rename(folder)
    return folder


def _build(target: Path, python: str) -> None:
    wheels = target.with_name("agent.wheels")
    shutil.rmtree(wheels, ignore_errors=True)
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, folder=_CHECKOUT)
    (wheel,) = wheels.glob("*.whl")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    compiled = ("--compile-bytecode",) if python == own else ()
    install = [
        HERE.bin / "uv",
        "pip",
        "install",
        "-q",
        "--python",
        sys.executable,
        "--python-version",
        python,
        *compiled,
    ]
    call(*install, "--constraint", _CHECKOUT / "requirements/dev.txt", "--target", target, wheel, within_s=300)
    shutil.rmtree(wheels)


def _key_of_checkout() -> str:
    digest = hashlib.sha256()
    for path in [_CHECKOUT / "pyproject.toml", *sorted((_CHECKOUT / "src").rglob("*"))]:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(_CHECKOUT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
