"""What robots download. The ticket says which robot asks and for which manifest; rights are looked up each time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

import zstandard
from litestar import Request, Response, get, post
from litestar.params import QueryParameter
from litestar.response import Stream

from lekiwi_deploy.content.compression import decompress_object
from lekiwi_deploy.content.manifests import MAX_MANIFEST, read_manifest
from lekiwi_deploy.content.pack import pack_objects
from lekiwi_deploy.errors import BadInput, NotAllowed, NotFound, Unauthenticated
from lekiwi_deploy.server import tickets
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key, object_key
from lekiwi_deploy.server.http.ranges import parse_range
from lekiwi_deploy.server.store import packs
from lekiwi_deploy.wire.ids import ManifestDigest, ObjectDigest, is_digest
from lekiwi_deploy.wire.platforms import parse_key

OCTETS = "application/octet-stream"
MAX_REPAIR = 10_000
_PLATFORM = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")

_Request = Request[Any, Any, Any]
T = TypeVar("T")


async def _permitted(
    context: Context, request: _Request, digest: str | None, base: str | None = None
) -> tuple[tickets.TicketClaims, packs.Permission]:
    """Who asks, and what it may have. Raises `Unauthenticated`, `NotAllowed` or `NotFound`."""
    scheme, _, ticket = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "ticket":
        raise Unauthenticated("content needs 'Authorization: Ticket …', which a robot is given over its link")
    claims = tickets.verify(context.ticket_key, ticket.strip(), context.now())
    if digest is not None and digest != claims.digest:
        raise NotAllowed("the content ticket is for another manifest")
    asked = {claims.digest, *({ManifestDigest(base)} if base else ())}
    async with context.database.transaction() as tx:
        permission = await packs.permission(tx, claims.robot, asked)
    if permission is None:
        raise NotAllowed(f"robot {claims.robot!r} may not download anything: it was removed, or its key was cloned")
    if claims.digest not in permission.manifests:
        raise NotFound(f"project {permission.project!r} has no deployment with this manifest")
    return claims, permission


@get("/content/manifests/{digest:str}", public=True)
async def get_manifest(context: Context, request: _Request, digest: str) -> Response[bytes]:
    """A manifest's stored bytes, as one zstd frame."""
    claims, _ = await _permitted(context, request, digest)
    return Response(await context.objects.get(manifest_key(claims.digest)), media_type="application/zstd")


@get("/content/packs/{digest:str}", public=True)
async def get_pack(
    context: Context,
    request: _Request,
    digest: str,
    platform: str,
    base: Annotated[str | None, QueryParameter(name="from")] = None,
) -> Response[bytes] | Stream:
    """Everything that the manifest has and `from` has not, as one stream; `Range` goes on where a download ended.

    A `from` that no deployment of the robot's project has is as good as none.
    """
    if base is not None and not is_digest(base):
        raise BadInput("'from' must be a manifest's digest: 64 lower-case hex characters")
    if not _PLATFORM.match(platform) or parse_key(platform) is None:
        raise BadInput(f"{platform[:60]!r} names no platform")
    claims, permission = await _permitted(context, request, digest, base)
    if permission.platform is not None and permission.platform.key != platform:
        raise BadInput(f"robot {claims.robot!r} said that it is {permission.platform.key}, not {platform}")
    known = ManifestDigest(base) if base in permission.manifests else None
    pack = await context.packs.get(known, claims.digest, platform)
    tag = f'"{(known or "0")[:16]}-{claims.digest[:16]}-{pack.size}"'
    headers = {"etag": tag, "accept-ranges": "bytes"}
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range") in (None, tag):
        found = parse_range(wanted, pack.size)
        if found is not None:
            start, length = found
            if length == 0:
                return Response(b"", status_code=416, headers={**headers, "content-range": f"bytes */{pack.size}"})
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{pack.size}"
            return _bytes(context.packs.read(pack, start, length), length, 206, headers)
    if pack.data is not None:
        return Response(pack.data, media_type=OCTETS, headers=headers)
    return _bytes(context.packs.read(pack, 0, pack.size), pack.size, 200, headers)


@post("/content/objects", public=True, status_code=200)
async def get_objects(context: Context, request: _Request, data: list[str]) -> Stream:
    """These objects of the ticket's manifest, whole: repair of what a pack could not bring."""
    if not 1 <= len(data) <= MAX_REPAIR or not all(is_digest(digest) for digest in data):
        raise BadInput(f"the body must be a list of 1 to {MAX_REPAIR} object digests")
    claims, _ = await _permitted(context, request, None)
    manifest = await asyncio.to_thread(_read_manifest, context, claims.digest)
    mine = {entry.digest for entry in manifest.files}
    for tree in manifest.platforms.values():
        mine.update(entry.digest for entry in tree.files)
    strangers = [digest for digest in data if digest not in mine]
    if strangers:
        raise NotFound(f"the manifest has no object {strangers[0][:12]}…")

    def read(digest: ObjectDigest) -> bytes:
        return decompress_object(context.objects.get_blocking(object_key(digest)), digest)

    stream = pack_objects(tuple(ObjectDigest(digest) for digest in data), read)

    async def pieces() -> AsyncIterator[bytes]:
        while (piece := await asyncio.to_thread(next, stream, None)) is not None:
            yield piece

    return Stream(pieces(), media_type=OCTETS, status_code=200)


def _read_manifest(context: Context, digest: ManifestDigest) -> Any:
    stored = context.objects.get_blocking(manifest_key(digest))
    return read_manifest(zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_MANIFEST), digest=digest)


def _bytes(pieces: AsyncIterator[bytes], length: int, status: int, headers: dict[str, str]) -> Stream:
    return Stream(pieces, media_type=OCTETS, status_code=status, headers={**headers, "content-length": str(length)})


handlers = [get_manifest, get_pack, get_objects]
