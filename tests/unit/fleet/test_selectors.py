"""The grammar of what names a deployment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.durations import Ago
from lekiwi_deploy.fleet.selectors import (
    Alias,
    Back,
    Commit,
    IdPrefix,
    Previous,
    Time,
    Version,
    Word,
    checked_alias,
    parse,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (None, Previous()),
        ("previous", Previous()),
        ("dep_8jK4mN9p", IdPrefix("dep_8jK4mN9p")),
        ("dep_8", IdPrefix("dep_8")),
        ("v2.2.9", Version("v2.2.9")),
        ("v2.2.9-rc.1", Version("v2.2.9-rc.1")),
        ("tag:v2.2.9", Version("v2.2.9")),
        ("tag:nightly", Version("nightly")),
        ("commit:abc1", Commit("abc1")),
        ("commit:ABC123", Commit("abc123")),
        ("alias:stable", Alias("stable")),
        ("@-2", Back(2)),
        ("3 days ago", Time(Ago(timedelta(days=3)))),
        ("stable", Word("stable", (Alias("stable"), Version("stable")))),
        ("2.2.9", Word("2.2.9", (Alias("2.2.9"), Version("2.2.9")))),
        ("abc1234", Word("abc1234", (Alias("abc1234"), Version("abc1234"), Commit("abc1234")))),
        ("abc123", Word("abc123", (Alias("abc123"), Version("abc123")))),
        ("3d", Word("3d", (Alias("3d"), Version("3d"), Time(Ago(timedelta(days=3)))))),
    ],
)
def test_each_form_is_read(text: str | None, meant: object) -> None:
    assert parse(text) == meant


def test_a_bare_word_may_be_a_commit_and_a_time_at_once() -> None:
    word = parse("1234567d")
    assert isinstance(word, Word)
    assert word.readings[2:] == (Commit("1234567d"), Time(Ago(timedelta(days=1234567))))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "dep_", "dep_123456789", "dep_a-b", "dep_../x", "commit:abc", "commit:xyz1", "commit:", "tag:", "alias:", "tag:-x",
        "@", "@2", "@-0", "@-", "@-x", "a b c", "x\0y", "x\ny", "-x", "--help", "x" * 121, "yesterday 25:00", "2026-02-31 10:00", "…",
    ],
)  # fmt: skip
def test_what_can_name_nothing_is_refused_with_words(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text)
    assert len(refused.value.message) < 300


@given(st.text(max_size=130))
def test_any_text_is_a_selector_or_bad_input(text: str) -> None:
    try:
        selector = parse(text)
    except BadInput:
        return
    if isinstance(selector, Word):
        assert len(selector.readings) > 1


@given(st.text("0123456789abcdef", min_size=4, max_size=40))
def test_a_commit_is_what_it_says(prefix: str) -> None:
    assert parse(f"commit:{prefix}") == Commit(prefix)


@pytest.mark.parametrize("name", ["stable", "Stable", "last-good", "demo.2", "customer_a", "x"])
def test_a_word_that_means_nothing_else_may_be_an_alias(name: str) -> None:
    assert checked_alias(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "previous", "dep_2hX9kL3m", "dep_", "v2", "v2.2.9", "2.2.9", "@-1", "deadbeef", "abcdef0123", "yesterday", "3-days-ago", "2h",
        "commit:abcd", "alias:stable", "a b", "", "-x", "a/b", "list", "rm", "set", "x" * 51, "ä", "main.lock",
    ],
)  # fmt: skip
def test_what_reads_as_something_else_may_not_be_an_alias(name: str) -> None:
    with pytest.raises(BadInput):
        checked_alias(name)
