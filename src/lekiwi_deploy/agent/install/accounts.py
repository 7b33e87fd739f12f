"""The system user that the agent's network half runs as."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path

from lekiwi_deploy.agent.net.choose import NET_USER
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import Failed


def ensure_user() -> pwd.struct_passwd:
    """The user, made if there is none: no password, no shell, no home. Raises `Failed`."""
    try:
        return pwd.getpwnam(NET_USER)
    except KeyError:
        _call(
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            *_no_shell(),
            NET_USER,
        )
        return pwd.getpwnam(NET_USER)


def give_key(paths: Paths, user: pwd.struct_passwd) -> None:
    """The robot's key is read by the network half and by nobody else."""
    os.chown(paths.key, user.pw_uid, user.pw_gid)


def remove_user() -> bool:
    """Whether there was one. Raises `Failed`."""
    try:
        pwd.getpwnam(NET_USER)
    except KeyError:
        return False
    _call("userdel", NET_USER)
    try:
        grp.getgrnam(NET_USER)
    except KeyError:
        return True
    _call("groupdel", NET_USER)
    return True


def _no_shell() -> tuple[str, str]:
    known = [path for path in ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false") if Path(path).exists()]
    return "--shell", known[0] if known else "/bin/false"


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise Failed(
            f"{command[0]} is not installed, and the agent needs a system user", next=("apt install passwd",)
        ) from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip() or f'exit {done.returncode}'}")
