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


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One long-running program.

    `run` is an argument list (a string in lekiwi.yaml becomes `/bin/sh -c`); it starts in `folder` (relative
    to the slot). `env` names the variables it may read. `content` identifies the code files it is made of (a
    digest over their entries), so that a robot can tell whether it changed. An empty `health` means: one ProcessCheck.
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
