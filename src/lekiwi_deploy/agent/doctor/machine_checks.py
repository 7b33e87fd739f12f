"""The machine below the agent: disk, clock, systemd, nftables, limits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from lekiwi_deploy.agent.config import AgentConfig
from lekiwi_deploy.agent.doctor.check import Check, fail, ok, warn
from lekiwi_deploy.agent.install import systemctl
from lekiwi_deploy.agent.net.as_net_user import as_net_user, net_account
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.client.transport import Transport
from lekiwi_deploy.errors import LekiwiError

OLDEST_SYSTEMD = 247
LITTLE_SPACE = 200_000_000
NO_SPACE = 20_000_000
FEW_INODES = 20_000
_SKEW_S = 30.0


def disk(paths: Paths) -> Iterator[Check]:
    """Bytes and inodes of every file system that the agent writes to."""
    seen: set[int] = set()
    for folder in (paths.lekiwi, paths.agent, paths.logs):
        if not folder.exists() or (device := folder.stat().st_dev) in seen:
            continue
        seen.add(device)
        where = os.statvfs(folder)
        free, inodes = where.f_bavail * where.f_frsize, where.f_favail
        text = f"{free / 1e9:.1f} GB free for {folder}"
        if where.f_flag & os.ST_RDONLY:
            yield fail(
                "disk",
                f"{folder} is on a read-only file system",
                "a worn-out card does that: dmesg | grep -i error; replace it",
            )
        elif free < NO_SPACE:
            yield fail("disk", text, "make room: du -xh / | sort -h | tail")
        elif free < LITTLE_SPACE:
            yield warn("disk", text, "make room, or keep fewer deployments: lekiwi-agent join --max-deployments")
        else:
            yield ok("disk", text)
        if where.f_files and inodes < FEW_INODES:
            yield warn(
                "inodes",
                f"only {inodes} more files fit on the file system of {folder}",
                "remove folders of many small files",
            )


def clock(paths: Paths, config: AgentConfig | None, now: datetime) -> Check:
    """Beside the server's."""
    if config is None:
        return warn("clock", "there is no server to compare it with")
    server, insecure = config.server, config.insecure_http
    account = net_account() if paths.root == Path("/") else None  # root asks nothing over the network itself
    try:
        date = as_net_user(account, lambda: _date_of(server, insecure_http=insecure), str)
        skew = (now - parsedate_to_datetime(date)).total_seconds()
    except (LekiwiError, ValueError) as error:
        told = error.message if isinstance(error, LekiwiError) else "it does not say what time it is"
        return warn("clock", f"cannot be compared with the server's: {told}")
    if abs(skew) > _SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        return warn("clock", f"{abs(skew):.0f} s {way} the server's", "timedatectl set-ntp true")
    return ok("clock", "agrees with the server's")


def _date_of(server: str, *, insecure_http: bool) -> str:
    transport = Transport(server, insecure_http=insecure_http, tries=1)
    return transport.exchange("GET", "/api/server").headers.get("date", "")


def systemd() -> Iterator[Check]:
    """Its version, and whether it is there at all."""
    if not systemctl.is_running():
        yield warn("systemd", "this machine was not booted with it: the agent runs services itself", "")
        return
    found = re.match(r"systemd (\d+)", systemctl.call("--version", check=False))
    number = int(found[1]) if found else 0
    if number < OLDEST_SYSTEMD:
        yield fail(
            "systemd", f"version {number or 'unknown'}: units of services need {OLDEST_SYSTEMD}", "upgrade the system"
        )
    else:
        yield ok("systemd", f"version {number}")
    yield _memory_limits()


def _memory_limits() -> Check:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if not controllers.exists():
        return warn(
            "limits",
            "cgroup v1: memory limits of services are not enforced",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    if "memory" not in controllers.read_text().split():
        return warn(
            "limits",
            "the kernel counts no memory: memory limits of services are not enforced",
            "add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot" if _is_arm() else "",
        )
    return ok("limits", "memory limits of services are enforced")


def _is_arm() -> bool:
    return os.uname().machine.startswith(("aarch64", "arm"))


def traffic() -> Check:
    """How connections are led to services."""
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if nft is None:
        return warn(
            "nftables",
            "not installed: a relay process leads connections to services, a little slower",
            "apt install nftables",
        )
    tried = subprocess.run([nft, "list", "tables"], capture_output=True, text=True, errors="replace", check=False)
    if tried.returncode != 0 and os.geteuid() == 0:
        why = (tried.stderr.strip().splitlines() or ["no reason given"])[0]
        return warn(
            "nftables", f"not usable here ({why}): a relay process leads connections to services, a little slower"
        )
    return ok("nftables", "usable" if tried.returncode == 0 else "installed")
