"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.durations import moment, parse_when

NOW = datetime(2026, 8, 21, 14, 2, 30, tzinfo=UTC)
EAST = 120
"""The asker's zone: two hours east of UTC."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90s", "2026-08-21T14:01:00+00:00"),
        ("15m", "2026-08-21T13:47:30+00:00"),
        ("3h", "2026-08-21T11:02:30+00:00"),
        ("2d", "2026-08-19T14:02:30+00:00"),
        ("1w", "2026-08-14T14:02:30+00:00"),
        ("2-hours-ago", "2026-08-21T12:02:30+00:00"),
        ("1-hour-ago", "2026-08-21T13:02:30+00:00"),
        ("3-days-ago", "2026-08-18T14:02:30+00:00"),
        ("3 days ago", "2026-08-18T14:02:30+00:00"),
        (" 3  Days  Ago ", "2026-08-18T14:02:30+00:00"),
        ("2-weeks-ago", "2026-08-07T14:02:30+00:00"),
        ("yesterday", "2026-08-20T14:02:30+00:00"),
        ("yesterday 14:00", "2026-08-20T14:00:00+02:00"),
        ("yesterday 9:05:06", "2026-08-20T09:05:06+02:00"),
        ("2026-08-20", "2026-08-20T00:00:00+02:00"),
        ("2026-08-20T14:00", "2026-08-20T14:00:00+02:00"),
        ("2026-08-20 14:00:01", "2026-08-20T14:00:01+02:00"),
        ("2026-08-20T14:00Z", "2026-08-20T14:00:00+00:00"),
        ("2026-08-20T14:00:00.123456+00:00", "2026-08-20T14:00:00.123456+00:00"),
        ("2026-08-20T14:00-07:30", "2026-08-20T14:00:00-07:30"),
    ],
)
def test_each_form_means_its_moment(text: str, meant: str) -> None:
    assert moment(text, NOW, EAST) == at(meant)
    assert moment(text, NOW, EAST).utcoffset() == timedelta(minutes=EAST)


def test_yesterday_is_the_askers_day_not_the_servers() -> None:
    late = datetime(2026, 8, 21, 23, 30, tzinfo=UTC)
    assert moment("yesterday 00:10", late, EAST) == at("2026-08-21T00:10:00+02:00")
    assert moment("yesterday 00:10", late, 0) == at("2026-08-20T00:10:00+00:00")


@pytest.mark.parametrize(
    "text", ["", "soon", "ago", "3", "d3", "-3d", "3 fortnights ago", "yesterday noon", "12:00", "٣d", "2026-8-1"]
)
def test_other_words_are_no_times(text: str) -> None:
    assert parse_when(text) is None
    with pytest.raises(BadInput, match="use one of"):
        moment(text, NOW)


@pytest.mark.parametrize(
    "text", ["2026-02-31", "2026-13-01", "yesterday 25:00", "2026-08-20T24:01", "2026-08-20T10:00+25:00"]
)
def test_times_that_do_not_exist_say_so(text: str) -> None:
    with pytest.raises(BadInput, match="no time that exists"):
        parse_when(text)


@pytest.mark.parametrize("text", ["999999999w", "999999999d", "0001-01-01T00:00+14:00"])
def test_what_lies_before_all_years_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        moment(text, NOW, -600)


@given(st.integers(0, 10**6), st.sampled_from("smhdw"), st.integers(-1439, 1439))
def test_a_span_means_the_same_moment_in_every_zone(count: int, unit: str, offset: int) -> None:
    span = timedelta(seconds=count * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit])
    if NOW - datetime.min.replace(tzinfo=UTC) - timedelta(days=2) > span:
        assert moment(f"{count}{unit}", NOW, offset) == NOW - span


@given(st.datetimes(NOW.replace(year=1000, tzinfo=None), NOW.replace(year=3000, tzinfo=None)), st.integers(-1439, 1439))
def test_what_a_clock_shows_is_read_back(shown: datetime, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    assert moment(shown.isoformat(timespec="microseconds"), NOW, offset) == shown.replace(tzinfo=zone)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_not_and_never_a_crash(text: str) -> None:
    try:
        moment(text, NOW, EAST)
    except BadInput as error:
        assert error.message
