"""A PostgreSQL that outlived its server: ended cleanly, or its stale pid file removed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from lekiwi_deploy.errors import Failed

_log = logging.getLogger("lekiwi.postgres")


def end_leftover(cluster: Path) -> None:
    """Ends the PostgreSQL that still serves `cluster`; the caller holds the lock on DIR, so nobody needs it.

    A pid file that names a process which is not it (the number was used again) is removed, since PostgreSQL itself would take
    that process for a running one. Raises `Failed` when it does not end.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        lines = pid_file.read_text().splitlines()
        pid = int(lines[0])
    except FileNotFoundError:
        return
    except (ValueError, IndexError):
        pid_file.unlink()
        return
    if _serves(pid, cluster):
        _log.warning("ending the PostgreSQL (process %d) that an earlier server left running", pid)
        _end(pid, cluster)
    pid_file.unlink(missing_ok=True)
    if len(lines) > 4 and Path(lines[4]).name.startswith("lekiwi-"):
        shutil.rmtree(lines[4], ignore_errors=True)


def _serves(pid: int, cluster: Path) -> bool:
    """Whether process `pid` is a PostgreSQL whose folder is `cluster` (it works in there)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, under another user
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cwd").samefile(cluster)
        except (FileNotFoundError, ProcessLookupError):
            return False
        except PermissionError:
            return False
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return str(cluster) in listed.stdout


def _end(pid: int, cluster: Path) -> None:
    for number, patience_s in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not _serves(pid, cluster) or _is_zombie(pid):
                return
            time.sleep(0.01)
    raise Failed(f"the PostgreSQL (process {pid}) that an earlier server left running in {cluster} does not end")


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
