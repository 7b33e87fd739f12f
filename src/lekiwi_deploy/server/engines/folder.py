"""Objects as files below one folder: written, fsynced, renamed, the folder fsynced."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from lekiwi_deploy.content.durable import make_durable
from lekiwi_deploy.errors import BadInput, NotFound, Unavailable


class FolderStore:
    """An `ObjectStore` below `root`, which is made when missing. Temporary files are below `root/.tmp`."""

    def __init__(self, root: Path) -> None:
        """Removes temporary files that a killed server left."""
        self._root = root
        self._staging = root / ".tmp"
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True, mode=0o700)

    async def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        return await asyncio.to_thread(self._read, key)

    def get_blocking(self, key: str) -> bytes:
        """See `ObjectStore.get_blocking`."""
        return self._read(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        return await asyncio.to_thread(self._read, key, start, length)

    async def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        try:
            return self._path(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"there is no object {key}") from None

    async def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        await self.put_many([(key, data)])

    async def put_many(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """See `ObjectStore.put_many`. With more than a few, one `syncfs` replaces an fsync for each."""
        await asyncio.to_thread(self._put_many, objects)

    async def put_file(self, key: str, path: Path) -> None:
        """See `ObjectStore.put_file`."""
        await asyncio.to_thread(self._put_file, key, path)

    async def exists(self, key: str) -> bool:
        """See `ObjectStore.exists`."""
        return self._path(key).is_file()

    async def missing(self, keys: Iterable[str]) -> set[str]:
        """See `ObjectStore.missing`."""
        return await asyncio.to_thread(lambda: {key for key in keys if not self._path(key).is_file()})

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._path(key).unlink(missing_ok=True)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """See `ObjectStore.list`."""
        for key in await asyncio.to_thread(self._keys, prefix):
            yield key

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise BadInput(f"{key!r} is no object key")
        return self._root.joinpath(*parts)

    def _read(self, key: str, start: int = 0, length: int = -1) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no object {key}") from None

    def _put_many(self, objects: Iterable[tuple[str, bytes]]) -> None:
        staged = []
        try:
            for key, data in objects:
                final = self._path(key)
                path = self._staging / secrets.token_hex(8)
                staged.append((path, final))
                path.write_bytes(data)
            self._publish(staged)
        except OSError as error:
            raise _unavailable(error) from error
        finally:
            for path, _ in staged:
                path.unlink(missing_ok=True)

    def _put_file(self, key: str, source: Path) -> None:
        path = self._staging / secrets.token_hex(8)
        try:
            shutil.copyfile(source, path)
            self._publish([(path, self._path(key))])
        except OSError as error:
            raise _unavailable(error) from error
        finally:
            path.unlink(missing_ok=True)

    def _publish(self, staged: Sequence[tuple[Path, Path]]) -> None:
        """Content first, names after it; both on the disk when this returns."""
        make_durable([str(path) for path, _ in staged], within=self._root)
        folders: set[str] = set()
        for path, final in staged:
            for folder in (final.parent, *final.parent.parents):
                if folder == self._root or folder.exists():
                    break
                folders.add(str(folder.parent))
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.replace(final)
            folders.add(str(final.parent))
        make_durable(sorted(folders), within=self._root)

    def _keys(self, prefix: str) -> Sequence[str]:
        start = self._root.joinpath(*[part for part in prefix.split("/")[:-1] if part])
        found: list[str] = []
        for folder, folders, files in os.walk(start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = Path(folder).relative_to(self._root)
            found += [key for name in files if (key := (below / name).as_posix()).startswith(prefix)]
        return found


def _unavailable(error: OSError) -> Unavailable:
    return Unavailable(f"the object store cannot write: {error.strerror or error}")
