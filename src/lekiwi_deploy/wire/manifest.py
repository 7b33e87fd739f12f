"""The manifest: what a deployment is.

Its stored bytes are what is hashed (SHA-256), assigned and verified; they are never re-serialised.
Files are content-addressed by BLAKE3. Paths are relative to the slot: the project's files lie below
`code/`, installed dependencies of a platform below `deps/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.ids import ObjectDigest


class FileKind(StrEnum):
    """What an entry becomes on disk."""

    FILE = "f"  # mode 0644
    EXECUTABLE = "x"  # mode 0755
    SYMLINK = "l"  # its object holds the target, relative and inside the slot


class FileEntry(msgspec.Struct, frozen=True, array_like=True):
    """One file of a slot. `size` in bytes; for a symbolic link, of its target's UTF-8 text."""

    path: str
    kind: FileKind
    size: int
    digest: ObjectDigest


class HttpCheck(msgspec.Struct, frozen=True, kw_only=True, tag="http", tag_field="check"):
    """GET `path` on loopback; 2xx or 3xx within `timeout_s` passes. `port` None: the service's own port."""

    path: str
    port: int | None = None
    interval_s: float = 2.0
    timeout_s: float = 2.0
    retries: int = 3
    within_s: float = 30.0


class TcpCheck(msgspec.Struct, frozen=True, kw_only=True, tag="tcp", tag_field="check"):
    """A connection to `port` on loopback is accepted. None: the service's own port."""

    port: int | None = None
    interval_s: float = 2.0
    timeout_s: float = 2.0
    retries: int = 3
    within_s: float = 30.0


class CommandCheck(msgspec.Struct, frozen=True, kw_only=True, tag="command", tag_field="check"):
    """`run` (an argument list, in the service's own folder and environment) exits 0 within `timeout_s`."""

    run: tuple[str, ...]
    interval_s: float = 5.0
    timeout_s: float = 5.0
    retries: int = 3
    within_s: float = 30.0


class ProcessCheck(msgspec.Struct, frozen=True, kw_only=True, tag="process", tag_field="check"):
    """The process is alive, and was for `settle_s` without a restart."""

    interval_s: float = 1.0
    settle_s: float = 1.0


HealthCheck = HttpCheck | TcpCheck | CommandCheck | ProcessCheck
"""`retries` consecutive failures after the first success make a service unhealthy; before it, it has
`within_s` to pass for the first time."""


class HookKind(StrEnum):
    """When a hook of a service runs."""

    PREPARE = "prepare"  # before the new process is started, beside the old one; a failure means: do not switch
    BEFORE_STOP = "before_stop"  # before the old process is asked to stop
    AFTER_START = "after_start"  # once the new process is ready; a failure is a failed trial
    ON_ROLLBACK = "on_rollback"  # of the version that failed, after the one before runs again


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A command that runs in the service's own folder, variables and sandbox. Longer than `timeout_s`: killed, and failed."""

    run: tuple[str, ...]
    timeout_s: float = 30.0


class Handover(StrEnum):
    """How a service with `exclusive` hardware is replaced."""

    STOP = "stop"  # the old process is stopped, then the new one is started
    LOCK = "lock"  # the program takes the lock of the hardware itself (docs/robot-contract.md), so two may be loaded at once


class Warm(StrEnum):
    """Whether a second process of a service may be there, for a switch without a pause and a rollback in an instant."""

    AUTO = "auto"  # when the robot has the memory
    ALWAYS = "always"
    NEVER = "never"


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a service is allowed beyond the default sandbox, and what it may use. `devices`: paths or globs below /dev; `groups`:
    system groups; `capabilities`: as in capabilities(7); `realtime`: highest SCHED_FIFO priority, 1 to 99; `cpus`: the processors it
    runs on; `memory_max`: bytes; `cpu_percent`: of one processor; `tasks_max`: processes and threads; `writable`: absolute folders
    outside its own state; `network`: false cuts it off from everything but Unix sockets; `home`: it may read people's homes."""

    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    realtime: int | None = None
    cpus: tuple[int, ...] = ()
    memory_max: int | None = None
    cpu_percent: int | None = None
    tasks_max: int | None = None
    writable: tuple[str, ...] = ()
    network: bool = True
    home: bool = False


class Service(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One long-running program.

    `run` is an argument list (a string in lekiwi.yaml becomes `/bin/sh -c`); it starts in `folder` (relative
    to the slot). `env` names the variables it may read. `content` identifies the code files it is made of (a
    digest over their entries), so that a robot can tell whether it changed. An empty `health` means: one ProcessCheck.
    `drain_s`: how long established connections of a replaced version may go on. `notify`: it tells when it is ready (sd_notify).
    `watchdog_s`: it must say so as often (WATCHDOG=1), or it is killed and started again.
    """

    name: str
    run: tuple[str, ...]
    folder: str = "code"
    content: str
    port: int | None = None
    exclusive: str | None = None
    env: tuple[str, ...] = ()
    health: tuple[HealthCheck, ...] = ()
    stop_grace_s: float = 10.0
    handover: Handover = Handover.STOP
    warm: Warm = Warm.AUTO
    drain_s: float = 30.0
    notify: bool = False
    watchdog_s: float | None = None
    needs: Needs = Needs()
    hooks: Mapping[HookKind, Hook] = {}


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold on a robot before it switches to this release; what cannot be read there holds. `disk_free`, `memory_free`:
    bytes; `battery`: percent; `temperature`: highest, degrees Celsius; `load`: highest one-minute load average per processor;
    `power_good`: no under-voltage or throttling now; `clock`: it is neither before this release was made nor far in the future."""

    disk_free: int | None = None
    memory_free: int | None = None
    battery: float | None = None
    temperature: float | None = None
    load: float | None = None
    power_good: bool = False
    clock: bool = True


class PlatformTree(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed for one platform. `content` changes exactly when what lies below `deps/` does, which belongs to every service
    (byte code of the project's own files, also in `files`, does not count: each service has its own digest).
    `byte_compiled` false: the server
    did not have this Python minor version, so the robot compiles, outside the digest."""

    content: str
    files: tuple[FileEntry, ...] = ()
    byte_compiled: bool = True


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole release. `files` go to every robot, `platforms` (by `Platform.key`) to those that fit; when
    `platforms` is empty the release runs anywhere. `python_path` and `bin_path` are folders relative to the slot that are
    put in front of PYTHONPATH and PATH. Everything is sorted (files by path, services by name)."""

    schema: int = 1
    project: str
    stack: str
    files: tuple[FileEntry, ...]
    platforms: Mapping[str, PlatformTree] = {}
    services: tuple[Service, ...]
    python_path: tuple[str, ...] = ()
    bin_path: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
