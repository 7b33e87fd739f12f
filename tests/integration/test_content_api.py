"""What robots download: packs made once, resumable, and only for robots that may have them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from lekiwi_deploy.content.apply import PackReader
from lekiwi_deploy.content.compression import compress_object
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.receive import receive_objects
from lekiwi_deploy.server import packer, tickets
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key, object_key, pack_key
from lekiwi_deploy.server.packs import PackShelf
from lekiwi_deploy.server.store import deployments, packs, projects
from lekiwi_deploy.server.store.database import jsonb
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest, Service
from lekiwi_deploy.wire.platforms import Platform

pytestmark = pytest.mark.engine

PLATFORM = Platform("linux", "x86_64", "glibc", "2.36", "3.11")
ROBOT = RobotId("kiwi-1")


@dataclass
class World:
    """One project with one robot; `release` deploys content."""

    context: Context
    http: httpx.AsyncClient
    stored: dict[ManifestDigest, bytes] = field(default_factory=dict)

    async def release(self, content: dict[str, bytes], project: str = "web") -> ManifestDigest:
        """A deployment of these files; its manifest's digest."""
        entries = tuple(
            FileEntry(f"code/{path}", FileKind.FILE, len(data), object_digest(data))
            for path, data in sorted(content.items())
        )
        service = Service(name="main", run=("true",), content="0" * 64)
        stored = encode_manifest(Manifest(project=project, stack="plain", files=entries, services=(service,)))
        digest = manifest_digest(stored)
        objects = self.context.objects
        await objects.put_many((object_key(object_digest(data)), compress_object(data)) for data in content.values())
        await objects.put(manifest_key(digest), compress_object(stored))
        row = deployments.DeploymentRow(
            id=DeploymentId(f"dep_{digest[:8]}"),
            project=ProjectName(project),
            environment=EnvironmentName("production"),
            version="1",
            created_by="anna",
            created_at=self.context.now(),
            source="upload",
            status="built",
            package_hash=digest,
        )
        async with self.context.database.transaction() as tx:
            await projects.insert(tx, ProjectName(project), "anna", self.context.now())
            await deployments.insert(tx, row)
        self.stored[digest] = stored
        return digest

    def ticket(self, digest: ManifestDigest, robot: RobotId = ROBOT) -> dict[str, str]:
        """Headers with a ticket for the robot."""
        return {"authorization": f"Ticket {tickets.issue(self.context.ticket_key, robot, digest, self.context.now())}"}

    async def pack(
        self, to: ManifestDigest, base: ManifestDigest | None = None, platform: str = PLATFORM.key, **headers: str
    ) -> httpx.Response:
        """The answer to the request for a pack, with a ticket for it."""
        query = {"platform": platform, **({"from": base} if base else {})}
        return await self.http.get(f"/content/packs/{to}", params=query, headers={**self.ticket(to), **headers})


@pytest.fixture
async def world(context: Context, api_url: str) -> AsyncIterator[World]:
    """See `World`."""
    async with context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("web"), "anna", context.now())
        await projects.ensure_environment(tx, ProjectName("web"), EnvironmentName("production"), context.now())
        await tx.execute(
            "INSERT INTO robots (name, project, environment, public_key, platform) VALUES (%s, 'web', 'production', %s, %s)",
            (ROBOT, b"k" * 32, jsonb(PLATFORM)),
        )
    async with httpx.AsyncClient(base_url=api_url, timeout=20, trust_env=False) as http:
        yield World(context, http)


ONE = {"main.py": b"print(1)\n" * 100, "data.bin": os.urandom(50_000), "empty": b""}
TWO = ONE | {"main.py": b"print(1)\n" * 99 + b"print(2)\n", "more.py": b"print(3)\n"}


async def test_a_robot_gets_from_nothing_to_one_release_and_to_the_next(world: World, tmp_path: Path) -> None:
    one, two = await world.release(ONE), await world.release(TWO)
    folder = ObjectFolder(tmp_path / "robot")
    first = await world.pack(one)
    assert first.status_code == 200
    reader = PackReader(folder, one, PLATFORM.key, None)
    reader.feed(first.content)
    assert reader.finish().failed == ()
    second = await world.pack(two, one)
    assert len(second.content) < 1000 < len(first.content)
    reader = PackReader(folder, two, PLATFORM.key, world.stored[one])
    reader.feed(second.content)
    applied = reader.finish()
    assert applied.failed == ()
    assert applied.stored_manifest == world.stored[two]
    assert folder.read(object_digest(TWO["main.py"])) == TWO["main.py"]


