"""`Range` headers of resumed downloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.server.http.ranges import parse_range


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=40-", (40, 60)),
        ("bytes=40-49", (40, 10)),
        ("bytes=99-1000", (99, 1)),
        ("bytes=-10", (90, 10)),
        ("bytes=-1000", (0, 100)),
        ("bytes=100-", (100, 0)),
        ("bytes=5000-", (5000, 0)),
        ("bytes=-0", (100, 0)),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=0-1,5-9", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("", None),
        ("bytes=" + "9" * 1000 + "-", None),
    ],
)
def test_one_range_is_understood_and_anything_else_means_the_whole(header: str, found: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == found


@given(st.text(max_size=60), st.integers(0, 10**12))
def test_a_range_never_reaches_outside(header: str, size: int) -> None:
    found = parse_range(header, size)
    if found is not None:
        start, length = found
        assert start >= 0 and length >= 0
        assert length == 0 or start + length <= size
