"""What differs between two deployments: reads their manifests, the project's repository and variables; `fleet.differences` compares."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import zstandard

from lekiwi_deploy.content.manifests import MAX_MANIFEST, read_manifest
from lekiwi_deploy.errors import Conflict, LekiwiError
from lekiwi_deploy.fleet import differences as decide
from lekiwi_deploy.fleet.variables import Version, Where, resolve
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key
from lekiwi_deploy.server.git.repositories import git, repository_path
from lekiwi_deploy.server.going_back import meaning
from lekiwi_deploy.server.store import builds, deployments, previews, projects, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.wire.api import Deployment, Environment
from lekiwi_deploy.wire.changes import CommitLine, Differences
from lekiwi_deploy.wire.ids import EnvironmentName, ManifestDigest, ProjectName
from lekiwi_deploy.wire.manifest import Manifest
from lekiwi_deploy.wire.platforms import Platform

MAX_COMMITS = 50
_FORMAT = "--format=%H%x00%an%x00%aI%x00%s%x1e"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a deployment as it runs, or would run, in an environment. `newest`: with the variables of now, else with those it is
    bound to there (those of now, if it never was live there)."""

    row: DeploymentRow
    environment: EnvironmentName
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Sides:
    """All that the database knows of the two."""

    a: Side | None
    b: Side
    views: tuple[Deployment | None, Deployment]
    variables: tuple[dict[str, Version], dict[str, Version]]
    platforms: tuple[Platform, ...]


async def differences(
    context: Context, project: ProjectName, a: str, b: str, environment: str | None, utc_offset_min: int = 0
) -> Differences:
    """What differs from `a` to `b`: environments (what is live there) or selectors, meant in `environment` (None: the other one of the two if
    that is one, else the only one). Raises as selectors do, and `Conflict` where nothing is live."""
    async with context.database.transaction() as tx:
        known = {one.name: one for one in await projects.environments(tx, project)}
        place = environment if environment is not None else next((name for name in (b, a) if name in known), None)
        first = await side_of(tx, context, project, known, a, place, utc_offset_min)
        second = await side_of(tx, context, project, known, b, place, utc_offset_min)
        found = await read_sides(tx, context, first, second)
    return await compare(context, found)


async def side_of(
    tx: Transaction,
    context: Context,
    project: ProjectName,
    known: dict[EnvironmentName, Environment],
    said: str,
    place: str | None,
    utc_offset_min: int = 0,
) -> Side:
    """What `said` means: an environment by its name, else a selector in the environment `place`."""
    there = known.get(EnvironmentName(said))
    if there is not None:
        row = await deployments.read(tx, there.live) if there.live is not None else None
        if row is None:
            raise Conflict(f"nothing is live in {said}", next=(f"lekiwi list -e {said}",))
        return Side(row, there.name)
    target = await environment_meant(tx, project, place, "lekiwi diff")
    found = await meaning(tx, context, target, said, current=target.live, utc_offset_min=utc_offset_min)
    return Side(found.row, target.name)


async def read_sides(tx: Transaction, context: Context, a: Side | None, b: Side) -> Sides:
    """What `compare` needs of the database."""
    views = await deployment_views(tx, context, [one.row for one in (a, b) if one is not None])
    return Sides(
        a=a,
        b=b,
        views=(views[0] if a is not None else None, views[-1]),
        variables=(await _variables(tx, a) if a is not None else {}, await _variables(tx, b)),
        platforms=tuple(await builds.platforms(tx, b.row.project, b.environment)),
    )


async def compare(context: Context, sides: Sides) -> Differences:
    """The differences. Takes no transaction: it reads the object store and runs git."""
    a, b = sides.a, sides.b
    same = a is not None and a.row.package_hash == b.row.package_hash
    before, after = await asyncio.gather(
        _manifest(context, a.row if a is not None else None), _manifest(context, None if same else b.row)
    )
    after = before if same else after
    changed = decide.variables(*sides.variables)
    (commits, more), behind = await _commits(context, a.row if a is not None else None, b.row)
    parts = decide.contents(before, after) if after is not None and not same else decide.Contents((), 0, (), ())
    again: tuple[str, ...] = ()
    if after is not None:
        again = decide.restarts(before, after, sides.platforms, [one.name for one in changed])
    return Differences(
        a=sides.views[0],
        b=sides.views[1],
        same_bytes=same,
        commits=commits,
        commits_more=more,
        behind=behind,
        files=parts.files,
        files_more=parts.files_more,
        dependencies=parts.dependencies,
        config=parts.config,
        variables=changed,
        restarts=again,
    )


async def _variables(tx: Transaction, side: Side) -> dict[str, Version]:
    row = side.row
    bound = None if side.newest else await variables.bound(tx, row.project, side.environment, row.id)
    revision = bound if bound is not None else await variables.revision(tx, row.project)
    lent = await previews.read(tx, row.project, side.environment) is not None
    where = Where(side.environment, preview=lent, branch=row.branch)
    return resolve(await variables.at_revision(tx, row.project, revision), where)


async def read_stored(context: Context, digest: ManifestDigest) -> Manifest:
    """A stored manifest. Raises `LekiwiError` when it is gone or damaged."""
    stored = await context.objects.get(manifest_key(digest))
    return await asyncio.to_thread(_unpacked, stored, digest)


def _unpacked(stored: bytes, digest: ManifestDigest) -> Manifest:
    plain = zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_MANIFEST)
    return read_manifest(plain, digest=digest)


async def _manifest(context: Context, row: DeploymentRow | None) -> Manifest | None:
    return await read_stored(context, row.package_hash) if row is not None and row.package_hash is not None else None


async def _commits(
    context: Context, a: DeploymentRow | None, b: DeploymentRow
) -> tuple[tuple[tuple[CommitLine, ...], int], bool]:
    """Those of `b` and not of `a`, how many more there are, and whether `a` has some that `b` lacks. Nothing where one is not in the repository."""
    if a is None or a.commit_sha is None or b.commit_sha is None or a.commit_sha == b.commit_sha:
        return ((), 0), False
    data, repository = context.config.data, repository_path(context.config.data, b.project)
    if not repository.exists():
        return ((), 0), False
    try:
        log = git(
            data, repository, "log", f"--max-count={MAX_COMMITS}", _FORMAT, "--end-of-options", f"{a.commit_sha}..{b.commit_sha}"
        )  # fmt: skip
        counted = git(
            data, repository, "rev-list", "--left-right", "--count", "--end-of-options", f"{a.commit_sha}...{b.commit_sha}"
        )  # fmt: skip
        out, numbers = await asyncio.gather(log, counted)
    except LekiwiError:  # an upload names a commit that was never pushed
        return ((), 0), False
    lacking, ahead = (int(number) for number in numbers.split())
    lines = _lines(out.decode("utf-8", "replace").split("\x1e"))
    return (lines, max(0, ahead - len(lines))), lacking > 0


def _lines(records: Sequence[str]) -> tuple[CommitLine, ...]:
    found: list[CommitLine] = []
    for record in records:
        parts = record.strip("\n").split("\0")
        if len(parts) == 4:
            commit, author, at, subject = parts
            found.append(
                CommitLine(commit=commit, author=_plain(author), at=datetime.fromisoformat(at), subject=_plain(subject))
            )
    return tuple(found)


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]
