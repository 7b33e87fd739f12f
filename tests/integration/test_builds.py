"""Real builds: uv, byte code, the sandbox and commands, out of real pushes. No package index is needed."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from git_server import GitServer, Repository, serving
from wheels import wheel

from lekiwi_deploy.content.compression import compress_object
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.manifests import read_manifest
from lekiwi_deploy.server.builds.bytecode import compile_sources, pyc_path
from lekiwi_deploy.server.builds.publish import fetch_object
from lekiwi_deploy.server.builds.pythons import find_python, own_platform
from lekiwi_deploy.server.builds.run import marked, run
from lekiwi_deploy.server.builds.sandbox import Walls, find_walls
from lekiwi_deploy.server.builds.workshop import open_workshop, read_untrusted
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key, object_key
from lekiwi_deploy.server.store import deployments, projects, uploads
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.uploads import UploadRow
from lekiwi_deploy.wire.api import Role
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ObjectDigest, ProjectName, UploadId
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest
from lekiwi_deploy.wire.platforms import Platform

pytestmark = [pytest.mark.anyio, pytest.mark.engine]

PI = Platform("linux", "aarch64", "glibc", "2.31", "3.11")
DEP = wheel(
    "kiwidep",
    "1.0",
    files={"kiwidep/cli.py": "def main():\n    print('from kiwidep')\n"},
    scripts="kiwitool = kiwidep.cli:main",
)
REQUIREMENTS = "--no-index\n--find-links vendor\n"
APP: dict[str, str | bytes] = {
    DEP[0]: DEP[1],
    "requirements.txt": REQUIREMENTS + "kiwidep\n",
    "main.py": "import kiwidep\nprint(kiwidep.VERSION)\n",
    "kiwi/__init__.py": "A = {'b', 'c', 'd'}\n",
}


@pytest.fixture
async def server(context: Context) -> AsyncIterator[GitServer]:
    async with serving(context) as made:
        yield made


@pytest.fixture
def clone(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "clone")


async def manifest_of(server: GitServer, row: DeploymentRow) -> Manifest:
    assert row.package_hash is not None
    stored = await server.context.objects.get(manifest_key(row.package_hash))
    return read_manifest(zstandard.ZstdDecompressor().decompress(stored), digest=row.package_hash)


async def robot(server: GitServer, name: str, platform: Platform) -> None:
    async with server.context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("arm"), "anna", server.context.now())
        await projects.ensure_environment(tx, ProjectName("arm"), EnvironmentName("production"), server.context.now())
        await tx.execute(
            "INSERT INTO robots (name, project, environment, platform, joined_at) VALUES (%s, 'arm', 'production', %s::jsonb, now())",
            (name, encode(platform).decode()),
        )


async def program(*argv: str, cwd: Path, env: dict[str, str]) -> tuple[str, str]:
    """What a program wrote to stdout and stderr; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode(), errors.decode()


async def until(look: Callable[[], object], *, seconds: float = 20) -> None:
    """Waits until `look()` gives something true."""
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - processes and folders send no events
            await asyncio.sleep(0.02)


async def content(server: GitServer, manifest: Manifest, path: str, key: str | None = None) -> bytes:
    files = manifest.files if key is None else manifest.platforms[key].files
    (entry,) = [entry for entry in files if entry.path == path]
    return await fetch_object(server.context.objects, entry.digest)


async def test_dependencies_are_installed_for_every_platform_in_use_and_run(
    server: GitServer, clone: Repository, tmp_path: Path
) -> None:
    await robot(server, "pi", PI)
    await robot(server, "nuc", own_platform())
    await clone.commit(APP)
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    (row,) = await server.deployments("arm")
    manifest = await manifest_of(server, row)
    assert manifest.stack == "python, requirements.txt"
    assert set(manifest.platforms) == {PI.key, own_platform().key} == set(row.metadata.platforms)
    assert manifest.services[0].run == ("python3", "main.py")
    assert manifest.python_path == ("code", "deps") and manifest.bin_path == ("deps/bin",)
    key = own_platform().key
    launcher = await content(server, manifest, "deps/bin/kiwitool", key)
    assert launcher.startswith(b"#!/usr/bin/env python3\n") and str(tmp_path).encode() not in launcher
    root = tmp_path / "slot"  # as a robot lays it out
    for entry in (*manifest.files, *manifest.platforms[key].files):
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await fetch_object(server.context.objects, entry.digest))
    out, errors = await program(
        sys.executable, "-v", "main.py", cwd=root / "code", env={"PYTHONPATH": f"{root}/code:{root}/deps"}
    )
    assert out == "1.0\n"
    assert f"code object from '{root}/deps/kiwidep/__pycache__/__init__.cpython-" in errors


