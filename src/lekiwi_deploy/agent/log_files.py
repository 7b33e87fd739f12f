"""The files that plain processes write their output to: one per instance, the newest few of each service are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import service_of
from lekiwi_deploy.wire.ids import InstanceId

_KEPT = 3


def log_of(paths: Paths, instance: InstanceId) -> Path:
    """Where it writes. Agents of before had one file per service, which what they started writes to still."""
    path = paths.logs / f"{instance}.log"
    old = paths.logs / f"{service_of(instance)}.log"
    return old if old.exists() and not path.exists() else path


def clear_away(folder: Path, service: str, in_use: Collection[Path]) -> None:
    """Remove all but the newest of a service's files, those aside that are in use."""
    found = []
    for path in folder.glob(f"{service}-{'[0-9a-f]' * 8}.log"):
        with contextlib.suppress(OSError):
            if path not in in_use:
                found.append((path.stat().st_mtime, path))
    for _, path in sorted(found)[:-_KEPT]:
        for name in (path, path.with_name(path.name + ".1")):
            name.unlink(missing_ok=True)
