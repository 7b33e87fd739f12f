"""Whose a listening port is: an answer on an instance's private port must be its own, not that of another program that was quicker."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lekiwi_deploy.agent.supervisors import families
from lekiwi_deploy.agent.traffic.sock_diag import listeners


def is_strangers(port: int, pid: int, family: str) -> bool:
    """Whether another program listens on `port` than process `pid`, what it started, and what inherited the assignment `family`. False, too,
    when that cannot be told."""
    try:
        wanted = {f"socket:[{listener.inode}]" for listener in listeners(port)}
    except OSError:
        return False
    if not wanted or _has(families.descendants(pid), wanted) is not None:
        return False
    other = _has(families.everyone(), wanted)
    return other is not None and not families.is_of(other, pid, family) and not _same_group(other, pid)


def _has(processes: Iterable[int], sockets: set[str]) -> int | None:
    for process in processes:
        folder = f"/proc/{process}/fd"
        try:
            if any(os.readlink(f"{folder}/{fd}") in sockets for fd in os.listdir(folder)):  # noqa: PTH115, PTH208
                return process
        except OSError:  # another user's, or gone by now
            continue
    return None


def _same_group(one: int, other: int) -> bool:
    """Whether systemd keeps both in a control group of their own."""
    try:
        groups = [Path(f"/proc/{pid}/cgroup").read_bytes() for pid in (one, other)]
        return groups[0] == groups[1] != Path("/proc/self/cgroup").read_bytes()
    except OSError:
        return False
