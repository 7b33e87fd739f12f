"""One build: an exported tree becomes a published release. The story; the parts are beside it.

Order: what is it → were these inputs built before → dependencies → build command → what belongs to the release → tests, while its content
is stored → manifest. The release is what stood before the tests ran, so tests cannot change it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path

from lekiwi_deploy.content.tree import read_tree
from lekiwi_deploy.errors import BadInput, Failed, LekiwiError
from lekiwi_deploy.server.builds import target_platforms
from lekiwi_deploy.server.builds.assemble import assemble
from lekiwi_deploy.server.builds.build_commands import NOTHING_GIVEN, run_build_commands, run_tests
from lekiwi_deploy.server.builds.build_python import PlatformBuild, build_platform, test_environment
from lekiwi_deploy.server.builds.detect import detect
from lekiwi_deploy.server.builds.inputs import input_digest
from lekiwi_deploy.server.builds.listing import read_listing
from lekiwi_deploy.server.builds.project_file import FILE, read_project_file
from lekiwi_deploy.server.builds.publish import digests_of, publish_manifest, publish_objects
from lekiwi_deploy.server.builds.pythons import find_python, own_platform
from lekiwi_deploy.server.builds.release import LEFT_BEHIND, Job, Release, ReleaseRules
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.builds.sandbox import find_walls
from lekiwi_deploy.server.builds.spec import ProjectSpec
from lekiwi_deploy.server.builds.workshop import Workshop, open_workshop
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key
from lekiwi_deploy.server.store import builds
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.server.variables.declared import declared_names
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.progress import Step


async def build(context: Context, row: DeploymentRow, scratch: Path, report: Report) -> Release:
    """Builds what is exported at `scratch/tree`. Raises `LekiwiError` for what is the project's fault; the step that failed is reported."""
    clock = asyncio.get_running_loop().time
    started = clock()
    async with context.database.transaction() as tx:
        robots = await builds.platforms(tx, row.project, row.environment)
        last = await builds.last_manifest(tx, row.project)
    platforms = target_platforms.distinct(robots or [own_platform()])
    try:
        listing = await asyncio.to_thread(read_listing, scratch / "tree")
        spec = _project_spec(scratch / "tree")
        found = await asyncio.to_thread(detect, listing)
        if not spec.services and found.service is None:
            raise BadInput(found.missing or "nothing to run was found")
        source = await asyncio.to_thread(read_tree, scratch / "tree", "code", ignore=ReleaseRules(LEFT_BEHIND))
        inputs = input_digest(source, platforms, pythons=await _pythons(platforms), tools=[f"uv {version_of('uv')}"])
    except LekiwiError as error:
        await report.finished(Step.BUILD, False, error.message, clock() - started)
        raise
    rebuild = row.source == "redeploy"  # somebody asked for it: what was built before may be what is wrong
    reused = None if rebuild else await _reused(context, row, inputs, report, started)
    if reused is not None:
        return reused
    shop = await _open(context, row, scratch, report, platforms)
    job = Job(context, row, report, shop, platforms, bool(robots), spec, found)
    await report.started(Step.BUILD, job.title)
    try:
        trees = await _dependencies(job)
        for_tests = NOTHING_GIVEN
        if spec.test is not None:
            for_tests = await test_environment(shop, found.python, spec.test)
        await run_build_commands(job)
        made = await assemble(job, trees)
    except LekiwiError as error:
        await report.finished(Step.BUILD, False, error.message, clock() - started)
        raise
    build_s = clock() - started
    await report.finished(Step.BUILD, True, job.title, build_s)
    known = await digests_of(context.objects, last) if last else frozenset()
    manifest = made.manifest
    # The project's own files before tests can change them; what is installed, which they cannot, meanwhile.
    await publish_objects(context.objects, manifest.files, made.code.read, made.paths, known)
    storing = asyncio.create_task(
        publish_objects(context.objects, made.installed, made.read_installed, made.paths, known)
    )
    try:
        test_s, tests = await run_tests(job, for_tests)
        await storing
    finally:
        if not storing.done():
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
    digest, size = await publish_manifest(context.objects, manifest)
    biggest = max((sum(entry.size for entry in tree.files) for tree in manifest.platforms.values()), default=0)
    return Release(
        stack=found.stack,
        input_digest=inputs,
        digest=digest,
        manifest_size=size,
        files=len(manifest.files) + max((len(tree.files) for tree in manifest.platforms.values()), default=0),
        bytes=sum(entry.size for entry in manifest.files) + biggest,
        build_s=build_s,
        test_s=test_s,
        tests=tests,
        metadata=DeploymentMetadata(
            meta=row.metadata.meta,
            services=tuple(service.name for service in manifest.services),
            platforms=tuple(sorted(manifest.platforms)),
        ),
        reused=False,
        variables=declared_names(manifest),
    )


