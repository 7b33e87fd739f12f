"""Which variables a release's services declare: noted when it is built, read from its manifest where that was before there were variables."""

from __future__ import annotations

import asyncio
import logging

import zstandard

from lekiwi_deploy.content.manifests import MAX_MANIFEST, read_manifest
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.engines.objects import ObjectStore, manifest_key
from lekiwi_deploy.server.store import variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import ManifestDigest
from lekiwi_deploy.wire.manifest import Manifest

_log = logging.getLogger("lekiwi.variables")


def declared_names(manifest: Manifest) -> tuple[str, ...]:
    """The names that any of its services declares, sorted."""
    return tuple(sorted({name for service in manifest.services for name in service.env}))


async def look_up(tx: Transaction, objects: ObjectStore, digest: str) -> tuple[str, ...] | None:
    """What the manifest's services declare, noted for the next time. None, logged, when it cannot be read."""
    try:
        stored = await objects.get(manifest_key(ManifestDigest(digest)))
        names = await asyncio.to_thread(_names, stored, ManifestDigest(digest))
    except (LekiwiError, zstandard.ZstdError) as error:
        _log.warning("which variables manifest %s declares cannot be read: %s", digest[:12], error)
        return None
    await variables.set_declared(tx, digest, names)
    return names


async def look_up_missing(tx: Transaction, objects: ObjectStore, project: str) -> None:
    """`look_up` for all manifests that matter now and were not looked up yet."""
    for digest in await variables.not_looked_up(tx, project):
        await look_up(tx, objects, digest)


def _names(stored: bytes, digest: ManifestDigest) -> tuple[str, ...]:
    plain = zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_MANIFEST)
    return declared_names(read_manifest(plain, digest=digest))
