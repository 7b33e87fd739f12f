"""The deployments on this robot's disk: `deployments/<id>/` with metadata and manifest, laid out as a tree or not, and `current`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.variables.stored import FILE as VARIABLES
from lekiwi_deploy.content import slots as layout
from lekiwi_deploy.content.durable import sync_path
from lekiwi_deploy.content.manifests import entries_for, read_manifest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.errors import LekiwiError, NotFound
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, ObjectDigest
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest
from lekiwi_deploy.wire.platforms import Platform, best_key

DEPENDENCIES = "deps"
"""Where in a slot the platform's dependencies lie; `PlatformTree.content` identifies them."""
_REMEMBERED = 4
"""Manifests kept in memory: the live one, the fallback, the next."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """metadata.json of a slot. `timestamp`: when the deployment was created; `rollback_to`: what was live when it came."""

    id: DeploymentId
    version: str
    timestamp: datetime
    commit: str | None
    branch: str | None
    author: str | None
    rollback_to: DeploymentId | None
    digest: ManifestDigest
    manifest_size: int = 0


class _Contents(msgspec.Struct, frozen=True):
    """Of a manifest, only what objects it needs."""

    files: tuple[FileEntry, ...]
    platforms: dict[str, _Tree] = {}


class _Tree(msgspec.Struct, frozen=True):
    files: tuple[FileEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Damage:
    """What a damaged object did: `trees` of these deployments have the damage in them; `healed`: the store has the content again."""

    trees: tuple[DeploymentId, ...]
    healed: bool


class Slots:
    """The folders below `paths.lekiwi`. Methods that change something are durable on return and raise `OSError`."""

    def __init__(self, paths: Paths, platform: Platform) -> None:
        self._paths = paths
        self._platform = platform
        self.objects = ObjectFolder(paths.objects)
        self._manifests: OrderedDict[DeploymentId, Manifest] = OrderedDict()
        self._lock = threading.Lock()  # of `_manifests`: downloads read them from their thread
        self._whole: set[DeploymentId] = set()  # trees that were found whole since the agent started
        self.present: set[DeploymentId] = set()
        """Deployments whose manifest and objects are all here."""
        self.laid_out: set[DeploymentId] = set()
        """Those whose tree is complete."""

    def look(self) -> tuple[Metadata, ...]:
        """Remove what an interrupted agent left, then find every slot; oldest first. `present` and `laid_out` are what the folders
        say; `check` goes deeper."""
        fp("start.clear")
        layout.remove_leftovers(self._paths.deployments)
        with contextlib.suppress(FileNotFoundError):
            (self._paths.lekiwi / ".current.new").unlink()
        found = []
        for folder in sorted(self._paths.deployments.iterdir()):
            try:
                metadata = msgspec.json.decode((folder / "metadata.json").read_bytes(), type=Metadata)
            except (OSError, msgspec.MsgspecError):
                continue
            if metadata.id != folder.name or not (folder / "manifest.json").is_file():
                continue
            found.append(metadata)
            self.present.add(metadata.id)
            if layout.is_laid_out(folder):
                self.laid_out.add(metadata.id)
        return tuple(sorted(found, key=lambda metadata: (metadata.timestamp, metadata.id)))

    def check(self, deployment: DeploymentId, *, hashes: bool = False, beside: DeploymentId | None = None) -> bool:
        """Whether the slot is whole: sizes of the tree, if it is laid out, else of its objects, and content of what was written to
        since; with `hashes` the content of all. `beside`: what runs now. If that has the very same dependencies, as hard links to the
        very same files, and the whole tree was looked at before, theirs are not looked at again: thousands of files, in every switch.

        What is damaged is dropped, so that it is fetched again: after this `present` and `laid_out` are right about this slot.
        """
        try:
            manifest = self.manifest(deployment)
            entries = entries_for(manifest, self._platform.key)
            if deployment in self.laid_out:
                known = not hashes and deployment in self._whole and self._same_dependencies(deployment, beside)
                self._whole.discard(deployment)
                wrong = layout.verify_slot(
                    self.folder(deployment),
                    manifest,
                    self._platform.key,
                    hashes=hashes,
                    without=DEPENDENCIES if known else None,
                )
                if not wrong:
                    self._whole.add(deployment)
                    return True
                self._set_aside_damaged(wrong)
                self.laid_out.discard(deployment)
            missing = self.objects.missing(entry for entry in entries if entry.size)
        except (LekiwiError, OSError):
            self.laid_out.discard(deployment)
            self.present.discard(deployment)
            return False
        if missing:
            self.present.discard(deployment)
        else:
            self.present.add(deployment)
        return False

    def read_again(self, deployment: DeploymentId, entries: Iterable[FileEntry], *, own: bool = False) -> bool:
        """Read these files of its tree from the disk; whether they are right. What is not is dropped, as by `check`. `own`: leave out
        those that are links to objects of the store. Raises `OSError`, `LekiwiError`."""
        folder = self.folder(deployment)
        wrong = [
            entry
            for entry in entries
            if not (own and self._is_linked(folder, entry)) and not layout.is_right(folder, entry)
        ]
        if not wrong:
            return True
        self._set_aside_damaged(wrong)
        self.laid_out.discard(deployment)
        self._whole.discard(deployment)
        return self.check(deployment)

    def entries(self, deployment: DeploymentId) -> tuple[FileEntry, ...]:
        """What this robot gets of it. Raises `NotFound`, `BadInput`."""
        return entries_for(self.manifest(deployment), self._platform.key)

    def _is_linked(self, folder: Path, entry: FileEntry) -> bool:
        try:
            here = os.lstat(folder / entry.path).st_ino
            return (
                here
                == os.lstat(self.objects.path_of(entry.digest, executable=entry.kind is FileKind.EXECUTABLE)).st_ino
            )
        except OSError:
            return False

    def condemn(self, digest: ObjectDigest, *, executable: bool) -> Damage:
        """An object is damaged or gone: put it aside, and take it back from a tree that still has it. After this `present` and
        `laid_out` are right about all that need it. Raises `OSError`."""
        self.objects.set_aside(digest, executable=executable)
        needing = [id_ for id_ in sorted(self.present | self.laid_out) if self._names(id_, digest)]
        trees = {id_: self._holds(id_, digest) for id_ in needing if id_ in self.laid_out}
        for id_, whole in trees.items():
            if not whole:
                self.laid_out.discard(id_)
                self._whole.discard(id_)
        healed = any(whole and self._take_back(id_, digest, executable) for id_, whole in trees.items())
        for id_ in () if healed else needing:
            self.present.discard(id_)
        return Damage(tuple(id_ for id_, whole in trees.items() if not whole), healed)

    def _names(self, deployment: DeploymentId, digest: ObjectDigest) -> bool:
        try:
            return digest.encode() in self.stored_manifest(deployment)
        except (LekiwiError, OSError):
            return True  # to be looked at again

    def _holds(self, deployment: DeploymentId, digest: ObjectDigest) -> bool:
        try:
            return layout.holds(self.folder(deployment), self.manifest(deployment), self._platform.key, digest)
        except (LekiwiError, OSError):
            return False

    def _take_back(self, deployment: DeploymentId, digest: ObjectDigest, executable: bool) -> bool:
        kind = FileKind.EXECUTABLE if executable else FileKind.FILE
        for entry in entries_for(self.manifest(deployment), self._platform.key):
            if entry.digest == digest and entry.kind is kind:
                self.objects.take_back(self.folder(deployment) / entry.path, digest, executable=executable)
                return True
        return False

    def _set_aside_damaged(self, wrong: Iterable[FileEntry]) -> None:
        """What is wrong in a tree may be wrong in the store: they share their files."""
        for entry in wrong:
            executable = entry.kind is FileKind.EXECUTABLE
            if entry.size and not self.objects.verify(entry.digest, executable=executable):
                self.condemn(entry.digest, executable=executable)

    def _same_dependencies(self, one: DeploymentId, other: DeploymentId | None) -> bool:
        if other is None or other not in self._whole:
            return False
        contents = []
        for deployment in (one, other):
            platforms = self.manifest(deployment).platforms
            key = best_key(platforms, self._platform)
            contents.append(platforms[key].content if key is not None else None)
        return contents[0] == contents[1]

    def manifest(self, deployment: DeploymentId) -> Manifest:
        """Raises `NotFound`, `BadInput`."""
        with self._lock:
            known = self._manifests.get(deployment)
            if known is not None:
                self._manifests.move_to_end(deployment)
                return known
        known = read_manifest(self.stored_manifest(deployment), digest=self.metadata(deployment).digest)
        self.remember(deployment, known)
        return known

    def remember(self, deployment: DeploymentId, manifest: Manifest) -> None:
        """Keep it in memory for a while."""
        with self._lock:
            self._manifests[deployment] = manifest
            while len(self._manifests) > _REMEMBERED:
                self._manifests.popitem(last=False)

    def stored_manifest(self, deployment: DeploymentId) -> bytes:
        """Its bytes. Raises `NotFound`."""
        try:
            return (self.folder(deployment) / "manifest.json").read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{deployment} is not on this robot") from None

    def metadata(self, deployment: DeploymentId) -> Metadata:
        """Raises `NotFound`."""
        try:
            return msgspec.json.decode((self.folder(deployment) / "metadata.json").read_bytes(), type=Metadata)
        except (FileNotFoundError, msgspec.MsgspecError):
            raise NotFound(f"{deployment} is not on this robot") from None

    def folder(self, deployment: DeploymentId) -> Path:
        """Where its slot is, or would be."""
        return self._paths.deployments / deployment

    def with_digest(self, digest: ManifestDigest, among: dict[DeploymentId, ManifestDigest]) -> DeploymentId | None:
        """A present deployment whose manifest has this digest."""
        return next((id_ for id_ in sorted(self.present) if among.get(id_) == digest), None)

    def lay_out(self, deployment: DeploymentId) -> None:
        """Make the tree of a present deployment. Raises `MissingObjects`, `CorruptObject`, `BadEntry`, too."""
        self._whole.discard(deployment)
        folder = self.folder(deployment)
        layout.lay_out(self.objects, self.manifest(deployment), self._platform.key, folder, extra=_extra(folder))

    def publish(self, ref: DeploymentRef, stored: bytes, manifest: Manifest, rollback_to: DeploymentId | None) -> None:
        """Make the slot of a deployment whose objects are all here, with its tree. Raises as `lay_out`."""
        metadata = Metadata(
            id=ref.id,
            version=ref.version,
            timestamp=ref.created_at,
            commit=ref.commit,
            branch=ref.branch,
            author=ref.author,
            rollback_to=rollback_to,
            digest=ref.digest,
            manifest_size=len(stored),
        )
        kept = _variables(self.folder(ref.id))  # a slot that is mended has some
        extra = {**kept, "metadata.json": msgspec.json.format(encode(metadata)) + b"\n", "manifest.json": stored}
        layout.lay_out(self.objects, manifest, self._platform.key, self.folder(ref.id), extra=extra)

    def tear_down(self, deployment: DeploymentId) -> None:
        """Remove its tree; manifest and objects stay."""
        self.laid_out.discard(deployment)
        self._whole.discard(deployment)
        folder = self.folder(deployment)
        layout.lay_bare(self.objects, folder, extra=_extra(folder))

    def prune(self, deployment: DeploymentId) -> None:
        """Remove its slot. Its objects go with `collect`."""
        self.laid_out.discard(deployment)
        self._whole.discard(deployment)
        self.present.discard(deployment)
        with self._lock:
            self._manifests.pop(deployment, None)
        layout.remove_slot(self.folder(deployment))

    def collect(self, also: Callable[[], frozenset[ObjectDigest]] = frozenset) -> int:
        """Remove objects that no slot needs, nor `also` names; bytes given back. Reads every manifest."""
        needed: set[ObjectDigest] = set(also())
        for folder in self._paths.deployments.iterdir():
            try:
                contents = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=_Contents)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.MsgspecError):
                return 0  # a manifest that cannot be read may need anything
            needed.update(entry.digest for entry in contents.files)
            for tree in contents.platforms.values():
                needed.update(entry.digest for entry in tree.files)
        return self.objects.remove_unreferenced(needed).bytes

    def current(self) -> DeploymentId | None:
        """What the link names."""
        try:
            return DeploymentId(Path(os.readlink(self._paths.current)).name)  # noqa: PTH115
        except OSError:
            return None

    def point_current(self, deployment: DeploymentId) -> None:
        """Switch the link in one step."""
        new = self._paths.lekiwi / ".current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(f"deployments/{deployment}")
        fp("switch.new_link")
        new.replace(self._paths.current)
        fp("switch.linked")
        sync_path(self._paths.lekiwi)


def _extra(folder: Path) -> dict[str, bytes]:
    """What a slot has beside its tree, and keeps."""
    return {**_variables(folder), **{name: (folder / name).read_bytes() for name in ("metadata.json", "manifest.json")}}


def _variables(folder: Path) -> dict[str, bytes]:
    with contextlib.suppress(FileNotFoundError):
        return {VARIABLES: (folder / VARIABLES).read_bytes()}
    return {}
