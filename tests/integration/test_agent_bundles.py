"""What a server gives robots to install, made with the real package clients from wheels that the test makes."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from wheels import wheel

from lekiwi_deploy.errors import Failed, NotFound
from lekiwi_deploy.server.agent_bundle.dependencies import Dependencies
from lekiwi_deploy.server.agent_bundle.own_wheel import FILE_NAME, own_wheel
from lekiwi_deploy.server.agent_bundle.shelf import LOCK, AgentBundles

X86 = "linux-x86_64-glibc2.36-py3.11"
ARM = "linux-aarch64-glibc2.36-py3.12"


class Index:
    """A package index on loopback: pages that list the files of `folder` with their digests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, version: str, tag: str = "py3-none-any") -> None:
        path, data = wheel(name, version, tag)
        (self.folder / Path(path).name).write_bytes(data)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        name = path.strip("/").rpartition("/")[2]
        if name.endswith(".whl"):
            return 200, "application/zip", (self.folder / name).read_bytes()
        files = sorted(self.folder.glob(f"{name}-*.whl"))
        links = [f'<a href="/{f.name}#sha256={hashlib.sha256(f.read_bytes()).hexdigest()}">{f.name}</a>' for f in files]
        return (
            (200 if files else 404),
            "text/html",
            f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode(),
        )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index that the package clients of this process use."""
    index = Index(tmp_path / "index")
    index.folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = index.answer(self.path)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    index.add("plain", "1.0")
    index.add("plain", "2.0")
    index.add("native", "1.0", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64")
    index.add("native", "1.0", "cp38-abi3-manylinux_2_28_aarch64")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_")) and name != "PIP_CERT"]:
        monkeypatch.delenv(name)
    url = f"http://127.0.0.1:{server.server_port}/"
    for name, value in (
        ("UV_DEFAULT_INDEX", url),
        ("UV_NO_CONFIG", "1"),
        ("PIP_INDEX_URL", url),
        ("PIP_CONFIG_FILE", os.devnull),
    ):
        monkeypatch.setenv(name, value)
    yield index
    server.shutdown()
    thread.join()
    server.server_close()


def shelf(folder: Path, clock: list[datetime] | None = None, needed: str = "native") -> AgentBundles:
    def dependencies(home: Path) -> Dependencies:
        return Dependencies(home, (f"{needed}>=1", "plain>=1"), "native==1.0\nplain==1.0\n")

    now = clock or [datetime(2026, 1, 1, tzinfo=UTC)]
    return AgentBundles(folder, lambda: now[0], dependencies=dependencies)


async def test_a_bundle_holds_exactly_the_servers_versions_for_that_platform(index: Index, tmp_path: Path) -> None:
    bundles = shelf(tmp_path / "one")
    told, path = await bundles.bundle(X86)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == told.digest
    with zipfile.ZipFile(path) as archive:
        assert [name for name in archive.namelist() if name.startswith("wheels/")] == [
            f"wheels/{FILE_NAME}",
            "wheels/native-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "wheels/plain-1.0-py3-none-any.whl",
        ]
        listed = {line.split("  ")[0] for line in archive.read(LOCK).decode().splitlines()}
        assert all(
            hashlib.sha256(archive.read(name)).hexdigest() in listed for name in archive.namelist() if name != LOCK
        )
        assert hashlib.sha256(archive.read(LOCK)).hexdigest() == (await bundles.release()).lock


async def test_every_server_with_the_same_packages_makes_the_same_bundle(index: Index, tmp_path: Path) -> None:
    one, two = shelf(tmp_path / "one"), shelf(tmp_path / "two")
    assert await one.release() == await two.release()
    assert (await one.bundle(ARM))[0] == (await two.bundle(ARM))[0]
    assert (await one.bundle(ARM))[0].digest != (await one.bundle(X86))[0].digest


async def test_what_was_fetched_once_needs_no_index_again(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = await shelf(tmp_path / "shelf").bundle(X86)
    for path in index.folder.iterdir():
        path.unlink()
    after, path = await shelf(tmp_path / "shelf").bundle(X86)
    assert after == before
    path.unlink()
    assert (await shelf(tmp_path / "shelf").bundle(X86))[0] == before, "it is put together again from what is kept"


async def test_a_platform_without_a_wheel_is_told_and_not_asked_for_again_at_once(index: Index, tmp_path: Path) -> None:
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    bundles = shelf(tmp_path / "shelf", clock)
    with pytest.raises(Failed, match=r"native 1\.0 has no wheel for linux-armv7l .* with Python 3\.11"):
        await bundles.bundle("linux-armv7l-glibc2.36-py3.11")
    index.add("native", "1.0", "cp311-cp311-manylinux_2_17_armv7l")
    with pytest.raises(Failed):
        await bundles.bundle("linux-armv7l-glibc2.36-py3.11")
    clock[0] += timedelta(minutes=1)
    with pytest.raises(Failed, match="not among the files"):
        await bundles.bundle("linux-armv7l-glibc2.36-py3.11")  # it is not in the list that lines have pinned
    assert (await bundles.bundle(X86))[0].size > 0, "others are served"


async def test_a_system_without_agents_is_refused_without_asking_anybody(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="robots run Linux"):
        await shelf(tmp_path / "shelf").bundle("darwin-arm64-glibc2.36-py3.11")
    assert not (tmp_path / "shelf").exists()


async def test_a_package_that_is_nowhere_is_named(index: Index, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="nowhere") as caught:
        await shelf(tmp_path / "shelf", needed="nowhere").release()
    assert "package index" in caught.value.next[0]


def test_our_own_wheel_is_complete_and_always_the_same() -> None:
    first, second = own_wheel(), own_wheel()
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        names = archive.namelist()
        info = next(name.split("/")[0] for name in names if name.endswith("dist-info/RECORD"))
        record = [line.split(",")[0] for line in archive.read(f"{info}/RECORD").decode().splitlines()]
        assert record == names
        assert "lekiwi_deploy/agent/main.py" in names
        assert not [name for name in names if "__pycache__" in name or name.startswith("lekiwi_deploy/server/")]
        assert "lekiwi-agent = lekiwi_deploy.agent.main:main" in archive.read(f"{info}/entry_points.txt").decode()
        requires = [
            line for line in archive.read(f"{info}/METADATA").decode().splitlines() if line.startswith("Requires-Dist")
        ]
        assert any("msgspec" in line for line in requires)
        assert not any("litestar" in line for line in requires)