async def test_a_download_resumes_where_it_ended(world: World) -> None:
    one = await world.release(ONE)
    whole = await world.pack(one)
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    rest = await world.pack(one, **{"range": "bytes=1000-", "if-range": whole.headers["etag"]})
    assert (rest.status_code, rest.headers["content-range"]) == (206, f"bytes 1000-{size - 1}/{size}")
    assert whole.content[:1000] + rest.content == whole.content
    changed = await world.pack(one, **{"range": "bytes=1000-", "if-range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    past = await world.pack(one, range=f"bytes={size}-")
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{size}")
    odd = await world.pack(one, range="bytes=" + ",".join("0-1" for _ in range(1000)))
    assert (odd.status_code, odd.content) == (200, whole.content)


async def test_a_large_pack_is_served_out_of_the_store_in_parts(world: World) -> None:
    content = {"big": os.urandom(5_000_000)}
    big = await world.release(content)
    whole = await world.pack(big)
    assert len(whole.content) > 5_000_000
    assert hashlib.sha256((await world.pack(big)).content).digest() == hashlib.sha256(whole.content).digest()
    rest = await world.pack(big, range="bytes=4999000-")
    assert whole.content[4_999_000:] == rest.content
    async with world.context.database.transaction() as tx:
        assert await packs.size(tx, pack_key(None, big, PLATFORM.key)) == len(whole.content)


async def test_fifteen_robots_that_ask_at_once_cost_one_pack(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await world.release(ONE), await world.release(TWO)
    made: list[str] = []
    write = PackShelf._write
    monkeypatch.setattr(PackShelf, "_write", lambda self, *rest: made.append("pack") or write(self, *rest))
    answers = await asyncio.gather(*(world.pack(two, one) for _ in range(15)))
    assert len({answer.content for answer in answers}) == 1
    assert made == ["pack"]


async def test_packs_of_a_built_deployment_are_made_before_its_robots_ask(world: World) -> None:
    one, two = await world.release(ONE), await world.release(TWO)
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE robots SET session = 's', running_digest = %s", (one,))
        await tx.execute("UPDATE deployments SET finished_at = %s WHERE package_hash = %s", (world.context.now(), two))
    await packer.prepare(world.context, {"web", "other"})
    assert set(world.context.packs._shelf) == {pack_key(one, two, PLATFORM.key)}
    assert len((await world.pack(two, one)).content) < 1000


async def test_a_pack_is_made_once_for_all_servers_and_again_when_its_object_is_gone(
    world: World, tmp_path: Path
) -> None:
    one = await world.release(ONE)
    content = (await world.pack(one)).content
    await asyncio.gather(*world.context.packs._storing)
    other = PackShelf(world.context.objects, world.context.database, tmp_path / "other", world.context.now)
    key = pack_key(None, one, PLATFORM.key)
    assert (await other.get(None, one, PLATFORM.key)).data == content
    assert not (tmp_path / "other").exists()
    await world.context.objects.delete(key)
    third = PackShelf(world.context.objects, world.context.database, tmp_path / "third", world.context.now)
    assert (await third.get(None, one, PLATFORM.key)).data == content


async def test_a_base_that_the_project_never_had_is_as_good_as_none(world: World) -> None:
    one = await world.release(ONE)
    secret = await world.release({"secret": b"of another project"}, project="other")
    for base in (ManifestDigest("f" * 64), secret):
        assert (await world.pack(one, base)).content == (await world.pack(one)).content


async def test_manifests_and_single_objects_are_given_for_the_ticket_only(world: World, tmp_path: Path) -> None:
    one, two = await world.release(ONE), await world.release(TWO)
    got = await world.http.get(f"/content/manifests/{one}", headers=world.ticket(one))
    assert got.content == await world.context.objects.get(manifest_key(one))
    assert (await world.http.get(f"/content/manifests/{two}", headers=world.ticket(one))).status_code == 403
    wanted = [object_digest(ONE["main.py"]), object_digest(ONE["data.bin"])]
    got = await world.http.post("/content/objects", json=wanted, headers=world.ticket(one))
    folder = ObjectFolder(tmp_path / "robot")
    entries = [
        FileEntry(name, FileKind.FILE, len(ONE[name]), object_digest(ONE[name])) for name in ("main.py", "data.bin")
    ]
    assert receive_objects([got.content], folder, entries) == 2
    for body in ([object_digest(TWO["main.py"])], [], ["../x"], ["A" * 64], "x", wanted * 6000):
        refused = await world.http.post("/content/objects", json=body, headers=world.ticket(one))
        assert refused.status_code in (400, 404), body


async def test_without_a_good_ticket_there_is_nothing(world: World) -> None:
    one = await world.release(ONE)
    path = f"/content/packs/{one}?platform={PLATFORM.key}"
    late = tickets.issue(world.context.ticket_key, ROBOT, one, world.context.now() - 2 * tickets.LIFETIME)
    forged = tickets.issue(b"x" * 32, ROBOT, one, world.context.now())
    for header in ("", "Ticket", "Ticket x", f"Ticket {late}", f"Ticket {forged}", f"Bearer {late}"):
        assert (await world.http.get(path, headers={"authorization": header})).status_code == 401, header
    assert (await world.http.get(path)).status_code == 401


async def test_a_robot_gets_nothing_of_another_project_after_it_was_removed_or_cloned(world: World) -> None:
    one = await world.release(ONE)
    other = await world.release({"x": b"other"}, project="other")
    assert (await world.pack(other)).status_code == 404
    assert (await world.pack(ManifestDigest("e" * 64))).status_code == 404
    stranger = world.ticket(one, RobotId("stranger"))
    path = f"/content/packs/{one}?platform={PLATFORM.key}"
    assert (await world.http.get(path, headers=stranger)).status_code == 403
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE robots SET cloned_at = now() WHERE name = %s", (ROBOT,))
    assert (await world.pack(one)).status_code == 403
    async with world.context.database.transaction() as tx:
        await tx.execute("DELETE FROM robots WHERE name = %s", (ROBOT,))
    assert (await world.pack(one)).status_code == 403


async def test_platforms_and_bases_that_are_none_are_bad_input(world: World) -> None:
    one = await world.release(ONE)
    for platform in ("", "../../x", "linux", "linux-x86_64-glibc2.36-py3.12", "a-b-c-d", "x" * 1000):
        assert (await world.pack(one, platform=platform)).status_code == 400, platform
    path = f"/content/packs/{one}?platform={PLATFORM.key}&from=../x"
    assert (await world.http.get(path, headers=world.ticket(one))).status_code == 400
    assert (await world.http.get(f"/content/packs/{one}", headers=world.ticket(one))).status_code == 400
