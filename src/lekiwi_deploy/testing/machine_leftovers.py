"""Names that say which test process made a thing, so that what a killed one left behind is found and removed by the next.

Of every machine and network there may be left: mounts and folders below `runs/<run>/`, a network namespace `<run>-<name>`, control
groups of that name, and processes in them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from functools import cache
from pathlib import Path

from lekiwi_deploy.testing.machine_image import locked
from lekiwi_deploy.testing.machine_needs import cache_folder, systemd_hierarchy, unified_hierarchy
from lekiwi_deploy.testing.machine_tools import share, tried
from lekiwi_deploy.testing.waiting import NeverHappened, eventually

NAMESPACES = Path("/run/netns")
_PROPAGATED = Path("/run/systemd/nspawn/propagate")
_RUN = re.compile(r"lekiwi-(\d+)-(\d+)")


def this_run() -> str:
    """The name of what this process makes: its id and when it began, so that a later process with the same id is not taken for it."""
    return f"lekiwi-{os.getpid()}-{_began(os.getpid())}"


def folder_of(name: str) -> Path:
    """A new empty folder for a machine of this process."""
    sweep_once()
    run = cache_folder() / "runs" / this_run()
    if not run.exists():
        run.mkdir(parents=True)
        share(run)
    folder = run / name
    folder.mkdir()
    return folder


def remove_folder(folder: Path) -> None:
    """Unmount all below it, then remove it, and the run's folder with the last one."""
    for mount in mounts_below(folder):
        if not tried("umount", mount):
            tried("umount", "-l", mount)
    shutil.rmtree(folder, ignore_errors=True)
    _remove_run_if_empty(folder.parent)


def _remove_run_if_empty(run: Path) -> None:
    if run.exists() and not any(run.iterdir()):
        tried("umount", run)
        with contextlib.suppress(OSError):
            run.rmdir()


def forget(name: str) -> None:
    """Remove a machine's network namespace, and the folder that nspawn leaves behind when its machine is killed."""
    tried("ip", "netns", "delete", name)
    with contextlib.suppress(OSError):
        (_PROPAGATED / name).rmdir()


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted there, the deepest first."""
    below = f"{folder}/"
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(mount) for mount in reversed(mounts) if mount.startswith(below)]


def end_group(name: str) -> None:
    """SIGKILL every process in the control groups of that name, and remove them."""
    for hierarchy in filter(None, (unified_hierarchy(), systemd_hierarchy())):
        top = hierarchy / name
        if top.is_dir():
            with contextlib.suppress(NeverHappened):
                eventually(f"{top} is empty", lambda top=top: _killed(top), within_s=10)  # type: ignore[misc]


def _killed(top: Path) -> bool:
    for group, _, _ in os.walk(top, topdown=False):  # which others may be removing, too
        with contextlib.suppress(OSError):
            for pid in Path(group, "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(group).rmdir()
    return not top.exists()


@cache
def sweep_once() -> None:
    """Remove what processes that live no more left behind."""
    with locked(cache_folder() / "sweep.lock"):
        names: set[str] = set()
        for hierarchy in filter(None, (unified_hierarchy(), systemd_hierarchy())):
            names.update(path.name for path in hierarchy.glob("lekiwi-*") if _is_orphan(path.name))
        for name in names:
            end_group(name)
        for namespace in NAMESPACES.glob("lekiwi-*"):
            if _is_orphan(namespace.name):
                forget(namespace.name)
        for run in (cache_folder() / "runs").glob("lekiwi-*"):
            if _is_orphan(run.name):
                for folder in run.iterdir():
                    remove_folder(folder)
                _remove_run_if_empty(run)


def _is_orphan(name: str) -> bool:
    made_by = _RUN.match(name)
    return made_by is not None and _began(int(made_by[1])) != made_by[2]


def _began(pid: int) -> str | None:
    """When that process began, in ticks since boot; None: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
