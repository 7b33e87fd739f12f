"""Reading a real folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from content_samples import EXECUTABLE, FILE, LINK, entry

from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.hash_cache import HashCache
from lekiwi_deploy.content.ignore import IgnoreRules
from lekiwi_deploy.content.paths import BadEntry
from lekiwi_deploy.content.tree import TreeObjects, read_tree
from lekiwi_deploy.errors import Failed, NotFound
from lekiwi_deploy.wire.ids import ObjectDigest


def put(root: Path, name: str, data: bytes | str = b"x", mode: int = 0o644) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)
    return path


def test_a_folder_becomes_sorted_entries_with_their_kinds(tmp_path: Path) -> None:
    put(tmp_path, "b/c", b"two")
    put(tmp_path, "a", b"one", 0o600)
    put(tmp_path, "b-run", b"#!", 0o755)
    put(tmp_path, "empty", b"")
    (tmp_path / "nothing in it").mkdir()
    (tmp_path / "l").symlink_to("b/c")
    assert read_tree(tmp_path) == (
        entry("a", b"one"),
        entry("b-run", b"#!", EXECUTABLE),
        entry("b/c", b"two"),
        entry("empty", b""),
        entry("l", b"b/c", LINK),
    )
    assert [one.path for one in read_tree(tmp_path, "code")][:2] == ["code/a", "code/b-run"]


@pytest.mark.parametrize(
    ("mode", "kind"), [(0o4755, EXECUTABLE), (0o2755, EXECUTABLE), (0o666, FILE), (0o1777, EXECUTABLE), (0o400, FILE)]
)
def test_modes_are_reduced_to_plain_and_executable(tmp_path: Path, mode: int, kind: object) -> None:
    put(tmp_path, "a", mode=mode)
    assert read_tree(tmp_path)[0].kind is kind


def test_the_bytes_behind_an_entry_can_be_read(tmp_path: Path) -> None:
    put(tmp_path, "a/b", b"content")
    (tmp_path / "l").symlink_to("a/b")
    entries = read_tree(tmp_path, "code")
    objects = TreeObjects(tmp_path, entries, "code")
    assert objects.read(object_digest(b"content")) == b"content"
    assert objects.read(object_digest(b"a/b")) == b"a/b"
    with pytest.raises(NotFound):
        objects.read(ObjectDigest("0" * 64))


@pytest.mark.parametrize("now", [b"changed", b"cont", b"content and more"])
def test_a_file_that_changed_since_it_was_hashed_is_not_sent(tmp_path: Path, now: bytes) -> None:
    path = put(tmp_path, "a", b"content")
    objects = TreeObjects(tmp_path, read_tree(tmp_path))
    path.write_bytes(now)
    with pytest.raises(Failed, match="a changed while it was read"):
        objects.read(object_digest(b"content"))


def test_a_file_that_became_a_link_since_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "tree/d/a", b"content")
    put(tmp_path, "secret/a", b"content")
    objects = TreeObjects(tmp_path / "tree", read_tree(tmp_path / "tree"))
    (tmp_path / "tree/d/a").unlink()
    (tmp_path / "tree/d").rmdir()
    (tmp_path / "tree/d").symlink_to("../secret")
    with pytest.raises(Failed, match="d/a cannot be read"):
        objects.read(object_digest(b"content"))


def test_no_link_is_followed(tmp_path: Path) -> None:
    put(tmp_path, "tree/a")
    put(tmp_path, "outside/secret")
    (tmp_path / "tree/d").symlink_to("../outside")
    with pytest.raises(BadEntry, match=r"'d'.*out of the deployment"):
        read_tree(tmp_path / "tree")


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "a/../../x"])
def test_links_out_are_refused_even_below_a_prefix(tmp_path: Path, target: str) -> None:
    (tmp_path / "l").symlink_to(target)
    with pytest.raises(BadEntry, match="'l' cannot be deployed: it is a symbolic link"):
        read_tree(tmp_path, "code")


def test_fifos_and_sockets_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadEntry, match="'pipe' cannot be deployed: it is a FIFO"):
        read_tree(tmp_path)
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{folder}/s")
        finally:
            os.close(folder)
        with pytest.raises(BadEntry, match="it is a socket"):
            read_tree(tmp_path)


@pytest.mark.root
def test_devices_are_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a device node needs root")
    try:
        os.mknod(tmp_path / "null", 0o020666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container forbids device nodes")
    with pytest.raises(BadEntry, match="it is a device"):
        read_tree(tmp_path)


@pytest.mark.parametrize("name", [b"a\xff", b"a\nb", "cafe\u0301".encode(), b"back\\slash", b"x" * 201])
def test_names_that_no_entry_may_have_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(BadEntry):
        read_tree(tmp_path)


def test_a_folder_100_levels_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 100)).mkdir(parents=True)
    with pytest.raises(BadEntry, match="levels deep"):
        read_tree(tmp_path)


def test_case_pairs_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "Readme")
    put(tmp_path, "README")
    with pytest.raises(BadEntry, match="upper and lower case"):
        read_tree(tmp_path)


def test_git_folders_are_left_out_at_every_level(tmp_path: Path) -> None:
    for name in ("a", ".git/config", "sub/.git", "sub/b"):
        put(tmp_path, name)
    assert [one.path for one in read_tree(tmp_path)] == ["a", "sub/b"]


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a")
    for path in (tmp_path / "a", tmp_path / "missing"):
        with pytest.raises(NotFound, match=str(path)):
            read_tree(path)


def test_every_entry_is_told_as_it_is_found(tmp_path: Path) -> None:
    put(tmp_path, "a")
    put(tmp_path, "b/c")
    seen: list[str] = []
    read_tree(tmp_path, seen=lambda one: seen.append(one.path))
    assert seen == ["a", "b/c"]


def test_ignored_files_stay_at_home(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "a.log",
        "keep.log",
        "build/x",
        "sub/b.tmp",
        "sub/keep.tmp",
        "sub/deep/c.log",
        "__pycache__/x.pyc",
        ".venv/x",
        ".lekiwi/link",
    ):
        put(tmp_path, name)
    put(tmp_path, ".gitignore", "*.log\n!keep.log\n/build/\n\n# nothing\n")
    put(tmp_path, "sub/.gitignore", "*.tmp\n!keep.tmp\n!c.log\n")
    put(tmp_path, "docs/x.md")
    found = [one.path for one in read_tree(tmp_path, ignore=IgnoreRules(["docs/", "*.md"]))]
    assert found == [".gitignore", "a.py", "keep.log", "sub/.gitignore", "sub/deep/c.log", "sub/keep.tmp"]


def test_a_gitignore_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "rules", "a\n")
    put(tmp_path, "a")
    (tmp_path / ".gitignore").symlink_to("rules")
    assert "a" in [one.path for one in read_tree(tmp_path, ignore=IgnoreRules())]


OLD = 1_000_000_000 * 10**9


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = put(tmp_path / "tree", "a", b"12345")
    os.utime(path, ns=(OLD, OLD))
    cache = HashCache()
    before = read_tree(tmp_path / "tree", cache=cache)
    cache.save(tmp_path / "cache")
    path.write_bytes(b"54321")  # same size, and the time put back: only the cache can tell
    os.utime(path, ns=(OLD, OLD))
    again = HashCache.load(tmp_path / "cache")
    assert read_tree(tmp_path / "tree", cache=again) == before
    os.utime(path, ns=(OLD + 1, OLD + 1))
    assert read_tree(tmp_path / "tree", cache=again) == (entry("a", b"54321"),)


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    path = put(tmp_path / "tree", "a", b"12345")
    cache = HashCache()
    read_tree(tmp_path / "tree", cache=cache)
    cache.save(tmp_path / "cache")
    assert HashCache.load(tmp_path / "cache").get("a", path.stat()) is None


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x81\xa1a\x94"])
def test_a_damaged_cache_counts_as_empty(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "cache").write_bytes(damage)
    put(tmp_path / "tree", "a")
    assert read_tree(tmp_path / "tree", cache=HashCache.load(tmp_path / "cache")) == (entry("a"),)
