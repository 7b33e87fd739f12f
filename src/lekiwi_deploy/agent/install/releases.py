"""The agent's own releases below /opt/lekiwi/agent, and which of them is in use."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.content.durable import sync_path
from lekiwi_deploy.errors import Failed, NotFound

PROGRAM = "lekiwi-agent"


def folder(paths: Paths) -> Path:
    """Where the releases are."""
    return paths.lekiwi / "agent"


def link(paths: Paths) -> Path:
    """What names the one in use."""
    return folder(paths) / "current"


def in_use(paths: Paths) -> str | None:
    """The release that `current` names; None: none."""
    try:
        return str(link(paths).readlink())
    except OSError:
        return None


def running(paths: Paths) -> str | None:
    """The release that this very program is part of; None: it is installed in another way."""
    here = Path(sys.prefix).resolve()
    return here.name if here.parent == folder(paths).resolve() else None


def use(paths: Paths, release: str) -> None:
    """From now on `lekiwi-agent` is that release; durable on return, and at every moment there is one. Raises `NotFound`."""
    if not (folder(paths) / release / "bin" / PROGRAM).exists():
        raise NotFound(f"there is no release {release} of the agent in {folder(paths)}")
    if in_use(paths) == release:
        return
    new = link(paths).with_name(".current.new")
    new.unlink(missing_ok=True)
    new.symlink_to(release)
    new.replace(link(paths))
    sync_path(folder(paths))


def put_on_path(paths: Paths) -> Path:
    """`/usr/local/bin/lekiwi-agent`, which leads through `current`. Raises `Failed` when a file of somebody else is there."""
    program = paths.root / "usr/local/bin" / PROGRAM
    target = os.path.relpath(link(paths) / "bin" / PROGRAM, program.parent)
    if program.is_symlink() and str(program.readlink()) == target:
        return program
    if program.exists() and not program.is_symlink():
        raise Failed(f"{program} is there already and is not ours", next=(f"mv {program} {program}.before",))
    program.parent.mkdir(parents=True, exist_ok=True)
    new = program.with_name(f".{PROGRAM}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(program)
    sync_path(program.parent)
    return program


def forget_others(paths: Paths, keep: set[str | None]) -> None:
    """Remove the releases that are neither in `keep` nor in use."""
    kept = {*keep, in_use(paths), running(paths), "current"}
    for old in folder(paths).iterdir():
        if old.name not in kept and not old.name.startswith(".") and old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
