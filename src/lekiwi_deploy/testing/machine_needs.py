"""Whether robots of their own can be booted on this machine, and where their trees are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}
"""Programs that booting a machine takes, and the Debian package of each."""


@cache
def why_not() -> str | None:
    """Why machines cannot run here, in one line that says what to do; None: they can."""
    if os.geteuid() != 0:
        return "machines are booted by root only: run it as root"
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install {' '.join(missing)})"
    if not _has_overlay():
        return "the kernel has no overlay file system (modprobe overlay)"
    hierarchy = unified_hierarchy()
    if hierarchy is None:
        return "no cgroup2 file system is mounted (below /sys/fs/cgroup)"
    if not os.access(hierarchy, os.W_OK) or os.statvfs(hierarchy).f_flag & os.ST_RDONLY:
        return f"{hierarchy} is read-only: this is a container without rights over its control groups"
    return None


def cache_folder() -> Path:
    """Where base trees and running machines are kept: `LEKIWI_TEST_CACHE`, else a folder of the user's cache. Made if missing."""
    given = os.environ.get("LEKIWI_TEST_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(given) if given else home / "lekiwi-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def unified_hierarchy() -> Path | None:
    """Where the cgroup2 file system is mounted."""
    return _mounted("cgroup2")


@cache
def systemd_hierarchy() -> Path | None:
    """Where the cgroup v1 hierarchy named `systemd` is mounted, on hosts that have it."""
    return _mounted("cgroup", option="name=systemd")


def _mounted(kind: str, *, option: str = "") -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, found, options, *_ = line.split()
        if found == kind and (not option or option in options.split(",")):
            return Path(where)
    return None


def _has_overlay() -> bool:
    def listed() -> bool:
        return any(line.split()[-1] == "overlay" for line in Path("/proc/filesystems").read_text().splitlines())

    if listed():
        return True
    if shutil.which("modprobe") is not None:
        subprocess.run(["modprobe", "overlay"], check=False, capture_output=True)
    return listed()
