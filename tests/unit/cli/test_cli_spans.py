from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.cli.spans import ago, ahead, parse_span, plural, size, span
from lekiwi_deploy.errors import BadInput

NOW = datetime(2026, 8, 21, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=-90), "just now"),
        (timedelta(seconds=1), "1 second ago"),
        (timedelta(seconds=59.9), "59 seconds ago"),
        (timedelta(minutes=2, seconds=10), "2 minutes ago"),
        (timedelta(hours=1, minutes=59), "1 hour ago"),
        (timedelta(hours=3), "3 hours ago"),
        (timedelta(days=400), "400 days ago"),
    ],
)
def test_ages_read_as_the_product_writes_them(back: timedelta, words: str) -> None:
    assert ago(NOW - back, NOW) == words


def test_what_never_was_is_never() -> None:
    assert ago(None, NOW) == "never"
    assert ahead(None, NOW) == "never"


def test_what_is_to_come_is_said_likewise() -> None:
    assert ahead(NOW + timedelta(minutes=15), NOW) == "in 15 minutes"
    assert ahead(NOW - timedelta(minutes=15), NOW) == "now"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (0.84, "0.8s"), (12.4, "12.4s"), (59.96, "1m00s"), (151, "2m31s"), (3900, "1h05m"), (-1, "0.0s")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1.5h", 5400), ("0", 0), ("250ms", 0.25), ("2d", 172800), ("7", 7)],
)
def test_a_time_span_is_read(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@given(st.text(max_size=12))
def test_any_text_is_a_span_or_a_mistake_that_says_so(text: str) -> None:
    try:
        assert parse_span(text) >= 0
    except BadInput as error:
        assert "10m" in error.message


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (3100, "3.1 kB"), (6_400_000, "6.4 MB"), (2e9, "2.0 GB")]
)
def test_sizes_are_short(count: float, text: str) -> None:
    assert size(count) == text


def test_one_is_not_many() -> None:
    assert (plural(1, "robot"), plural(15, "robot")) == ("1 robot", "15 robots")
