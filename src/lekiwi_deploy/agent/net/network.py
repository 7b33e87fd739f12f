"""What the agent needs of the network, whoever provides it: this process, or the net half."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from lekiwi_deploy.errors import Unavailable


class LinkLost(Unavailable):
    """The link could not be opened, or ended. The message says why, in a few words."""


class NetHalfGone(Unavailable):
    """This process has no network itself, and the one that has it does not run, or does not answer."""


class Connection(Protocol):
    """An open link to the server: text frames both ways."""

    async def recv(self) -> str:
        """The next frame. Raises `LinkLost`, `NetHalfGone`."""

    async def send(self, text: str) -> None:
        """Hand a frame over. Raises `LinkLost`, `NetHalfGone`."""

    async def token(self, server: str, nonce: str, boot: str) -> str:
        """The robot's signature over the server's nonce (wire/assertion.py). Raises `LekiwiError` when there is no usable key."""


class Answer(Protocol):
    """The server's answer to a download. `length`: bytes that follow, if it said so."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def length(self) -> int | None:
        """See above."""

    def pieces(self) -> Iterator[bytes]:
        """The body, in pieces of at most 128 KiB. Raises `Unavailable` when it breaks off or is longer than was allowed."""

    def close(self) -> None:
        """Nothing more of it is wanted."""


class Content(Protocol):
    """Downloads from the robot's server. Called in threads; blocks."""

    def ask(self, path: str, *, ticket: str | None, limit: int, start: int = 0, post: bytes | None = None) -> Answer:
        """GET `path` from byte `start` on, or POST the JSON `post` to it; at most `limit` bytes of answer are taken. Whatever status the
        answer has. Raises `Unavailable`."""


class Network(Protocol):
    """Both, and whether they can be had."""

    @property
    def content(self) -> Content:
        """Where downloads come from."""

    def link(self, *, ping_s: float) -> AbstractAsyncContextManager[Connection]:
        """The link, open; it is closed in the end. Raises `LinkLost`, `NetHalfGone`."""

    async def ready(self) -> None:
        """Return when a link can be tried: at once in one process, else when the net half is there."""
