"""Windows as people write them."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.window_text import parse_dates, parse_opening
from lekiwi_deploy.wire.windows import Dates, Opening


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("22:00-06:00", Opening(minutes=(0,), hours=(22,), end=360)),
        ("9:30 - 24:00", Opening(minutes=(30,), hours=(9,), end=1440)),
        ("Mon-Fri 22:00-06:00", Opening(minutes=(0,), hours=(22,), weekdays=(0, 1, 2, 3, 4), end=360)),
        ("Sat,Sun", Opening(minutes=(0,), hours=(0,), weekdays=(5, 6), end=1440)),
        ("Fri-Mon 08:00-09:00", Opening(minutes=(0,), hours=(8,), weekdays=(0, 4, 5, 6), end=540)),
        ("0 22 * * 1-5 for 8h", Opening(minutes=(0,), hours=(22,), weekdays=(0, 1, 2, 3, 4), length_s=8 * 3600.0)),
        ("*/30 3 1 jan,jul * for 10m", Opening(minutes=(0, 30), hours=(3,), days=(1,), months=(1, 7), length_s=600.0)),
        (
            "0 4 1 * 0,7 for 1d",
            Opening(minutes=(0,), hours=(4,), days=(1,), weekdays=(6,), either=True, length_s=86_400.0),
        ),
    ],
)
def test_an_opening_is_read(text: str, opening: Opening) -> None:
    assert parse_opening(text) == opening


@pytest.mark.parametrize(
    "text",
    ["", "always", "22-06", "25:00-26:00", "22:00-22:00", "24:00-06:00", "Xyz 22:00-06:00", "-Mon 1:00-2:00", "0 22 * * 1-5", "0 22 * * 1-5 for 8d",
     "61 * * * * for 1h", "0 22 * * 5-1 for 1h", "*/0 1 * * * for 1h", "0 22 * * 1-5 for 0m"],
)  # fmt: skip
def test_what_is_no_opening_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(BadInput):
        parse_opening(text)


def test_dates_are_read_and_impossible_ones_refused() -> None:
    assert parse_dates("2026-12-24") == Dates(date(2026, 12, 24), date(2026, 12, 24))
    assert parse_dates("2026-12-24..2026-12-26") == Dates(date(2026, 12, 24), date(2026, 12, 26))
    assert parse_dates("Fri 12:00-24:00") is None
    for wrong in ("2026-02-30", "2026-12-26..2026-12-24"):
        with pytest.raises(BadInput):
            parse_dates(wrong)


@given(some.text(alphabet="0123456789:-* ,/MonSatfor hmd", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_opening(text)
    except BadInput as error:
        assert error.message
