"""Deployments: make, list, look at, cancel, follow."""

from __future__ import annotations

import base64
import re
from datetime import datetime

import zstandard
from litestar import Response, get, post
from litestar.response import Stream

from lekiwi_deploy.content.manifests import MAX_MANIFEST
from lekiwi_deploy.errors import Ambiguous, BadInput, NotFound
from lekiwi_deploy.fleet.durations import moment
from lekiwi_deploy.fleet.pace import check_pace
from lekiwi_deploy.server.approving import steps_asked
from lekiwi_deploy.server.canceling import cancel
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key
from lekiwi_deploy.server.follow import entries
from lekiwi_deploy.server.http.ndjson import ndjson
from lekiwi_deploy.server.store import audit, deployments, projects, uploads
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.server.views import deployment_detail, deployment_views
from lekiwi_deploy.wire.api import (
    Deployment,
    DeploymentDetail,
    Deployments,
    DeploymentStatus,
    Identity,
    NewDeployment,
    Role,
)
from lekiwi_deploy.wire.changes import Cancel, Canceled
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, base62

MAX_PAGE = 200
_SCANNED = 2000
_COMMIT = re.compile(r"[0-9a-f]{7,40}\Z")
_LIMITS = {"version": 50, "branch": 100, "author": 255, "message": 10_000, "ref": 255}


@get("/api/projects/{project:str}/deployments")
async def list_deployments(
    context: Context,
    project: str,
    environment: str | None = None,
    status: str | None = None,
    since: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
    utc_offset_min: int = 0,
) -> Deployments:
    """A page of deployments, newest first. `status`: comma-separated; `since`: a time or span, naive ones being `utc_offset_min`
    minutes ahead of UTC."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"limit must be 1 to {MAX_PAGE}, not {limit}")
    wanted = _statuses(status)
    from_ = moment(since, context.now(), utc_offset_min, what="since") if since is not None else None
    before = _read_cursor(cursor) if cursor is not None else None
    found: list[Deployment] = []
    more = True
    async with context.database.transaction() as tx:
        known = (await projects.read(tx, project)).environments
        if environment is not None:
            await projects.environment(tx, ProjectName(project), environment)
        scanned = 0
        while more and len(found) < limit and scanned < _SCANNED:
            rows = await deployments.page(
                tx, project, environment=environment, statuses=None, since=from_, before=before, limit=limit + 1
            )
            more = len(rows) > limit
            rows = rows[:limit]
            scanned += len(rows)
            for row, view in zip(
                rows, await deployment_views(tx, context, rows, environment=environment, full=True), strict=True
            ):
                if len(found) == limit:
                    more = True
                    break
                before = (row.created_at, row.id)
                if wanted is None or view.status in wanted:
                    found.append(view)
    return Deployments(
        deployments=tuple(found), cursor=_cursor(*before) if more and before is not None else None, environments=known
    )


@post("/api/projects/{project:str}/deployments", role=Role.DEPLOYER, status_code=202)
async def create_deployment(
    context: Context, identity: Identity, project: str, data: NewDeployment, idempotency_key: str | None
) -> Deployment:
    """Makes a deployment out of an upload or of a ref of the repository; building begins at once."""
    _check(data)
    async with context.database.transaction() as tx:
        target = await environment_meant(tx, ProjectName(project), data.environment, "lekiwi deploy")
        await steps_asked(tx, data.pace, target.project, target.name, force=data.force)
        if data.upload is not None:
            upload = await uploads.read(tx, data.upload)
            if upload is None or upload.project != project:
                raise NotFound(f"project {project!r} has no upload {data.upload[:40]!r}: it is kept for a day")
        row = DeploymentRow(
            id=DeploymentId(f"dep_{base62(context.random(16), 8)}"),
            project=ProjectName(project),
            environment=target.name,
            version=data.version or "0.0.0",
            commit_sha=data.commit,
            branch=data.branch,
            ref=data.ref,
            author=data.author,
            message=data.message,
            created_by=identity.name,
            created_at=context.now(),
            source="upload" if data.upload is not None else "ref",
            upload=data.upload,
            roll_out=data.roll_out,
            force=data.force,
            metadata=DeploymentMetadata(
                meta=data.meta, pace=data.pace, min_success=data.min_success, skip_offline=data.skip_offline
            ),
            idempotency_key=idempotency_key,
        )
        await deployments.insert(tx, row)
        what = {"environment": target.name, "ref": data.ref, "upload": data.upload, "force": data.force}
        await audit.record(tx, identity.name, "deployment.create", f"project/{project}/{target.name}/{row.id}", what)
        (view,) = await deployment_views(tx, context, [row])
    return view


@get("/api/deployments/{deployment:str}")
async def show_deployment(context: Context, deployment: str) -> DeploymentDetail:
    """One deployment by its id or the unique beginning of it, with its newest rollout."""
    async with context.database.transaction() as tx:
        return await deployment_detail(tx, context, await found(tx, deployment))


@post("/api/deployments/{deployment:str}/cancel", role=Role.DEPLOYER, status_code=200)
async def cancel_deployment(
    context: Context, identity: Identity, deployment: str, data: Cancel | None = None
) -> Canceled:
    """Stops its build, whose processes are ended; its wait for approval; or its waves: nobody else is asked (`revert`: and who took it
    goes back)."""
    async with context.database.transaction() as tx:
        return await cancel(tx, context, identity, await found(tx, deployment), data or Cancel())


@get("/api/deployments/{deployment:str}/progress")
async def follow_deployment(context: Context, deployment: str, after: int = 0, follow: bool = False) -> Stream:
    """Build, test and rollout as they go, from the entry after `after` on."""
    async with context.database.transaction() as tx:
        row = await found(tx, deployment)
    return ndjson(entries(context, row.id, checked_after(after), follow))


@get("/api/deployments/{deployment:str}/manifest")
async def show_manifest(context: Context, deployment: str) -> Response[bytes]:
    """The manifest's stored bytes: what its digest is the SHA-256 of."""
    async with context.database.transaction() as tx:
        row = await found(tx, deployment)
    if row.package_hash is None:
        raise NotFound(f"{row.id} is {row.status}: it has no manifest", next=(f"lekiwi inspect {row.id}",))
    stored = await context.objects.get(manifest_key(row.package_hash))
    plain = zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_MANIFEST)
    return Response(plain, media_type="application/json")