def _project_spec(tree: Path) -> ProjectSpec:
    path = tree / FILE
    if not path.is_file() or path.is_symlink():
        other = next((name for name in ("lekiwi.yml", ".lekiwi.yaml", "lekiwi.json") if (tree / name).exists()), None)
        if other:
            raise BadInput(f"{other} is not read: call it {FILE}")
        return ProjectSpec()
    return read_project_file(path.read_bytes())


async def _pythons(platforms: Sequence[Platform]) -> list[str]:
    return [python.tag for platform in platforms if (python := await find_python(platform.python)) is not None]


async def _open(
    context: Context, row: DeploymentRow, scratch: Path, report: Report, platforms: Sequence[Platform]
) -> Workshop:
    walls = await find_walls()
    if walls.bwrap is None:
        await report.note(
            f"builds run without a sandbox on this server ({walls.why}): a project's commands can read what the server can",
            warning=True,
        )
    python = await find_python(platforms[0].python) or await find_python(own_platform().python)
    if python is None:
        raise Failed("no working Python was found on the server to build with")
    cache = context.config.data / "cache" / "projects" / row.project
    return open_workshop(walls=walls, scratch=scratch, cache=cache, python=python, mark=row.id)


async def _reused(context: Context, row: DeploymentRow, inputs: str, report: Report, started: float) -> Release | None:
    async with context.database.transaction() as tx:
        before = await builds.reusable(tx, row.project, inputs)
    if (
        before is None
        or before.package_hash is None
        or not await context.objects.exists(manifest_key(before.package_hash))
    ):
        return None
    took = asyncio.get_running_loop().time() - started
    await report.finished(Step.BUILD, True, "reused, inputs unchanged", took)
    if before.tests:
        await report.finished(Step.TEST, True, f"reused, {before.tests}", 0.0)
    return Release(
        stack=before.stack or "",
        input_digest=inputs,
        digest=before.package_hash,
        manifest_size=before.manifest_size,
        files=before.files,
        bytes=before.bytes,
        build_s=took,
        test_s=before.test_s,
        tests=before.tests,
        metadata=DeploymentMetadata(
            meta=row.metadata.meta, services=before.metadata.services, platforms=before.metadata.platforms
        ),
        reused=True,
    )


async def _dependencies(job: Job) -> dict[str, PlatformBuild]:
    if job.found.python is None:
        return {}
    trees: dict[str, PlatformBuild] = {}
    for platform in job.platforms:
        tree = await build_platform(job.shop, job.found.python, platform)
        if tree is None:
            continue
        trees[platform.key] = tree
        if not job.robots:
            where = job.row.environment or "the project"
            await job.report.note(f"{where} has no robots yet: built for {platform.short}, this server's own platform")
        if tree.installed.from_source:
            await job.report.note("some dependencies have no wheel and were built from source on the server")
        if not tree.installed.byte_compiled:
            await job.report.note(
                f"this server has no Python {platform.python}: robots with it compile byte code themselves, and start slower"
            )
    return trees
