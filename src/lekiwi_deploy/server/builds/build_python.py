"""The Python part of a build: what is installed for a platform, byte code for the project's own files, and what tests run with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.server.builds import dependencies
from lekiwi_deploy.server.builds.bytecode import Compiled, compile_sources
from lekiwi_deploy.server.builds.dependencies import Installed
from lekiwi_deploy.server.builds.python_project import PythonProject
from lekiwi_deploy.server.builds.pythons import find_python, own_platform
from lekiwi_deploy.server.builds.sandbox import Bind
from lekiwi_deploy.server.builds.service_content import content_digest
from lekiwi_deploy.server.builds.spec import CommandSpec
from lekiwi_deploy.server.builds.workshop import Workshop
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry
from lekiwi_deploy.wire.platforms import Platform

RUNNERS = ("pytest", "nox", "tox", "coverage", "nose2", "hypothesis", "ruff", "mypy")
"""Programs that a test command may start with, and that are installed for it when the project does not bring them."""


@dataclass(frozen=True, slots=True)
class PlatformBuild:
    """What one platform gets. `content` changes exactly when an installed dependency does (byte code of the project's own files
    does not count: each service has its own digest). `folders`: folders of the project that its requirements name."""

    platform: Platform
    installed: Installed
    folders: tuple[str, ...]

    @property
    def content(self) -> str:
        """Digest over what is installed."""
        return content_digest(self.installed.entries)

    @property
    def paths(self) -> dict[ObjectDigest, Path]:
        """Where the bytes of what is installed are."""
        return {entry.digest: self.installed.path_of(entry) for entry in self.installed.entries}

    async def compile_code(self, entries: Sequence[FileEntry], tree: Path, cache: Path) -> Compiled:
        """Byte code of the project's own sources for this platform; none where the server lacks its Python."""
        python = await find_python(self.platform.python)
        if python is None:
            return Compiled((), {})
        return await compile_sources(python, entries, tree, "code", cache)


async def build_platform(shop: Workshop, project: PythonProject, platform: Platform) -> PlatformBuild | None:
    """The dependencies of `project` for `platform`; None when it has none, so that the release runs anywhere."""
    requirements = await dependencies.resolve(shop, project, platform)
    if requirements.empty:
        return None
    installed = await dependencies.install(shop, requirements, platform)
    return PlatformBuild(platform, installed, import_folders(shop.tree, requirements.folders))


def import_folders(tree: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """Where Python finds the packages of these folders of the project: `packages/x` or `packages/x/src`."""
    found = [f"{folder}/src" if (tree / folder / "src").is_dir() else folder for folder in folders if folder != "."]
    return tuple(folder for folder in found if ".." not in folder.split("/") and (tree / folder).is_dir())


@dataclass(frozen=True, slots=True)
class TestsNeed:
    """`env`: variables for the test command; `binds`: what it sees beside the project."""

    env: dict[str, str]
    binds: tuple[Bind, ...] = ()


async def test_environment(shop: Workshop, project: PythonProject | None, command: CommandSpec) -> TestsNeed:
    """What the test command runs with: the project, its dependencies and what its tests need are importable and on PATH.

    Tests run on the server, so all is for the server's own platform (with the robots' Python if the server has it).
    """
    if project is None:
        return TestsNeed({})
    words = command.shown.replace("&&", " ").replace(";", " ").split()
    extra = [name for name in RUNNERS if name in words and name not in project.dev_names | project.names]
    if "-m" in words and "pytest" in words and "pytest" not in project.dev_names | project.names:
        extra = sorted({*extra, "pytest"})
    platform = replace_python(own_platform(), shop.python.minor)
    requirements = await dependencies.resolve(shop, project, platform, test=extra)
    paths = [shop.inside(shop.tree / folder) for folder in project.folders]
    paths += [shop.inside(shop.tree / folder) for folder in import_folders(shop.tree, requirements.folders)]
    env = {"PORT": "8000"}
    binds: tuple[Bind, ...] = ()
    if not requirements.empty:
        installed = await dependencies.install(shop, requirements, platform)
        room = shop.room
        where = "/deps" if room.walls.bwrap is not None else str(installed.root)
        paths.append(where)
        env["PATH"] = f"{where}/bin:{room.env['PATH']}"
        binds = (Bind(installed.root, "/deps"),)
    paths.append(shop.inside(shop.tree / ".lekiwi-launch"))
    env["PYTHONPATH"] = ":".join(paths)
    return TestsNeed(env, binds)


def replace_python(platform: Platform, minor: str) -> Platform:
    """`platform` with another Python."""
    return Platform(platform.system, platform.arch, platform.libc, platform.libc_version, minor)
