"""The walls around a service: the default ones, and what its declared needs open. Pure.

By default a service scores 1.4 in `systemd-analyze security` (a unit without any of this: 9.6). Two settings of the strictest profile
are left out because robots' programs break without what they take away: `MemoryDenyWriteExecute` (just-in-time compilers) and
`ProcSubset=pid` (numeric libraries read /proc/cpuinfo, on Arm to work at all). A system call that is not allowed fails with EPERM; it does not
kill.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from lekiwi_deploy.agent.supervisors.supervisor import Launch
from lekiwi_deploy.agent.supervisors.systemd.grants import Grants
from lekiwi_deploy.agent.supervisors.systemd.quoting import word
from lekiwi_deploy.errors import BadInput

Setting = tuple[str, str]

_KIND = re.compile(r"(char|block)-[A-Za-z0-9_-]+\Z")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?\Z")
TASKS_MAX = 2048
"""Processes and threads of a service that says nothing of it."""
_ALWAYS: tuple[Setting, ...] = (
    ("DynamicUser", "yes"),
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("PrivateTmp", "yes"),
    ("PrivateMounts", "yes"),
    ("ProtectProc", "invisible"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("RemoveIPC", "yes"),
    ("KeyringMode", "private"),
    ("UMask", "0077"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallErrorNumber", "EPERM"),
    ("OOMScoreAdjust", "200"),
)
_SOCKETS = {"CAP_NET_RAW", "CAP_NET_ADMIN"}
"""Who has one of these may also open sockets of kinds that reach into hardware."""
_NEVER_WRITABLE = (
    "/boot",
    "/dev",
    "/etc",
    "/opt/lekiwi",
    "/proc",
    "/run",
    "/sys",
    "/usr",
    "/var/lib/lekiwi",
    "/var/lib/lekiwi-agent",
    "/var/lib/private",
)


def sandbox(launch: Launch, granted: Grants, *, bin: str, locks: str, agent: str) -> tuple[Setting, ...]:
    """Settings of the section `[Service]`. `bin`: folder of the interpreter that services get; `agent`: the agent's own folder around
    it, of which nothing else is shown; `locks`: folder of the lock files. Raises `BadInput`."""
    needs = launch.needs
    return (
        *_ALWAYS,
        ("ProtectHome", "read-only" if needs.home else "yes"),
        ("ProtectClock", "no" if "CAP_SYS_TIME" in needs.capabilities else "yes"),
        *_devices(granted),
        *_rights(launch),
        *_calls(launch),
        *_network(launch),
        *_limits(launch),
        *_files(launch, bin=bin, locks=locks, agent=agent),
    )


def _devices(granted: Grants) -> Iterator[Setting]:
    yield "DevicePolicy", "closed"
    if not granted.devices:
        yield "PrivateDevices", "yes"
    for device in granted.devices:
        if not device.startswith("/") and not _KIND.match(device):
            raise BadInput(f"there can be no kind of device called {device[:60]!r}")
        yield "DeviceAllow", f"{word(device, 'a device')} rw" if device.startswith("/") else f"{device} rw"
    if granted.groups:
        wrong = [group for group in granted.groups if not _GROUP.match(group)]
        if wrong:
            raise BadInput(f"there can be no group called {wrong[0][:60]!r}")
        yield "SupplementaryGroups", " ".join(granted.groups)


def _rights(launch: Launch) -> Iterator[Setting]:
    capabilities = " ".join(sorted(launch.needs.capabilities))
    if any(not item.startswith("CAP_") or not item.replace("_", "").isalpha() for item in launch.needs.capabilities):
        raise BadInput(f"{launch.service} needs capabilities that do not exist: {capabilities[:100]}")
    yield "CapabilityBoundingSet", capabilities
    yield "AmbientCapabilities", capabilities


_THREADS = "sched_setscheduler sched_setparam sched_setattr sched_setaffinity"
"""Of `@resources`, what libraries do to threads of their own: ZeroMQ aborts where it may not. No real-time class comes of it, nor a
higher priority: `RestrictRealtime`, and the missing capability, refuse those."""


def _calls(launch: Launch) -> Iterator[Setting]:
    needs = launch.needs
    scheduling = needs.realtime is not None or "CAP_SYS_NICE" in needs.capabilities
    yield "RestrictRealtime", "no" if scheduling else "yes"
    yield "SystemCallFilter", "@system-service"
    refused = (
        ["@privileged"] if scheduling or "CAP_SYS_RESOURCE" in needs.capabilities else ["@privileged", "@resources"]
    )
    yield "SystemCallFilter", "~" + " ".join(refused)
    if "@resources" in refused:
        yield "SystemCallFilter", _THREADS
    if "CAP_SYS_TIME" in needs.capabilities:
        yield "SystemCallFilter", "@clock"
    if "CAP_SYSLOG" in needs.capabilities:
        yield "SystemCallFilter", "syslog"
    if "CAP_PERFMON" in needs.capabilities:
        yield "SystemCallFilter", "perf_event_open"
    if needs.realtime is not None:
        yield "LimitRTPRIO", str(_within(needs.realtime, 1, 99, "realtime", launch))
        yield "LimitMEMLOCK", "infinity"


def _network(launch: Launch) -> Iterator[Setting]:
    if not launch.needs.network:
        yield "PrivateNetwork", "yes"
        yield "RestrictAddressFamilies", "AF_UNIX"
        return
    more = " AF_PACKET AF_CAN AF_BLUETOOTH" if _SOCKETS.intersection(launch.needs.capabilities) else ""
    yield "RestrictAddressFamilies", f"AF_UNIX AF_INET AF_INET6 AF_NETLINK{more}"


def _limits(launch: Launch) -> Iterator[Setting]:
    needs = launch.needs
    tasks = TASKS_MAX if needs.tasks_max is None else needs.tasks_max
    yield "TasksMax", str(_within(tasks, 1, 1 << 22, "tasks_max", launch))
    if needs.memory_max is not None:
        yield "MemoryMax", str(_within(needs.memory_max, 1, 1 << 50, "memory_max", launch))
        yield "MemorySwapMax", "0"
    if needs.cpu_percent is not None:
        yield "CPUQuota", f"{_within(needs.cpu_percent, 1, 100_000, 'cpu_percent', launch)}%"
    if needs.cpus:
        yield "CPUAffinity", " ".join(str(_within(cpu, 0, 8191, "cpus", launch)) for cpu in sorted(set(needs.cpus)))


def _files(launch: Launch, *, bin: str, locks: str, agent: str) -> Iterator[Setting]:
    yield "InaccessiblePaths", "-/etc/lekiwi"
    empty = [agent, locks] if launch.lock is not None else [agent]
    yield "TemporaryFileSystem", " ".join(word(f"{path}:ro,mode=0755", "a folder") for path in empty)
    yield "BindReadOnlyPaths", "-" + word(bin, "a folder")  # the one thing to see in the agent's folder
    if launch.lock is not None:
        yield "BindPaths", word(str(launch.lock), "the lock file")
    yield "ReadWritePaths", "-/run/lekiwi/busy"
    for folder in launch.needs.writable:
        yield "ReadWritePaths", "-" + word(_writable(folder, launch), "a folder")


def _writable(folder: str, launch: Launch) -> str:
    path = PurePosixPath(folder)
    ours = [PurePosixPath(name) for name in _NEVER_WRITABLE]
    wrong = not path.is_absolute() or ".." in path.parts or str(path) != folder
    if wrong or any(path.is_relative_to(own) or own.is_relative_to(path) for own in ours):
        raise BadInput(
            f"{launch.service} cannot be given {folder[:100]} to write to: it belongs to the system or to LeKiwi Deploy"
        )
    return folder


def _within(value: int, least: int, most: int, what: str, launch: Launch) -> int:
    if not least <= value <= most:
        raise BadInput(f"{launch.service} needs {what} {value}, and it can be {least} to {most}")
    return value
