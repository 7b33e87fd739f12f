"""Facts about the machine and its kernel that decisions take as arguments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.wire.platforms import Platform


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def boottime() -> float:
    """Seconds since boot, suspended ones included: the clock of deadlines."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def monotonic() -> float:
    """Seconds of the clock that programs name in their messages (CLOCK_MONOTONIC)."""
    return time.monotonic()


def utc_now() -> datetime:
    """The wall clock, for people only."""
    return datetime.now(UTC)


def hostname() -> str:
    """This machine's name."""
    return socket.gethostname()


@cache
def platform() -> Platform:
    """What content has to be built for here. Raises `Failed` where no agent can run."""
    if sys.platform != "linux":
        raise Failed(f"lekiwi-agent runs on Linux, and this is {sys.platform}")
    libc, version = _libc()
    return Platform("linux", os.uname().machine, libc, version, f"{sys.version_info[0]}.{sys.version_info[1]}")


def _libc() -> tuple[str, str]:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        name = version = ""
    if name == "glibc" and version:
        return name, version
    for loader in Path("/lib").glob("ld-musl-*.so.1"):
        said = subprocess.run([loader], capture_output=True, text=True, check=False).stderr
        for line in said.splitlines():
            if line.startswith("Version "):
                return "musl", line.split()[1]
    raise Failed("this machine's C library is neither glibc nor musl, so no dependencies could be built for it")
