"""The units that are the same on every robot (the agent's own, and those around its services) and what runs before the agent starts, as
this release has them."""

from __future__ import annotations

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.self_update.units import BEFORE_START, UNITS
from lekiwi_deploy.agent.supervisors.systemd.fixed_units import FIXED_PROGRAMS, FIXED_UNITS
from lekiwi_deploy.content.durable import write_durably


def write(paths: Paths) -> bool:
    """Write those that are not so already; whether there were any (then systemd is to read them again). Raises `OSError`."""
    wanted = {paths.root / "etc/systemd/system" / name: text for name, text in {**UNITS, **FIXED_UNITS}.items()}
    programs = {paths.root / name: text for name, text in FIXED_PROGRAMS.items()} | {
        paths.agents / "before-start": BEFORE_START
    }
    wanted |= programs
    changed = False
    for path, text in wanted.items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, text.encode(), mode=0o755 if path in programs else 0o644)
            changed = True
    return changed
