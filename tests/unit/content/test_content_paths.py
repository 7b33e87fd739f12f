"""Names and links that may be deployed, and why others may not."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content.paths import BadEntry, check_link, check_path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../x", "'..'"),
        ("a/../b", "'..'"),
        ("a/./b", "'..'"),
        (".", "'.'"),
        ("..", "'..'"),
        ("", "empty"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("/etc/passwd", "absolute"),
        ("//host/x", "absolute"),
        ("C:\\x", "backslash"),
        ("a\\..\\b", "backslash"),
        ("a\0b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\rb", "U+000D"),
        ("a\tb", "U+0009"),
        ("a\x7fb", "U+007F"),
        ("a\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\udc80b", "U+DC80"),
        ("cafe\u0301", "NFC"),
        ("x" * 201, "200 bytes"),
        ("é" * 101, "200 bytes"),
        ("/".join("y" * 199 for _ in range(6)), "1023 bytes"),
        ("/".join("d" * 25), "25 levels"),
        ("/".join("d" * 100), "100 levels"),
        (".git/config", ".git"),
        ("a/.GIT/hooks/x", ".git"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_safe_everywhere_is_refused_with_the_reason(path: str, reason: str) -> None:
    with pytest.raises(BadEntry, match="cannot be deployed") as refused:
        check_path(path)
    assert reason in refused.value.reason
    assert refused.value.message.isascii()
    assert len(refused.value.message) < 1500


@pytest.mark.parametrize(
    "path",
    [
        "code/kiwi/__init__.py", "-x", "--help", "a;id", "a$(id)", "%2e%2e%2f", "....", "..a", "a..", "...", "con", "null", "HEAD",
        "current", "<img onerror>", "{0.__class__}", "{{7*7}}", "=cmd()", "café", "机器人/主.py", "🤖", "a b", ".gitignore", "x.git",
        "x" * 200, "/".join("d" * 24),
    ],
)  # fmt: skip
def test_odd_but_harmless_names_are_kept(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("path", "target", "reason"),
    [
        ("code/x", "/etc/passwd", "absolute"),
        ("code/x", "../../x", "out of"),
        ("code/x", "..//../x", "out of"),
        ("x", "..", "out of"),
        ("code/a/x", "../../..", "out of"),
        ("code/x", "a/../../..", "'..' after a name"),
        ("code/x", "a/..", "'..' after a name"),
        ("code/x", "./../../x", "out of"),
        ("code/x", "", "nothing"),
        ("code/x", "a\nb", "U+000A"),
        ("code/x", "/".join("d" * 30), "levels"),
    ],
)
def test_a_link_that_could_leave_the_deployment_is_refused(path: str, target: str, reason: str) -> None:
    with pytest.raises(BadEntry) as refused:
        check_link(path, target)
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("code/x", "y"),
        ("code/x", "../deps/y"),
        ("code/a/x", "../b/y"),
        ("code/x", "a//b"),
        ("code/x", "./y"),
        ("code/x", ".."),
    ],
)
def test_a_link_inside_the_deployment_may_stay(path: str, target: str) -> None:
    check_link(path, target)


NAMES = st.text(st.sampled_from("ab./\\\0é"), max_size=12)


@given(NAMES)
def test_an_accepted_name_is_what_it_resolves_to(path: str) -> None:
    try:
        check_path(path)
    except BadEntry:
        return
    assert posixpath.normpath(path) == path
    assert not path.startswith(("/", "../"))


@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "..", "."]), min_size=1, max_size=6),
)
def test_an_accepted_link_resolves_below_the_root(path: list[str], target: list[str]) -> None:
    try:
        check_link("/".join(path), "/".join(target))
    except BadEntry:
        return
    resolved = posixpath.normpath("/slot/" + "/".join([*path[:-1], *target]))
    assert (resolved + "/").startswith("/slot/")