async def test_two_servers_make_the_same_manifest_byte_for_byte(
    context: Context, clone: Repository, tmp_path: Path
) -> None:
    digests = []
    await clone.commit(APP)
    for name in ("one", "other-with-a-longer-name"):
        folder = replace(context, config=replace(context.config, data=tmp_path / name))
        (tmp_path / name).mkdir()
        async with serving(folder) as server:
            server.owner = (await server.token(name, Role.OWNER))[1]
            await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
            row = (await server.deployments("arm"))[-1]
            digests.append(row.package_hash)
            assert row.input_digest is not None
            async with context.database.transaction() as tx:  # so that the other does not find it built
                await tx.execute("UPDATE deployments SET input_digest = NULL")
    assert digests[0] == digests[1] is not None


async def test_a_change_of_the_code_installs_nothing_again_and_leaves_the_dependencies_digest(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit(APP)
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    installed = sorted(path.name for path in (server.context.config.data / "cache/projects/arm/installed").iterdir())
    await clone.commit({"main.py": "import kiwidep\n"})
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    first, second = [await manifest_of(server, row) for row in await server.deployments("arm")]
    key = own_platform().key
    assert first.platforms[key].content == second.platforms[key].content
    assert first.services[0].content != second.services[0].content
    assert installed == sorted(
        path.name for path in (server.context.config.data / "cache/projects/arm/installed").iterdir()
    )


async def test_a_dependency_without_a_wheel_for_a_robot_is_named_in_one_line(
    server: GitServer, clone: Repository
) -> None:
    await robot(server, "pi", PI)
    only_x86 = wheel("onlypc", "2.0", "cp311-cp311-manylinux_2_17_x86_64")
    await clone.commit({**APP, only_x86[0]: only_x86[1], "requirements.txt": REQUIREMENTS + "kiwidep\nonlypc\n"})
    pushed = await clone.git("push", server.address("arm"), "main", code=1)
    assert sum("onlypc has no wheel for linux-aarch64 with Python 3.11" in line for line in pushed.remote) == 1, (
        pushed.text
    )


async def test_a_robot_whose_python_the_server_lacks_compiles_itself_with_a_note(
    server: GitServer, clone: Repository
) -> None:
    await robot(server, "old", Platform("linux", "x86_64", "glibc", "2.36", "3.77"))
    await clone.commit(APP)
    pushed = await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    assert any("this server has no Python 3.77" in line for line in pushed.remote)
    manifest = await manifest_of(server, (await server.deployments("arm"))[0])
    (tree,) = manifest.platforms.values()
    assert not tree.byte_compiled and not any(entry.path.endswith(".pyc") for entry in tree.files)


async def test_tests_find_the_project_its_dependencies_and_what_they_need_but_no_network(
    server: GitServer, clone: Repository
) -> None:
    cli = "import kiwi, kiwidep\ndef main():\n    print('3 passed in 0.1s')\n"
    tool = wheel("testtool", "1.0", files={"testtool/cli.py": cli}, scripts="testtool = testtool.cli:main")
    offline = "import socket,sys; s=socket.socket(); s.settimeout(3); sys.exit(s.connect_ex((sys.argv[1], 80)) == 0)"
    await clone.commit(
        {
            **APP,
            tool[0]: tool[1],
            "requirements-dev.txt": "testtool\n",
            "offline.py": offline,
            "lekiwi.yaml": "test: {run: 'testtool && python offline.py 192.0.2.1 && testtool'}\nbuild: {run: 'echo built > out.txt'}\n",
        }
    )
    pushed = await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    assert any(line.startswith("-----> Test      3 passed") for line in pushed.remote), pushed.text
    manifest = await manifest_of(server, (await server.deployments("arm"))[0])
    assert await content(server, manifest, "code/out.txt") == b"built\n"
    assert not any("testtool" in entry.path for entry in manifest.platforms[own_platform().key].files)


async def test_tests_cannot_change_the_release(server: GitServer, clone: Repository) -> None:
    await clone.commit({**APP, "lekiwi.yaml": "test: {run: 'echo changed > main.py; echo junk > junk'}\n"})
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    manifest = await manifest_of(server, (await server.deployments("arm"))[0])
    assert (await content(server, manifest, "code/main.py")).startswith(b"import kiwidep")
    assert "code/junk" not in {entry.path for entry in manifest.files}


async def test_byte_code_is_the_same_whatever_else_is_compiled_with_it(tmp_path: Path) -> None:
    """Of each Python here: alone, among others and in another order a source gives the same bytes."""
    sources = {
        "a.py": "import os, sys\nNAME = 'os'\nSET = {'x', 'y', 'zz', 1, 2.5}\ndef f(a, b='os'):\n    return a in {'p', 'q', 'r'}\n",
        "b.py": "import os\nNAME = 'os'\nclass C:\n    'doc'\n    x = ('os', 'NAME', 300, 300, 'long constant string that is no name')\n",
        "broken.py": "def f(:\n",
    }
    entries = []
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
        entries.append(FileEntry(f"code/{name}", FileKind.FILE, len(text), object_digest(text.encode())))
    for minor in ("3.9", "3.10", "3.11", "3.12", "3.13"):
        python = await find_python(minor)
        if python is None:
            continue
        together = await compile_sources(python, entries, tmp_path, "code", tmp_path / "one")
        reverse = await compile_sources(python, entries[::-1], tmp_path, "code", tmp_path / "two")
        alone = await compile_sources(python, entries[1:2], tmp_path, "code", tmp_path / "three")
        assert together.entries == reverse.entries and len(together.entries) == 2
        assert alone.entries == together.entries[1:]
        assert alone.entries[0].path == pyc_path("code/b.py", python.tag)
        target = tmp_path / minor / "__pycache__" / f"b.{python.tag}.pyc"
        target.parent.mkdir(parents=True)
        shutil.copy(together.files[together.entries[1].digest], target)
        (tmp_path / minor / "b.py").write_text(sources["b.py"])
        code = f"import sys; sys.path.insert(0, {str(tmp_path / minor)!r}); import b; print(b.C.x)"
        _, errors = await program(str(python.path), "-I", "-v", "-c", code, cwd=tmp_path, env={})
        assert "code object from" in errors and f"{minor}/__pycache__/b." in errors


async def test_a_command_leaves_nothing_behind_even_without_a_sandbox(tmp_path: Path) -> None:
    lines: list[str] = []

    async def keep(new: list[str]) -> None:
        lines.extend(new)

    script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 1004' &); echo started; sleep 1005"
    ended = await run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout_s=1, on_lines=keep, mark="t1"
    )
    assert ended.timed_out and lines == ["started"] and marked("t1") == []
    leaves = ["/bin/sh", "-c", "setsid sleep 1006 & echo done"]
    background = await run(leaves, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout_s=30, on_lines=keep, mark="t2")
    assert background.ok and background.seconds < 20 and marked("t2") == []
    task = asyncio.create_task(
        run(["sleep", "1007"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout_s=60, on_lines=keep, mark="t3")
    )
    await until(lambda: marked("t3"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert marked("t3") == []


async def test_a_projects_commands_see_nothing_of_the_server(tmp_path: Path) -> None:
    walls = await find_walls()
    if walls.bwrap is None:
        pytest.skip(f"no sandbox on this machine: {walls.why}")
    python = await find_python(own_platform().python)
    assert python is not None
    secret = tmp_path / "owner-token"
    secret.write_text("secret")
    shop = open_workshop(walls=walls, scratch=tmp_path / "scratch", cache=tmp_path / "cache", python=python, mark="t4")
    lines: list[str] = []

    async def keep(new: list[str]) -> None:
        lines.extend(new)

    script = (
        f"cat {secret} /etc/shadow; id -u; touch /usr/x; touch made && echo wrote; unshare -U true && echo nested; "
        "python3 -c 'print(1)'"
    )
    ended = await shop.run(("/bin/sh", "-c", script), timeout_s=20, on_lines=keep)
    assert ended.ok, lines
    assert "secret" not in lines and "nested" not in lines and "wrote" in lines and lines[-1] == "1"
    assert "1000" in lines
    assert (tmp_path / "scratch/tree/made").exists()


def test_what_a_command_leaves_is_read_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert read_untrusted(tmp_path / "link") == b"" == read_untrusted(tmp_path / "nothing")


async def test_without_a_sandbox_a_build_works_and_says_so_loudly(
    server: GitServer, clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lekiwi_deploy.server.builds.sandbox._FOUND", Walls(None, "bubblewrap (bwrap) is not installed")
    )
    await clone.commit({**APP, "lekiwi.yaml": "test: {run: 'kiwitool && echo 2 passed in 1s'}\n"})
    pushed = await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    assert any(line.startswith(" !") and "without a sandbox" in line for line in pushed.remote)
    assert any(line.startswith("-----> Test      2 passed") for line in pushed.remote), pushed.text


async def uploaded(server: GitServer, files: dict[str, bytes]) -> UploadId:
    """An upload as the HTTP API leaves it."""
    entries = []
    for path, data in sorted(files.items()):
        digest = ObjectDigest(object_digest(data))
        await server.context.objects.put(object_key(digest), compress_object(data))
        entries.append(FileEntry(path, FileKind.EXECUTABLE if path == "run" else FileKind.FILE, len(data), digest))
    id = UploadId("upl_00000001")
    row = UploadRow(
        id=id, project=ProjectName("arm"), files=tuple(entries), created_by="anna", created_at=server.context.now()
    )
    async with server.context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("arm"), "anna", server.context.now())
        await projects.ensure_environment(tx, ProjectName("arm"), EnvironmentName("production"), server.context.now())
        await uploads.insert(tx, row)
    return id


async def queued(server: GitServer, **fields: object) -> DeploymentRow:
    """Queues a deployment and waits for what comes of it."""
    row = DeploymentRow(
        id=DeploymentId("dep_00000001"), project=ProjectName("arm"), environment=EnvironmentName("production"), version="0.0.0",
        created_by="anna", created_at=server.context.now(), **fields,  # type: ignore[arg-type]
    )  # fmt: skip
    with server.context.nudges.subscribe("progress") as hints:
        async with server.context.database.transaction() as tx:
            await deployments.insert(tx, row)
        async with asyncio.timeout(30):
            while True:
                async with server.context.database.transaction() as tx:
                    found = await deployments.read(tx, row.id)
                assert found is not None
                if found.status in ("built", "failed", "canceled"):
                    return found
                await hints.wait(1.0)


async def test_an_uploaded_folder_is_built_and_goes_live(server: GitServer) -> None:
    files = {"run": b"#!/bin/sh\n", "package.json": json.dumps({"version": "3.1.4"}).encode()}
    row = await queued(server, source="upload", upload=await uploaded(server, files))
    assert (row.status, row.version) == ("built", "v3.1.4") and row.rollout is not None


async def test_a_branch_of_the_repository_is_built_when_asked(server: GitServer, clone: Repository) -> None:
    commit = await clone.commit(
        {"run*": "#!/bin/sh\n", "lekiwi.yaml": "production: {branch: main, auto_deploy: false}\n"}
    )
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    row = await queued(server, source="ref", ref="main")
    assert (row.status, row.commit_sha, row.branch, row.author) == ("built", commit, "main", "Anna")
    assert row.rollout is not None


async def test_a_name_that_the_repository_lacks_fails_in_words(server: GitServer, clone: Repository) -> None:
    await clone.commit({"run*": "#!/bin/sh\n"})
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    row = await queued(server, source="ref", ref="--upload-pack=x")
    assert row.status == "failed" and row.error is not None and "no branch, tag or commit" in row.error


async def test_a_canceled_build_ends_with_its_processes(server: GitServer) -> None:
    files = {"run": b"#!/bin/sh\n", "lekiwi.yaml": b"test: {run: 'echo up; sleep 1008'}\n"}
    upload = await uploaded(server, files)
    building = asyncio.create_task(queued(server, source="upload", upload=upload))
    await until(lambda: marked("dep_00000001"))
    async with server.context.database.transaction() as tx:
        assert await deployments.cancel(tx, "dep_00000001", why="canceled by anna", now=server.context.now())
    assert (await building).status == "canceled"
    scratch = server.context.config.data / "scratch/dep_00000001"
    await until(lambda: not marked("dep_00000001") and not scratch.exists())
