import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput, LekiwiError, NotFound
from lekiwi_deploy.server.agent_bundle.bundle_platforms import bundle_platform, wheel_tags


@pytest.mark.parametrize(
    ("robot", "bundle"),
    [
        ("linux-aarch64-glibc2.36-py3.11", "linux-aarch64-glibc2.34-py3.11"),
        ("linux-x86_64-glibc2.31-py3.12", "linux-x86_64-glibc2.31-py3.12"),
        ("linux-x86_64-glibc2.99-py3.13", "linux-x86_64-glibc2.39-py3.13"),
        ("linux-arm64-glibc2.17-py3.11", "linux-aarch64-glibc2.17-py3.11"),
        ("linux-armv7l-glibc2.36-py3.11", "linux-armv7l-glibc2.34-py3.11"),
        ("linux-x86_64-musl1.2.4-py3.12", "linux-x86_64-musl1.2-py3.12"),
    ],
)
def test_robots_of_many_libc_versions_share_a_bundle(robot: str, bundle: str) -> None:
    assert bundle_platform(robot).key == bundle


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        ("", BadInput, "names no platform"),
        ("../../etc/passwd", BadInput, "names no platform"),
        ("darwin-arm64-glibc2.36-py3.11", NotFound, "robots run Linux"),
        ("linux-riscv64-glibc2.36-py3.11", NotFound, "x86_64, aarch64 or armv7l"),
        ("linux-x86_64-glibc2.12-py3.11", NotFound, "glibc 2.17 or newer, not 2.12"),
        ("linux-x86_64-glibc2.36-py3.9", NotFound, "Python 3.11 to"),
        ("linux-x86_64-glibcx-py3.11", NotFound, "glibc 2.17"),
    ],
)
def test_a_platform_without_an_agent_is_told_what_is_needed(key: str, error: type[LekiwiError], words: str) -> None:
    with pytest.raises(error, match=words):
        bundle_platform(key)


@given(st.text(max_size=60))
def test_no_text_can_name_a_folder_or_anything_but_a_known_platform(key: str) -> None:
    try:
        found = bundle_platform(key)
    except LekiwiError:
        return
    assert "/" not in found.key
    assert bundle_platform(found.key) == found


def test_newer_wheels_come_before_older_ones_and_none_is_too_new() -> None:
    tags = wheel_tags(bundle_platform("linux-aarch64-glibc2.31-py3.11"))
    assert tags[0] == "manylinux_2_31_aarch64"
    assert tags.index("manylinux_2_17_aarch64") < tags.index("manylinux2014_aarch64") < tags.index("linux_aarch64")
    assert not [tag for tag in tags if "2_32" in tag or "x86" in tag]


def test_wheels_for_musl_are_other_ones() -> None:
    assert wheel_tags(bundle_platform("linux-x86_64-musl1.2-py3.12")) == (
        "musllinux_1_2_x86_64",
        "musllinux_1_1_x86_64",
        "linux_x86_64",
    )
