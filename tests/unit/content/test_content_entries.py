"""Lists of entries: what they may not do to each other."""

from __future__ import annotations

import itertools

import pytest
from content_samples import EXECUTABLE, LINK, entry
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content import entries as rules
from lekiwi_deploy.content.digests import EMPTY
from lekiwi_deploy.content.entries import check_entries, object_digests
from lekiwi_deploy.content.paths import BadEntry
from lekiwi_deploy.errors import TooLarge
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

DIGEST = ObjectDigest("ab" * 32)


def refused(*entries: FileEntry) -> BadEntry:
    with pytest.raises(BadEntry) as caught:
        check_entries(entries)
    return caught.value


def test_an_ordinary_tree_is_accepted() -> None:
    check_entries([])
    check_entries(
        [
            entry("a"),
            entry("a-b"),
            entry("a.b/c"),
            entry("b/c", b""),
            entry("b/d", b"#!", EXECUTABLE),
            entry("b/l", b"c", LINK),
        ]
    )


def test_the_refusal_names_the_path_and_the_reason() -> None:
    error = refused(entry("a"), entry("b/../c"))
    assert error.path == "b/../c"
    assert error.details == {"path": "'b/../c'", "reason": error.reason}
    assert "'b/../c'" in error.message


def test_one_path_twice_is_refused() -> None:
    assert "twice" in refused(entry("a"), entry("a", b"other")).reason


def test_an_unsorted_list_is_refused() -> None:
    assert "not sorted" in refused(entry("b"), entry("a")).reason


@pytest.mark.parametrize(
    "paths",
    [("README", "readme"), ("Lib/x", "lib/y"), ("a/B/c/x", "a/b/c/y"), ("STRASSE", "straße"), ("A", "a/b"), ("É", "é")],
)
def test_names_that_differ_only_by_case_are_refused(paths: tuple[str, ...]) -> None:
    error = refused(*(entry(path) for path in sorted(paths)))
    assert "case" in error.reason or "is a file" in error.reason


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a", "a/b/c"), ("a", "a-b", "a/b"), ("x/a", "x/a/b/c/d")])
def test_a_file_cannot_be_a_folder(paths: tuple[str, ...]) -> None:
    assert "not a folder" in refused(*(entry(path) for path in paths)).reason


def test_nothing_lies_below_a_symbolic_link() -> None:
    assert "symbolic link, not a folder" in refused(entry("a", b"b", LINK), entry("a/x")).reason


@pytest.mark.parametrize("size", [-1, 2**32 + 1, 2**63])
def test_impossible_sizes_are_refused(size: int) -> None:
    assert "size" in refused(FileEntry("a", FileKind.FILE, size, DIGEST)).reason


def test_a_size_that_its_digest_contradicts_is_refused() -> None:
    assert "contradicts" in refused(FileEntry("a", FileKind.FILE, 0, DIGEST)).reason
    assert "contradicts" in refused(FileEntry("a", FileKind.FILE, 7, EMPTY)).reason


def test_a_link_longer_than_a_path_is_refused() -> None:
    assert "size" in refused(FileEntry("a", FileKind.SYMLINK, 1024, DIGEST)).reason


@pytest.mark.parametrize("digest", ["", "AB" * 32, "ab" * 20, "ab" * 32 + "\n", "../" + "a" * 61, "g" * 64])
def test_a_malformed_digest_is_refused(digest: str) -> None:
    assert "digest" in refused(FileEntry("a", FileKind.FILE, 1, ObjectDigest(digest))).reason


def test_too_many_files_are_refused_without_reading_them_all() -> None:
    endless = (entry(f"{number:09}", b"") for number in itertools.count())
    with pytest.raises(TooLarge, match="100000"):
        check_entries(endless)


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_TOTAL", 10)
    with pytest.raises(TooLarge):
        check_entries([entry("a", b"123456"), entry("b", b"12345")])


def test_an_object_is_named_once_and_empty_files_need_none() -> None:
    entries = [entry("a", b"1"), entry("b", b""), entry("c", b"2"), entry("d", b"1", EXECUTABLE)]
    assert object_digests(entries) == (entries[0].digest, entries[2].digest)


PARTS = st.sampled_from(["a", "A", "b", "ss", "ß", "é", "É", "c"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=6, unique=True))
def test_accepted_trees_are_the_same_on_every_file_system(paths: list[str]) -> None:
    entries = [entry(path) for path in sorted(paths)]
    folders = {path[:cut] for path in paths for cut in range(len(path)) if path[cut] == "/"}
    everything = folders | set(paths)
    distinct = len({one.casefold() for one in everything}) == len(everything) and not folders & set(paths)
    try:
        check_entries(entries)
    except BadEntry:
        assert not distinct
    else:
        assert distinct
