"""What the slots of a robot know about damage in the store that they share."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blake3 import blake3

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.slots import Slots
from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest, read_manifest
from lekiwi_deploy.wire.ids import DeploymentId, ObjectDigest
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest

ONE, TWO, THREE = (DeploymentId(f"dep_0000000{number}") for number in (1, 2, 3))
SHARED = b"shared = 1\n"


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    """Three deployments that share a file; the first has no tree."""
    paths = Paths(tmp_path)
    paths.make()
    slots = Slots(paths, machine.platform())
    for number, id_ in enumerate((ONE, TWO, THREE)):
        _publish(slots, id_, {"code/lib.py": SHARED, "code/own.py": b"own = %d\n" % number})
    slots.tear_down(ONE)
    return slots


def _publish(slots: Slots, id_: DeploymentId, files: dict[str, bytes]) -> None:
    entries = []
    for path, data in files.items():
        digest = digest_of(data)
        entries.append(FileEntry(path, FileKind.FILE, len(data), digest))
        if slots.objects.missing(entries[-1:]):
            slots.objects.add(digest, data)
    slots.objects.commit()
    stored = encode_manifest(Manifest(project="kiwi", stack="plain", files=tuple(entries), services=()))
    ref = DeploymentRef(
        id=id_,
        digest=manifest_digest(stored),
        manifest_size=len(stored),
        version="v1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    slots.publish(ref, stored, read_manifest(stored), None)
    slots.present.add(id_)
    slots.laid_out.add(id_)


def digest_of(data: bytes) -> ObjectDigest:
    return ObjectDigest(blake3(data).hexdigest())


def rot(path: Path) -> None:
    times = path.stat()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_damage_in_a_shared_object_is_damage_of_every_deployment_that_needs_it(slots: Slots) -> None:
    rot(slots.folder(TWO) / "code/lib.py")
    damage = slots.condemn(digest_of(SHARED), executable=False)
    assert (damage.trees, damage.healed) == ((TWO, THREE), False)
    assert slots.laid_out == set() and slots.present == set()


def test_damage_in_one_deployments_own_object_is_no_concern_of_the_others(slots: Slots) -> None:
    rot(slots.folder(TWO) / "code/own.py")
    damage = slots.condemn(digest_of(b"own = 1\n"), executable=False)
    assert damage.trees == (TWO,)
    assert slots.laid_out == {THREE} and slots.present == {ONE, THREE}


def test_an_object_that_is_gone_is_taken_back_out_of_a_tree(slots: Slots) -> None:
    slots.objects.discard(digest_of(SHARED))
    damage = slots.condemn(digest_of(SHARED), executable=False)
    assert (damage.trees, damage.healed) == ((), True)
    assert slots.present == {ONE, TWO, THREE}
    assert slots.objects.verify(digest_of(SHARED))


def test_a_replaced_file_costs_its_tree_and_no_download(slots: Slots) -> None:
    path = slots.folder(THREE) / "code/own.py"
    path.unlink()
    path.write_bytes(b"OWN = 2\n")
    assert not slots.check(THREE)
    assert THREE in slots.present and slots.laid_out == {TWO}
    slots.lay_out(THREE)
    slots.laid_out.add(THREE)
    assert slots.check(THREE, hashes=True)


def test_a_file_written_to_in_place_is_found_by_the_next_look_and_must_be_fetched(slots: Slots) -> None:
    path = slots.folder(THREE) / "code/own.py"
    path.chmod(0o644)
    path.write_bytes(b"OWN = 2\n")
    later = (slots.folder(THREE) / "manifest.json").stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))
    assert not slots.check(THREE)
    assert slots.present == {ONE, TWO} and slots.laid_out == {TWO}


def test_reading_a_tree_again_leaves_out_links_to_the_store_when_only_its_own_files_are_meant(slots: Slots) -> None:
    rot(slots.folder(TWO) / "code/lib.py")
    assert slots.read_again(TWO, slots.entries(TWO), own=True)
    assert not slots.read_again(TWO, slots.entries(TWO))
    assert TWO not in slots.present
