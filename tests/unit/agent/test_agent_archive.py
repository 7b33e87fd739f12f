"""Getting the archive of another release of the agent."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lekiwi_deploy.agent.self_update import bundle
from lekiwi_deploy.errors import LekiwiError, Unavailable
from lekiwi_deploy.wire.api import ErrorBody
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.link import AgentWanted

DATA = bytes(range(256)) * 4096
WANTED = AgentWanted(
    release="0.2.0-bbbbbbbb",
    digest=hashlib.sha256(DATA).hexdigest(),
    size=len(DATA),
    path="/agent/linux-x86_64-glibc2.36-py3.11/bundle",
    attempt=1,
)


class Served:
    """`Content` that serves `data`, a server that may break off, change its mind, or not know ranges."""

    def __init__(self, data: bytes = DATA, *, breaks_after: int | None = None, ranges: bool = True, status: int = 200):
        self.data, self.breaks_after, self.ranges, self.status = data, breaks_after, ranges, status
        self.asked: list[int] = []

    def ask(self, path: str, *, ticket: str | None, limit: int, start: int = 0, post: bytes | None = None) -> Answer:
        assert path == WANTED.path and ticket is None and post is None
        self.asked.append(start)
        if self.status != 200:
            return Answer(self.status, self.data, None)
        rest = self.data[start:] if self.ranges else self.data
        return Answer(206 if start and self.ranges else 200, rest, self.breaks_after)


class Answer:
    def __init__(self, status: int, data: bytes, breaks_after: int | None) -> None:
        self.status, self.length, self._data, self._breaks = status, len(data), data, breaks_after

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), 100_000):
            if self._breaks is not None and at >= self._breaks:
                raise Unavailable("the connection broke")
            yield self._data[at : at + 100_000]

    def close(self) -> None:
        """Nothing to close."""


def fetch(served: Served, folder: Path) -> Path:
    return bundle.fetch(served, folder, WANTED, threading.Event())


def test_it_is_kept_under_its_digest_and_found_again(tmp_path: Path) -> None:
    assert bundle.there(tmp_path, WANTED) is None
    path = fetch(Served(), tmp_path)
    assert path.read_bytes() == DATA
    assert bundle.there(tmp_path, WANTED) == path
    bundle.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        fetch(Served(breaks_after=400_000), tmp_path)
    assert bundle.there(tmp_path, WANTED) is None
    served = Served()
    assert fetch(served, tmp_path).read_bytes() == DATA
    assert served.asked == [400_000]


def test_a_server_that_cannot_resume_is_asked_for_all_of_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        fetch(Served(breaks_after=400_000), tmp_path)
    with pytest.raises(Unavailable):
        fetch(Served(ranges=False), tmp_path)
    assert fetch(Served(ranges=False), tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("data", [DATA[:-1] + b"x", DATA[:1000], b"", DATA + b"more"])
def test_what_is_not_what_was_announced_is_not_kept(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Unavailable):
        fetch(Served(data), tmp_path)
    assert bundle.there(tmp_path, WANTED) is None
    assert fetch(Served(), tmp_path).read_bytes() == DATA


def test_what_the_server_says_is_told(tmp_path: Path) -> None:
    body = encode(ErrorBody(code="not_found", message="there is no agent for your platform"))
    with pytest.raises(LekiwiError, match="no agent for your platform"):
        fetch(Served(body, status=404), tmp_path)


def test_archives_of_other_releases_do_not_pile_up(tmp_path: Path) -> None:
    (tmp_path / "agent-old.zip").write_bytes(b"x")
    (tmp_path / "agent-older.unfinished").write_bytes(b"x")
    (tmp_path / "something.part").write_bytes(b"x")
    path = fetch(Served(), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / "something.part"])
