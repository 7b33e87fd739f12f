"""The `needs` of a service in lekiwi.yaml: what it is allowed beyond the default sandbox. What would make it as powerful as root is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from lekiwi_deploy.server.builds.composed_forms import Several
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Choice, Schema, Text, Truth, Whole
from lekiwi_deploy.server.builds.quantities import Amount, Size
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.manifest import Needs

CAPABILITIES = (
    "CAP_BLOCK_SUSPEND", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_KILL", "CAP_LEASE", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_RAW", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
)  # fmt: skip
"""What a service may ask for."""

AS_ROOT = (
    "CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BPF", "CAP_CHECKPOINT_RESTORE", "CAP_CHOWN", "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_SETFCAP",
    "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
)  # fmt: skip
"""Whoever has one of these can get out of the sandbox."""

_ROOT_GROUPS = (
    "root",
    "sudo",
    "wheel",
    "admin",
    "adm",
    "docker",
    "lxd",
    "libvirt",
    "disk",
    "shadow",
    "kmem",
    "systemd-journal",
)
_DISKS = (
    "mem", "kmem", "port", "core", "sda", "sda1", "sdb", "hda", "vda", "vda1", "xvda", "nvme0", "nvme0n1", "nvme0n1p1", "mmcblk0", "mmcblk0p1",
    "mmcblk0boot0", "dm-0", "loop0", "loop-control", "md0", "ram0", "zram0", "mtd0", "mtdblock0", "root", "mapper/x", "disk/by-id/x", "block/x",
)  # fmt: skip
_PART = r"[A-Za-z0-9_@+][A-Za-z0-9_.@+-]*"
_SYSTEM = (
    r"^/(?:bin|boot|dev|etc|lib[0-9x]*|lost\+found|proc|root|run|sbin|sys|tmp|usr)(?:/|$)"
    r"|^/(?:home|media|mnt|opt|srv|var)$|^/home/[^/]+$|^/opt/lekiwi(?:/|$)"
    r"|^/var/(?!lib/|log/|cache/|opt/|spool/)|^/var/(?:lib|log|cache|opt|spool)/?$|^/var/log/(?:lekiwi|journal)(?:/|$)"
    r"|^/var/(?:lib|cache)/(?:lekiwi|lekiwi-agent|private|systemd|dpkg|apt|dbus|sudo|polkit-1|pam|AccountsService|NetworkManager)(?:/|$)"
    r"|^/var/spool/cron(?:/|$)"
)


_DEVICE = Text(
    "path or glob below `/dev`",
    pattern=r"/dev/[A-Za-z0-9_][A-Za-z0-9_.:*?\[\]!+-]*(?:/[A-Za-z0-9_*?\[][A-Za-z0-9_.:*?\[\]!+-]*){0,4}",
    wrong="must be a device below /dev, such as /dev/ttyUSB* or /dev/video0",
)
_CAPABILITY = Choice(CAPABILITIES)


class Device:
    """A device's path, or a glob, below /dev. What is the robot's memory or a disk is refused."""

    def read(self, value: Value) -> str:
        path = _DEVICE.read(value)
        opened = [name for name in _DISKS if fnmatchcase(name, path.removeprefix("/dev/"))]
        if opened:
            raise value.wrong(
                f"{path[:60]!r} includes {opened[0]}: with the robot's memory or disks a service could read and change everything"
            )
        return path

    def schema(self) -> Schema:
        return _DEVICE.schema()

    def words(self) -> str:
        return _DEVICE.words()

    def shown(self, read: object) -> str:
        return _DEVICE.shown(read)


class Capability:
    """One of `CAPABILITIES`."""

    def read(self, value: Value) -> str:
        if value.scalar in AS_ROOT:
            raise value.wrong(
                f"{value.scalar} would make the service as powerful as root; it can have {', '.join(CAPABILITIES)}"
            )
        return _CAPABILITY.read(value)

    def schema(self) -> Schema:
        return _CAPABILITY.schema()

    def words(self) -> str:
        return _CAPABILITY.words()

    def shown(self, read: object) -> str:
        return _CAPABILITY.shown(read)


_GROUP = Text(
    "system group",
    pattern=r"[a-z_][a-z0-9_-]{0,30}",
    wrong="cannot name a group of the system, such as dialout, video or i2c",
    never=f"^(?:{'|'.join(_ROOT_GROUPS)})$",
    forbidden="would make the service as powerful as root, or show it what others wrote",
)
_FOLDER = Text(
    "absolute folder",
    pattern=rf"(?:/{_PART})+",
    wrong="must be an absolute folder, such as /srv/maps, of A-Z, a-z, 0-9 and _ . @ + -, with no part that begins with a dot",
    never=_SYSTEM,
    forbidden="belongs to the system, to people or to LeKiwi Deploy: name a folder of the service's own, such as /srv/maps",
)

DEVICES = Key(
    "devices",
    Several(Device(), "paths or globs below `/dev`"),
    "Devices that it may open, for reading and writing: not the robot's memory or disks.",
    (),
    "none",
)
GROUPS = Key(
    "groups",
    Several(_GROUP, "system groups"),
    "System groups that it is in, such as `dialout` or `video`. On a robot that lacks one it is not started, and says so.",
    (),
    "none",
)
CAPABILITIES_KEY = Key(
    "capabilities",
    Several(Capability(), "capabilities"),
    f"What of root's power it may use, as in capabilities(7): {', '.join(f'`{name}`' for name in CAPABILITIES)}. With any other it could "
    "leave its sandbox.",
    (),
    "none",
)
REALTIME: Key[int | None] = Key(
    "realtime", Whole(1, 99), "The highest real-time priority (SCHED_FIFO, SCHED_RR) that it may take.", None, "none"
)
CPUS = Key("cpus", Several(Whole(0, 1023), "processors"), "The processors that it runs on, counted from 0.", (), "all")
MEMORY: Key[int | None] = Key(
    "memory",
    Size(4_000_000, 10**12),
    "The most memory that all its processes use; beyond it the kernel ends them.",
    None,
    "as much as there is",
)
CPU: Key[float | None] = Key(
    "cpu",
    Amount("%", "percentage", "50%", 1, 102_400),
    "The most processor time, of one processor: `150%` is one and a half.",
    None,
    "as much as there is",
)
TASKS: Key[int | None] = Key("tasks", Whole(1, 100_000), "The most processes and threads.", None, "2048")
WRITABLE = Key(
    "writable",
    Several(_FOLDER, "absolute folders"),
    "Folders outside its own state (`LEKIWI_STATE`) that it may write to, as far as they are there and their permissions let its user or "
    "groups. Below people's homes only with `home: true`.",
    (),
    "none",
)
NETWORK = Key("network", Truth(), "`false`: it has no network at all, not even to itself; only Unix sockets.", True)
HOME = Key("home", Truth(), "`true`: it may read people's home folders.", False)


def _build(value: Value, given: Mapping[str, Value]) -> Needs:
    home, writable, cpu = HOME.read(given), WRITABLE.read(given), CPU.read(given)
    if cpu is not None and cpu != int(cpu):
        raise given["cpu"].wrong("must be a whole percentage, such as 50%")
    if not home:
        for item, folder in zip(given["writable"].items() if writable else (), writable, strict=True):
            if re.match(r"/home/", folder):
                raise item.wrong(f"{folder[:60]!r} lies in somebody's home: add `home: true`")
    return Needs(
        devices=tuple(sorted(DEVICES.read(given))),
        groups=tuple(sorted(GROUPS.read(given))),
        capabilities=tuple(sorted(CAPABILITIES_KEY.read(given))),
        realtime=REALTIME.read(given),
        cpus=tuple(sorted(CPUS.read(given))),
        memory_max=MEMORY.read(given),
        cpu_percent=None if cpu is None else int(cpu),
        tasks_max=TASKS.read(given),
        writable=tuple(sorted(writable)),
        network=NETWORK.read(given),
        home=home,
    )


NEEDS = Table(
    "mapping, see below",
    (DEVICES, GROUPS, CAPABILITIES_KEY, REALTIME, CPUS, MEMORY, CPU, TASKS, WRITABLE, NETWORK, HOME),
    _build,
    "{devices: [/dev/ttyUSB*], memory: 300MB}",
)
