from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.server.git.versions import MAX_VERSION, is_version_tag, newest, project_version, version_of

COMMIT = "8b71ff7" + "0" * 33


def test_a_tag_on_the_commit_is_its_version() -> None:
    assert version_of(COMMIT, tags_here=["nightly", "v2.1.0"], last_tag=("v2.0.0", 3), project_version="9") == "v2.1.0"


def test_the_highest_of_several_tags_counts_and_a_release_is_above_its_candidates() -> None:
    assert newest(["v2.9.0", "v2.10.0", "v2.10.0-rc.1"]) == "v2.10.0"


def test_without_a_tag_here_it_is_the_last_tag_and_the_distance() -> None:
    assert version_of(COMMIT, tags_here=[], last_tag=("v2.1.0", 3), project_version="9") == "v2.1.0-3-g8b71ff7"


def test_without_any_tag_the_project_file_says_it() -> None:
    assert version_of(COMMIT, tags_here=[], last_tag=None, project_version="0.2.0") == "v0.2.0"


def test_without_anything_it_is_the_commit() -> None:
    assert version_of(COMMIT, tags_here=[], last_tag=None, project_version=None) == "0.0.0+8b71ff7"
    assert version_of(COMMIT, tags_here=[], last_tag=None, project_version="not a version") == "0.0.0+8b71ff7"


def test_words_are_no_versions() -> None:
    assert not any(map(is_version_tag, ["nightly", "v", "", "release", "v1.0.0 x", "1" * 51, "v1\n"]))
    assert all(map(is_version_tag, ["v2.1.0", "2.1", "v2.1.0-rc.1", "v1.0+build.5", "2026.1"]))


def test_project_files_are_read_and_broken_ones_say_nothing() -> None:
    assert project_version(b'[project]\nversion = "1.2"\n', None) == "1.2"
    assert project_version(b'[tool.poetry]\nversion = "1.3"\n', None) == "1.3"
    assert project_version(b"[project", b'{"version": "3.0.0"}') == "3.0.0"
    assert project_version(None, b'{"version": 3}') is None
    assert project_version(None, b"[") is None
    assert project_version(None, None) is None


@given(
    tags=st.lists(st.text(max_size=60), max_size=4),
    last=st.none() | st.tuples(st.text(max_size=60), st.integers(0, 10**6)),
    stated=st.none() | st.text(max_size=80),
)
def test_every_commit_has_a_version_that_can_be_stored(
    tags: list[str], last: tuple[str, int] | None, stated: str | None
) -> None:
    version = version_of(COMMIT, tags_here=tags, last_tag=last, project_version=stated)
    assert 0 < len(version) <= MAX_VERSION
    assert version.isprintable() and " " not in version
