"""One build: an exported tree becomes a published release. The story; the parts are beside it.

Order: what is it → were these inputs built before → dependencies → build command → what belongs to the release → tests, while its content
is stored → manifest. The release is what stood before the tests ran, so tests cannot change it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path

from lekiwi_deploy.content.ignore import IgnoreRules
from lekiwi_deploy.content.tree import TreeObjects, read_tree
from lekiwi_deploy.errors import BadInput, Failed, LekiwiError
from lekiwi_deploy.server.builds import target_platforms
from lekiwi_deploy.server.builds.build_python import PlatformBuild, TestsNeed, build_platform, test_environment
from lekiwi_deploy.server.builds.detect import Detected, detect
from lekiwi_deploy.server.builds.inputs import input_digest
from lekiwi_deploy.server.builds.launchers import FOLDER, write_launchers
from lekiwi_deploy.server.builds.listing import read_listing
from lekiwi_deploy.server.builds.project_file import FILE, read_project_file
from lekiwi_deploy.server.builds.publish import digests_of, publish_manifest, publish_objects
from lekiwi_deploy.server.builds.python_project import Source
from lekiwi_deploy.server.builds.pythons import find_python, own_platform
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.builds.sandbox import find_walls
from lekiwi_deploy.server.builds.service_content import services_of
from lekiwi_deploy.server.builds.spec import CommandSpec, ProjectSpec
from lekiwi_deploy.server.builds.test_summary import summary
from lekiwi_deploy.server.builds.workshop import Workshop, open_workshop
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key
from lekiwi_deploy.server.store import builds
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.wire.ids import ManifestDigest, ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest, PlatformTree
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.progress import Step

LEFT_BEHIND = (
    "venv/", ".venv/", "__pycache__/", "*.pyc", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".nox/", ".coverage",
)  # fmt: skip
"""What tools leave in a folder and no robot needs."""


NOTHING_GIVEN = TestsNeed({})


class ReleaseRules(IgnoreRules):
    """What belongs to a release: all of it but `LEFT_BEHIND`. A .gitignore has no say, since build outputs are listed there."""

    def with_gitignore(self, text: str) -> IgnoreRules:
        """These rules."""
        return self


@dataclass(frozen=True, slots=True)
class Release:
    """What came of a build. Seconds; `tests` None: there were none."""

    stack: str
    input_digest: str
    digest: ManifestDigest
    manifest_size: int
    files: int
    bytes: int
    build_s: float
    test_s: float | None
    tests: str | None
    metadata: DeploymentMetadata
    reused: bool


@dataclass(frozen=True, slots=True)
class _Job:
    context: Context
    row: DeploymentRow
    report: Report
    shop: Workshop
    platforms: tuple[Platform, ...]
    robots: bool  # whether the platforms are those of robots
    spec: ProjectSpec
    found: Detected

    @property
    def title(self) -> str:
        python = self.found.python
        if python is None or python.source is Source.NONE:
            return self.found.stack  # the same for every platform
        return f"{self.found.stack} · {target_platforms.shown(self.platforms)}"


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
        found = detect(listing)
        if not spec.services and found.service is None:
            raise BadInput(found.missing or "nothing to run was found")
        source = await asyncio.to_thread(read_tree, scratch / "tree", "code", ignore=ReleaseRules(LEFT_BEHIND))
        inputs = input_digest(source, platforms, pythons=await _pythons(platforms), tools=[f"uv {version_of('uv')}"])
    except LekiwiError as error:
        await report.finished(Step.BUILD, False, error.message, clock() - started)
        raise
    reused = await _reused(context, row, inputs, report, started)
    if reused is not None:
        return reused
    shop = await _open(context, row, scratch, report, platforms)
    job = _Job(context, row, report, shop, platforms, bool(robots), spec, found)
    await report.started(Step.BUILD, job.title)
    try:
        trees = await _dependencies(job)
        for_tests = NOTHING_GIVEN
        if spec.test is not None:
            for_tests = await test_environment(shop, found.python, spec.test)
        await _commands(job)
        entries = await asyncio.to_thread(read_tree, shop.tree, "code", ignore=ReleaseRules(LEFT_BEHIND))
        manifest, paths, read = await _manifest(job, entries, trees)
    except LekiwiError as error:
        await report.finished(Step.BUILD, False, error.message, clock() - started)
        raise
    build_s = clock() - started
    await report.finished(Step.BUILD, True, job.title, build_s)
    known = await digests_of(context.objects, last) if last else frozenset()
    await publish_objects(context.objects, manifest.files, read, paths, known)  # before tests can change them
    installed = [entry for tree in manifest.platforms.values() for entry in tree.files]
    storing = asyncio.create_task(publish_objects(context.objects, installed, read, paths, known))
    try:
        test_s, tests = await _test(job, for_tests)
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


async def _dependencies(job: _Job) -> dict[str, PlatformBuild]:
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


async def _commands(job: _Job) -> None:
    node = job.found.node
    if node is not None and node.install is not None and job.spec.build is None:
        if shutil.which("npm") is None:
            raise BadInput(
                "package.json has dependencies, but npm is not installed on the server: install nodejs and npm there"
            )
        if not node.locked:
            await job.report.note("there is no package-lock.json: dependencies may differ from build to build")
        command = ("npm", *node.install, "--no-progress", "--loglevel", "error")
        await _run(job, CommandSpec(command, " ".join(command[:2]), 1_200.0), Step.BUILD, network=True)
    if job.spec.build is not None:
        await _run(job, job.spec.build, Step.BUILD, network=True)


async def _run(
    job: _Job, command: CommandSpec, step: Step, *, network: bool, given: TestsNeed = NOTHING_GIVEN
) -> tuple[str, ...]:
    ended = await job.shop.run(
        command.run,
        timeout_s=command.timeout_s,
        on_lines=_lines_to(job.report, step),
        network=network,
        env=given.env,
        binds=given.binds,
    )
    if not ended.ok:
        counts = summary(ended.tail, ok=False) if step is Step.TEST else ""
        why = ended.verdict + (_hint(command, network) if ended.code == 127 else "")
        raise Failed(f"{command.short}: {counts + ' (' + why + ')' if counts else why}")
    return ended.tail


def _hint(command: CommandSpec, network: bool) -> str:
    word = command.shown.split()[0] if command.shown.split() else ""
    if word == "pytest" and not network:
        return ": add pytest to the project's dev dependencies or to requirements-dev.txt"
    return ""


def _lines_to(report: Report, step: Step) -> Callable[[list[str]], Awaitable[None]]:
    async def tell(lines: list[str]) -> None:
        await report.output(step, lines)

    return tell


async def _manifest(
    job: _Job, entries: tuple[FileEntry, ...], trees: dict[str, PlatformBuild]
) -> tuple[Manifest, dict[ObjectDigest, Path], Callable[[ObjectDigest], bytes]]:
    python = job.found.python
    tree, prefix = job.shop.tree, "code"
    if python is not None and await asyncio.to_thread(write_launchers, tree, python):
        launch = await asyncio.to_thread(read_tree, tree / FOLDER, f"code/{FOLDER}")
        entries = tuple(sorted({*entries, *launch}, key=lambda entry: entry.path))
    paths = {
        entry.digest: tree / entry.path.removeprefix("code/") for entry in entries if entry.kind is not FileKind.SYMLINK
    }
    platforms: dict[str, PlatformTree] = {}
    folders = [f"code/{folder}" if folder != "." else "code" for folder in python.folders] if python else []
    for key, built in trees.items():
        compiled = await built.compile_code(entries, tree, job.shop.byte_code)
        files = tuple(sorted((*built.installed.entries, *compiled.entries), key=lambda entry: entry.path))
        platforms[key] = PlatformTree(content=built.content, files=files, byte_compiled=built.installed.byte_compiled)
        paths |= built.paths | compiled.files
        folders += [f"code/{folder}" for folder in built.folders if f"code/{folder}" not in folders]
    bins = [f"code/{FOLDER}/bin"] if any(entry.path.startswith(f"code/{FOLDER}/bin/") for entry in entries) else []
    if python and python.name:
        folders.append(f"code/{FOLDER}")
    if platforms:
        folders.append("deps")
        bins.append("deps/bin")
    if any(entry.path.startswith("code/node_modules/.bin/") for entry in entries):
        bins.append("code/node_modules/.bin")
    specs = job.spec.services or ((job.found.service,) if job.found.service else ())
    manifest = Manifest(
        project=job.row.project,
        stack=job.found.stack,
        files=entries,
        platforms=dict(sorted(platforms.items())),
        services=services_of(specs, entries),
        python_path=tuple(folders),
        bin_path=tuple(bins),
    )
    own = TreeObjects(tree, entries, prefix)
    links = {entry.digest for entry in entries if entry.kind is FileKind.SYMLINK}

    def read(digest: ObjectDigest) -> bytes:
        return own.read(digest) if digest in links or digest not in paths else paths[digest].read_bytes()

    return manifest, paths, read


async def _test(job: _Job, given: TestsNeed) -> tuple[float | None, str | None]:
    if job.spec.test is None:
        return None, None
    clock = asyncio.get_running_loop().time
    started = clock()
    await job.report.started(Step.TEST, job.spec.test.shown)
    try:
        tail = await _run(job, job.spec.test, Step.TEST, network=False, given=given)
    except LekiwiError as error:
        await job.report.finished(Step.TEST, False, error.message, clock() - started)
        raise
    text, took = summary(tail, ok=True), clock() - started
    await job.report.finished(Step.TEST, True, text, took)
    return took, text
