"""Uploads of a directory: which objects are missing, and the objects themselves."""

from __future__ import annotations

from typing import Any

from litestar import Request, post, put

from lekiwi_deploy.content.entries import check_entries
from lekiwi_deploy.content.upload import Uploaded, UploadReader
from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import ObjectStore, object_key
from lekiwi_deploy.server.store import projects, uploads
from lekiwi_deploy.wire.api import Identity, NewUpload, Role, Upload
from lekiwi_deploy.wire.ids import ObjectDigest, ProjectName, UploadId, base62
from lekiwi_deploy.wire.manifest import FileEntry

MAX_LIST = 64_000_000
"""Bytes of a list of files: some 400,000 of them."""
BATCH_BYTES = 8_000_000
BATCH_OBJECTS = 256


@post("/api/projects/{project:str}/uploads", role=Role.DEPLOYER, request_max_body_size=MAX_LIST)
async def create_upload(context: Context, identity: Identity, project: str, data: NewUpload) -> Upload:
    """Begins an upload; the answer says which objects the server lacks."""
    check_entries(data.files)
    row = uploads.UploadRow(
        id=UploadId(f"upl_{base62(context.random(16), 8)}"),
        project=ProjectName(project),
        files=data.files,
        created_by=identity.name,
        created_at=context.now(),
    )
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        await uploads.insert(tx, row)
    return Upload(id=row.id, missing=tuple(sorted(await _missing(context.objects, data.files))))


@put(
    "/api/uploads/{upload:str}/objects",
    role=Role.DEPLOYER,
    status_code=204,
    request_max_body_size=None,
)
async def put_objects(context: Context, request: Request[Any, Any, Any], upload: str) -> None:
    """Takes the missing objects as one stream; 204 when everything is there, durably. What came before a broken connection
    is kept: begin another upload and send the rest."""
    async with context.database.transaction() as tx:
        row = await uploads.read(tx, upload)
    if row is None:
        raise NotFound(f"there is no upload {upload[:40]!r}: it is forgotten after a day", next=("lekiwi deploy",))
    sizes = {entry.digest: entry.size for entry in row.files}
    reader = UploadReader(await _missing(context.objects, row.files))
    batch: list[Uploaded] = []
    waiting = 0
    try:
        async for chunk in request.stream():
            for uploaded in reader.feed(chunk):
                if uploaded.size != sizes[uploaded.digest]:
                    raise BadInput(
                        f"object {uploaded.digest[:12]}… has {uploaded.size} bytes, the list of files says {sizes[uploaded.digest]}"
                    )
                batch.append(uploaded)
                waiting += len(uploaded.stored)
            if waiting >= BATCH_BYTES or len(batch) >= BATCH_OBJECTS:
                await _keep(context.objects, batch)
                batch, waiting = [], 0
    finally:
        await _keep(context.objects, batch)
    reader.finish()
    if reader.missing:
        raise BadInput(
            f"{len(reader.missing)} of the missing objects were not sent",
            details={"missing": sorted(reader.missing)[:100]},
        )


async def _missing(objects: ObjectStore, files: tuple[FileEntry, ...]) -> set[ObjectDigest]:
    """Objects of `files` that are not stored. An empty file needs none."""
    wanted = {object_key(entry.digest): entry.digest for entry in files if entry.size}
    return {wanted[key] for key in await objects.missing(wanted)}


async def _keep(objects: ObjectStore, batch: list[Uploaded]) -> None:
    if batch:
        await objects.put_many((object_key(uploaded.digest), uploaded.stored) for uploaded in batch)


handlers = [create_upload, put_objects]
