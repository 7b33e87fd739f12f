"""Chooses the object store: a folder, or a bucket."""

from __future__ import annotations

from pathlib import Path

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.engines.folder import FolderStore
from lekiwi_deploy.server.engines.objects import ObjectStore


async def open_store(config: Config) -> ObjectStore:
    """The object store that the configuration names, after a look whether it can be used. Raises `Failed` when not."""
    if config.store is not None and "://" in config.store:
        from lekiwi_deploy.server.engines.buckets import BucketStore

        return await BucketStore.opened(config.store)
    folder = Path(config.store) if config.store is not None else config.data / "objects"
    try:
        return FolderStore(folder)
    except OSError as error:
        raise Failed(f"the object store {folder} cannot be used: {error.strerror}") from error
