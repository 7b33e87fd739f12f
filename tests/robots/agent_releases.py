"""Releases of the agent for tests on robots: the real bundle of this checkout, and others made of it by changing a file."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lekiwi_deploy.server.agent_bundle.shelf import AgentBundles
from lekiwi_deploy.testing.machine_image import locked
from lekiwi_deploy.testing.machine_needs import cache_folder

_LOCK = "lock.txt"


@dataclass(frozen=True)
class Bundle:
    """An archive that installs a release."""

    release: str
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the archive."""
        return hashlib.sha256(self.data).hexdigest()

    def changed(self, path: str, old: str, new: str) -> Bundle:
        """Another release: in `path` of our package, `old` replaced by `new`."""
        members = _read(self.data)
        (wheel,) = (name for name in members if name.startswith("wheels/lekiwi_deploy-"))
        before = hashlib.sha256(members[wheel]).hexdigest()
        members[wheel] = _changed_wheel(members[wheel], f"lekiwi_deploy/{path}", old, new)
        after = hashlib.sha256(members[wheel]).hexdigest()
        members[_LOCK] = members[_LOCK].replace(before.encode(), after.encode())
        version = self.release.rpartition("-")[0]
        return Bundle(f"{version}-{hashlib.sha256(members[_LOCK]).hexdigest()[:8]}", _write(members))


def bundle_of_this_checkout(platform: str) -> Bundle:
    """As a server gives it to robots. Its dependencies come from the package index, once; they are kept."""
    folder = cache_folder() / "agent-bundles"
    with locked(cache_folder() / "agent-bundles.lock"):
        shelf = AgentBundles(folder, lambda: datetime.now(UTC))
        made, path = asyncio.run(shelf.bundle(platform))
        return Bundle(made.release, path.read_bytes())


def _changed_wheel(wheel: bytes, path: str, old: str, new: str) -> bytes:
    members = _read(wheel)
    text = members[path].decode()
    assert old in text, f"{path} has no {old!r}"
    members[path] = text.replace(old, new, 1).encode()
    (record,) = (name for name in members if name.endswith(".dist-info/RECORD"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(members[path]).digest()).rstrip(b"=").decode()
    lines = [
        f"{path},sha256={digest},{len(members[path])}" if line.startswith(f"{path},") else line
        for line in members[record].decode().splitlines()
    ]
    members[record] = ("\n".join(lines) + "\n").encode()
    return _write(members)


def _read(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _write(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return target.getvalue()


def agent_tests_folder() -> Path:
    """Where the small server lives that speaks the real link to one agent."""
    return Path(__file__).resolve().parents[1] / "integration/agent"
