import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.log_lines import MAX_LINE, LineSplitter, cleaned, level_of


@given(st.lists(st.binary(max_size=50)))
def test_lines_do_not_depend_on_how_they_arrive(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    one, many = LineSplitter(), LineSplitter()
    expected = one.feed(whole) + one.flush()
    found = [line for piece in pieces for line in many.feed(piece)] + many.flush()
    assert found == expected
    assert many.held == 0


@given(st.binary(max_size=200))
def test_nothing_that_could_drive_a_terminal_comes_through(raw: bytes) -> None:
    text = cleaned(raw)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)
    text.encode()


def test_a_line_that_is_too_long_is_cut_and_says_by_how_much() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"x" * 10_000_000) == []
    assert splitter.held == 10_000_000
    (line,) = splitter.feed(b"\n")
    assert line == "x" * MAX_LINE + f" … {10_000_000 - MAX_LINE} bytes more"


def test_carriage_returns_at_the_end_go() -> None:
    assert LineSplitter().feed(b"one\r\ntwo\n") == ["one", "two"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        (b"\x1bcreset", "reset"),
        ("grüße 😴".encode(), "grüße 😴"),
        (b"a\tb", "a    b"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202eevil".encode(), "\ufffdevil"),
    ],
)
def test_odd_bytes_are_made_readable(raw: bytes, text: str) -> None:
    assert cleaned(raw) == text


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("DEBUG:root:x", "debug"),
        ("2026-01-01 WARNING low battery", "warning"),
        ('{"level": "error", "msg": "x"}', "error"),
        ("level=info started", "info"),
        ("CRITICAL on fire", "error"),
        ("nothing said about errors", None),
        ("information", None),
    ],
)
def test_the_level_is_what_the_line_says(text: str, level: str | None) -> None:
    assert level_of(text) == level