async def found(tx: Transaction, id: str) -> DeploymentRow:
    """The deployment of this id or unique beginning of one. Raises `NotFound` or `Ambiguous`."""
    rows = await deployments.by_prefix(tx, id) if re.fullmatch(r"dep_[0-9A-Za-z]{1,8}", id, re.ASCII) else []
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise NotFound(f"there is no deployment {id[:40]!r}", next=("lekiwi list",))
    raise Ambiguous(
        f"{id!r} may mean {', '.join(row.id for row in rows)}", details={"candidates": [row.id for row in rows]}
    )


def checked_after(after: int) -> int:
    """`after`, if it can be a number of an entry."""
    if not 0 <= after < 2**62:
        raise BadInput(f"after must be the number of an entry, not {after}")
    return after


def _check(data: NewDeployment) -> None:
    if (data.upload is None) == (data.ref is None):
        raise BadInput("give exactly one of upload and ref")
    for field, most in _LIMITS.items():
        text = getattr(data, field)
        if text is not None and (len(text) > most or "\0" in text):
            raise BadInput(f"{field} may have at most {most} characters and no NUL")
    if data.pace is not None:
        check_pace(data.pace)
    if data.min_success is not None and not 0 <= data.min_success <= 100:
        raise BadInput(f"min_success is a share of the robots, from 0 to 100 percent, not {data.min_success:g}")
    if data.ref is not None and (not data.ref or data.ref.startswith("-") or not data.ref.isprintable()):
        raise BadInput(f"{data.ref[:60]!r} is no branch, tag or commit")
    if data.version is not None and not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._+-]*", data.version, re.ASCII):
        raise BadInput(f"{data.version!r} is no version: letters, digits and . _ + - only")
    if data.commit is not None and not _COMMIT.match(data.commit):
        raise BadInput(f"{data.commit[:60]!r} is no commit: 7 to 40 lower-case hex digits")
    if len(data.meta) > 50 or any(len(key) > 100 or len(value) > 1000 for key, value in data.meta.items()):
        raise BadInput("meta may have at most 50 keys of 100 characters with values of 1000")


def _statuses(text: str | None) -> frozenset[DeploymentStatus] | None:
    if text is None:
        return None
    try:
        return frozenset(DeploymentStatus(word.strip()) for word in text.split(","))
    except ValueError as error:
        known = ", ".join(DeploymentStatus)
        raise BadInput(f"{text[:60]!r} is no status; there are: {known}") from error


def _cursor(at: datetime, id: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()} {id}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[datetime, str]:
    try:
        at, id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(" ")
        return datetime.fromisoformat(at), id
    except ValueError as error:
        raise BadInput("the cursor is not one that was given") from error


handlers = [
    list_deployments,
    create_deployment,
    show_deployment,
    cancel_deployment,
    follow_deployment,
    show_manifest,
]
