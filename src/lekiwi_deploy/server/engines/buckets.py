"""Objects in a bucket of S3 (or what speaks like it), Google Cloud Storage or Azure.

Credentials and endpoints come from the environment, under the names that each provider's own tools use: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS,
AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, …; or from the machine's own role.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from lekiwi_deploy.errors import BadInput, Failed, LekiwiError, NotFound, Unavailable

T = TypeVar("T")

AT_ONCE = 32
"""Requests under way together."""


class BucketStore:
    """An `ObjectStore` below a prefix of a bucket."""

    def __init__(self, store: S3Store | GCSStore | AzureStore, name: str) -> None:
        """`name` is used in messages."""
        self._store, self._name = store, name
        self._slots = asyncio.Semaphore(AT_ONCE)

    @classmethod
    async def opened(cls, url: str) -> BucketStore:
        """The store at `s3://bucket/prefix` (`gs://`, `az://account/container`), after a look whether it can be read.

        Raises `Failed` when it cannot, saying why.
        """
        try:
            store = from_url(
                url,
                client_options={
                    "timeout": timedelta(seconds=60),
                    "connect_timeout": timedelta(seconds=5),
                    "allow_http": _endpoint().startswith("http://"),  # whoever writes it out means it
                },
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            )
        except (BaseError, ValueError) as error:
            raise Failed(f"the object store {url} cannot be used: {_one_line(error)}") from error
        assert isinstance(store, S3Store | GCSStore | AzureStore)
        opened = cls(store, url)
        try:
            await opened.exists("manifests/ready")
        except LekiwiError as error:
            raise Failed(
                f"the object store {url} cannot be used: {error.message}",
                next=(
                    "set the provider's credentials in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, …",
                ),
            ) from error
        return opened

    async def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""

        async def read() -> bytes:
            found = await obstore.get_async(self._store, _checked(key))
            return bytes(await found.bytes_async())

        return await self._tried(key, read)

    def get_blocking(self, key: str) -> bytes:
        """See `ObjectStore.get_blocking`."""
        try:
            return bytes(obstore.get(self._store, _checked(key)).bytes())
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"there is no object {key}") from None
        except (BaseError, OSError) as error:
            raise Unavailable(f"the object store {self._name} did not answer: {_one_line(error)}") from error

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore.get_range`."""
        size = await self.size(key)
        if start >= size or length <= 0:
            return b""

        async def read() -> bytes:
            return bytes(
                await obstore.get_range_async(self._store, _checked(key), start=start, end=min(start + length, size))
            )

        return await self._tried(key, read)

    async def size(self, key: str) -> int:
        """See `ObjectStore.size`."""

        async def read() -> int:
            return int((await obstore.head_async(self._store, _checked(key)))["size"])

        return await self._tried(key, read)

    async def put(self, key: str, data: bytes) -> None:
        """See `ObjectStore.put`."""

        async def write() -> None:
            await obstore.put_async(self._store, _checked(key), data)

        await self._tried(key, write)

    async def put_many(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """See `ObjectStore.put_many`."""
        pending: set[asyncio.Task[None]] = set()
        try:
            for key, data in objects:
                pending.add(asyncio.create_task(self.put(key, data)))
                if len(pending) >= AT_ONCE:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            for task in list(pending):
                await task
        finally:
            for task in pending:
                task.cancel()

    async def put_file(self, key: str, path: Path) -> None:
        """See `ObjectStore.put_file`."""

        async def write() -> None:
            await obstore.put_async(self._store, _checked(key), path)

        await self._tried(key, write)

    async def exists(self, key: str) -> bool:
        """See `ObjectStore.exists`."""
        try:
            await self.size(key)
        except NotFound:
            return False
        return True

    async def missing(self, keys: Iterable[str]) -> set[str]:
        """See `ObjectStore.missing`."""
        wanted = list(dict.fromkeys(keys))
        there = await asyncio.gather(*(self.exists(key) for key in wanted))
        return {key for key, found in zip(wanted, there, strict=True) if not found}

    async def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""

        async def remove() -> None:
            await obstore.delete_async(self._store, _checked(key))

        try:
            await self._tried(key, remove)
        except NotFound:
            return

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """See `ObjectStore.list`. Buckets list whole folders, so the rest of the prefix is compared here."""
        folder = prefix.rpartition("/")[0]
        try:
            async for batch in obstore.list(self._store, prefix=folder or None):
                for found in batch:
                    if found["path"].startswith(prefix):
                        yield found["path"]
        except (BaseError, OSError) as error:
            raise Unavailable(f"the object store {self._name} did not answer: {_one_line(error)}") from error

    async def _tried(self, key: str, act: Callable[[], Awaitable[T]]) -> T:
        try:
            async with self._slots:
                return await act()
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"there is no object {key}") from None
        except (BaseError, OSError) as error:
            raise Unavailable(f"the object store {self._name} did not answer: {_one_line(error)}") from error


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""


def _checked(key: str) -> str:
    if not key or any(not part or part.startswith(".") for part in key.split("/")):
        raise BadInput(f"{key!r} is no object key")
    return key


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.partition(" Debug source:")[0][:300]
