"""Manifests: bytes, digests, what a platform gets, what is refused."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from content_samples import PLATFORM, Release, entry

from lekiwi_deploy.content.manifests import check_manifest, encode_manifest, entries_for, manifest_digest, read_manifest
from lekiwi_deploy.content.paths import BadEntry
from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.wire.manifest import CommandCheck, HttpCheck, Manifest, PlatformTree, ProcessCheck, Service, TcpCheck

RELEASE = Release({"code/a": b"1", "code/run*": b"2"}, {"deps/x": b"3"})
SERVICE = RELEASE.manifest.services[0]


def changed(**fields: object) -> Manifest:
    return msgspec.structs.replace(RELEASE.manifest, **fields)


def service(**fields: object) -> Manifest:
    return changed(services=(msgspec.structs.replace(SERVICE, **fields),))


def test_the_digest_is_of_the_stored_bytes() -> None:
    assert manifest_digest(RELEASE.stored) == hashlib.sha256(RELEASE.stored).hexdigest()
    assert encode_manifest(read_manifest(RELEASE.stored, digest=RELEASE.digest)) == RELEASE.stored


def test_bytes_with_another_digest_are_refused() -> None:
    with pytest.raises(BadInput, match="SHA-256"):
        read_manifest(RELEASE.stored + b" ", digest=RELEASE.digest)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"schema":1e999}',
        b'{"project":"\xff"}',
        b"[" * 20_000,
        RELEASE.stored[:-1],
        RELEASE.stored * 2,
    ],
)
def test_bytes_that_are_no_manifest_are_refused(stored: bytes) -> None:
    with pytest.raises(BadInput, match="manifest"):
        read_manifest(stored)


def test_a_robot_gets_the_common_files_and_those_of_its_platform() -> None:
    assert [one.path for one in entries_for(RELEASE.manifest, PLATFORM)] == ["code/a", "code/run", "deps/x"]
    assert [one.path for one in entries_for(RELEASE.manifest, None)] == ["code/a", "code/run"]
    newer = PLATFORM.replace("2.36", "2.41")
    assert entries_for(RELEASE.manifest, newer) == entries_for(RELEASE.manifest, PLATFORM)
    assert [one.path for one in entries_for(changed(platforms={}), "anything")] == ["code/a", "code/run"]


@pytest.mark.parametrize("key", ["linux-aarch64-glibc2.36-py3.11", PLATFORM.replace("2.36", "2.31"), "nonsense"])
def test_a_platform_that_nothing_was_built_for_is_named_with_those_there_are(key: str) -> None:
    with pytest.raises(NotFound, match=f"{key}.*{PLATFORM}"):
        entries_for(RELEASE.manifest, key)


@pytest.mark.parametrize("path", ["a", "metadata.json", "manifest.json", "Code/a", "deps", "code"])
def test_files_lie_below_code_or_deps(path: str) -> None:
    with pytest.raises(BadEntry, match="below code/ or deps/"):
        check_manifest(changed(files=(entry(path),)))


def test_common_files_and_those_of_a_platform_must_not_collide() -> None:
    tree = PlatformTree(content="0" * 64, files=(entry("code/A"),))
    with pytest.raises(BadEntry, match="case"):
        check_manifest(changed(platforms={PLATFORM: tree}))
    tree = PlatformTree(content="0" * 64, files=(entry("code/a", b"other"),))
    with pytest.raises(BadEntry, match="twice"):
        check_manifest(changed(platforms={PLATFORM: tree}))


@pytest.mark.parametrize(
    "manifest",
    [
        changed(schema=2),
        changed(platforms={"../x": PlatformTree(content="0" * 64)}),
        changed(python_path=("../x",)),
        changed(python_path=("/usr",)),
        changed(bin_path=("",)),
        changed(services=(SERVICE, SERVICE)),
        service(name="Web"),
        service(name="../x"),
        service(name="web\n[Service]\nExecStartPre=x"),
        service(folder="/"),
        service(folder="code/.."),
        service(run=()),
        service(run=("",)),
        service(run=("a", "b\0c")),
        service(content="x"),
        service(port=0),
        service(port=65536),
        service(exclusive="a/b"),
        service(env=("A=B",)),
        service(env=("a b",)),
        service(env=("",)),
        service(stop_grace_s=-1.0),
        service(stop_grace_s=float("nan")),
        service(health=(HttpCheck(path="http://169.254.169.254/"),)),
        service(health=(HttpCheck(path="/", timeout_s=0.0),)),
        service(health=(HttpCheck(path="/", retries=-1),)),
        service(health=(TcpCheck(port=70000),)),
        service(health=(TcpCheck(interval_s=1e9),)),
        service(health=(CommandCheck(run=()),)),
        service(health=(ProcessCheck(settle_s=-1.0),)),
    ],
)  # fmt: skip
def test_a_manifest_that_could_not_run_is_refused(manifest: Manifest) -> None:
    with pytest.raises(BadInput):
        check_manifest(manifest)


def test_services_are_sorted_by_name() -> None:
    two = (Service(name="a", run=("x",), content="0" * 64), SERVICE)
    check_manifest(changed(services=two))
    with pytest.raises(BadInput, match="sorted"):
        check_manifest(changed(services=two[::-1]))
