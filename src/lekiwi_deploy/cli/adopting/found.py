"""What was found on a machine, and whether it can become a robot. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from lekiwi_deploy.wire.platforms import Platform

OLDEST_PYTHON = (3, 11)
OLDEST_SYSTEMD = 247
LEAST_DISK = 200_000_000
LEAST_MEMORY = 200_000_000
MOST_SKEW_S = 60.0


class JoinedBefore(msgspec.Struct, frozen=True):
    """The robot that the machine is already."""

    server: str
    server_id: str
    name: str


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What `survey.py` writes. Bytes; `clock` in seconds since the epoch; `server`: the id of the server that was reached, and what
    is wrong; `today`: (kind, name, detail) of what runs there."""

    hostname: str
    system: str
    arch: str
    libc: str
    libc_version: str
    pythons: tuple[tuple[str, str], ...]
    own_python: str
    booted_with_systemd: bool
    systemd: int
    disk_free: int
    memory: int
    clock: float
    model: str
    nftables: bool
    memory_limits: bool
    robot: JoinedBefore | None
    server: tuple[str, str]
    ssh_passwords: bool | None
    today: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Finding:
    """`state` ok, warn or fail; `fix` what to do about it."""

    name: str
    state: str
    text: str
    fix: str = ""


def python_of(survey: Survey) -> tuple[str, str] | None:
    """The interpreter to use (command, version): the system's own if it will do, else the first that does."""
    for command, version in survey.pythons:
        if version and tuple(map(int, version.split(".")[:2])) >= OLDEST_PYTHON:
            return command, version
    return None


def platform_of(survey: Survey) -> Platform | None:
    """What its bundle has to be made for."""
    python = python_of(survey)
    if python is None:
        return None
    return Platform("linux", survey.arch, survey.libc, survey.libc_version, ".".join(python[1].split(".")[:2]))


def findings(survey: Survey, *, url: str, server_id: str, now: float) -> Iterator[Finding]:
    """In the order in which a person should read them. `now`: seconds since the epoch, here; `url`: where the robot is to find the
    server, whose lasting id is `server_id`."""
    yield _machine(survey)
    yield _python(survey)
    yield _systemd(survey)
    free = f"{survey.disk_free / 1e9:.1f} GB free"
    if survey.disk_free < LEAST_DISK:
        yield Finding(
            "disk",
            "fail",
            f"only {survey.disk_free // 1_000_000} MB free below /opt",
            "make room: du -xh / | sort -h | tail",
        )
    else:
        yield Finding("disk", "ok", free)
    if 0 < survey.memory < LEAST_MEMORY:
        yield Finding("memory", "warn", f"{survey.memory // 1_000_000} MB: an update while services run may not fit")
    if not survey.memory_limits:
        on_a_pi = survey.arch.startswith(("aarch64", "arm"))
        fix = "add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot" if on_a_pi else ""
        yield Finding("limits", "warn", "the kernel enforces no memory limits of services", fix)
    if not survey.nftables:
        yield Finding("nftables", "warn", "not installed: connections are led through a relay", "apt install nftables")
    skew = survey.clock - now
    if abs(skew) > MOST_SKEW_S:
        way = "ahead" if skew > 0 else "behind"
        yield Finding("clock", "warn", f"{abs(skew):.0f} s {way} of this machine's", "timedatectl set-ntp true")
    else:
        yield Finding("clock", "ok", "agrees with this machine's")
    yield _server(survey, url, server_id)


def _machine(survey: Survey) -> Finding:
    words = f"{survey.model + ', ' if survey.model else ''}{survey.arch}, {survey.libc} {survey.libc_version}"
    if survey.system != "Linux":
        return Finding("machine", "fail", f"{survey.system}: robots run Linux")
    if not survey.libc:
        return Finding("machine", "fail", f"{survey.arch}: its C library is neither glibc nor musl")
    return Finding("machine", "ok", words)


def _python(survey: Survey) -> Finding:
    found = python_of(survey)
    if found is not None:
        return Finding("python", "ok", f"{found[1]} ({found[0]})")
    if (
        any(not version for _, version in survey.pythons)
        and tuple(map(int, survey.own_python.split(".")[:2])) >= OLDEST_PYTHON
    ):
        return Finding(
            "python",
            "fail",
            f"{survey.own_python} lacks parts of the standard library",
            "sudo apt install python3-venv",
        )
    return Finding(
        "python",
        "fail",
        f"{survey.own_python} is too old: the agent needs 3.11",
        "Debian 12, Raspberry Pi OS 12 and Ubuntu 24.04 have it; or install a newer python3.11 beside it",
    )


def _systemd(survey: Survey) -> Finding:
    if not survey.booted_with_systemd:
        return Finding(
            "systemd", "fail", "the machine was not booted with systemd, which starts the agent and its services"
        )
    if survey.systemd < OLDEST_SYSTEMD:
        return Finding(
            "systemd", "fail", f"version {survey.systemd}: {OLDEST_SYSTEMD} or newer is needed", "upgrade the system"
        )
    return Finding("systemd", "ok", f"version {survey.systemd}")


def _server(survey: Survey, url: str, server_id: str) -> Finding:
    found, wrong = survey.server
    if wrong:
        return Finding(
            "server",
            "fail",
            f"{url} cannot be reached from there: {wrong}",
            "--url URL, as the robot reaches the server",
        )
    if found != server_id:
        return Finding(
            "server", "fail", f"{url} leads to another server from there", "--url URL, as the robot reaches the server"
        )
    return Finding("server", "ok", f"{url} can be reached from there")
