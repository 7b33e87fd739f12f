"""Ways to bring a robot the next commit. Each counts the bytes that cross the wire, both ways, and the time until the tree is ready.

Ours is the only one that waits until the new slot is on disk; the others get their time without that.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.content_history import BRANCH, History, git
from lekiwi_deploy.content.apply import PackReader
from lekiwi_deploy.content.compression import compress_object
from lekiwi_deploy.content.hash_cache import HashCache
from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.pack import make_pack
from lekiwi_deploy.content.slots import lay_out
from lekiwi_deploy.content.tree import TreeObjects, read_tree
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import Manifest

CHUNK = 128 << 10
ZEROS = 64 * "0"


@dataclass(frozen=True, slots=True)
class Moved:
    """One update: bytes of the protocol both ways, milliseconds on the robot, milliseconds on the server beforehand (once for all
    robots). `headers`: what HTTP adds to ours. What ssh adds to rsync and git (4 kB for a connection) is not counted."""

    wire: int
    ready_ms: float
    server_ms: float = 0.0
    headers: int = 0


class Method(Protocol):
    """`first` brings the commit that is checked out to an empty robot, `update` what is checked out now."""

    name: str

    def first(self) -> Moved: ...
    def update(self, number: int) -> Moved: ...


class Publisher:
    """The server's side of ours: manifests, objects as the store keeps them, packs."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._cache = HashCache()
        self._stored: dict[ObjectDigest, bytes] = {}
        self._plain: dict[ObjectDigest, bytes] = {}

    def publish(self) -> tuple[Manifest, bytes]:
        """The manifest of what is checked out, its objects stored."""
        entries = read_tree(self._tree, "code", cache=self._cache)
        objects = TreeObjects(self._tree, entries, "code")
        for entry in entries:
            if entry.size and entry.digest not in self._stored:
                self._plain[entry.digest] = objects.read(entry.digest)
                self._stored[entry.digest] = compress_object(self._plain[entry.digest])
        manifest = Manifest(project="benchmark", stack="plain", files=entries, services=())
        return manifest, encode_manifest(manifest)

    def pack(self, old: bytes | None, new: bytes) -> bytes:
        """As the server makes it, once for all robots."""
        return b"".join(make_pack(old, new, None, self._plain.__getitem__, self._stored.__getitem__))


class Ours:
    """A pack over HTTP on loopback, applied in this process, as a running agent does."""

    name = "lekiwi"

    def __init__(self, history: History, robot: Path) -> None:
        self.publisher = Publisher(history.tree)
        self.objects = ObjectFolder(robot / "objects")
        self.slots = robot / "deployments"
        self.slots.mkdir()
        self.manifest: Manifest | None = None
        self._old: bytes | None = None

    def first(self) -> Moved:
        return self.update(0)

    def update(self, number: int) -> Moved:
        start = time.perf_counter()
        _, stored = self.publisher.publish()
        pack = self.publisher.pack(self._old, stored)
        server_ms = 1000 * (time.perf_counter() - start)
        with serving(pack) as (address, request):
            start = time.perf_counter()
            reader = PackReader(self.objects, manifest_digest(stored), None, self._old)
            headers = len(request)
            with socket.create_connection(address) as connection:
                connection.sendall(request)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(1 << 16)
                head, end, chunk = head.partition(b"\r\n\r\n")
                headers += len(head + end)
                wire = 0
                while chunk := chunk or connection.recv(CHUNK):
                    wire += len(chunk)
                    reader.feed(chunk)
                    chunk = b""
            applied = reader.finish()
            assert not applied.failed
            self.manifest = applied.manifest
            lay_out(self.objects, applied.manifest, None, self.slots / str(number), extra={"manifest.json": stored})
            ready_ms = 1000 * (time.perf_counter() - start)
        self._old = stored
        return Moved(wire, ready_ms, server_ms, headers)


@contextmanager
def serving(body: bytes) -> Iterator[tuple[tuple[str, int], bytes]]:
    """One HTTP answer on loopback: its address and the request to send, headers as the agent's."""
    head = [
        "HTTP/1.1 200 OK",
        "content-type: application/octet-stream",
        f"content-length: {len(body)}",
        f'etag: "{ZEROS[:40]}"',
    ]
    answer = "\r\n".join([*head, "connection: close", "", ""]).encode() + body
    path = f"/content/packs/{ZEROS}?platform=linux-aarch64-glibc2.36-py3.11&from={ZEROS}"
    asked = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "User-Agent: lekiwi-agent/0.1.0",
        f"Authorization: Ticket lekiwi-001.{ZEROS}.1234567890.{ZEROS}",
    ]

    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_once)
        thread.start()
        yield listener.getsockname(), "\r\n".join([*asked, "", ""]).encode()
        thread.join()


