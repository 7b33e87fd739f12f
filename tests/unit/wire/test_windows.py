"""Openings on a robot's wall clock, over clock changes and exceptions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as some

from lekiwi_deploy.wire.windows import Closed, Dates, Open, Opening, Times, Windows, look, spans

VIENNA = ZoneInfo("Europe/Vienna")
NIGHT = Windows(openings=(Opening(minutes=(0,), hours=(22,), end=6 * 60),))
EVERY_DAY = Opening(minutes=(0,), hours=(0,), end=24 * 60)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA)


def test_a_window_over_midnight_is_open_on_both_sides_of_it() -> None:
    assert look(NIGHT, at("2026-08-21T23:00"), VIENNA) == Open(at("2026-08-22T06:00").astimezone(UTC))
    assert look(NIGHT, at("2026-08-22T05:59"), VIENNA) == Open(at("2026-08-22T06:00").astimezone(UTC))
    assert look(NIGHT, at("2026-08-22T06:00"), VIENNA) == Closed(at("2026-08-22T22:00").astimezone(UTC))


def test_weekdays_are_those_on_which_it_opens() -> None:
    weekdays = Windows(openings=(Opening(minutes=(0,), hours=(22,), weekdays=(0, 1, 2, 3, 4), end=6 * 60),))
    assert isinstance(look(weekdays, at("2026-08-22T03:00"), VIENNA), Open)  # Saturday morning, opened on Friday
    assert look(weekdays, at("2026-08-22T23:00"), VIENNA) == Closed(at("2026-08-24T22:00").astimezone(UTC))


def test_a_start_that_the_clock_skips_comes_when_the_skipped_hour_is_over() -> None:
    early = Windows(openings=(Opening(minutes=(30,), hours=(2,), length_s=3600),))
    jump = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert look(early, jump - timedelta(hours=1), VIENNA) == Closed(jump)
    assert look(early, jump, VIENNA) == Open(jump + timedelta(hours=1))


def test_a_start_that_comes_twice_opens_the_first_time_only_and_lasts_as_long_as_it_says() -> None:
    early = Windows(openings=(Opening(minutes=(30,), hours=(2,), length_s=1800),))
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert look(early, first, VIENNA) == Open(first + timedelta(minutes=30))
    assert isinstance(look(early, first + timedelta(hours=1), VIENNA), Closed)


def test_a_night_with_a_clock_change_still_ends_at_six() -> None:
    for evening in ("2026-03-28T23:00", "2026-10-24T23:00"):
        end = at(evening).date() + timedelta(days=1)
        assert look(NIGHT, at(evening), VIENNA) == Open(at(f"{end}T06:00").astimezone(UTC))


def test_exceptions_close_days_and_hours() -> None:
    windows = Windows(
        openings=(EVERY_DAY,),
        exceptions=(
            Dates(date(2026, 12, 24), date(2026, 12, 26)),
            Times(Opening(minutes=(0,), hours=(12,), weekdays=(4,), end=24 * 60)),
        ),
    )
    assert look(windows, at("2026-12-24T10:00"), VIENNA) == Closed(at("2026-12-27T00:00").astimezone(UTC))
    friday = look(windows, at("2026-11-27T11:00"), VIENNA)
    assert friday == Open(at("2026-11-27T12:00").astimezone(UTC))
    assert look(windows, at("2026-11-27T12:00"), VIENNA) == Closed(at("2026-11-28T00:00").astimezone(UTC))


def test_what_is_always_open_has_no_end_and_what_never_opens_no_beginning() -> None:
    assert look(Windows(openings=(EVERY_DAY,)), at("2026-08-21T12:00"), VIENNA) == Open(None)
    assert look(Windows(openings=()), at("2026-08-21T12:00"), VIENNA) == Closed(None)
    never = Opening(minutes=(0,), hours=(0,), days=(31,), months=(2,), end=60)
    assert look(Windows(openings=(never,)), at("2026-08-21T12:00"), VIENNA) == Closed(None)


def test_a_day_fits_by_date_or_weekday_when_both_are_restricted_as_in_cron() -> None:
    first_or_monday = Opening(minutes=(0,), hours=(8,), days=(1,), weekdays=(0,), either=True, end=9 * 60)
    found = spans(Windows(openings=(first_or_monday,)), at("2026-09-01T00:00"), at("2026-09-15T00:00"), VIENNA)
    assert [start.astimezone(VIENNA).day for start, _ in found] == [1, 7, 14]


OPENINGS = some.builds(
    Opening,
    minutes=some.tuples(some.integers(0, 59)),
    hours=some.lists(some.integers(0, 23), min_size=1, max_size=3, unique=True).map(lambda found: tuple(sorted(found))),
    weekdays=some.sets(some.integers(0, 6), min_size=1).map(lambda found: tuple(sorted(found))),
    end=some.none() | some.integers(0, 1440),
    length_s=some.floats(60, 3 * 86_400),
)
ZONES = some.sampled_from(["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]).map(
    ZoneInfo
)
MOMENTS = some.integers(0, 60 * 24 * 700).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@settings(deadline=None, max_examples=40)  # what never opens is looked for over a year
@given(some.lists(OPENINGS, min_size=1, max_size=3), some.lists(OPENINGS, max_size=1), ZONES, MOMENTS)
def test_what_look_says_is_what_the_calendar_shows(
    openings: list[Opening], closed: list[Opening], zone: ZoneInfo, now: datetime
) -> None:
    windows = Windows(openings=tuple(openings), exceptions=tuple(Times(one) for one in closed))
    found = spans(windows, now - timedelta(days=8), now + timedelta(days=15), zone)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    around = [span for span in found if span[0] <= now < span[1]]
    state = look(windows, now, zone)
    if around:
        assert isinstance(state, Open) and (
            state.until is None or state.until >= min(around[0][1], now + timedelta(days=14))
        )
    else:
        assert isinstance(state, Closed)
        later = [start for start, _ in found if start > now]
        if later:
            assert state.opens == later[0]


@settings(deadline=None, max_examples=40)
@given(OPENINGS, ZONES, MOMENTS)
def test_a_closed_window_is_open_at_the_moment_that_it_names(opening: Opening, zone: ZoneInfo, now: datetime) -> None:
    windows = Windows(openings=(opening,))
    state = look(windows, now, zone)
    if isinstance(state, Closed) and state.opens is not None:
        assert isinstance(look(windows, state.opens, zone), Open)
        assert isinstance(look(windows, state.opens - timedelta(seconds=1), zone), Closed)
