"""A manifest's bytes, its digest, and which manifests are acceptable."""

from __future__ import annotations

import hashlib
import re

from lekiwi_deploy.content.entries import check_entries
from lekiwi_deploy.content.paths import BadEntry, check_path
from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.ids import ManifestDigest, checked_name, is_digest
from lekiwi_deploy.wire.manifest import CommandCheck, FileEntry, HttpCheck, Manifest, ProcessCheck, Service, TcpCheck
from lekiwi_deploy.wire.platforms import best_key, parse_key

MAX_MANIFEST = 64 << 20
"""Bytes of a stored manifest."""
TOP_FOLDERS = ("code", "deps")
"""What a slot's files lie in; beside them it holds only its metadata and manifest."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes to store: deterministic, and from then on never made again from the struct."""
    return encode(manifest)


def manifest_digest(stored: bytes) -> ManifestDigest:
    """SHA-256 of a manifest's stored bytes."""
    return ManifestDigest(hashlib.sha256(stored).hexdigest())


def read_manifest(stored: bytes, *, digest: ManifestDigest | None = None) -> Manifest:
    """The manifest in `stored`, after `check_manifest`. With `digest`: only if the bytes have it.

    Raises `BadInput` (its subclass `BadEntry` where a file is to blame).
    """
    if len(stored) > MAX_MANIFEST:
        raise BadInput(f"the manifest has {len(stored)} bytes, {MAX_MANIFEST} are allowed")
    if digest is not None and manifest_digest(stored) != digest:
        raise BadInput(f"the manifest's SHA-256 is not {digest}")
    manifest: Manifest = decode(stored, Manifest, what="the manifest")
    check_manifest(manifest)
    return manifest


def entries_for(manifest: Manifest, platform_key: str | None) -> tuple[FileEntry, ...]:
    """Everything that a robot of this platform gets, sorted by path. `platform_key` may name the robot's own platform:
    the best fitting tree is taken. None: only what every robot gets.

    Raises `NotFound` when the manifest has trees for platforms, but none that fits.
    """
    if platform_key is None or not manifest.platforms:
        return manifest.files
    key: str | None = platform_key
    if key not in manifest.platforms:
        platform = parse_key(platform_key)
        key = best_key(manifest.platforms, platform) if platform else None
    if key is None:
        built = ", ".join(sorted(manifest.platforms))
        raise NotFound(f"nothing was built for {platform_key}; there is {built}")
    return tuple(sorted(manifest.files + manifest.platforms[key].files, key=lambda entry: entry.path))


def old_entries(stored: bytes | None, platform_key: str | None) -> tuple[FileEntry, ...]:
    """What a robot of this platform has of the manifest that a pack starts from: nothing of one that was built for others only.

    It is not checked once more: both ends know its digest, and its entries only say what to look for."""
    if stored is None:
        return ()
    manifest: Manifest = decode(stored, Manifest, what="the manifest to start from")
    try:
        return entries_for(manifest, platform_key)
    except NotFound:
        return ()


def check_manifest(manifest: Manifest) -> None:
    """Raise `BadInput` unless every robot could lay this out and run it: files with each platform's tree, services, folders."""
    if manifest.schema != 1:
        raise BadInput(f"the manifest has schema {manifest.schema}; this version understands 1")
    if not manifest.platforms:
        check_entries(manifest.files)
    _check_order_and_tops(manifest.files)
    for key, tree in manifest.platforms.items():
        if parse_key(key) is None:
            raise BadInput(f"{key[:80]!r} names no platform")
        _check_order_and_tops(tree.files)
        check_entries(sorted(manifest.files + tree.files, key=lambda entry: entry.path))
    for folder in (*manifest.python_path, *manifest.bin_path):
        check_path(folder)
    names = [service.name for service in manifest.services]
    if names != sorted(set(names)):
        raise BadInput("the manifest's services are not sorted by name, or one is there twice")
    for service in manifest.services:
        _check_service(service)


def _check_order_and_tops(entries: tuple[FileEntry, ...]) -> None:
    before = ""
    for entry in entries:
        if not entry.path.startswith(("code/", "deps/")):
            raise BadEntry(entry.path, "files of a deployment lie below code/ or deps/")
        if entry.path <= before:
            raise BadEntry(
                entry.path, "it is there twice" if entry.path == before else f"it is not sorted after {before!a}"
            )
        before = entry.path


def _check_service(service: Service) -> None:
    name = checked_name("a service", service.name)
    check_path(service.folder)
    if not service.run or not service.run[0]:
        raise BadInput(f"service {name} has no command")
    _check_arguments(name, service.run)
    if not is_digest(service.content):
        raise BadInput(f"service {name}: `content` is not 64 lower-case hex characters")
    _check_port(name, service.port)
    if service.exclusive is not None:
        checked_name(f"the hardware of service {name}", service.exclusive)
    for variable in service.env:
        if not _VARIABLE.match(variable):
            raise BadInput(f"service {name}: {variable[:60]!r} cannot name a variable")
    _check_seconds(name, "stop_grace_s", service.stop_grace_s)
    for check in service.health:
        match check:
            case HttpCheck() | TcpCheck():
                _check_port(name, check.port)
            case CommandCheck():
                _check_arguments(name, check.run)
            case ProcessCheck():
                if not 0 <= check.settle_s <= 86_400:
                    raise BadInput(f"service {name}: settle_s is {check.settle_s}, 0 to 86400 is allowed")
        _check_seconds(name, "interval_s", check.interval_s)
        if not isinstance(check, ProcessCheck) and not 0 <= check.retries <= 1000:
            raise BadInput(f"service {name}: retries is {check.retries}, 0 to 1000 is allowed")
        if isinstance(check, HttpCheck) and not check.path.startswith("/"):
            raise BadInput(f"service {name}: the health path {check.path[:60]!r} does not begin with /")
        if not isinstance(check, ProcessCheck):
            _check_seconds(name, "timeout_s", check.timeout_s)
            _check_seconds(name, "within_s", check.within_s)


def _check_arguments(name: str, run: tuple[str, ...]) -> None:
    if not run or not run[0] or any("\0" in argument for argument in run):
        raise BadInput(f"service {name}: a command is empty or contains a NUL character")


def _check_port(name: str, port: int | None) -> None:
    if port is not None and not 1 <= port <= 65535:
        raise BadInput(f"service {name}: {port} is no port")


def _check_seconds(name: str, what: str, seconds: float) -> None:
    if not 0 < seconds <= 86_400:
        raise BadInput(f"service {name}: {what} is {seconds}, more than 0 and at most 86400 is allowed")