class Rsync:
    """`rsync -az --link-dest`, its two processes connected by a pipe; the bytes are its own count."""

    name = "rsync"

    def __init__(self, history: History, robot: Path) -> None:
        self._source = history.tree
        self._robot = robot
        self._remote = robot / "remote-shell"
        self._remote.write_text('#!/bin/sh\nshift\nexec "$@"\n')  # instead of ssh: the "other machine" is this one
        self._remote.chmod(0o755)
        self._before: Path | None = None

    def first(self) -> Moved:
        return self.update(0)

    def update(self, number: int) -> Moved:
        target = self._robot / str(number)
        link = [f"--link-dest={self._before}"] if self._before else []
        options = ["-az", "--stats", "--exclude=/.git", "-e", str(self._remote), *link]
        command = ["rsync", *options, f"robot:{self._source}/", str(target)]
        start = time.perf_counter()
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ready_ms = 1000 * (time.perf_counter() - start)
        self._before = target
        return Moved(sum(_number(said, f"Total bytes {way}") for way in ("sent", "received")), ready_ms)


class GitFetch:
    """`git fetch` into a bare repository on the robot, and a worktree of the new commit."""

    name = "git"

    def __init__(self, history: History, robot: Path) -> None:
        self._history = history
        self._robot = robot
        self._repository = robot / "repository.git"
        self._twin = robot / "twin.git"  # fetches the same once more through a counter, which takes time of its own
        self._counter = robot / "counted-upload-pack"
        self._counter.write_text(
            f'#!/bin/bash\ntee >(wc -c >{robot}/up) | git-upload-pack "$@" | tee >(wc -c >{robot}/down)\n'
        )
        self._counter.chmod(0o755)
        for repository in (self._repository, self._twin):
            git(robot, "init", "--quiet", "--bare", str(repository))

    def first(self) -> Moved:
        return self._fetch(0, ["--depth=1"])

    def update(self, number: int) -> Moved:
        return self._fetch(number, [])

    def _fetch(self, number: int, depth: list[str]) -> Moved:
        origin = f"file://{self._history.origin}"
        fetch = ["fetch", "--quiet", "--no-tags", *depth, origin, f"+{BRANCH}:{BRANCH}"]
        start = time.perf_counter()
        git(self._repository, *fetch)
        git(self._repository, "worktree", "add", "--quiet", "--detach", str(self._robot / str(number)), BRANCH)
        ready_ms = 1000 * (time.perf_counter() - start)
        git(self._twin, *fetch, f"--upload-pack={self._counter}")
        return Moved(sum(_counted(self._robot / name) for name in ("up", "down")), ready_ms)


class TarGz:
    """The naive way: the whole tree as tar.gz, unpacked by Python."""

    name = "tar.gz"

    def __init__(self, history: History, robot: Path) -> None:
        self._source = history.tree
        self._robot = robot

    def first(self) -> Moved:
        return self.update(0)

    def update(self, number: int) -> Moved:
        archive = self._robot / f"{number}.tar.gz"
        start = time.perf_counter()
        subprocess.run(["tar", "-czf", archive, "--exclude=./.git", "-C", self._source, "."], check=True)
        server_ms = 1000 * (time.perf_counter() - start)
        wire = archive.stat().st_size
        start = time.perf_counter()
        target = self._robot / str(number)
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
        ready_ms = 1000 * (time.perf_counter() - start)
        archive.unlink()
        if number > 1:
            shutil.rmtree(self._robot / str(number - 2))
        return Moved(wire, ready_ms, server_ms)


def methods(history: History, folder: Path) -> list[Method]:
    """All that this machine can run, each with a robot's folder of its own."""
    found: list[Method] = []
    for kind in (Ours, Rsync, GitFetch, TarGz):
        if kind is Rsync and shutil.which("rsync") is None:
            continue
        robot = folder / kind.name
        robot.mkdir()
        found.append(kind(history, robot))
    return found


def _number(text: str, label: str) -> int:
    found = re.search(rf"{label}: ([\d,]+)", text)
    assert found, text
    return int(found[1].replace(",", ""))


def _counted(path: Path) -> int:
    """What `wc` wrote, which may still be writing."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        text = path.read_text() if path.exists() else ""
        if text.endswith("\n"):
            path.unlink()
            return int(text)
        os.sched_yield()
    raise SystemExit(f"{path} was never written")
