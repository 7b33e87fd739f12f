"""Uploading a directory: only what is missing, verified, durable before the 204."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from served_app import Asker

from lekiwi_deploy.content.compression import decompress_object
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.pack import pack_objects
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import object_key
from lekiwi_deploy.server.store import projects, uploads
from lekiwi_deploy.wire.api import Role
from lekiwi_deploy.wire.ids import ObjectDigest, ProjectName
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

pytestmark = pytest.mark.engine

CONTENT = {f"src/{n}.py": b"print(%d)\n" % n * (n + 1) for n in range(20)} | {
    "big.bin": os.urandom(3_000_000),
    "empty": b"",
}


def _entries(content: dict[str, bytes]) -> list[FileEntry]:
    return [FileEntry(path, FileKind.FILE, len(data), object_digest(data)) for path, data in sorted(content.items())]


def _stream(digests: list[str], content: dict[str, bytes]) -> bytes:
    by_digest = {object_digest(data): data for data in content.values()}
    return b"".join(pack_objects(tuple(ObjectDigest(digest) for digest in digests), by_digest.__getitem__))


@pytest.fixture
async def web(context: Context) -> AsyncIterator[str]:
    """A project."""
    async with context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("web"), "anna", context.now())
    yield "web"


async def test_only_what_is_missing_is_asked_for_and_what_was_sent_is_stored_verified(
    owner: Asker, web: str, context: Context
) -> None:
    files = _entries(CONTENT)
    status, _, upload = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": files})
    assert status == 201
    assert set(upload["missing"]) == {entry.digest for entry in files if entry.size}
    status, _, _ = await owner.ask("PUT", f"/api/uploads/{upload['id']}/objects", _stream(upload["missing"], CONTENT))
    assert status == 204
    for entry in files:
        if entry.size:
            stored = await context.objects.get(object_key(entry.digest))
            assert decompress_object(stored, entry.digest) == CONTENT[entry.path]
    changed = CONTENT | {"src/0.py": b"print('changed')\n"}
    _, _, again = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": _entries(changed)})
    assert again["missing"] == [object_digest(b"print('changed')\n")]


async def test_nothing_new_needs_no_objects(owner: Asker, web: str) -> None:
    _, _, upload = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": _entries({"empty": b""})})
    assert upload["missing"] == []
    assert (await owner.ask("PUT", f"/api/uploads/{upload['id']}/objects", _stream([], {})))[0] == 204


async def test_after_a_cut_stream_what_arrived_is_kept_and_the_rest_can_be_sent(owner: Asker, web: str) -> None:
    _, _, upload = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": _entries(CONTENT)})
    ordered = sorted(upload["missing"], key=lambda digest: digest == object_digest(CONTENT["big.bin"]))
    stream = _stream(ordered, CONTENT)
    status, _, told = await owner.ask("PUT", f"/api/uploads/{upload['id']}/objects", stream[: len(stream) // 2])
    assert (status, told["code"]) == (400, "bad_input")
    _, _, again = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": _entries(CONTENT)})
    assert again["missing"] == [object_digest(CONTENT["big.bin"])]
    assert (await owner.ask("PUT", f"/api/uploads/{upload['id']}/objects", _stream(again["missing"], CONTENT)))[
        0
    ] == 204


async def test_bad_streams_are_refused_and_nothing_wrong_is_stored(owner: Asker, web: str, context: Context) -> None:
    content = {"a": b"a" * 1000, "b": b"b" * 1000}
    files = _entries(content)
    _, _, upload = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": files})
    whole = _stream(upload["missing"], content)
    liar = dict(zip([object_digest(b"a" * 1000), object_digest(b"b" * 1000)], [b"x" * 1000, b"y" * 1000], strict=True))
    swapped = b"".join(pack_objects(tuple(liar), liar.__getitem__))
    one = _stream(upload["missing"][:1], content)
    for stream in (b"", b"nonsense", whole[:-1], whole + b"x", whole + whole, swapped, whole[:40] + b"\0" + whole[41:]):
        status, _, told = await owner.ask("PUT", f"/api/uploads/{upload['id']}/objects", stream)
        assert 400 <= status < 500, (stream[:20], told)
        for digest in liar:
            if await context.objects.exists(object_key(digest)):
                assert decompress_object(await context.objects.get(object_key(digest)), digest)
                await context.objects.delete(object_key(digest))
    status, _, told = await owner.ask("PUT", f"/api/uploads/{upload['id']}/objects", one)
    assert (status, told["code"]) == (400, "bad_input")
    assert told["details"]["missing"] == upload["missing"][1:]


async def test_sizes_that_lie_are_refused(owner: Asker, web: str) -> None:
    digest = object_digest(b"a" * 1000)
    files = [FileEntry("a", FileKind.FILE, 999, digest)]
    _, _, upload = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": files})
    status, _, told = await owner.ask(
        "PUT", f"/api/uploads/{upload['id']}/objects", _stream([digest], {"a": b"a" * 1000})
    )
    assert (status, told["code"]) == (400, "bad_input")


async def test_paths_that_lead_out_are_refused(owner: Asker, web: str) -> None:
    digest = object_digest(b"a")
    for path in ("../x", "/etc/passwd", "a//b", "a\0b", "a/./b", ""):
        status, _, told = await owner.ask(
            "POST", f"/api/projects/{web}/uploads", {"files": [FileEntry(path, FileKind.FILE, 1, digest)]}
        )
        assert (status, told["code"]) == (400, "bad_input"), path
    twice = [FileEntry("a", FileKind.FILE, 1, digest), FileEntry("a", FileKind.FILE, 1, digest)]
    assert (await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": twice}))[0] == 400


async def test_only_a_deployer_uploads_and_only_to_a_project_that_is(asking: dict[Role, Asker], web: str) -> None:
    assert (await asking[Role.VIEWER].ask("POST", f"/api/projects/{web}/uploads", {"files": []}))[0] == 403
    assert (await asking[Role.OWNER].ask("POST", "/api/projects/arm/uploads", {"files": []}))[0] == 404
    assert (await asking[Role.OWNER].ask("PUT", "/api/uploads/upl_00000000/objects", b""))[0] == 404
    assert (await asking[Role.VIEWER].ask("PUT", "/api/uploads/upl_00000000/objects", b""))[0] == 403


async def test_stale_uploads_are_forgotten(owner: Asker, web: str, context: Context) -> None:
    _, _, upload = await owner.ask("POST", f"/api/projects/{web}/uploads", {"files": []})
    async with context.database.transaction() as tx:
        assert await uploads.read(tx, upload["id"]) is not None
        assert await uploads.drop_stale(tx, context.now()) == 1
        assert await uploads.read(tx, upload["id"]) is None
