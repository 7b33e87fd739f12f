"""The tree that machines boot from: a minimal Debian or Ubuntu with systemd, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.testing.machine_needs import cache_folder
from lekiwi_deploy.testing.machine_tools import MachineFailed, call, tried

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "nftables", "openssh-server", "python3", "python3-venv"),
    *("sudo", "curl", "ca-certificates", "procps"),
)
"""What every machine has."""
_EDITION = 1
"""Raise it when `_finish` changes."""


@dataclass(frozen=True)
class Sources:
    """One place that apt installs from."""

    address: str
    suite: str
    components: tuple[str, ...]
    keyring: str | None


@dataclass(frozen=True)
class MachineImage:
    """`tree` is read-only by agreement: machines boot from layers above it."""

    tree: Path

    @staticmethod
    def base(packages: Sequence[str] = PACKAGES) -> MachineImage:
        """The tree with these packages: made on the first call (a minute, and the network), found afterwards.

        Raises `MachineFailed` when it cannot be made. Several processes may ask at once.
        """
        sources = apt_sources()
        key = hashlib.sha256(repr((_EDITION, sorted(packages), sources.suite)).encode()).hexdigest()[:16]
        tree = cache_folder() / f"base-{sources.suite}-{key}"
        with locked(tree.with_name(f"{tree.name}.lock")):
            if not tree.exists():
                unfinished = tree.with_name(f"{tree.name}.unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                _bootstrap(unfinished, sources, packages)
                _finish(unfinished)
                os.sync()
                unfinished.rename(tree)
        return MachineImage(tree)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time is in here."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def apt_sources(top: Path = Path("/etc/apt")) -> Sources:
    """The first place that this machine's own apt installs its system from. Raises `MachineFailed` when it has none."""
    for file in sorted(top.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split():
                keyring = fields.get("Signed-By", "")
                return Sources(
                    fields["URIs"].split()[0],
                    fields["Suites"].split()[0],
                    tuple(fields["Components"].split()),
                    keyring if keyring.startswith("/") else None,
                )
    for file in (top / "sources.list", *sorted(top.glob("sources.list.d/*.list"))):
        lines = file.read_text().splitlines() if file.exists() else ()
        for line in lines:
            found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*\bmain\b.*)", line)
            if found:
                signed = re.search(r"signed-by=(/\S+)", found[1] or "")
                return Sources(found[2], found[3], tuple(found[4].split()), signed[1] if signed else None)
    raise MachineFailed("apt has no sources here (/etc/apt): machines are made of its packages")


def _bootstrap(tree: Path, sources: Sources, packages: Sequence[str]) -> None:
    keyring = (f"--keyring={sources.keyring}",) if sources.keyring else ()
    call(
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        f"--components={','.join(sources.components)}",
        *keyring,
        sources.suite,
        tree,
        sources.address,
        environment=_proxies(),
        within_s=900,
    )


def _proxies() -> dict[str, str]:
    """apt's own, which debootstrap does not read."""
    said = call("apt-config", "dump")
    found = re.findall(r'^Acquire::(https?)::Proxy "([^"]+)";', said, re.MULTILINE)
    return {f"{scheme}_proxy": address for scheme, address in found}


def _finish(tree: Path) -> None:
    """What is the same on all machines: a person `pi` who may use sudo, and nothing that should be a machine's own."""
    for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(tree / name)
        (tree / name).mkdir()
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (tree / "etc/machine-id").write_text("")
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (tree / "etc/systemd/journald.conf.d").mkdir(exist_ok=True)
    (tree / "etc/systemd/journald.conf.d/tests.conf").write_text("[Journal]\nRateLimitBurst=0\nSystemMaxUse=32M\n")
    call("chroot", tree, "useradd", "--create-home", "--shell", "/bin/bash", "pi")
    # Nothing in a machine may wait for the network: its cable may be out.
    for unit in ("systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
        tried("systemctl", f"--root={tree}", "mask", unit)
